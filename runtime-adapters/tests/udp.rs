//! The UDP transport on real sockets of the loopback interface.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::future::poll_fn;
use core::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use common::{CHANNEL, config, next, next_delivery, run};
use sds_runtime::Event;
use sds_runtime::smol::spawn;
use sds_runtime::transport::{Multicast, Peer, Transport, Udp};

const ANY_PORT: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Two sockets that send to each other.
fn pair() -> (Udp, Udp) {
    // The second is bound first, to nobody yet, so that its port is known and stays taken.
    let first = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let first_address = first.local_addr().unwrap();
    let second = Udp::unicast(ANY_PORT, vec![first_address]).unwrap();
    let second_address = second.local_addr().unwrap();
    drop(first);
    (Udp::unicast(first_address, vec![second_address]).unwrap(), second)
}

#[test]
fn two_participants_talk_over_udp() {
    run(async {
        let (first, second) = pair();
        let (alice, mut alice_events) = spawn(config("alice"), first).unwrap();
        let (bob, mut bob_events) = spawn(config("bob"), second).unwrap();
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
        let (mut first, mut second) = pair();
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
        let (mut first, mut second) = pair();
        let datagram = Bytes::from(vec![7; first.max_datagram_len()]);
        poll_fn(|cx| first.poll_send(cx, &datagram)).await.unwrap();
        assert_eq!(poll_fn(|cx| second.poll_recv(cx)).await.unwrap().bytes, datagram);
    });
}

#[test]
fn one_unreachable_destination_keeps_nothing_from_the_others() {
    run(async {
        let receiver = std::net::UdpSocket::bind(ANY_PORT).unwrap();
        let unreachable: SocketAddr = "[::1]:9".parse().unwrap();
        let reachable = receiver.local_addr().unwrap();
        let mut sender = Udp::unicast(ANY_PORT, vec![unreachable, reachable]).unwrap();
        let datagram = Bytes::from_static(b"datagram");
        let error = poll_fn(|cx| sender.poll_send(cx, &datagram)).await.unwrap_err();
        assert_eq!(error.destination, Peer::Address(unreachable));
        let mut buffer = [0; 16];
        let (len, _) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"datagram");
    });
}

#[test]
fn a_configured_limit_is_reported_with_the_datagram_that_exceeds_it() {
    run(async {
        let socket = Udp::builder().max_datagram_len(1_200).unicast(ANY_PORT, vec![]).unwrap();
        let (alice, mut events) = spawn(config("alice"), socket).unwrap();
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

#[test]
fn a_multicast_group_hears_itself() {
    run(async {
        // A port that was free a moment ago: nobody else sends to this group and port.
        let free = std::net::UdpSocket::bind(ANY_PORT).unwrap().local_addr().unwrap();
        let group = SocketAddr::from((Ipv4Addr::new(239, 255, 109, 1), free.port()));
        let multicast = Multicast::new(group).interface(Ipv4Addr::LOCALHOST).ttl(0);
        let join = || Udp::multicast(&multicast).unwrap();
        let (alice, mut alice_events) = spawn(config("alice"), join()).unwrap();
        let (bob, mut bob_events) = spawn(config("bob"), join()).unwrap();
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.content, "hello");
        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content, "hello yourself");
    });
}
