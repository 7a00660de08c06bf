//! A logged message: all of it in one allocation.

use alloc::sync::Arc;
use core::fmt;
use core::iter::{self, FusedIterator};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::id::IdRef;
use crate::wire::HistoryEntryRef;

/// Position of a delivery among all deliveries of a channel, from 1. It never goes back, not
/// across restarts either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to store")]
pub struct DeliverySeq(pub u64);

/// One entry of a channel's log.
///
/// It is one allocation, of [`size`](Self::size) bytes, that its clones share.
//
// The record: Lamport time (8 bytes), lengths of message id and sender id, number of the history's
// entries, where the content begins (4 bytes each); the two ids; for each named entry the lengths
// of id, hint (`NO_HINT`: none) and sender (4 bytes each), then these; the content.
#[derive(Clone, PartialEq, Eq)]
pub struct LogEntry(Arc<[u8]>);

/// Bytes of what comes before the ids.
const HEAD: usize = 24;
/// Bytes of what comes before each named entry.
const NAMED_HEAD: usize = 12;
/// A hint that is not there, which is not the same as an empty one.
const NO_HINT: u32 = u32::MAX;

impl LogEntry {
    /// An entry of these parts, copied; stores and importers make them.
    ///
    /// # Panics
    ///
    /// If all of it comes to 4 GiB or more.
    #[must_use]
    pub fn new<'a>(
        message_id: impl AsRef<[u8]>,
        sender_id: impl AsRef<[u8]>,
        lamport: u64,
        causal_history: impl IntoIterator<Item = HistoryEntryRef<'a>>,
        content: impl AsRef<[u8]>,
    ) -> Self {
        let named: SmallVec<[_; 4]> = causal_history.into_iter().collect();
        Self::of(message_id.as_ref(), sender_id.as_ref(), lamport, &named, content.as_ref())
    }

    pub(crate) fn of(
        message_id: &[u8],
        sender_id: &[u8],
        lamport: u64,
        causal_history: &[HistoryEntryRef<'_>],
        content: &[u8],
    ) -> Self {
        let content_at = Self::size_of(message_id, sender_id, causal_history);
        let len = content_at + content.len();
        assert!(Self::can_be_laid_out(len), "a log entry is smaller than 4 GiB");
        let mut record: Arc<[u8]> = iter::repeat_n(0, len).collect();
        let mut writer = Writer(Arc::get_mut(&mut record).expect("nobody else has it yet"));
        writer.put(&lamport.to_le_bytes());
        writer.number(message_id.len());
        writer.number(sender_id.len());
        writer.number(causal_history.len());
        writer.number(content_at);
        writer.put(message_id);
        writer.put(sender_id);
        for named in causal_history {
            writer.number(named.message_id.len());
            match named.retrieval_hint {
                Some(hint) => writer.number(hint.len()),
                None => writer.put(&NO_HINT.to_le_bytes()),
            }
            writer.number(named.sender_id.len());
            writer.put(named.message_id.as_bytes());
            writer.put(named.retrieval_hint.unwrap_or_default());
            writer.put(named.sender_id.as_bytes());
        }
        writer.put(content);
        Self(record)
    }

    /// The largest size of an entry: numbers in it have 32 bits. `Config` allows no larger one.
    pub(crate) const MAX_SIZE: u64 = u32::MAX as u64;

    /// The size of the largest entry of ids, hints, named entries and content of at most so many.
    pub(crate) const fn largest(id: u64, hint: u64, named: u64, content: u64) -> u64 {
        let each = NAMED_HEAD as u64 + 2 * id + hint;
        HEAD as u64 + 2 * id + named * each + content
    }

    /// The size of an entry of these parts but for its content.
    pub(crate) fn size_of(
        message_id: &[u8],
        sender_id: &[u8],
        causal_history: &[HistoryEntryRef<'_>],
    ) -> usize {
        let named = causal_history.iter().map(|named| NAMED_HEAD + named.payload_len());
        HEAD + message_id.len() + sender_id.len() + named.sum::<usize>()
    }

    /// Whether an entry can have this size.
    pub(crate) fn can_be_laid_out(size: usize) -> bool {
        size as u64 <= Self::MAX_SIZE
    }

    /// The message's id.
    #[must_use]
    pub fn message_id(&self) -> IdRef<'_> {
        IdRef::new(&self.0[HEAD..][..self.number(8)])
    }

    /// Its author; empty if the author gave none.
    #[must_use]
    pub fn sender_id(&self) -> IdRef<'_> {
        IdRef::new(&self.0[HEAD + self.number(8)..][..self.number(12)])
    }

    /// Its Lamport time. The log is ordered by (`lamport`, `message_id`).
    #[must_use]
    pub fn lamport(&self) -> u64 {
        self.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The entries it depends on.
    #[must_use]
    pub fn causal_history(&self) -> CausalHistory<'_> {
        let start = HEAD + self.number(8) + self.number(12);
        CausalHistory { rest: &self.0[start..self.number(20)], len: self.number(16) }
    }

    /// Its content, never empty.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.0[self.number(20)..]
    }

    /// Its content as a buffer that keeps the entry alive: a small allocation, and no copy.
    #[must_use]
    pub fn content_bytes(&self) -> Bytes {
        Bytes::from_owner(Record(Arc::clone(&self.0))).slice(self.number(20)..)
    }

    /// Bytes of the allocation, without its two reference counts.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Whether LIP-109 can say all of its ids.
    pub(crate) fn is_text(&self) -> bool {
        let own = self.message_id().as_str().is_some() && self.sender_id().as_str().is_some();
        own && self.causal_history().all(|named| named.is_text())
    }

    fn number(&self, at: usize) -> usize {
        number(&self.0, at) as usize
    }
}

/// In the order of its fields.
impl fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEntry")
            .field("message_id", &self.message_id())
            .field("sender_id", &self.sender_id())
            .field("lamport", &self.lamport())
            .field("causal_history", &self.causal_history())
            .field("content", &format_args!("b\"{}\"", self.content().escape_ascii()))
            .finish()
    }
}

/// The dependencies of a log entry; from [`LogEntry::causal_history`].
#[derive(Clone)]
pub struct CausalHistory<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Iterator for CausalHistory<'a> {
    type Item = HistoryEntryRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.rest.split_first_chunk::<NAMED_HEAD>()?;
        let (id_len, hint_len) = (number(head, 0) as usize, number(head, 4));
        let (id, rest) = rest.split_at(id_len);
        let (hint, rest) = match hint_len {
            NO_HINT => (None, rest),
            len => {
                let (hint, rest) = rest.split_at(len as usize);
                (Some(hint), rest)
            }
        };
        let (sender, rest) = rest.split_at(number(head, 8) as usize);
        self.rest = rest;
        self.len -= 1;
        Some(HistoryEntryRef {
            message_id: IdRef::new(id),
            retrieval_hint: hint,
            sender_id: IdRef::new(sender),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for CausalHistory<'_> {}
impl FusedIterator for CausalHistory<'_> {}

impl fmt::Debug for CausalHistory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The bytes of an entry, to be looked into for as long as somebody does.
struct Record(Arc<[u8]>);

impl AsRef<[u8]> for Record {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Fills a record from its beginning.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let (here, rest) = core::mem::take(&mut self.0).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.0 = rest;
    }

    /// `number` is the length of a part of a record, all of which is shorter than 2^32.
    fn number(&mut self, number: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        self.put(&(number as u32).to_le_bytes());
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HistoryEntry;
    use alloc::vec::Vec;

    fn named(hint: Option<&'static [u8]>) -> HistoryEntryRef<'static> {
        HistoryEntryRef {
            message_id: IdRef::new(b"m0"),
            retrieval_hint: hint,
            sender_id: IdRef::new(b"bob"),
        }
    }

    #[test]
    fn says_what_was_put_in() {
        let history = [named(None), named(Some(b"")), named(Some(b"hint"))];
        let entry = LogEntry::new("m1", "alice", 7, history, "hello");
        assert_eq!(entry.message_id().as_str(), Some("m1"));
        assert_eq!(entry.sender_id().as_str(), Some("alice"));
        assert_eq!(entry.lamport(), 7);
        assert_eq!(entry.causal_history().len(), 3);
        assert_eq!(entry.causal_history().collect::<Vec<_>>(), history);
        assert_eq!(entry.content(), b"hello");
        assert_eq!(entry.content_bytes(), "hello");
        assert_eq!(entry.size(), HEAD + 2 + 5 + 3 * (NAMED_HEAD + 5) + 4 + 5);
        let largest = LogEntry::largest(5, 4, 3, 5);
        assert_eq!(largest, (HEAD + 2 * 5 + 3 * (NAMED_HEAD + 2 * 5 + 4) + 5) as u64);
        assert!(entry.size() as u64 <= largest);
    }

    #[test]
    fn an_entry_is_as_large_as_its_parts_may_be() {
        let (id, hint) = ([b'x'; 7], [b'h'; 3]);
        let named = HistoryEntryRef {
            message_id: IdRef::new(&id),
            retrieval_hint: Some(&hint),
            sender_id: IdRef::new(&id),
        };
        let entry = LogEntry::new(id, id, 1, [named; 4], [0; 9]);
        assert_eq!(entry.size() as u64, LogEntry::largest(7, 3, 4, 9));
    }

    #[test]
    fn an_entry_of_nothing_is_empty_all_over() {
        let entry = LogEntry::new("", "", u64::MAX, [], "");
        assert!(entry.message_id().is_empty() && entry.sender_id().is_empty());
        assert_eq!((entry.lamport(), entry.causal_history().next()), (u64::MAX, None));
        assert_eq!(entry.content_bytes(), "");
    }

    #[test]
    fn a_copied_name_equals_its_original() {
        for original in [named(None), named(Some(b"")), named(Some(b"hint"))] {
            assert_eq!(HistoryEntry::from(original).borrowed(), original);
        }
    }
}
