//! Lamport time, pegged to the wall clock where there is one.

use crate::broken::{self, Break};
use crate::time::UnixMillis;

/// A channel's Lamport clock. Its unit is the millisecond where a wall clock pegs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LamportClock(u64);

impl LamportClock {
    pub(crate) const fn current(self) -> u64 {
        self.0
    }

    /// The time of the next message of our own: `max(wall, current + 1)`, or `current + 1`
    /// without a wall clock. `None` at the end of time.
    pub(crate) fn next(self, wall: Option<UnixMillis>) -> Option<u64> {
        let after = self.0.checked_add(1)?;
        if broken::is(Break::Clock) {
            return wall.map(|wall| wall.0).or(Some(after));
        }
        Some(wall.map_or(after, |wall| after.max(wall.0)))
    }

    /// Takes note of a delivered message's time, or of our own.
    pub(crate) fn observe(&mut self, lamport: u64) {
        self.0 = self.0.max(lamport);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_pegged_to_the_wall_and_never_goes_back() {
        let mut clock = LamportClock::default();
        assert_eq!(clock.next(Some(UnixMillis(1_000))), Some(1_000));
        clock.observe(1_000);
        assert_eq!(clock.next(Some(UnixMillis(10))), Some(1_001));
        assert_eq!(clock.next(None), Some(1_001));
        clock.observe(5);
        assert_eq!(clock.current(), 1_000);
    }

    #[test]
    fn has_an_end() {
        assert_eq!(LamportClock(u64::MAX).next(None), None);
    }
}
