//! A message as the rest of the crate sees it, whatever dialect it came in.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::{Bytes, BytesMut};
use quick_protobuf::sizeofs::sizeof_varint;
use smallvec::SmallVec;

use super::filter::FilterField;
use super::writer::Encode;
use super::{NimForm, WireDialect, lip109, nim};
use crate::memory;
use crate::{ChannelId, IdRef, MessageId, ParticipantId};

/// One message, decoded. Its ids and bytes are slices of the datagram, which they keep alive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Message {
    /// Id of the author; may be empty.
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
    /// The form that it was found to have; `None` in LIP-109, and in a state of nim-sds.
    pub nim_form: Option<NimForm>,
}

/// One message, decoded in place: all of it are slices of the datagram.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct MessageRef<'a> {
    /// See [`Message::sender_id`], and so on.
    pub sender_id: IdRef<'a>,
    /// The message's own id.
    pub message_id: IdRef<'a>,
    /// The log the message belongs to.
    pub channel_id: IdRef<'a>,
    /// The sender's Lamport time.
    pub lamport: Option<u64>,
    /// Log entries on which the message depends.
    pub causal_history: SmallVec<[HistoryEntryRef<'a>; 2]>,
    /// The sender's bloom filter, unchecked.
    pub bloom_filter: Option<&'a [u8]>,
    /// Log entries the sender asks others to send again.
    pub repair_request: Vec<HistoryEntryRef<'a>>,
    /// The application's bytes.
    pub content: Option<&'a [u8]>,
    /// The form of the nim dialect.
    pub nim_form: Option<NimForm>,
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
    /// Id of the entry's author; empty if it is not known.
    pub sender_id: ParticipantId,
}

/// A [`HistoryEntry`] that is part of something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HistoryEntryRef<'a> {
    /// The entry's id.
    pub message_id: IdRef<'a>,
    /// Opaque bytes that help fetch the message elsewhere.
    pub retrieval_hint: Option<&'a [u8]>,
    /// Id of the entry's author; empty if it is not known.
    pub sender_id: IdRef<'a>,
}

/// The kind of a message, determined by the fields it has.
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
/// The caller must not pass fields that the dialect cannot encode: nim-sds has no ephemeral
/// messages (a `lamport` of `None` is written as 0), and the container of `filter` is written
/// unchanged into a message of either dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Outgoing<'a> {
    /// Id of the author; an empty id is left out.
    pub sender_id: &'a [u8],
    /// The message's own id.
    pub message_id: &'a [u8],
    /// The log the message belongs to.
    pub channel_id: &'a [u8],
    /// Lamport time; `None` for ephemeral messages.
    pub lamport: Option<u64>,
    /// Log entries on which the message depends.
    pub causal_history: &'a [HistoryEntryRef<'a>],
    /// The bloom filter.
    pub filter: FilterField<'a>,
    /// Log entries that others are asked to send again.
    pub repair_request: &'a [HistoryEntryRef<'a>],
    /// The application's bytes; nim-sds writes `None` as empty.
    pub content: Option<&'a [u8]>,
    /// The form of a message in the nim dialect. What it cannot say is left out.
    pub nim_form: NimForm,
}

impl Message {
    /// Returns the kind of the message.
    ///
    /// One that was decoded always is of one of the three kinds; one put together by hand without
    /// Lamport time counts as ephemeral even if it has no content.
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind(self.lamport, self.content.as_deref())
    }

    /// The message, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> MessageRef<'_> {
        MessageRef {
            sender_id: self.sender_id.borrowed(),
            message_id: self.message_id.borrowed(),
            channel_id: self.channel_id.borrowed(),
            lamport: self.lamport,
            causal_history: self.causal_history.iter().map(HistoryEntry::borrowed).collect(),
            bloom_filter: self.bloom_filter.as_deref(),
            repair_request: self.repair_request.iter().map(HistoryEntry::borrowed).collect(),
            content: self.content.as_deref(),
            nim_form: self.nim_form,
        }
    }
}

impl MessageRef<'_> {
    /// Returns the kind of the message, as [`Message::kind`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind(self.lamport, self.content)
    }

    /// Whether LIP-109 can say all that is logged of it.
    pub(crate) fn is_text(&self) -> bool {
        let own = self.message_id.as_str().is_some() && self.sender_id.as_str().is_some();
        own && self.causal_history.iter().all(HistoryEntryRef::is_text)
    }

    /// The same message, to be encoded. In the dialect it was decoded from it becomes the canonical
    /// encoding in the form it was found to have, or in one that can say what it says.
    #[must_use]
    pub fn as_outgoing(&self) -> Outgoing<'_> {
        let complete = !self.sender_id.is_empty() || !self.repair_request.is_empty();
        let found = self.nim_form.filter(|form| form.is_complete() || !complete);
        Outgoing {
            sender_id: self.sender_id.as_bytes(),
            message_id: self.message_id.as_bytes(),
            channel_id: self.channel_id.as_bytes(),
            lamport: self.lamport,
            causal_history: &self.causal_history,
            filter: self.bloom_filter.map_or(FilterField::Absent, FilterField::Bytes),
            repair_request: &self.repair_request,
            content: self.content,
            nim_form: found.unwrap_or_default(),
        }
    }

    /// The message as slices of `datagram`, which it must have been decoded from.
    pub(super) fn within(&self, datagram: &Bytes) -> Message {
        let slice = |bytes: &[u8]| datagram.slice_ref(bytes);
        let id = |id: IdRef<'_>| slice(id.as_bytes());
        let entry = |named: &HistoryEntryRef<'_>| named.within(datagram);
        Message {
            sender_id: id(self.sender_id).into(),
            message_id: id(self.message_id).into(),
            channel_id: id(self.channel_id).into(),
            lamport: self.lamport,
            causal_history: self.causal_history.iter().map(entry).collect(),
            bloom_filter: self.bloom_filter.map(slice),
            repair_request: self.repair_request.iter().map(entry).collect(),
            content: self.content.map(slice),
            nim_form: self.nim_form,
        }
    }
}

impl HistoryEntry {
    /// The entry, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> HistoryEntryRef<'_> {
        HistoryEntryRef {
            message_id: self.message_id.borrowed(),
            retrieval_hint: self.retrieval_hint.as_deref(),
            sender_id: self.sender_id.borrowed(),
        }
    }
}

impl HistoryEntry {
    /// Bytes of an entry and of a copy of what is in it.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + memory::SHARED + self.borrowed().payload_len()
    }
}

/// A copy, its parts slices of one allocation.
impl From<HistoryEntryRef<'_>> for HistoryEntry {
    fn from(named: HistoryEntryRef<'_>) -> Self {
        let hint = named.retrieval_hint;
        let mut all = BytesMut::with_capacity(named.payload_len());
        all.extend_from_slice(named.message_id.as_bytes());
        all.extend_from_slice(hint.unwrap_or_default());
        all.extend_from_slice(named.sender_id.as_bytes());
        let mut all = all.freeze();
        Self {
            message_id: all.split_to(named.message_id.len()).into(),
            retrieval_hint: hint.map(|hint| all.split_to(hint.len())),
            sender_id: all.into(),
        }
    }
}

impl HistoryEntryRef<'_> {
    /// The entry as slices of `datagram`, which it must have been decoded from.
    pub(super) fn within(&self, datagram: &Bytes) -> HistoryEntry {
        HistoryEntry {
            message_id: datagram.slice_ref(self.message_id.as_bytes()).into(),
            retrieval_hint: self.retrieval_hint.map(|hint| datagram.slice_ref(hint)),
            sender_id: datagram.slice_ref(self.sender_id.as_bytes()).into(),
        }
    }

    /// Whether LIP-109 can say its ids.
    pub(crate) fn is_text(&self) -> bool {
        self.message_id.as_str().is_some() && self.sender_id.as_str().is_some()
    }

    /// Bytes of ids and hint.
    pub(crate) fn payload_len(&self) -> usize {
        let hint = self.retrieval_hint.map_or(0, <[u8]>::len);
        self.message_id.len() + hint + self.sender_id.len()
    }
}

fn kind(lamport: Option<u64>, content: Option<&[u8]>) -> Kind {
    match (lamport, content) {
        (None, _) => Kind::Ephemeral,
        (Some(_), Some(content)) if !content.is_empty() => Kind::Content,
        (Some(_), _) => Kind::Sync,
    }
}

impl Outgoing<'_> {
    /// Returns the range of the message id in the encoding.
    pub(crate) fn message_id_range(&self, dialect: WireDialect) -> Range<usize> {
        let field_len = |id: &[u8]| 1 + sizeof_varint(id.len() as u64) + id.len();
        let sender_first = dialect == WireDialect::Lip109 && !self.sender_id.is_empty();
        let before = if sender_first { field_len(self.sender_id) } else { 0 };
        let end = before + field_len(self.message_id);
        end - self.message_id.len()..end
    }

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
