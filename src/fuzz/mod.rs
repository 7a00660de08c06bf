//! The bodies of the fuzz targets, so that tests can replay their corpora. Each takes any bytes and
//! panics if its property does not hold.

mod bloom;
mod decode;
mod node_ops;
mod roundtrip;
mod store_decode;
mod story;

pub use bloom::bloom;
pub use decode::decode;
pub use node_ops::node_ops;
pub use roundtrip::roundtrip;
pub use store_decode::{store_decode, stored_records};

/// Values made of bytes, of which there are as many zeros as are asked for at the end.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        !self.byte().is_multiple_of(2)
    }

    /// Most significant byte first.
    fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Often small, now and then any.
    fn any_number(&mut self) -> u64 {
        match self.byte() {
            250.. => self.number(8),
            240.. => u64::MAX - self.number(1),
            200.. => self.number(2),
            byte => byte.into(),
        }
    }

    /// Some bytes, behind one byte that says how many.
    fn short(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// Returns the result of `short` in one of two cases, else nothing.
    fn maybe(&mut self) -> Option<&'a [u8]> {
        self.flag().then(|| self.short())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::Rng;

    /// Bytes by chance: each input becomes a run, none is put aside.
    fn runs(target: fn(&[u8]), count: u64, max_len: u64) {
        let mut rng = Rng::new(count);
        for _ in 0..count {
            let len = rng.below(max_len);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            target(&data);
        }
    }

    #[test]
    fn any_bytes_are_a_run() {
        runs(decode, 1_000, 100);
        runs(roundtrip, 300, 1_000);
        runs(bloom, 100, 1_000);
        runs(node_ops, 30, 80);
        runs(store_decode, 200, 1_000);
    }

    #[test]
    fn most_stories_are_long() {
        let mut rng = Rng::new(1);
        let mut full = 0;
        for _ in 0..100 {
            let data: Vec<u8> = (0..1_500).map(|_| rng.next_u64() as u8).collect();
            let (changes, state) = story::story(&mut Source(&data));
            full += u32::from(changes.len() >= 8 && !state.log.is_empty());
        }
        assert!(full >= 70, "{full} of 100");
    }
}
