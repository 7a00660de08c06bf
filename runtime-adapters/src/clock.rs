//! The clocks of the operating system as the node wants them told.

use core::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sds_proto::{Now, UnixMillis};

/// Reads the monotonic and the wall clock.
///
/// The node's monotonic time starts at zero when the clock is made. A wall clock that stands
/// before 1970 counts as none.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = sds_proto::Instant::ZERO + self.start.elapsed();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let wall = since_1970.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Now { mono, wall: wall.map(UnixMillis) }
    }

    /// The operating system's name for `at`; `None` if it is too far ahead to have one.
    #[must_use]
    pub fn to_std(&self, at: sds_proto::Instant) -> Option<Instant> {
        self.start.checked_add(Duration::from_micros(at.as_micros()))
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
}
