//! UDP on real sockets of the loopback interface.

use core::future::poll_fn;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::net::UdpSocket;

use bytes::Bytes;
use sds_proto::RejectReason;
use sds_proto::wire::{self, Limits};
use sds_runtime::transport::{Multicast, Peer, Transport, UdpBuilder};
use sds_runtime::{DriverEvent, HandleError, Options, PublishError};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::Driver;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A driver and its socket.
type Member<D> = (D, <D as Driver>::Udp);

/// Two sockets that send to each other.
fn pair<D: Driver>() -> (Member<D>, Member<D>) {
    let (one, other) = (D::new(), D::new());
    // The second is bound first, to nobody yet, so that its port is known and stays taken.
    let first = UdpSocket::bind(ANY_PORT).unwrap();
    let first_address = first.local_addr().unwrap();
    let second = other.unicast(UdpBuilder::new(), ANY_PORT, vec![first_address]);
    let second_address = D::local_addr(&second);
    drop(first);
    let first = one.unicast(UdpBuilder::new(), first_address, vec![second_address]);
    ((one, first), (other, second))
}

pub(crate) fn two_participants_talk_over_udp<D: Driver>() {
    run(async {
        let ((one, first), (other, second)) = pair::<D>();
        let (alice, mut alice_events) =
            one.spawn_with(config("alice"), first, Options::default()).unwrap();
        let (bob, mut bob_events) =
            other.spawn_with(config("bob"), second, Options::default()).unwrap();
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.content(), b"hello");
        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content(), b"hello yourself");
    });
}

pub(crate) fn one_unreachable_destination_keeps_nothing_from_the_others<D: Driver>() {
    run(async {
        let receiver = UdpSocket::bind(ANY_PORT).unwrap();
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

pub(crate) fn two_hundred_kilobytes_are_refused_and_the_largest_that_fits_arrives<D: Driver>() {
    run(async {
        let ((one, first), (other, second)) = pair::<D>();
        let (alice, _alice_events) =
            one.spawn_with(config("alice"), first, Options::default()).unwrap();
        let (bob, mut bob_events) =
            other.spawn_with(config("bob"), second, Options::default()).unwrap();
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        let error = alice.publish(CHANNEL, "m1", vec![7; 200_000]).await.unwrap_err();
        let most = largest(&error);
        // As docs/runtimes.md says.
        assert!((46_600..46_800).contains(&most), "{most}");
        assert!(error.to_string().contains(&most.to_string()), "{error}");
        alice.publish(CHANNEL, "m1", error.content.slice(..most)).await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.content().len(), most);
        alice.publish(CHANNEL, "m2", "the channel goes on").await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m2");
    });
}

fn largest(error: &PublishError) -> usize {
    match error.reason {
        HandleError::Rejected(RejectReason::DatagramTooLong { max_content, .. }) => max_content,
        _ => panic!("{error}"),
    }
}

pub(crate) fn the_largest_message_is_sent_again_with_its_filter<D: Driver>() {
    run(async {
        let receiver = UdpSocket::bind(ANY_PORT).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let driver = D::new();
        let peers = vec![receiver.local_addr().unwrap()];
        let socket = driver.unicast(UdpBuilder::new(), ANY_PORT, peers);
        let limit = socket.max_datagram_len();
        let (alice, _events) =
            driver.spawn_with(config("alice"), socket, Options::default()).unwrap();
        alice.open(CHANNEL).await.unwrap();
        let error = alice.publish(CHANNEL, "m1", vec![7; 200_000]).await.unwrap_err();
        let content = error.content.slice(..largest(&error));
        alice.publish(CHANNEL, "m1", content.clone()).await.unwrap();
        let mut buffer = vec![0; limit + 1];
        let (mut times, mut filters) = (0, 0);
        while filters == 0 {
            let (len, _) = receiver.recv_from(&mut buffer).unwrap();
            let (_, message) = wire::decode_ref(&buffer[..len], &Limits::default()).unwrap();
            if message.message_id == *"m1" {
                assert_eq!(message.content, Some(&content[..]));
                times += 1;
                filters += usize::from(message.bloom_filter.is_some());
            }
        }
        assert!(times > 1, "a filter is empty before the first message");
        assert_eq!(alice.metrics().await.unwrap().too_large, 0);
    });
}

pub(crate) fn a_configured_limit_says_what_does_not_fit<D: Driver>() {
    run(async {
        let driver = D::new();
        let builder = UdpBuilder::new().max_datagram_len(1_200);
        let socket = driver.unicast(builder, ANY_PORT, vec![]);
        let (alice, _events) =
            driver.spawn_with(config("alice"), socket, Options::default()).unwrap();
        alice.open(CHANNEL).await.unwrap();
        let error =
            alice.publish(CHANNEL, "m1", "with a filter of 18,752 bytes").await.unwrap_err();
        assert_eq!(largest(&error), 0);
        assert!(error.to_string().contains("FilterPolicy::SyncOnly"), "{error}");
    });
}

pub(crate) fn a_multicast_group_hears_itself<D: Driver>() {
    run(async {
        // A port that was free a moment ago: nobody else sends to this group and port.
        let free = UdpSocket::bind(ANY_PORT).unwrap().local_addr().unwrap();
        let group = SocketAddr::from((Ipv4Addr::new(239, 255, 109, 1), free.port()));
        let multicast = Multicast::new(group).interface(Ipv4Addr::LOCALHOST).ttl(0);
        let join = |name| {
            let driver = D::new();
            let socket = driver.multicast(&multicast);
            driver.spawn_with(config(name), socket, Options::default()).unwrap()
        };
        let (alice, mut alice_events) = join("alice");
        let (bob, mut bob_events) = join("bob");
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.content(), b"hello");
        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content(), b"hello yourself");
    });
}

/// Returns source and length of a stranger's datagram, as the driver reports them.
async fn received_from_stranger<D: Driver>(stranger: &UdpSocket, len: usize) -> (Peer, usize) {
    let driver = D::new();
    let socket = driver.unicast(UdpBuilder::new(), ANY_PORT, vec![]);
    let address = D::local_addr(&socket);
    let (_handle, mut events) =
        driver.spawn_with(config("alice"), socket, Options::default()).unwrap();
    assert_eq!(stranger.send_to(&vec![0xff; len], address).unwrap(), len);
    let refused = |event| match event {
        DriverEvent::DatagramRejected { source, len, .. } => Some((source, len)),
        _ => None,
    };
    next(&mut events, refused).await
}

pub(crate) fn a_datagram_says_where_it_came_from<D: Driver>() {
    run(async {
        let stranger = UdpSocket::bind(ANY_PORT).unwrap();
        let (source, _) = received_from_stranger::<D>(&stranger, 3).await;
        assert_eq!(source, Peer::Address(stranger.local_addr().unwrap()));
    });
}

pub(crate) fn the_largest_datagram_arrives_whole<D: Driver>() {
    run(async {
        let stranger = UdpSocket::bind(ANY_PORT).unwrap();
        let address = stranger.local_addr().unwrap();
        let mut sender = D::new().unicast(UdpBuilder::new(), ANY_PORT, vec![address]);
        let datagram = Bytes::from(vec![7; sender.max_datagram_len()]);
        poll_fn(|cx| sender.poll_send(cx, &datagram)).await.unwrap();
        let mut buffer = vec![0; datagram.len() + 1];
        let (len, _) = stranger.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..len], datagram[..]);
        assert_eq!(received_from_stranger::<D>(&stranger, len).await.1, len);
    });
}
