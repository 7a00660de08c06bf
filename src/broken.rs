//! Ways to break the core on purpose, one for each invariant: a check that cannot fail is none.
//!
//! Without the feature `sim-broken` nothing can be broken, and the compiler drops the questions.
//! With it nothing is, until a test says so.

/// A way to break the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[repr(u8)]
#[cfg_attr(
    not(feature = "sim-broken"),
    expect(unreachable_pub, reason = "where nothing can be broken, nobody asks for it")
)]
pub enum Break {
    /// A message is delivered without its dependencies.
    Causality = 1,
    /// The log orders by seconds.
    Order = 2,
    /// A repeat is delivered.
    Once = 3,
    /// A refused message moves the clock.
    Refusal = 4,
    /// An input that comes before effects are drained is treated otherwise.
    Drains = 5,
    /// Delays depend on what other nodes of the process do.
    Determinism = 6,
    /// The log keeps everything.
    Bounds = 7,
    /// A deadline that passed is due again at once.
    Progress = 8,
    /// Effects leave before the changes they depend on are safe.
    Durability = 9,
    /// Lamport time is what the wall clock says.
    Clock = 10,
    /// Heads are not named.
    Heads = 11,
    /// A missing dependency is requested only once.
    Wanted = 12,
    /// Any filter acknowledges everything.
    Evidence = 13,
    /// Messages end with a field that nobody knows.
    Canonical = 14,
    /// The sender of a message is not kept.
    Authors = 17,
    /// An answer is given over and over.
    Rest = 18,
    /// Now and then an entry is missing from the log.
    Keeping = 19,
    /// A missing dependency is given up without having been asked for.
    Patience = 20,
}

#[cfg(feature = "sim-broken")]
impl Break {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Causality,
        Self::Order,
        Self::Once,
        Self::Refusal,
        Self::Drains,
        Self::Determinism,
        Self::Bounds,
        Self::Progress,
        Self::Durability,
        Self::Clock,
        Self::Heads,
        Self::Wanted,
        Self::Evidence,
        Self::Canonical,
        Self::Authors,
        Self::Rest,
        Self::Keeping,
        Self::Patience,
    ];

    /// The number of the invariant that it breaks.
    #[must_use]
    pub const fn invariant(self) -> u8 {
        if matches!(self, Self::Keeping) {
            17
        } else if matches!(self, Self::Patience) {
            12
        } else {
            self as u8
        }
    }
}

#[cfg(feature = "sim-broken")]
mod switch {
    use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    use super::Break;

    static BROKEN: AtomicU8 = AtomicU8::new(0);
    static COUNT: AtomicU64 = AtomicU64::new(0);

    /// Breaks every node of this process in this way, and in no other. `None`: mends all.
    pub fn set(way: Option<Break>) {
        BROKEN.store(way.map_or(0, |way| way as u8), Ordering::Relaxed);
    }

    pub(crate) fn is(way: Break) -> bool {
        BROKEN.load(Ordering::Relaxed) == way as u8
    }

    /// A number that is never the same.
    pub(crate) fn count() -> u64 {
        COUNT.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(not(feature = "sim-broken"))]
mod switch {
    pub(crate) const fn is(_: super::Break) -> bool {
        false
    }

    pub(crate) const fn count() -> u64 {
        0
    }
}

#[cfg(feature = "sim-broken")]
pub use switch::set;
pub(crate) use switch::{count, is};
