//! The blobs in which nim-sds stores its state, for importing it.
//!
//! nim-sds keeps, per channel, one blob of everything but the log ([`ChannelMeta`]) and hands the
//! log to its store as changes ([`HistoryUpdate`]); the store gives both back at once
//! ([`ChannelData`]). Decoded values share the memory of the blob and keep it alive.
//!
//! logos-delivery keeps both in a table of keys and values, of which [`ChannelData::from_rows`]
//! makes the channels.
//!
//! Blobs of each version are read, whatever form their messages have; what is written is what
//! nim-sds 0.3.0 writes.
//!
//! The contents of a blob follow the rules of nim-sds: ids may be empty, and numbers
//! that it counts as signed (times, the Lamport time) appear as the unsigned ones of the same 64
//! bits. [`Limits`] bound each message and id; the buffers are as long as the blob makes them.

mod codec;
mod rows;

pub use rows::{Row, RowError};

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::MessageId;
use crate::wire::error::DecodeError;
use crate::wire::message::{HistoryEntry, Message};
use crate::wire::values::Limits;
use crate::wire::writer::Encode;

/// The state of a channel, apart from its log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ChannelMeta {
    /// The channel's Lamport time.
    pub lamport: u64,
    /// Own messages that nobody has acknowledged.
    pub outgoing_buffer: Vec<UnacknowledgedMessage>,
    /// Received messages that wait for dependencies.
    pub incoming_buffer: Vec<IncomingMessage>,
    /// Messages to ask others for.
    pub outgoing_repair_buffer: Vec<OutgoingRepair>,
    /// Messages that others asked for.
    pub incoming_repair_buffer: Vec<IncomingRepair>,
}

/// An own message that nobody has acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct UnacknowledgedMessage {
    /// The message as it was sent.
    pub message: Message,
    /// When it was sent last, in milliseconds since 1970.
    pub send_time_ms: u64,
    /// Number of resends that nim-sds counted.
    pub resend_attempts: u64,
}

/// A received message that waits for dependencies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct IncomingMessage {
    /// The message as it was received.
    pub message: Message,
    /// The dependencies it waits for, in no particular order.
    pub missing_dependencies: Vec<MessageId>,
}

/// A message to ask others for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct OutgoingRepair {
    /// The message wanted.
    pub message_id: MessageId,
    /// The entry by which a message references it.
    pub entry: HistoryEntry,
    /// When to ask, in milliseconds since 1970.
    pub request_time_ms: u64,
}

/// A message that others asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct IncomingRepair {
    /// The message asked for.
    pub message_id: MessageId,
    /// The entry by which the request references it.
    pub entry: HistoryEntry,
    /// The message as nim-sds would send it.
    pub cached_message: Bytes,
    /// When to send it, in milliseconds since 1970.
    pub response_time_ms: u64,
}

/// A channel with its log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ChannelData {
    /// Everything but the log.
    pub meta: ChannelMeta,
    /// The log in the order of arrival, which is neither that of Lamport times nor free of repeats.
    pub messages: Vec<Message>,
}

/// A change of a channel's log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HistoryUpdate {
    /// Messages to put at the end of the log.
    pub append: Vec<Message>,
    /// Messages to take out of the log.
    pub evict: Vec<MessageId>,
}

impl ChannelMeta {
    /// Reads the blob of a channel's state.
    ///
    /// # Errors
    ///
    /// The blob is not protobuf, follows another schema version or names none, or holds a message
    /// or an id beyond the `limits`.
    pub fn decode(blob: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        codec::decode(blob, limits)
    }

    /// Appends the blob to `buffer`: byte by byte what nim-sds 0.3.0 writes.
    pub fn encode(&self, buffer: &mut BytesMut) {
        self.append_to(buffer);
    }
}

impl ChannelData {
    /// Reads the blob of a channel with its log.
    ///
    /// # Errors
    ///
    /// As for [`ChannelMeta::decode`].
    pub fn decode(blob: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        codec::decode(blob, limits)
    }

    /// Appends the blob to `buffer`: byte by byte what nim-sds 0.3.0 writes.
    pub fn encode(&self, buffer: &mut BytesMut) {
        self.append_to(buffer);
    }
}

impl HistoryUpdate {
    /// Reads the blob of a change of a channel's log.
    ///
    /// # Errors
    ///
    /// As for [`ChannelMeta::decode`].
    pub fn decode(blob: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        codec::decode(blob, limits)
    }

    /// Appends the blob to `buffer`: byte by byte what nim-sds 0.3.0 writes.
    pub fn encode(&self, buffer: &mut BytesMut) {
        self.append_to(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(bytes: &'static [u8]) -> Result<HistoryUpdate, DecodeError> {
        HistoryUpdate::decode(&Bytes::from_static(bytes), &Limits::default())
    }

    fn meta(bytes: &'static [u8]) -> Result<ChannelMeta, DecodeError> {
        ChannelMeta::decode(&Bytes::from_static(bytes), &Limits::default())
    }

    #[test]
    fn takes_messages_with_empty_ids_which_nim_sds_took_too() {
        let update = update(&[0x0a, 8, 0x0a, 0, 0x10, 1, 0x22, 0, 0x2a, 0]).unwrap();
        assert_eq!(update.append.len(), 1);
        assert!(update.append[0].message_id.is_empty());
    }

    #[test]
    fn takes_for_empty_what_nim_sds_0_4_leaves_out() {
        // A message without anything, and one that its outgoing buffer lacks.
        let blob = Bytes::from_static(&[0x0a, 4, 0x08, 1, 0x1a, 0, 0x12, 0]);
        let data = ChannelData::decode(&blob, &Limits::default()).unwrap();
        assert_eq!((data.meta.lamport, data.messages.len()), (0, 1));
        assert!(data.messages[0].message_id.is_empty() && data.messages[0].channel_id.is_empty());
        assert_eq!(data.messages[0].lamport, Some(0));
        assert_eq!(data.meta.outgoing_buffer[0].message, data.messages[0]);

        let nothing = meta(&[0x08, 1, 0x22, 0, 0x2a, 0, 0x32, 0]).unwrap();
        assert!(nothing.incoming_buffer[0].message.message_id.is_empty());
        assert!(nothing.outgoing_repair_buffer[0].entry.message_id.is_empty());
        assert!(nothing.incoming_repair_buffer[0].cached_message.is_empty());
    }

    #[test]
    fn reads_hints_and_senders_beside_the_ids() {
        let message = b"\x0a\x01m\x10\x05\x1a\x01a\x22\x01c\x42\x09\x0a\x01a\x12\x01h\x1a\x01s";
        let blob = Bytes::from([&[0x0a, message.len() as u8][..], message].concat());
        let update = HistoryUpdate::decode(&blob, &Limits::default()).unwrap();
        let named = &update.append[0].causal_history[0];
        assert_eq!(named.message_id.as_bytes(), b"a");
        assert_eq!(named.retrieval_hint.as_deref(), Some(&b"h"[..]));
        assert_eq!(named.sender_id.as_bytes(), b"s");
    }

    #[test]
    fn refuses_other_schema_versions_and_says_which() {
        assert!(meta(&[0x08, 1, 0x10, 0]).is_ok());
        assert_eq!(meta(&[0x08, 7, 0x10, 0]), Err(DecodeError::SchemaVersion { found: 7 }));
        assert_eq!(meta(&[0x10, 0]), Err(DecodeError::MissingField { field: 1 }));
    }

    #[test]
    fn offsets_in_errors_count_from_the_start_of_the_blob() {
        // A message, and in it an entry that is cut off in its second field.
        let bytes = &[0x0a, 7, 0x10, 1, 0x1a, 3, 0x0a, 0, 0x12];
        assert_eq!(update(bytes), Err(DecodeError::Truncated { offset: 9 }));
    }
}
