//! What a store that is slow, fails or forgets does to a node, and what a restart keeps: invariants
//! I3, I9 and I10 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use std::collections::BTreeSet;

use common::peer::{entry, lip109};
use common::store::{Store, start, strict};
use common::{at, channel, delivered, drain, open, publish};
use sds_proto::wire::{self, Limits};
use sds_proto::{
    DeliverySeq, Durability, Effect, Input, LogDigest, MessageId, Node, PublishKind, RejectReason,
    SendReason, Status, StoreError,
};

fn ids(names: &[&str]) -> Vec<MessageId> {
    names.iter().map(|name| MessageId::from(*name)).collect()
}

fn acked(effects: &[Effect]) -> Vec<MessageId> {
    let acked = effects.iter().filter_map(|effect| match effect {
        Effect::Acked { message_id, .. } => Some(message_id.clone()),
        _ => None,
    });
    acked.collect()
}

/// Everything an observer can read of a channel.
fn state(node: &Node) -> (Status, LogDigest, Vec<MessageId>, Vec<MessageId>) {
    let log = node.log(&channel()).expect("open");
    let mut status = node.status(&channel()).expect("open");
    // A body that was a slice of its datagram comes back as an allocation of its own.
    status.logged_bytes = 0;
    let logged = log.iter().map(|entry| entry.message_id.clone()).collect();
    let named = node.next_causal_history(&channel()).cloned().collect();
    (status, log.digest(), logged, named)
}

#[test]
fn nothing_that_depends_on_a_store_that_never_answers_gets_out() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    let mut effects = Vec::new();
    let inputs = [
        publish("m1"),
        lip109("b1", 1).asking(entry("m1", "alice")).input(),
        lip109("b3", 3).after(["b2"]).input(),
        lip109("s1", 4).sync().after(["m1"]).input(),
        lip109("e1", 4).ephemeral().input(),
        Input::Publish {
            channel: channel(),
            message_id: "e2".into(),
            content: "x".into(),
            kind: PublishKind::Ephemeral,
        },
    ];
    for input in inputs {
        node.handle(at(5), input).expect("taken");
        effects.extend(drain(&mut node));
    }
    for _ in 0..200 {
        let Some(deadline) = node.next_deadline() else { break };
        let now = deadline.at.as_micros().div_ceil(1_000);
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        effects.extend(drain(&mut node));
    }
    let (mut ephemeral, mut writes) = (0, 0);
    for effect in effects {
        match effect {
            Effect::Send { why: SendReason::Ephemeral, .. } | Effect::DeliverEphemeral { .. } => {
                ephemeral += 1;
            }
            Effect::Persist { .. } => writes += 1,
            Effect::RequestRepair { .. } => {}
            other => panic!("got out: {other:?}"),
        }
    }
    assert_eq!(ephemeral, 2);
    assert!(writes > 10, "time went on");
}

#[test]
fn a_slow_store_delays_everything_and_changes_no_order() {
    let inputs = || {
        let first = [lip109("b0", 0).input()];
        let others = (1..20).flat_map(|n| {
            let named = format!("b{}", n - 1);
            let said = lip109(&format!("b{n}"), n).after([named.as_str()]);
            [publish(&format!("m{n}")), said.input()]
        });
        first.into_iter().chain(others)
    };
    let run = |lag: usize| {
        let mut store = Store::default();
        let (mut node, _) = start(strict(), &mut store, 0);
        let mut effects = Vec::new();
        for input in inputs() {
            node.handle(at(1), input).expect("taken");
            for effect in drain(&mut node) {
                match effect {
                    Effect::Persist { id, changes } => store.write(id, changes),
                    other => effects.push(other),
                }
            }
            if store.queue.len() > lag {
                let answer = store.answer().expect("queued");
                node.handle(at(1), answer).expect("asked for");
            }
        }
        while let Some(answer) = store.answer() {
            node.handle(at(1), answer).expect("asked for");
            effects.extend(drain(&mut node));
        }
        effects.extend(drain(&mut node));
        effects.retain(|effect| !matches!(effect, Effect::RequestRepair { .. }));
        effects
    };
    let prompt = run(0);
    assert!(prompt.len() > 40);
    assert_eq!(run(7), prompt);
    assert_eq!(run(usize::MAX), prompt);
}

#[test]
fn a_store_that_fails_and_recovers_releases_everything_in_order() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    store.failing = Some(StoreError::Unavailable);
    node.handle(at(1), publish("m1")).expect("not known to fail yet");
    let effects = store.serve(&mut node, at(1));
    assert!(matches!(effects[..], [Effect::Degraded { error: StoreError::Unavailable, .. }]));

    let mut now = 1;
    for round in 0..6 {
        let refused = node.handle(at(now), publish("m2")).expect_err("degraded");
        assert_eq!((refused.reason, *refused.input), (RejectReason::Degraded, publish("m2")));
        let said = lip109(&format!("b{round}"), round);
        node.handle(at(now), said.input()).expect("others are heard");
        assert_eq!(store.serve(&mut node, at(now)), []);
        now = node.next_deadline().expect("the retry").at.as_micros().div_ceil(1_000);
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        let effects = store.serve(&mut node, at(now));
        assert!(matches!(effects[..], [Effect::Degraded { .. }]), "{effects:?}");
    }
    store.failing = None;
    now = node.next_deadline().expect("the retry").at.as_micros().div_ceil(1_000);
    node.handle(at(now), Input::Tick).expect("a tick is always taken");
    let effects = store.serve(&mut node, at(now));
    assert_eq!(effects[0], Effect::Recovered);
    assert_eq!(delivered(&effects), ids(&["m1", "b0", "b1", "b2", "b3", "b4", "b5"]));
    node.handle(at(now), publish("m2")).expect("no longer degraded");
}

#[test]
fn what_a_failing_store_held_leaves_as_if_it_had_not_failed() {
    let run = |failures: usize| {
        let mut store = Store::default();
        let (mut node, _) = start(strict(), &mut store, 0);
        let mut effects = Vec::new();
        node.handle(at(1), publish("m1")).expect("published");
        node.handle(at(1), publish("m2")).expect("published");
        store.failing = (failures > 0).then_some(StoreError::Full);
        effects.extend(store.serve(&mut node, at(1)));
        for n in 1..6 {
            let named = format!("m{}", n.min(2));
            let said = lip109(&format!("b{n}"), n).naming(entry(named.as_str(), "alice"));
            node.handle(at(1), said.input()).expect("others are heard");
            effects.extend(store.serve(&mut node, at(1)));
        }
        let late = lip109("b7", 7).after(["b6"]);
        node.handle(at(1), late.input()).expect("others are heard");
        node.handle(at(1), lip109("b6", 6).input()).expect("others are heard");
        effects.extend(store.serve(&mut node, at(1)));
        for failed in 1..=failures {
            store.failing = (failed < failures).then_some(StoreError::Unavailable);
            let now = node.next_deadline().expect("the retry").at.as_micros().div_ceil(1_000);
            node.handle(at(now), Input::Tick).expect("a tick is always taken");
            effects.extend(store.serve(&mut node, at(now)));
        }
        let (told, kept): (Vec<_>, Vec<_>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Degraded { .. } | Effect::Recovered));
        (told, kept, store.disk)
    };
    let (told, expected, disk) = run(0);
    assert!(told.is_empty() && expected.len() > 12, "{expected:?}");
    for failures in 1..5 {
        let (told, effects, same_disk) = run(failures);
        assert_eq!(effects, expected);
        assert_eq!(same_disk, disk);
        let (recovered, degraded) = told.split_last().expect("it failed");
        assert_eq!((recovered, degraded.len()), (&Effect::Recovered, failures));
    }
}

#[test]
fn a_failed_write_is_retried_ever_later_and_does_not_grow() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(0), publish("m1")).expect("published");
    store.failing = Some(StoreError::Unavailable);
    let (mut now, mut waits, mut writes) = (0, Vec::new(), Vec::new());
    for _ in 0..12 {
        let mut retry_at = None;
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Persist { id, changes } => {
                    writes.push(changes.len());
                    store.write(id, changes);
                    let failed = store.answer().expect("just queued");
                    node.handle(at(now), failed).expect("asked for");
                }
                Effect::Degraded { retry_at: at, .. } => retry_at = Some(at),
                other => panic!("got out: {other:?}"),
            }
        }
        let next = retry_at.expect("it failed").as_micros() / 1_000;
        waits.push(next - now);
        // What is due meanwhile, such as a resend, goes on; nothing of it gets out.
        now = next;
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
    }
    let expected =
        [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000];
    assert_eq!(waits, expected);
    assert_eq!(writes.len(), 12, "one write at a time");
    assert!(writes.iter().all(|changes| *changes <= 4), "{writes:?}");
}

#[test]
fn relaxed_holds_nothing_back_and_writes_the_same() {
    let inputs = || {
        let named = lip109("b1", 1).naming(entry("m1", "alice")).asking(entry("m1", "alice"));
        [publish("m1"), named.input(), lip109("b3", 3).after(["b2"]).input(), publish("m2")]
    };
    let run = |durability: Durability, answers: bool| {
        let mut store = Store::default();
        let (mut node, _) = start(strict().durability(durability), &mut store, 0);
        let mut told = Vec::new();
        for input in inputs() {
            node.handle(at(1), input).expect("taken");
            while let Some(effect) = node.poll_effect() {
                let Effect::Persist { id, changes } = effect else {
                    told.push(effect);
                    continue;
                };
                store.write(id, changes);
                if answers {
                    let answer = store.answer().expect("just queued");
                    node.handle(at(1), answer).expect("asked for");
                }
            }
        }
        while store.answer().is_some() {}
        (told, store.disk)
    };
    let (expected, disk) = run(Durability::Strict, true);
    let (told, same_disk) = run(Durability::Relaxed, false);
    assert_eq!(told, expected);
    assert_eq!(same_disk, disk);
    assert_eq!(delivered(&told), ids(&["m1", "b1", "m2"]));
    assert_eq!(run(Durability::Strict, false).0, []);
}

#[test]
fn nothing_is_read_past_a_failed_write() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), publish("m1")).expect("published");
    store.failing = Some(StoreError::Unavailable);
    store.serve(&mut node, at(1));
    node.handle(at(1), Input::Close { channel: channel() }).expect("closes");
    node.handle(at(1), open()).expect("opens again");
    assert_eq!(drain(&mut node), []);
    store.failing = None;
    node.handle(at(1_000), Input::Tick).expect("a tick is always taken");
    store.serve(&mut node, at(1_000));
    assert_eq!(node.log(&channel()).expect("open").len(), 1);
}

#[test]
fn a_write_that_reached_the_store_before_it_failed_may_be_repeated() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    for n in 0..150 {
        node.handle(at(n), lip109(&format!("b{n}"), n).input()).expect("taken");
    }
    let Some(Effect::Persist { id, changes }) = node.poll_effect() else { panic!("a write") };
    store.write(id, changes);
    let _lost_on_the_way = store.answer();
    let failed = Input::Persisted { id, result: Err(StoreError::Unavailable) };
    node.handle(at(200), failed).expect("asked for");
    let once = store.disk.clone();
    let retry_at = node.next_deadline().expect("the retry").at.as_micros().div_ceil(1_000);
    let _degraded = drain(&mut node);
    node.handle(at(retry_at + 1_000), Input::Tick).expect("a tick is always taken");
    store.serve(&mut node, at(retry_at + 1_000));
    assert!(store.disk == once, "what was applied twice is as if applied once");
}

#[test]
fn own_messages_that_the_store_forgot_are_taken_in_like_anyones() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), publish("m1")).expect("published");
    store.serve(&mut node, at(1));
    let older = store.disk.clone();
    node.handle(at(2), publish("m2")).expect("published");
    let sent = common::sent(&store.serve(&mut node, at(2)));

    store.disk = older;
    let (mut node, _) = start(strict(), &mut store, 3);
    assert_eq!(node.status(&channel()).map(|status| status.outgoing), Some(1));
    node.handle(at(4), Input::Datagram(sent[0].clone())).expect("taken");
    let effects = store.serve(&mut node, at(4));
    assert_eq!(delivered(&effects), ids(&["m2"]));
    assert_eq!(acked(&effects), [], "our own word is no acknowledgement");
    assert_eq!(node.status(&channel()).map(|status| status.outgoing), Some(1));
}

#[test]
fn a_restart_keeps_the_state() {
    let config = || strict().max_log_messages(6).max_outgoing(3);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    for n in 0..9 {
        let named = if n % 3 == 2 { "missing" } else { "b0" };
        let said = lip109(&format!("b{n}"), n).after([named]);
        node.handle(at(n), said.input()).expect("taken");
        node.handle(at(n), publish(&format!("m{n}"))).ok();
        store.serve(&mut node, at(n));
    }
    node.handle(at(9), lip109("s1", 500).sync().input()).expect("taken");
    let log = node.log(&channel()).expect("open");
    let message_id = log.iter().next_back().expect("an entry").message_id.clone();
    let hint = Input::Hint { channel: channel(), message_id, hint: "shelf".into() };
    node.handle(at(9), hint).expect("a logged message");
    store.serve(&mut node, at(9));
    assert!(node.status(&channel()).is_some_and(|status| status.incoming > 0));

    let (restarted, _) = start(config(), &mut store, 10);
    assert_eq!(state(&restarted), state(&node));
    let (again, _) = start(config(), &mut store, 11);
    assert_eq!(state(&again), state(&node));
}

#[test]
fn what_was_consumed_is_not_delivered_again_and_the_rest_is_in_order_and_marked() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    for n in [5, 3, 4, 1, 2] {
        node.handle(at(1), lip109(&format!("b{n}"), n).input()).expect("taken");
    }
    let told = store.serve(&mut node, at(1));
    let consumed = Input::Consumed { channel: channel(), up_to: DeliverySeq(2) };
    node.handle(at(1), consumed).expect("the channel is open");
    store.serve(&mut node, at(1));
    let (_, again) = start(strict(), &mut store, 2);
    assert_eq!(delivered(&told), ids(&["b5", "b3", "b4", "b1", "b2"]));
    assert_eq!(delivered(&again), ids(&["b4", "b1", "b2"]));
    for effect in &again {
        let Effect::Deliver(delivery) = effect else { panic!("{effect:?}") };
        assert!(delivery.redelivery);
    }
}

#[test]
fn with_auto_consume_nothing_is_delivered_twice() {
    let mut store = Store::default();
    let (mut node, _) = start(strict().auto_consume(true), &mut store, 0);
    node.handle(at(1), lip109("b1", 1).input()).expect("taken");
    assert_eq!(delivered(&store.serve(&mut node, at(1))), ids(&["b1"]));
    let (_, again) = start(strict().auto_consume(true), &mut store, 2);
    assert_eq!(again, []);
}

#[test]
fn a_channel_that_could_not_be_loaded_waits_for_another_answer() {
    let mut store = Store::default();
    let mut node = Node::new(strict().build().expect("valid settings"));
    node.handle(at(0), open()).expect("opens");
    assert_eq!(drain(&mut node), [Effect::Load { channel: channel() }]);
    let early = node.handle(at(0), lip109("b1", 1).input()).expect_err("it is loading");
    assert_eq!(early.reason, RejectReason::ChannelLoading);
    let failed = Input::Loaded { channel: channel(), result: Err(StoreError::Corrupt) };
    let refused = node.handle(at(0), failed).expect_err("nothing to go on with");
    assert_eq!(refused.reason, RejectReason::LoadFailed(StoreError::Corrupt));
    assert!(node.status(&channel()).is_none());

    node.handle(at(0), store.load(&channel())).expect("still waited for");
    store.serve(&mut node, at(0));
    assert_eq!(node.status(&channel()), Some(Status::default()));
    let again = node.handle(at(0), store.load(&channel())).expect_err("it is open");
    assert_eq!(again.reason, RejectReason::NotLoading);
}

/// A participant whose process dies at one point of a run: after so many effects were carried out.
struct Mortal {
    node: Node,
    store: Store,
    /// Effects left to live.
    left: usize,
    crashed: bool,
    /// What left the node in all its lives.
    effects: Vec<Effect>,
}

impl Mortal {
    fn new(left: usize) -> Self {
        let mut store = Store::default();
        let (node, _) = start(strict(), &mut store, 0);
        Self { node, store, left, crashed: false, effects: Vec::new() }
    }

    fn handle(&mut self, now: u64, input: Input) {
        let _refused = self.node.handle(at(now), input);
        while let Some(effect) = self.node.poll_effect() {
            if self.left == 0 && !self.crashed {
                self.crash(now, &effect);
                return;
            }
            self.left = self.left.saturating_sub(1);
            self.carry_out(now, effect);
        }
    }

    fn carry_out(&mut self, now: u64, effect: Effect) {
        let answer = match effect {
            Effect::Persist { id, changes } => {
                self.store.write(id, changes);
                self.store.answer().expect("just queued")
            }
            Effect::Load { channel } => self.store.load(&channel),
            other => {
                self.effects.push(other);
                return;
            }
        };
        self.node.handle(at(now), answer).expect("asked for");
    }

    /// Dies with `effect` in hand: a write still reaches the store, whose answer is never heard.
    fn crash(&mut self, now: u64, effect: &Effect) {
        self.crashed = true;
        if let Effect::Persist { id, changes } = effect {
            self.store.write(*id, changes.clone());
            let _unheard = self.store.answer();
        }
        let (node, effects) = start(strict(), &mut self.store, now);
        self.node = node;
        self.effects.extend(effects);
    }
}

/// Own messages, foreign ones in and out of order, acknowledgements, requests.
fn run_and_crash_after(effects: usize) -> Mortal {
    let mut mortal = Mortal::new(effects);
    mortal.handle(1, publish("m1"));
    mortal.handle(2, lip109("b2", 12).after(["b1"]).input());
    mortal.handle(3, publish("m2"));
    mortal.handle(4, lip109("b1", 11).naming(entry("m1", "alice")).input());
    mortal.handle(5, lip109("b4", 14).after(["b3"]).asking(entry("m2", "alice")).input());
    mortal.handle(6, publish("m3"));
    let consumed = Input::Consumed { channel: channel(), up_to: DeliverySeq(2) };
    mortal.handle(7, consumed);
    mortal.handle(8, Input::Tick);
    mortal
}

/// What the peers do until all is well: bob repeats what he said.
fn let_bob_repeat(mortal: &mut Mortal) {
    mortal.handle(100, lip109("b1", 11).naming(entry("m1", "alice")).input());
    mortal.handle(101, lip109("b2", 12).after(["b1"]).input());
    mortal.handle(102, lip109("b3", 13).input());
    mortal.handle(103, lip109("b4", 14).after(["b3"]).asking(entry("m2", "alice")).input());
}

#[test]
fn a_crash_at_any_point_loses_nothing_that_left_and_reuses_no_lamport_time() {
    let mut crashes = 0;
    for effects in 0.. {
        let mut mortal = run_and_crash_after(effects);
        if !mortal.crashed {
            break;
        }
        crashes += 1;
        let_bob_repeat(&mut mortal);
        mortal.handle(104, publish("m4"));

        let mut times = BTreeSet::new();
        let mut own = BTreeSet::new();
        for effect in &mortal.effects {
            let Effect::Send { bytes, .. } = effect else { continue };
            let (_, message) = wire::decode(bytes, &Limits::default()).expect("ours");
            own.insert(message.message_id.clone());
            times.insert((message.lamport, message.message_id.clone()));
        }
        let distinct: BTreeSet<_> = times.iter().map(|(lamport, _)| lamport).collect();
        assert_eq!(distinct.len(), times.len(), "crash after {effects}: a Lamport time reused");
        assert_eq!(own.len(), times.len(), "crash after {effects}: an id with two times");

        let log = mortal.node.log(&channel()).expect("open");
        for id in &own {
            assert!(log.get(id).is_some(), "crash after {effects}: {id} left and is forgotten");
        }
        for id in ids(&["b1", "b2", "b3", "b4"]) {
            assert!(log.get(&id).is_some(), "crash after {effects}: {id} is not here");
        }
        let told: BTreeSet<_> = delivered(&mortal.effects).into_iter().collect();
        assert_eq!(told.len(), log.len(), "crash after {effects}: logged and never told");
    }
    assert!(crashes > 20, "{crashes}");
}

#[test]
fn a_crash_at_any_point_repeats_deliveries_only_marked_and_in_order() {
    for effects in 0.. {
        let mortal = run_and_crash_after(effects);
        if !mortal.crashed {
            break;
        }
        let mut told = BTreeSet::new();
        let mut last = DeliverySeq(0);
        for effect in &mortal.effects {
            let Effect::Deliver(delivery) = effect else { continue };
            let new = told.insert(delivery.entry.message_id.clone());
            assert!(new || delivery.redelivery, "crash after {effects}: {delivery:?}");
            let expected = if delivery.redelivery && delivery.seq <= last {
                DeliverySeq(1)..=last
            } else {
                DeliverySeq(last.0 + 1)..=DeliverySeq(last.0 + 1)
            };
            assert!(expected.contains(&delivery.seq), "crash after {effects}: {delivery:?}");
            last = delivery.seq;
        }
    }
}

#[test]
fn unacknowledged_messages_are_resent_and_wanted_ones_asked_for_after_a_restart() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), publish("m1")).expect("published");
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    store.serve(&mut node, at(1));
    let (mut node, _) = start(strict(), &mut store, 2);
    let (mut resent, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let now = node.next_deadline().expect("a resend").at.as_micros().div_ceil(1_000);
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        for effect in store.serve(&mut node, at(now)) {
            let Effect::Send { bytes, why, message_id, .. } = effect else { continue };
            let (_, message) = wire::decode(&bytes, &Limits::default()).expect("ours");
            asked.extend(message.repair_request.into_iter().map(|entry| entry.message_id));
            resent.extend((why == SendReason::Resend).then_some(message_id));
        }
    }
    assert_eq!(resent[0], "m1".into());
    assert_eq!(asked[0], "b1".into());
}

#[test]
fn a_message_dropped_for_want_of_room_is_as_new_after_a_restart() {
    let config = || strict().max_incoming_messages(1);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    let furthest = lip109("b9", 9).after(["b8"]);
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    node.handle(at(1), furthest.input()).expect("taken");
    let effects = store.serve(&mut node, at(1));
    assert!(effects.iter().any(|told| matches!(told, Effect::Bounded { .. })), "{effects:?}");

    let (mut node, _) = start(config(), &mut store, 2);
    node.handle(at(3), lip109("b8", 8).input()).expect("taken");
    node.handle(at(3), furthest.input()).expect("taken");
    assert_eq!(delivered(&store.serve(&mut node, at(3))), ids(&["b8", "b9"]));
}

#[test]
fn a_message_that_was_lost_came_and_was_evicted_is_a_duplicate_after_a_restart() {
    let config = || strict().max_log_messages(1).max_outgoing(1);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    node.handle(at(4_000_000), Input::Tick).expect("a tick is always taken");
    store.serve(&mut node, at(4_000_000));
    assert_eq!(node.status(&channel()).map(|status| status.lost), Some(1));
    node.handle(at(4_000_000), lip109("b1", 1).input()).expect("taken");
    node.handle(at(4_000_000), lip109("b3", 3).input()).expect("taken");
    store.serve(&mut node, at(4_000_000));

    let before = state(&node);
    let (mut node, _) = start(config(), &mut store, 4_000_001);
    node.handle(at(4_000_002), lip109("b1", 1).input()).expect("a duplicate");
    assert_eq!(delivered(&store.serve(&mut node, at(4_000_002))), []);
    assert_eq!(state(&node).1, before.1);
}

#[test]
fn a_reopened_channel_is_read_only_after_what_was_written_of_it() {
    for durability in [Durability::Relaxed, Durability::Strict] {
        let mut store = Store::default();
        let (mut node, _) = start(strict().durability(durability), &mut store, 0);
        node.handle(at(1), publish("m1")).expect("published");
        node.handle(at(1), Input::Close { channel: channel() }).expect("closes");
        node.handle(at(1), open()).expect("opens again");
        store.serve(&mut node, at(1));
        let log = node.log(&channel()).expect("open");
        assert_eq!(log.len(), 1, "{durability:?}");
    }
}

#[test]
fn the_embedder_is_asked_again_after_a_restart_to_fetch_what_is_missing() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    store.serve(&mut node, at(1));
    let (mut node, _) = start(strict(), &mut store, 2);
    node.handle(at(60_000), Input::Tick).expect("a tick is always taken");
    let effects = store.serve(&mut node, at(60_000));
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::RequestRepair { missing, .. } => Some(&missing[..]),
        _ => None,
    });
    assert_eq!(asked, Some(&[entry("b1", "bob")][..]));
}

#[test]
fn what_waits_for_a_store_that_never_answers_is_bounded() {
    for durability in [Durability::Relaxed, Durability::Strict] {
        let mut store = Store::default();
        let config = strict().durability(durability).max_held_effects(20);
        let (mut node, _) = start(config, &mut store, 0);
        node.handle(at(0), publish("m1")).expect("published");
        let (mut changes, mut refused, mut now) = (0, 0, 0);
        for n in 0..2_000 {
            now = node.next_deadline().map_or(now, |next| next.at.as_micros() / 1_000 + 1);
            node.handle(at(now), Input::Tick).expect("a tick is always taken");
            let said = lip109(&format!("b{n}"), n);
            refused += usize::from(node.handle(at(now), said.input()).is_err());
            for effect in drain(&mut node) {
                if let Effect::Persist { changes: more, .. } = effect {
                    changes += more.len();
                }
            }
        }
        assert!(changes < 200 && refused > 1_900, "{durability:?}: {changes} {refused}");
    }
}
