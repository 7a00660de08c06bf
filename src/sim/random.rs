//! Plans by chance: every kind of fault, in ever new combinations.

use alloc::vec::Vec;

use super::fault::Fault;
use super::plan::Plan;
use super::value::{Keep, Keeping, Speech, Tail};
use crate::rng::Rng;

/// Faults begin and messages are published in this time.
const TROUBLED_MS: u64 = 300_000;

impl Plan {
    /// A plan with faults of every kind, each with a chance of its own, by `seed`. Two members stay
    /// from beginning to end, so that there is a group; in a group of two dialects one of them
    /// bridges.
    #[must_use]
    pub fn random(seed: u64, nodes: u64, messages: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x706c_616e);
        let rng = &mut rng;
        let mut plan = Self {
            nodes,
            messages,
            gap_ms: TROUBLED_MS / messages.max(1),
            speech: pick(
                rng,
                &[Speech::Lip109, Speech::Lip109, Speech::NimSds, Speech::Mixed, Speech::Mirror],
            ),
            keeping: pick(rng, &[Keeping::None, Keeping::Strict, Keeping::Relaxed, Keeping::Mixed]),
            latency_ms: 1 + rng.below(200),
            ..Self::default()
        };
        if rng.percent(70) {
            plan.loss = pick(rng, &[5, 10, 20, 30, 50]);
        }
        if rng.percent(30) {
            plan.burst_loss = 50 + rng.below(51);
            plan.burst_begin = 1 + rng.below(50);
            plan.burst_end = 50 + rng.below(300);
        }
        if rng.percent(50) {
            plan.duplicate = 1 + rng.below(30);
        }
        if rng.percent(40) {
            (plan.reorder, plan.reorder_ms) = (1 + rng.below(40), 1 + rng.below(5_000));
        }
        if rng.percent(60) {
            plan.jitter_ms = 1 + rng.below(500);
            plan.tail = pick(rng, &[Tail::Uniform, Tail::Exponential, Tail::Pareto]);
        }
        if rng.percent(20) {
            plan.bandwidth = 4 + rng.below(60);
        }
        if rng.percent(25) {
            plan.log = (messages / 2).max(1);
        }
        if rng.percent(20) {
            plan.archive = 50 + rng.below(51);
        }
        if rng.percent(15) {
            plan.without_wall = 1 + rng.below(nodes);
        }
        for _ in 0..rng.below(9) {
            let fault = random_fault(rng, nodes);
            plan.faults.extend(fault);
        }
        plan.faults.extend(coming_and_going(rng, nodes));
        if rng.percent(10) {
            // At most for longer than anything is waited for.
            let (node, at) = (rng.below(nodes), rng.below(TROUBLED_MS));
            let lasts = pick(rng, &[60_000, 3_600_000, 5 * 3_600_000]);
            plan.faults.push(Fault::Sleep { node, at, lasts });
        }
        plan
    }
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn random_fault(rng: &mut Rng, nodes: u64) -> Option<Fault> {
    let (node, at) = (rng.below(nodes), rng.below(TROUBLED_MS));
    let lasts = 1_000 + rng.below(120_000);
    let signed = |rng: &mut Rng, most: u64| rng.below(2 * most).cast_signed() - most.cast_signed();
    Some(match rng.below(8) {
        0 => Fault::Partition { at, lasts, ways: 2 + rng.below(2) },
        1 if nodes > 1 => {
            Fault::OneWay { at, lasts, from: node, to: (node + 1 + rng.below(nodes - 1)) % nodes }
        }
        2 | 3 => Fault::Crash {
            node,
            at,
            down: rng.below(30_000),
            keep: pick(
                rng,
                &[Keep::All, Keep::Half, Keep::Answered, Keep::Answered, Keep::Nothing],
            ),
            mid_write: rng.below(2),
        },
        4 => Fault::SlowStore { node, at, lasts, takes: 10 + rng.below(5_000) },
        5 => Fault::FailingStore { node, at, lasts },
        6 => {
            let (by, ppm) = (signed(rng, 4 * 3_600_000), signed(rng, 200_000));
            pick(rng, &[Fault::Skew { node, by }, Fault::Drift { node, ppm }])
        }
        7 => Fault::Jump { node, at, by: signed(rng, 6 * 3_600_000) },
        _ => return None,
    })
}

/// Joiners and leavers among all members but the first two.
fn coming_and_going(rng: &mut Rng, nodes: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in 2..nodes {
        if rng.percent(10) {
            faults.push(Fault::Join { node, at: rng.below(TROUBLED_MS) });
        }
        if rng.percent(5) {
            faults.push(Fault::Leave { node, at: TROUBLED_MS + rng.below(TROUBLED_MS) });
        }
    }
    faults
}
