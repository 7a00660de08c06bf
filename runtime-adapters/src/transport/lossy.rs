//! Injected faults, for tests.

use core::cmp::Reverse;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BinaryHeap;
use std::io;
use std::time::Instant;

use bytes::Bytes;

use super::{Received, SendError, Transport};
use crate::timer::Timer;

/// Datagrams held back at most; beyond, the wrapped transport is not read.
const MAX_HELD: usize = 4_096;

/// Faults of received datagrams. [`Faults::seeded`] creates them without any.
#[derive(Clone, Debug)]
pub struct Faults {
    rng: fastrand::Rng,
    loss: f64,
    duplication: f64,
    max_delay: Duration,
}

impl Faults {
    /// No faults; those added are chosen by `seed`: the same seed and the same datagrams in the
    /// same order suffer the same.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { rng, loss: 0.0, duplication: 0.0, max_delay: Duration::ZERO }
    }

    /// Chance, from 0 to 1, that a datagram is lost. What is below or above counts as 0 or 1.
    #[must_use]
    pub const fn loss(mut self, chance: f64) -> Self {
        self.loss = chance;
        self
    }

    /// Chance, from 0 to 1, that a datagram that is not lost comes twice. What is below or above
    /// counts as 0 or 1.
    #[must_use]
    pub const fn duplication(mut self, chance: f64) -> Self {
        self.duplication = chance;
        self
    }

    /// Each copy is delayed by its own random time up to this, and so overtaken by others.
    #[must_use]
    pub const fn reordering(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// Returns the number of copies of a datagram that arrive.
    fn copies(&mut self) -> usize {
        if self.rng.f64() < self.loss {
            return 0;
        }
        if self.rng.f64() < self.duplication { 2 } else { 1 }
    }

    fn delay(&mut self) -> Duration {
        self.max_delay.mul_f64(self.rng.f64())
    }
}

/// A transport that loses, repeats and delays what another one receives.
///
/// Sending is left alone: faults at the receiver differ from member to member, as on a real
/// network. At most 4,096 datagrams are held back at a time.
#[derive(Debug)]
pub struct Lossy<T, C> {
    inner: T,
    timer: C,
    faults: Faults,
    held: BinaryHeap<Reverse<Held>>,
    arrivals: u64,
}

impl<T: Transport, C: Timer> Lossy<T, C> {
    /// `inner` with `faults`; `timer` is of the runtime that drives it, for example
    /// `smol::Timer::default()`.
    #[must_use]
    pub const fn new(inner: T, timer: C, faults: Faults) -> Self {
        Self { inner, timer, faults, held: BinaryHeap::new(), arrivals: 0 }
    }

    /// Reads the wrapped transport until it has no more.
    fn fill(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<()> {
        while self.held.len() < MAX_HELD {
            let Poll::Ready(received) = self.inner.poll_recv(cx) else {
                break;
            };
            let received = received?;
            for _ in 0..self.faults.copies() {
                self.arrivals += 1;
                let due = now + self.faults.delay();
                let held = Held { due, arrival: self.arrivals, received: received.clone() };
                self.held.push(Reverse(held));
            }
        }
        Ok(())
    }
}

impl<T: Transport, C: Timer> Transport for Lossy<T, C> {
    fn max_datagram_len(&self) -> usize {
        self.inner.max_datagram_len()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        self.inner.poll_send(cx, datagram)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        loop {
            let now = Instant::now();
            self.fill(cx, now)?;
            let Some(Reverse(first)) = self.held.peek() else {
                return Poll::Pending;
            };
            if first.due > now {
                self.timer.set(Some(first.due));
                if self.timer.poll(cx).is_pending() {
                    return Poll::Pending;
                }
            } else if let Some(Reverse(first)) = self.held.pop() {
                return Poll::Ready(Ok(first.received));
            }
        }
    }
}

/// A datagram that arrives later; the earliest is the least.
#[derive(Debug)]
struct Held {
    due: Instant,
    arrival: u64,
    received: Received,
}

impl Held {
    const fn key(&self) -> (Instant, u64) {
        (self.due, self.arrival)
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(seed: u64, loss: f64, duplication: f64) -> Vec<usize> {
        let mut faults = Faults::seeded(seed).loss(loss).duplication(duplication);
        (0..1_000).map(|_| faults.copies()).collect()
    }

    #[test]
    fn a_seed_decides_and_chances_hold() {
        assert_eq!(copies(1, 0.3, 0.1), copies(1, 0.3, 0.1));
        assert_ne!(copies(1, 0.3, 0.1), copies(2, 0.3, 0.1));
        let count = |wanted| copies(3, 0.3, 0.1).into_iter().filter(|n| *n == wanted).count();
        assert!((250..350).contains(&count(0)), "{} of 1,000 lost", count(0));
        assert!((40..100).contains(&count(2)), "{} of 1,000 came twice", count(2));
    }

    #[test]
    fn no_faults_and_certain_faults() {
        assert!(copies(1, 0.0, 0.0).iter().all(|n| *n == 1));
        assert!(copies(1, 1.0, 1.0).iter().all(|n| *n == 0));
        assert!(copies(1, 0.0, 1.0).iter().all(|n| *n == 2));
    }
}
