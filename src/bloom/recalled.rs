//! A filter of which only the hashes are kept.

use super::ring::ProbeRing;
use super::{Geometry, Probe};
use crate::wire::FilterField;

/// The ids of a [`RollingFilter`](super::RollingFilter) with
/// [`Rolling::Fixed`](super::Rolling::Fixed) without its bits, which are computed when they are
/// sent.
///
/// Memory: 8 bytes for each of `n` + 20 % ids, or 16 with 64-bit hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFilter {
    geometry: Geometry,
    ring: ProbeRing,
}

impl ProbeFilter {
    /// A filter of nothing. Allocates nothing.
    #[must_use]
    pub const fn new(geometry: Geometry) -> Self {
        Self { geometry, ring: ProbeRing::new() }
    }

    /// Adds an id, by its hashes.
    pub fn insert(&mut self, probe: Probe) {
        let full = self.geometry.max_capacity() + 1;
        self.ring.push(probe, full);
        if self.ring.len() == full {
            self.ring.drop_oldest(full - self.geometry.min_capacity());
        }
    }

    /// Whether no id was ever added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.len() == 0
    }

    /// This filter as field of a message to LIP-109 peers, as
    /// [`Filter::lip109_field`](super::Filter::lip109_field). Encoding it sets the bits of every
    /// id.
    #[must_use]
    pub const fn lip109_field(&self) -> FilterField<'_> {
        FilterField::Lip109Probes(self)
    }

    /// Bytes of the filter in a message.
    pub(crate) const fn len_bytes(&self) -> usize {
        self.geometry.word_count() * 8
    }

    /// Sets the bits of every id in as many `bytes`, those of the filter's words, big-endian.
    pub(crate) fn set(&self, bytes: &mut [u8]) {
        let (modulus, k) = (self.geometry.modulus(), self.geometry.k() as usize);
        for probe in (0..self.ring.len()).filter_map(|n| self.ring.get(n)) {
            for index in modulus.indices(probe).take(k) {
                if let Some(byte) = bytes.get_mut((index / 8) as usize ^ 7) {
                    *byte |= 1 << (index % 8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::{Rolling, RollingFilter};
    use crate::hash::HashKind;
    use bytes::BytesMut;

    #[test]
    fn is_at_every_step_the_filter_that_is_kept() {
        for capacity in [2, 3, 20, 100, 143] {
            let geometry = Geometry::new(capacity, 0.01).unwrap();
            let mut kept = RollingFilter::new(geometry, Rolling::Fixed);
            let mut recalled = ProbeFilter::new(geometry);
            for n in 0..capacity * 4 {
                assert_eq!(recalled.is_empty(), n == 0);
                let mut sent = [BytesMut::new(), BytesMut::new()];
                recalled.lip109_field().encode(&mut sent[0]);
                kept.filter().lip109_field().encode(&mut sent[1]);
                assert_eq!(sent[0], sent[1], "{capacity} at {n}");
                let probe = HashKind::Lip109.probe(&n.to_le_bytes());
                kept.insert(probe);
                recalled.insert(probe);
            }
        }
    }
}
