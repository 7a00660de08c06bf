//! Groups on a lossy network: everybody ends up with the same log. Invariants I1, I2, I11 and I12
//! of ARCHITECTURE.md.

mod common;

use core::time::Duration;

use common::{Faults, Group, publish};
use sds_proto::{Config, ConfigBuilder, Dialect, Effect, Event, Input};

fn quick(index: usize, seed: u64) -> ConfigBuilder {
    let millis = Duration::from_millis;
    Config::builder()
        .participant_id(format!("p{index}").into())
        .seed(seed * 100 + index as u64)
        .bloom_capacity(1_000)
        .repair_t_min(millis(100))
        .repair_t_max(Some(millis(1_000)))
        .repair_sync_min(millis(20))
        .sync_min(millis(200))
        .sync_max(millis(800))
        .resend_after(millis(500))
        .resend_max(millis(5_000))
}

fn converge(seed: u64, loss: u64, dialects: &[Dialect], messages: usize) -> Group {
    let participants = dialects.len();
    let configs = dialects.iter().enumerate().map(|(index, dialect)| {
        let lip109 = !matches!(dialect, Dialect::NimSds);
        let nim_sds = !matches!(dialect, Dialect::Lip109);
        let config = quick(index, seed).dialect(*dialect).sync_to_nim(true);
        config.accept_lip109(lip109).accept_nim_sds(nim_sds).build().expect("valid")
    });
    let mut group = Group::new(configs.collect(), seed, Faults { loss, dup: 10, delay_ms: 200 });
    for round in 0..messages {
        for index in 0..participants {
            group.handle(index, publish(&format!("m-{index}-{round}"))).expect("published");
            let pause = group.rng.below(20) * 1_000;
            let end = group.now + pause;
            while group.step(end) {}
        }
    }
    let all = participants * messages;
    let done =
        group.run_until(120_000, |group| (0..participants).all(|index| group.logged(index) == all));
    let counts: Vec<_> = (0..participants).map(|index| group.logged(index)).collect();
    assert!(done, "seed {seed}: {counts:?} of {all}, sends {:?}", group.sends);
    group.check_converged();
    group
}

#[test]
fn five_participants_converge_under_loss() {
    for seed in 1..=5 {
        converge(seed, 30, &[Dialect::Lip109; 5], 40);
    }
}

#[test]
fn five_participants_converge_in_the_nim_dialect() {
    for seed in 1..=5 {
        converge(seed, 30, &[Dialect::NimSds; 5], 40);
    }
}

#[test]
fn a_bridge_joins_both_dialects() {
    use Dialect::{Bridge, Lip109, NimSds};
    for seed in 1..=5 {
        converge(seed, 20, &[Lip109, NimSds, Bridge, Lip109, NimSds], 20);
    }
}

#[test]
fn heavy_loss_only_delays() {
    converge(1, 60, &[Dialect::Lip109; 5], 40);
    converge(2, 60, &[Dialect::NimSds; 5], 40);
}

#[test]
fn without_resends_and_repair_a_lossy_group_does_not_converge() {
    let config = |index| quick(index, 1).resend(false).repair(false).build().expect("valid");
    let faults = Faults { loss: 30, dup: 0, delay_ms: 50 };
    let mut group = Group::new((0..3).map(config).collect(), 1, faults);
    for round in 0..50 {
        group.handle(0, publish(&format!("m{round}"))).expect("published");
    }
    assert!(!group.run_until(60_000, |group| (1..3).all(|index| group.logged(index) == 50)));
}

/// Returns the number of acknowledged ones of `count` messages of node 0, one each `gap_ms`.
fn acknowledged(group: &mut Group, count: u64, gap_ms: u64) -> usize {
    for n in 0..count {
        group.handle(0, publish(&format!("m{n}"))).expect("published");
        group.run_until((n + 1) * gap_ms, |_| false);
    }
    group.check();
    group.told[0].iter().filter(|told| matches!(told, Effect::Event(Event::Acked { .. }))).count()
}

/// A talker and listeners who never publish, on a network that loses nothing. The filters of a few
/// others are too small to be believed.
fn one_talker(nodes: u64, dialect: Dialect) -> Group {
    let configs = (0..nodes).map(|index| {
        let config = Config::builder().participant_id(format!("p{index}").into()).seed(index);
        let config = config.dialect(dialect).sync_to_nim(true);
        config.bloom_capacity(20).bloom_error_rate(0.5).build().expect("valid")
    });
    Group::new(configs.collect(), 1, Faults { loss: 0, dup: 0, delay_ms: 100 })
}

#[test]
fn who_never_publishes_acknowledges_a_steady_talker() {
    for (nodes, dialect) in [(2, Dialect::Lip109), (2, Dialect::NimSds), (6, Dialect::NimSds)] {
        let mut group = one_talker(nodes, dialect);
        let acked = acknowledged(&mut group, 120, 5_000);
        // All but those of the last minute.
        assert!(acked >= 108, "{nodes} nodes: {acked} of 120, sent {:?}", group.sends);
        let resends = group.sends.get("Resend").copied().unwrap_or_default();
        assert!(resends <= 60, "{nodes} nodes: {:?}", group.sends);
        assert!(group.sends["Sync"] <= 40, "{nodes} nodes: {:?}", group.sends);
        let unconfirmed = |told: &Effect| matches!(told, Effect::Event(Event::Unconfirmed { .. }));
        assert!(!group.told[0].iter().any(unconfirmed));
    }
}

/// Sixty-four are remembered, and named in as many messages as they need.
#[test]
fn who_never_publishes_acknowledges_a_burst() {
    let mut group = one_talker(2, Dialect::NimSds);
    for n in 0..60 {
        group.handle(0, publish(&format!("b{n}"))).expect("published");
    }
    acknowledged(&mut group, 0, 0);
    group.run_until(70_000, |_| false);
    assert_eq!(acknowledged(&mut group, 0, 0), 60, "sent {:?}", group.sends);
    assert!(group.sends["Sync"] <= 8, "{:?}", group.sends);
}

/// However fast it talks: what is forgotten meanwhile is sent again.
#[test]
fn who_never_publishes_acknowledges_a_fast_talker() {
    let mut group = one_talker(2, Dialect::NimSds);
    let acked = acknowledged(&mut group, 500, 200);
    assert!(acked >= 100, "{acked} of 500, sent {:?}", group.sends);
}

#[test]
fn everything_is_acknowledged_and_then_only_syncs_are_sent() {
    let mut group = converge(9, 30, &[Dialect::Lip109; 4], 10);
    let quiet = |group: &Group| {
        (0..4).all(|index| {
            let status = group.nodes[index].status(&common::channel()).expect("open");
            status.outgoing == 0 && status.missing == 0 && status.incoming == 0
        })
    };
    assert!(group.run_until(600_000, quiet));
    // Answers that were asked for before are still given, within T_max.
    let end = group.now / 1_000 + 1_000;
    group.run_until(end, |_| false);
    let acked = group.told[0]
        .iter()
        .filter(|told| matches!(told, Effect::Event(Event::Acked { .. })))
        .count();
    assert_eq!(acked, 10);
    group.sends.clear();
    let end = group.now / 1_000 + 60_000;
    group.run_until(end, |_| false);
    assert_eq!(group.sends.keys().collect::<Vec<_>>(), ["Sync"], "{:?}", group.sends);
    group.handle(0, Input::Tick).expect("a tick is always taken");
}
