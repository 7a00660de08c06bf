//! The links between participants: datagrams get lost, repeated, late, and out of order.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

/// Longest time on the way, in turns.
const LONGEST: u64 = 6;

/// Number of members on the air.
pub(crate) const MEMBERS: usize = 3;

/// Datagrams on their way.
pub(crate) struct Air {
    rng: Rng,
    /// Chance of a loss in per cent.
    loss: u32,
    /// By when they arrive, and the order they were sent in.
    on_the_way: BTreeMap<(u64, u64), (usize, Bytes)>,
    sent: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
}

impl Air {
    pub(crate) fn new(seed: u64, loss: u32) -> Self {
        let rng = Rng::with_seed(seed);
        Self { rng, loss, on_the_way: BTreeMap::new(), sent: 0, lost: 0, repeated: 0 }
    }

    /// Broadcasts a datagram to all but its sender.
    pub(crate) fn send(&mut self, turn: u64, from: usize, datagram: &Bytes) {
        for to in (0..MEMBERS).filter(|to| *to != from) {
            if self.rng.u32(..100) < self.loss {
                self.lost += 1;
                continue;
            }
            let twice = self.rng.u32(..10) == 0;
            self.repeated += u64::from(twice);
            for _ in 0..1 + u32::from(twice) {
                self.sent += 1;
                let at = turn + self.rng.u64(1..=LONGEST);
                self.on_the_way.insert((at, self.sent), (to, datagram.clone()));
            }
        }
    }

    /// Returns the datagrams that arrive in `turn`, and their receivers.
    pub(crate) fn arrived(&mut self, turn: u64) -> Vec<(usize, Bytes)> {
        let later = self.on_the_way.split_off(&(turn + 1, 0));
        std::mem::replace(&mut self.on_the_way, later).into_values().collect()
    }
}
