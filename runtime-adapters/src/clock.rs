//! The clocks of the operating system as the node wants them told.

use core::sync::atomic::{AtomicI64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sds_proto::{Now, UnixMillis};

/// Reads the monotonic and the wall clock.
///
/// The node's monotonic time starts at zero when the clock is made. A wall clock that stands
/// before 1970 counts as none.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    jumps: Option<Jumps>,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), jumps: None }
    }

    /// A clock that starts now and jumps as it is told, for tests.
    #[must_use]
    pub fn jumping(jumps: &Jumps) -> Self {
        Self { start: Instant::now(), jumps: Some(jumps.clone()) }
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> Now {
        let elapsed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let wall = since_1970.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Now {
            mono: sds_proto::Instant::from_micros(elapsed.saturating_add_signed(self.mono_jump())),
            wall: wall.map(|wall| UnixMillis(wall.saturating_add_signed(self.wall_jump()))),
        }
    }

    /// Converts `at` to `std::time::Instant`; `None` if it is too far ahead to have one.
    #[must_use]
    pub fn to_std(&self, at: sds_proto::Instant) -> Option<Instant> {
        let elapsed = at.as_micros().saturating_add_signed(self.mono_jump().saturating_neg());
        self.start.checked_add(Duration::from_micros(elapsed))
    }

    fn mono_jump(&self) -> i64 {
        self.jumps.as_ref().map_or(0, |jumps| jumps.0.mono_micros.load(Ordering::Relaxed))
    }

    fn wall_jump(&self) -> i64 {
        self.jumps.as_ref().map_or(0, |jumps| jumps.0.wall_millis.load(Ordering::Relaxed))
    }
}

/// Makes the clocks that were [given it](Clock::jumping) jump, to test what an application does
/// when the user sets the time or the machine has slept. Clones move the same clocks.
///
/// A driver that sleeps is not woken by a jump: like that of the operating system it is seen when
/// the clock is read next.
#[derive(Clone, Debug, Default)]
pub struct Jumps(Arc<Jumped>);

#[derive(Debug, Default)]
struct Jumped {
    mono_micros: AtomicI64,
    wall_millis: AtomicI64,
}

impl Jumps {
    /// Moves the monotonic clock, in microseconds: ahead, or back if negative.
    pub fn mono(&self, micros: i64) {
        self.0.mono_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Moves the wall clock, in milliseconds: ahead, or back if negative.
    pub fn wall(&self, millis: i64) {
        self.0.wall_millis.fetch_add(millis, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_time_starts_at_zero_and_maps_back() {
        let clock = Clock::start();
        let now = clock.now();
        let back = clock.to_std(now.mono).unwrap();
        assert!(back >= clock.start && back <= Instant::now());
        assert!(now.wall.is_some());
    }

    #[test]
    fn a_time_beyond_the_end_has_no_name_or_a_late_one() {
        let clock = Clock::start();
        let end = sds_proto::Instant::from_micros(u64::MAX);
        assert!(clock.to_std(end).is_none_or(|at| at > clock.start));
    }

    #[test]
    fn a_jump_moves_what_is_read_and_what_it_is_called() {
        let jumps = Jumps::default();
        let clock = Clock::jumping(&jumps);
        let before = clock.now();
        jumps.mono(5_000_000);
        jumps.wall(-60_000);
        let after = clock.now();
        assert!(after.mono.since(before.mono) >= Duration::from_secs(5));
        assert!(after.wall < before.wall);
        let back = clock.to_std(after.mono).unwrap();
        assert!(back >= clock.start && back <= Instant::now());
        jumps.mono(-10_000_000);
        assert_eq!(clock.now().mono, sds_proto::Instant::ZERO);
    }
}
