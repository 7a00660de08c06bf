//! The smallest bounds with which small groups still get everything everywhere, as a text:
//! `tests/smallest.txt`. Here they are held to work, and each of them not to work any more when it
//! is one less.
//!
//! `SMALLEST_REWRITE=1 cargo test --release --features sim --test smallest` searches for them anew.

#![allow(clippy::print_stdout, reason = "the figures are wanted")]

use core::fmt::Write;
use std::path::Path;
use std::{env, fs};

use sds_proto::sim::{Plan, Simulation, Speech};
use sds_proto::{Config, ConfigBuilder};

const HEAD: &str = "\
# The smallest bounds with which a group of four gets all of 200 messages of 64 bytes to everybody and
# acknowledged, without a gap, in each of 20 runs. Nim dialect; other settings as in `Config::firmware`.
# Found by halving one after the other, until none can be less by itself, and 1 at the least: some may
# be less if others are more.
#
# gap:  mean time between two messages, in seconds
# loss: chance in percent that a datagram is lost on its way to a receiver
#
";

const SEEDS: u64 = 20;

/// Mean time between two messages in milliseconds, and loss in percent.
const GROUPS: [(u64, u64); 4] = [(30_000, 0), (30_000, 30), (3_000, 0), (3_000, 30)];

/// A bound, where the search for it begins, and how it is set. What is to be small rather than
/// others comes first.
type Limit = (&'static str, usize, fn(ConfigBuilder, usize) -> ConfigBuilder);

const BOUNDS: [Limit; 14] = [
    ("bloom_capacity", 400, |config, ids| config.bloom_capacity(ids as u32)),
    ("max_log_messages", 256, ConfigBuilder::max_log_messages),
    ("max_ids", 512, ConfigBuilder::max_ids),
    ("max_log_bytes", 64 << 10, ConfigBuilder::max_log_bytes),
    ("max_outgoing", 64, ConfigBuilder::max_outgoing),
    ("max_incoming_messages", 128, ConfigBuilder::max_incoming_messages),
    ("max_incoming_bytes", 32 << 10, ConfigBuilder::max_incoming_bytes),
    ("max_missing", 256, ConfigBuilder::max_missing),
    ("max_answers", 64, ConfigBuilder::max_answers),
    ("max_resolved_ids", 128, ConfigBuilder::max_resolved_ids),
    ("max_heads", 32, ConfigBuilder::max_heads),
    ("max_history_entries", 32, ConfigBuilder::max_history_entries),
    ("max_repair_requests_burst", 32, |config, requests| {
        config.max_repair_requests_burst(requests).max_repair_requests(requests.min(3))
    }),
    ("max_request_entries", 32, ConfigBuilder::max_request_entries),
];

type Values = [usize; BOUNDS.len()];

fn settings(values: &Values, member: usize, seed: u64) -> ConfigBuilder {
    let config = Config::firmware().participant_id(format!("p{member}").into());
    let bounds = BOUNDS.iter().zip(values);
    bounds.fold(config.seed(seed << 8 | member as u64), |config, ((_, _, set), value)| {
        set(config, *value)
    })
}

fn works((gap_ms, loss): (u64, u64), values: &Values) -> bool {
    if settings(values, 0, 0).build().is_err() {
        return false;
    }
    let mut plan = Plan::default();
    (plan.nodes, plan.messages, plan.speech) = (4, 200, Speech::NimSds);
    (plan.gap_ms, plan.loss, plan.latency_ms) = (gap_ms, loss, 50);
    // Forgotten messages are no fault of the core here.
    (plan.log, plan.patience_min) = (1, 180);
    (0..SEEDS).all(|seed| {
        let group =
            Simulation::with_settings(seed, &plan, |member, _| settings(values, member, seed));
        group.expect("a plan that can be carried out").run().is_ok_and(|report| {
            let complete = report.deliveries == report.published * plan.nodes;
            complete && report.lost + report.unconfirmed == 0
        })
    })
}

/// Halves one bound after the other, again and again until none becomes less.
fn search(group: (u64, u64)) -> Values {
    let mut values = BOUNDS.map(|(_, begin, _)| begin);
    assert!(works(group, &values), "{group:?} does not work to begin with");
    loop {
        let before = values;
        for bound in 0..BOUNDS.len() {
            // One less than what may work.
            let mut too_few = 0;
            while values[bound] - too_few > 1 {
                let mut tried = values;
                tried[bound] = too_few + (values[bound] - too_few) / 2;
                if works(group, &tried) {
                    values = tried;
                } else {
                    too_few = tried[bound];
                }
            }
        }
        if values == before {
            return values;
        }
    }
}

fn text(found: &[Values]) -> String {
    let mut text = String::from(HEAD);
    let mut line = |name: &str, columns: Vec<usize>| {
        let columns: String = columns.iter().map(|value| format!(" {value:7}")).collect();
        writeln!(text, "{name:26} |{columns}").expect("a string takes everything");
    };
    line("gap", GROUPS.iter().map(|(gap, _)| *gap as usize / 1_000).collect());
    line("loss", GROUPS.iter().map(|(_, loss)| *loss as usize).collect());
    for (bound, (name, ..)) in BOUNDS.iter().enumerate() {
        line(name, found.iter().map(|values| values[bound]).collect());
    }
    text
}

/// The values in a text, by group.
fn parse(text: &str) -> Vec<Values> {
    let rows: Vec<Vec<usize>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('|'))
        .map(|(_, row)| row.split_whitespace().map(|n| n.parse().expect("a number")).collect())
        .collect();
    let column = |group: usize| core::array::from_fn(|bound| rows[bound + 2][group]);
    (0..GROUPS.len()).map(column).collect()
}

#[test]
fn the_bounds_in_the_text_are_the_smallest_that_work() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smallest.txt");
    if env::var_os("SMALLEST_REWRITE").is_some() {
        fs::write(&file, text(&GROUPS.map(search))).expect("a file that can be written");
        return;
    }
    let found = parse(&fs::read_to_string(&file).expect("a file that can be read"));
    assert_eq!(text(&found), fs::read_to_string(&file).expect("a file that can be read"));
    // Debug builds are slow.
    let groups = if cfg!(debug_assertions) { 1 } else { GROUPS.len() };
    for (group, values) in GROUPS.into_iter().zip(found).take(groups) {
        assert!(works(group, &values), "{group:?} does not work with {values:?}");
        let bound = settings(&values, 0, 0).build().expect("it works").max_memory().total(1);
        println!("{group:?}: no more than {bound} bytes");
        for (bound, (name, ..)) in BOUNDS.iter().enumerate().filter(|(at, _)| values[*at] > 1) {
            let mut less = values;
            less[bound] -= 1;
            assert!(!works(group, &less), "{group:?} works with {name} {}", less[bound]);
        }
    }
}
