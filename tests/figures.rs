//! Figures of the protocol as a text: `tests/figures.txt`. A change of behaviour shows as a difference
//! there, bit for bit.
//!
//! With `FIGURES_REWRITE=1 cargo test --release --features sim --test figures` the text is written
//! anew. Judge what changed before it is kept. Debug builds repeat small groups only.

use core::fmt::Write;
use std::path::Path;
use std::{env, fs};

use sds_proto::sim::{Plan, Report, Simulation};

const HEAD: &str = "\
# 20 messages of 64 bytes are published by random members, one each 3 s on average, over links of
# 50 ms: a round trip takes 100 ms. Settings: the defaults, above 64 members those of large groups, with
# filters for 100 ids. LIP-109. Medians and sums of as many runs as there are seeds.
#
# converged: from the last publication to the last delivery, in round trips
# sent:      datagrams and bytes handed to the transport for each delivery
# answers:   repair answers for each message published, and those of them that nobody needed
# acked:     from publication to acknowledgement, the median in seconds
#
# nodes loss seeds | converged | sent       bytes | answers unneeded | acked
";

/// Members and seeds.
const GROUPS: [(u64, u64); 4] = [(5, 15), (50, 5), (500, 1), (2_000, 1)];
const LOSSES: [u64; 4] = [0, 10, 30, 60];

fn row(nodes: u64, loss: u64, seeds: u64) -> String {
    let mut plan = Plan::default();
    (plan.nodes, plan.messages, plan.loss, plan.latency_ms) = (nodes, 20, loss, 50);
    let run = |seed| {
        let group = Simulation::new(seed, &plan).expect("a plan that can be carried out").run();
        group.unwrap_or_else(|violation| panic!("seed {seed}: {violation}\n{plan}"))
    };
    let reports: Vec<Report> = (0..seeds).map(run).collect();
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>() as f64;
    let converged =
        reports.iter().map(|report| report.delivered_at.since(report.published_at).as_millis());
    let acked = reports.iter().flat_map(|report| &report.acknowledged_after);
    let (deliveries, published) = (sum(|r| r.deliveries), sum(|r| r.published));
    let repairs = sum(|report| report.sent(sds_proto::SendReason::Repair).messages);
    format!(
        "{nodes:7} {loss:4} {seeds:5} | {:9.1} | {:.6} {:8.1} | {:7.2} {:8.2} | {:5.1}\n",
        median(converged.collect()) as f64 / 100.0,
        sum(|report| report.sent_in_all().messages) / deliveries,
        sum(|report| report.sent_in_all().bytes) / deliveries,
        repairs / published,
        sum(|report| report.redundant_repairs) / published,
        median(acked.map(|after| after.as_millis()).collect()) as f64 / 1e3,
    )
}

fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[test]
fn the_figures_are_those_in_the_text() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/figures.txt");
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let mut actual = String::from(HEAD);
    let most = if cfg!(debug_assertions) { 5 } else { u64::MAX };
    for (nodes, seeds) in GROUPS.into_iter().filter(|(nodes, _)| *nodes <= most) {
        for loss in LOSSES {
            actual.write_str(&row(nodes, loss, seeds)).expect("a string takes everything");
        }
    }
    if env::var_os("FIGURES_REWRITE").is_some() && most == u64::MAX {
        fs::write(&file, &actual).expect("a file that can be written");
        return;
    }
    let differs =
        actual.lines().zip(expected.lines()).find(|(actual, expected)| actual != expected);
    assert_eq!(differs, None, "(actual, expected)");
    assert!(actual.lines().count() <= expected.lines().count());
}
