//! Two or three nodes in any world.

use super::Source;
use crate::sim::{Fault, Keep, Keeping, Plan, Simulation, Speech, Tail};

/// Times are in these steps, in milliseconds: a minute or two in all.
const STEP_MS: u64 = 500;

/// Whatever happens to a few nodes, no invariant is violated, and in the end everybody has
/// everything: 8 bytes of seed, 19 of settings, and 5 for each thing that goes wrong.
pub fn node_ops(data: &[u8]) {
    let mut source = Source(data);
    let seed = source.number(8);
    let plan = plan(&mut source);
    let mut simulation = Simulation::new(seed, &plan).expect("a plan that can be carried out");
    if let Err(violation) = simulation.run() {
        panic!("{violation}\nseed {seed}, plan:\n{plan}");
    }
}

/// Always one that can be carried out.
fn plan(source: &mut Source<'_>) -> Plan {
    let mut up_to = |most: u64| source.number(1) % (most + 1);
    let mut plan = Plan {
        nodes: 2 + up_to(1),
        messages: 1 + up_to(15),
        gap_ms: 100 * up_to(50),
        together: up_to(100),
        loss: up_to(60),
        duplicate: up_to(50),
        reorder: up_to(50),
        reorder_ms: 20 * up_to(250),
        latency_ms: up_to(250),
        ..Plan::default()
    };
    plan.speech =
        [Speech::Lip109, Speech::NimSds, Speech::Mixed, Speech::Mirror][up_to(3) as usize];
    plan.keeping =
        [Keeping::None, Keeping::Relaxed, Keeping::Strict, Keeping::Mixed][up_to(3) as usize];
    plan.tail = [Tail::Uniform, Tail::Exponential, Tail::Pareto][up_to(2) as usize];
    plan.jitter_ms = 4 * up_to(250);
    plan.archive = up_to(100);
    plan.log = up_to(1) * up_to(8);
    plan.store_ms = up_to(250);
    plan.without_wall = up_to(3);
    plan.content = 1 + 16 * up_to(250);
    while !source.is_empty() && plan.faults.len() < 16 {
        plan.faults.push(fault(source, plan.nodes));
    }
    plan
}

fn fault(source: &mut Source<'_>, nodes: u64) -> Fault {
    let kind = source.byte();
    let node = source.number(1) % nodes;
    let at = source.number(1) * STEP_MS;
    let lasts = source.number(1) * STEP_MS;
    let other = source.number(1);
    let by = (other.cast_signed() - 128) * 1_000;
    match kind % 11 {
        0 => Fault::Partition { at, lasts, ways: 2 },
        1 => Fault::OneWay { at, lasts, from: node, to: (node + 1) % nodes },
        2 | 3 => {
            let keep = [Keep::All, Keep::Half, Keep::Answered, Keep::Nothing][other as usize % 4];
            Fault::Crash { node, at, down: lasts, keep, mid_write: kind as u64 % 2 }
        }
        4 => Fault::SlowStore { node, at, lasts, takes: other * 100 },
        5 => Fault::FailingStore { node, at, lasts },
        6 => Fault::Jump { node, at, by },
        7 => Fault::Drift { node, ppm: by },
        8 => Fault::Skew { node, by: by * 20 },
        // The last one comes later and goes, if it is a third.
        9 if nodes > 2 => Fault::Join { node: 2, at },
        10 if nodes > 2 => Fault::Leave { node: 2, at: at + lasts },
        // All of them together stay within the day that clocks may be apart.
        _ => Fault::Jump { node, at, by: by * 20 },
    }
}
