//! The fields of one protobuf message, read with suspicion.
//!
//! quick-protobuf is fast on honest input and careless on the rest: it takes lengths as 32 bits and
//! drops the upper half, adds them unchecked, leaves a broken reader behind after an error, drops
//! bits beyond the 64th, and its readers of nested and packed fields panic or loop on bytes that a
//! peer can choose. So the tests compare to it what both can read, and everything here is a split
//! of a slice, which cannot go wrong unnoticed; nested messages are slices too, each walked by a
//! [`Fields`] of its own.

use quick_protobuf::sizeofs::sizeof_varint;

use super::error::DecodeError;

const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;
/// Bytes of the longest varint. The last of them has one bit.
const VARINT_MAX_LEN: usize = 10;

/// A cursor over the fields of one message.
///
/// Each step consumes at least one byte, so that a walk ends.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    /// Offset of the end of `rest` in the outermost buffer, from which errors count.
    end: usize,
}

/// The tag of a field of bytes.
pub(super) const fn bytes_tag(number: u32) -> u64 {
    (number as u64) << 3 | 2
}

/// The tag of a field that is a number.
pub(super) const fn number_tag(number: u32) -> u64 {
    (number as u64) << 3
}

/// One field as it is on the wire.
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// Offset of the tag in the outermost buffer.
    offset: usize,
    /// Offset of the end of the value in the outermost buffer.
    end: usize,
}

/// The value of a field. Numbers of fixed size are skipped: no field of ours is one.
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed64,
    Fixed32,
}

impl<'a> Fields<'a> {
    /// The fields of a message that is not nested in another.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len() }
    }

    /// The next field, of whatever number; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        let offset = self.offset();
        match self.tag()? {
            Some(tag) => self.field(tag, offset).map(Some),
            None => Ok(None),
        }
    }

    /// The next tag; `None` at the end. The loops that every message goes through compare it to
    /// those they know, and take the value by [`bytes`](Self::bytes) or [`varint`](Self::varint);
    /// the rest is for [`field`](Self::field).
    #[inline(always)]
    pub(super) fn tag(&mut self) -> Result<Option<u64>, DecodeError> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    /// The field of a tag that was read at `offset`.
    pub(super) fn field(&mut self, tag: u64, offset: usize) -> Result<Field<'a>, DecodeError> {
        let wire_type = (tag & 7) as u8;
        let number = match tag >> 3 {
            number @ 1..=MAX_FIELD_NUMBER => number as u32,
            _ => return Err(DecodeError::FieldNumber { offset }),
        };
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8, self.offset()).map(|_| Value::Fixed64)?,
            2 => Value::Bytes(self.bytes()?),
            5 => self.take(4, self.offset()).map(|_| Value::Fixed32)?,
            _ => return Err(DecodeError::WireType { field: number, wire_type, offset }),
        };
        Ok(Field { number, value, offset, end: self.offset() })
    }

    /// The fields of the message that is the `payload` just taken.
    #[inline(always)]
    pub(super) const fn nested(&self, payload: &'a [u8]) -> Self {
        Self { rest: payload, end: self.offset() }
    }

    /// The fields of a message that is a `payload` taken from what these fields had before them.
    pub(super) fn within(&self, payload: &'a [u8]) -> Self {
        let before = payload.as_ptr().addr().wrapping_sub(self.rest.as_ptr().addr());
        Self { rest: payload, end: self.offset().wrapping_add(before).wrapping_add(payload.len()) }
    }

    /// Most varints are tags and lengths of a single byte, read here.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        match *self.rest {
            [byte @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// A varint may be longer than need be, as protobuf has it, up to ten bytes. One with bits
    /// beyond the 64th is refused.
    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        const LAST: usize = VARINT_MAX_LEN - 1;
        let mut value = 0;
        for (index, byte) in self.rest.iter().copied().enumerate().take(VARINT_MAX_LEN) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            match (index, byte) {
                (LAST.., 2..) => return Err(DecodeError::Varint { offset: self.offset() }),
                (_, 0x80..) => {}
                _ => {
                    self.rest = &self.rest[index + 1..];
                    return Ok(value);
                }
            }
        }
        Err(DecodeError::Truncated { offset: self.offset() })
    }

    /// A length, and as many bytes.
    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let offset = self.offset();
        let len = self.varint()?;
        self.take(len, offset)
    }

    /// The next `len` bytes, which belong to the value at `offset`.
    #[inline(always)]
    fn take(&mut self, len: u64, offset: usize) -> Result<&'a [u8], DecodeError> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (bytes, rest) = split.ok_or(DecodeError::Truncated { offset })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Returns the offset of the cursor in the outermost buffer. `rest` only ever shrinks.
    pub(super) const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }
}

impl Field<'_> {
    /// Whether tag, number and length take no more bytes than they need. Peers may write them
    /// longer, stores may not.
    pub(crate) fn is_minimal(&self) -> bool {
        let tag = sizeof_varint(u64::from(self.number) << 3);
        let value = match self.value {
            Value::Varint(number) => sizeof_varint(number),
            Value::Bytes(bytes) => sizeof_varint(bytes.len() as u64) + bytes.len(),
            Value::Fixed64 => 8,
            Value::Fixed32 => 4,
        };
        self.end - self.offset == tag + value
    }

    /// The error that says that the field's wire type does not go with its number.
    pub(crate) const fn wrong_wire_type(&self) -> DecodeError {
        let wire_type = match self.value {
            Value::Varint(_) => 0,
            Value::Fixed64 => 1,
            Value::Bytes(_) => 2,
            Value::Fixed32 => 5,
        };
        DecodeError::WireType { field: self.number, wire_type, offset: self.offset }
    }

    /// The fields of the message that is the `payload` of this field.
    pub(crate) const fn nested<'a>(&self, payload: &'a [u8]) -> Fields<'a> {
        Fields { rest: payload, end: self.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use quick_protobuf::{BytesReader, BytesWriter, Writer};

    fn walk(bytes: &[u8]) -> Result<Vec<u32>, DecodeError> {
        let mut fields = Fields::new(bytes);
        let mut numbers = Vec::new();
        while let Some(field) = fields.next()? {
            numbers.push(field.number);
        }
        Ok(numbers)
    }

    fn only_varint(bytes: &[u8]) -> Result<u64, DecodeError> {
        match Fields::new(bytes).next()?.map(|field| field.value) {
            Some(Value::Varint(value)) => Ok(value),
            _ => panic!("not a varint"),
        }
    }

    /// The varint at the beginning of `bytes`, and its length.
    fn varint(bytes: &[u8]) -> Result<(u64, usize), DecodeError> {
        let mut fields = Fields::new(bytes);
        fields.varint().map(|value| (value, fields.offset()))
    }

    #[test]
    fn reads_varints_of_any_length_as_quick_protobuf_does() {
        let edges = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1]);
        for value in edges.chain([u64::MAX]) {
            let mut bytes = [0xff; 20];
            let mut writer = Writer::new(BytesWriter::new(&mut bytes));
            writer.write_varint(value).unwrap();
            let len = sizeof_varint(value);
            assert_eq!(varint(&bytes), Ok((value, len)));
            for len in 0..len {
                assert_eq!(varint(&bytes[..len]), Err(DecodeError::Truncated { offset: 0 }));
            }
            let theirs = BytesReader::from_bytes(&bytes).read_varint64(&bytes).unwrap();
            assert_eq!(varint(&bytes), Ok((theirs, len)));
            // More bytes, of no bits, up to ten.
            for longer in len + 1..=VARINT_MAX_LEN {
                bytes[longer - 2] |= 0x80;
                bytes[longer - 1] = 0;
                assert_eq!(varint(&bytes), Ok((value, longer)));
                let theirs = BytesReader::from_bytes(&bytes).read_varint64(&bytes).unwrap();
                assert_eq!(theirs, value);
            }
            bytes[VARINT_MAX_LEN - 1] |= 0x80;
            bytes[VARINT_MAX_LEN] = 0;
            assert_eq!(varint(&bytes), Err(DecodeError::Varint { offset: 0 }), "{value}");
        }
    }

    #[test]
    fn reads_each_wire_type_in_use() {
        let bytes = [0x08, 1, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 1, 7, 0x25, 0, 0, 0, 0];
        assert_eq!(walk(&bytes), Ok([1, 2, 3, 4].to_vec()));
    }

    #[test]
    fn reads_the_largest_varint_and_refuses_larger_ones() {
        let mut bytes = [0xff; 11];
        bytes[0] = 0x08;
        bytes[10] = 0x01;
        assert_eq!(only_varint(&bytes), Ok(u64::MAX));
        for last in [0x02, 0x03, 0x7f, 0x80, 0xff] {
            bytes[10] = last;
            assert_eq!(only_varint(&bytes), Err(DecodeError::Varint { offset: 1 }), "{last:#x}");
        }
    }

    #[test]
    fn takes_varints_that_are_not_minimal_wherever_they_stand() {
        assert_eq!(only_varint(&[0x08, 0x00]), Ok(0));
        assert_eq!(only_varint(&[0x08, 0x87, 0x00]), Ok(7));
        assert_eq!(only_varint(&[0x88, 0x80, 0x00, 0x87, 0x80, 0x00]), Ok(7));
        assert_eq!(walk(&[0x0a, 0x81, 0x00, 0x01]), Ok([1].to_vec()));
        // Field 0 and lengths beyond the end are refused however long they are.
        assert_eq!(walk(&[0x82, 0x00, 0x00]), Err(DecodeError::FieldNumber { offset: 0 }));
        assert_eq!(walk(&[0x0a, 0x82, 0x00, 1]), Err(DecodeError::Truncated { offset: 1 }));
    }

    #[test]
    fn a_field_is_minimal_if_none_of_its_varints_is_longer() {
        let is_minimal = |bytes: &[u8]| Fields::new(bytes).next().unwrap().unwrap().is_minimal();
        let minimal: [&[u8]; 6] = [
            &[0x08, 0],
            &[0x80, 0x01, 0x80, 0x01],
            &[0x0a, 0],
            &[0x0a, 1, 0],
            &[0x0d, 0, 0, 0, 0],
            &[0x09, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert!(minimal.into_iter().all(is_minimal));
        let longer: [&[u8]; 6] = [
            &[0x88, 0, 0],
            &[0x08, 0x80, 0],
            &[0x0a, 0x80, 0],
            &[0x0a, 0x81, 0, 0],
            &[0x8a, 0, 1, 0],
            &[0x8d, 0, 0, 0, 0, 0],
        ];
        assert!(!longer.into_iter().any(is_minimal));
    }

    #[test]
    fn refuses_lengths_beyond_the_end() {
        assert_eq!(walk(&[0x0a, 0x02, 0x01]), Err(DecodeError::Truncated { offset: 1 }));
        // 2^32 + 1: the lower half alone would fit.
        let bytes = [0x0a, 0x81, 0x80, 0x80, 0x80, 0x10, 0x01];
        assert_eq!(walk(&bytes), Err(DecodeError::Truncated { offset: 1 }));
    }

    #[test]
    fn refuses_groups_unused_wire_types_and_field_numbers_out_of_range() {
        for wire_type in [3, 4, 6, 7] {
            let error = DecodeError::WireType { field: 1, wire_type, offset: 0 };
            assert_eq!(walk(&[0x08 | wire_type, 0, 0]), Err(error));
        }
        assert_eq!(walk(&[0x02, 0x00]), Err(DecodeError::FieldNumber { offset: 0 }));
        assert_eq!(walk(&[0x00]), Err(DecodeError::FieldNumber { offset: 0 }));
        let beyond = [0x80, 0x80, 0x80, 0x80, 0x10, 0x00];
        assert_eq!(walk(&beyond), Err(DecodeError::FieldNumber { offset: 0 }));
        let highest = [0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert_eq!(walk(&highest), Ok([(1 << 29) - 1].to_vec()));
    }

    #[test]
    fn offsets_of_nested_messages_count_from_the_outermost_byte() {
        let bytes = [0x08, 0x01, 0x12, 0x02, 0x0a, 0x05];
        let mut fields = Fields::new(&bytes);
        fields.next().unwrap();
        let field = fields.next().unwrap().unwrap();
        let Value::Bytes(payload) = field.value else { panic!("not bytes") };
        let error = field.nested(payload).next().err();
        assert_eq!(error, Some(DecodeError::Truncated { offset: 5 }));
    }
}
