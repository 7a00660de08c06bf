//! The container of a bloom filter in each dialect: what surrounds the words, not what they mean.

use bytes::BytesMut;
use quick_protobuf::sizeofs::sizeof_varint;

use super::error::DecodeError;
use super::reader::{Fields, bytes_tag, number_tag};
use super::writer::{Encode, Sink};
use crate::bloom::{Geometry, ProbeFilter};

const WORDS: u32 = 1;
const CAPACITY: u32 = 2;
const ERROR_RATE: u32 = 3;
const K: u32 = 4;
const M_BITS: u32 = 5;

/// The fields' tags.
mod tag {
    use super::{bytes_tag, number_tag};

    pub(super) const WORDS: u64 = bytes_tag(super::WORDS);
    pub(super) const CAPACITY: u64 = number_tag(super::CAPACITY);
    pub(super) const ERROR_RATE: u64 = number_tag(super::ERROR_RATE);
    pub(super) const K: u64 = number_tag(super::K);
    pub(super) const M_BITS: u64 = number_tag(super::M_BITS);
}

/// The bloom filter field of a message to be encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FilterField<'a> {
    /// No filter: the field is left out in LIP-109 and empty in nim-sds.
    #[default]
    Absent,
    /// A filter in its container, as it was received.
    Bytes(&'a [u8]),
    /// The words of a filter, to be written in the container of LIP-109: big-endian, nothing else.
    Lip109 {
        /// Bit `b` of the filter is bit `b mod 64` of word `b div 64`.
        words: &'a [u64],
    },
    /// The same, of ids whose bits are set in the message itself.
    Lip109Probes(&'a ProbeFilter),
    /// A filter to be written in the container of nim-sds, which names its own geometry.
    Nim {
        /// Bit `b` of the filter is bit `b mod 64` of word `b div 64`.
        words: &'a [u64],
        /// Ids the filter was made for.
        capacity: u64,
        /// Share of false positives at capacity, in millionths.
        error_rate_millionths: u64,
        /// Probes per id.
        k: u64,
        /// Bits in use.
        m_bits: u64,
    },
}

/// The container of a nim-sds bloom filter.
///
/// Nothing is checked but the encoding: each of the numbers is the peer's word, and may be zero or
/// contradict the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct NimFilter<'a> {
    /// The words, little-endian; of any length.
    pub words: &'a [u8],
    /// Ids the filter was made for.
    pub capacity: u64,
    /// Share of false positives at capacity, in millionths.
    pub error_rate_millionths: u64,
    /// Probes per id.
    pub k: u64,
    /// Bits in use.
    pub m_bits: u64,
}

impl<'a> NimFilter<'a> {
    /// Reads the bytes of a message's bloom filter field.
    ///
    /// # Errors
    ///
    /// The bytes are not protobuf, or one of the five fields is absent or of another type. Offsets
    /// in the error count from the start of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut words, mut capacity, mut error_rate) = (None, None, None);
        let (mut k, mut m_bits) = (None, None);
        let mut fields = Fields::new(bytes);
        loop {
            let offset = fields.offset();
            let Some(tag) = fields.tag()? else { break };
            match tag {
                tag::WORDS => words = Some(fields.bytes()?),
                tag::CAPACITY => capacity = Some(fields.varint()?),
                tag::ERROR_RATE => error_rate = Some(fields.varint()?),
                tag::K => k = Some(fields.varint()?),
                tag::M_BITS => m_bits = Some(fields.varint()?),
                _ => {
                    fields.field(tag, offset)?;
                }
            }
        }
        let missing = |field| DecodeError::MissingField { field };
        Ok(Self {
            words: words.ok_or(missing(WORDS))?,
            capacity: capacity.ok_or(missing(CAPACITY))?,
            error_rate_millionths: error_rate.ok_or(missing(ERROR_RATE))?,
            k: k.ok_or(missing(K))?,
            m_bits: m_bits.ok_or(missing(M_BITS))?,
        })
    }
}

impl FilterField<'_> {
    /// Length of the container in bytes; 0 where there is no filter.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Encode::encoded_len(self)
    }

    /// Appends the container to `buffer`, which grows at most once: the field's value, without tag
    /// and length.
    pub fn encode(&self, buffer: &mut BytesMut) {
        self.append_to(buffer);
    }
}

/// Bytes of a filter of this geometry in the container of nim-sds.
pub(crate) fn nim_container_len(geometry: &Geometry) -> usize {
    let numbers = FilterField::Nim {
        words: &[],
        capacity: geometry.capacity(),
        error_rate_millionths: geometry.error_rate_millionths().into(),
        k: geometry.k().into(),
        m_bits: geometry.m_bits(),
    };
    let words = geometry.word_count() * size_of::<u64>();
    numbers.encoded_len() - sizeof_varint(0) + sizeof_varint(words as u64) + words
}

impl Encode for FilterField<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        match *self {
            Self::Absent => {}
            Self::Bytes(bytes) => sink.raw(bytes),
            Self::Lip109 { words } => sink.words(words, u64::to_be_bytes),
            Self::Lip109Probes(filter) => {
                sink.zeroed(filter.len_bytes(), |bytes| filter.set(bytes))
            }
            Self::Nim { words, capacity, error_rate_millionths, k, m_bits } => {
                sink.length(WORDS, size_of_val(words));
                // On most machines they lie in memory as they are sent: one copy.
                if cfg!(target_endian = "little") {
                    sink.raw(bytemuck::cast_slice(words));
                } else {
                    sink.words(words, u64::to_le_bytes);
                }
                sink.number(CAPACITY, capacity);
                sink.number(ERROR_RATE, error_rate_millionths);
                sink.number(K, k);
                sink.number(M_BITS, m_bits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_differ_in_byte_order_and_in_what_surrounds_the_words() {
        let words = &[0x42, 0x0100_0000_0000_0000];
        let mut lip109 = BytesMut::new();
        FilterField::Lip109 { words }.encode(&mut lip109);
        assert_eq!(&lip109[..], [0, 0, 0, 0, 0, 0, 0, 0x42, 1, 0, 0, 0, 0, 0, 0, 0]);

        let mut nim = BytesMut::new();
        let field =
            FilterField::Nim { words, capacity: 8, error_rate_millionths: 300, k: 7, m_bits: 80 };
        field.encode(&mut nim);
        assert_eq!(nim.len(), field.encoded_len());
        assert_eq!(&nim[..3], [0x0a, 16, 0x42]);
        let filter = NimFilter {
            words: &[0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            capacity: 8,
            error_rate_millionths: 300,
            k: 7,
            m_bits: 80,
        };
        assert_eq!(NimFilter::decode(&nim), Ok(filter));
    }

    #[test]
    fn the_length_of_a_nim_container_is_told_without_its_words() {
        for capacity in [1, 60, 100, 10_000, 100_000] {
            let geometry = Geometry::new(capacity, 0.01).unwrap();
            let filter = crate::bloom::Filter::new(geometry);
            assert_eq!(nim_container_len(&geometry), filter.nim_field().encoded_len());
        }
    }

    #[test]
    fn each_field_of_the_nim_container_is_required() {
        let whole = [0x0a, 0, 0x10, 1, 0x18, 2, 0x20, 3, 0x28, 4];
        assert!(NimFilter::decode(&whole).is_ok());
        for field in 1..=5 {
            let mut bytes = whole.to_vec();
            let tag = (field as usize - 1) * 2;
            bytes.drain(tag..tag + 2);
            assert_eq!(NimFilter::decode(&bytes), Err(DecodeError::MissingField { field }));
        }
    }
}
