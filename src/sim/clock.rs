//! The clocks of one member, which need not be right.

use crate::time::{Instant, Now, UnixMillis};

/// Wall-clock time at the beginning of a simulation: 2026-01-01.
pub(super) const EPOCH_MS: u64 = 1_767_225_600_000;

const MILLION: i128 = 1_000_000;

/// Deviation of one member's clocks from true time, in microseconds since the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Millionths by which both clocks run too fast.
    pub(super) ppm: i64,
    /// Milliseconds by which the wall clock is ahead; `None`: there is none.
    pub(super) ahead: Option<i64>,
    /// When its monotonic clock began.
    pub(super) started: u64,
}

impl Clock {
    pub(super) fn now(&self, at: u64) -> Now {
        let mono = Instant::from_micros(self.shown(at - self.started));
        let wall = self.ahead.map(|ahead| {
            UnixMillis((EPOCH_MS + self.shown(at) / 1_000).saturating_add_signed(ahead))
        });
        Now { mono, wall }
    }

    /// The first true time at which the monotonic clock shows `mono`.
    pub(super) fn when(&self, mono: Instant) -> u64 {
        let elapsed = (i128::from(mono.as_micros()) * MILLION + self.rate() - 1) / self.rate();
        self.started.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// Returns the reading of a clock of this rate after a true time, rounded down.
    fn shown(&self, elapsed: u64) -> u64 {
        u64::try_from(i128::from(elapsed) * self.rate() / MILLION).unwrap_or(u64::MAX)
    }

    /// Above 0.
    fn rate(&self) -> i128 {
        MILLION + i128::from(self.ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_neither_early_nor_more_than_a_tick_late() {
        for ppm in [-500_000, -3, 0, 7, 200_000] {
            let clock = Clock { ppm, ahead: None, started: 12 };
            for mono in [0, 1, 999, 1_000_000, 987_654_321] {
                let at = clock.when(Instant::from_micros(mono));
                let shown = |at| clock.now(at).mono.as_micros();
                assert!(shown(at) >= mono);
                assert!(at == 12 || shown(at - 1) < mono, "{ppm} {mono}");
            }
        }
    }
}
