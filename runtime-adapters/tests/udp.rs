//! The UDP transport of every driver, on real sockets of the loopback interface.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::future::poll_fn;
use core::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use common::{CHANNEL, config, next, next_delivery, run};
use sds_proto::Config;
use sds_runtime::event_loop::{self, EventLoop};
use sds_runtime::transport::{self, Multicast, Peer, Transport, UdpBuilder};
use sds_runtime::{Event, Events, Handle, Options, StartError};

const ANY_PORT: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A driver that a socket is made for, as an application chooses it.
trait Driver: Sized {
    type Udp: Transport;

    fn new() -> Self;

    fn unicast(&self, builder: UdpBuilder, bind: SocketAddr, peers: Vec<SocketAddr>) -> Self::Udp;

    fn multicast(&self, group: &Multicast) -> Self::Udp;

    fn local_addr(socket: &Self::Udp) -> SocketAddr;

    fn spawn(self, config: Config, socket: Self::Udp) -> Result<(Handle, Events), StartError>;
}

struct OnSmol;

impl Driver for OnSmol {
    type Udp = transport::Udp;

    fn new() -> Self {
        Self
    }

    fn unicast(&self, builder: UdpBuilder, bind: SocketAddr, peers: Vec<SocketAddr>) -> Self::Udp {
        builder.unicast(bind, peers).unwrap()
    }

    fn multicast(&self, group: &Multicast) -> Self::Udp {
        transport::Udp::multicast(group).unwrap()
    }

    fn local_addr(socket: &Self::Udp) -> SocketAddr {
        socket.local_addr().unwrap()
    }

    fn spawn(self, config: Config, socket: Self::Udp) -> Result<(Handle, Events), StartError> {
        sds_runtime::smol::spawn(config, socket)
    }
}

impl Driver for EventLoop {
    type Udp = event_loop::Udp;

    fn new() -> Self {
        Self::new().unwrap()
    }

    fn unicast(&self, builder: UdpBuilder, bind: SocketAddr, peers: Vec<SocketAddr>) -> Self::Udp {
        builder.unicast_on(self, bind, peers).unwrap()
    }

    fn multicast(&self, group: &Multicast) -> Self::Udp {
        event_loop::Udp::multicast(self, group).unwrap()
    }

    fn local_addr(socket: &Self::Udp) -> SocketAddr {
        socket.local_addr().unwrap()
    }

    fn spawn(self, config: Config, socket: Self::Udp) -> Result<(Handle, Events), StartError> {
        self.spawn(config, socket, Options::default())
    }
}

/// Each of these on a driver.
macro_rules! on {
    ($module:ident: $driver:ty: $($name:ident,)*) => {
        mod $module {
            $(#[test] fn $name() { super::$name::<$driver>(); })*
        }
    };
}

on! { smol_driver: crate::OnSmol:
    two_participants_talk_over_udp,
    one_unreachable_destination_keeps_nothing_from_the_others,
    a_configured_limit_is_reported_with_the_datagram_that_exceeds_it,
    a_multicast_group_hears_itself,
}

on! { event_loop_driver: crate::EventLoop:
    two_participants_talk_over_udp,
    one_unreachable_destination_keeps_nothing_from_the_others,
    a_configured_limit_is_reported_with_the_datagram_that_exceeds_it,
    a_multicast_group_hears_itself,
}

/// A driver and its socket.
type Member<D> = (D, <D as Driver>::Udp);

/// Two sockets that send to each other.
fn pair<D: Driver>() -> (Member<D>, Member<D>) {
    let (one, other) = (D::new(), D::new());
    // The second is bound first, to nobody yet, so that its port is known and stays taken.
    let first = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let first_address = first.local_addr().unwrap();
    let second = other.unicast(UdpBuilder::new(), ANY_PORT, vec![first_address]);
    let second_address = D::local_addr(&second);
    drop(first);
    let first = one.unicast(UdpBuilder::new(), first_address, vec![second_address]);
    ((one, first), (other, second))
}

fn two_participants_talk_over_udp<D: Driver>() {
    run(async {
        let ((one, first), (other, second)) = pair::<D>();
        let (alice, mut alice_events) = one.spawn(config("alice"), first).unwrap();
        let (bob, mut bob_events) = other.spawn(config("bob"), second).unwrap();
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.content, "hello");
        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content, "hello yourself");
    });
}

#[test]
fn a_datagram_says_where_it_came_from() {
    run(async {
        let ((_, mut first), (_, mut second)) = pair::<OnSmol>();
        let datagram = Bytes::from_static(b"datagram");
        poll_fn(|cx| first.poll_send(cx, &datagram)).await.unwrap();
        let received = poll_fn(|cx| second.poll_recv(cx)).await.unwrap();
        assert_eq!(received.bytes, datagram);
        assert_eq!(received.source, Peer::Address(first.local_addr().unwrap()));
    });
}

#[test]
fn the_largest_datagram_arrives_whole() {
    run(async {
        let ((_, mut first), (_, mut second)) = pair::<OnSmol>();
        let datagram = Bytes::from(vec![7; first.max_datagram_len()]);
        poll_fn(|cx| first.poll_send(cx, &datagram)).await.unwrap();
        assert_eq!(poll_fn(|cx| second.poll_recv(cx)).await.unwrap().bytes, datagram);
    });
}

fn one_unreachable_destination_keeps_nothing_from_the_others<D: Driver>() {
    run(async {
        let receiver = std::net::UdpSocket::bind(ANY_PORT).unwrap();
        let unreachable: SocketAddr = "[::1]:9".parse().unwrap();
        let reachable = receiver.local_addr().unwrap();
        let driver = D::new();
        let peers = vec![unreachable, reachable];
        let mut sender = driver.unicast(UdpBuilder::new(), ANY_PORT, peers);
        let datagram = Bytes::from_static(b"datagram");
        let error = poll_fn(|cx| sender.poll_send(cx, &datagram)).await.unwrap_err();
        assert_eq!(error.destination, Peer::Address(unreachable));
        let mut buffer = [0; 16];
        let (len, _) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"datagram");
    });
}

fn a_configured_limit_is_reported_with_the_datagram_that_exceeds_it<D: Driver>() {
    run(async {
        let driver = D::new();
        let builder = UdpBuilder::new().max_datagram_len(1_200);
        let socket = driver.unicast(builder, ANY_PORT, vec![]);
        let (alice, mut events) = driver.spawn(config("alice"), socket).unwrap();
        alice.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m1", "with a filter of 18,752 bytes").await.unwrap();
        let too_large = |event| match event {
            Event::TooLarge { limit, len, .. } => Some((limit, len)),
            _ => None,
        };
        let (limit, len) = next(&mut events, too_large).await;
        assert_eq!(limit, 1_200);
        assert!(len > 18_752, "{len}");
    });
}

fn a_multicast_group_hears_itself<D: Driver>() {
    run(async {
        // A port that was free a moment ago: nobody else sends to this group and port.
        let free = std::net::UdpSocket::bind(ANY_PORT).unwrap().local_addr().unwrap();
        let group = SocketAddr::from((Ipv4Addr::new(239, 255, 109, 1), free.port()));
        let multicast = Multicast::new(group).interface(Ipv4Addr::LOCALHOST).ttl(0);
        let join = |name| {
            let driver = D::new();
            let socket = driver.multicast(&multicast);
            driver.spawn(config(name), socket).unwrap()
        };
        let (alice, mut alice_events) = join("alice");
        let (bob, mut bob_events) = join("bob");
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.content, "hello");
        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content, "hello yourself");
    });
}
