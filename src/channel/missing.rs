//! Missing dependencies: reporting them, retrieving them from an archive, giving them up.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::incoming::Waiters;
use super::record::{IdDigest, IdState};
use super::repair::{give_up_at, look_at};
use super::slots::Slot;
use super::wanted::MissingDependency;
use super::{Channel, Cx, Timer};
use crate::config::OnLost;
use crate::effect::{Effect, Event, Limit};
use crate::id::{IdRef, MessageId, ParticipantId};
use crate::time::Instant;
use crate::timer::TimerKey;
use crate::wire::{HistoryEntry, MessageRef};

/// Most ids in one request to a store node.
const MAX_RETRIEVED: usize = 64;
/// The wait between requests to a store node grows up to this many times the first.
const MAX_RETRIEVAL_BACKOFF: u32 = 32;
/// Longest wait before the first such request after a restart.
const RETRIEVED_SOON: Duration = Duration::from_secs(2);
/// Most waiting messages looked at to find out whether a chain still makes progress.
pub(crate) const MAX_CHAIN: usize = 1_024;

/// Asking the embedder to fetch what is missing.
#[derive(Debug, Default)]
pub(super) struct Retrieval {
    timer: Option<TimerKey>,
    wait: Duration,
    /// The last one asked for again.
    passed: Option<Slot>,
}

impl Channel {
    /// Reports what a message names and is not here.
    pub(super) fn report_missing(
        &mut self,
        cx: &mut Cx<'_>,
        message_id: IdRef<'_>,
        missing: Vec<HistoryEntry>,
    ) {
        if missing.is_empty() {
            return;
        }
        self.was_missing = true;
        let (channel, message_id) = (self.id.clone(), message_id.into());
        cx.outbox.emit_after_write(Event::Missing { channel, message_id, missing });
        self.arm_retrieval(cx);
    }

    /// Starts asking the embedder if that is not under way.
    pub(super) fn arm_retrieval(&mut self, cx: &Cx<'_>) {
        if let (None, Some(retry)) = (self.retrieval.timer, self.config.retrieval_interval) {
            self.schedule_retrieval(cx, retry);
        }
    }

    /// Starts asking the embedder after a restart: it may have been asked for a while before.
    pub(super) fn retrieve_soon(&mut self, cx: &Cx<'_>) {
        if let Some(retry) = self.config.retrieval_interval {
            self.schedule_retrieval(cx, retry.min(RETRIEVED_SOON));
        }
    }

    /// Wants what a sync names and is not here. Whether everything it names is.
    pub(super) fn track_named(
        &mut self,
        cx: &mut Cx<'_>,
        message: &MessageRef<'_>,
        deps: &[IdDigest],
    ) -> bool {
        let named_by = self.sender_digest(message.sender_id);
        let (mut missing, mut all_met) = (Vec::new(), true);
        for (named, dep) in message.causal_history.iter().zip(deps) {
            if !self.can_reference(*named) {
                // It could not be asked for, nor would it be taken in.
                all_met = false;
                continue;
            }
            match self.ids.state(*dep) {
                Some(IdState::Logged(slot)) => {
                    self.log.named_by(slot, message.sender_id);
                    continue;
                }
                Some(place) if place.is_resolved() => continue,
                Some(IdState::Incoming(_)) => {}
                Some(IdState::Missing(slot)) => {
                    missing.push((*named).into());
                    let learnt = self.missing.learn(slot, *named);
                    if let Some(dependency) = self.missing.get_mut(slot)
                        && (learnt || !dependency.background)
                    {
                        dependency.background = true;
                        self.persist_missing(cx, slot);
                    }
                }
                _ => match self.add_missing(cx, *named, *dep, named_by, false, true) {
                    Some(_) => missing.push((*named).into()),
                    None => {
                        let (channel, limit) = (self.id.clone(), Limit::Missing);
                        let message_id = named.message_id.into();
                        let sender_id = message.sender_id.into();
                        cx.outbox.emit_now(Event::LimitReached {
                            channel,
                            limit,
                            message_id,
                            sender_id,
                        });
                        all_met = false;
                        break;
                    }
                },
            }
            all_met = false;
        }
        self.report_missing(cx, message.message_id, missing);
        all_met
    }

    /// Makes room for what a message of `sender` names and is not here, as long as another sender
    /// has named more: its messages, and what its syncs named, give way.
    pub(super) fn reserve_missing(
        &mut self,
        cx: &mut Cx<'_>,
        sender: IdRef<'_>,
        deps: &[IdDigest],
    ) {
        if self.missing.len() + deps.len() <= self.config.max_missing {
            return;
        }
        let named_by = self.sender_digest(sender);
        // Nothing here may take for ever; what finds no room is dropped.
        let mut most = 4 * deps.len();
        for _ in 0..4 {
            let unknown = |dep: &&IdDigest| self.ids.state(**dep).is_none();
            let needed = deps.iter().filter(unknown).count();
            if self.missing.len() + needed <= self.config.max_missing {
                return;
            }
            // An eviction can add or remove needed ids, so recount.
            while self.missing.len() + needed > self.config.max_missing && most > 0 {
                let Some(slot) = self.missing.largest_share_above(named_by) else { return };
                self.evict_missing(cx, slot);
                most -= 1;
            }
        }
    }

    /// Stops wanting a dependency, for want of room, and drops what waits for it.
    fn evict_missing(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(dependency) = self.missing.get_mut(slot) else { return };
        // Taken out as a whole: none of them looks for itself among the others.
        let (digest, waiters) = (dependency.digest, mem::take(&mut dependency.waiters));
        // The newest first, as they are looked for where else they wait.
        for waiter in waiters.into_iter().rev() {
            self.drop_waiting(cx, waiter, Limit::Missing);
        }
        // Unless the first of them took it along.
        if self.ids.state(digest) == Some(IdState::Missing(slot))
            && let Some(dependency) = self.take_missing(cx, slot)
        {
            self.ids.forget_missing(digest);
            let (channel, limit) = (self.id.clone(), Limit::Missing);
            let message_id = MessageId::from(dependency.entry.message_id.as_bytes());
            let sender_id = ParticipantId::from(dependency.entry.sender_id.as_bytes());
            cx.outbox.emit_now(Event::LimitReached { channel, limit, message_id, sender_id });
        }
    }

    fn schedule_retrieval(&mut self, cx: &Cx<'_>, wait: Duration) {
        if let Some(key) = self.retrieval.timer.take() {
            self.timers.cancel(key);
        }
        self.retrieval.wait = wait;
        self.retrieval.timer = Some(self.timers.schedule(cx.now.mono + wait, Timer::Retrieval));
    }

    /// Asks the embedder to fetch what has not come in the meantime: what it was not asked for
    /// before goes first, and keeps the next time near.
    pub(super) fn retrieval_due(&mut self, cx: &mut Cx<'_>) {
        self.retrieval.timer = None;
        let Some(retry) = self.config.retrieval_interval else { return };
        if self.missing.is_empty() {
            return;
        }
        let mut missing = self.missing.take_unretrieved(MAX_RETRIEVED);
        let wait = if missing.is_empty() {
            // In turn, or those that nobody has would keep the others from being asked for again.
            let (next, passed) = self.missing.after(self.retrieval.passed, MAX_RETRIEVED);
            (missing, self.retrieval.passed) = (next, passed);
            (self.retrieval.wait * 2).min(retry * MAX_RETRIEVAL_BACKOFF)
        } else {
            retry
        };
        self.schedule_retrieval(cx, wait);
        let id = cx.outbox.next_retrieval(&self.id);
        cx.outbox.emit_now(Effect::Retrieve { id, channel: self.id.clone(), missing });
    }

    /// The store node could not be asked: it is asked again soon.
    pub(crate) fn retrieval_failed(&mut self, cx: &mut Cx<'_>) {
        if let (Some(retry), Some(_)) = (self.config.retrieval_interval, self.retrieval.timer) {
            self.schedule_retrieval(cx, retry);
        }
    }

    /// A dependency has been wanted for a while. It is given up after `lost_after`, unless the
    /// chain that waits for it has made progress since, or the time was slept through.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let waits =
            |dependency: &MissingDependency| give_up_at(&self.config, cx, dependency) > cx.now.mono;
        if !self.missing.get(slot).is_some_and(waits) {
            let progress = self.last_progress(slot, MAX_CHAIN);
            self.missing.get_mut(slot).map(|dependency| dependency.take_progress(progress));
        }
        let Some(dependency) = self.missing.get_mut(slot) else { return };
        if give_up_at(&self.config, cx, dependency) > cx.now.mono {
            dependency.look_at = look_at(&self.config, cx, dependency);
            dependency.set_timer(&mut self.timers, slot);
            self.persist_missing(cx, slot);
            return;
        }
        let Some(dependency) = self.take_missing(cx, slot) else { return };
        match self.config.on_lost {
            OnLost::DeliverWithGap => {
                self.remember_resolved(cx, dependency.digest, IdState::Lost);
                self.tell_lost(
                    cx,
                    Vec::from([MessageId::from(dependency.entry.message_id.as_bytes())]),
                );
                self.release(cx, &dependency.waiters, true);
            }
            OnLost::Drop => {
                self.drop_lost(
                    cx,
                    dependency.digest,
                    dependency.entry.message_id.borrowed(),
                    Some(dependency.waiters),
                );
            }
        }
    }

    /// A message is lost, and so is all that waits for it.
    pub(super) fn drop_lost(
        &mut self,
        cx: &mut Cx<'_>,
        digest: IdDigest,
        message_id: IdRef<'_>,
        waiters: Option<Waiters>,
    ) {
        self.remember_resolved(cx, digest, IdState::Lost);
        let mut lost = Vec::from([MessageId::from(message_id)]);
        let mut doomed = Vec::from_iter(waiters.into_iter().flatten());
        while let Some(slot) = doomed.pop() {
            let Some(waiting) = self.take_waiting(cx, slot) else { continue };
            let arrived = waiting.arrived;
            self.unrecord(cx, arrived.digest);
            self.remember_resolved(cx, arrived.digest, IdState::Lost);
            lost.push(arrived.entry.message_id().into());
            doomed.extend(arrived.waiters);
        }
        self.tell_lost(cx, lost);
    }

    fn tell_lost(&mut self, cx: &mut Cx<'_>, message_ids: Vec<MessageId>) {
        self.lost += message_ids.len() as u64;
        cx.outbox.emit_after_write(Event::Lost { channel: self.id.clone(), message_ids });
    }

    /// When a dependency of one of the messages that wait for `slot` last arrived, directly or
    /// further down the chain, in time awake. Looks at no more than `most` of them.
    pub(super) fn last_progress(&self, slot: Slot, most: usize) -> Instant {
        let mut newest = Instant::ZERO;
        let Some(dependency) = self.missing.get(slot) else { return newest };
        let mut visited = BTreeSet::new();
        let mut next: Vec<Slot> = dependency.waiters.to_vec();
        while let Some(slot) = next.pop() {
            if visited.len() >= most || !visited.insert(slot) {
                continue;
            }
            let Some(waiting) = self.incoming.get(slot) else { continue };
            newest = newest.max(waiting.progress);
            next.extend(waiting.arrived.deps.iter().filter_map(|dep| match self.ids.state(*dep) {
                Some(IdState::Incoming(slot)) => Some(slot),
                _ => None,
            }));
        }
        newest
    }
}
