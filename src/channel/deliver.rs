//! Causal order: a message is delivered after everything it depends on, and delivering it
//! releases what waited for it alone.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::incoming::{Arrived, Waiters, Waiting, remove_waiter};
use super::log::{Dialects, NewEntry};
use super::record::{IdDigest, IdState};
use super::slots::Slot;
use super::{Channel, Cx, Joining};
use crate::broken::{self, Break};
use crate::config::{Dialect, OnJoin};
use crate::effect::{Delivery, Event, Limit};
use crate::entry::LogEntry;
use crate::id::IdRef;
use crate::snapshot::{ChangeKind, StoredEntry, StoredIncoming};
use crate::time::Instant;
use crate::wire::HistoryEntryRef;

impl Channel {
    /// Delivers a message, or buffers it and reports what is missing. `asked`: it was wanted.
    pub(super) fn deliver_or_buffer(&mut self, cx: &mut Cx<'_>, arrived: Arrived, asked: bool) {
        // Only a broken peer names its own message; it waits for nothing.
        let met = |dep: &IdDigest| *dep == arrived.digest || self.is_resolved(*dep);
        let ready = broken::is(Break::Causality) || arrived.deps.iter().all(met);
        if ready {
            self.deliver(cx, &arrived);
        } else {
            self.buffer(cx, arrived, asked);
        }
    }

    fn buffer(&mut self, cx: &mut Cx<'_>, arrived: Arrived, asked: bool) {
        let entry = arrived.entry.clone();
        let (digest, deps) = (arrived.digest, arrived.deps.clone());
        let waiting = Box::new(Waiting { arrived, missing: 0, progress: Instant::ZERO, asked });
        let slot = self.incoming.insert(waiting);
        self.ids.set(digest, IdState::Incoming(slot));
        self.persist_waiting(cx, slot);

        let named_by = self.sender_digest(entry.sender_id());
        let blocks = !self.is_joining(cx);
        let (mut missing, mut gap) = (0, false);
        let mut absent = Vec::new();
        for (named, dep) in entry.causal_history().zip(deps) {
            if dep == digest {
                continue;
            }
            match self.ids.state(dep) {
                Some(IdState::Incoming(other)) => match self.wait_for_incoming(slot, &entry, other)
                {
                    Some(waits) => missing += usize::from(waits),
                    None => gap = true,
                },
                Some(IdState::Missing(dependency)) => {
                    if self.missing.learn(dependency, named) {
                        self.persist_missing(cx, dependency);
                    }
                    if !blocks {
                        gap = true;
                        absent.push(named.into());
                    } else if self.wait_for_missing(slot, dependency) {
                        missing += 1;
                        absent.push(named.into());
                    }
                }
                Some(IdState::Lost) => gap = true,
                Some(IdState::Sync) => gap |= !self.sync.is_own(dep),
                Some(place) if place.is_resolved() => {}
                _ => {
                    let Some(dependency) =
                        self.add_missing(cx, named, dep, named_by, asked, !blocks)
                    else {
                        self.drop_waiting(cx, slot, Limit::Missing);
                        return;
                    };
                    absent.extend(
                        self.missing.get(dependency).map(|dependency| dependency.entry.clone()),
                    );
                    if blocks {
                        missing += usize::from(self.wait_for_missing(slot, dependency));
                    } else {
                        gap = true;
                    }
                }
            }
        }
        self.report_missing(cx, entry.message_id(), absent);
        if let Some(waiting) = self.incoming.get_mut(slot) {
            waiting.missing = missing;
            waiting.arrived.gap |= gap;
        }
        if missing == 0 {
            self.deliver_waiting(cx, VecDeque::from([slot]));
            return;
        }
        let max_messages = self.config.max_incoming_messages;
        let max_bytes = self.config.max_incoming_bytes;
        while let Some(excess) = self.incoming.excess(max_messages, max_bytes) {
            self.drop_waiting(cx, excess, Limit::Incoming);
        }
    }

    pub(super) fn persist_waiting(&self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(Waiting { arrived, .. }) = self.incoming.get(slot) else { return };
        cx.outbox.change(&self.id, || {
            let (entry, heard) = (arrived.entry.clone(), arrived.heard.only());
            ChangeKind::IncomingSet(StoredIncoming { entry, heard })
        });
    }

    /// Whether unknown dependencies do not block, because we have just joined.
    fn is_joining(&self, cx: &Cx<'_>) -> bool {
        match (self.config.on_join, self.joining) {
            (OnJoin::Recent { window }, Joining::Since(first)) => {
                cx.now.mono.since(first) <= window
            }
            (OnJoin::Recent { .. } | OnJoin::FromBeginning, _) => false,
        }
    }

    /// Makes `slot`, which holds `entry`, wait for a message that waits itself; `false`: it does
    /// already. `None`: it must not.
    fn wait_for_incoming(&mut self, slot: Slot, entry: &LogEntry, other: Slot) -> Option<bool> {
        let other = self.incoming.get_mut(other)?;
        // A dependency is older than its dependent. Where a peer claims otherwise there may be
        // a cycle, in which everybody would wait for ever.
        if other.arrived.entry.lamport() >= entry.lamport() {
            return None;
        }
        Some(add_waiter(&mut other.arrived.waiters, slot))
    }

    fn wait_for_missing(&mut self, slot: Slot, dependency: Slot) -> bool {
        self.missing
            .get_mut(dependency)
            .is_some_and(|dependency| add_waiter(&mut dependency.waiters, slot))
    }

    /// Drops a waiting message for want of room. It counts as never received, but for filters. If
    /// it was wanted, then what it waits for is: otherwise, where there is never any room, it would
    /// be asked for and dropped for ever.
    pub(super) fn drop_waiting(&mut self, cx: &mut Cx<'_>, slot: Slot, limit: Limit) {
        if limit == Limit::Incoming {
            self.keep_in_background(cx, slot);
        }
        let Some(waiting) = self.take_waiting(cx, slot) else { return };
        let Arrived { entry, digest, waiters, .. } = waiting.arrived;
        self.unrecord(cx, digest);
        let (message_id, sender_id) = (entry.message_id().into(), entry.sender_id().into());
        if !waiters.is_empty() {
            // Others wait for it: it is missing again.
            let named = HistoryEntryRef {
                message_id: entry.message_id(),
                sender_id: entry.sender_id(),
                ..HistoryEntryRef::default()
            };
            let named_by = self.sender_digest(entry.sender_id());
            match self.add_missing(cx, named, digest, named_by, false, false) {
                Some(dependency) => {
                    if let Some(dependency) = self.missing.get_mut(dependency) {
                        dependency.waiters = waiters;
                    }
                }
                None => self.release(cx, &waiters, true),
            }
        }
        let channel = self.id.clone();
        cx.outbox.emit_now(Event::LimitReached { channel, limit, message_id, sender_id });
    }

    /// Has what a waiting message waits for stay wanted without it, if it was wanted itself.
    fn keep_in_background(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(waiting) = self.incoming.get(slot) else { return };
        if !waiting.asked {
            return;
        }
        for dep in waiting.arrived.deps.clone() {
            let Some(IdState::Missing(dependency)) = self.ids.state(dep) else { continue };
            if let Some(wanted) =
                self.missing.get_mut(dependency).filter(|dependency| !dependency.background)
            {
                wanted.background = true;
                self.persist_missing(cx, dependency);
            }
        }
    }

    /// Takes a waiting message out of the buffer and out of what it waits for.
    pub(super) fn take_waiting(&mut self, cx: &mut Cx<'_>, slot: Slot) -> Option<Box<Waiting>> {
        let waiting = self.incoming.remove(slot)?;
        for dep in &waiting.arrived.deps {
            match self.ids.state(*dep) {
                Some(IdState::Missing(dependency)) => {
                    let Some(wanted) = self.missing.get_mut(dependency) else { continue };
                    remove_waiter(&mut wanted.waiters, slot);
                    if wanted.waiters.is_empty() && !wanted.background {
                        self.take_missing(cx, dependency);
                        self.ids.forget_missing(*dep);
                    }
                }
                Some(IdState::Incoming(other)) => {
                    if let Some(other) = self.incoming.get_mut(other) {
                        remove_waiter(&mut other.arrived.waiters, slot);
                    }
                }
                _ => {}
            }
        }
        let message_id = waiting.arrived.entry.message_id();
        cx.outbox.change(&self.id, || ChangeKind::IncomingRemoved(message_id.into()));
        Some(waiting)
    }

    /// Tells `waiters` that one of their dependencies is here (or, with `gap`, given up), and
    /// delivers those that wait for nothing else.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>, waiters: &Waiters, gap: bool) {
        if waiters.is_empty() {
            return;
        }
        let mut ready = VecDeque::new();
        self.satisfy(cx, waiters, gap, &mut ready);
        self.deliver_waiting(cx, ready);
    }

    fn satisfy(&mut self, cx: &Cx<'_>, waiters: &Waiters, gap: bool, ready: &mut VecDeque<Slot>) {
        let satisfied = waiters.iter().copied();
        ready.extend(satisfied.filter(|slot| self.incoming.satisfy(*slot, gap, cx.awake)));
    }

    /// Appends a message to the log, then everything that it releases, in causal order.
    fn deliver(&mut self, cx: &mut Cx<'_>, arrived: &Arrived) {
        self.append(cx, arrived, false);
        self.evict(cx);
        self.release(cx, &arrived.waiters, false);
    }

    /// Delivers buffered messages that wait for nothing, and what that releases in turn.
    fn deliver_waiting(&mut self, cx: &mut Cx<'_>, mut ready: VecDeque<Slot>) {
        // A queue, not recursion: a chain may be as long as the buffer.
        while let Some(slot) = ready.pop_front() {
            let Some(waiting) = self.incoming.remove(slot) else { continue };
            let arrived = &waiting.arrived;
            let message_id = arrived.entry.message_id();
            cx.outbox.change(&self.id, || ChangeKind::IncomingRemoved(message_id.into()));
            self.append(cx, arrived, false);
            self.satisfy(cx, &arrived.waiters, false, &mut ready);
            self.evict(cx);
        }
    }

    /// Puts one message into the log and tells the application.
    pub(super) fn append(&mut self, cx: &mut Cx<'_>, arrived: &Arrived, own: bool) -> Slot {
        let entry = &arrived.entry;
        self.clock.observe(entry.lamport());
        let unreported_up_to = self.references_unreported(&arrived.deps);
        let gap = self.name_dependencies(arrived.digest, &arrived.deps, entry.sender_id());
        let gap = gap || arrived.gap || unreported_up_to;
        self.learn_hints(cx, arrived);
        let new = NewEntry {
            entry: entry.clone(),
            digest: arrived.digest,
            gap,
            own,
            heard: arrived.heard,
            nameable: arrived.nameable,
        };
        let (slot, seq, follows) = self.log.insert(new, cx.now.mono);
        // Our own, if others named it before we published it, may name them: it is a head
        // nevertheless.
        if self.ids.set(arrived.digest, IdState::Logged(slot)).is_named && !own {
            self.log.named(slot);
        }
        cx.outbox.change(&self.id, || ChangeKind::Appended {
            stored: StoredEntry { seq, entry: entry.clone(), gap, own },
            lamport: self.clock.current(),
            digest: self.log.digest(),
        });
        cx.outbox.emit_after_write(Event::Deliver(Delivery {
            channel: self.id.clone(),
            seq,
            entry: entry.clone(),
            follows,
            gap,
            own,
            redelivery: false,
        }));
        if !own {
            self.note_foreign(cx, slot, arrived.heard);
            self.expedite_for_acks(cx);
        }
        self.arm_sync(cx);
        slot
    }

    /// Takes note of where logged entries can be fetched from, if a message tells.
    fn learn_hints(&mut self, cx: &mut Cx<'_>, arrived: &Arrived) {
        for (named, dep) in arrived.entry.causal_history().zip(&arrived.deps) {
            let Some(hint) = named.retrieval_hint else { continue };
            let Some(IdState::Logged(slot)) = self.ids.state(*dep) else { continue };
            if self.log.get(slot).is_some_and(|logged| logged.hint.is_none()) {
                self.set_hint(cx, slot, hint);
            }
        }
    }

    /// Entries that a logged entry of `sender` names are no heads, but for `own`, which is that
    /// entry: nobody else would hear of it. Returns whether one of them is lost, or no more than a
    /// sync was heard that bears its id, which anybody can send.
    pub(super) fn name_dependencies(
        &mut self,
        own: IdDigest,
        deps: &[IdDigest],
        sender: IdRef<'_>,
    ) -> bool {
        let mut gap = false;
        for dep in deps.iter().filter(|dep| **dep != own) {
            match self.ids.mark_named(*dep) {
                Some(IdState::Logged(slot)) => {
                    self.log.named(slot);
                    self.log.named_by(slot, sender);
                }
                Some(IdState::Sync) => gap |= !self.sync.is_own(*dep),
                place => gap |= place == Some(IdState::Lost),
            }
        }
        gap
    }

    /// Whether one of the dependencies may be a delivery that was never told.
    pub(super) fn references_unreported(&self, deps: &[IdDigest]) -> bool {
        let Some(up_to) = self.unreported_up_to else { return false };
        deps.iter().any(|dep| self.ids.evicted_number(*dep).is_some_and(|number| number <= up_to))
    }

    fn note_foreign(&mut self, cx: &mut Cx<'_>, slot: Slot, heard: Dialects) {
        match self.config.dialect {
            Dialect::Bridge => {
                if let Some(heard) = heard.only() {
                    self.schedule_bridge(cx, slot, heard, None);
                }
            }
            Dialect::Mirror { .. } => {
                self.mirrored = heard.only().or(self.mirrored);
                self.mirrored_form = heard.form().or(self.mirrored_form);
            }
            Dialect::Lip109 | Dialect::NimSds => {}
        }
    }

    /// Brings the log back under its bounds.
    pub(super) fn evict(&mut self, cx: &mut Cx<'_>) {
        if broken::is(Break::Bounds) {
            return;
        }
        if broken::is(Break::Keeping) && self.log.delivered().0.is_multiple_of(16) {
            self.log.evict(self.log.len() - 1, usize::MAX);
        }
        let (max_messages, max_bytes) = (self.config.max_log_messages, self.config.max_log_bytes);
        while let Some(evicted) = self.log.evict(max_messages, max_bytes) {
            let floor = self.ids.floor();
            self.ids.evicted(evicted.digest, evicted.entry.lamport());
            if let Some(key) = evicted.bridge {
                self.timers.cancel(key);
                cx.outbox.change(&self.id, || ChangeKind::BridgeRemoved(evicted.seq));
            }
            if evicted.unconfirmed {
                cx.outbox.change(&self.id, || ChangeKind::OutgoingRemoved(evicted.seq));
            }
            cx.outbox.change(&self.id, || ChangeKind::Evicted(evicted.seq));
            self.report_floor(cx, floor);
        }
    }

    /// Persists the newest forgotten Lamport time if it is no longer `before`.
    pub(super) fn report_floor(&self, cx: &mut Cx<'_>, before: Option<u64>) {
        if let Some(floor) = self.ids.floor().filter(|floor| Some(*floor) != before) {
            cx.outbox.change(&self.id, || ChangeKind::Floor(floor));
        }
    }

    /// Sends bridged copies no more: the message was heard in `heard` as well. If it was `resent`,
    /// its sender does not know that we have it.
    pub(super) fn heard_again(
        &mut self,
        cx: &mut Cx<'_>,
        place: IdState,
        heard: Dialects,
        resent: bool,
    ) {
        match place {
            IdState::Logged(slot) => {
                if resent {
                    self.log.restore_pending_ack(slot, cx.now.mono);
                    self.expedite_for_acks(cx);
                }
                let Some(logged) = self.log.get_mut(slot) else { return };
                logged.heard = logged.heard.with(heard);
                if logged.heard.are_both()
                    && let Some(key) = logged.bridge.take()
                {
                    self.timers.cancel(key);
                    let seq = logged.seq;
                    cx.outbox.change(&self.id, || ChangeKind::BridgeRemoved(seq));
                }
            }
            IdState::Incoming(slot) => {
                let Some(waiting) = self.incoming.get_mut(slot) else { return };
                let before = waiting.arrived.heard;
                waiting.arrived.heard = before.with(heard);
                if waiting.arrived.heard != before {
                    self.persist_waiting(cx, slot);
                }
            }
            IdState::Evicted
            | IdState::Missing(_)
            | IdState::Resolved
            | IdState::Lost
            | IdState::Sync
            | IdState::Processing => {}
        }
    }
}

/// Adds `slot` unless it was the last to be added: a message may name a dependency twice.
fn add_waiter(waiters: &mut Waiters, slot: Slot) -> bool {
    if waiters.last() == Some(&slot) {
        return false;
    }
    waiters.push(slot);
    true
}
