//! The store of one member: records, and writes that were not answered yet.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::value::Keep;
use crate::effect::PersistId;
use crate::entry::DeliverySeq;
use crate::error::StoreError;
use crate::snapshot::{Change, ChangeKind, Snapshot};
use crate::stored::{self, Key, Op};

#[derive(Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<Key, Bytes>,
    /// Writes in order.
    queue: VecDeque<(PersistId, Arc<[Change]>)>,
    /// Times a failing spell was begun and not ended.
    pub(super) failing: u32,
    /// Time it takes to answer, if not as planned.
    pub(super) slow: Option<u64>,
    /// The state that was reported as persisted.
    pub(super) safe: Safe,
}

/// The state that must be in the store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Safe {
    pub(super) lamport: u64,
    pub(super) delivered: DeliverySeq,
}

impl Store {
    pub(super) fn write(&mut self, id: PersistId, changes: Arc<[Change]>) {
        self.queue.push_back((id, changes));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Carries out the oldest write. A store that fails says so of one write, drops the others and
    /// may have written that one.
    pub(super) fn answer(&mut self, written: bool) -> Option<(PersistId, Result<(), StoreError>)> {
        let (id, changes) = self.queue.pop_front()?;
        if self.failing > 0 {
            self.queue.clear();
            if written {
                self.carry_out(&changes);
            }
            return Some((id, Err(StoreError::Unavailable)));
        }
        self.carry_out(&changes);
        for change in &*changes {
            self.safe.note(&change.kind);
        }
        Some((id, Ok(())))
    }

    /// Reduces the store to the part that a crash leaves.
    pub(super) fn crash(&mut self, keep: Keep) {
        let kept = match keep {
            Keep::All => self.queue.len(),
            Keep::Half => self.queue.len().div_ceil(2),
            Keep::Answered => 0,
            Keep::Nothing => {
                *self = Self { failing: self.failing, slow: self.slow, ..Self::default() };
                return;
            }
        };
        let written: VecDeque<_> = self.queue.drain(..).take(kept).collect();
        written.iter().for_each(|(_, changes)| self.carry_out(changes));
    }

    /// The state that its records tell.
    pub(super) fn load(&self) -> Result<Option<Box<Snapshot>>, stored::StoredError> {
        stored::snapshot(self.records.iter().map(|(key, value)| (&key[..], &value[..])))
    }

    fn carry_out(&mut self, changes: &[Change]) {
        for write in stored::writes(changes) {
            match write.op {
                Op::Put { key, value } => {
                    self.records.insert(key, value);
                }
                Op::Remove { key } => {
                    self.records.remove(&key);
                }
                Op::RemoveRange { first, last } => {
                    let gone = self.records.range(first..=last).map(|(key, _)| key.clone());
                    for key in gone.collect::<Vec<_>>() {
                        self.records.remove(&key);
                    }
                }
                Op::Clear => self.records.clear(),
            }
        }
    }
}

impl Safe {
    fn note(&mut self, change: &ChangeKind) {
        match change {
            ChangeKind::Clock(lamport) => self.lamport = self.lamport.max(*lamport),
            ChangeKind::Appended { stored, lamport, .. } => {
                self.lamport = self.lamport.max(*lamport);
                self.delivered = self.delivered.max(stored.seq);
            }
            _ => {}
        }
    }
}
