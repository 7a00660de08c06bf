//! The fate of a datagram: lost, late, repeated.

use smallvec::SmallVec;

use super::fault::Fault;
use super::plan::Plan;
use super::value::Tail;
use crate::rng::Rng;

/// Maximum time for which a datagram waits to be sent before it is dropped.
const MAX_BACKLOG_MICROS: u64 = 5_000_000;

/// Times of arrival, none for a datagram that is lost.
pub(super) type Arrivals = SmallVec<[u64; 2]>;

#[derive(Debug)]
pub(super) struct Network {
    /// Whether each receiver is in a bad spell.
    bad: alloc::vec::Vec<bool>,
    /// When each sender has sent what it has begun to send.
    busy_until: alloc::vec::Vec<u64>,
    /// Partitions and one-way links at this time.
    cuts: SmallVec<[Fault; 4]>,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            bad: alloc::vec![false; nodes],
            busy_until: alloc::vec![0; nodes],
            cuts: SmallVec::new(),
        }
    }

    pub(super) fn cut(&mut self, fault: Fault) {
        self.cuts.push(fault);
    }

    pub(super) fn heal(&mut self, fault: Fault) {
        if let Some(at) = self.cuts.iter().position(|cut| *cut == fault) {
            self.cuts.swap_remove(at);
        }
    }

    /// When a datagram of `len` bytes that is sent now has left its sender. `None`: there was no
    /// room for it.
    pub(super) fn departure(
        &mut self,
        plan: &Plan,
        from: usize,
        len: usize,
        now: u64,
    ) -> Option<u64> {
        if plan.bandwidth == 0 {
            return Some(now);
        }
        let begins = self.busy_until[from].max(now);
        if begins - now > MAX_BACKLOG_MICROS {
            return None;
        }
        // A kilobyte a second is a byte a millisecond.
        self.busy_until[from] = begins + len as u64 * 1_000 / plan.bandwidth;
        Some(self.busy_until[from])
    }

    /// When a datagram that has left `from` arrives at `to`. `None`: an outsider sent it.
    pub(super) fn arrivals(
        &mut self,
        plan: &Plan,
        rng: &mut Rng,
        from: Option<usize>,
        to: usize,
        left: u64,
    ) -> Arrivals {
        let mut arrivals = Arrivals::new();
        let cut = |cut: &Fault| from.is_some_and(|from| cuts(cut, from as u64, to as u64));
        if self.cuts.iter().any(cut) {
            return arrivals;
        }
        let copies = if rng.percent(plan.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if !self.loses(plan, rng, to) {
                arrivals.push(left + latency(plan, rng));
            }
        }
        arrivals
    }

    fn loses(&mut self, plan: &Plan, rng: &mut Rng, to: usize) -> bool {
        if plan.burst_begin > 0 {
            let chance = if self.bad[to] { plan.burst_end } else { plan.burst_begin };
            self.bad[to] ^= rng.below(1_000) < chance;
        }
        rng.percent(plan.loss) || (self.bad[to] && rng.percent(plan.burst_loss))
    }
}

fn cuts(fault: &Fault, from: u64, to: u64) -> bool {
    match *fault {
        Fault::Partition { ways, .. } => from % ways != to % ways,
        Fault::OneWay { from: deaf_to, to: deaf, .. } => from == deaf_to && to == deaf,
        _ => false,
    }
}

/// In microseconds.
fn latency(plan: &Plan, rng: &mut Rng) -> u64 {
    let mean = plan.jitter_ms * 1_000;
    // In (0, 1], so that its logarithm is a number.
    let chance = (rng.below(1 << 32) + 1) as f64 / (1_u64 << 32) as f64;
    let jitter = match plan.tail {
        _ if mean == 0 => 0,
        Tail::Uniform => rng.below(2 * mean),
        Tail::Exponential => (-libm::log(chance) * mean as f64) as u64,
        // The mean of this distribution is three times its least value, which is taken off.
        Tail::Pareto => ((libm::pow(chance, -2.0 / 3.0) - 1.0) * mean as f64 / 2.0) as u64,
    };
    let held_up =
        if rng.percent(plan.reorder) { rng.below(plan.reorder_ms * 1_000 + 1) } else { 0 };
    // One microsecond at least: nothing arrives before it was sent.
    1 + plan.latency_ms * 1_000 + jitter.min(mean * 100) + held_up
}
