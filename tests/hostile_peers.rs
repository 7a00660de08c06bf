//! Hostile messages of peers: a node neither panics nor hangs, its memory stays bounded, and honest
//! members get through: invariants I4, I7 and I8 of ARCHITECTURE.md. Syncs and repair requests:
//! `hostile_syncs.rs`.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use std::{env, fs};

use bytes::{BufMut, Bytes, BytesMut};
use common::peer::{Said, entry, lip109, nim};
use common::{
    EPOCH_MS, Faults, Group, at, channel, delivered, drain, ids, node, open, publish, run, sends,
    sent, status,
};
use proptest::prelude::*;
use sds_proto::bloom::Geometry;
use sds_proto::wire::{self, Limits, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, Dialect, Effect, Event, Input, Instant, Limit, LogEntry, MessageId,
    Node, Now, PublishKind, RejectReason, SendReason, Status,
};

fn alice() -> ConfigBuilder {
    Config::builder().bloom_capacity(100)
}

const FAR: [u64; 5] = [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, EPOCH_MS * 2];

#[test]
fn far_ahead_lamport_times_are_refused_and_leave_no_trace() {
    for dialect in [WireDialect::Lip109, WireDialect::NimSds] {
        let mut node = node("alice", alice());
        node.handle(at(0), publish("m1")).expect("published");
        let _published = drain(&mut node);
        let before = status(&node);
        for lamport in FAR {
            let said = Said::new(dialect, "b1", lamport).after(["m1", "b0"]);
            for said in [said.clone().asking(entry("m1", "alice")), said.sync()] {
                let refused = node.handle(at(0), said.input()).expect_err("too far ahead");
                assert!(matches!(refused.reason, RejectReason::ClockSkew { .. }), "{refused}");
            }
        }
        assert_eq!(drain(&mut node), []);
        assert_eq!(status(&node), before);
    }
}

#[test]
fn without_a_wall_clock_no_lamport_time_ends_publishing() {
    let config = alice().participant_id("alice".into()).build().expect("valid settings");
    let mut node = Node::new(config);
    let now = Now::without_wall(Instant::from_millis(1));
    node.handle(now, open()).expect("opens");
    for lamport in [u64::MAX, 1 << 63, 1 << 53] {
        let said = Said::new(WireDialect::NimSds, "b1", lamport);
        let refused = node.handle(now, said.input()).expect_err("too far ahead");
        assert!(matches!(refused.reason, RejectReason::ClockSkew { .. }), "{refused}");
    }
    // The clocks of those who have one are believed, and drawn on by a day at a time.
    const DAY: u64 = 24 * 3_600 * 1_000;
    const YEAR_2100: u64 = 4_102_444_800_000;
    for (id, lamport) in [("b2", EPOCH_MS), ("b3", YEAR_2100), ("b4", YEAR_2100 + DAY)] {
        node.handle(now, Said::new(WireDialect::NimSds, id, lamport).input()).expect("taken");
    }
    node.handle(now, publish("m1")).expect("there is time left");
    let far = Said::new(WireDialect::NimSds, "b5", YEAR_2100 + 3 * DAY);
    node.handle(now, far.input()).expect_err("too far ahead");
    assert_eq!(delivered(&drain(&mut node)), ids(&["b2", "b3", "b4", "m1"]));
}

fn varint(buffer: &mut BytesMut, mut value: u64) {
    while value > 0x7f {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// The container of a nim filter that claims these numbers for these words.
fn claim(words: &[u8], capacity: u64, k: u64, m_bits: u64) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0x0a);
    varint(&mut bytes, words.len() as u64);
    bytes.put_slice(words);
    for (tag, value) in [(0x10, capacity), (0x18, 1_000), (0x20, k), (0x28, m_bits)] {
        bytes.put_u8(tag);
        varint(&mut bytes, value);
    }
    bytes.freeze()
}

#[test]
fn filters_with_impossible_numbers_are_ignored_while_messages_are_unacknowledged() {
    let mut node = node("alice", alice());
    node.handle(at(0), publish("m1")).expect("published");
    let _published = drain(&mut node);
    let claims = [
        claim(&[0xff; 16], 10, 7, 0),
        claim(&[0xff; 16], 10, 7, 129),
        claim(&[0xff; 16], 10, 7, u64::MAX),
        claim(&[0xff; 16], 10, 1 << 40, 100),
        claim(&[0xff; 16], 10, u64::MAX, 100),
        claim(&[0xff; 16], 10, 0, 100),
        claim(&[0xff; 16], u64::MAX, 7, 100),
        claim(&[0xff; 15], 10, 7, 100),
        claim(&[], 10, 7, 1),
    ];
    for (n, claim) in claims.into_iter().enumerate() {
        let said = nim(&format!("b{n}"), n as u64).filter(claim);
        node.handle(at(20), said.input()).expect("the message counts");
        let effects = drain(&mut node);
        assert!(
            matches!(
                effects[..],
                [Effect::Event(Event::FilterIgnored { .. }), Effect::Event(Event::Deliver(_))]
            ),
            "{n}"
        );
    }
    assert_eq!(status(&node).outgoing, 1);
}

#[test]
fn a_filter_of_all_ones_acknowledges_nothing() {
    let mut node = node("alice", alice());
    node.handle(at(0), publish("m1")).expect("published");
    let _published = drain(&mut node);
    for n in 0..100 {
        let said = nim(&format!("n{n}"), n).by(&format!("eve{n}"));
        let said = said.filter(claim(&[0xff; 1_024], 500, 10, 8_192));
        node.handle(at(100), said.input()).expect("taken");
        let said = lip109(&format!("l{n}"), n).by(&format!("mallory{n}")).filter(vec![0xff; 192]);
        node.handle(at(100), said.input()).expect("taken");
    }
    for effect in drain(&mut node) {
        assert!(matches!(effect, Effect::Event(Event::Deliver(_))), "{effect:?}");
    }
    assert_eq!(status(&node).outgoing, 1);
}

#[test]
fn invented_dependencies_are_bounded_and_the_bound_is_told() {
    let mut node = node("alice", alice().max_missing(1_000).max_incoming_messages(500));
    let mut bounded = [0; 2];
    for n in 0..200_u64 {
        let named: Vec<String> = (0..100).map(|k| format!("invented-{n}-{k}")).collect();
        let said = lip109(&format!("b{n}"), n).after(named.iter().map(String::as_str));
        node.handle(at(300), said.input()).expect("taken");
        for effect in drain(&mut node) {
            match effect {
                Effect::Event(Event::LimitReached { limit: Limit::Missing, .. }) => bounded[0] += 1,
                Effect::Event(Event::LimitReached { limit: Limit::Incoming, .. }) => {
                    bounded[1] += 1
                }
                _ => {}
            }
        }
    }
    assert_eq!(bounded, [190, 0], "room for ten times a hundred");
    assert_eq!((status(&node).missing, status(&node).incoming), (1_000, 10));

    node.handle(at(300), lip109("honest", 250).by("carol").input()).expect("taken");
    assert_eq!(delivered(&drain(&mut node)), ids(&["honest"]));
}

#[test]
fn cycles_of_any_length_are_delivered() {
    for length in [2, 3, 10, 300_usize] {
        for order in 0..2 {
            let mut node = node("alice", alice());
            let mut members: Vec<usize> = (0..length).collect();
            if order == 1 {
                members.reverse();
            }
            for n in members {
                let next = format!("b{}", (n + 1) % length);
                let said = lip109(&format!("b{n}"), n as u64).after([next.as_str()]);
                node.handle(at(1_000), said.input()).expect("taken");
            }
            assert_eq!(delivered(&drain(&mut node)).len(), length);
            assert_eq!((status(&node).incoming, status(&node).missing), (0, 0));
        }
    }
}

#[test]
fn a_message_that_names_itself_is_delivered_once() {
    let mut node = node("alice", alice());
    let said = lip109("b1", 1).after(["b1"]).asking(entry("b1", "bob"));
    node.handle(at(5), said.input()).expect("taken");
    node.handle(at(5), said.input()).expect("taken");
    assert_eq!(delivered(&drain(&mut node)), ids(&["b1"]));
    assert_eq!((status(&node).incoming, status(&node).missing), (0, 0));
}

#[test]
fn a_dependency_named_many_times_is_waited_for_once() {
    let mut node = node("alice", alice());
    let said = lip109("b2", 2).after(["b1"; 256]);
    node.handle(at(5), said.input()).expect("taken");
    assert_eq!(status(&node).missing, 1);
    node.handle(at(5), lip109("b1", 1).input()).expect("taken");
    assert_eq!(delivered(&drain(&mut node)), ids(&["b1", "b2"]));
}

#[test]
fn floods_of_unknown_channels_open_no_more_than_allowed() {
    let config = alice().auto_open(true).max_auto_channels(3).build().expect("valid settings");
    let mut node = Node::new(config);
    for n in 0..1_000 {
        let said = lip109("b1", 0).in_channel(&format!("flood-{n}"));
        let result = node.handle(at(0), said.input()).map_err(|rejected| rejected.reason);
        let limit = RejectReason::TooManyChannels { limit: 3 };
        assert_eq!(result, if n < 3 { Ok(()) } else { Err(limit) });
    }
    assert_eq!(node.channels().count(), 3);
    // Channels that the application opens do not count, and a closed channel makes room.
    node.handle(at(0), open()).expect("opens");
    node.handle(at(0), Input::Close { channel: "flood-0".into() }).expect("closes");
    let said = lip109("b1", 0).in_channel("late");
    node.handle(at(0), said.input()).expect("there is room");
}

#[test]
fn one_id_with_many_contents_keeps_the_first_and_is_told() {
    let mut node = node("alice", alice());
    let mut conflicts = 0;
    for n in 0..100 {
        let said = lip109("b1", 1).content(&format!("version {n}"));
        node.handle(at(5), said.input()).expect("taken");
        let effects = drain(&mut node);
        conflicts += effects
            .iter()
            .filter(|told| matches!(told, Effect::Event(Event::Conflict { .. })))
            .count();
    }
    assert_eq!(conflicts, 99);
    let log = node.log(&channel()).expect("open");
    assert_eq!(log.get("b1").map(LogEntry::content), Some(&b"version 0"[..]));
    assert_eq!(log.len(), 1);
}

#[test]
fn replays_of_evicted_and_of_forgotten_messages_are_not_delivered_again() {
    let config =
        Config::builder().bloom_capacity(10).max_ids(20).max_log_messages(5).max_outgoing(5);
    let mut node = node("alice", config);
    let said: Vec<Bytes> = (0..60).map(|n| lip109(&format!("b{n}"), n).bytes()).collect();
    for bytes in &said {
        node.handle(at(100), Input::Datagram(bytes.clone())).expect("taken");
    }
    assert_eq!(delivered(&drain(&mut node)).len(), 60);
    let digest = node.log(&channel()).expect("open").digest();
    for (n, bytes) in said.iter().enumerate() {
        let result = node.handle(at(100), Input::Datagram(bytes.clone()));
        // The last twenty are remembered; what is older cannot be told from a repeat.
        assert_eq!(result.is_err(), n < 40, "{n}");
    }
    assert_eq!(drain(&mut node), []);
    assert_eq!(node.log(&channel()).expect("open").digest(), digest);
}

#[test]
fn empty_sender_ids_are_one_anonymous_sender_and_never_us() {
    let mut node = node("", alice());
    node.handle(at(0), publish("m1")).expect("published");
    let geometry = Geometry::new(100, 0.001).expect("a geometry");
    let _published = drain(&mut node);
    let said = lip109("b1", 1).by("").having(geometry, ["m1"]).asking(entry("m1", ""));
    node.handle(at(5), said.input()).expect("taken");
    let effects = drain(&mut node);
    assert_eq!(delivered(&effects), ids(&["b1"]));
    assert_eq!(status(&node).outgoing, 0, "an anonymous peer may acknowledge");
}

/// 256 short ids are a kilobyte or two on the wire, and several times that once they are waited
/// for.
#[test]
fn a_history_counts_for_the_memory_it_takes() {
    let mut node = node("alice", alice().max_log_bytes(200_000).max_incoming_bytes(400_000));
    node.handle(at(0), lip109("b0", 0).input()).expect("taken");
    for n in 1..100 {
        let logged = lip109(&format!("b{n}"), n).after(["b0"; 256]);
        node.handle(at(100), logged.input()).expect("taken");
        let waits = ["b0"; 255].into_iter().chain(["never"]);
        let waiting = lip109(&format!("w{n}"), n).after(waits);
        node.handle(at(100), waiting.input()).expect("taken");
        let _told = drain(&mut node);
    }
    let Status { logged, incoming, .. } = status(&node);
    assert!((10..60).contains(&logged) && (10..60).contains(&incoming), "{logged} {incoming}");
}

#[test]
fn own_messages_that_nobody_acknowledges_are_bounded_by_their_bytes() {
    let large = |n| Input::Publish {
        channel: channel(),
        message_id: MessageId::from(format!("m{n}")),
        content: Bytes::from(vec![0; 3_000]),
        kind: PublishKind::Content,
    };
    let mut refusing = node("alice", alice().max_log_bytes(10_000));
    (0..4).for_each(|n| refusing.handle(at(0), large(n)).expect("published"));
    let refused = refusing.handle(at(0), large(4)).expect_err("there is no room");
    assert_eq!(refused.reason, RejectReason::OutgoingFull { limit: 10_000 });

    let config = alice().max_log_bytes(10_000).unconfirmed_when_full(true);
    let mut giving_up = node("alice", config);
    (0..9).for_each(|n| giving_up.handle(at(0), large(n)).expect("published"));
    assert_eq!(status(&giving_up).outgoing, 4);
}

#[test]
fn what_is_due_after_a_long_sleep_does_not_come_all_at_once() {
    let mut node = node("alice", alice().max_content_len(1_000));
    for n in 0..20 {
        node.handle(at(0), publish(&format!("m{n}"))).expect("published");
    }
    let _published = drain(&mut node);
    let (mut resent, mut ticks) = (0, 0);
    while node.next_deadline().is_some_and(|due| due.at <= Instant::from_millis(60_000)) {
        node.handle(at(60_000), Input::Tick).expect("a tick is always taken");
        let effects = drain(&mut node);
        let bytes: usize = sent(&effects).iter().map(Bytes::len).sum();
        assert!(bytes < 2_000, "{bytes} bytes by one tick");
        (resent, ticks) = (resent + sends(&effects, SendReason::Resend), ticks + 1);
    }
    assert!(resent == 20 && ticks > 3, "{resent} by {ticks}");
}

#[test]
fn oversized_ids_are_refused() {
    let long = "x".repeat(257);
    let mut node = node("alice", alice());
    for said in [
        lip109(&long, 1),
        lip109("b1", 1).by(&long),
        lip109("b1", 1).in_channel(&long),
        lip109("b1", 1).after([long.as_str()]),
        lip109("b1", 1).naming(entry("b0", &long)),
        nim("b1", 1).asking(entry(long.as_str(), "bob")),
    ] {
        let refused = node.handle(at(5), said.input()).expect_err("too long");
        assert!(matches!(refused.reason, RejectReason::Decode(_)), "{refused}");
    }
    assert_eq!(status(&node), Status::default());
}

/// Nim messages with ids that are not UTF-8, in each place where the log keeps one.
fn not_text() -> [Said; 4] {
    let odd = || entry(&[0xfd][..], "bob");
    let mut named_sender = entry("b0", "bob");
    named_sender.sender_id = [0xfc][..].into();
    let mut sender = nim("n4", 4);
    sender.message.sender_id = [0xfb][..].into();
    let nameless = Said::new(WireDialect::NimSds, &[0xff, 0xfe][..], EPOCH_MS + 1);
    [nameless, nim("n2", 2).naming(odd()), nim("n3", 3).naming(named_sender), sender]
}

/// Nobody could be told of it, or answered who asks for it: it would be in one log alone, for ever.
#[test]
fn what_cannot_be_passed_on_in_lip109_is_refused() {
    let mirror = |initial| Dialect::Mirror { initial };
    for dialect in
        [Dialect::Lip109, Dialect::Bridge, mirror(WireDialect::Lip109), mirror(WireDialect::NimSds)]
    {
        let mut node = node("alice", alice().dialect(dialect).auto_open(true));
        let _opened = drain(&mut node);
        for said in not_text() {
            let other = said.clone().in_channel("another");
            for said in [said, other] {
                let refused = node.handle(at(5), said.input()).expect_err("not text");
                assert_eq!(refused.reason, RejectReason::NotForwardable);
            }
        }
        assert_eq!(status(&node), Status::default(), "{dialect:?}");
        assert_eq!((node.channels().count(), node.poll_effect()), (1, None));
        let mut own = publish("m1");
        if let Input::Publish { message_id, .. } = &mut own {
            *message_id = [0xfa][..].into();
        }
        let refused = node.handle(at(5), own).expect_err("not text");
        assert_eq!(refused.reason, RejectReason::IdNotUtf8);
    }
    let mut node = node("alice", alice().dialect(Dialect::NimSds));
    for said in not_text() {
        node.handle(at(5), said.input()).expect("nim-sds takes any bytes");
    }
}

#[test]
fn a_nim_sync_that_names_what_is_not_text_is_heard() {
    let mut node = node("alice", alice());
    node.handle(at(0), publish("m1")).expect("published");
    let mut sync = nim("s1", 5).sync().after(["m1", "b1"]).naming(entry(&[0xfd][..], "bob"));
    let mut learnt = entry("b1", "bob");
    learnt.sender_id = [0xfb][..].into();
    sync.message.causal_history.push(learnt);
    node.handle(at(5), sync.input()).expect("taken");
    let effects = run(&mut node, 200_000);
    let acked = |effect: &Effect| matches!(effect, Effect::Event(Event::Acked { message_id, .. }) if message_id.as_str() == Some("m1"));
    assert!(effects.iter().any(acked));
    assert_eq!(status(&node).missing, 1, "b1 is wanted, and what cannot be asked for is not");
    let asked = sent(&effects).iter().any(|bytes| {
        let (_, message) = wire::decode(bytes, &Limits::default()).expect("a message");
        message.repair_request == [entry("b1", "bob")]
    });
    assert!(asked, "b1 is asked for, by the sender that can be said");
}

/// The same among those that hear all of it, and one that hears what the others do not.
#[test]
fn a_message_that_is_not_text_splits_no_lip109_group() {
    let configs = ["alice", "bob", "carol"]
        .map(|name| Config::builder().participant_id(name.into()).build().expect("valid"));
    let faults = Faults { loss: 0, dup: 0, delay_ms: 20 };
    let mut group = Group::new(configs.to_vec(), 7, faults);
    for said in not_text() {
        group.handle(0, said.input()).unwrap_or_else(|rejected| {
            assert_eq!(rejected.reason, RejectReason::NotForwardable);
        });
    }
    for n in 0..40 {
        group.handle(n % 3, publish(&format!("m{n}"))).expect("published");
        group.run_until(group.now / 1_000 + 1_000, |_| false);
    }
    group.run_until(group.now / 1_000 + 200_000, |_| false);
    group.check_converged();
    assert_eq!(group.logged(0), 40);
    assert!(group.nodes.iter().all(|node| status(node).missing == 0));
}

/// The bytes of all cases of all vector files.
fn vectors() -> Vec<Bytes> {
    let folder = env::var("SDS_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").into());
    let mut found = Vec::new();
    for file in fs::read_dir(folder).expect("the folder of vectors") {
        let path = file.expect("an entry of the folder").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(path).expect("a vector file");
            collect(&serde_json::from_str(&text).expect("a JSON file"), &mut found);
        }
    }
    found
}

/// Every string of hexadecimal digits, whatever it is for.
fn collect(value: &serde_json::Value, found: &mut Vec<Bytes>) {
    if let Some(text) = value.as_str() {
        let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or("?"), 16).ok();
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        found.extend(bytes.map(Bytes::from));
    }
    value.as_array().into_iter().flatten().for_each(|value| collect(value, found));
    value.as_object().into_iter().flatten().for_each(|(_, value)| collect(value, found));
}

#[test]
fn every_vector_thrown_at_a_node_is_taken_or_refused() {
    let vectors = vectors();
    assert!(vectors.len() > 300);
    let dialects = [Dialect::Lip109, Dialect::NimSds, Dialect::Bridge];
    for (dialect, wall) in dialects.into_iter().flat_map(|d| [(d, true), (d, false)]) {
        let config = alice().dialect(dialect).auto_open(true).sync_to_nim(true);
        let mut node = node("alice", config);
        node.handle(at(0), publish("m1")).expect("published");
        let (mut taken, mut now) = (0, 0);
        for bytes in vectors.iter().chain(vectors.iter().rev()) {
            now += 500;
            let time = if wall { at(now) } else { Now::without_wall(Instant::from_millis(now)) };
            taken += usize::from(node.handle(time, Input::Datagram(bytes.clone())).is_ok());
            node.handle(time, Input::Tick).expect("a tick is always taken");
            for bytes in sent(&drain(&mut node)) {
                wire::decode(&bytes, &Limits::default()).expect("what we send is a message");
            }
        }
        assert!(taken > 50, "{dialect:?}: {taken}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any claims at all: memory stays within its bounds, and all that waits ends.
    #[test]
    fn whatever_is_claimed_the_bounds_hold_and_everything_ends(
        claims in prop::collection::vec(
            (0..40_u8, any::<Option<u8>>(), prop::collection::vec(0..60_u8, 0..8), any::<bool>()),
            1..120,
        ),
    ) {
        let config = alice().max_incoming_messages(5).max_missing(9).max_answers(3).max_log_messages(7);
        let mut node = node("alice", config.max_outgoing(3));
        for (n, (id, lamport, named, sync)) in claims.iter().enumerate() {
            let now = at(n as u64 * 1_000);
            let named: Vec<String> = named.iter().map(|id| format!("x{id}")).collect();
            let lamport = lamport.map_or(EPOCH_MS, |ahead| EPOCH_MS + u64::from(ahead));
            let said = lip109(&format!("x{id}"), 0).lamport(lamport);
            let said = said.after(named.iter().map(String::as_str));
            let said = named.iter().fold(said, |said, id| said.asking(entry(id.as_str(), "bob")));
            let _refused = node.handle(now, if *sync { said.sync() } else { said }.input());
            node.handle(now, Input::Tick).expect("a tick is always taken");
            let _told = drain(&mut node);
            let status = status(&node);
            prop_assert!(status.incoming <= 5 && status.missing <= 9 && status.logged <= 7);
        }
        let _told = run(&mut node, 12 * 3_600 * 1_000);
        prop_assert_eq!((status(&node).incoming, status(&node).missing), (0, 0));
    }
}

#[test]
fn a_message_that_names_itself_is_a_head_until_another_names_it() {
    let mut node = node("alice", alice());
    let heads = |node: &Node| -> Vec<String> {
        let log = node.log(&channel()).expect("open");
        log.heads().map(|id| id.to_string()).collect()
    };
    let said = lip109("b1", 0).after(["b1"]);
    node.handle(at(0), Input::Datagram(said.bytes())).expect("taken in");
    assert_eq!(heads(&node), ["b1"]);
    let said = lip109("b2", 1).after(["b1"]);
    node.handle(at(1), Input::Datagram(said.bytes())).expect("taken in");
    assert_eq!(heads(&node), ["b2"]);
}
