//! Models of the lock-free channel, and of how an event loop falls asleep, for
//! `RUSTFLAGS="--cfg sds_loom"`; empty without it.
//!
//! A model that passes proves little by itself: it may have explored nothing. So `check` prints how
//! many executions there were and refuses a single one, and it runs each model again with each of
//! the faults that it is there to find, as a process of its own, which must fail.
#![cfg(sds_loom)]

use core::{
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering},
};
use std::{env, process::Command, sync::Arc};

use sds_spsc::Fault;

/// Names the fault to the process that runs a broken twin.
const FAULT: &str = "SDS_LOOM_FAULT";

/// Preemptions per execution: 2 unless this variable says otherwise.
const BOUND: &str = "SDS_LOOM_BOUND";

/// Explores `model`, which the test `name` of this binary is about, and its twin for each fault of
/// the channel.
///
/// # Panics
/// If the model fails, has one execution only, or has a twin that passes.
pub fn check(name: &str, faults: &[Fault], model: fn()) {
    check_with(name, faults, sds_spsc::inject, model);
}

/// [`check`] with faults of something else, which `inject` leaves out of it from then on.
///
/// # Panics
/// If the model fails, has one execution only, or has a twin that passes.
#[expect(clippy::print_stdout, reason = "the count is part of the result")]
pub fn check_with<F: Copy + Debug>(name: &str, faults: &[F], inject: fn(Option<F>), model: fn()) {
    if let Ok(wanted) = env::var(FAULT) {
        let fault = faults.iter().copied().find(|fault| format!("{fault:?}") == wanted);
        assert!(fault.is_some(), "unknown fault");
        inject(fault);
        explore(model);
        return;
    }
    let executions = explore(model);
    println!("{name}: {executions} executions");
    assert!(executions > 1, "{name} explores nothing");
    assert!(!faults.is_empty(), "{name} has no twin");
    for fault in faults {
        let twin = Command::new(env::current_exe().expect("a test has a path"))
            .args(["--exact", name, "--nocapture"])
            .env(FAULT, format!("{fault:?}"))
            .output()
            .expect("a test can be run");
        let said = String::from_utf8_lossy(&twin.stdout) + String::from_utf8_lossy(&twin.stderr);
        assert!(said.contains("running 1 test"), "{name} is not the name of a test");
        assert!(!twin.status.success(), "{name} passes without what {fault:?} leaves out");
        assert!(!said.contains("unknown fault"), "{name} does not know {fault:?}");
        println!("{name}: fails with {fault:?}: {}", reason(&said));
    }
}

fn explore(model: fn()) -> usize {
    let mut builder = loom::model::Builder::new();
    let bound = env::var(BOUND).map(|bound| bound.parse().expect("a number of preemptions"));
    builder.preemption_bound = Some(bound.unwrap_or(2));
    builder.max_branches = 20_000;
    let executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    executions.load(Ordering::Relaxed)
}

/// The line after the first "panicked at".
fn reason(said: &str) -> &str {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
    lines.nth(1).unwrap_or("no reason given").trim()
}
