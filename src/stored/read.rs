//! Records as they are read: strictly, for nobody else writes them.

use alloc::boxed::Box;
use alloc::collections::btree_map::{BTreeMap, Entry as IdState};

use bytes::Bytes;

use super::error::StoredError;
use super::key::Table;
use super::record::{Record, RecordKey};
use super::row::Row;
use super::{VERSION, field};
use crate::digest::LogDigest;
use crate::entry::DeliverySeq;
use crate::id::{IdRef, ParticipantId};
use crate::snapshot::{
    IdRecord, Snapshot, StoredAnswer, StoredBridge, StoredEntry, StoredIncoming, StoredMissing,
    StoredOutgoing, StoredResolved,
};
use crate::wire::{HistoryEntry, HistoryEntryRef, WireDialect};

/// The state that the records of a channel, in any order, add up to. `None` if there are none.
///
/// # Errors
///
/// A record is malformed, or of a version or table that this release does not know, or the records
/// contradict each other. Never part of a state.
pub fn snapshot<'a>(
    records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Option<Box<Snapshot>>, StoredError> {
    let mut reader = Reader::default();
    let (mut any, mut first_error) = (false, None);
    for (key, value) in records {
        any = true;
        match reader.read(key, value) {
            // It explains all others.
            Err(error @ StoredError::Version { .. }) => return Err(error),
            Err(error) => first_error = first_error.or(Some(error)),
            Ok(()) => {}
        }
    }
    match first_error {
        Some(error) => Err(error),
        None if any => reader.finish().map(Some),
        None => Ok(None),
    }
}

/// A state in the making.
#[derive(Default)]
struct Reader {
    state: Box<Snapshot>,
    /// Tables of a single record that were seen, as bits.
    seen: u8,
}

impl Reader {
    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoredError> {
        let byte = key.first().copied();
        let table = byte.and_then(Table::of).ok_or(StoredError::UnknownTable { byte })?;
        let key = RecordKey { table, rest: &key[1..] };
        let mut fields = Record::new(table, value)?;
        self.read_fields(key, &mut fields)?;
        fields.end()
    }

    fn read_fields(&mut self, key: RecordKey<'_>, f: &mut Record<'_>) -> Result<(), StoredError> {
        if key.table.is_single() {
            self.once(&key)?;
        }
        let state = &mut *self.state;
        match key.table {
            Table::Channel => {
                let found = f.number(field::VERSION)?;
                if found != u64::from(VERSION) {
                    return Err(StoredError::Version { found });
                }
                let key: [u8; 16] = f.array(field::RECORD_KEY)?;
                let (first, second) = key.split_at(8);
                let half = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
                state.record_key = [half(first), half(second)];
                Ok(())
            }
            Table::Clock => f.number(field::ONLY).map(|lamport| state.lamport = lamport),
            Table::Delivered => {
                state.delivered = DeliverySeq(f.positive(field::DELIVERED_SEQ)?);
                state.digest = LogDigest::from_bytes(f.array(field::DELIVERED_DIGEST)?);
                Ok(())
            }
            Table::Consumed => f.positive(field::ONLY).map(|seq| state.consumed = DeliverySeq(seq)),
            Table::Floor => f.number(field::ONLY).map(|lamport| state.floor = Some(lamport)),
            Table::UnreportedUpTo => {
                f.number(field::ONLY).map(|number| state.unreported_up_to = Some(number))
            }
            Table::Participant => {
                f.some(field::ONLY).map(|id| state.participant_id = ParticipantId::from(id))
            }
            Table::Ids => {
                let number = key.number()?;
                let record = IdRecord {
                    number,
                    digest: u128::from_be_bytes(f.array(field::ID_DIGEST)?),
                    lamport: f.number(field::ID_LAMPORT)?,
                    lip109: f.probe(field::ID_LIP109)?,
                    nim_sds: f.probe(field::ID_NIM_SDS)?,
                };
                insert(key.table, &mut state.record, number, record)
            }
            Table::Resolved => {
                let number = key.number()?;
                let digest = u128::from_be_bytes(f.array(field::RESOLVED_DIGEST)?);
                let met = StoredResolved { number, digest, lost: f.flag(field::RESOLVED_LOST)? };
                insert(key.table, &mut state.resolved, number, met)
            }
            Table::Log => {
                let seq = DeliverySeq(key.number()?);
                let id = f.some(field::ENTRY_ID)?;
                let entry = f.entry(id)?;
                let (gap, own) = (f.flag(field::ENTRY_GAP)?, f.flag(field::ENTRY_OWN)?);
                let stored = StoredEntry { seq, entry, gap, own };
                insert(key.table, &mut state.log, seq, stored)
            }
            Table::Hints => {
                let seq = DeliverySeq(key.number()?);
                let hint = f.bytes(field::ONLY)?;
                let hint = Bytes::copy_from_slice(hint);
                insert(key.table, &mut state.hints, seq, hint)
            }
            Table::Outgoing => {
                let seq = DeliverySeq(key.number()?);
                let resends = f.small(field::OUTGOING_RESENDS)?;
                let (witnesses, doubt_ln) = f.witnesses()?;
                let unconfirmed = f.flag(field::OUTGOING_UNCONFIRMED)?;
                let due = f.time(field::OUTGOING_DUE)?;
                let outgoing =
                    StoredOutgoing { seq, resends, witnesses, doubt_ln, unconfirmed, due };
                insert(key.table, &mut state.outgoing, seq, outgoing)
            }
            Table::Bridges => {
                let seq = DeliverySeq(key.number()?);
                let heard = f.dialects(field::BRIDGE_HEARD)?;
                let heard = heard.ok_or_else(|| f.wrong(field::BRIDGE_HEARD))?;
                let bridge = StoredBridge { seq, heard, due: f.time(field::BRIDGE_DUE)? };
                insert(key.table, &mut state.bridges, seq, bridge)
            }
            Table::Incoming => {
                let id = key.id()?;
                let entry = f.entry(id.as_bytes())?;
                let heard = f.dialects(field::INCOMING_HEARD)?;
                insert(key.table, &mut state.incoming, id, StoredIncoming { entry, heard })
            }
            Table::Missing => {
                let id = key.id()?;
                let sender = f.unless_empty(field::MISSING_SENDER)?;
                let hint = f.optional(field::MISSING_HINT)?;
                let wanted = StoredMissing {
                    entry: HistoryEntry::from(HistoryEntryRef {
                        message_id: id.borrowed(),
                        retrieval_hint: hint,
                        sender_id: IdRef::new(sender),
                    }),
                    rounds: f.small(field::MISSING_ROUNDS)?,
                    due: f.time(field::MISSING_DUE)?,
                    background: f.flag(field::MISSING_BACKGROUND)?,
                    waited_ms: f.unless_zero(field::MISSING_WAITED)?,
                };
                insert(key.table, &mut state.missing, id, wanted)
            }
            Table::Answers => {
                let message_id = key.id()?;
                let dialects = f.dialects(field::ANSWER_DIALECTS)?;
                let answer = StoredAnswer {
                    message_id: message_id.clone(),
                    lip109: dialects != Some(WireDialect::NimSds),
                    nim_sds: dialects != Some(WireDialect::Lip109),
                    due: f.time(field::ANSWER_DUE)?,
                };
                insert(key.table, &mut state.answers, message_id, answer)
            }
        }
    }

    /// Takes note of the record of a table that has no more than one.
    fn once(&mut self, key: &RecordKey<'_>) -> Result<(), StoredError> {
        let table = key.table;
        if !key.rest.is_empty() {
            return Err(StoredError::Key { table });
        }
        let bit = 1 << table as u8;
        if self.seen & bit != 0 {
            return Err(StoredError::Repeated { table });
        }
        self.seen |= bit;
        Ok(())
    }

    fn has(&self, table: Table) -> bool {
        self.seen & 1 << table as u8 != 0
    }

    fn finish(self) -> Result<Box<Snapshot>, StoredError> {
        if !self.has(Table::Channel) {
            return Err(StoredError::NoChannel);
        }
        // A clock of 0 is written with deliveries of that time, and not before.
        if self.has(Table::Clock) && !Row::has_clock(&self.state) {
            return Err(StoredError::Field { table: Table::Clock, field: field::ONLY });
        }
        self.state.check()?;
        Ok(self.state)
    }
}

fn insert<K: Ord, V>(
    table: Table,
    records: &mut BTreeMap<K, V>,
    key: K,
    value: V,
) -> Result<(), StoredError> {
    match records.entry(key) {
        IdState::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
        IdState::Occupied(_) => Err(StoredError::Repeated { table }),
    }
}
