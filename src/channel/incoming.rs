//! The incoming buffer: messages that wait for dependencies, with an index from each missing id
//! to those that wait for it.
//!
//! The index lives where the missing id is looked up anyway: a wanted id keeps its waiters in its
//! [`Want`](super::repair::Want), one that is itself waiting keeps them here. Delivering a message
//! therefore costs what it releases, however much else waits.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use smallvec::SmallVec;

use super::log::{Dialects, LogKey};
use super::record::IdDigest;
use super::slots::{Slot, Slots};
use crate::entry::LogEntry;
use crate::time::Instant;

/// Slots of waiting messages.
pub(super) type Waiters = SmallVec<[Slot; 2]>;

/// A message that is here but not yet in the log.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) entry: Arc<LogEntry>,
    pub(super) digest: IdDigest,
    /// Digests of what it depends on.
    pub(super) deps: SmallVec<[IdDigest; 4]>,
    /// Bytes of the allocations it keeps alive.
    pub(super) size: usize,
    pub(super) heard: Dialects,
    /// Whether a direct dependency will be missing from the log when it is delivered.
    pub(super) gap: bool,
    /// What waits for it.
    pub(super) waiters: Waiters,
}

/// A message that waits for dependencies.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) arrived: Arrived,
    /// Dependencies it still waits for.
    pub(super) missing: usize,
    /// When one of them last arrived; at first, when the message itself did.
    pub(super) progress: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Incoming {
    waiting: Slots<Waiting>,
    order: BTreeMap<LogKey, Slot>,
    bytes: usize,
}

impl Incoming {
    pub(super) fn insert(&mut self, waiting: Waiting) -> Slot {
        let key = LogKey::of(&waiting.arrived.entry);
        self.bytes += waiting.arrived.size;
        let slot = self.waiting.insert(waiting);
        self.order.insert(key, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Waiting> {
        let waiting = self.waiting.remove(slot)?;
        self.order.remove(&LogKey::of(&waiting.arrived.entry));
        self.bytes -= waiting.arrived.size;
        Some(waiting)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Waiting> {
        self.waiting.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Waiting> {
        self.waiting.get_mut(slot)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The message furthest ahead, if there are more than the bounds allow. It is the one that
    /// can be spared: what has a lower Lamport time may be what others wait for.
    pub(super) fn excess(&self, max_messages: usize, max_bytes: usize) -> Option<Slot> {
        if self.len() <= max_messages && self.bytes <= max_bytes {
            return None;
        }
        self.order.last_key_value().map(|(_, slot)| *slot)
    }

    /// One of the dependencies of `slot` is here. Returns the message if it was the last.
    pub(super) fn satisfy(&mut self, slot: Slot, gap: bool, now: Instant) -> Option<Arrived> {
        let waiting = self.waiting.get_mut(slot)?;
        waiting.missing = waiting.missing.saturating_sub(1);
        waiting.arrived.gap |= gap;
        waiting.progress = now;
        if waiting.missing > 0 {
            return None;
        }
        self.remove(slot).map(|waiting| waiting.arrived)
    }
}
