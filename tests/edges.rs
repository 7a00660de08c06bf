//! Edges of rules that small changes of the code would move unseen by the other tests: equal times,
//! dependencies that syncs met, chains that get on, settings made smaller.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use common::peer::{Said, lip109};
use common::store::{Store, start, strict};
use common::{at, channel, delivered, drain, ids, node, publish, run, sent};
use sds_proto::wire::{self, Limits};
use sds_proto::{Config, Effect, Event, Input, Node};

const MINUTE: u64 = 60_000;

/// The deliveries in `effects`: which, and whether with a gap.
fn gaps(effects: &[Effect]) -> Vec<(String, bool)> {
    let deliveries = effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::Deliver(delivery)) => {
            Some((delivery.entry.message_id().to_string(), delivery.gap))
        }
        _ => None,
    });
    deliveries.collect()
}

fn receive(node: &mut Node, now: u64, said: &Said) -> Vec<Effect> {
    node.handle(at(now), said.input()).expect("taken");
    drain(node)
}

#[test]
fn messages_of_one_time_that_name_each_other_do_not_wait_for_each_other() {
    for restarts in [false, true] {
        let mut store = Store::default();
        let (mut node, _) = start(strict(), &mut store, 0);
        let hear = |node: &mut Node, store: &mut Store, said: Said| {
            node.handle(at(1), said.input()).expect("taken");
            gaps(&store.serve(node, at(1)))
        };
        // Each waits for one more, so that both are here at once.
        let (m1, m2) = (lip109("m1", 5).after(["m2", "x1"]), lip109("m2", 5).after(["m1", "x2"]));
        assert_eq!(hear(&mut node, &mut store, m1), []);
        assert_eq!(hear(&mut node, &mut store, m2), []);
        if restarts {
            node = start(strict(), &mut store, 1).0;
        }
        let told = hear(&mut node, &mut store, lip109("x2", 1));
        assert_eq!(told, [("x2".into(), false), ("m2".into(), true)], "{restarts}");
        let told = hear(&mut node, &mut store, lip109("x1", 1));
        assert_eq!(told, [("x1".into(), false), ("m1".into(), true)], "{restarts}");
    }
}

#[test]
fn a_dependency_that_was_only_a_sync_is_a_gap_when_the_sync_is_forgotten_too() {
    let b3 = || lip109("b3", 3).after(["b1"]).after(["b2"]);
    let sync = |id| lip109(id, 1).sync();
    // Before what names it, and after.
    for said in [[sync("b1"), b3()], [b3(), sync("b1")]] {
        let mut node = node("alice", Config::builder().max_resolved_ids(1));
        for said in said {
            assert_eq!(gaps(&receive(&mut node, 0, &said)), []);
        }
        receive(&mut node, 0, &sync("another"));
        let told = [("b2".into(), false), ("b3".into(), true)];
        assert_eq!(gaps(&receive(&mut node, 0, &lip109("b2", 2))), told);
    }
}

#[test]
fn a_lost_dependency_is_a_gap_when_its_loss_is_forgotten_too() {
    let config = Config::builder().max_resolved_ids(1).repair(false).retrieval_interval(None);
    let mut node = node("alice", config);
    receive(&mut node, 0, &lip109("b1", 2).after(["lost"]));
    receive(&mut node, 10 * MINUTE, &lip109("b2", 2).after(["lost too"]));
    // One that waits when the loss is told, and one that comes after it.
    receive(&mut node, 30 * MINUTE, &lip109("b3", 3).after(["lost", "late"]));
    assert_eq!(gaps(&run(&mut node, 60 * MINUTE)), [("b1".into(), true)]);
    receive(&mut node, 61 * MINUTE, &lip109("b4", 4).after(["lost", "late"]));
    // One id is remembered: the first is forgotten for the second.
    assert_eq!(gaps(&run(&mut node, 70 * MINUTE)), [("b2".into(), true)]);
    let told = [("late".into(), false), ("b3".into(), true), ("b4".into(), true)];
    assert_eq!(gaps(&receive(&mut node, 70 * MINUTE, &lip109("late", 1))), told);
}

#[test]
fn a_restart_keeps_what_is_lost_apart_from_what_was_declared_met() {
    let mut store = Store::default();
    let quiet = || strict().repair(false).retrieval_interval(None);
    let (mut node, _) = start(quiet(), &mut store, 0);
    node.handle(at(0), lip109("b2", 2).after(["lost"]).input()).expect("taken");
    node.handle(at(0), lip109("b3", 3).after(["met"]).input()).expect("taken");
    let met = Input::DependenciesMet { channel: channel(), ids: ids(&["met"]) };
    node.handle(at(0), met).expect("open");
    store.serve(&mut node, at(0));
    while let Some(deadline) = node.next_deadline()
        && deadline.at <= at(61 * MINUTE).mono
    {
        let now = at(deadline.at.as_micros().div_ceil(1_000));
        node.handle(now, Input::Tick).expect("a tick is always taken");
        store.serve(&mut node, now);
    }
    let (mut node, _) = start(quiet(), &mut store, 62 * MINUTE);
    for (id, named) in [("b4", "lost"), ("b5", "met")] {
        let said = lip109(id, 62 * MINUTE).after([named]);
        node.handle(at(62 * MINUTE), said.input()).expect("taken");
    }
    let told = gaps(&store.serve(&mut node, at(62 * MINUTE)));
    assert_eq!(told, [("b4".into(), true), ("b5".into(), false)]);
}

#[test]
fn what_waits_for_a_chain_that_gets_on_is_not_given_up() {
    let mut node =
        node("alice", Config::builder().repair(false).retrieval_interval(None).sync(false));
    receive(&mut node, 0, &lip109("b9", 9).after(["b1", "b8"]));
    receive(&mut node, 0, &lip109("b8", 8).after(["b2", "b3"]));
    let is_lost = |effects: &[Effect]| {
        effects.iter().any(|it| matches!(it, Effect::Event(Event::Lost { .. })))
    };
    // It is b8 that gets on, which b9 waits for.
    run(&mut node, 50 * MINUTE);
    receive(&mut node, 50 * MINUTE, &lip109("b2", 2));
    assert!(!is_lost(&run(&mut node, 109 * MINUTE)));
    let effects = run(&mut node, 111 * MINUTE);
    assert!(is_lost(&effects));
    assert_eq!(delivered(&effects), ids(&["b8", "b9"]));
}

#[test]
fn a_hint_longer_than_is_allowed_now_is_dropped_by_a_restart() {
    for (limit, is_kept) in [(100, true), (99, false)] {
        let mut store = Store::default();
        let (mut node, _) = start(strict().max_hint_len(100), &mut store, 0);
        node.handle(at(0), publish("m1")).expect("published");
        let hint = Input::Hint {
            channel: channel(),
            message_id: "m1".into(),
            hint: "h".repeat(100).into(),
        };
        node.handle(at(0), hint).expect("logged");
        store.serve(&mut node, at(0));

        let (mut node, _) = start(strict().max_hint_len(limit), &mut store, 1);
        node.handle(at(1), publish("m2")).expect("published");
        let bytes = sent(&store.serve(&mut node, at(1))).pop().expect("m2");
        let (_, message) = wire::decode(&bytes, &Limits::default()).expect("our own message");
        let [named] = &message.causal_history[..] else { panic!("m1 is named") };
        assert_eq!(named.retrieval_hint.is_some(), is_kept, "{limit}");
    }
}

#[test]
fn ephemeral_messages_are_told_once_though_others_came_between() {
    let mut node = node("alice", Config::builder());
    let said: Vec<_> = (0..32).map(|n| lip109(&format!("e{n}"), 0).ephemeral()).collect();
    let told = |node: &mut Node| {
        let effects = said.iter().flat_map(|said| receive(node, 0, said)).collect::<Vec<_>>();
        effects
            .iter()
            .filter(|it| matches!(it, Effect::Event(Event::DeliverEphemeral { .. })))
            .count()
    };
    assert_eq!((told(&mut node), told(&mut node)), (32, 0));
}
