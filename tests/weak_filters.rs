//! Filters that carry less information than their geometry claims acknowledge nothing: invariant
//! I13 of ARCHITECTURE.md. No sender here knows any message.

mod common;

use bytes::{Bytes, BytesMut};
use common::peer::nim;
use common::{at, channel, drain};
use sds_proto::bloom::{Filter, Geometry};
use sds_proto::hash::HashKind;
use sds_proto::wire::FilterField;
use sds_proto::{Config, Dialect, Effect, Event, FilterPolicy, Input, Node, PublishKind};

const MESSAGES: usize = 1_000;

/// The container of a nim filter with these words and claims.
fn container(words: &[u64], k: u64, m_bits: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    let field = FilterField::Nim { words, capacity: 50, error_rate_millionths: 1_000, k, m_bits };
    field.encode(&mut bytes);
    bytes.freeze()
}

/// A node with a thousand unacknowledged messages.
fn talker() -> Node {
    let config = Config::builder()
        .participant_id("alice".into())
        .seed(7)
        .dialect(Dialect::NimSds)
        .filter_policy(FilterPolicy::SyncOnly);
    let mut node = Node::new(config.build().expect("valid"));
    node.handle(at(0), Input::Open { channel: channel(), config: None }).expect("opens");
    for number in 0..MESSAGES {
        let message_id = format!("message {number}").as_str().into();
        let content = Bytes::from_static(b"content");
        let publish =
            Input::Publish { channel: channel(), message_id, content, kind: PublishKind::Content };
        node.handle(at(1), publish).expect("published");
    }
    drain(&mut node);
    node
}

/// Counts the messages that syncs of so many senders with this filter acknowledge.
fn acknowledged(senders: usize, filter: &Bytes) -> usize {
    let mut node = talker();
    for sender in 0..senders {
        let sync = nim(&format!("s{sender}"), 2).by(&format!("mallory {sender}")).sync();
        node.handle(at(2), sync.filter(filter.clone()).input()).expect("taken");
    }
    let acked = |effect: &Effect| matches!(effect, Effect::Event(Event::Acked { .. }));
    drain(&mut node).iter().filter(|effect| acked(effect)).count()
}

#[test]
fn filters_of_two_bits_acknowledge_nothing() {
    for bits in 1..3 {
        assert_eq!(acknowledged(8, &container(&[bits], 32, 2)), 0, "{bits:b}");
    }
}

#[test]
fn filters_of_arithmetic_progressions_acknowledge_next_to_nothing() {
    let words: Vec<u64> = (0..8).map(|_| 0x5555_5555_5555_5555).collect();
    for (k, m_bits) in [(10, 508), (10, 509), (32, 509), (10, 512)] {
        // The rate is measured with random ids: one of a hundredth may pass for chance.
        let acked = acknowledged(2, &container(&words, k, m_bits));
        assert!(acked <= MESSAGES / 50, "{acked} by {k} of {m_bits}");
    }
    // One run of bits: neighbouring positions are all set for small steps.
    let mut run = [0; 8];
    run[..4].fill(u64::MAX);
    assert_eq!(acknowledged(2, &container(&run, 10, 509)), 0);
}

#[test]
fn two_filters_that_hold_the_messages_acknowledge_them() {
    let geometry = Geometry::new(MESSAGES as u64, 0.001).expect("can be laid out");
    let mut filter = Filter::new(geometry);
    for number in 0..MESSAGES {
        filter.insert(HashKind::NimFarm.probe(format!("message {number}").as_bytes()));
    }
    let mut held = BytesMut::new();
    filter.nim_field().encode(&mut held);
    let acked = acknowledged(3, &held.freeze());
    assert_eq!(acked, MESSAGES);
}
