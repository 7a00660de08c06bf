//! The stored state of a channel, and the changes that lead to it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::bloom::Probe;
use crate::digest::LogDigest;
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::{ChannelId, IdRef, MessageId, ParticipantId};
use crate::stored::{StoredError, Table};
use crate::time::UnixMillis;
use crate::wire::{HistoryEntry, WireDialect};

/// One change of a channel's durable state.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Change {
    /// The channel.
    pub channel: ChannelId,
    /// The change.
    pub kind: ChangeKind,
}

impl Change {
    /// Bytes that it takes while it waits for the store, what it keeps alive included.
    pub(crate) fn kept_bytes(&self) -> usize {
        let kept = match &self.kind {
            ChangeKind::Appended { stored, .. } => stored.entry.size(),
            ChangeKind::IncomingSet(waiting) => waiting.entry.size(),
            ChangeKind::MissingSet(wanted) => wanted.entry.size(),
            ChangeKind::OutgoingSet(outgoing) => size_of_val(&*outgoing.witnesses),
            ChangeKind::Hint { hint, .. } => hint.len(),
            ChangeKind::IncomingRemoved(id)
            | ChangeKind::MissingRemoved(id)
            | ChangeKind::AnswerRemoved(id)
            | ChangeKind::AnswerSet(StoredAnswer { message_id: id, .. }) => id.len(),
            ChangeKind::Participant(id) => id.len(),
            ChangeKind::Created { .. }
            | ChangeKind::Clock(_)
            | ChangeKind::Recorded(_)
            | ChangeKind::Forgotten { .. }
            | ChangeKind::Unrecorded { .. }
            | ChangeKind::Floor(_)
            | ChangeKind::Evicted(_)
            | ChangeKind::OutgoingRemoved(_)
            | ChangeKind::BridgeSet(_)
            | ChangeKind::BridgeRemoved(_)
            | ChangeKind::ResolvedAdded(_)
            | ChangeKind::ResolvedForgotten { .. }
            | ChangeKind::Consumed(_)
            | ChangeKind::UnreportedUpTo(_)
            | ChangeKind::Erased => 0,
        };
        size_of::<Self>() + kept
    }
}

/// The kinds of change. Each says all there is to say, whatever was said before. Applying several
/// in order, all of them once more included, is the same as applying them once.
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
    /// A message joined the log.
    Appended {
        /// The message.
        stored: StoredEntry,
        /// The Lamport clock after it.
        lamport: u64,
        /// The digest of all deliveries up to it.
        digest: LogDigest,
    },
    /// A body left the log, and its hint with it.
    Evicted(DeliverySeq),
    /// An own message is unacknowledged, with this state.
    OutgoingSet(StoredOutgoing),
    /// An own message needs no acknowledgement any more.
    OutgoingRemoved(DeliverySeq),
    /// A logged message is to be sent on in the other dialect.
    BridgeSet(StoredBridge),
    /// A message was sent on, or need not be any more.
    BridgeRemoved(DeliverySeq),
    /// A message waits for dependencies.
    IncomingSet(StoredIncoming),
    /// A message waits no more.
    IncomingRemoved(MessageId),
    /// A dependency is wanted.
    MissingSet(StoredMissing),
    /// A dependency is not wanted any more.
    MissingRemoved(MessageId),
    /// A repair answer is due.
    AnswerSet(StoredAnswer),
    /// A repair answer was given, or is not needed any more.
    AnswerRemoved(MessageId),
    /// An id counts as met without being logged.
    ResolvedAdded(StoredResolved),
    /// The oldest of those ids are forgotten.
    ResolvedForgotten {
        /// All up to this number.
        up_to: u64,
    },
    /// The retrieval hint of a logged message was set.
    Hint {
        /// Number of its delivery.
        seq: DeliverySeq,
        /// The hint.
        hint: Bytes,
    },
    /// The application is done with deliveries up to here.
    Consumed(DeliverySeq),
    /// Deliveries of ids that were recorded up to this number, and whose bodies are gone, may never
    /// have been told to the application.
    UnreportedUpTo(u64),
    /// The state is that of this participant; an empty id: of an anonymous one.
    Participant(ParticipantId),
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
    pub entry: LogEntry,
    /// Whether a direct dependency was missing when it was delivered.
    pub gap: bool,
    /// Whether we published it.
    pub own: bool,
}

/// An unacknowledged own message.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredOutgoing {
    /// Number of its delivery to our own log.
    pub seq: DeliverySeq,
    /// Times it was resent.
    pub resends: u32,
    /// Keyed digests of the distinct senders whose filters held it, at most 64. If there is one,
    /// the message is possibly acknowledged.
    pub witnesses: SmallVec<[u64; 2]>,
    /// Natural logarithm of the chance that all of those filters were wrong: 0 or less.
    pub doubt_ln: f64,
    /// Whether it was resent as often as allowed: it is not resent any more, and an
    /// acknowledgement is still told as long as it is in the log.
    pub unconfirmed: bool,
    /// When it is resent next, where there is a wall clock. It is resent soon after a restart if
    /// that is not known.
    pub due: Option<UnixMillis>,
}

/// A logged message that is to be sent on in the dialect that it was not heard in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredBridge {
    /// Number of its delivery.
    pub seq: DeliverySeq,
    /// The dialect it was heard in.
    pub heard: WireDialect,
    /// When it is sent on, where there is a wall clock.
    pub due: Option<UnixMillis>,
}

/// A message that waits for dependencies.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredIncoming {
    /// The message.
    pub entry: LogEntry,
    /// The dialect it was heard in; `None`: both.
    pub heard: Option<WireDialect>,
}

/// A wanted dependency.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredMissing {
    /// Its id, sender and hint.
    pub entry: HistoryEntry,
    /// Times it was asked for, by us or by others.
    pub rounds: u32,
    /// When it is asked for next, where there is a wall clock.
    pub due: Option<UnixMillis>,
    /// Whether nothing waits for it.
    pub background: bool,
    /// Milliseconds awake that it was wanted without progress, as of this record: it is told at
    /// each request, and while none goes out after 5 s, and then less and less often, up to T_max.
    pub waited_ms: u64,
}

/// A pending repair answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredAnswer {
    /// The message asked for.
    pub message_id: MessageId,
    /// Whether it was asked for in LIP-109.
    pub lip109: bool,
    /// Whether it was asked for in the nim dialect.
    pub nim_sds: bool,
    /// When it is answered, where there is a wall clock.
    pub due: Option<UnixMillis>,
}

/// An id that counts as met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct StoredResolved {
    /// Its number among those of the channel, from 1 and ever higher.
    pub number: u64,
    /// Keyed digest of the id.
    pub digest: u128,
    /// Whether it was given up, so that what depends on it has a gap.
    pub lost: bool,
}

/// The state of one channel, as its changes add up.
///
/// [`Snapshot::apply`] is what the changes mean: a store that keeps its data otherwise must give
/// back the same state. [`stored`](crate::stored) is a format for that.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Key of the digests in `record` and `met`.
    pub record_key: [u64; 2],
    /// The participant whose state it is. Empty: an anonymous one, or a release that did not keep
    /// this.
    pub participant_id: ParticipantId,
    /// Lamport clock.
    pub lamport: u64,
    /// Bodies by number of delivery.
    pub log: BTreeMap<DeliverySeq, StoredEntry>,
    /// Deliveries so far.
    pub delivered: DeliverySeq,
    /// Deliveries the application is done with.
    pub consumed: DeliverySeq,
    /// Deliveries of ids up to this number in `record`, and whose bodies are gone, may never have
    /// been told to the application: it stopped before.
    pub unreported_up_to: Option<u64>,
    /// Digest of all deliveries, evicted ones included.
    pub digest: LogDigest,
    /// Content ids by number, in order of arrival.
    pub record: BTreeMap<u64, IdRecord>,
    /// Newest Lamport time whose id is forgotten.
    pub floor: Option<u64>,
    /// Ids met without being logged by number, oldest first.
    pub resolved: BTreeMap<u64, StoredResolved>,
    /// Unacknowledged own messages. The body of one may have been evicted, unless it is
    /// unconfirmed.
    pub outgoing: BTreeMap<DeliverySeq, StoredOutgoing>,
    /// Logged messages to be sent on in the other dialect.
    pub bridges: BTreeMap<DeliverySeq, StoredBridge>,
    /// Messages that wait for dependencies.
    pub incoming: BTreeMap<MessageId, StoredIncoming>,
    /// Missing dependencies.
    pub missing: BTreeMap<MessageId, StoredMissing>,
    /// Pending repair answers.
    pub answers: BTreeMap<MessageId, StoredAnswer>,
    /// Retrieval hints of logged messages.
    pub hints: BTreeMap<DeliverySeq, Bytes>,
}

impl Snapshot {
    /// Applies one change to the state of a channel, which is `None` as long as the channel was
    /// not created, and again when it was erased. Until then no other change has an effect.
    pub fn apply(state: &mut Option<Box<Self>>, change: &ChangeKind) {
        match (change, &mut *state) {
            (ChangeKind::Created { record_key }, _) => {
                *state = Some(Box::new(Self { record_key: *record_key, ..Self::default() }));
            }
            (ChangeKind::Erased, _) => *state = None,
            (change, Some(state)) => state.apply_to_created(change),
            (_, None) => {}
        }
    }

    fn apply_to_created(&mut self, change: &ChangeKind) {
        match change {
            // Known to `apply`.
            ChangeKind::Created { .. } | ChangeKind::Erased => {}
            ChangeKind::Clock(lamport) => self.lamport = *lamport,
            ChangeKind::Recorded(record) => {
                self.record.insert(record.number, *record);
            }
            ChangeKind::Forgotten { up_to } => forget(&mut self.record, *up_to),
            ChangeKind::Unrecorded { number } => {
                self.record.remove(number);
            }
            ChangeKind::Floor(lamport) => self.floor = Some(*lamport),
            ChangeKind::Appended { stored, lamport, digest } => {
                self.lamport = *lamport;
                self.delivered = stored.seq;
                self.digest = *digest;
                self.log.insert(stored.seq, stored.clone());
            }
            ChangeKind::Evicted(seq) => {
                self.log.remove(seq);
                self.hints.remove(seq);
            }
            ChangeKind::OutgoingSet(outgoing) => {
                self.outgoing.insert(outgoing.seq, outgoing.clone());
            }
            ChangeKind::OutgoingRemoved(seq) => {
                self.outgoing.remove(seq);
            }
            ChangeKind::BridgeSet(bridge) => {
                self.bridges.insert(bridge.seq, *bridge);
            }
            ChangeKind::BridgeRemoved(seq) => {
                self.bridges.remove(seq);
            }
            ChangeKind::IncomingSet(incoming) => {
                self.incoming.insert(incoming.entry.message_id().into(), incoming.clone());
            }
            ChangeKind::IncomingRemoved(message_id) => {
                self.incoming.remove(message_id);
            }
            ChangeKind::MissingSet(wanted) => {
                self.missing.insert(wanted.entry.message_id.clone(), wanted.clone());
            }
            ChangeKind::MissingRemoved(message_id) => {
                self.missing.remove(message_id);
            }
            ChangeKind::AnswerSet(answer) => {
                self.answers.insert(answer.message_id.clone(), answer.clone());
            }
            ChangeKind::AnswerRemoved(message_id) => {
                self.answers.remove(message_id);
            }
            ChangeKind::ResolvedAdded(met) => {
                self.resolved.insert(met.number, *met);
            }
            ChangeKind::ResolvedForgotten { up_to } => forget(&mut self.resolved, *up_to),
            ChangeKind::Hint { seq, hint } => {
                self.hints.insert(*seq, hint.clone());
            }
            ChangeKind::Consumed(up_to) => self.consumed = *up_to,
            ChangeKind::UnreportedUpTo(number) => self.unreported_up_to = Some(*number),
            ChangeKind::Participant(id) => self.participant_id.clone_from(id),
        }
    }

    /// Checks that a channel can be in this state.
    ///
    /// # Errors
    ///
    /// Its parts contradict each other, as those of a state do that somebody else has changed, or
    /// that was put together wrongly.
    pub fn check(&self) -> Result<(), StoredError> {
        let ensure = |holds: bool, table: Table, with: Table| {
            if holds { Ok(()) } else { Err(StoredError::Contradiction { table, with }) }
        };
        // Not collected: that would sort them first, and a sort is large where code space is short.
        let mut logged: BTreeSet<IdRef<'_>> = BTreeSet::new();
        logged.extend(self.log.values().map(|stored| stored.entry.message_id()));
        let last = |seq: Option<&DeliverySeq>| seq.is_none_or(|seq| *seq <= self.delivered);
        ensure(last(self.log.keys().next_back()), Table::Log, Table::Delivered)?;
        ensure(last(Some(&self.consumed)), Table::Consumed, Table::Delivered)?;
        ensure(last(self.outgoing.keys().next_back()), Table::Outgoing, Table::Delivered)?;
        let newest = self.log.values().map(|stored| stored.entry.lamport()).max();
        ensure(newest.is_none_or(|newest| newest <= self.lamport), Table::Log, Table::Clock)?;
        ensure(logged.len() == self.log.len(), Table::Log, Table::Log)?;
        let is_logged = |seq| self.log.contains_key(seq);
        ensure(self.hints.keys().all(is_logged), Table::Hints, Table::Log)?;
        ensure(self.bridges.keys().all(is_logged), Table::Bridges, Table::Log)?;
        let is_own = |outgoing: &StoredOutgoing| {
            self.log.get(&outgoing.seq).map_or(!outgoing.unconfirmed, |stored| stored.own)
        };
        ensure(self.outgoing.values().all(is_own), Table::Outgoing, Table::Log)?;
        let absent = |id: &MessageId| !logged.contains(&id.borrowed());
        ensure(self.incoming.keys().all(absent), Table::Incoming, Table::Log)?;
        ensure(self.missing.keys().all(absent), Table::Missing, Table::Log)?;
        let absent = |id| !self.incoming.contains_key(id);
        ensure(self.missing.keys().all(absent), Table::Missing, Table::Incoming)?;

        check_numbers(Table::Log, self.log.iter().map(|(seq, stored)| (seq.0, stored.seq.0)))?;
        check_numbers(Table::Outgoing, self.outgoing.iter().map(|(seq, own)| (seq.0, own.seq.0)))?;
        check_numbers(Table::Bridges, self.bridges.iter().map(|(seq, copy)| (seq.0, copy.seq.0)))?;
        check_numbers(Table::Ids, self.record.iter().map(|(number, id)| (*number, id.number)))?;
        check_numbers(
            Table::Resolved,
            self.resolved.iter().map(|(number, met)| (*number, met.number)),
        )?;
        ensure(self.delivered.0 < MAX_NUMBER, Table::Delivered, Table::Delivered)
    }
}

/// Numbers beyond this are nobody's: counting leaves 2^63 to go.
const MAX_NUMBER: u64 = 1 << 63;

/// Checks that numbers are in range, and those by which values are found those that they say.
fn check_numbers(
    table: Table,
    mut numbers: impl Iterator<Item = (u64, u64)>,
) -> Result<(), StoredError> {
    let well = numbers.all(|(key, number)| key == number && (1..MAX_NUMBER).contains(&key));
    if well { Ok(()) } else { Err(StoredError::Key { table }) }
}

fn forget<V>(records: &mut BTreeMap<u64, V>, up_to: u64) {
    while let Some(oldest) = records.first_entry().filter(|oldest| *oldest.key() <= up_to) {
        oldest.remove();
    }
}
