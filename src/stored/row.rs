//! Records as they are written.

use bytes::{Bytes, BytesMut};

use super::key::{Key, Table};
use super::{VERSION, field};
use crate::bloom::Probe;
use crate::digest::LogDigest;
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::ParticipantId;
use crate::snapshot::{
    IdRecord, Snapshot, StoredAnswer, StoredBridge, StoredEntry, StoredIncoming, StoredMissing,
    StoredOutgoing, StoredResolved,
};
use crate::time::UnixMillis;
use crate::wire::{Encode, Entry, Sink, WireDialect};

/// One record: its key, and its value as an encoding.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Channel([u64; 2]),
    Clock(u64),
    Delivered(DeliverySeq, LogDigest),
    Consumed(DeliverySeq),
    Floor(u64),
    UnreportedUpTo(u64),
    Participant(&'a ParticipantId),
    Id(&'a IdRecord),
    Resolved(&'a StoredResolved),
    Logged(&'a StoredEntry),
    Hint(DeliverySeq, &'a Bytes),
    Outgoing(&'a StoredOutgoing),
    Bridge(&'a StoredBridge),
    Incoming(&'a StoredIncoming),
    Missing(&'a StoredMissing),
    Answer(&'a StoredAnswer),
}

impl<'a> Row<'a> {
    /// The records of a channel in this state, ordered by key.
    pub(super) fn all(snapshot: &'a Snapshot) -> impl Iterator<Item = Self> {
        let Snapshot { lamport, delivered, consumed, .. } = *snapshot;
        let has_clock = Self::has_clock(snapshot);
        let single = [
            Some(Self::Channel(snapshot.record_key)),
            has_clock.then_some(Self::Clock(lamport)),
            (delivered.0 > 0).then_some(Self::Delivered(delivered, snapshot.digest)),
            (consumed.0 > 0).then_some(Self::Consumed(consumed)),
            snapshot.floor.map(Self::Floor),
            snapshot.unreported_up_to.map(Self::UnreportedUpTo),
            (!snapshot.participant_id.is_empty())
                .then_some(Self::Participant(&snapshot.participant_id)),
        ];
        single
            .into_iter()
            .flatten()
            .chain(snapshot.record.values().map(Self::Id))
            .chain(snapshot.resolved.values().map(Self::Resolved))
            .chain(snapshot.log.values().map(Self::Logged))
            .chain(snapshot.hints.iter().map(|(seq, hint)| Self::Hint(*seq, hint)))
            .chain(snapshot.outgoing.values().map(Self::Outgoing))
            .chain(snapshot.bridges.values().map(Self::Bridge))
            .chain(snapshot.incoming.values().map(Self::Incoming))
            .chain(snapshot.missing.values().map(Self::Missing))
            .chain(snapshot.answers.values().map(Self::Answer))
    }

    /// Whether there is a record of the clock: each delivery puts one, even of time 0.
    pub(super) const fn has_clock(snapshot: &Snapshot) -> bool {
        snapshot.lamport > 0 || snapshot.delivered.0 > 0
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Self::Channel(_) => Key::only(Table::Channel),
            Self::Clock(_) => Key::only(Table::Clock),
            Self::Delivered(..) => Key::only(Table::Delivered),
            Self::Consumed(_) => Key::only(Table::Consumed),
            Self::Floor(_) => Key::only(Table::Floor),
            Self::UnreportedUpTo(_) => Key::only(Table::UnreportedUpTo),
            Self::Participant(_) => Key::only(Table::Participant),
            Self::Id(record) => Key::number(Table::Ids, record.number),
            Self::Resolved(resolved) => Key::number(Table::Resolved, resolved.number),
            Self::Logged(stored) => Key::number(Table::Log, stored.seq.0),
            Self::Hint(seq, _) => Key::number(Table::Hints, seq.0),
            Self::Outgoing(outgoing) => Key::number(Table::Outgoing, outgoing.seq.0),
            Self::Bridge(bridge) => Key::number(Table::Bridges, bridge.seq.0),
            Self::Incoming(incoming) => {
                Key::id(Table::Incoming, incoming.entry.message_id().as_bytes())
            }
            Self::Missing(missing) => Key::id(Table::Missing, missing.entry.message_id.as_bytes()),
            Self::Answer(answer) => Key::id(Table::Answers, answer.message_id.as_bytes()),
        }
    }

    pub(super) fn value(&self) -> Bytes {
        // An allocation for each: a store in memory may keep some of them for long.
        let mut value = BytesMut::new();
        self.append_to(&mut value);
        value.freeze()
    }
}

impl Encode for Row<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        match *self {
            Self::Channel([first, second]) => {
                sink.number(field::VERSION, VERSION.into());
                let key = u128::from(first) << 64 | u128::from(second);
                sink.bytes(field::RECORD_KEY, &key.to_be_bytes());
            }
            Self::Clock(number) | Self::Floor(number) | Self::UnreportedUpTo(number) => {
                sink.number(field::ONLY, number);
            }
            Self::Consumed(seq) => sink.number(field::ONLY, seq.0),
            Self::Hint(_, hint) => sink.bytes(field::ONLY, hint),
            Self::Participant(id) => sink.bytes(field::ONLY, id.as_bytes()),
            Self::Delivered(seq, digest) => {
                sink.number(field::DELIVERED_SEQ, seq.0);
                sink.bytes(field::DELIVERED_DIGEST, &digest.to_bytes());
            }
            Self::Id(record) => {
                sink.bytes(field::ID_DIGEST, &record.digest.to_be_bytes());
                sink.number(field::ID_LAMPORT, record.lamport);
                write_probe(sink, field::ID_LIP109, record.lip109);
                write_probe(sink, field::ID_NIM_SDS, record.nim_sds);
            }
            Self::Resolved(resolved) => {
                sink.bytes(field::RESOLVED_DIGEST, &resolved.digest.to_be_bytes());
                write_flag(sink, field::RESOLVED_LOST, resolved.lost);
            }
            Self::Logged(stored) => {
                sink.bytes(field::ENTRY_ID, stored.entry.message_id().as_bytes());
                write_entry(sink, &stored.entry);
                write_flag(sink, field::ENTRY_GAP, stored.gap);
                write_flag(sink, field::ENTRY_OWN, stored.own);
            }
            Self::Outgoing(outgoing) => {
                sink.number(field::OUTGOING_RESENDS, outgoing.resends.into());
                for witness in &outgoing.witnesses {
                    sink.number(field::OUTGOING_WITNESS, *witness);
                }
                if !outgoing.witnesses.is_empty() {
                    sink.number(field::OUTGOING_DOUBT, outgoing.doubt_ln.to_bits());
                }
                write_flag(sink, field::OUTGOING_UNCONFIRMED, outgoing.unconfirmed);
                write_time(sink, field::OUTGOING_DUE, outgoing.due);
            }
            Self::Bridge(bridge) => {
                sink.number(field::BRIDGE_HEARD, bit(bridge.heard));
                write_time(sink, field::BRIDGE_DUE, bridge.due);
            }
            Self::Incoming(incoming) => {
                write_entry(sink, &incoming.entry);
                let both = field::LIP109 | field::NIM_SDS;
                sink.number(field::INCOMING_HEARD, incoming.heard.map_or(both, bit));
            }
            Self::Missing(missing) => {
                write_some(sink, field::MISSING_SENDER, missing.entry.sender_id.as_bytes());
                if let Some(hint) = &missing.entry.retrieval_hint {
                    sink.bytes(field::MISSING_HINT, hint);
                }
                sink.number(field::MISSING_ROUNDS, missing.rounds.into());
                write_time(sink, field::MISSING_DUE, missing.due);
                write_flag(sink, field::MISSING_BACKGROUND, missing.background);
                if missing.waited_ms > 0 {
                    sink.number(field::MISSING_WAITED, missing.waited_ms);
                }
            }
            Self::Answer(answer) => {
                let lip109 = if answer.lip109 { field::LIP109 } else { 0 };
                let nim_sds = if answer.nim_sds { field::NIM_SDS } else { 0 };
                sink.number(field::ANSWER_DIALECTS, lip109 | nim_sds);
                write_time(sink, field::ANSWER_DUE, answer.due);
            }
        }
    }
}

const fn bit(dialect: WireDialect) -> u64 {
    match dialect {
        WireDialect::Lip109 => field::LIP109,
        WireDialect::NimSds => field::NIM_SDS,
    }
}

/// Writes the fields that the log and the incoming buffer share.
fn write_entry(sink: &mut impl Sink, entry: &LogEntry) {
    write_some(sink, field::ENTRY_SENDER, entry.sender_id().as_bytes());
    sink.number(field::ENTRY_LAMPORT, entry.lamport());
    for named in entry.causal_history() {
        // The dialect whose entries can say that a hint is present but empty.
        sink.nested(field::ENTRY_HISTORY, &Entry(named, WireDialect::Lip109));
    }
    sink.bytes(field::ENTRY_CONTENT, entry.content());
}

fn write_some(sink: &mut impl Sink, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        sink.bytes(field, bytes);
    }
}

fn write_flag(sink: &mut impl Sink, field: u32, set: bool) {
    if set {
        sink.number(field, 1);
    }
}

fn write_time(sink: &mut impl Sink, field: u32, time: Option<UnixMillis>) {
    if let Some(time) = time {
        sink.number(field, time.0);
    }
}

fn write_probe(sink: &mut impl Sink, field: u32, probe: Option<Probe>) {
    if let Some(probe) = probe {
        sink.number(field, probe.a);
        sink.number(field + 1, probe.b);
    }
}
