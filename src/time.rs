//! The two clocks a node is told: one for timers, one for Lamport time.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point on the embedder's monotonic clock, in microseconds since any fixed start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// The instant `micros` microseconds after the start of the clock.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the start of the clock.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the start of the clock.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The instant `duration` before `self`; at the earliest the start of the clock.
    pub(crate) fn before(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

/// Saturates at the end of the clock, some 584,000 years after its start.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Wall-clock time in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to make")]
pub struct UnixMillis(pub u64);

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms since 1970", self.0)
    }
}

/// The current time, which the embedder passes with every input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "two clocks are all there is to tell")]
pub struct Now {
    /// The monotonic clock: what timers run on.
    pub mono: Instant,
    /// The wall clock, if there is one: what Lamport time is pegged to. A board without a
    /// real-time clock says `None`.
    pub wall: Option<UnixMillis>,
}

impl Now {
    /// Both clocks.
    #[must_use]
    pub const fn new(mono: Instant, wall: UnixMillis) -> Self {
        Self { mono, wall: Some(wall) }
    }

    /// A monotonic clock alone.
    #[must_use]
    pub const fn without_wall(mono: Instant) -> Self {
        Self { mono, wall: None }
    }
}
