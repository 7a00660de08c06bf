//! The size of a filter, from what it shall hold and how often it may err.

use core::fmt;
use core::num::NonZeroU64;

use super::MAX_K;
use super::probe::Modulus;

/// The most bits an own filter may have: 2^31, or 256 MiB.
const MAX_M_BITS: u64 = 1 << 31;

/// The most bits an element that the table of given hash counts goes up to.
const MAX_TABLE_RATIO: u32 = 32;

/// Size and number of hash functions of a filter. Valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    capacity: u64,
    error_rate_millionths: u32,
    k: u32,
    modulus: Modulus,
}

impl Geometry {
    /// 10,000 ids at an error rate of 0.001: 10 hash functions, 150,000 bits (18,752 bytes). The
    /// only geometry that `@waku/sds` can read.
    pub const DEFAULT: Self = Self {
        capacity: 10_000,
        error_rate_millionths: 1_000,
        k: 10,
        modulus: Modulus::new(NonZeroU64::new(150_000).expect("not zero")),
    };

    /// The best geometry for `capacity` ids of which, when that many are in, an absent one is
    /// found with probability `error_rate`.
    ///
    /// # Errors
    ///
    /// See [`GeometryError`].
    pub fn new(capacity: u64, error_rate: f64) -> Result<Self, GeometryError> {
        let rate = ErrorRate::new(error_rate)?;
        let ln_2 = core::f64::consts::LN_2;
        let bits_per_element = libm::ceil(-(libm::log(error_rate) / (ln_2 * ln_2)));
        let k = libm::round(ln_2 * bits_per_element);
        // Both are whole and small: the logarithm of the smallest number above zero is -745.
        let (k, bits_per_element) = (k as u32, bits_per_element as u32);
        if k > MAX_K {
            return Err(GeometryError::ErrorRate);
        }
        Self::build(capacity, rate, k, bits_per_element)
    }

    /// Like [`new`](Self::new), with the values nim-sds puts in for impossible ones: 10,000 for a
    /// capacity of zero, 0.001 for an error rate that is not between 0 and 1.
    ///
    /// # Errors
    ///
    /// [`GeometryError::TooLarge`] only.
    pub fn or_default(capacity: u64, error_rate: f64) -> Result<Self, GeometryError> {
        let capacity = if capacity == 0 { Self::DEFAULT.capacity } else { capacity };
        let error_rate = if ErrorRate::new(error_rate).is_ok() { error_rate } else { 0.001 };
        Self::new(capacity, error_rate)
    }

    /// The smallest geometry of `k` hash functions, 1 to 12, that keeps to `error_rate`.
    ///
    /// It is found in the table of error rates for `k` against bits per element, 2 to 32, in the
    /// summary-cache paper of Fan, Cao, Almeida and Broder, as nim-sds does.
    ///
    /// # Errors
    ///
    /// See [`GeometryError`].
    pub fn with_k(capacity: u64, error_rate: f64, k: u32) -> Result<Self, GeometryError> {
        let rate = ErrorRate::new(error_rate)?;
        let bits_per_element = (first_table_ratio(k)?..=MAX_TABLE_RATIO)
            .find(|&ratio| table_error_rate(k, ratio) < error_rate)
            .ok_or(GeometryError::Unreachable)?;
        Self::build(capacity, rate, k, bits_per_element)
    }

    /// The number of ids it is made for.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The error rate it is made for, in millionths, truncated: 0 for rates below 0.000001.
    #[must_use]
    pub const fn error_rate_millionths(&self) -> u32 {
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

    /// The number of 64-bit words that hold the bits, and never fewer than one bit more.
    #[must_use]
    pub const fn word_count(&self) -> usize {
        // At most 1.2 · 2^31 / 64 (see `resized`), so it fits any `usize` of 32 bits.
        1 + (self.m_bits() / 64) as usize
    }

    /// Number of ids kept when a filter rolls: the capacity less 20 %, rounded down.
    pub(super) const fn min_capacity(&self) -> usize {
        (self.capacity * 4 / 5) as usize
    }

    /// Number of ids a filter takes before it rolls: the capacity and 20 %, rounded down.
    pub(super) const fn max_capacity(&self) -> usize {
        (self.capacity * 6 / 5) as usize
    }

    /// The largest geometry that a filter of this one rolls to in the nim dialect.
    pub(crate) fn rolled(&self) -> Self {
        self.resized(self.max_capacity() as u64)
    }

    /// The same number of hash functions and bits per element, for another capacity.
    ///
    /// The caller bounds `capacity` by 1.2 times that of `self`.
    pub(super) fn resized(&self, capacity: u64) -> Self {
        let bits_per_element = self.m_bits() / self.capacity;
        let m_bits = NonZeroU64::new(capacity.saturating_mul(bits_per_element));
        let modulus = m_bits.map_or(self.modulus, Modulus::new);
        Self { capacity, modulus, ..*self }
    }

    pub(super) const fn modulus(&self) -> Modulus {
        self.modulus
    }

    fn build(
        capacity: u64,
        rate: ErrorRate,
        k: u32,
        bits_per_element: u32,
    ) -> Result<Self, GeometryError> {
        let m_bits = capacity
            .checked_mul(bits_per_element.into())
            .filter(|&m_bits| m_bits <= MAX_M_BITS)
            .ok_or(GeometryError::TooLarge)?;
        let m_bits = NonZeroU64::new(m_bits).ok_or(GeometryError::NoCapacity)?;
        let modulus = Modulus::new(m_bits);
        Ok(Self { capacity, error_rate_millionths: rate.millionths, k, modulus })
    }
}

impl Default for Geometry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why no filter can be made as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// The capacity is zero.
    NoCapacity,
    /// The error rate is not a number above 0 and below 1, or so near to 0 (below 2^-64 or so) that
    /// it takes more than [`MAX_K`] hash functions.
    ErrorRate,
    /// The number of hash functions is not one of 1 to 12.
    HashCount,
    /// With that few hash functions, 32 bits per element do not reach the error rate.
    Unreachable,
    /// The filter would have more than 2^31 bits.
    TooLarge,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCapacity => "the capacity of a filter must not be zero",
            Self::ErrorRate => "the error rate of a filter must be above 2^-64 and below 1",
            Self::HashCount => "the number of hash functions must be from 1 to 12",
            Self::Unreachable => "the error rate needs more hash functions or 33 bits per element",
            Self::TooLarge => "a filter must not have more than 2^31 bits",
        })
    }
}

impl core::error::Error for GeometryError {}

struct ErrorRate {
    millionths: u32,
}

impl ErrorRate {
    fn new(rate: f64) -> Result<Self, GeometryError> {
        // Written so that NaN fails too.
        if rate > 0.0 && rate < 1.0 {
            Ok(Self { millionths: (rate * 1e6) as u32 })
        } else {
            Err(GeometryError::ErrorRate)
        }
    }
}

/// The bits per element at which the published table begins for `k` hash functions.
fn first_table_ratio(k: u32) -> Result<u32, GeometryError> {
    const FIRST: [u32; 12] = [2, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 15];
    let index = k.checked_sub(1).ok_or(GeometryError::HashCount)? as usize;
    FIRST.get(index).copied().ok_or(GeometryError::HashCount)
}

/// The entry of the published table: (1 − e^(−k/ratio))^k, to three significant digits.
fn table_error_rate(k: u32, ratio: u32) -> f64 {
    if (k, ratio) == (3, 5) {
        return 0.092; // as published, for 0.0918
    }
    let rate = libm::pow(1.0 - libm::exp(-f64::from(k) / f64::from(ratio)), k.into());
    let mut scale = 1.0;
    while rate * scale < 100.0 {
        scale *= 10.0;
    }
    // Numerator and denominator are exact, so this is the number that the decimal stands for.
    libm::round(rate * scale) / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_what_its_numbers_give() {
        assert_eq!(Geometry::new(10_000, 0.001), Ok(Geometry::DEFAULT));
        assert_eq!(Geometry::DEFAULT.word_count() * 8, 18_752);
        assert_eq!(Geometry::or_default(0, 7.0), Ok(Geometry::DEFAULT));
    }

    #[test]
    fn table_entries_are_the_published_ones() {
        for (k, ratio, published) in [
            (1, 2, 0.393),
            (1, 32, 0.0308),
            (2, 3, 0.237),
            (3, 5, 0.092),
            (4, 5, 0.092),
            (5, 29, 0.000_099_6),
            (7, 15, 0.001),
            (8, 30, 0.000_009_01),
            (12, 15, 0.000_778),
            (12, 32, 0.000_000_874),
        ] {
            assert_eq!(table_error_rate(k, ratio), published, "k = {k}, {ratio} bits");
        }
    }

    #[test]
    fn given_k_takes_the_first_entry_below_the_rate() {
        let bits = |rate, k| Geometry::with_k(1, rate, k).map(|geometry| geometry.m_bits());
        assert_eq!(bits(0.1, 2), Ok(6));
        assert_eq!(bits(0.01, 7), Ok(10));
        assert_eq!(bits(0.001, 7), Ok(16), "the entry at 15 equals the rate");
        assert_eq!(bits(0.000_01, 2), Err(GeometryError::Unreachable));
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(Geometry::new(0, 0.1), Err(GeometryError::NoCapacity));
        for rate in [0.0, -0.5, 1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Geometry::new(1, rate), Err(GeometryError::ErrorRate));
        }
        assert_eq!(Geometry::with_k(1, 0.1, 0), Err(GeometryError::HashCount));
        assert_eq!(Geometry::with_k(1, 0.1, 13), Err(GeometryError::HashCount));
        for capacity in [u64::MAX, 1 << 31] {
            assert_eq!(Geometry::new(capacity, 0.001), Err(GeometryError::TooLarge));
        }
    }

    #[test]
    fn extreme_rates_stay_within_reason() {
        let tiny = Geometry::new(1, 4e-10).unwrap();
        assert_eq!((tiny.k(), tiny.m_bits()), (32, 46));
        assert_eq!(Geometry::new(1, f64::from_bits(1)), Err(GeometryError::ErrorRate));
        let sure = Geometry::new(1, 1.0 - f64::EPSILON).unwrap();
        assert_eq!((sure.k(), sure.m_bits()), (1, 1));
    }
}
