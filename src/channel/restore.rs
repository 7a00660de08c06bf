//! A channel's state from the store.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::incoming::{Arrived, Deps, Waiters, Waiting};
use super::log::{Dialects, NewEntry};
use super::outgoing::Probes;
use super::record::{IdDigest, IdState};
use super::repair::native;
use super::{Channel, Cx, Joining};
use crate::config::{Config, Dialect};
use crate::effect::{Delivery, Event};
use crate::entry::LogEntry;
use crate::id::ChannelId;
use crate::snapshot::{ChangeKind, Snapshot, StoredEntry, StoredIncoming, StoredOutgoing};
use crate::time::Instant;
use crate::wire::WireDialect;

/// Time between two resends that have become due while nobody was there.
const OVERDUE_APART: Duration = Duration::from_millis(100);

impl Channel {
    /// The channel as the store has it. What was delivered and not consumed is delivered again.
    pub(crate) fn restore(
        cx: &mut Cx<'_>,
        id: ChannelId,
        config: Arc<Config>,
        snapshot: &Snapshot,
    ) -> Self {
        let mut channel = Self::empty(id, config, snapshot.record_key);
        channel.keep_participant(cx, &snapshot.participant_id);
        channel.clock.observe(snapshot.lamport);
        channel.restore_ids(cx, snapshot);
        for stored in snapshot.log.values() {
            channel.restore_entry(cx, snapshot, stored);
        }
        channel.log.restore_totals(snapshot.digest, snapshot.delivered);
        channel.consumed = snapshot.consumed;
        channel.unreported_up_to = snapshot.unreported_up_to;
        channel.redeliver(cx);
        for stored in snapshot.outgoing.values() {
            channel.restore_outgoing(cx, snapshot, stored);
        }
        channel.schedule_resends(cx, snapshot);
        channel.restore_missing(cx, snapshot);
        channel.evict(cx);
        if !snapshot.log.is_empty() {
            channel.joining = Joining::Over;
            channel.sync_soon(cx);
        }
        channel.was_missing = !channel.missing.is_empty();
        if channel.was_missing {
            channel.retrieve_soon(cx);
        }
        channel
    }

    fn restore_ids(&mut self, cx: &mut Cx<'_>, snapshot: &Snapshot) {
        let mut forgotten = None;
        for met in snapshot.resolved.values() {
            let place = if met.lost { IdState::Lost } else { IdState::Resolved };
            forgotten = self.ids.restore_resolved(met.digest, place, met.number).or(forgotten);
        }
        if let Some(up_to) = forgotten {
            cx.outbox.change(&self.id, || ChangeKind::ResolvedForgotten { up_to });
        }
        if let Some(floor) = snapshot.floor {
            self.ids.raise_floor(floor);
        }
        let mut forgotten = None;
        for record in snapshot.record.values() {
            // Evicted, unless its body turns up below. If it was met or lost, it has come since.
            let oldest = self.ids.restore(record.digest, record.lamport, record.number);
            forgotten = oldest.or(forgotten);
            self.filters.insert(&Probes { lip109: record.lip109, nim_sds: record.nim_sds });
        }
        if let Some(up_to) = forgotten {
            // There is room for fewer than before the restart.
            cx.outbox.change(&self.id, || ChangeKind::Forgotten { up_to });
            self.report_floor(cx, snapshot.floor);
        }
    }

    fn digests(&self, entry: &LogEntry) -> (IdDigest, Deps) {
        let history = entry.causal_history();
        let deps = history.map(|named| self.ids.digest(named.message_id.as_bytes())).collect();
        (self.ids.digest(entry.message_id().as_bytes()), deps)
    }

    fn restore_entry(&mut self, cx: &mut Cx<'_>, snapshot: &Snapshot, stored: &StoredEntry) {
        let (digest, deps) = self.digests(&stored.entry);
        let new = NewEntry {
            entry: stored.entry.clone(),
            digest,
            gap: stored.gap,
            own: stored.own,
            // Unless a copy is pending, it need not be bridged.
            heard: Dialects::BOTH,
            nameable: self.can_pass_on(cx, &stored.entry),
        };
        let slot = self.log.restore(new, stored.seq, cx.now.mono);
        if let Some(logged) = self.log.get_mut(slot) {
            let hint = snapshot.hints.get(&stored.seq);
            logged.hint = hint.filter(|hint| hint.len() <= self.config.max_hint_len).cloned();
        }
        if self.ids.set(digest, IdState::Logged(slot)).is_named && !stored.own {
            self.log.named(slot);
        }
        self.name_dependencies(digest, &deps, stored.entry.sender_id());
        if let Some(copy) = snapshot.bridges.get(&stored.seq) {
            if self.config.dialect == Dialect::Bridge {
                self.schedule_bridge(cx, slot, copy.heard, copy.due);
            } else {
                cx.outbox.change(&self.id, || ChangeKind::BridgeRemoved(copy.seq));
            }
        }
    }

    fn redeliver(&mut self, cx: &mut Cx<'_>) {
        let told_again = self.log.delivered_after(self.consumed).count() as u64;
        if told_again < self.log.delivered().0.saturating_sub(self.consumed.0) {
            // Kept, for the next restart cannot tell any more.
            let newest = self.ids.recorded();
            if self.unreported_up_to.replace(newest) != Some(newest) {
                cx.outbox.change(&self.id, || ChangeKind::UnreportedUpTo(newest));
            }
        }
        for logged in self.log.delivered_after(self.consumed) {
            let (_, deps) = self.digests(&logged.entry);
            cx.outbox.emit_after_write(Event::Deliver(Delivery {
                channel: self.id.clone(),
                seq: logged.seq,
                entry: logged.entry.clone(),
                follows: self.log.predecessor(&logged.entry),
                gap: logged.gap || self.references_unreported(&deps),
                own: logged.own,
                redelivery: true,
            }));
        }
    }

    fn restore_outgoing(&mut self, cx: &mut Cx<'_>, snapshot: &Snapshot, stored: &StoredOutgoing) {
        let Some(logged) = snapshot.log.get(&stored.seq) else {
            // Its body was evicted by force: it cannot be sent again, nor can its id be told.
            cx.outbox.change(&self.id, || ChangeKind::OutgoingRemoved(stored.seq));
            return;
        };
        let entry = &logged.entry;
        let digest = self.ids.digest(entry.message_id().as_bytes());
        let Some(IdState::Logged(slot)) = self.ids.state(digest) else { return };
        if stored.unconfirmed {
            self.has_unconfirmed = true;
            if let Some(logged) = self.log.get_mut(slot) {
                logged.unconfirmed = true;
            }
            return;
        }
        self.log.pin(slot);
        let probes = self.filters.own_probes(entry.message_id());
        let unacked = self.outgoing.add(stored.seq, entry.clone(), digest, probes);
        unacked.resends = stored.resends;
        unacked.witnesses.clone_from(&stored.witnesses);
        unacked.doubt_ln = stored.doubt_ln;
    }

    /// Own messages are resent when they were due before. What was due since is due soon: those
    /// sent least often first, spread over time, as there may be many.
    fn schedule_resends(&mut self, cx: &mut Cx<'_>, snapshot: &Snapshot) {
        let mut overdue = Vec::new();
        for stored in snapshot.outgoing.values() {
            let Some(unacked) = self.outgoing.get(stored.seq) else { continue };
            let left = cx.until(stored.due, Duration::MAX);
            match unacked.delay_left(left, &self.config, cx.rng) {
                Some(delay) => self.schedule_resend_at(cx.now.mono + delay, stored.seq),
                None => overdue.push((stored.resends, stored.seq)),
            }
        }
        overdue.sort_unstable();
        let mut at = cx.now.mono + cx.rng.duration(Duration::ZERO, OVERDUE_APART * 10);
        for (_, seq) in overdue {
            self.schedule_resend_at(at, seq);
            at = at + OVERDUE_APART;
        }
    }

    /// Wanted dependencies, the messages that wait for them, and repair answers.
    fn restore_missing(&mut self, cx: &mut Cx<'_>, snapshot: &Snapshot) {
        let longest = self.config.t_max(native(&self.config));
        for stored in snapshot.missing.values() {
            let digest = self.ids.digest(stored.entry.message_id.as_bytes());
            let delay = cx.until(stored.due, longest).unwrap_or_default();
            let named_by = self.sender_digest(stored.entry.sender_id.borrowed());
            self.insert_missing(cx, stored.clone(), digest, named_by, delay);
        }
        let waiting: Vec<_> =
            snapshot.incoming.values().map(|stored| self.restore_waiting(cx, stored)).collect();
        // Their dependencies are resolved once all of them are known.
        for (digest, entry) in waiting {
            if let Some(IdState::Incoming(slot)) = self.ids.state(digest)
                && let Some(mut found) = self.incoming.remove(slot)
            {
                let waiters = core::mem::take(&mut found.arrived.waiters);
                cx.outbox
                    .change(&self.id, || ChangeKind::IncomingRemoved(entry.message_id().into()));
                self.ids.set(digest, IdState::Processing);
                self.deliver_or_buffer(cx, Arrived { waiters, ..found.arrived }, false);
            }
        }
        for answer in snapshot.answers.values() {
            let digest = self.ids.digest(answer.message_id.as_bytes());
            let asked_in = if answer.nim_sds { WireDialect::NimSds } else { WireDialect::Lip109 };
            let delay = cx.until(answer.due, self.config.t_max(asked_in)).unwrap_or_default();
            let dialects = Dialects::if_any(answer.lip109, answer.nim_sds);
            self.schedule_answer(cx, dialects, answer.message_id.borrowed(), digest, delay);
        }
    }

    fn restore_waiting(&mut self, cx: &Cx<'_>, stored: &StoredIncoming) -> (IdDigest, LogEntry) {
        let entry = &stored.entry;
        let (digest, deps) = self.digests(entry);
        let arrived = Arrived {
            entry: entry.clone(),
            digest,
            deps,
            heard: stored.heard.map_or(Dialects::BOTH, Dialects::of),
            gap: false,
            nameable: self.can_pass_on(cx, entry),
            waiters: Waiters::new(),
        };
        let progress = Instant::ZERO;
        let waiting = Box::new(Waiting { arrived, missing: usize::MAX, progress, asked: false });
        let slot = self.incoming.insert(waiting);
        self.ids.set(digest, IdState::Incoming(slot));
        (digest, entry.clone())
    }
}
