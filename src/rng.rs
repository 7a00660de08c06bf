//! Randomness from a seed: SplitMix64, enough for jitter and back-off, never for secrets.

use core::time::Duration;

use crate::broken::{self, Break};

/// A deterministic stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    #[cfg(feature = "sim")]
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        let number = self.next_u64();
        if bound == 0 { 0 } else { number % bound }
    }

    /// Whether something with this chance in percent happens.
    #[cfg(feature = "sim")]
    pub(crate) const fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// A time from `low` to `high`, both included; `low` if `high` is not above it.
    pub(crate) fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        if broken::is(Break::Determinism) {
            self.0 ^= broken::count();
        }
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX - 1);
        low + Duration::from_micros(self.next_u64() % (span + 1))
    }

    /// `time`, shortened or lengthened by up to a quarter.
    pub(crate) fn jitter(&mut self, time: Duration) -> Duration {
        self.duration(time - time / 4, time + time / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_range_and_repeats_with_its_seed() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        let (low, high) = (Duration::from_millis(3), Duration::from_millis(5));
        for _ in 0..1_000 {
            let time = a.duration(low, high);
            assert!((low..=high).contains(&time));
            assert_eq!(time, b.duration(low, high));
        }
        assert_eq!(a.duration(high, low), high);
    }
}
