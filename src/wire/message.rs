//! A message as the rest of the crate sees it, whatever dialect it came in.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::filter::FilterField;
use super::writer::Encode;
use super::{WireDialect, lip109, nim};
use crate::{ChannelId, MessageId, ParticipantId};

/// One message, decoded. Its ids and bytes are slices of the datagram, which they keep alive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Message {
    /// Who wrote the message; may be empty.
    pub sender_id: ParticipantId,
    /// The message's own id.
    pub message_id: MessageId,
    /// The log the message belongs to.
    pub channel_id: ChannelId,
    /// The sender's Lamport time; `None` for ephemeral messages. Any 64-bit value: how far it may
    /// be from the wall clock is not for the decoder to judge.
    pub lamport: Option<u64>,
    /// Log entries the sender had, on which the message depends.
    pub causal_history: SmallVec<[HistoryEntry; 2]>,
    /// The sender's bloom filter in the container of the dialect, unchecked. nim-sds sends an empty
    /// field for want of a filter, which is `None` here.
    pub bloom_filter: Option<Bytes>,
    /// Log entries the sender asks others to send again.
    pub repair_request: Vec<HistoryEntry>,
    /// The application's bytes; `None` or empty in a sync message.
    pub content: Option<Bytes>,
}

/// Names a log entry in a causal history or in a repair request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The entry's id.
    pub message_id: MessageId,
    /// Opaque bytes that help fetch the message elsewhere. nim-sds cannot say "present but empty":
    /// such a hint is `None` there.
    pub retrieval_hint: Option<Bytes>,
    /// Who wrote the entry; empty where that is not known.
    pub sender_id: ParticipantId,
}

/// What a message is for, as told by the fields it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these three; a fourth breaks it")]
pub enum Kind {
    /// An entry of the log: Lamport time and content.
    Content,
    /// A sign of life that carries history and filter: Lamport time, no content.
    Sync,
    /// Content outside the log: no Lamport time.
    Ephemeral,
}

/// A message to be encoded, all of it borrowed.
///
/// What a dialect cannot say is left to the caller not to ask for: nim-sds has no ephemeral
/// messages (a `lamport` of `None` is written as 0), and the container of `filter` is written as
/// it is into a message of either dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Outgoing<'a> {
    /// Who wrote the message; an empty id is left out.
    pub sender_id: &'a [u8],
    /// The message's own id.
    pub message_id: &'a [u8],
    /// The log the message belongs to.
    pub channel_id: &'a [u8],
    /// Lamport time; `None` for ephemeral messages.
    pub lamport: Option<u64>,
    /// Log entries on which the message depends.
    pub causal_history: &'a [HistoryEntry],
    /// The bloom filter.
    pub filter: FilterField<'a>,
    /// Log entries that others are asked to send again.
    pub repair_request: &'a [HistoryEntry],
    /// The application's bytes; nim-sds writes `None` as empty.
    pub content: Option<&'a [u8]>,
}

impl Message {
    /// What the message is for.
    ///
    /// One that was decoded always is of one of the three kinds; one put together by hand without
    /// Lamport time counts as ephemeral even if it has no content.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.lamport, &self.content) {
            (None, _) => Kind::Ephemeral,
            (Some(_), Some(content)) if !content.is_empty() => Kind::Content,
            (Some(_), _) => Kind::Sync,
        }
    }

    /// The same message, to be encoded. In the dialect it was decoded from it becomes the canonical
    /// form of the same bytes.
    #[must_use]
    pub fn as_outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            sender_id: self.sender_id.as_bytes(),
            message_id: self.message_id.as_bytes(),
            channel_id: self.channel_id.as_bytes(),
            lamport: self.lamport,
            causal_history: &self.causal_history,
            filter: self.bloom_filter.as_deref().map_or(FilterField::Absent, FilterField::Bytes),
            repair_request: &self.repair_request,
            content: self.content.as_deref(),
        }
    }
}

impl Outgoing<'_> {
    /// Length of the encoding in bytes.
    #[must_use]
    pub fn encoded_len(&self, dialect: WireDialect) -> usize {
        match dialect {
            WireDialect::Lip109 => lip109::Encoding(self).encoded_len(),
            WireDialect::NimSds => nim::Encoding(self).encoded_len(),
        }
    }

    /// Appends the encoding to `buffer`, which grows at most once.
    ///
    /// Canonical: the same message gives the same bytes as the other implementations of the
    /// dialect.
    pub fn encode(&self, dialect: WireDialect, buffer: &mut BytesMut) {
        match dialect {
            WireDialect::Lip109 => lip109::Encoding(self).append_to(buffer),
            WireDialect::NimSds => nim::Encoding(self).append_to(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_content_tell_the_kind() {
        let kind = |lamport, content: Option<&'static str>| {
            let content = content.map(Bytes::from);
            Message { lamport, content, ..Message::default() }.kind()
        };
        assert_eq!(kind(Some(0), Some("x")), Kind::Content);
        assert_eq!(kind(Some(1), Some("")), Kind::Sync);
        assert_eq!(kind(Some(1), None), Kind::Sync);
        assert_eq!(kind(None, Some("x")), Kind::Ephemeral);
    }
}
