//! From changes to what is done to records, and what of it later changes make void.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use smallvec::{SmallVec, smallvec};

use super::key::{Key, Table};
use super::row::Row;
use super::{Op, Write};
use crate::id::ChannelId;
use crate::snapshot::{Change, ChangeKind, Snapshot};

/// An operation on one record, or on many.
enum Step<'a> {
    Put(Row<'a>),
    Remove(Key),
    /// Removes the records of a table up to this number.
    RemoveUpTo(Table, u64),
    Clear,
}

type Steps<'a> = SmallVec<[Step<'a>; 3]>;

/// Changes as writes, in order, of which none is made void by a later one: of several puts and
/// removals of one key only the last is left, and what is cleared is not written before.
///
/// Applied any number of times, as when a write is retried, they give the same records.
/// A removal is written even if what it removes was first put by the same `changes`: a write that
/// failed may have reached the store nevertheless, and is handed out again together with later
/// changes.
#[must_use]
pub fn writes(changes: &[Change]) -> Vec<Write> {
    let mut later = LaterSteps::default();
    let mut writes = Vec::with_capacity(changes.len());
    for change in changes.iter().rev() {
        let later = later.of(&change.channel);
        for step in steps(&change.kind).into_iter().rev() {
            if later.keep(&step) {
                writes.push(Write { channel: change.channel.clone(), op: step.into_op() });
            }
        }
    }
    writes.reverse();
    writes
}

/// Returns the writes that replace the records of `channel` by those of `snapshot`, for a state
/// that was imported and must be in the store before the channel is opened.
#[must_use]
pub fn import(channel: &ChannelId, snapshot: &Snapshot) -> Vec<Write> {
    let steps = [Step::Clear].into_iter().chain(Row::all(snapshot).map(Step::Put));
    steps.map(|step| Write { channel: channel.clone(), op: step.into_op() }).collect()
}

/// Drops the changes that later ones make void. The newest always stays.
pub(crate) fn coalesce(mut changes: Vec<Change>) -> Vec<Change> {
    let mut later = LaterSteps::default();
    let mut keep: Vec<bool> = Vec::with_capacity(changes.len());
    for change in changes.iter().rev() {
        let later = later.of(&change.channel);
        // Each step counts, whether or not another one decides already.
        let kept = steps(&change.kind).iter().rev().filter(|step| later.keep(step)).count();
        keep.push(kept > 0);
    }
    let mut keep = keep.into_iter().rev();
    changes.retain(|_| keep.next() == Some(true));
    changes
}

fn steps(kind: &ChangeKind) -> Steps<'_> {
    match kind {
        ChangeKind::Created { record_key } => {
            smallvec![Step::Clear, Step::Put(Row::Channel(*record_key))]
        }
        ChangeKind::Clock(lamport) => put(Row::Clock(*lamport)),
        ChangeKind::Recorded(record) => put(Row::Id(record)),
        ChangeKind::Forgotten { up_to } => smallvec![Step::RemoveUpTo(Table::Ids, *up_to)],
        ChangeKind::Unrecorded { number } => remove(Key::number(Table::Ids, *number)),
        ChangeKind::Floor(lamport) => put(Row::Floor(*lamport)),
        ChangeKind::Appended { stored, lamport, digest } => smallvec![
            Step::Put(Row::Logged(stored)),
            Step::Put(Row::Clock(*lamport)),
            Step::Put(Row::Delivered(stored.seq, *digest)),
        ],
        ChangeKind::Evicted(seq) => smallvec![
            Step::Remove(Key::number(Table::Log, seq.0)),
            Step::Remove(Key::number(Table::Hints, seq.0)),
        ],
        ChangeKind::OutgoingSet(outgoing) => put(Row::Outgoing(outgoing)),
        ChangeKind::OutgoingRemoved(seq) => remove(Key::number(Table::Outgoing, seq.0)),
        ChangeKind::BridgeSet(bridge) => put(Row::Bridge(bridge)),
        ChangeKind::BridgeRemoved(seq) => remove(Key::number(Table::Bridges, seq.0)),
        ChangeKind::IncomingSet(incoming) => put(Row::Incoming(incoming)),
        ChangeKind::IncomingRemoved(id) => remove(Key::id(Table::Incoming, id.as_bytes())),
        ChangeKind::MissingSet(missing) => put(Row::Missing(missing)),
        ChangeKind::MissingRemoved(id) => remove(Key::id(Table::Missing, id.as_bytes())),
        ChangeKind::AnswerSet(answer) => put(Row::Answer(answer)),
        ChangeKind::AnswerRemoved(id) => remove(Key::id(Table::Answers, id.as_bytes())),
        ChangeKind::ResolvedAdded(resolved) => put(Row::Resolved(resolved)),
        ChangeKind::ResolvedForgotten { up_to } => {
            smallvec![Step::RemoveUpTo(Table::Resolved, *up_to)]
        }
        ChangeKind::Hint { seq, hint } => put(Row::Hint(*seq, hint)),
        ChangeKind::Consumed(up_to) => put(Row::Consumed(*up_to)),
        ChangeKind::UnreportedUpTo(number) => put(Row::UnreportedUpTo(*number)),
        ChangeKind::Participant(id) if id.is_empty() => remove(Key::only(Table::Participant)),
        ChangeKind::Participant(id) => put(Row::Participant(id)),
        ChangeKind::Erased => smallvec![Step::Clear],
    }
}

fn put(row: Row<'_>) -> Steps<'_> {
    smallvec![Step::Put(row)]
}

fn remove<'a>(key: Key) -> Steps<'a> {
    smallvec![Step::Remove(key)]
}

impl Step<'_> {
    fn into_op(self) -> Op {
        match self {
            Self::Put(row) => Op::Put { key: row.key(), value: row.value() },
            Self::Remove(key) => Op::Remove { key },
            Self::RemoveUpTo(table, number) => {
                Op::RemoveRange { first: Key::number(table, 0), last: Key::number(table, number) }
            }
            Self::Clear => Op::Clear,
        }
    }
}

/// Keys seen on the way from the newest step to the oldest.
#[derive(Default)]
struct LaterSteps<'a>(BTreeMap<&'a ChannelId, Later>);

#[derive(Default)]
struct Later {
    /// Keys put or removed.
    keys: BTreeSet<Key>,
    /// Last keys of the ranges removed.
    ranges: SmallVec<[Key; 2]>,
    cleared: bool,
}

impl<'a> LaterSteps<'a> {
    fn of(&mut self, channel: &'a ChannelId) -> &mut Later {
        self.0.entry(channel).or_default()
    }
}

impl Later {
    /// Takes note of a step, and says whether anything is left of it by those that were seen.
    fn keep(&mut self, step: &Step<'_>) -> bool {
        if self.cleared {
            return false;
        }
        match step {
            Step::Put(row) => self.keep_key(row.key()),
            Step::Remove(key) => self.keep_key(key.clone()),
            Step::RemoveUpTo(table, number) => {
                let last = Key::number(*table, *number);
                let kept = !self.is_removed(&last);
                if kept {
                    self.ranges.push(last);
                }
                kept
            }
            Step::Clear => {
                self.cleared = true;
                true
            }
        }
    }

    fn keep_key(&mut self, key: Key) -> bool {
        !self.is_removed(&key) && self.keys.insert(key)
    }

    fn is_removed(&self, key: &Key) -> bool {
        self.ranges.iter().any(|last| last[0] == key[0] && key <= last)
    }
}
