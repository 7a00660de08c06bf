//! The set of missing dependencies, with their repair requests.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Timer;
use super::incoming::Waiters;
use super::record::IdDigest;
use super::slots::{Slot, Slots};
use crate::time::Instant;
use crate::timer::{TimerKey, Timers};
use crate::wire::{HistoryEntry, HistoryEntryRef};

/// A missing dependency.
#[derive(Debug)]
pub(super) struct MissingDependency {
    pub(super) entry: HistoryEntry,
    pub(super) digest: IdDigest,
    /// Digest of the first sender that referenced it.
    pub(super) named_by: u64,
    /// Messages that wait for it.
    pub(super) waiters: Waiters,
    /// Number of requests for it, by this node or others.
    pub(super) rounds: u32,
    /// Number of those since the node last woke up.
    pub(super) rounds_awake: u32,
    /// Time awake since which it is missing without progress. It precedes the first reference after
    /// a restart.
    pub(super) since: Instant,
    /// The newest progress that `since` takes into account; at first, when it was missed. Time
    /// awake.
    pub(super) progress: Instant,
    /// Time awake of the last request for it, by this node or others.
    pub(super) asked: Option<Instant>,
    pub(super) request: Request,
    /// Latest time of the next check whether it is given up.
    pub(super) look_at: Instant,
    /// Fires when its request becomes due, or it is given up.
    pub(super) timer: TimerKey,
    /// Whether it stays missing although no message waits for it.
    pub(super) background: bool,
    /// Whether the embedder was asked to retrieve it.
    pub(super) retrieved: bool,
}

/// State of the repair request for a dependency.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// It becomes due then.
    Scheduled(Instant),
    /// It goes out with the next message. Holds the time at which it became due.
    Due(Instant),
    /// Repair is switched off.
    Off,
}

/// The missing dependencies of a channel.
#[derive(Debug, Default)]
pub(super) struct MissingDependencies {
    entries: Slots<MissingDependency>,
    shares: Shares,
    /// Requests for the next message, earliest first.
    pub(super) due: BTreeSet<(Instant, Slot)>,
}

/// The missing dependencies of each sender, so that one that references too many takes only its own
/// room.
#[derive(Debug, Default)]
struct Shares {
    of: BTreeMap<u64, BTreeSet<Slot>>,
    /// Senders by the size of their share.
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

impl MissingDependencies {
    pub(super) fn insert(&mut self, dependency: MissingDependency) -> Slot {
        let sender = dependency.named_by;
        let slot = self.entries.insert(dependency);
        self.shares.change(sender, |share| {
            share.insert(slot);
        });
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<MissingDependency> {
        let dependency = self.entries.remove(slot)?;
        self.shares.change(dependency.named_by, |share| {
            share.remove(&slot);
        });
        Some(dependency)
    }

    /// Returns a member of the largest share, if that is larger than the share of `sender`.
    pub(super) fn largest_share_above(&self, sender: u64) -> Option<Slot> {
        let own = self.shares.of.get(&sender).map_or(0, BTreeSet::len);
        let (size, most) = self.shares.by_size.last()?;
        let share = self.shares.of.get(most).filter(|_| *size > own + 1)?;
        share.last().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &MissingDependency)> {
        self.entries.iter()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&MissingDependency> {
        self.entries.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut MissingDependency> {
        self.entries.get_mut(slot)
    }

    /// The next `limit` dependencies behind `passed`, in a circle, and the last of them.
    pub(super) fn after(
        &self,
        passed: Option<Slot>,
        limit: usize,
    ) -> (Vec<HistoryEntry>, Option<Slot>) {
        let is_before = |slot| passed.is_some_and(|passed| slot <= passed);
        let after = self.entries.iter().filter(|(slot, _)| !is_before(*slot));
        let before = self.entries.iter().filter(|(slot, _)| is_before(*slot));
        let next: Vec<_> = after.chain(before).take(limit).collect();
        let last = next.last().map(|(slot, _)| *slot);
        (next.into_iter().map(|(_, dependency)| dependency.entry.clone()).collect(), last)
    }

    /// Up to `limit` dependencies that the embedder was not asked to fetch, as if it were now.
    pub(super) fn take_unretrieved(&mut self, limit: usize) -> Vec<HistoryEntry> {
        let new = self.entries.iter_mut().filter(|dependency| !dependency.retrieved).take(limit);
        new.map(|dependency| {
            dependency.retrieved = true;
            dependency.entry.clone()
        })
        .collect()
    }

    /// Takes note of a hint or sender that was not known when a dependency was first missed.
    /// Returns whether there was one.
    pub(super) fn learn(&mut self, slot: Slot, named: HistoryEntryRef<'_>) -> bool {
        let Some(dependency) = self.entries.get_mut(slot) else { return false };
        let known = &dependency.entry;
        let learnt = (known.retrieval_hint.is_none() && named.retrieval_hint.is_some())
            || (known.sender_id.is_empty() && !named.sender_id.is_empty());
        if learnt {
            let known = known.borrowed();
            dependency.entry = HistoryEntry::from(HistoryEntryRef {
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
        let Some(dependency) = self.entries.get_mut(slot) else { return };
        if let Request::Due(at) = dependency.request {
            self.due.remove(&(at, slot));
        }
        dependency.request = Request::Off;
    }
}

impl MissingDependency {
    /// Times it was asked for since the node `woke`.
    pub(super) fn rounds_since(&self, woke: Instant) -> u32 {
        if self.asked.is_some_and(|asked| asked >= woke) { self.rounds_awake } else { 0 }
    }

    /// Takes note of when the chain that waits for it last made progress. Returns whether it is
    /// new.
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
