//! A filter of which only the hashes are kept.

use super::ring::ProbeRing;
use super::{Filter, Geometry, Probe};

/// What a [`RollingFilter`](super::RollingFilter) with [`Rolling::Fixed`](super::Rolling::Fixed)
/// holds, without its bits: they are set when they are to be sent.
///
/// Memory: 8 bytes for each of `n` + 20 % ids, or 16 with 64-bit hashes.
#[derive(Clone, Debug)]
pub(crate) struct RecalledFilter {
    geometry: Geometry,
    ring: ProbeRing,
}

impl RecalledFilter {
    /// Allocates nothing.
    pub(crate) const fn new(geometry: Geometry) -> Self {
        Self { geometry, ring: ProbeRing::new() }
    }

    /// Adds an id, by its hashes.
    pub(crate) fn insert(&mut self, probe: Probe) {
        let full = self.geometry.max_capacity() + 1;
        self.ring.push(probe, full);
        if self.ring.len() == full {
            self.ring.drop_oldest(full - self.geometry.min_capacity());
        }
    }

    /// Whether an id was ever added.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.len() == 0
    }

    /// The filter. Allocates it, and sets the bits of every id in it.
    pub(crate) fn filter(&self) -> Filter {
        let mut filter = Filter::new(self.geometry);
        (0..self.ring.len()).filter_map(|n| self.ring.get(n)).for_each(|p| filter.insert(p));
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::{Rolling, RollingFilter};
    use crate::hash::HashKind;

    #[test]
    fn is_at_every_step_the_filter_that_is_kept() {
        for capacity in [2, 3, 20, 100, 143] {
            let geometry = Geometry::new(capacity, 0.01).unwrap();
            let mut kept = RollingFilter::new(geometry, Rolling::Fixed);
            let mut recalled = RecalledFilter::new(geometry);
            for n in 0..capacity * 4 {
                assert_eq!(recalled.is_empty(), n == 0);
                assert_eq!(&recalled.filter(), kept.filter(), "{capacity} at {n}");
                let probe = HashKind::Lip109.probe(&n.to_le_bytes());
                kept.insert(probe);
                recalled.insert(probe);
            }
        }
    }
}
