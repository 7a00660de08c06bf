//! The four forms of the nim dialect: who writes one is read by readers of that form, whatever the
//! others write. Invariants I12 and I14 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use common::peer::{Said, entry, nim};
use common::store::{Store, start, strict};
use common::{
    Faults, Group, at, channel, delivered, drain, node, publish, run, sends, sent, status,
};
use proptest::prelude::*;
use sds_proto::bloom::Geometry;
use sds_proto::wire::{self, HistoryEntry, Limits, NimForm, WireDialect};
use sds_proto::{Config, ConfigBuilder, Dialect, Effect, Event, Input, Node, SendReason};

const FORMS: [NimForm; 4] = NimForm::ALL;

/// A message as a reader of one form takes it.
#[derive(Debug, Default, PartialEq)]
struct Read {
    id: String,
    sender: String,
    history: Vec<Named>,
    requests: Vec<Named>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Named {
    id: String,
    hint: Vec<u8>,
    sender: String,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

/// The fields of bytes, by number and in order; numbers as none.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = varint(&mut bytes);
        match tag % 8 {
            0 => fields.push((tag / 8, &[][..])),
            2 => {
                let (field, rest) = bytes.split_at(usize::try_from(value).expect("a length"));
                fields.push((tag / 8, field));
                bytes = rest;
            }
            other => panic!("wire type {other}"),
        }
    }
    fields
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn named(bytes: &[u8]) -> Named {
    let mut named = Named::default();
    for (number, value) in fields(bytes) {
        match number {
            1 => named.id = text(value),
            2 => named.hint = value.to_vec(),
            3 => named.sender = text(value),
            other => panic!("field {other} of an entry"),
        }
    }
    named
}

/// Reads a message as a program that knows one form does. `None`: it refuses it.
fn read_as(form: NimForm, bytes: &[u8]) -> Option<Read> {
    let fields = fields(bytes);
    if form != NimForm::V04 && fields.iter().all(|(number, _)| *number != 5) {
        return None;
    }
    let mut read = Read::default();
    for (number, value) in fields {
        match (number, form) {
            (1, _) => read.id = text(value),
            (3, NimForm::V030) => read.history.push(named(value)),
            (3, _) => read.history.push(Named { id: text(value), ..Named::default() }),
            (7, NimForm::V033) | (8, NimForm::V04) => {
                let said = named(value);
                let of = read.history.iter_mut().filter(|of| of.id == said.id);
                of.for_each(|of| *of = said.clone());
            }
            (7, NimForm::V030 | NimForm::V04) => read.sender = text(value),
            (13, NimForm::V030 | NimForm::V04) => read.requests.push(named(value)),
            _ => {}
        }
    }
    Some(read)
}

fn found(bytes: &Bytes) -> Option<NimForm> {
    wire::decode(bytes, &Limits::default()).expect("what we send").1.nim_form
}

fn quick(index: usize, seed: u64) -> ConfigBuilder {
    let millis = Duration::from_millis;
    Config::builder()
        .participant_id(format!("p{index}").into())
        .seed(seed * 100 + index as u64)
        .dialect(Dialect::NimSds)
        .accept_lip109(false)
        .sync_to_nim(true)
        .bloom_capacity(1_000)
        .repair_t_min(millis(100))
        .repair_t_max(Some(millis(1_000)))
        .repair_sync_min(millis(20))
        .sync_min(millis(200))
        .sync_max(millis(800))
        .resend_after(millis(500))
        .resend_max(millis(5_000))
}

/// A group of these forms that publishes and gets everything, and what was sent in it.
fn group(seed: u64, forms: &[NimForm]) -> Group {
    let count = forms.len();
    let configs = forms
        .iter()
        .enumerate()
        .map(|(index, form)| quick(index, seed).nim_form(*form).build().expect("valid settings"));
    let mut group = Group::new(configs.collect(), seed, LOSSY);
    group.datagrams = Some(Vec::new());
    converge(group, count)
}

const LOSSY: Faults = Faults { loss: 20, dup: 10, delay_ms: 200 };

/// All publish, and get everything.
fn converge(mut group: Group, count: usize) -> Group {
    for round in 0..15 {
        for index in 0..count {
            let id = format!("m-{index}-{round}");
            group.handle(index, publish(&id)).expect("published");
            let hint = Input::Hint {
                channel: channel(),
                message_id: id.as_str().into(),
                hint: Bytes::from(format!("hint of {id}")),
            };
            group.handle(index, hint).expect("logged");
            let end = group.now + group.rng.below(20) * 1_000;
            while group.step(end) {}
        }
    }
    let all = count * 15;
    let done = group.run_until(120_000, |group| (0..count).all(|index| group.logged(index) == all));
    let counts: Vec<_> = (0..count).map(|index| group.logged(index)).collect();
    assert!(done, "{counts:?} of {all}, sends {:?}", group.sends);
    group.check();
    let logs: BTreeSet<Vec<_>> = (0..count)
        .map(|index| {
            let entries = group.log(index);
            entries.iter().map(|e| (e.lamport(), e.message_id().as_bytes().to_vec())).collect()
        })
        .collect();
    assert_eq!(logs.len(), 1, "one order");
    let differing = |told: &&Effect| {
        matches!(told, Effect::Event(Event::Conflict { .. }) | Effect::Event(Event::Lost { .. }))
    };
    assert_eq!(group.told.iter().flatten().find(differing), None);
    group
}

#[test]
fn members_of_each_form_are_read_by_readers_of_it() {
    for seed in 1..=3 {
        let group = group(seed, &FORMS);
        let published: BTreeSet<String> =
            (0..4).flat_map(|n| (0..15).map(move |round| format!("m-{n}-{round}"))).collect();
        let mut hints = [0; 4];
        for (from, bytes) in group.datagrams.as_deref().expect("kept") {
            let form = FORMS[*from];
            let read = read_as(form, bytes).expect("its own form");
            let (_, ours) = wire::decode(bytes, &Limits::default()).expect("what we send");
            assert_eq!(ours.message_id.as_str(), Some(&read.id[..]));
            let of_ours = |of: &HistoryEntry| Named {
                id: text(of.message_id.as_bytes()),
                hint: of.retrieval_hint.clone().unwrap_or_default().into(),
                sender: text(of.sender_id.as_bytes()),
            };
            let history: Vec<_> = ours.causal_history.iter().map(of_ours).collect();
            assert_eq!(history, read.history, "{form}");
            let requests: Vec<_> = ours.repair_request.iter().map(of_ours).collect();
            assert_eq!(requests, read.requests, "{form}");
            assert_eq!(ours.sender_id.as_str(), Some(&read.sender[..]), "{form}");
            for named in &read.history {
                assert!(published.contains(&named.id), "{named:?}");
                let hint = format!("hint of {}", named.id).into_bytes();
                assert!(named.hint.is_empty() || named.hint == hint);
                hints[*from] += usize::from(!named.hint.is_empty());
            }
            // Bare ids are bare ids in each of the three forms that have them.
            let ids = |read: &Read| read.history.iter().map(|n| n.id.clone()).collect::<Vec<_>>();
            for other in FORMS.into_iter().filter(|_| form != NimForm::V030) {
                if other != NimForm::V030
                    && (form, other) != (NimForm::V033, NimForm::V04)
                    && (form, other) != (NimForm::V04, NimForm::V033)
                    && let Some(foreign) = read_as(other, bytes)
                {
                    assert_eq!((&foreign.id, ids(&foreign)), (&read.id, ids(&read)));
                }
            }
        }
        assert_eq!(hints[0], 0, "no room for hints");
        assert!(hints[1..].iter().all(|hints| *hints > 0), "{hints:?}");
    }
}

#[test]
fn groups_that_cannot_ask_get_everything_by_their_filters() {
    for form in FORMS {
        let group = group(5, &[form; 4]);
        let asking = group.datagrams.iter().flatten().filter(|(_, bytes)| {
            !wire::decode(bytes, &Limits::default()).expect("ours").1.repair_request.is_empty()
        });
        assert_eq!(asking.count() > 0, form.is_complete(), "{form}");
    }
}

#[test]
fn a_bridge_joins_lip109_with_forms_without_senders() {
    let nim = |form| (Dialect::NimSds, form);
    let members = [
        (Dialect::Lip109, NimForm::V04),
        nim(NimForm::V033),
        (Dialect::Bridge, NimForm::V033),
        (Dialect::Lip109, NimForm::V04),
        nim(NimForm::V02),
    ];
    for seed in 1..=3 {
        let configs = members.iter().enumerate().map(|(index, (dialect, form))| {
            let config = quick(index, seed).dialect(*dialect).nim_form(*form);
            let config = config.accept_lip109(*dialect != Dialect::NimSds);
            config.accept_nim_sds(*dialect != Dialect::Lip109).build().expect("valid settings")
        });
        converge(Group::new(configs.collect(), seed, LOSSY), members.len());
    }
}

proptest! {
    /// Whatever ids, hints and senders are: told in a form, they are read as that form tells them.
    #[test]
    fn what_is_written_in_a_form_is_read_with_the_same_ids(
        form in 0..4_u8,
        rest in proptest::collection::vec(prop_oneof![any::<u8>(), 0..3_u8, Just(0x0a)], 0..300),
    ) {
        let mut data = vec![1 + 2 * form];
        data.extend(rest);
        sds_proto::fuzz::roundtrip(&data);
    }
}

/// A member of a form that has something to answer.
fn with_form(form: NimForm) -> ConfigBuilder {
    Config::builder().dialect(Dialect::NimSds).nim_form(form).bloom_capacity(100)
}

/// A message with a hint and a sender in its history, as some form.
fn hinted(id: &str, form: NimForm) -> Said {
    let mut named: HistoryEntry = entry("b1", "bob");
    named.retrieval_hint = Some(Bytes::from("there"));
    nim(id, 2).naming(named).in_form(form)
}

#[test]
fn resends_and_answers_are_in_the_form_of_the_channel() {
    for form in FORMS {
        let mut node = node("alice", with_form(form));
        node.handle(at(10), nim("b1", 1).input()).expect("taken");
        node.handle(at(10), hinted("b2", NimForm::V030).input()).expect("taken");
        node.handle(at(10), publish("m1")).expect("published");
        let asks = nim("c1", 20).by("carol").asking(entry("b2", "bob"));
        node.handle(at(20), asks.in_form(NimForm::V030).input()).expect("taken");
        node.handle(at(30), publish("m2")).expect("published");
        let told = run(&mut node, 400_000);
        for reason in [SendReason::New, SendReason::Resend, SendReason::Repair] {
            assert!(sends(&told, reason) > 0, "{reason:?}");
        }
        for bytes in sent(&told) {
            let read = read_as(form, &bytes).expect("its form");
            assert!(!read.history.is_empty());
            let known = ["b1", "b2", "c1", "m1"];
            assert!(read.history.iter().all(|of| known.contains(&&of.id[..])), "{read:?}");
        }
    }
}

#[test]
fn a_bridge_tells_nim_peers_in_its_form() {
    let config = with_form(NimForm::V033).dialect(Dialect::Bridge);
    let mut node = node("alice", config);
    node.handle(at(10), common::peer::lip109("b1", 1).input()).expect("taken");
    node.handle(at(10), common::peer::lip109("b2", 2).after(["b1"]).input()).expect("taken");
    let told = run(&mut node, 10_000);
    assert_eq!(sends(&told, SendReason::Bridge), 2);
    let last = sent(&told).pop().expect("two copies");
    let read = read_as(NimForm::V033, &last).expect("its form");
    let ids: Vec<_> = read.history.iter().map(|of| &of.id[..]).collect();
    assert_eq!((&read.id[..], ids), ("b2", vec!["b1"]));
}

#[test]
fn a_channel_may_have_another_form_after_each_restart() {
    for (before, after) in FORMS.into_iter().flat_map(|before| FORMS.map(|after| (before, after))) {
        let mut store = Store::default();
        let config = |form| strict().dialect(Dialect::NimSds).nim_form(form);
        let (mut node, _) = start(config(before), &mut store, 0);
        for input in [nim("b1", 1).input(), hinted("b2", before).input(), publish("m1")] {
            node.handle(at(10), input).expect("taken");
            store.serve(&mut node, at(10));
        }
        let (mut node, _) = start(config(after), &mut store, 20);
        let resend = Input::Resend { channel: channel(), message_id: "m1".into() };
        node.handle(at(30), resend).expect("it is not acknowledged");
        let told = store.serve(&mut node, at(30));
        let [bytes] = &sent(&told)[..] else { panic!("{before} to {after}: {told:?}") };
        let read = read_as(after, bytes).expect("its form");
        let ids: Vec<_> = read.history.iter().map(|of| &of.id[..]).collect();
        assert_eq!(ids, ["b1", "b2"], "{before} to {after}");
        node.handle(at(40), nim("b3", 40).after(["m1", "b2"]).input()).expect("taken");
        assert_eq!(delivered(&store.serve(&mut node, at(40))), ["b3".into()]);
    }
}

/// The form in which a node publishes a message now.
fn published_in(node: &mut Node, id: &str) -> Option<NimForm> {
    node.handle(at(100), publish(id)).expect("published");
    found(&sent(&drain(node))[0])
}

#[test]
fn a_mirror_writes_what_is_read_where_it_listens() {
    let initial = WireDialect::NimSds;
    let mut node = node("alice", Config::builder().dialect(Dialect::Mirror { initial }));
    node.handle(at(10), nim("b1", 1).in_form(NimForm::V04).input()).expect("taken");
    assert_eq!(published_in(&mut node, "m1"), Some(NimForm::V04));
    node.handle(at(10), hinted("b2", NimForm::V033).input()).expect("taken");
    node.handle(at(10), hinted("b3", NimForm::V02).input()).expect("taken");
    node.handle(at(20), hinted("b4", NimForm::V04).input()).expect("taken");
    published_in(&mut node, "m2");
    assert_eq!(status(&node).nim_form, NimForm::V033, "others are read by its readers too");
    // A message that is not delivered says nothing.
    node.handle(at(20), nim("b6", 6).after(["b5"]).in_form(NimForm::V030).input()).expect("taken");
    assert_eq!(status(&node).nim_form, NimForm::V033);
    node.handle(at(20), nim("b5", 5).in_form(NimForm::V02).input()).expect("taken");
    assert_eq!(published_in(&mut node, "m3"), Some(NimForm::V030));
}

#[test]
fn what_a_form_has_no_room_for_is_told_once() {
    for form in FORMS {
        let mut node = node("alice", with_form(form));
        for id in ["m1", "m2"] {
            node.handle(at(10), publish(id)).expect("published");
        }
        node.handle(at(10), nim("b2", 2).after(["b1"]).input()).expect("taken");
        let told = run(&mut node, 100_000);
        let incomplete =
            |told: &&Effect| matches!(told, Effect::Event(Event::FormIncomplete { .. }));
        let count = told.iter().filter(incomplete).count();
        assert_eq!(count, usize::from(!form.is_complete()), "{form}");
        let status = status(&node);
        assert_eq!((status.nim_form, status.never_asks), (form, !form.is_complete()));
    }
}

#[test]
fn filters_of_unknown_senders_count_as_one() {
    // A full one, of which one in ten ids is a false positive.
    let geometry = Geometry::new(10, 0.1).expect("a geometry");
    let held = ["m1", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"];
    let acks = |form: NimForm| {
        let mut node = node("alice", with_form(NimForm::V04).ack_confidence(1e-4));
        node.handle(at(10), publish("m1")).expect("published");
        drain(&mut node);
        for n in 0..6_u64 {
            let said = nim(&format!("b{n}"), 20 + n).by(&format!("bob{n}"));
            let said = said.having(geometry, held).in_form(form);
            node.handle(at(20 + n), said.input()).expect("taken");
        }
        let told = drain(&mut node);
        let is_acked = told.iter().any(|told| matches!(told, Effect::Event(Event::Acked { .. })));
        let is_possible =
            told.iter().any(|told| matches!(told, Effect::Event(Event::PossiblyAcked { .. })));
        (is_possible, is_acked)
    };
    assert_eq!(acks(NimForm::V04), (true, true));
    assert_eq!(acks(NimForm::V033), (true, false));
}

#[test]
fn copies_without_their_sender_are_no_conflict() {
    let mut node = node("alice", with_form(NimForm::V04));
    for form in FORMS.into_iter().rev() {
        node.handle(at(10), nim("b1", 1).in_form(form).input()).expect("taken");
    }
    let told = drain(&mut node);
    assert!(
        !told.iter().any(|told| matches!(told, Effect::Event(Event::Conflict { .. }))),
        "{told:?}"
    );
    node.handle(at(10), nim("b1", 1).by("carol").input()).expect("taken");
    let told = drain(&mut node);
    assert!(
        told.iter().any(|told| matches!(told, Effect::Event(Event::Conflict { .. }))),
        "another sender"
    );
}

#[test]
fn ids_that_begin_like_entries_are_named_where_that_is_no_entry() {
    let odd = || sds_proto::MessageId::from(&b"\x0a\x01e"[..]);
    for form in FORMS {
        let mut node = node("alice", with_form(form));
        let said = Said::new(WireDialect::NimSds, odd(), common::EPOCH_MS);
        node.handle(at(10), said.input()).expect("taken");
        drain(&mut node);
        node.handle(at(10), publish("m1")).expect("published");
        let (_, message) =
            wire::decode(&sent(&drain(&mut node))[0], &Limits::default()).expect("ours");
        let ids: Vec<_> = message.causal_history.iter().map(|of| of.message_id.clone()).collect();
        let expected = if form.is_complete() { vec![odd()] } else { vec![] };
        assert_eq!(ids, expected, "{form}");
    }
}

#[test]
fn who_cannot_ask_is_offered_what_its_filter_lacks() {
    let offered = |form: NimForm, held: &[&str]| {
        let mut node = node("alice", with_form(NimForm::V04).resend(false));
        for id in ["b1", "b2"] {
            node.handle(at(10), nim(id, 1).input()).expect("taken");
        }
        let geometry = Geometry::new(100, 0.001).expect("a geometry");
        let mut told = Vec::new();
        for n in 1..5_u64 {
            let said = nim(&format!("c{n}"), n).by("carol").having(geometry, held.iter().copied());
            let now = 40_000 * n;
            node.handle(at(now), said.in_form(form).input()).expect("taken");
            told.extend(run(&mut node, now + 39_000));
        }
        told.extend(run(&mut node, 1_000_000));
        sent(&told)
            .iter()
            .map(|bytes| read_as(NimForm::V04, bytes).expect("ours").id)
            .collect::<BTreeSet<_>>()
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(offered(NimForm::V033, &["b1", "b2", "c1", "c2", "c3"]), ids(&[]));
    assert_eq!(offered(NimForm::V033, &["b2", "c1", "c2", "c3"]), ids(&["b1"]));
    assert_eq!(offered(NimForm::V04, &["b2", "c1", "c2", "c3"]), ids(&[]), "it can ask");
}

#[test]
fn who_publishes_nothing_is_told_when_it_would_ask() {
    let mut node = node("alice", with_form(NimForm::V033));
    node.handle(at(10), nim("b2", 2).after(["b1"]).input()).expect("taken");
    let incomplete = |told: &&Effect| matches!(told, Effect::Event(Event::FormIncomplete { .. }));
    assert_eq!(drain(&mut node).iter().filter(incomplete).count(), 0);
    assert_eq!(run(&mut node, 1_000_000).iter().filter(incomplete).count(), 1);
}
