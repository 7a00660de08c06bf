//! Simulated groups in a bad world: all invariants of ARCHITECTURE.md that the simulator checks,
//! and the simulator itself.

use sds_proto::sim::{Plan, Simulation, Violation, minimise};
use sds_proto::{Instant, SendReason};

fn run(seed: u64, plan: &Plan) -> Result<sds_proto::sim::Report, Violation> {
    Simulation::new(seed, plan).expect("a plan that can be carried out").run()
}

fn plan(text: &str) -> Plan {
    text.parse().expect("a plan")
}

#[test]
fn groups_with_all_faults_keep_every_invariant() {
    let runs = if cfg!(debug_assertions) { 20 } else { 1_000 };
    for seed in 0..runs {
        let plan = Plan::random(seed, 8, 96);
        if let Err(violation) = run(seed, &plan) {
            panic!("seed {seed}: {violation}\n{plan}");
        }
    }
}

#[test]
fn the_same_seed_and_plan_give_the_same_run() {
    for seed in 0..5 {
        let plan = Plan::random(seed, 6, 40);
        let printed: Plan = plan.to_string().parse().expect("what was printed");
        assert_eq!(run(seed, &plan), run(seed, &printed));
        assert_ne!(run(seed, &plan), run(seed + 1, &plan));
    }
}

#[test]
fn a_report_says_what_was_sent_and_how_long_it_took() {
    let report = run(1, &plan("nodes 4\nmessages 20\nloss 20")).expect("no violation");
    assert_eq!((report.published, report.deliveries), (20, 80));
    assert_eq!(report.acknowledged_after.len(), 20);
    assert_eq!(report.sent(SendReason::New).messages, 20);
    assert!(report.sent(SendReason::Repair).messages > 0);
    assert!(report.settled_at.is_some_and(|at| at >= report.delivered_at));
    assert_eq!(report.sent_in_all().bytes, report.bytes_by_member.iter().sum());
}

#[test]
fn members_of_four_forms_without_a_store_node_get_everything() {
    for seed in 0..8 {
        let plan = plan("nodes 4\nmessages 40\nloss 20\nduplicate 10\nspeech forms");
        let report = run(seed, &plan).unwrap_or_else(|violation| panic!("{seed}: {violation}"));
        assert_eq!((report.deliveries, report.lost), (160, 0), "seed {seed}");
    }
}

#[test]
fn a_hundred_members_converge_under_loss() {
    let report = run(3, &plan("nodes 100\nmessages 5\nloss 30")).expect("no violation");
    assert_eq!(report.deliveries, 500);
}

#[test]
fn a_newcomer_and_one_that_has_forgotten_everything_get_everything() {
    let text = "nodes 5\nmessages 30\nloss 10\njoin node=4 at=400000\n\
                crash node=3 at=500000 down=100 keep=nothing mid_write=0";
    let report = run(5, &plan(text)).expect("no violation");
    assert_eq!((report.deliveries, report.crashes), (5 * 30 + 30, 1));
}

#[test]
fn what_fails_is_made_small() {
    // Nobody hears anything, and nobody is given the time to notice.
    let plan = plan(
        "nodes 6\nmessages 50\nloss 100\nduplicate 10\njitter_ms 40\npatience_min 1\n\
         jump node=2 at=1000 by=500\npartition at=500 lasts=1000 ways=3",
    );
    let (small, violation) = minimise(9, &plan).expect("it fails");
    assert_eq!(run(9, &small), Err(violation));
    assert!(small.faults.is_empty(), "{small}");
    assert_eq!((small.duplicate, small.jitter_ms, small.nodes), (0, 0, 2), "{small}");
    assert_eq!(minimise(9, &self::plan("nodes 3\nmessages 3")), None);
}

#[test]
fn time_may_be_gone_through_step_by_step() {
    let mut simulation = Simulation::new(2, &plan("nodes 3\nmessages 0")).expect("a plan");
    simulation.run_until(Instant::from_millis(50)).expect("nothing happens");
    assert_eq!(simulation.now(), Instant::from_millis(50));
    simulation.publish(1, "m1".into(), "hello".into()).expect("published");
    assert_eq!(simulation.report().deliveries, 1);
    simulation.run_until(Instant::from_millis(71)).expect("no violation");
    assert_eq!(simulation.report().deliveries, 3);
}

#[test]
fn a_group_with_nothing_to_say_settles() {
    // The publisher has left, or never came: time passes without an event.
    for faults in ["leave node=2 at=0\ncrash node=2 at=125500 down=64000 keep=all mid_write=0", ""]
    {
        let plan = plan(&format!("nodes 3\nmessages 0\n{faults}"));
        let report = run(1, &plan).expect("no violation");
        assert_eq!((report.published, report.crashes), (0, 0));
    }
}

#[test]
fn what_nobody_had_when_it_was_given_up_may_turn_up_elsewhere() {
    // The bridge forgets everything, all others have evicted it, and the store node gives the
    // bridge later what it did not give the member that gave up.
    let plan = plan(
        "nodes 3\nmessages 12\ngap_ms 300\ntogether 70\nspeech mixed\nkeeping strict\n\
         without_wall 1\nlog 2\nloss 38\nduplicate 22\nreorder 33\nreorder_ms 200\n\
         latency_ms 134\njitter_ms 724\ntail pareto\nstore_ms 140\narchive 51\n\
         failing_store node=2 at=77500 lasts=34000\nfailing_store node=2 at=124000 lasts=56000\n\
         crash node=0 at=127500 down=127500 keep=nothing mid_write=1",
    );
    let report = run(8_639_673_560_940_082_007, &plan).expect("no violation");
    assert!(report.lost > 0);
}

#[test]
fn what_was_stored_and_never_told_is_told_after_a_crash_or_leaves_a_gap() {
    // One write appends two messages and evicts the first; the store has it, its answer is lost.
    let plan = plan(
        "together 84\nkeeping strict\nlog 2\nloss 1\narchive 25\n\
         crash node=0 at=6500 down=0 keep=all mid_write=1",
    );
    run(8_639_673_560_940_023_208, &plan).expect("no violation");
}
