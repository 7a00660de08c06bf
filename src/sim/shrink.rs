//! From a plan that fails to a small one that fails in the same way.

use alloc::vec::Vec;

use super::Simulation;
use super::plan::Plan;
use super::report::Violation;

/// Runs tried at most.
const MAX_RUNS: usize = 400;

/// The smallest plan to be found that breaks the same invariant as `plan` does with `seed`, and how
/// it breaks it. `None`: the plan breaks none.
///
/// Faults are left out, and numbers are put at their defaults or halved, as long as that fails.
#[must_use]
pub fn minimise(seed: u64, plan: &Plan) -> Option<(Plan, Violation)> {
    let mut violation = violation(seed, plan)?;
    let mut plan = plan.clone();
    let mut runs = 0;
    'smaller: loop {
        for smaller in smaller(&plan) {
            runs += 1;
            if runs > MAX_RUNS {
                break 'smaller;
            }
            let found = self::violation(seed, &smaller);
            if let Some(found) = found.filter(|found| found.invariant == violation.invariant) {
                (plan, violation) = (smaller, found);
                continue 'smaller;
            }
        }
        break;
    }
    Some((plan, violation))
}

fn violation(seed: u64, plan: &Plan) -> Option<Violation> {
    // A plan that cannot be carried out, as one that names a member that was left out, is none.
    Simulation::new(seed, plan).ok()?.run().err()
}

fn smaller(plan: &Plan) -> Vec<Plan> {
    let with_faults = |faults| Plan { faults, ..plan.clone() };
    let mut plans = Vec::new();
    if plan.faults.len() > 1 {
        let (first, second) = plan.faults.split_at(plan.faults.len() / 2);
        plans.extend([with_faults(second.to_vec()), with_faults(first.to_vec())]);
    }
    for left_out in 0..plan.faults.len() {
        let mut faults = plan.faults.clone();
        faults.remove(left_out);
        plans.push(with_faults(faults));
    }
    plans.extend(plan.with_lesser_settings());
    for (at, fault) in plan.faults.iter().enumerate() {
        for lesser in fault.lesser() {
            let mut faults = plan.faults.clone();
            faults[at] = lesser;
            plans.push(with_faults(faults));
        }
    }
    plans
}
