//! From an id to the bits that stand for it.

use core::num::NonZeroU64;

use crate::hash::{HashKind, Murmur3, farm_hash64, farm_hash64_suffixed};

/// Suffix of an id for its second hash.
const SECOND: [u8; 2] = *b" b";

/// The two hashes of an id that place it in filters of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Probe {
    /// The absolute value of the hash of the id.
    pub a: u64,
    /// The absolute value of the hash of the id followed by `" b"`.
    pub b: u64,
}

impl HashKind {
    /// Hashes `id` for use in filters. Allocates only for FarmHash of an id longer than 126 bytes.
    ///
    /// Hashes count as signed numbers, of which the absolute value is taken, where the peers' code
    /// sees them so: 32-bit ones for [`HashKind::Lip109`], 64-bit ones for [`HashKind::NimFarm`].
    /// (Nim before 2.2 widens its 32-bit hash without a sign.) The lowest signed number, which has
    /// no absolute value in the peers' code, gives 2^31 or 2^63.
    #[must_use]
    pub fn probe(self, id: &[u8]) -> Probe {
        match self {
            Self::Lip109 => {
                let [a, b] = murmur_pair(|hasher| hasher.write_text(id));
                let magnitude = |hash: u32| hash.cast_signed().unsigned_abs();
                Probe::new(magnitude(a).into(), magnitude(b).into())
            }
            Self::NimFarm => {
                let magnitude = |hash: u64| hash.cast_signed().unsigned_abs();
                Probe::new(magnitude(farm_hash64(id)), magnitude(farm_hash64_suffixed(id, SECOND)))
            }
            Self::NimMurmur => {
                let [a, b] = murmur_pair(|hasher| hasher.write(id));
                Probe::new(a.into(), b.into())
            }
        }
    }
}

impl Probe {
    /// A probe that was computed before, for example read back from storage.
    #[must_use]
    pub const fn new(a: u64, b: u64) -> Self {
        Self { a, b }
    }

    /// The bits that stand for the id in a filter of `m_bits`: `(a + n·b) mod m_bits` for
    /// n = 0, 1, 2 … without end.
    #[must_use]
    pub const fn indices(self, m_bits: NonZeroU64) -> Indices {
        Indices::new(self.a % m_bits.get(), self.b % m_bits.get(), m_bits.get())
    }
}

/// Both hashes in one pass: the second continues where the first ends.
fn murmur_pair(write: impl FnOnce(&mut Murmur3)) -> [u32; 2] {
    let mut hasher = Murmur3::default();
    write(&mut hasher);
    let first = hasher.finish();
    hasher.write(&SECOND);
    [first, hasher.finish()]
}

/// Bit indices of one id in one filter, endless; from [`Probe::indices`].
#[derive(Clone, Debug)]
pub struct Indices {
    next: u64,
    step: u64,
    /// `m − step`: adding the step modulo m is, from here on, to subtract this.
    turn: u64,
}

impl Indices {
    /// Both `first` and `step` must be below `m_bits`.
    const fn new(first: u64, step: u64, m_bits: u64) -> Self {
        Self { next: first, step, turn: m_bits - step }
    }
}

impl Iterator for Indices {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let index = self.next;
        self.next = if index >= self.turn { index - self.turn } else { index + self.step };
        Some(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

/// The size of one filter in bits, prepared to reduce many hashes without dividing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modulus {
    m_bits: NonZeroU64,
    /// ⌊(2^64 − 1) / m⌋
    reciprocal: u64,
}

impl Modulus {
    pub(super) const fn new(m_bits: NonZeroU64) -> Self {
        Self { m_bits, reciprocal: u64::MAX / m_bits.get() }
    }

    pub(super) const fn get(self) -> u64 {
        self.m_bits.get()
    }

    pub(super) const fn indices(self, probe: Probe) -> Indices {
        Indices::new(self.reduce(probe.a), self.reduce(probe.b), self.get())
    }

    const fn reduce(self, hash: u64) -> u64 {
        // hash·reciprocal / 2^64 lies less than 1 below hash / m, so the quotient is right or one
        // too small, and the remainder below 2m.
        let quotient = ((hash as u128 * self.reciprocal as u128) >> 64) as u64;
        let remainder = hash - quotient * self.get();
        // m can exceed 2^63, but then the quotient is 0 or 1 and nothing here wraps either.
        if remainder >= self.get() { remainder - self.get() } else { remainder }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{murmur3_32, murmur3_32_utf16};
    use alloc::format;

    const SAMPLES: [u64; 10] =
        [1, 2, 3, 63, 64, 150_000, 1 << 32, (1 << 63) - 25, 1 << 63, u64::MAX];

    #[test]
    fn reduces_like_the_remainder() {
        for m in SAMPLES {
            let modulus = Modulus::new(NonZeroU64::new(m).unwrap());
            for base in SAMPLES {
                for hash in [0, base - 1, base, base.wrapping_mul(m), base.wrapping_mul(m) ^ 1] {
                    assert_eq!(modulus.reduce(hash), hash % m, "{hash} mod {m}");
                }
            }
        }
    }

    #[test]
    fn indices_are_the_sums_modulo_m() {
        for m in SAMPLES {
            let m_bits = NonZeroU64::new(m).unwrap();
            for (a, b) in [(0, 0), (1, m - 1), (u64::MAX, u64::MAX), (17, u64::MAX / 3)] {
                let indices = Probe::new(a, b).indices(m_bits).take(70).enumerate();
                for (n, index) in indices {
                    let sum = u128::from(a % m) + n as u128 * u128::from(b % m);
                    assert_eq!(u128::from(index), sum % u128::from(m));
                }
            }
        }
    }

    #[test]
    fn second_hash_is_of_the_suffixed_id() {
        for id in ["", "a", "ab", "abc", "abcd", "naïve", "\u{1f980}", &"long".repeat(50)] {
            let suffixed = format!("{id} b");
            let magnitude = |hash: u32| u64::from(hash.cast_signed().unsigned_abs());
            let probe = HashKind::Lip109.probe(id.as_bytes());
            assert_eq!(probe.a, magnitude(murmur3_32_utf16(id.as_bytes())));
            assert_eq!(probe.b, magnitude(murmur3_32_utf16(suffixed.as_bytes())));
            let probe = HashKind::NimMurmur.probe(id.as_bytes());
            assert_eq!(probe.b, u64::from(murmur3_32(suffixed.as_bytes())));
            let probe = HashKind::NimFarm.probe(id.as_bytes());
            assert_eq!(probe.b, farm_hash64(suffixed.as_bytes()).cast_signed().unsigned_abs());
        }
    }
}
