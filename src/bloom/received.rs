//! A peer's filter, read in place from the message that brought it.

use core::num::NonZeroU64;
use core::{fmt, iter};

use super::probe::Modulus;
use super::{Geometry, Probe};
use crate::rng::Rng;
use crate::wire::{DecodeError, NimFilter};

/// Maximum number of hash functions of a filter: three times that of the defaults, and more than
/// any rate of a millionth needs. A look-up takes at most one step for each.
pub const MAX_K: u32 = 32;

/// Random ids that are looked up to measure a filter's rate of false positives.
const SAMPLES: usize = 256;
/// Logarithm of the false positive rate above which a filter is no evidence: one in eight.
pub(crate) const NO_EVIDENCE_LN: f64 = -3.0 * core::f64::consts::LN_2;
/// Maximum number of them that a filter near its error rate contains by chance.
const BY_CHANCE: usize = 1;

/// A peer's filter: a view of its bytes.
///
/// Everything that its sender says about it has been checked; making one allocates nothing and
/// looks at no bit.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedFilter<'a> {
    words: &'a [u8],
    modulus: Modulus,
    k: u32,
    order: ByteOrder,
    capacity: u64,
    error_rate_millionths: u64,
}

impl<'a> ReceivedFilter<'a> {
    /// Reads a LIP-109 filter: its words, big-endian, and nothing else. Its geometry is agreed on
    /// in the group.
    ///
    /// # Errors
    ///
    /// [`FilterError::Size`] if `bytes` are not exactly as many as `geometry` has.
    pub fn from_lip109(bytes: &'a [u8], geometry: &Geometry) -> Result<Self, FilterError> {
        let expected = geometry.word_count() * 8;
        if bytes.len() != expected {
            return Err(FilterError::Size { expected, actual: bytes.len() });
        }
        Ok(Self {
            words: bytes,
            modulus: geometry.modulus(),
            k: geometry.k(),
            order: ByteOrder::Big,
            capacity: geometry.capacity(),
            error_rate_millionths: geometry.error_rate_millionths().into(),
        })
    }

    /// Reads a nim-sds filter, which says its own geometry.
    ///
    /// `max_k` bounds the number of hash functions, and so the work of a look-up; [`MAX_K`] suits.
    ///
    /// # Errors
    ///
    /// Each [`FilterError`] but [`FilterError::Size`].
    pub fn from_nim(bytes: &'a [u8], max_k: u32) -> Result<Self, FilterError> {
        let filter = NimFilter::decode(bytes).map_err(FilterError::Container)?;
        let NimFilter { words, capacity, error_rate_millionths, k, m_bits, .. } = filter;

        // In nim-sds all of these are signed.
        if i64::try_from(capacity).is_err() {
            return Err(FilterError::Capacity { capacity });
        }
        let k = match u32::try_from(k) {
            Ok(k @ 1..) if k <= max_k => k,
            _ => return Err(FilterError::HashCount { k, max: max_k }),
        };
        if words.len() % 8 != 0 {
            return Err(FilterError::PartialWord { len: words.len() });
        }
        let m = NonZeroU64::new(m_bits).ok_or(FilterError::NoBits)?;
        let available = (words.len() as u64).saturating_mul(8);
        if m_bits > available {
            return Err(FilterError::BitsBeyondWords { m_bits, available });
        }
        let modulus = Modulus::new(m);
        Ok(Self { words, modulus, k, order: ByteOrder::Little, capacity, error_rate_millionths })
    }

    /// Whether the filter has the id with these hashes: `true` if its sender added the id; now and
    /// then if not.
    #[must_use]
    pub fn contains(&self, probe: Probe) -> bool {
        let mut indices = self.modulus.indices(probe).take(self.k as usize);
        indices.all(|index| {
            let at = (index / 8) as usize ^ self.order.byte_flip();
            self.words.get(at).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
        })
    }

    /// The first of the bits that stand for the id with these hashes.
    pub(crate) fn first_index(&self, probe: Probe) -> u64 {
        self.modulus.indices(probe).next().unwrap_or_default()
    }

    /// 1 if the bit is set, and 0 if not.
    #[inline]
    pub(crate) fn bit(&self, index: u64) -> u8 {
        let at = (index / 8) as usize ^ self.order.byte_flip();
        self.words.get(at).map_or(0, |byte| byte >> (index % 8) & 1)
    }

    /// The natural logarithm of the chance that an id is found that was never added, as the filter
    /// is now: k · ln(share of bits set).
    ///
    /// 0 for a full filter, which proves nothing; minus infinity for an empty one, which finds
    /// nothing. Counts the bits: keep the result if it is needed again.
    #[must_use]
    pub fn false_positive_ln(&self) -> f64 {
        let share = self.ones() as f64 / self.m_bits() as f64;
        f64::from(self.k) * libm::log(share)
    }

    /// Returns the natural logarithm of the probability that an id is found that was never added,
    /// as evidence: [`false_positive_ln`](Self::false_positive_ln), but at least one in `m_bits`².
    ///
    /// The positions of an id are an arithmetic progression, determined by two of them, so there
    /// are only so many sets of positions.
    pub(crate) fn computed_ln(&self) -> f64 {
        let pairs = 2.0 * libm::log(self.m_bits() as f64);
        self.false_positive_ln().max(-pairs)
    }

    /// Returns the higher one of `computed` and the measured probability that an id is found that
    /// was never added.
    ///
    /// A filter with a pattern contains far more ids than the share of its bits suggests. Random
    /// ids show it; they come from `seed`, which peers must not be able to predict.
    pub(crate) fn measured_ln(&self, seed: u64, computed: f64) -> f64 {
        let mut random = Rng::new(seed);
        let ids = iter::repeat_with(|| {
            let both = random.next_u64();
            Probe::new(both >> 32, both & u64::from(u32::MAX))
        });
        // A filter with this many hits is no evidence, so that more need not be counted.
        let enough = SAMPLES / 8 + 1;
        let hits = ids.take(SAMPLES).filter(|probe| self.contains(*probe)).take(enough).count();
        match hits {
            0..=BY_CHANCE => computed,
            _ => computed.max(libm::log(hits as f64 / SAMPLES as f64)),
        }
    }

    /// The number of bits set. Counts them; those beyond [`m_bits`](Self::m_bits) do not count.
    #[must_use]
    pub fn ones(&self) -> u64 {
        let (words, _) = self.words.as_chunks::<8>();
        let whole = (self.m_bits() / 64) as usize;
        let ones = |word: u64| u64::from(word.count_ones());
        let mask = (1 << (self.m_bits() % 64)) - 1;
        let last = words.get(whole).map_or(0, |word| ones(self.order.word(*word) & mask));
        let before = words.iter().take(whole).map(|word| ones(u64::from_le_bytes(*word)));
        before.sum::<u64>() + last
    }

    /// The number of ids that its sender made it for. Not checked to fit the rest.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The error rate that its sender made it for, in millionths. Not checked to fit the rest.
    #[must_use]
    pub const fn error_rate_millionths(&self) -> u64 {
        self.error_rate_millionths
    }

    /// The number of hash functions, at least 1.
    #[must_use]
    pub const fn k(&self) -> u32 {
        self.k
    }

    /// The number of bits, at least 1.
    #[must_use]
    pub const fn m_bits(&self) -> u64 {
        self.modulus.get()
    }

    /// The number of 64-bit words that came, used or not.
    #[must_use]
    pub const fn word_count(&self) -> usize {
        self.words.len() / 8
    }
}

/// A fault of a received filter. The message that carried it is still processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterError {
    /// It has not the size agreed on in the group.
    Size {
        /// The size agreed on, in bytes.
        expected: usize,
        /// The size that came, in bytes.
        actual: usize,
    },
    /// Its container cannot be read.
    Container(DecodeError),
    /// It claims to have no bits.
    NoBits,
    /// It claims no hash functions, or too many.
    HashCount {
        /// The number claimed.
        k: u64,
        /// The most that are allowed.
        max: u32,
    },
    /// Its bytes are not a whole number of 64-bit words.
    PartialWord {
        /// Number of bytes.
        len: usize,
    },
    /// It claims more bits than it brings.
    BitsBeyondWords {
        /// The number claimed.
        m_bits: u64,
        /// The number there.
        available: u64,
    },
    /// It claims a capacity of 2^63 or more.
    Capacity {
        /// The capacity claimed.
        capacity: u64,
    },
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { expected, actual } => {
                write!(f, "the filter has {actual} bytes instead of {expected}")
            }
            Self::Container(error) => write!(f, "the container of the filter: {error}"),
            Self::NoBits => f.write_str("the filter claims to have no bits"),
            Self::HashCount { k, max } => {
                write!(f, "the filter claims {k} hash functions, not 1 to {max}")
            }
            Self::PartialWord { len } => {
                write!(f, "the filter has {len} bytes, not a multiple of 8")
            }
            Self::BitsBeyondWords { m_bits, available } => {
                write!(f, "the filter claims {m_bits} bits and has {available}")
            }
            Self::Capacity { capacity } => {
                write!(f, "the filter claims a capacity of {capacity}, 2^63 or more")
            }
        }
    }
}

impl core::error::Error for FilterError {}

#[derive(Clone, Copy, Debug)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// Mask to exclusive-or with the number of a byte, counted from the lowest bits up, to find it
    /// in the words.
    const fn byte_flip(self) -> usize {
        match self {
            Self::Little => 0,
            Self::Big => 7,
        }
    }

    const fn word(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bloom::Filter;
    use crate::hash::HashKind;
    use alloc::vec::Vec;

    /// A container with one-byte numbers; enough for what is tested here.
    fn nim(words: &[u8], capacity: u8, k: u8, m_bits: u8) -> Vec<u8> {
        assert!(words.len() < 128);
        let mut bytes = alloc::vec![0x0a, words.len() as u8];
        bytes.extend_from_slice(words);
        bytes.extend_from_slice(&[0x10, capacity, 0x18, 0, 0x20, k, 0x28, m_bits]);
        bytes
    }

    fn refused(bytes: &[u8]) -> FilterError {
        ReceivedFilter::from_nim(bytes, MAX_K).unwrap_err()
    }

    #[test]
    fn refuses_each_impossible_claim() {
        assert!(ReceivedFilter::from_nim(&nim(&[0; 16], 5, 7, 50), MAX_K).is_ok());
        assert_eq!(refused(&nim(&[0; 16], 5, 7, 0)), FilterError::NoBits);
        assert_eq!(refused(&nim(&[0; 16], 5, 0, 50)), FilterError::HashCount { k: 0, max: 32 });
        assert_eq!(refused(&nim(&[0; 16], 5, 33, 50)), FilterError::HashCount { k: 33, max: 32 });
        assert_eq!(refused(&nim(&[0; 15], 5, 7, 50)), FilterError::PartialWord { len: 15 });
        let beyond = FilterError::BitsBeyondWords { m_bits: 65, available: 64 };
        assert_eq!(refused(&nim(&[0; 8], 5, 7, 65)), beyond);
        let no_m_bits = &nim(&[0; 8], 5, 7, 50)[..16];
        for unreadable in [&[0xff][..], &[], no_m_bits] {
            assert!(matches!(refused(unreadable), FilterError::Container(_)));
        }
    }

    #[test]
    fn refuses_the_numbers_that_kill_nim_sds() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for (tag, error) in [
            (0x10, FilterError::Capacity { capacity: u64::MAX }),
            (0x20, FilterError::HashCount { k: u64::MAX, max: 32 }),
            (0x28, FilterError::BitsBeyondWords { m_bits: u64::MAX, available: 128 }),
        ] {
            let mut bytes = nim(&[0; 16], 5, 7, 50);
            bytes.push(tag);
            bytes.extend_from_slice(&huge);
            assert_eq!(refused(&bytes), error);
        }
    }

    #[test]
    fn lip109_must_have_the_agreed_size() {
        let geometry = Geometry::DEFAULT;
        let bytes = alloc::vec![0; 18_760];
        for actual in [0, 18_744, 18_751, 18_753, 18_760] {
            let error = ReceivedFilter::from_lip109(&bytes[..actual], &geometry).unwrap_err();
            assert_eq!(error, FilterError::Size { expected: 18_752, actual });
        }
        assert!(ReceivedFilter::from_lip109(&bytes[..18_752], &geometry).is_ok());
    }

    #[test]
    fn agrees_with_the_filter_it_was_written_from() {
        let mut filter = Filter::new(Geometry::new(7, 0.01).unwrap());
        let probe = |n: u32| HashKind::Lip109.probe(&n.to_le_bytes());
        (0..5).for_each(|n| filter.insert(probe(n)));
        let big: Vec<u8> = filter.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        let little: Vec<u8> = filter.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        let container = nim(&little, 7, 7, 70);
        let big = ReceivedFilter::from_lip109(&big, filter.geometry()).unwrap();
        let little = ReceivedFilter::from_nim(&container, MAX_K).unwrap();
        for received in [big, little] {
            assert_eq!(received.ones(), filter.ones());
            assert!((0..999).all(|n| received.contains(probe(n)) == filter.contains(probe(n))));
        }
    }

    #[test]
    fn false_positive_chance_follows_the_real_fill() {
        let chance = |words: &[u8]| {
            ReceivedFilter::from_nim(&nim(words, 5, 7, 66), MAX_K).unwrap().false_positive_ln()
        };
        assert_eq!(chance(&[0; 16]), f64::NEG_INFINITY);
        assert_eq!(chance(&[0xff; 16]), 0.0, "only 66 bits count, all of them set");
        let mut half = [0; 16];
        half[..4].fill(0xff);
        half[8] = 0b1111_1110;
        assert!((chance(&half) - 7.0 * libm::log(0.5)).abs() < 1e-12);
    }
}
