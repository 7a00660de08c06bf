//! What a store keeps of a channel: the changes it is handed, and the state they add up to.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use bytes::Bytes;

use crate::bloom::Probe;
use crate::digest::LogDigest;
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::{ChannelId, MessageId};
use crate::time::UnixMillis;
use crate::wire::{HistoryEntry, WireDialect};

/// One change of a channel's durable state.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Change {
    /// The channel.
    pub channel: ChannelId,
    /// What changed.
    pub kind: ChangeKind,
}

/// The kinds of change. Applying one twice is the same as applying it once, as long as the order
/// is kept.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The channel begins, empty, with this key for the digests of its id record.
    Created {
        /// The key; whatever the store held before is void.
        record_key: [u64; 2],
    },
    /// The Lamport clock stands here.
    Clock(u64),
    /// The id of a content message joined the id record.
    Recorded(IdRecord),
    /// The oldest ids left the record.
    Forgotten {
        /// All up to this number.
        up_to: u64,
    },
    /// A received message had to be dropped: its id counts as never received.
    Unrecorded {
        /// Its number.
        number: u64,
    },
    /// The newest Lamport time whose id is forgotten.
    Floor(u64),
    /// A message joined the log; the clock is at least at its time.
    Appended(StoredEntry),
    /// A body left the log.
    Evicted(DeliverySeq),
    /// An own message is unacknowledged, with this state.
    OutgoingSet(StoredOutgoing),
    /// An own message needs no acknowledgement any more.
    OutgoingRemoved(DeliverySeq),
    /// A message waits for dependencies.
    IncomingAdded(Arc<LogEntry>),
    /// A message waits no more.
    IncomingRemoved(MessageId),
    /// A dependency is wanted.
    WantedSet(StoredWanted),
    /// A dependency is not wanted any more.
    WantedRemoved(MessageId),
    /// A repair answer is due.
    AnswerSet(StoredAnswer),
    /// A repair answer was given, or is not needed any more.
    AnswerRemoved(MessageId),
    /// An id counts as met without being logged.
    Met(StoredMet),
    /// Where a logged message can be fetched from.
    Hint {
        /// The message.
        message_id: MessageId,
        /// The hint.
        hint: Bytes,
    },
    /// The application is done with deliveries up to here.
    Consumed(DeliverySeq),
    /// The channel is to be forgotten altogether.
    Erased,
}

/// A remembered content id: not the id itself, but what is needed to know it again and to put it
/// into a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct IdRecord {
    /// Its number in the channel, from 1 and ever higher.
    pub number: u64,
    /// Keyed digest of the id.
    pub digest: u128,
    /// Lamport time of the message.
    pub lamport: u64,
    /// Its hashes for LIP-109 filters, where that dialect is spoken.
    pub lip109: Option<Probe>,
    /// Its hashes for nim-sds filters, where that dialect is spoken.
    pub nim_sds: Option<Probe>,
}

/// A log entry with what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredEntry {
    /// Number of its delivery.
    pub seq: DeliverySeq,
    /// The message.
    pub entry: Arc<LogEntry>,
    /// Whether a direct dependency was missing when it was delivered.
    pub gap: bool,
    /// Whether we published it.
    pub own: bool,
}

/// An unacknowledged own message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredOutgoing {
    /// Number of its delivery to our own log.
    pub seq: DeliverySeq,
    /// Times it was resent.
    pub resends: u32,
    /// Whether a filter held it.
    pub possibly_acked: bool,
}

/// A wanted dependency.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredWanted {
    /// Its id, sender and hint.
    pub entry: HistoryEntry,
    /// Times it was asked for, by us or by others.
    pub rounds: u32,
    /// When it is asked for next, where there is a wall clock.
    pub due: Option<UnixMillis>,
    /// Whether nothing waits for it.
    pub background: bool,
}

/// A pending repair answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredAnswer {
    /// The message asked for.
    pub message_id: MessageId,
    /// The dialect it was asked for in.
    pub dialect: WireDialect,
    /// When it is answered, where there is a wall clock.
    pub due: Option<UnixMillis>,
}

/// An id that counts as met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredMet {
    /// Keyed digest of the id.
    pub digest: u128,
    /// Whether it was given up, so that what depends on it has a gap.
    pub lost: bool,
}

/// The state of one channel, as its changes add up.
///
/// [`Snapshot::apply`] is what the changes mean: a store that keeps its data otherwise must give
/// back the same state.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Key of the digests in `record` and `met`.
    pub record_key: [u64; 2],
    /// Lamport clock.
    pub lamport: u64,
    /// Bodies by number of delivery.
    pub log: BTreeMap<DeliverySeq, StoredEntry>,
    /// Deliveries so far.
    pub delivered: DeliverySeq,
    /// Deliveries the application is done with.
    pub consumed: DeliverySeq,
    /// Digest of all deliveries, evicted ones included.
    pub digest: LogDigest,
    /// Content ids in order of arrival.
    pub record: VecDeque<IdRecord>,
    /// Number of the newest id that ever was in `record`.
    pub recorded: u64,
    /// Newest Lamport time whose id is forgotten.
    pub floor: Option<u64>,
    /// Ids met without being logged, oldest first.
    pub met: VecDeque<StoredMet>,
    /// Unacknowledged own messages.
    pub outgoing: BTreeMap<DeliverySeq, StoredOutgoing>,
    /// Messages that wait for dependencies.
    pub incoming: BTreeMap<MessageId, Arc<LogEntry>>,
    /// Wanted dependencies.
    pub wanted: BTreeMap<MessageId, StoredWanted>,
    /// Pending repair answers.
    pub answers: BTreeMap<MessageId, StoredAnswer>,
    /// Retrieval hints of logged messages.
    pub hints: BTreeMap<MessageId, Bytes>,
}

impl Snapshot {
    /// Most ids of `met` kept; the core keeps fewer of them.
    const MAX_MET: usize = 1 << 16;

    /// Applies one change.
    pub fn apply(&mut self, change: &ChangeKind) {
        match change {
            ChangeKind::Created { record_key } => {
                *self = Self { record_key: *record_key, ..Self::default() };
            }
            ChangeKind::Clock(lamport) => self.lamport = self.lamport.max(*lamport),
            ChangeKind::Recorded(record) => {
                if record.number > self.recorded {
                    self.recorded = record.number;
                    self.record.push_back(*record);
                }
            }
            ChangeKind::Forgotten { up_to } => {
                while self.record.front().is_some_and(|oldest| oldest.number <= *up_to) {
                    self.record.pop_front();
                }
            }
            ChangeKind::Unrecorded { number } => {
                if let Ok(at) = self.record.binary_search_by_key(number, |known| known.number) {
                    self.record.remove(at);
                }
            }
            ChangeKind::Floor(lamport) => {
                self.floor = Some(self.floor.map_or(*lamport, |floor| floor.max(*lamport)));
            }
            ChangeKind::Appended(stored) => self.append(stored),
            ChangeKind::Evicted(seq) => {
                if let Some(evicted) = self.log.remove(seq) {
                    self.hints.remove(&evicted.entry.message_id);
                }
            }
            ChangeKind::OutgoingSet(outgoing) => {
                self.outgoing.insert(outgoing.seq, *outgoing);
            }
            ChangeKind::OutgoingRemoved(seq) => {
                self.outgoing.remove(seq);
            }
            ChangeKind::IncomingAdded(entry) => {
                self.incoming.insert(entry.message_id.clone(), Arc::clone(entry));
            }
            ChangeKind::IncomingRemoved(message_id) => {
                self.incoming.remove(message_id);
            }
            ChangeKind::WantedSet(wanted) => {
                self.wanted.insert(wanted.entry.message_id.clone(), wanted.clone());
            }
            ChangeKind::WantedRemoved(message_id) => {
                self.wanted.remove(message_id);
            }
            ChangeKind::AnswerSet(answer) => {
                self.answers.insert(answer.message_id.clone(), answer.clone());
            }
            ChangeKind::AnswerRemoved(message_id) => {
                self.answers.remove(message_id);
            }
            ChangeKind::Met(met) => {
                self.met.retain(|known| known.digest != met.digest);
                self.met.push_back(*met);
                if self.met.len() > Self::MAX_MET {
                    self.met.pop_front();
                }
            }
            ChangeKind::Hint { message_id, hint } => {
                self.hints.insert(message_id.clone(), hint.clone());
            }
            ChangeKind::Consumed(up_to) => self.consumed = self.consumed.max(*up_to),
            ChangeKind::Erased => *self = Self::default(),
        }
    }

    fn append(&mut self, stored: &StoredEntry) {
        if stored.seq <= self.delivered {
            return; // applied before: a write that is retried may have reached the store
        }
        self.lamport = self.lamport.max(stored.entry.lamport);
        self.delivered = stored.seq;
        self.digest.add(stored.entry.lamport, &stored.entry.message_id);
        self.log.insert(stored.seq, stored.clone());
    }
}
