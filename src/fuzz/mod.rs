//! What fuzzing targets run, so that tests can replay their corpora. Each takes any bytes, and panics
//! if what it says of them does not hold.

mod bloom;
mod decode;
mod node_ops;
mod roundtrip;
mod store_decode;

pub use bloom::bloom;
pub use decode::decode;
pub use node_ops::node_ops;
pub use roundtrip::roundtrip;
pub use store_decode::store_decode;

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

    /// Most significant byte first.
    fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Some bytes, behind one byte that says how many.
    fn short(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    /// What `short` gives, once in two, or nothing.
    fn maybe(&mut self) -> Option<&'a [u8]> {
        (self.byte() % 2 == 1).then(|| self.short())
    }
}
