//! A channel's state in one piece.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::Hasher;

use bytes::BytesMut;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::error::StoredError;
use super::row::Row;
use super::{VERSION, field};
use crate::snapshot::Snapshot;
use crate::wire::{Encode, Fields, Sink, Value};

const MAGIC: [u8; 4] = *b"SDSc";
const HEAD: usize = MAGIC.len() + size_of::<u32>();
const CHECKSUM: usize = 16;

impl Snapshot {
    /// The state as one blob, for a backup or for flash memory. Equal states give equal bytes.
    ///
    /// It is laid out as [`stored`](crate::stored) says.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len = HEAD + Records(self).encoded_len() + CHECKSUM;
        let mut blob = BytesMut::with_capacity(len);
        blob.extend_from_slice(&MAGIC);
        blob.extend_from_slice(&VERSION.to_be_bytes());
        Records(self).write(&mut blob);
        blob.extend_from_slice(&checksum(&blob));
        blob.into()
    }

    /// The state that [`encode`](Self::encode) made these bytes of.
    ///
    /// # Errors
    ///
    /// The bytes are no such blob, or one of a version that this release does not know, were cut
    /// off or changed, or hold records that do not add up.
    pub fn decode(blob: &[u8]) -> Result<Box<Self>, StoredError> {
        let rest = blob.strip_prefix(&MAGIC).ok_or(StoredError::NotABlob)?;
        let (version, rest) = rest.split_first_chunk().ok_or(StoredError::Damaged)?;
        let found = u32::from_be_bytes(*version);
        if found != VERSION {
            return Err(StoredError::Version { found: found.into() });
        }
        let (records, found) = rest.split_last_chunk().ok_or(StoredError::Damaged)?;
        if *found != checksum(&blob[..blob.len() - CHECKSUM]) {
            return Err(StoredError::Damaged);
        }
        let mut fields = Fields::new(records);
        let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
        while let Some(key) = bytes(&mut fields, field::BLOB_KEY)? {
            let value = bytes(&mut fields, field::BLOB_VALUE)?.ok_or(StoredError::Damaged)?;
            if pairs.last().is_some_and(|(before, _)| *before >= key) {
                return Err(StoredError::Damaged);
            }
            pairs.push((key, value));
        }
        super::snapshot(pairs)?.ok_or(StoredError::NoChannel)
    }
}

fn bytes<'a>(fields: &mut Fields<'a>, number: u32) -> Result<Option<&'a [u8]>, StoredError> {
    match fields.next().map_err(|_| StoredError::Damaged)? {
        None => Ok(None),
        Some(field) => match field.value {
            Value::Bytes(bytes) if field.number == number && field.is_minimal() => Ok(Some(bytes)),
            Value::Bytes(_) | Value::Varint(_) | Value::Fixed64 | Value::Fixed32 => {
                Err(StoredError::Damaged)
            }
        },
    }
}

/// Tells accidents, not forgeries.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = SipHasher13::new_with_keys(0x5344_5300, 0x626c_6f62);
    hasher.write(bytes);
    hasher.finish128().as_u128().to_be_bytes()
}

/// All records of a state, one behind the other.
struct Records<'a>(&'a Snapshot);

impl Encode for Records<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        for row in Row::all(self.0) {
            sink.bytes(field::BLOB_KEY, &row.key());
            sink.nested(field::BLOB_VALUE, &row);
        }
    }
}
