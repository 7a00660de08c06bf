//! The hash functions that the implementations of the protocol use.
//!
//! None of them resists an attacker who picks the ids: they place ids in filters and spread repair
//! traffic, and must give the same numbers as the peers' code. Nothing here guards a hash table.

use alloc::vec::Vec;
use core::num::Wrapping;

use sha2::{Digest, Sha256};

/// The implementation whose hash functions are used.
///
/// All members of a group must agree, or filters and response groups mean nothing to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashKind {
    /// LIP-109 as `@waku/sds` does it: [`murmur3_32_utf16`] in filters, [`sha256_prefix`] for
    /// repair.
    Lip109,
    /// nim-sds built with Nim 2.2 or later: [`farm_hash64`] for both.
    NimFarm,
    /// nim-sds built with an older Nim: [`murmur3_32`] for both.
    NimMurmur,
}

/// FarmHash64 of `bytes`, in the variant called "na" (the fingerprint that is the same on every
/// platform).
#[must_use]
pub fn farm_hash64(bytes: &[u8]) -> u64 {
    let hash = match bytes.len() {
        0..=16 => farm_up_to_16(bytes),
        17..=32 => farm_17_to_32(bytes),
        33..=64 => farm_33_to_64(bytes),
        _ => farm_over_64(bytes),
    };
    hash.0
}

/// [`farm_hash64`] of the concatenated `parts`. Allocates only beyond 128 bytes in all.
#[must_use]
pub fn farm_hash64_concat(parts: &[&[u8]]) -> u64 {
    let mut buffer = [0; 128];
    let mut rest = &mut buffer[..];
    for part in parts {
        let Some((room, after)) = rest.split_at_mut_checked(part.len()) else {
            let joined: Vec<u8> = parts.concat();
            return farm_hash64(&joined);
        };
        room.copy_from_slice(part);
        rest = after;
    }
    let unused = rest.len();
    farm_hash64(&buffer[..buffer.len() - unused])
}

/// [`farm_hash64`] of `bytes` followed by `suffix`.
pub(crate) fn farm_hash64_suffixed(bytes: &[u8], suffix: [u8; 2]) -> u64 {
    let len = bytes.len();
    if !(32..=62).contains(&len) {
        return farm_hash64_concat(&[bytes, &suffix]);
    }
    // Most ids are this long, and copying one takes longer than hashing it. Only the last word of
    // the whole has bytes of the suffix in it.
    let head = [0, 8, 16, 24].map(|at| word(bytes, at));
    let suffix = u64::from(u16::from_le_bytes(suffix)) << 48;
    let last = (word(bytes, len - 8) >> 16) | Wrapping(suffix);
    let tail = [word(bytes, len - 30), word(bytes, len - 22), word(bytes, len - 14), last];
    farm_head_and_tail(head, tail, len + 2).0
}

/// MurmurHash3 (x86, 32 bit, seed 0) of `bytes`.
#[must_use]
pub fn murmur3_32(bytes: &[u8]) -> u32 {
    murmur3_32_concat(&[bytes])
}

/// [`murmur3_32`] of the concatenated `parts`.
#[must_use]
pub fn murmur3_32_concat(parts: &[&[u8]]) -> u32 {
    let mut hasher = Murmur3::default();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// MurmurHash3 (x86, 32 bit, seed 0) as `@waku/sds` computes it over text.
///
/// Its input is not bytes but one number for each code point: the first UTF-16 unit. Such a unit
/// can need 16 bits, and then spills over its neighbour in the block of four; the length that is
/// mixed in last counts code points. For ASCII all this comes to [`murmur3_32`].
///
/// Each malformed UTF-8 sequence in `text` counts as one U+FFFD, as in a JavaScript peer, which
/// replaces it while decoding.
#[must_use]
pub fn murmur3_32_utf16(text: &[u8]) -> u32 {
    let mut hasher = Murmur3::default();
    hasher.write_text(text);
    hasher.finish()
}

/// The first eight bytes, read as a big-endian number, of SHA-256 of the concatenated `parts`.
#[must_use]
pub fn sha256_prefix(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    word(&hasher.finalize(), 0).0.swap_bytes()
}

/// MurmurHash3 as a stream: `finish` may be called midway, so that an id and the same id with a
/// suffix are hashed in one pass.
#[derive(Clone, Copy, Default)]
pub(crate) struct Murmur3 {
    state: u32,
    /// The units since the last whole block of four.
    block: u32,
    /// All units so far; the algorithm wants this count modulo 2^32.
    units: u32,
}

impl Murmur3 {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if !self.units.is_multiple_of(4) {
            bytes.iter().for_each(|&byte| self.push(byte.into()));
            return;
        }
        let (blocks, tail) = bytes.as_chunks();
        for block in blocks {
            self.mix(u32::from_le_bytes(*block));
        }
        // A slice may be longer than 2^32 - 1, the count wraps: see `units`.
        self.units = self.units.wrapping_add((blocks.len() as u32).wrapping_mul(4));
        tail.iter().for_each(|&byte| self.push(byte.into()));
    }

    pub(crate) fn write_text(&mut self, text: &[u8]) {
        if text.is_ascii() {
            return self.write(text);
        }
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.push(first_utf16_unit(c).into());
            }
            if !chunk.invalid().is_empty() {
                self.push(first_utf16_unit(char::REPLACEMENT_CHARACTER).into());
            }
        }
    }

    pub(crate) const fn finish(self) -> u32 {
        let mut h = self.state ^ Self::scramble(self.block) ^ self.units;
        h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
        h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
        h ^ (h >> 16)
    }

    const fn push(&mut self, unit: u32) {
        self.block |= unit << (8 * (self.units % 4));
        self.units = self.units.wrapping_add(1);
        if self.units.is_multiple_of(4) {
            self.mix(self.block);
            self.block = 0;
        }
    }

    const fn mix(&mut self, block: u32) {
        let h = (self.state ^ Self::scramble(block)).rotate_left(13);
        self.state = h.wrapping_mul(5).wrapping_add(0xe654_6b64);
    }

    const fn scramble(block: u32) -> u32 {
        block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
    }
}

fn first_utf16_unit(c: char) -> u16 {
    c.encode_utf16(&mut [0; 2])[0]
}

/// A number of FarmHash, whose arithmetic is modulo 2^64 throughout.
type W = Wrapping<u64>;

const K0: W = Wrapping(0xc3a5_c85c_97cb_3127);
const K1: W = Wrapping(0xb492_b66f_be98_f273);
const K2: W = Wrapping(0x9ae1_6a3b_2f90_404f);

fn farm_up_to_16(bytes: &[u8]) -> W {
    let len = bytes.len();
    let mul = farm_multiplier(len);
    match bytes {
        [] => K2,
        &[first, .., last] if len < 4 => farm_1_to_3(first, bytes[len / 2], last, len),
        &[only] => farm_1_to_3(only, only, only, len),
        _ if len < 8 => {
            let (a, b) = (half_word(bytes, 0), half_word(bytes, len - 4));
            farm_fold(length(len) + (a << 3), b, mul)
        }
        _ => {
            let a = word(bytes, 0) + K2;
            let b = word(bytes, len - 8);
            let c = rotate(b, 37) * mul + a;
            let d = (rotate(a, 25) + b) * mul;
            farm_fold(c, d, mul)
        }
    }
}

fn farm_1_to_3(first: u8, middle: u8, last: u8, len: usize) -> W {
    let y = Wrapping(u64::from(first) + (u64::from(middle) << 8));
    let z = length(len) + Wrapping(u64::from(last) << 2);
    shift_mix((y * K2) ^ (z * K0)) * K2
}

fn farm_17_to_32(bytes: &[u8]) -> W {
    let len = bytes.len();
    let mul = farm_multiplier(len);
    let a = word(bytes, 0) * K1;
    let b = word(bytes, 8);
    let c = word(bytes, len - 8) * mul;
    let d = word(bytes, len - 16) * K2;
    farm_fold(rotate(a + b, 43) + rotate(c, 30) + d, a + rotate(b + K2, 18) + c, mul)
}

fn farm_33_to_64(bytes: &[u8]) -> W {
    let len = bytes.len();
    let head = [0, 8, 16, 24].map(|at| word(bytes, at));
    let tail = [32, 24, 16, 8].map(|before_end| word(bytes, len - before_end));
    farm_head_and_tail(head, tail, len)
}

/// From 33 to 64 bytes, the hash is one of the first 32, the last 32, and the length.
fn farm_head_and_tail(head: [W; 4], tail: [W; 4], len: usize) -> W {
    let mul = farm_multiplier(len);
    let a = head[0] * K2;
    let b = head[1];
    let c = tail[3] * mul;
    let d = tail[2] * K2;
    let y = rotate(a + b, 43) + rotate(c, 30) + d;
    let z = farm_fold(y, a + rotate(b + K2, 18) + c, mul);
    let e = head[2] * mul;
    let f = head[3];
    let g = (y + tail[0]) * mul;
    let h = (z + tail[1]) * mul;
    farm_fold(rotate(e + f, 43) + rotate(g, 30) + h, e + rotate(f + a, 18) + g, mul)
}

fn farm_over_64(bytes: &[u8]) -> W {
    // All blocks but the last, which may be whole or not: the last round takes the 64 bytes that
    // end the input instead, and so may take some bytes again.
    let beyond_blocks = (bytes.len() - 1) % 64;
    let (blocks, _) = bytes[..bytes.len() - 1].as_chunks::<64>();
    let last = &bytes[bytes.len() - 64..];

    let seed = Wrapping(81);
    let y = seed * K1 + Wrapping(113);
    let mut state = FarmState {
        x: seed * K2 + word(bytes, 0),
        y,
        z: shift_mix(y * K2 + Wrapping(113)) * K2,
        v: [Wrapping(0); 2],
        w: [Wrapping(0); 2],
    };
    for block in blocks {
        state.round(block, K1, Wrapping(1));
    }

    let mul = K1 + ((state.z & Wrapping(0xff)) << 1);
    state.w[0] += length(beyond_blocks);
    state.v[0] += state.w[0];
    state.w[0] += state.v[0];
    state.round(last, mul, Wrapping(9));

    let FarmState { x, y, z, v, w } = state;
    farm_fold(
        farm_fold(v[0], w[0], mul) + shift_mix(y) * K0 + z,
        farm_fold(v[1], w[1], mul) + x,
        mul,
    )
}

struct FarmState {
    x: W,
    y: W,
    z: W,
    v: [W; 2],
    w: [W; 2],
}

impl FarmState {
    /// Takes in the 64 bytes of `block`.
    fn round(&mut self, block: &[u8], mul: W, weight: W) {
        let Self { x, y, z, v, w } = self;
        *x = rotate(*x + *y + v[0] + word(block, 8), 37) * mul;
        *y = rotate(*y + v[1] + word(block, 48), 42) * mul;
        *x ^= w[1] * weight;
        *y += v[0] * weight + word(block, 40);
        *z = rotate(*z + w[0], 33) * mul;
        *v = farm_weak_fold(&block[..32], v[1] * mul, *x + w[0]);
        *w = farm_weak_fold(&block[32..], *z + w[1], *y + word(block, 16));
        core::mem::swap(x, z);
    }
}

fn farm_weak_fold(bytes: &[u8], a: W, b: W) -> [W; 2] {
    let (second, third, fourth) = (word(bytes, 8), word(bytes, 16), word(bytes, 24));
    let start = a + word(bytes, 0);
    let sum = start + second + third;
    [sum + fourth, rotate(b + start + fourth, 21) + rotate(sum, 44) + start]
}

fn farm_fold(u: W, v: W, mul: W) -> W {
    let a = shift_mix((u ^ v) * mul);
    shift_mix((v ^ a) * mul) * mul
}

fn farm_multiplier(len: usize) -> W {
    K2 + (length(len) << 1)
}

fn shift_mix(x: W) -> W {
    x ^ (x >> 47)
}

fn rotate(x: W, right: u32) -> W {
    Wrapping(x.0.rotate_right(right))
}

const fn length(len: usize) -> W {
    Wrapping(len as u64)
}

/// The eight bytes from `at` as a little-endian number; zero if there are not eight, for which no
/// caller asks.
fn word(bytes: &[u8], at: usize) -> W {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    Wrapping(bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// Like [`word`], of four bytes.
fn half_word(bytes: &[u8], at: usize) -> W {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    Wrapping(bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn farm_hash_gives_published_fingerprints() {
        assert_eq!(farm_hash64(b""), 0x9ae1_6a3b_2f90_404f);
        assert_eq!(farm_hash64(b"hello world"), 6_381_520_714_923_946_011);
    }

    #[test]
    fn murmur3_gives_published_values() {
        assert_eq!(murmur3_32(b""), 0);
        assert_eq!(murmur3_32(b"test"), 0xba6b_d213);
        assert_eq!(murmur3_32(b"Hello, world!"), 0xc036_3e43);
        assert_eq!(murmur3_32(b"The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
    }

    #[test]
    fn sha256_prefix_is_the_head_of_the_digest() {
        // The digest of "abc" begins ba7816bf 8f01cfea.
        assert_eq!(sha256_prefix(&[b"abc"]), 0xba78_16bf_8f01_cfea);
        assert_eq!(sha256_prefix(&[b"a", b"", b"bc"]), 0xba78_16bf_8f01_cfea);
    }

    #[test]
    fn parts_hash_like_their_concatenation() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for len in 0..bytes.len() {
            let whole = &bytes[..len];
            for cut in [0, 1, 2, 3, len / 2, len].map(|cut| cut.min(len)) {
                let (head, tail) = whole.split_at(cut);
                assert_eq!(farm_hash64_concat(&[head, tail]), farm_hash64(whole));
                assert_eq!(murmur3_32_concat(&[head, tail]), murmur3_32(whole));
            }
            let suffixed = farm_hash64_concat(&[whole, b" b"]);
            assert_eq!(farm_hash64_suffixed(whole, *b" b"), suffixed);
        }
    }

    #[test]
    fn ascii_text_hashes_like_its_bytes() {
        assert_eq!(murmur3_32_utf16(b"550e8400-e29b-41d4"), murmur3_32(b"550e8400-e29b-41d4"));
        assert_ne!(murmur3_32_utf16("naïve".as_bytes()), murmur3_32("naïve".as_bytes()));
    }

    #[test]
    fn wide_units_spill_into_their_neighbours() {
        // U+0131 is 0x0131: its high byte lands on the next unit, 'a' = 0x61, which has that bit.
        assert_eq!(murmur3_32_utf16("\u{131}a".as_bytes()), murmur3_32_utf16(b"1a"));
    }

    #[test]
    fn malformed_text_hashes_as_replaced() {
        let malformed = [b'a', 0xff, b'b', 0xe6, 0x97];
        let replaced = "a\u{fffd}b\u{fffd}";
        assert_eq!(murmur3_32_utf16(&malformed), murmur3_32_utf16(replaced.as_bytes()));
    }
}
