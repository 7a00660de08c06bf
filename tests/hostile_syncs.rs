//! Hostile syncs and repair requests of peers: invariants I4, I7 and I8 of ARCHITECTURE.md.
//! Messages: `hostile_peers.rs`.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use common::peer::{entry, lip109};
use common::{Faults, Group, at, drain, node, publish, run, sends, sent, status};
use sds_proto::wire::{self, Limits};
use sds_proto::{Config, ConfigBuilder, Effect, Event, Input, Limit, SendReason};

fn alice() -> ConfigBuilder {
    Config::builder().bloom_capacity(100)
}

#[test]
fn invented_dependencies_of_syncs_are_bounded_too() {
    let mut node = node("alice", alice().max_missing(1_000));
    for n in 0..200_u64 {
        let named: Vec<String> = (0..100).map(|k| format!("invented-{n}-{k}")).collect();
        let said = lip109(&format!("s{n}"), n).sync().after(named.iter().map(String::as_str));
        node.handle(at(300), said.input()).expect("taken");
        let _told = drain(&mut node);
    }
    assert_eq!(status(&node).missing, 1_000);
    // All are given up in the end, and nothing is left of them.
    let effects = run(&mut node, 3 * 3_600 * 1_000);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Event(Event::Synced { lost: 1_000, .. })))
    );
    assert_eq!(status(&node).missing, 0);
}

#[test]
fn a_request_repeated_a_thousand_times_is_answered_once() {
    let mut node = node("alice", alice());
    node.handle(at(0), lip109("b1", 0).content(&"x".repeat(10_000)).input()).expect("taken");
    for n in 0..1_000_u64 {
        let said = lip109(&format!("s{n}"), n).by("eve").sync();
        let said = (0..20).fold(said, |said, _| said.asking(entry("b1", "bob")));
        node.handle(at(10 + n), said.input()).expect("taken");
    }
    let effects = run(&mut node, 120_000);
    assert_eq!(sends(&effects, SendReason::Repair), 1);
}

#[test]
fn steady_requests_for_one_message_are_answered_at_most_every_half_of_t_min() {
    let mut node = node("alice", alice());
    node.handle(at(0), publish("m1")).expect("published");
    node.handle(at(0), lip109("b1", 0).after(["m1"]).input()).expect("taken");
    let mut answers = 0;
    for second in 0..600 {
        let said = lip109("s", second).by("eve").sync().asking(entry("m1", "alice"));
        node.handle(at(second * 1_000), said.input()).expect("taken");
        answers += sends(&run(&mut node, second * 1_000 + 999), SendReason::Repair);
    }
    assert!((30..=41).contains(&answers), "{answers} in ten minutes at T_min 30 s");
}

#[test]
fn requests_for_everything_are_bounded() {
    let mut node = node("alice", alice().max_answers(50));
    for n in 0..200 {
        node.handle(at(0), lip109(&format!("b{n}"), n).input()).expect("taken");
    }
    let _delivered = drain(&mut node);
    let said = (0..200).fold(lip109("s", 0).by("eve").sync(), |said, n| {
        said.asking(entry(format!("b{n}").as_str(), "bob"))
    });
    node.handle(at(300), said.input()).expect("taken");
    let effects = run(&mut node, 120_000);
    let bounded = effects.iter().filter(|effect| {
        matches!(effect, Effect::Event(Event::LimitReached { limit: Limit::Answers, .. }))
    });
    assert_eq!(bounded.count(), 150);
    assert_eq!(sends(&effects, SendReason::Repair), 50);
}

#[test]
fn echoes_of_its_last_syncs_tell_an_anonymous_node_nothing() {
    let mut node = node("", alice());
    node.handle(at(0), publish("m1")).expect("published");
    let mut syncs = Vec::new();
    for effect in run(&mut node, 3_600 * 1_000) {
        if let Effect::Send { reason: SendReason::Sync, bytes, .. } = effect {
            syncs.push(bytes);
        }
    }
    assert!(syncs.len() > 8);
    for sync in &syncs[syncs.len() - 8..] {
        node.handle(at(3_600 * 1_000), Input::Datagram(sync.clone())).expect("taken");
        assert_eq!(drain(&mut node), [], "all of them name m1");
    }
}

#[test]
fn a_request_that_nobody_may_answer_does_not_silence_ours() {
    let mut node = node("alice", alice());
    node.handle(at(0), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    let mut asked = 0;
    for round in 0..20 {
        let said = lip109("s", round).by("eve").sync().asking(entry("b1", ""));
        node.handle(at(round * 20_000), said.input()).expect("taken");
        for bytes in sent(&run(&mut node, round * 20_000 + 19_999)) {
            let (_, message) = wire::decode(&bytes, &Limits::default()).expect("ours");
            asked += message.repair_request.len();
        }
    }
    assert!(asked > 0);
}

#[test]
fn more_heads_than_fit_into_a_message_cause_no_storm_of_syncs() {
    let configs = (0..20_u64).map(|n| {
        let config = alice().participant_id(format!("p{n}").into()).seed(n);
        config.build().expect("valid settings")
    });
    let mut group = Group::new(configs.collect(), 1, Faults { loss: 0, dup: 0, delay_ms: 100 });
    for n in 0..20 {
        group.handle(n, publish(&format!("m{n}"))).expect("published");
    }
    group.run_until(300_000, |_| false);
    group.check_converged();
    group.sends.clear();
    group.run_until(900_000, |_| false);
    // Ten minutes of quiet periods of 20 to 60 s, two syncs for each to name all heads.
    assert!((10..=80).contains(&group.sends["Sync"]), "{:?}", group.sends);
}

/// Returns the delivered ids, and whether each has a gap.
fn gaps(effects: &[Effect]) -> Vec<(String, bool)> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::Deliver(told)) => {
            Some((told.entry.message_id().to_string(), told.gap))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn a_sync_of_ours_that_others_name_is_no_gap() {
    let mut node = node("alice", alice());
    node.handle(at(0), publish("m1")).expect("published");
    let syncs = run(&mut node, 120_000).into_iter().filter_map(|effect| match effect {
        Effect::Send { reason: SendReason::Sync, message_id, .. } => Some(message_id.to_string()),
        _ => None,
    });
    let sync = syncs.last().expect("two minutes are long enough");
    // One is delivered at once, one has to wait.
    node.handle(at(120_001), lip109("b1", 1).after([&*sync]).input()).expect("taken");
    node.handle(at(120_001), lip109("b3", 3).after([&*sync, "b2"]).input()).expect("taken");
    node.handle(at(120_001), lip109("b2", 2).input()).expect("taken");
    let told = [("b1".into(), false), ("b2".into(), false), ("b3".into(), false)];
    assert_eq!(gaps(&drain(&mut node)), told);
}

#[test]
fn a_sync_with_the_id_of_a_message_hides_no_gap() {
    let forged = lip109("b1", 3).by("mallory").sync();
    let late = lip109("b1", 1);
    let waits = |id, named| lip109(id, 4).after([named]);
    // Before what depends on it, between two that do, and behind them.
    for forged_at in 0..3 {
        let mut node = node("alice", alice());
        let mut said = vec![waits("b2", "b1"), lip109("b3", 5).after(["b1", "b2"])];
        said.insert(forged_at, forged.clone());
        for said in said {
            node.handle(at(10), said.input()).expect("taken");
        }
        let told = gaps(&drain(&mut node));
        assert_eq!(told, [("b2".into(), true), ("b3".into(), true)], "{forged_at}");
        // The message itself is welcome, and what names it then has no gap before it.
        node.handle(at(10), late.input()).expect("taken");
        node.handle(at(10), waits("b4", "b1").input()).expect("taken");
        assert_eq!(gaps(&drain(&mut node)), [("b1".into(), false), ("b4".into(), false)]);
    }
}
