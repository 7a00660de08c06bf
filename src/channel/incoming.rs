//! The incoming buffer: messages that wait for dependencies, with an index from each missing id
//! to those that wait for it.
//!
//! The index lives where the missing id is looked up anyway: a wanted id keeps its waiters in its
//! [`MissingDependency`](super::wanted::MissingDependency), one that is itself waiting keeps them
//! here. Delivering a message therefore costs what it releases, however much else waits.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use core::mem;

use smallvec::SmallVec;

use super::log::Dialects;
use super::record::IdDigest;
use super::slots::{KEPT, Slot, Slots};
use crate::entry::LogEntry;
use crate::memory;
use crate::time::Instant;

/// Slots of waiting messages.
pub(super) type Waiters = SmallVec<[Slot; 2]>;

/// Waiters take memory for up to this many times their number.
pub(super) const WASTE: usize = 4;

/// Digests of the entries of a causal history, in its order.
pub(super) type Deps = SmallVec<[IdDigest; 2]>;

/// Keeps some of the waiters, and no memory for many more than those.
pub(super) fn retain_waiters(waiters: &mut Waiters, mut keep: impl FnMut(Slot) -> bool) {
    waiters.retain(|waiter| keep(*waiter));
    give_back(waiters);
}

/// Takes one of the waiters out.
pub(super) fn remove_waiter(waiters: &mut Waiters, slot: Slot) {
    // Whole chunks are compared without a branch in between, several waiters an instruction, and
    // the last one takes the place: in a full buffer thousands may wait for one message.
    const CHUNK: usize = 64;
    let has_slot =
        |chunk: &[Slot]| chunk.iter().fold(false, |found, other| found | (*other == slot));
    let Some(chunk) = waiters.chunks(CHUNK).position(has_slot) else { return };
    let first = chunk * CHUNK;
    if let Some(at) = waiters[first..].iter().position(|waiter| *waiter == slot) {
        waiters.swap_remove(first + at);
        give_back(waiters);
    }
}

fn give_back(waiters: &mut Waiters) {
    if waiters.spilled() && waiters.len() < waiters.capacity() / WASTE {
        waiters.shrink_to_fit();
    }
}

/// A message that is here but not yet in the log.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) entry: LogEntry,
    pub(super) digest: IdDigest,
    /// Digests of what it depends on.
    pub(super) deps: Deps,
    pub(super) heard: Dialects,
    /// Whether a direct dependency will be missing from the log when it is delivered.
    pub(super) gap: bool,
    /// Whether it can be passed on, and so be named.
    pub(super) nameable: bool,
    /// The messages that wait for it.
    pub(super) waiters: Waiters,
}

impl Arrived {
    /// Bytes it takes, lists of what it waits for included.
    fn size(&self) -> usize {
        self.entry.size() + memory::of_dependencies(self.deps.len())
    }
}

/// A message that waits for dependencies.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) arrived: Arrived,
    /// Dependencies it still waits for.
    pub(super) missing: usize,
    /// When one of them last arrived, in time awake.
    pub(super) progress: Instant,
    /// Whether it was wanted when it came.
    pub(super) asked: bool,
}

#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Boxed, so that neither a growing buffer nor a release moves more than a pointer.
    waiting: Slots<Box<Waiting>>,
    /// Lamport times, highest first. What is delivered stays in it until it is the highest, or
    /// until there is more of that than of what waits: the order is needed only when there is no
    /// room, and must cost nothing as long as there is.
    order: BinaryHeap<(u64, Slot)>,
    bytes: usize,
}

impl Incoming {
    pub(super) fn insert(&mut self, waiting: Box<Waiting>) -> Slot {
        let lamport = waiting.arrived.entry.lamport();
        self.bytes += waiting.arrived.size();
        let slot = self.waiting.insert(waiting);
        if self.order.len() > 2 * self.waiting.len() + 64 {
            let mut order = mem::take(&mut self.order).into_vec();
            order.retain(|(lamport, slot)| is_waiting(&self.waiting, *lamport, *slot));
            // A reused slot with the same Lamport time would appear twice.
            order.sort_unstable();
            order.dedup();
            self.order = order.into();
        }
        self.order.push((lamport, slot));
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Waiting>> {
        let waiting = self.waiting.remove(slot)?;
        self.bytes -= waiting.arrived.size();
        if self.waiting.is_empty() {
            self.order.clear();
            self.order.shrink_to(KEPT);
        }
        Some(waiting)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Waiting> {
        self.waiting.get(slot).map(|waiting| &**waiting)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Waiting> {
        self.waiting.get_mut(slot).map(|waiting| &mut **waiting)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The message furthest ahead, if there are more than the bounds allow. It is the one that
    /// can be spared: what has a lower Lamport time may be what others wait for.
    pub(super) fn excess(&mut self, max_messages: usize, max_bytes: usize) -> Option<Slot> {
        if self.len() <= max_messages && self.bytes <= max_bytes {
            return None;
        }
        loop {
            let (lamport, slot) = self.order.pop()?;
            if is_waiting(&self.waiting, lamport, slot) {
                return Some(slot);
            }
        }
    }

    /// One of the dependencies of `slot` is here. Returns whether it was the last.
    pub(super) fn satisfy(&mut self, slot: Slot, gap: bool, now: Instant) -> bool {
        let Some(waiting) = self.waiting.get_mut(slot) else { return false };
        waiting.missing = waiting.missing.saturating_sub(1);
        waiting.arrived.gap |= gap;
        waiting.progress = now;
        waiting.missing == 0
    }
}

fn is_waiting(waiting: &Slots<Box<Waiting>>, lamport: u64, slot: Slot) -> bool {
    waiting.get(slot).is_some_and(|waiting| waiting.arrived.entry.lamport() == lamport)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(lamport: u64) -> Box<Waiting> {
        let arrived = Arrived {
            entry: LogEntry::new("m", "bob", lamport, [], "x"),
            digest: 0,
            deps: Deps::new(),
            heard: Dialects::BOTH,
            gap: false,
            nameable: true,
            waiters: Waiters::new(),
        };
        Box::new(Waiting { arrived, missing: 1, progress: Instant::ZERO, asked: false })
    }

    #[test]
    fn what_was_delivered_leaves_the_order_in_time_and_not_at_every_turn() {
        let mut incoming = Incoming::default();
        for lamport in 0..10 {
            incoming.insert(waiting(lamport));
        }
        let (mut longest, mut shrunk) = (0, 0);
        for lamport in 10..1_010 {
            let slot = incoming.insert(waiting(lamport));
            let before = incoming.order.len();
            assert!(incoming.remove(slot).is_some());
            longest = longest.max(before);
            shrunk += usize::from(before < 30);
        }
        // Of 11 that wait: room for twice as many, 64 and the newest.
        assert_eq!(longest, 2 * 11 + 64 + 1);
        assert!(shrunk < 500, "{shrunk}");
    }

    #[test]
    fn one_time_and_slot_used_over_and_over_do_not_fill_the_order() {
        let mut incoming = Incoming::default();
        incoming.insert(waiting(1));
        for _ in 0..1_000 {
            let slot = incoming.insert(waiting(9));
            assert!(incoming.remove(slot).is_some());
        }
        // Of two that wait: room for twice as many, 64 and the newest.
        assert!(incoming.order.len() <= 2 * 2 + 64 + 1, "{}", incoming.order.len());
    }

    #[test]
    fn the_message_furthest_ahead_is_spared_first() {
        let mut incoming = Incoming::default();
        let slots = [3, 9, 5].map(|lamport| incoming.insert(waiting(lamport)));
        let size = waiting(0).arrived.entry.size();
        assert_eq!(incoming.excess(3, 3 * size), None);
        assert_eq!(incoming.excess(2, 3 * size), Some(slots[1]));
        assert!(incoming.remove(slots[1]).is_some());
        assert_eq!(incoming.excess(2, 2 * size), None);
        assert_eq!(incoming.excess(2, 2 * size - 1), Some(slots[2]));
    }
}
