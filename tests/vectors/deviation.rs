//! Deviations from the nim-sds that made the vectors, recognised by the bytes of a case, because
//! names differ between files.

use bytes::{BufMut, BytesMut};

/// The largest field number of protobuf.
const MAX_FIELD: u64 = (1 << 29) - 1;
const CAUSAL_HISTORY: u64 = 3;
const REPAIR_REQUEST: u64 = 13;

/// The parts of a message that nim-sds 0.3 takes otherwise than we do.
#[derive(Default)]
pub(crate) struct Deviations {
    /// The same message as nim-sds takes it too: its varints minimal, its bare ids entries.
    pub(crate) canonical: BytesMut,
    /// Whether something had to be changed for that.
    pub(crate) differs: bool,
    /// The ids that stand where entries are now, in order.
    pub(crate) bare_ids: Vec<Vec<u8>>,
    /// Whether there is a field 0, or one beyond the last: nim-sds takes them.
    pub(crate) bad_field: bool,
}

/// Reads a message of nim-sds. `None`: it is not protobuf, so nobody takes it.
pub(crate) fn deviations(message: &[u8]) -> Option<Deviations> {
    let mut found = Deviations::default();
    found.canonical = fields(
        message,
        &mut |number, payload, found| match number {
            CAUSAL_HISTORY if !matches!(payload, [] | [0x0a | 0x12 | 0x1a, ..]) => {
                found.bare_ids.push(payload.to_vec());
                let mut entry = BytesMut::new();
                put_bytes(&mut entry, 1, payload);
                Some(entry)
            }
            CAUSAL_HISTORY | REPAIR_REQUEST => fields(payload, &mut |_, _, _| None, found),
            _ => None,
        },
        &mut found,
    )?;
    found.differs = found.canonical != message;
    Some(found)
}

/// Gives the new value of a field of bytes, if the value does not stay.
type Rewrite<'a> = dyn FnMut(u64, &[u8], &mut Deviations) -> Option<BytesMut> + 'a;

/// The fields of a message with minimal varints.
fn fields(mut rest: &[u8], rewrite: &mut Rewrite<'_>, found: &mut Deviations) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = tag >> 3;
        found.bad_field |= !(1..=MAX_FIELD).contains(&number);
        put_varint(&mut out, tag);
        match tag & 7 {
            0 => put_varint(&mut out, varint(&mut rest)?),
            1 => out.put_slice(take(&mut rest, 8)?),
            2 => {
                let len = varint(&mut rest)?;
                let payload = take(&mut rest, len)?;
                let written = rewrite(number, payload, found);
                let written = written.as_deref().unwrap_or(payload);
                put_varint(&mut out, written.len() as u64);
                out.put_slice(written);
            }
            5 => out.put_slice(take(&mut rest, 4)?),
            _ => return None,
        }
    }
    Some(out)
}

fn take<'a>(rest: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(bytes)
}

/// Up to ten bytes, and 64 bits.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u128;
    for index in 0..10 {
        let byte = *take(rest, 1)?.first()?;
        value |= u128::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return u64::try_from(value).ok();
        }
    }
    None
}

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value > 0x7f {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_bytes(out: &mut BytesMut, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}
