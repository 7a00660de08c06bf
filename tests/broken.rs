//! Each invariant of ARCHITECTURE.md is broken on purpose, and the simulator must notice. Run with
//! `cargo test --release --features sim-broken --test broken -- --nocapture`.

use sds_proto::broken::{self, Break};
use sds_proto::sim::{Plan, Simulation};

/// Runs in which a broken core must be found out.
const SEEDS: u64 = 200;

/// The first seed that shows a violation of the invariant that `way` breaks, and what it shows.
fn found(way: Break) -> Option<(u64, String)> {
    broken::set(Some(way));
    let found = (0..SEEDS).find_map(|seed| {
        let mut plan = Plan::random(seed, 6, 60);
        plan.patience_min = 480;
        let run = Simulation::new(seed, &plan).expect("a plan that can be carried out").run();
        let violation = run.err().filter(|violation| violation.invariant == way.invariant())?;
        Some((seed, violation.to_string()))
    });
    broken::set(None);
    found
}

#[test]
fn every_way_to_break_the_core_is_found_out() {
    let mut missed = Vec::new();
    for way in Break::ALL {
        match found(way) {
            Some((seed, what)) => println!("{way:?}: seed {seed}: {what}"),
            None => missed.push(way),
        }
    }
    assert!(missed.is_empty(), "not found out: {missed:?}");
}
