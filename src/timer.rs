//! A queue of deadlines that can be withdrawn.

use crate::sorted::{Position, Sorted};
use crate::time::Instant;

/// The next deadline, as [`Node::next_deadline`](crate::Node::next_deadline) returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a time and its reason")]
pub struct Deadline {
    /// The time at which to handle a `Tick`. Earlier is harmless, later only delays.
    pub at: Instant,
    /// The reason.
    pub reason: DeadlineReason,
}

/// The reason of a deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum DeadlineReason {
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
    /// The embedder is asked again to retrieve missing messages.
    Retrieval,
    /// A message is encoded in the other dialect.
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
    queue: Sorted<(TimerKey, T)>,
    scheduled: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { queue: Sorted::default(), scheduled: 0 }
    }
}

impl<T> Timers<T> {
    pub(crate) fn schedule(&mut self, at: Instant, timer: T) -> TimerKey {
        self.scheduled += 1;
        let key = TimerKey(at, self.scheduled);
        self.queue.insert(self.place(key), (key, timer));
        key
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        let at = self.place(key);
        if self.queue.get(at).is_some_and(|(found, _)| *found == key) {
            self.queue.remove(at);
        }
    }

    fn place(&self, key: TimerKey) -> Position {
        self.queue.partition_point(|(other, _)| *other < key)
    }

    pub(crate) fn next(&self) -> Option<(Instant, &T)> {
        self.queue.first().map(|(key, timer)| (key.0, timer))
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        self.queue.first().filter(|(key, _)| key.0 <= now)?;
        self.queue.remove(Position::START).map(|(_, timer)| timer)
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
