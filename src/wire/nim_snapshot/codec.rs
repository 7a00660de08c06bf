//! The layout of the blobs: each line a message, `number name`, `*` if it is repeated. nim-sds 0.4
//! leaves out empty fields and zeros, so every field may be absent but the schema version.
//!
//! ```text
//! ChannelMeta            1 schema version  2 Lamport time  3* UnacknowledgedMessage
//!                        4* IncomingMessage  5* OutgoingRepair  6* IncomingRepair
//! UnacknowledgedMessage  1 message  2 send time  3 resend attempts
//! IncomingMessage        1 message  2* id of a missing dependency
//! OutgoingRepair         1 id  2 { 1 entry  2 request time }
//! IncomingRepair         1 id  2 { 1 entry  2 message  3 response time }
//! ChannelData            1 ChannelMeta  2* message
//! HistoryUpdate          1* message to append  2* id to evict
//! ```

use alloc::vec::Vec;

use bytes::Bytes;

use super::{
    ChannelData, ChannelMeta, HistoryUpdate, IncomingMessage, IncomingRepair, OutgoingRepair,
    UnacknowledgedMessage,
};
use crate::MessageId;
use crate::wire::error::DecodeError;
use crate::wire::message::{HistoryEntry, Message, Outgoing};
use crate::wire::reader::{Fields, Value};
use crate::wire::values::{Entry, Limits, Values};
use crate::wire::writer::{Encode, Sink};
use crate::wire::{NimForm, WireDialect, nim};

/// The only one there has been.
const SCHEMA_VERSION: u64 = 1;

pub(super) fn decode<T: Read>(blob: &Bytes, limits: &Limits) -> Result<T, DecodeError> {
    // nim-sds stores what it was sent.
    let limits = &Limits { empty_ids: true, ..*limits };
    let values = Values { limits, dialect: WireDialect::NimSds, is_stored: true };
    T::read(&Blob { bytes: blob, values }, Fields::new(blob))
}

/// The values that are read share the memory of the blob.
pub(super) struct Blob<'a> {
    bytes: &'a Bytes,
    values: Values<'a>,
}

impl Blob<'_> {
    fn message_id(&self, field: u32, id: &[u8]) -> Result<MessageId, DecodeError> {
        let id = self.values.id(field, Some(id))?;
        Ok(self.bytes.slice_ref(id.as_bytes()).into())
    }
}

/// Something that is laid out in fields.
pub(super) trait Read: Sized {
    fn read(blob: &Blob<'_>, fields: Fields<'_>) -> Result<Self, DecodeError>;
}

impl Read for ChannelMeta {
    fn read(blob: &Blob<'_>, mut fields: Fields<'_>) -> Result<Self, DecodeError> {
        let (mut version, mut lamport) = (None, None);
        let mut meta = Self::default();
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Varint(value)) => version = Some(value),
                (2, &Value::Varint(value)) => lamport = Some(value),
                (3, &Value::Bytes(bytes)) => {
                    meta.outgoing_buffer.push(Read::read(blob, field.nested(bytes))?);
                }
                (4, &Value::Bytes(bytes)) => {
                    meta.incoming_buffer.push(Read::read(blob, field.nested(bytes))?);
                }
                (5, &Value::Bytes(bytes)) => {
                    meta.outgoing_repair_buffer.push(Read::read(blob, field.nested(bytes))?);
                }
                (6, &Value::Bytes(bytes)) => {
                    meta.incoming_repair_buffer.push(Read::read(blob, field.nested(bytes))?);
                }
                _ => {}
            }
        }
        match present(1, version)? {
            SCHEMA_VERSION => {}
            found => return Err(DecodeError::SchemaVersion { found }),
        }
        meta.lamport = lamport.unwrap_or_default();
        Ok(meta)
    }
}

impl Read for ChannelData {
    fn read(blob: &Blob<'_>, mut fields: Fields<'_>) -> Result<Self, DecodeError> {
        let (mut meta, mut messages) = (None, Vec::new());
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Bytes(bytes)) => meta = Some(Read::read(blob, field.nested(bytes))?),
                (2, &Value::Bytes(bytes)) => messages.push(Read::read(blob, field.nested(bytes))?),
                _ => {}
            }
        }
        Ok(Self { meta: present(1, meta)?, messages })
    }
}

impl Read for HistoryUpdate {
    fn read(blob: &Blob<'_>, mut fields: Fields<'_>) -> Result<Self, DecodeError> {
        let mut update = Self::default();
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Bytes(bytes)) => {
                    update.append.push(Read::read(blob, field.nested(bytes))?);
                }
                (2, &Value::Bytes(id)) => update.evict.push(blob.message_id(2, id)?),
                _ => {}
            }
        }
        Ok(update)
    }
}

impl Read for UnacknowledgedMessage {
    fn read(blob: &Blob<'_>, mut fields: Fields<'_>) -> Result<Self, DecodeError> {
        let (mut message, mut send_time_ms, mut resend_attempts) = (None, None, None);
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Bytes(bytes)) => {
                    message = Some(Read::read(blob, field.nested(bytes))?);
                }
                (2, &Value::Varint(value)) => send_time_ms = Some(value),
                (3, &Value::Varint(value)) => resend_attempts = Some(value),
                _ => {}
            }
        }
        Ok(Self {
            message: or_empty(blob, message)?,
            send_time_ms: send_time_ms.unwrap_or_default(),
            resend_attempts: resend_attempts.unwrap_or_default(),
        })
    }
}

impl Read for IncomingMessage {
    fn read(blob: &Blob<'_>, mut fields: Fields<'_>) -> Result<Self, DecodeError> {
        let (mut message, mut missing_dependencies) = (None, Vec::new());
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Bytes(bytes)) => {
                    message = Some(Read::read(blob, field.nested(bytes))?);
                }
                (2, &Value::Bytes(id)) => {
                    missing_dependencies.push(blob.message_id(2, id)?);
                }
                _ => {}
            }
        }
        Ok(Self { message: or_empty(blob, message)?, missing_dependencies })
    }
}

impl Read for OutgoingRepair {
    fn read(blob: &Blob<'_>, fields: Fields<'_>) -> Result<Self, DecodeError> {
        let (key, mut fields) = pair(fields)?;
        let (mut entry, mut request_time_ms) = (None, None);
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Bytes(bytes)) => entry = Some(Read::read(blob, field.nested(bytes))?),
                (2, &Value::Varint(value)) => request_time_ms = Some(value),
                _ => {}
            }
        }
        Ok(Self {
            message_id: blob.message_id(1, key)?,
            entry: or_empty(blob, entry)?,
            request_time_ms: request_time_ms.unwrap_or_default(),
        })
    }
}

impl Read for IncomingRepair {
    fn read(blob: &Blob<'_>, fields: Fields<'_>) -> Result<Self, DecodeError> {
        let (key, mut fields) = pair(fields)?;
        let (mut entry, mut cached_message, mut response_time_ms) = (None, None, None);
        while let Some(field) = fields.next()? {
            match (field.number, &field.value) {
                (1, &Value::Bytes(bytes)) => entry = Some(Read::read(blob, field.nested(bytes))?),
                (2, &Value::Bytes(bytes)) => cached_message = Some(bytes),
                (3, &Value::Varint(value)) => response_time_ms = Some(value),
                _ => {}
            }
        }
        Ok(Self {
            message_id: blob.message_id(1, key)?,
            entry: or_empty(blob, entry)?,
            cached_message: blob.bytes.slice_ref(cached_message.unwrap_or_default()),
            response_time_ms: response_time_ms.unwrap_or_default(),
        })
    }
}

impl Read for Message {
    fn read(blob: &Blob<'_>, fields: Fields<'_>) -> Result<Self, DecodeError> {
        let message = nim::decode_fields(&blob.values, fields)?.within(blob.bytes);
        Ok(Self { nim_form: None, ..message })
    }
}

impl Read for HistoryEntry {
    fn read(blob: &Blob<'_>, fields: Fields<'_>) -> Result<Self, DecodeError> {
        Ok(blob.values.entry(fields)?.within(blob.bytes))
    }
}

/// The key of one pair of a map and the fields of its value: the repair buffers are maps.
fn pair<'a>(mut fields: Fields<'a>) -> Result<(&'a [u8], Fields<'a>), DecodeError> {
    let (mut key, mut value) = (None, None);
    while let Some(field) = fields.next()? {
        match (field.number, &field.value) {
            (1, &Value::Bytes(bytes)) => key = Some(bytes),
            (2, &Value::Bytes(bytes)) => value = Some(field.nested(bytes)),
            _ => {}
        }
    }
    Ok((key.unwrap_or_default(), value.unwrap_or(Fields::new(&[]))))
}

/// Reads a missing value as one that has no fields.
fn or_empty<T: Read>(blob: &Blob<'_>, value: Option<T>) -> Result<T, DecodeError> {
    value.map_or_else(|| T::read(blob, Fields::new(&[])), Ok)
}

fn present<T>(field: u32, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::MissingField { field })
}

impl Encode for ChannelMeta {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.number(1, SCHEMA_VERSION);
        sink.number(2, self.lamport);
        self.outgoing_buffer.iter().for_each(|message| sink.nested(3, message));
        self.incoming_buffer.iter().for_each(|message| sink.nested(4, message));
        self.outgoing_repair_buffer.iter().for_each(|repair| sink.nested(5, repair));
        self.incoming_repair_buffer.iter().for_each(|repair| sink.nested(6, repair));
    }
}

impl Encode for ChannelData {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.nested(1, &self.meta);
        self.messages.iter().for_each(|message| sink.nested(2, message));
    }
}

impl Encode for HistoryUpdate {
    fn write<S: Sink>(&self, sink: &mut S) {
        self.append.iter().for_each(|message| sink.nested(1, message));
        self.evict.iter().for_each(|id| sink.bytes(2, id.as_bytes()));
    }
}

impl Encode for UnacknowledgedMessage {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.nested(1, &self.message);
        sink.number(2, self.send_time_ms);
        sink.number(3, self.resend_attempts);
    }
}

impl Encode for IncomingMessage {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.nested(1, &self.message);
        self.missing_dependencies.iter().for_each(|id| sink.bytes(2, id.as_bytes()));
    }
}

impl Encode for OutgoingRepair {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.bytes(1, self.message_id.as_bytes());
        sink.nested(2, &MapValue(self));
    }
}

impl Encode for MapValue<'_, OutgoingRepair> {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.nested(1, &Entry(self.0.entry.borrowed(), WireDialect::NimSds));
        sink.number(2, self.0.request_time_ms);
    }
}

impl Encode for IncomingRepair {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.bytes(1, self.message_id.as_bytes());
        sink.nested(2, &MapValue(self));
    }
}

impl Encode for MapValue<'_, IncomingRepair> {
    fn write<S: Sink>(&self, sink: &mut S) {
        sink.nested(1, &Entry(self.0.entry.borrowed(), WireDialect::NimSds));
        sink.bytes(2, &self.0.cached_message);
        sink.number(3, self.0.response_time_ms);
    }
}

/// The value of a pair of a repair buffer.
struct MapValue<'a, T>(&'a T);

impl Encode for Message {
    fn write<S: Sink>(&self, sink: &mut S) {
        let message = self.borrowed();
        let message = Outgoing { nim_form: NimForm::V030, ..message.as_outgoing() };
        nim::Encoding(&message).write(sink);
    }
}
