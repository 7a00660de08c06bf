//! Nodes with a slow or failing store: invariant I9 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use common::peer::{entry, lip109};
use common::store::{Store, start, strict};
use common::{at, channel, delivered, drain, ids, open, publish};
use sds_proto::{
    Durability, Effect, Event, Input, LoadId, Node, PublishKind, RejectReason, SendReason, Status,
    StoreError,
};

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
            Effect::Send { reason: SendReason::Ephemeral, .. }
            | Effect::Event(Event::DeliverEphemeral { .. }) => {
                ephemeral += 1;
            }
            Effect::Persist { .. } => writes += 1,
            Effect::Retrieve { .. } => {}
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
        effects.retain(|effect| !matches!(effect, Effect::Retrieve { .. }));
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
    assert!(matches!(
        effects[..],
        [Effect::Event(Event::Degraded { error: StoreError::Unavailable, .. })]
    ));

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
        assert!(matches!(effects[..], [Effect::Event(Event::Degraded { .. })]), "{effects:?}");
    }
    store.failing = None;
    now = node.next_deadline().expect("the retry").at.as_micros().div_ceil(1_000);
    node.handle(at(now), Input::Tick).expect("a tick is always taken");
    let effects = store.serve(&mut node, at(now));
    assert_eq!(effects[0], Effect::Event(Event::Recovered));
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
        let (told, kept): (Vec<_>, Vec<_>) = effects.into_iter().partition(|effect| {
            matches!(
                effect,
                Effect::Event(Event::Degraded { .. }) | Effect::Event(Event::Recovered)
            )
        });
        (told, kept, store.disk)
    };
    let (told, expected, disk) = run(0);
    assert!(told.is_empty() && expected.len() > 12, "{expected:?}");
    for failures in 1..5 {
        let (told, effects, same_disk) = run(failures);
        assert_eq!(effects, expected);
        assert_eq!(same_disk, disk);
        let (recovered, degraded) = told.split_last().expect("it failed");
        assert_eq!((recovered, degraded.len()), (&Effect::Event(Event::Recovered), failures));
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
                Effect::Event(Event::Degraded { retry_at: at, .. }) => retry_at = Some(at),
                other => panic!("got out: {other:?}"),
            }
        }
        let next = retry_at.expect("it failed").as_micros() / 1_000;
        waits.push(next - now);
        // Timers such as resends go on meanwhile, but no effect leaves the node.
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
fn a_channel_that_could_not_be_loaded_waits_for_another_answer() {
    let mut store = Store::default();
    let mut node = Node::new(strict().build().expect("valid settings"));
    node.handle(at(0), open()).expect("opens");
    assert_eq!(drain(&mut node), [Effect::Load { id: LoadId(1), channel: channel() }]);
    let early = node.handle(at(0), lip109("b1", 1).input()).expect_err("it is loading");
    assert_eq!(early.reason, RejectReason::ChannelLoading);
    let failed =
        Input::Loaded { id: LoadId(1), channel: channel(), result: Err(StoreError::Corrupt) };
    let refused = node.handle(at(0), failed).expect_err("nothing to go on with");
    assert_eq!(refused.reason, RejectReason::LoadFailed(StoreError::Corrupt));
    assert!(node.status(&channel()).is_none());

    node.handle(at(0), store.load(LoadId(1), &channel())).expect("still waited for");
    store.serve(&mut node, at(0));
    assert_eq!(node.status(&channel()), Some(Status::default()));
    let again = node.handle(at(0), store.load(LoadId(1), &channel())).expect_err("it is open");
    assert_eq!(again.reason, RejectReason::NotLoading);
}

#[test]
fn an_answer_from_before_a_drop_is_not_taken_for_the_new_life() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(0), publish("m1")).expect("published");
    store.serve(&mut node, at(0));
    let close = Input::Close { channel: channel() };
    node.handle(at(1), close).expect("open");
    node.handle(at(1), open()).expect("closed");
    let loads = |node: &mut Node| {
        let loads = drain(node).into_iter().filter_map(|effect| match effect {
            Effect::Load { id, .. } => Some(id),
            _ => None,
        });
        loads.collect::<Vec<_>>()
    };
    let [first] = loads(&mut node)[..] else { panic!("one load") };
    // The store has read the channel; before its answer comes, the channel is dropped and opened.
    let late = store.load(first, &channel());
    node.handle(at(2), Input::Drop { channel: channel() }).expect("loading");
    node.handle(at(2), open()).expect("dropped");
    let refused = node.handle(at(2), late.clone()).expect_err("asked for before the drop");
    assert_eq!(refused.reason, RejectReason::NotLoading);
    assert!(node.log(&channel()).is_none(), "it still waits");

    store.serve(&mut node, at(3));
    assert_eq!(node.log(&channel()).map(|log| log.len()), Some(0));
    node.handle(at(4), publish("m2")).expect("published");
    store.serve(&mut node, at(4));
    let refused = node.handle(at(5), late).expect_err("it is open");
    assert_eq!(refused.reason, RejectReason::NotLoading);
    // The stored state loads, and is of the new life alone.
    let (node, _) = start(strict(), &mut store, 6);
    let log = node.log(&channel()).expect("open");
    assert_eq!(log.len(), 1);
    assert!(log.get("m2").is_some());
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

#[test]
fn large_messages_that_wait_for_a_store_are_bounded_by_their_bytes() {
    for durability in [Durability::Relaxed, Durability::Strict] {
        let mut store = Store::default();
        let config = strict().durability(durability).max_held_bytes(10_000);
        let (mut node, _) = start(config, &mut store, 0);
        let mut taken = 0;
        let reason = loop {
            let said = lip109(&format!("b{taken}"), 1).content(&"x".repeat(1_000));
            match node.handle(at(1), said.input()) {
                Ok(()) => taken += 1,
                Err(refused) => break refused.reason,
            }
        };
        assert_eq!(reason, RejectReason::StoreTooSlow { limit: 10_000 });
        assert!((3..=10).contains(&taken), "{durability:?}: {taken}");
        store.serve(&mut node, at(1));
        node.handle(at(2), lip109("more", 2).input()).expect("all is written");
    }
}
