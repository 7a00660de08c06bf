//! Staying awake for a while before sleeping.

use core::time::Duration;
use std::thread;
use std::time::Instant;

/// Looks between two looks at the clock, which are also when other threads get their turn.
const LOOKS: u32 = 32;
/// After how many failures in a row their number counts no more.
const MAX_FAILURES: u32 = 6;

/// Adaptive spinning before blocking.
///
/// Falling asleep and being woken takes longer than a short wait. But where there are fewer cores
/// than threads that are busy, what a thread waits for may be waiting for its core; so it lets
/// others run meanwhile, and after waits in vain it spares itself the next ones, up to 63 of them.
#[derive(Clone, Debug, Default)]
pub struct Spin {
    longest: Duration,
    /// Waits in vain in a row.
    failures: u32,
    /// Waits left out until the next.
    left_out: u32,
}

impl Spin {
    /// Stays awake for `longest` at most; 0 is not at all.
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self { longest, failures: 0, left_out: 0 }
    }

    /// Returns once `come` says so, or when it is better to sleep.
    pub fn until(&mut self, come: impl Fn() -> bool) {
        if self.longest.is_zero() || come() {
            return;
        }
        if self.left_out > 0 {
            self.left_out -= 1;
            return;
        }
        let start = Instant::now();
        while start.elapsed() < self.longest {
            for _ in 0..LOOKS {
                if come() {
                    self.failures = 0;
                    return;
                }
                core::hint::spin_loop();
            }
            thread::yield_now();
        }
        self.failures = (self.failures + 1).min(MAX_FAILURES);
        self.left_out = (1 << self.failures) - 1;
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    #[test]
    fn waits_in_vain_are_left_out_more_and_more_until_one_is_not_in_vain() {
        let mut spin = Spin::new(Duration::from_micros(1));
        let looks = Cell::new(0);
        // The first look is free.
        let mut looked = |come_at: u32| {
            looks.set(0);
            spin.until(|| looks.replace(looks.get() + 1) == come_at);
            looks.get() > 1
        };
        for left_out in [1, 3, 7, 15, 31, 63, 63] {
            assert!(looked(u32::MAX));
            assert!((0..left_out).all(|_| !looked(u32::MAX)));
        }
        assert!(looked(1));
        assert!(looked(1));
        assert!(looked(u32::MAX));
        assert!(!looked(u32::MAX));
        assert!(looked(u32::MAX));
    }

    #[test]
    fn none_is_none() {
        Spin::default().until(|| panic!("it looked"));
    }
}
