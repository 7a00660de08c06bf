//! An own filter: bits in memory.

use alloc::boxed::Box;
use alloc::vec;

use super::{Geometry, Probe};
use crate::wire::FilterField;

/// A set of ids, a few bits each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    geometry: Geometry,
    words: Box<[u64]>,
}

impl Filter {
    /// An empty filter. Allocates all its [words](Geometry::word_count).
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, words: vec![0; geometry.word_count()].into_boxed_slice() }
    }

    /// Adds an id, by its hashes.
    pub fn insert(&mut self, probe: Probe) {
        for index in self.geometry.modulus().indices(probe).take(self.geometry.k() as usize) {
            if let Some(word) = self.words.get_mut((index / 64) as usize) {
                *word |= 1 << (index % 64);
            }
        }
    }

    /// Whether an id may have been added: `true` if it was; `true` now and then if not.
    #[must_use]
    pub fn contains(&self, probe: Probe) -> bool {
        let mut indices = self.geometry.modulus().indices(probe).take(self.geometry.k() as usize);
        indices.all(|index| {
            self.words.get((index / 64) as usize).is_some_and(|word| word >> (index % 64) & 1 == 1)
        })
    }

    /// The number of bits set. Counts them.
    #[must_use]
    pub fn ones(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The bits: bit `b` is bit `b mod 64` of word `b / 64`.
    #[must_use]
    pub const fn words(&self) -> &[u64] {
        &self.words
    }

    /// Size and number of hash functions.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// This filter as field of a message to `@waku/sds` and other LIP-109 peers, which must be
    /// configured with the same geometry.
    #[must_use]
    pub const fn lip109_field(&self) -> FilterField<'_> {
        FilterField::Lip109 { words: &self.words }
    }

    /// This filter as field of a message to nim-sds peers, which read the geometry in it.
    #[must_use]
    pub const fn nim_field(&self) -> FilterField<'_> {
        FilterField::Nim {
            words: &self.words,
            capacity: self.geometry.capacity(),
            error_rate_millionths: self.geometry.error_rate_millionths() as u64,
            k: self.geometry.k() as u64,
            m_bits: self.geometry.m_bits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKind;

    #[test]
    fn finds_what_was_inserted_and_little_else() {
        let mut filter = Filter::new(Geometry::new(1000, 0.01).unwrap());
        let probe = |n: u32| HashKind::NimFarm.probe(&n.to_le_bytes());
        (0..1000).for_each(|n| filter.insert(probe(n)));
        assert!((0..1000).all(|n| filter.contains(probe(n))));
        let hits = (1000..11_000).filter(|&n| filter.contains(probe(n))).count();
        assert!((50..200).contains(&hits), "{hits} false positives of 10,000; 100 expected");
    }

    #[test]
    fn counts_its_bits() {
        let mut filter = Filter::new(Geometry::DEFAULT);
        assert_eq!(filter.ones(), 0);
        filter.insert(Probe::new(0, 1));
        assert_eq!((filter.ones(), filter.words()[0]), (10, 0b11_1111_1111));
        filter.insert(Probe::new(149_999, 0));
        assert_eq!((filter.ones(), filter.words()[2343]), (11, 1 << 47));
    }
}
