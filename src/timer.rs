//! A queue of deadlines that can be withdrawn.

use alloc::collections::BTreeMap;

use crate::time::Instant;

/// What to wake for, as [`Node::next_deadline`](crate::Node::next_deadline) says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a time and its reason")]
pub struct Deadline {
    /// When to call `handle` with a `Tick`. Earlier is harmless, later only delays.
    pub at: Instant,
    /// Why.
    pub why: Why,
}

/// The reason of a deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Why {
    /// Effects can be polled now.
    Effects,
    /// A failed write is handed out again.
    PersistRetry,
    /// An own message is resent.
    Resend,
    /// A repair request becomes due.
    RepairRequest,
    /// A repair answer becomes due.
    RepairAnswer,
    /// A dependency is given up.
    GiveUp,
    /// The embedder is asked again to fetch what is missing.
    Retrieval,
    /// A message is re-encoded into the other dialect.
    Bridge,
    /// The channel has been quiet for long enough.
    Sync,
}

/// Names one scheduled timer, so that it can be withdrawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct TimerKey(Instant, u64);

/// Timers by time; of equal times, the one scheduled first goes first.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queue: BTreeMap<TimerKey, T>,
    scheduled: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), scheduled: 0 }
    }
}

impl<T> Timers<T> {
    pub(crate) fn schedule(&mut self, at: Instant, timer: T) -> TimerKey {
        self.scheduled += 1;
        let key = TimerKey(at, self.scheduled);
        self.queue.insert(key, timer);
        key
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    pub(crate) fn next(&self) -> Option<(Instant, &T)> {
        self.queue.first_key_value().map(|(key, timer)| (key.0, timer))
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

impl TimerKey {
    pub(crate) const fn at(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pops_by_time_then_by_age_and_never_what_was_cancelled() {
        let at = Instant::from_millis;
        let mut timers = Timers::default();
        timers.schedule(at(2), 'c');
        timers.schedule(at(1), 'a');
        let cancelled = timers.schedule(at(1), 'x');
        timers.schedule(at(1), 'b');
        timers.cancel(cancelled);
        assert_eq!(timers.next().map(|(at, _)| at), Some(at(1)));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(1)), Some('a'));
        assert_eq!(timers.pop_due(at(1)), Some('b'));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(9)), Some('c'));
    }
}
