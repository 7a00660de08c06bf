//! Figures of the protocol as a text: `tests/figures.txt`. A change of behaviour shows as a
//! difference there, bit for bit.
//!
//! With `FIGURES_REWRITE=1 cargo test --release --features sim --test figures` the text is written
//! anew. Judge what changed before it is kept. Debug builds repeat small groups only.

use core::fmt::Write;
use std::path::Path;
use std::{env, fs};

use bytes::Bytes;
use sds_proto::sim::{Plan, Report, Simulation, Speech};
use sds_proto::{ConfigBuilder, FilterPolicy, Instant, SendReason};

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

const FILTERS: &str = "\
#
# A busier group, 100 messages, one each 0.5 s on average, with filters as large as @waku/sds has
# them, sent by policy.
#
# acked: median and 95th percentile, in seconds
# resent: how often each message published was sent again
#
# nodes loss seeds filters  |    bytes | acked         | resent
";

const TALKER: &str = "\
#
# One member publishes 200 messages of 64 bytes, one each 5 s, and the others listen. Nim dialect: filters
# are sized to what they hold.
#
# acked:  how many are acknowledged at the end; median and 95th percentile, in seconds
# resent: how often each message was sent again
# syncs:  sync messages of all members for each message published
#
# nodes loss | acked              | resent   syncs    bytes
";

/// Members and seeds.
const GROUPS: [(u64, u64); 4] = [(5, 15), (50, 5), (500, 1), (2_000, 1)];
const LOSSES: [u64; 4] = [0, 10, 30, 60];

const POLICIES: [(&str, FilterPolicy); 4] = [
    ("each", FilterPolicy::EveryMessage),
    ("every 4", FilterPolicy::EveryNth(4)),
    ("every 16", FilterPolicy::EveryNth(16)),
    ("syncs", FilterPolicy::SyncOnly),
];

fn runs(plan: &Plan, seeds: u64, adjust: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Vec<Report> {
    let run = |seed| {
        let group = Simulation::with_settings(seed, plan, |_, settings| adjust(settings));
        let report = group.expect("a plan that can be carried out").run();
        report.unwrap_or_else(|violation| panic!("seed {seed}: {violation}\n{plan}"))
    };
    (0..seeds).map(run).collect()
}

/// Members who publish `messages`, one each `gap_ms` on average.
fn plan(nodes: u64, loss: u64, messages: u64, gap_ms: u64) -> Plan {
    let mut plan = Plan::default();
    (plan.nodes, plan.loss, plan.latency_ms) = (nodes, loss, 50);
    (plan.messages, plan.gap_ms) = (messages, gap_ms);
    plan
}

fn row(nodes: u64, loss: u64, seeds: u64) -> String {
    let reports = runs(&plan(nodes, loss, 20, 3_000), seeds, |settings| settings);
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>() as f64;
    let converged =
        reports.iter().map(|report| report.delivered_at.since(report.published_at).as_millis());
    let acked = reports.iter().flat_map(|report| &report.acknowledged_after);
    let (deliveries, published) = (sum(|r| r.deliveries), sum(|r| r.published));
    let repairs = sum(|report| report.sent(SendReason::Repair).messages);
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

fn filter_row(nodes: u64, loss: u64, (name, policy): (&str, FilterPolicy)) -> String {
    let seeds = 15;
    let reports = runs(&plan(nodes, loss, 100, 500), seeds, |settings| {
        settings.bloom_capacity(10_000).max_ids(12_000).filter_policy(policy)
    });
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>() as f64;
    let acked = reports.iter().flat_map(|report| &report.acknowledged_after);
    let mut acked: Vec<_> = acked.map(|after| after.as_millis()).collect();
    acked.sort_unstable();
    let share = |percent| acked[acked.len() * percent / 100] as f64 / 1e3;
    format!(
        "{nodes:7} {loss:4} {seeds:5} {name:8} | {:8.1} | {:5.1} {:7.1} | {:6.2}\n",
        sum(|report| report.sent_in_all().bytes) / sum(|report| report.deliveries),
        share(50),
        share(95),
        sum(|report| report.sent(SendReason::Resend).messages) / sum(|report| report.published),
    )
}

fn talker_row(nodes: u64, loss: u64) -> String {
    const MESSAGES: u64 = 200;
    let mut plan = plan(nodes, loss, 0, 0);
    plan.speech = Speech::NimSds;
    let settings = |_, settings: ConfigBuilder| settings.max_log_messages(400).max_ids(800);
    let mut group = Simulation::with_settings(1, &plan, settings).expect("a valid plan");
    for n in 0..MESSAGES {
        let content = Bytes::from_static(&[b'x'; 64]);
        group.publish(0, format!("{n:036}").as_str().into(), content).expect("published");
        group.run_until(Instant::from_millis((n + 1) * 5_000)).expect("no violation");
    }
    let report = group.report();
    let mut acked: Vec<_> = report.acknowledged_after.iter().map(|d| d.as_millis()).collect();
    acked.sort_unstable();
    let share = |percent| acked[acked.len() * percent / 100] as f64 / 1e3;
    let each = |sent| sent as f64 / MESSAGES as f64;
    format!(
        "{nodes:7} {loss:4} | {:5} {:5.1} {:6.1} | {:6.2} {:7.2} {:8.1}\n",
        acked.len(),
        share(50),
        share(95),
        each(report.sent(SendReason::Resend).messages),
        each(report.sent(SendReason::Sync).messages),
        report.sent_in_all().bytes as f64 / report.deliveries as f64,
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
    if most > 5 {
        actual.push_str(FILTERS);
        for (nodes, loss) in [(5, 0), (5, 30), (20, 0), (20, 30)] {
            for policy in POLICIES {
                actual.push_str(&filter_row(nodes, loss, policy));
            }
        }
    }
    if most > 5 {
        actual.push_str(TALKER);
        for (nodes, loss) in [(2, 0), (2, 30), (5, 0), (5, 30), (20, 0), (20, 30)] {
            actual.push_str(&talker_row(nodes, loss));
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
