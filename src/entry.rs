//! A logged message, and what it owns.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::id::{MessageId, ParticipantId};
use crate::wire::HistoryEntry;

/// Position of a delivery among all deliveries of a channel, from 1. It never goes back, not
/// across restarts either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to store")]
pub struct DeliverySeq(pub u64);

/// One entry of a channel's log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogEntry {
    /// The message's id.
    pub message_id: MessageId,
    /// Its author; empty if the author gave none.
    pub sender_id: ParticipantId,
    /// Its Lamport time. The log is ordered by (`lamport`, `message_id`).
    pub lamport: u64,
    /// The entries it depends on.
    pub causal_history: SmallVec<[HistoryEntry; 2]>,
    /// Its content, never empty.
    pub content: Bytes,
}

impl LogEntry {
    /// An entry of these parts; stores and importers make them.
    #[must_use]
    pub const fn new(
        message_id: MessageId,
        sender_id: ParticipantId,
        lamport: u64,
        causal_history: SmallVec<[HistoryEntry; 2]>,
        content: Bytes,
    ) -> Self {
        Self { message_id, sender_id, lamport, causal_history, content }
    }

    /// Bytes of ids, hints and content.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.ids_len() + self.content.len()
    }

    /// Whether LIP-109 can say all of its ids.
    pub(crate) fn is_text(&self) -> bool {
        let named = self.causal_history.iter();
        let named = named.flat_map(|named| [named.message_id.as_str(), named.sender_id.as_str()]);
        let own = [self.message_id.as_str(), self.sender_id.as_str()];
        own.into_iter().chain(named).all(|id| id.is_some())
    }

    /// The entry with its own copy of everything, in one allocation of exactly the size needed.
    pub(crate) fn compact(&self) -> Self {
        let mut frame = Frame(BytesMut::with_capacity(self.payload_len()));
        let content = frame.copy(&self.content);
        self.compact_ids(frame, content)
    }

    /// The entry with its own copy of ids and hints, and the content as it is.
    pub(crate) fn compact_around_content(&self) -> Self {
        let frame = Frame(BytesMut::with_capacity(self.ids_len()));
        self.compact_ids(frame, self.content.clone())
    }

    fn compact_ids(&self, mut frame: Frame, content: Bytes) -> Self {
        Self {
            message_id: MessageId::new(frame.copy(self.message_id.as_bytes())),
            sender_id: ParticipantId::new(frame.copy(self.sender_id.as_bytes())),
            lamport: self.lamport,
            causal_history: self
                .causal_history
                .iter()
                .map(|named| HistoryEntry {
                    message_id: MessageId::new(frame.copy(named.message_id.as_bytes())),
                    retrieval_hint: named.retrieval_hint.as_ref().map(|hint| frame.copy(hint)),
                    sender_id: ParticipantId::new(frame.copy(named.sender_id.as_bytes())),
                })
                .collect(),
            content,
        }
    }

    fn ids_len(&self) -> usize {
        let history: usize = self.causal_history.iter().map(history_entry_len).sum();
        self.message_id.len() + self.sender_id.len() + history
    }
}

/// A copy of `named` that shares no allocation with the datagram it came in.
pub(crate) fn detach(named: &HistoryEntry) -> HistoryEntry {
    let mut frame = Frame(BytesMut::with_capacity(history_entry_len(named)));
    HistoryEntry {
        message_id: MessageId::new(frame.copy(named.message_id.as_bytes())),
        retrieval_hint: named.retrieval_hint.as_ref().map(|hint| frame.copy(hint)),
        sender_id: ParticipantId::new(frame.copy(named.sender_id.as_bytes())),
    }
}

fn history_entry_len(named: &HistoryEntry) -> usize {
    let hint = named.retrieval_hint.as_ref().map_or(0, Bytes::len);
    named.message_id.len() + hint + named.sender_id.len()
}

/// One allocation, from which exact slices are cut.
struct Frame(BytesMut);

impl Frame {
    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_entry_equals_its_original_and_lives_in_one_allocation() {
        let named = HistoryEntry {
            message_id: "m0".into(),
            retrieval_hint: Some(Bytes::from_static(b"hint")),
            sender_id: "bob".into(),
        };
        let entry = LogEntry::new(
            "m1".into(),
            "alice".into(),
            7,
            [named].into_iter().collect(),
            Bytes::from_static(b"hello"),
        );
        let compact = entry.compact();
        assert_eq!(compact, entry);
        let start = compact.content.as_ptr() as usize;
        let end = compact.causal_history[0].sender_id.as_bytes().as_ptr() as usize + 3;
        assert_eq!(end - start, entry.payload_len());
    }
}
