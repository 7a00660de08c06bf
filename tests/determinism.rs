//! The same inputs give the same bytes: invariant I6 of ARCHITECTURE.md.

mod common;

use core::time::Duration;

use common::{Faults, Group, at, drain, node, publish};
use sds_proto::{Config, Dialect, Effect, Input};

fn config(index: usize, seed: u64, dialect: Dialect) -> Config {
    let millis = Duration::from_millis;
    let builder = Config::builder()
        .participant_id(format!("p{index}").into())
        .seed(seed + index as u64)
        .dialect(dialect)
        .sync_to_nim(true)
        .bloom_capacity(200)
        .max_log_messages(40)
        .max_outgoing(40)
        .repair_t_min(millis(100))
        .repair_t_max(Some(millis(1_000)))
        .repair_sync_min(millis(20))
        .sync_min(millis(200))
        .sync_max(millis(800))
        .resend_after(millis(500))
        .resend_max(millis(5_000));
    builder.build().expect("valid settings")
}

/// A group under faults: everything that each node told, and all that was sent.
fn run(seed: u64) -> (Vec<Vec<Effect>>, u64, u64) {
    let dialects = [Dialect::Lip109, Dialect::Bridge, Dialect::NimSds, Dialect::Lip109];
    let configs = dialects.iter().enumerate().map(|(n, dialect)| config(n, seed, *dialect));
    let faults = Faults { loss: 30, dup: 20, delay_ms: 300 };
    let mut group = Group::new(configs.collect(), 7, faults);
    for round in 0..20 {
        for index in 0..dialects.len() {
            group.handle(index, publish(&format!("m-{index}-{round}"))).expect("published");
            let end = group.now + 50_000;
            while group.step(end) {}
        }
    }
    group.run_until(20_000, |_| false);
    (group.told, group.bytes_sent, group.sends.values().sum())
}

#[test]
fn a_group_under_faults_runs_alike_when_it_is_built_again() {
    let first = run(1);
    assert!(first.0.iter().all(|told| told.len() > 100));
    assert_eq!(first, run(1));
}

#[test]
fn another_seed_gives_another_run() {
    assert_ne!(run(1).1, run(2).1);
}

/// Bytes and times of all that a lone node sends by itself.
fn sends(seed: u64) -> Vec<(u64, Effect)> {
    let builder = Config::builder().seed(seed).bloom_capacity(100);
    let mut node = node("alice", builder);
    let mut sends = Vec::new();
    node.handle(at(0), publish("m1")).expect("published");
    for _ in 0..30 {
        let now = node.next_deadline().expect("a resend or a sync").at.as_micros().div_ceil(1_000);
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        sends.extend(drain(&mut node).into_iter().map(|effect| (now, effect)));
    }
    sends
}

#[test]
fn filters_made_to_be_sent_are_those_that_would_have_been_kept() {
    // So small that they roll.
    let sends = |is_kept| {
        let config = Config::builder().dialect(Dialect::Bridge).bloom_capacity(30);
        let mut node = node("alice", config.keep_lip109_filters(is_kept));
        let mut told = Vec::new();
        for n in 0..100 {
            node.handle(at(n * 1_000), publish(&format!("m{n}"))).expect("published");
            node.handle(at(n * 1_000), Input::Tick).expect("a tick is always taken");
            told.extend(drain(&mut node));
        }
        told
    };
    assert_eq!(sends(true), sends(false));
}

#[test]
fn jitter_and_sync_ids_come_from_the_seed() {
    assert_eq!(sends(5), sends(5));
    assert_ne!(sends(5), sends(6));
}

#[test]
fn the_name_goes_into_the_jitter_so_that_equal_seeds_do_not_coincide() {
    let deadline = |name| {
        let mut node = node(name, Config::builder());
        node.handle(at(0), publish("m1")).expect("published");
        let _polled = drain(&mut node);
        node.next_deadline().expect("a resend")
    };
    assert_ne!(deadline("alice"), deadline("bob"));
}
