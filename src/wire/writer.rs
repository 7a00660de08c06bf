//! Canonical protobuf: fields in the order they are written, minimal varints.
//!
//! One description of a message ([`Encode::write`]) serves twice, to count its bytes and to write
//! them, so that the two cannot disagree. quick-protobuf's own `Writer` is left aside: every one of
//! its calls returns a `Result` that writing to memory can only ignore.

use bytes::BytesMut;
use quick_protobuf::sizeofs::sizeof_varint;

const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;

const VARINT_MAX_LEN: usize = 10;

/// Something that has an encoding.
pub(crate) trait Encode {
    /// Hands the encoding to `sink`, field by field.
    fn write<S: Sink>(&self, sink: &mut S);

    /// Length of the encoding in bytes.
    fn encoded_len(&self) -> usize {
        let mut count = Count(0);
        self.write(&mut count);
        count.0
    }

    /// Appends the encoding to `buffer`, which grows at most once.
    fn append_to(&self, buffer: &mut BytesMut) {
        buffer.reserve(self.encoded_len());
        self.write(buffer);
    }
}

/// Takes an encoding in.
pub(crate) trait Sink: Sized {
    /// Takes `bytes` as they are.
    fn raw(&mut self, bytes: &[u8]);

    /// Takes the bytes of `words`, each in the order that `to_bytes` gives.
    fn words(&mut self, words: &[u64], to_bytes: impl Fn(u64) -> [u8; 8]);

    /// Takes `len` bytes that `fill` finds to be zeroes.
    fn zeroed(&mut self, len: usize, fill: impl FnOnce(&mut [u8]));

    /// Takes the two varints with which every field begins: its tag, and its value or length.
    fn head(&mut self, tag: u64, value: u64);

    /// A number field.
    fn number(&mut self, field: u32, value: u64) {
        self.head(tag(field, VARINT), value);
    }

    /// A string or bytes field, present even where `value` is empty.
    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.length(field, value.len());
        self.raw(value);
    }

    /// A nested message.
    fn nested(&mut self, field: u32, message: &impl Encode) {
        self.length(field, message.encoded_len());
        message.write(self);
    }

    /// Writes the tag and length in front of the `len` bytes of a bytes field.
    fn length(&mut self, field: u32, len: usize) {
        self.head(tag(field, LENGTH_DELIMITED), len as u64);
    }
}

fn tag(field: u32, wire_type: u32) -> u64 {
    u64::from(field << 3 | wire_type)
}

/// Counts the bytes only.
struct Count(usize);

impl Count {
    /// Saturates, because the same slice may stand in a message many times over.
    const fn add(&mut self, len: usize) {
        self.0 = self.0.saturating_add(len);
    }
}

impl Sink for Count {
    fn raw(&mut self, bytes: &[u8]) {
        self.add(bytes.len());
    }

    fn words(&mut self, words: &[u64], _: impl Fn(u64) -> [u8; 8]) {
        self.add(size_of_val(words));
    }

    fn zeroed(&mut self, len: usize, _: impl FnOnce(&mut [u8])) {
        self.add(len);
    }

    fn head(&mut self, tag: u64, value: u64) {
        self.add(sizeof_varint(tag) + sizeof_varint(value));
    }
}

impl Sink for BytesMut {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    /// By way of a block on the stack, which compiles to vector instructions: `BytesMut` checks its
    /// capacity each time it takes a slice, and takes nothing else.
    fn words(&mut self, words: &[u64], to_bytes: impl Fn(u64) -> [u8; 8]) {
        const WORDS: usize = 64;
        let mut block = [[0; 8]; WORDS];
        for words in words.chunks(WORDS) {
            for (bytes, word) in block.iter_mut().zip(words) {
                *bytes = to_bytes(*word);
            }
            self.extend_from_slice(block[..words.len()].as_flattened());
        }
    }

    fn zeroed(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        let start = self.len();
        self.resize(start + len, 0);
        fill(&mut self[start..]);
    }

    /// By way of the stack, for the same reason.
    fn head(&mut self, tag: u64, value: u64) {
        if let (0..=0x7f, 0..=0x7f) = (tag, value) {
            return self.extend_from_slice(&[tag as u8, value as u8]);
        }
        let mut head = [0; 2 * VARINT_MAX_LEN];
        let mut len = 0;
        for mut varint in [tag, value] {
            while varint > 0x7f {
                head[len] = varint as u8 | 0x80;
                varint >>= 7;
                len += 1;
            }
            head[len] = varint as u8;
            len += 1;
        }
        self.extend_from_slice(&head[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use quick_protobuf::{BytesWriter, Writer};

    #[test]
    fn writes_varints_as_quick_protobuf_does_and_counts_them_right() {
        let edges = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1]);
        for value in edges.chain([u64::MAX]) {
            let (mut ours, mut theirs, mut count) = (BytesMut::new(), [0; 20], Count(0));
            ours.head(value, value);
            count.head(value, value);
            let mut writer = Writer::new(BytesWriter::new(&mut theirs));
            writer.write_varint(value).unwrap();
            writer.write_varint(value).unwrap();
            assert_eq!(ours[..], theirs[..count.0], "{value}");
        }
    }

    #[test]
    fn writes_words_across_block_boundaries() {
        for len in [0, 1, 63, 64, 65, 200] {
            let words: Vec<u64> = (0..len).map(|n| n * 0x0102_0304_0506_0708).collect();
            let expected: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            let (mut buffer, mut count) = (BytesMut::new(), Count(0));
            buffer.words(&words, u64::to_be_bytes);
            count.words(&words, u64::to_be_bytes);
            assert_eq!((&buffer[..], count.0), (&expected[..], expected.len()));
        }
    }
}
