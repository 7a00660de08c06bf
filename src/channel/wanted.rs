//! The outgoing repair requests: dependencies that are not here.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Timer;
use super::incoming::Waiters;
use super::record::IdDigest;
use super::slots::{Slot, Slots};
use crate::time::Instant;
use crate::timer::{TimerKey, Timers};
use crate::wire::{HistoryEntry, HistoryEntryRef};

/// A dependency that is not here.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) entry: HistoryEntry,
    pub(super) digest: IdDigest,
    /// Who named it first, as a digest.
    pub(super) named_by: u64,
    /// Messages that wait for it.
    pub(super) waiters: Waiters,
    /// Times it was asked for, by us or by others.
    pub(super) rounds: u32,
    /// Of those, how many since the node last woke up.
    pub(super) rounds_awake: u32,
    /// Since when it is wanted without progress, in time awake: before it was first missed, if it was
    /// so before a restart.
    pub(super) since: Instant,
    /// The newest progress that `since` takes into account; at first, when it was missed. Time awake.
    pub(super) progress: Instant,
    /// When it was last asked for, by us or by others. Time awake.
    pub(super) asked: Option<Instant>,
    pub(super) request: Request,
    /// When to see whether it is to be given up, at the latest.
    pub(super) look_at: Instant,
    /// Runs out when something happens to it: its request becomes due, or it is given up.
    pub(super) timer: TimerKey,
    /// Whether it stays wanted although nothing waits for it.
    pub(super) background: bool,
    /// Whether the embedder was asked to fetch it.
    pub(super) retrieved: bool,
}

/// Where the request for a dependency stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// It becomes due then.
    Scheduled(Instant),
    /// It goes out with the next message; since when.
    Due(Instant),
    /// Repair is switched off.
    Off,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    wants: Slots<Want>,
    shares: Shares,
    /// Requests for the next message, earliest first.
    pub(super) due: BTreeSet<(Instant, Slot)>,
}

/// What each sender has named, so that one who names too much takes room from nobody but himself.
#[derive(Debug, Default)]
struct Shares {
    of: BTreeMap<u64, BTreeSet<Slot>>,
    /// Senders by how much they have named.
    by_size: BTreeSet<(usize, u64)>,
}

impl Shares {
    fn change(&mut self, sender: u64, change: impl FnOnce(&mut BTreeSet<Slot>)) {
        let share = self.of.entry(sender).or_default();
        let before = share.len();
        change(share);
        // In this order a set with one sender in it is never empty, which would free its memory.
        if share.is_empty() {
            self.of.remove(&sender);
        } else {
            self.by_size.insert((share.len(), sender));
        }
        self.by_size.remove(&(before, sender));
    }
}

impl Wanted {
    pub(super) fn insert(&mut self, want: Want) -> Slot {
        let sender = want.named_by;
        let slot = self.wants.insert(want);
        self.shares.change(sender, |share| {
            share.insert(slot);
        });
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Want> {
        let want = self.wants.remove(slot)?;
        self.shares.change(want.named_by, |share| {
            share.remove(&slot);
        });
        Some(want)
    }

    /// One of those named by the sender that has named most, if that is more than `sender` has.
    pub(super) fn of_who_named_more(&self, sender: u64) -> Option<Slot> {
        let own = self.shares.of.get(&sender).map_or(0, BTreeSet::len);
        let (size, most) = self.shares.by_size.last()?;
        let share = self.shares.of.get(most).filter(|_| *size > own + 1)?;
        share.last().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Want)> {
        self.wants.iter()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Want> {
        self.wants.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Want> {
        self.wants.get_mut(slot)
    }

    /// The next `limit` dependencies behind `passed`, in a circle, and the last of them.
    pub(super) fn after(
        &self,
        passed: Option<Slot>,
        limit: usize,
    ) -> (Vec<HistoryEntry>, Option<Slot>) {
        let is_before = |slot| passed.is_some_and(|passed| slot <= passed);
        let after = self.wants.iter().filter(|(slot, _)| !is_before(*slot));
        let before = self.wants.iter().filter(|(slot, _)| is_before(*slot));
        let next: Vec<_> = after.chain(before).take(limit).collect();
        let last = next.last().map(|(slot, _)| *slot);
        (next.into_iter().map(|(_, want)| want.entry.clone()).collect(), last)
    }

    /// Up to `limit` dependencies that the embedder was not asked to fetch, as if it were now.
    pub(super) fn take_unretrieved(&mut self, limit: usize) -> Vec<HistoryEntry> {
        let new = self.wants.iter_mut().filter(|want| !want.retrieved).take(limit);
        new.map(|want| {
            want.retrieved = true;
            want.entry.clone()
        })
        .collect()
    }

    /// Takes note of a hint or sender that was not known when a dependency was first missed.
    /// Returns whether there was one.
    pub(super) fn learn(&mut self, slot: Slot, named: HistoryEntryRef<'_>) -> bool {
        let Some(want) = self.wants.get_mut(slot) else { return false };
        let known = &want.entry;
        let learnt = (known.retrieval_hint.is_none() && named.retrieval_hint.is_some())
            || (known.sender_id.is_empty() && !named.sender_id.is_empty());
        if learnt {
            let known = known.borrowed();
            want.entry = HistoryEntry::from(HistoryEntryRef {
                message_id: known.message_id,
                retrieval_hint: known.retrieval_hint.or(named.retrieval_hint),
                sender_id: if known.sender_id.is_empty() {
                    named.sender_id
                } else {
                    known.sender_id
                },
            });
        }
        learnt
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes a request out of those that go out next.
    pub(super) fn withdraw(&mut self, slot: Slot) {
        let Some(want) = self.wants.get_mut(slot) else { return };
        if let Request::Due(at) = want.request {
            self.due.remove(&(at, slot));
        }
        want.request = Request::Off;
    }
}

impl Want {
    /// Times it was asked for since the node `woke`.
    pub(super) fn rounds_since(&self, woke: Instant) -> u32 {
        if self.asked.is_some_and(|asked| asked >= woke) { self.rounds_awake } else { 0 }
    }

    /// Takes note of when the chain that waits for it last made progress. Returns whether it is new.
    pub(super) fn take_progress(&mut self, progress: Instant) -> bool {
        let is_new = progress > self.progress;
        if is_new {
            (self.progress, self.since) = (progress, progress);
        }
        is_new
    }

    /// Sets the timer to what comes first.
    pub(super) fn set_timer(&mut self, timers: &mut Timers<Timer>, slot: Slot) {
        timers.cancel(self.timer);
        self.timer = match self.request {
            Request::Scheduled(at) if at < self.look_at => {
                timers.schedule(at, Timer::Request(slot))
            }
            Request::Scheduled(_) | Request::Due(_) | Request::Off => {
                timers.schedule(self.look_at, Timer::GiveUp(slot))
            }
        };
    }
}
