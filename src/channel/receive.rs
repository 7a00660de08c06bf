//! Messages of others: checks before any change of state, then what a message tells.

use bytes::Bytes;
use smallvec::SmallVec;

use super::incoming::{Arrived, Deps, Waiters, retain_waiters};
use super::log::Dialects;
use super::outgoing::{Probes, Verdict};
use super::record::{IdDigest, IdState};
use super::{Channel, Cx, Joining, recent_ephemerals};
use crate::bloom::{MAX_K, ReceivedFilter};
use crate::broken::{self, Break};
use crate::config::{Config, OnLost};
use crate::effect::Event;
use crate::entry::{DeliverySeq, LogEntry};
use crate::error::RejectReason;
use crate::id::{IdRef, MessageId};
use crate::snapshot::ChangeKind;
use crate::time::Now;
use crate::wire::{Kind, MessageRef, WireDialect};

/// The year 2100. Who has no wall clock believes any time before it.
const LATEST_WALL_MS: u64 = 4_102_444_800_000;

/// Checks a message before it changes anything, even the set of open channels. One
/// far-ahead time would freeze everybody's clock. `clock`: the channel's Lamport clock.
pub(crate) fn check(
    config: &Config,
    now: Now,
    clock: u64,
    dialect: WireDialect,
    message: &MessageRef<'_>,
) -> Result<(), RejectReason> {
    if !config.accepts(dialect) {
        return Err(RejectReason::DialectNotAccepted(dialect));
    }
    // Nobody who writes LIP-109 could name it, or answer who asks for it: it would be here alone,
    // for ever.
    let passes_on_text =
        dialect == WireDialect::NimSds && config.writes_dialect(WireDialect::Lip109);
    if passes_on_text && message.kind() == Kind::Content && !message.is_text() {
        return Err(RejectReason::NotForwardable);
    }
    let limit = latest_lamport(config, now, clock);
    match message.lamport.filter(|lamport| *lamport > limit) {
        Some(lamport) => Err(RejectReason::ClockSkew { lamport, limit }),
        None => Ok(()),
    }
}

/// The furthest that a Lamport time may be ahead. Without a wall clock the channel's own `clock`
/// tells the time: one message may pull it on, but no few of them to its end.
pub(super) fn latest_lamport(config: &Config, now: Now, clock: u64) -> u64 {
    let skew = u64::try_from(config.max_clock_skew.as_millis()).unwrap_or(u64::MAX);
    now.wall.map_or(clock.max(LATEST_WALL_MS), |wall| wall.0).saturating_add(skew)
}

impl Channel {
    /// Takes in a message that came in `dialect`, in `datagram`.
    pub(crate) fn receive(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &MessageRef<'_>,
        datagram: &Bytes,
    ) -> Result<(), RejectReason> {
        check(&self.config, cx.now, self.clock.current(), dialect, message)?;
        match (message.kind(), message.lamport) {
            (Kind::Content, Some(lamport)) => {
                self.receive_content(cx, dialect, message, lamport)?;
            }
            (Kind::Sync, Some(lamport)) => {
                self.receive_sync(cx, dialect, message, lamport);
            }
            (Kind::Ephemeral, _) | (_, None) => self.receive_ephemeral(cx, message, datagram),
        }
        self.settle(cx);
        Ok(())
    }

    fn receive_ephemeral(&mut self, cx: &mut Cx<'_>, message: &MessageRef<'_>, datagram: &Bytes) {
        let digest = self.ids.digest(message.message_id.as_bytes());
        if self.is_me(message.sender_id) || self.ephemerals.contains(&digest) {
            return;
        }
        if self.ephemerals.len() >= recent_ephemerals(&self.config) {
            self.ephemerals.pop_front();
        }
        self.ephemerals.push_back(digest);
        cx.outbox.emit_now(Event::DeliverEphemeral {
            channel: self.id.clone(),
            message_id: message.message_id.into(),
            sender_id: message.sender_id.into(),
            content: datagram.slice_ref(message.content.unwrap_or_default()),
        });
    }

    fn receive_sync(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &MessageRef<'_>,
        lamport: u64,
    ) {
        let digest = self.ids.digest(message.message_id.as_bytes());
        if let Some(IdState::Missing(slot)) = self.ids.state(digest) {
            // nim-sds logs and names syncs, ours from before a restart among them.
            let waiters = self
                .take_missing(cx, slot)
                .map(|dependency| dependency.waiters)
                .unwrap_or_default();
            self.ids.remember_sync(digest);
            // Or it is forged, to have them delivered without what they depend on.
            self.release(cx, &waiters, true);
        }
        if self.is_me(message.sender_id) || self.sync.is_own(digest) {
            // It may be an echo, unless it is ahead of the clock, which is where our newest was.
            if self.is_me(message.sender_id) && lamport > self.clock.current() {
                self.report_id_in_use(cx, message, lamport);
            }
            return;
        }
        let deps = self.dep_digests(message);
        self.reserve_missing(cx, message.sender_id, &deps);
        let filter = self.read_filter(cx, dialect, message);
        self.review(cx, dialect, message, filter.as_ref(), &deps);
        self.take_requests(cx, dialect, &message.repair_request);
        self.offer_lacking(cx, message, filter.as_ref());
        if self.ids.state(digest).is_none() {
            self.ids.remember_sync(digest);
        }
        self.note_join(cx);
        let pending_acks = self.log.pending_acks_len();
        if self.track_named(cx, message, &deps) && lamport > self.clock.current() {
            self.clock.observe(lamport);
            cx.outbox.change(&self.id, || ChangeKind::Clock(lamport));
        }
        self.note_sync(cx, dialect, message.sender_id, filter.as_ref(), &deps);
        if self.log.pending_acks_len() < pending_acks {
            self.log.restart_ack_delay(cx.now.mono);
        }
    }

    fn receive_content(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &MessageRef<'_>,
        lamport: u64,
    ) -> Result<(), RejectReason> {
        let digest = self.ids.digest(message.message_id.as_bytes());
        let place = self.ids.state(digest);
        if let (None, Some(forgotten)) = (place, self.ids.floor())
            && lamport <= forgotten
        {
            return Err(RejectReason::Stale { lamport, forgotten });
        }
        let deps = self.dep_digests(message);
        if place.is_none() || matches!(place, Some(IdState::Missing(_))) {
            self.reserve_missing(cx, message.sender_id, &deps);
        }
        let place = self.ids.state(digest);
        let doomed = self.config.on_lost == OnLost::Drop
            && deps.iter().any(|dep| self.ids.state(*dep) == Some(IdState::Lost));
        if doomed && place == Some(IdState::Lost) {
            return Ok(()); // a repeat of what was dropped
        }
        self.cancel_answer(cx, digest);
        let heard = Dialects::of(dialect).in_form(message.nim_form);
        let repeated = broken::is(Break::Once) && matches!(place, Some(IdState::Logged(_)));
        if let Some(place @ (IdState::Logged(_) | IdState::Evicted | IdState::Incoming(_))) = place
            && !repeated
        {
            // Repair answers and bridged copies have no filter.
            self.heard_again(cx, place, heard, message.bloom_filter.is_some());
            self.report_conflict(cx, place, message, lamport);
            return Ok(());
        }
        if self.is_me(message.sender_id) {
            self.report_id_in_use(cx, message, lamport);
        }
        let dependency = match place {
            Some(IdState::Missing(slot)) => self.take_missing(cx, slot),
            _ => None,
        };
        if !doomed {
            let probes = self.filters.probes(message.message_id);
            self.record(cx, digest, &probes, lamport);
        }
        let filter = self.read_filter(cx, dialect, message);
        self.review(cx, dialect, message, filter.as_ref(), &deps);
        self.take_requests(cx, dialect, &message.repair_request);
        self.offer_lacking(cx, message, filter.as_ref());
        self.report_clock_behind(cx, message.sender_id, lamport);
        self.note_join(cx);
        self.sync.note_traffic(dialect, cx.now.mono);

        if doomed {
            self.drop_lost(
                cx,
                digest,
                message.message_id,
                dependency.map(|dependency| dependency.waiters),
            );
            return Ok(());
        }
        let (asked, named_by) =
            (dependency.is_some(), dependency.as_ref().map(|dependency| dependency.named_by));
        let mut arrived = Arrived {
            entry: logged(message, lamport),
            digest,
            deps,
            heard,
            gap: false,
            nameable: self.can_name(message.message_id),
            waiters: dependency.map_or_else(Waiters::new, |dependency| dependency.waiters),
        };
        self.release_cyclic(cx, &mut arrived.waiters, lamport);
        for waiter in &arrived.waiters {
            if let Some(waiting) = self.incoming.get_mut(*waiter) {
                waiting.progress = cx.awake;
            }
        }
        self.deliver_or_buffer(cx, arrived, asked);
        if let (Some(named_by), Some(IdState::Logged(slot))) = (named_by, self.ids.state(digest))
            && named_by != self.sender_digest(message.sender_id)
        {
            // The first member that referenced it did not send it.
            self.log.remove_pending_ack(slot);
        }
        Ok(())
    }

    /// Lets go of waiters that claim to depend on something newer than themselves: they could
    /// wait in a cycle.
    pub(super) fn release_cyclic(&mut self, cx: &mut Cx<'_>, waiters: &mut Waiters, lamport: u64) {
        if waiters.is_empty() {
            return;
        }
        let mut cyclic = Waiters::new();
        retain_waiters(waiters, |waiter| {
            let newer = self
                .incoming
                .get(waiter)
                .is_some_and(|waiting| waiting.arrived.entry.lamport() > lamport);
            if !newer {
                cyclic.push(waiter);
            }
            newer
        });
        self.release(cx, &cyclic, true);
    }

    /// Half of a digest, which is enough to tell senders apart.
    pub(super) fn sender_digest(&self, sender: IdRef<'_>) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "half of it is wanted")]
        let half = self.ids.digest(sender.as_bytes()) as u64;
        half
    }

    fn dep_digests(&self, message: &MessageRef<'_>) -> Deps {
        let mut deps = Deps::new();
        for named in &message.causal_history {
            let id = named.message_id;
            deps.push(self.log.newest_digest(id).unwrap_or_else(|| self.ids.digest(id.as_bytes())));
        }
        deps
    }

    /// Puts a received content id into the id record and the filters.
    pub(super) fn record(
        &mut self,
        cx: &mut Cx<'_>,
        digest: IdDigest,
        probes: &Probes,
        lamport: u64,
    ) {
        let floor = self.ids.floor();
        let (number, forgotten) = self.ids.record(digest, lamport);
        let Some(number) = number else { return };
        self.filters.insert(probes);
        cx.outbox.change(&self.id, || self.filters.id_record(number, digest, lamport, probes));
        if let Some(up_to) = forgotten {
            cx.outbox.change(&self.id, || ChangeKind::Forgotten { up_to });
            self.report_floor(cx, floor);
        }
    }

    /// A received content id is to count as never received, but for filters.
    pub(super) fn unrecord(&mut self, cx: &mut Cx<'_>, digest: IdDigest) {
        if let Some(number) = self.ids.dropped(digest) {
            cx.outbox.change(&self.id, || ChangeKind::Unrecorded { number });
        }
    }

    /// Processes the evidence in a message about own messages.
    fn review(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &MessageRef<'_>,
        filter: Option<&ReceivedFilter<'_>>,
        deps: &[IdDigest],
    ) {
        if self.outgoing.is_empty() && !self.has_unconfirmed || self.is_me(message.sender_id) {
            return;
        }
        let mut acked: SmallVec<[_; 4]> =
            deps.iter().filter_map(|dep| self.acknowledge_named(cx, *dep)).collect();
        if let Some(filter) = filter {
            self.review_filter(cx, dialect, message, filter, &mut acked);
        }
        // In the order of sending, whatever told of them.
        acked.sort_unstable_by_key(|(seq, _)| *seq);
        for (_, message_id) in acked {
            cx.outbox.emit_after_write(Event::Acked { channel: self.id.clone(), message_id });
        }
    }

    /// Reviews what a message's filter says of our own messages. Those that it acknowledges join
    /// `acked`.
    fn review_filter(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &MessageRef<'_>,
        filter: &ReceivedFilter<'_>,
        acked: &mut SmallVec<[(DeliverySeq, MessageId); 4]>,
    ) {
        let witness = self.sender_digest(message.sender_id);
        let confidence = self.filters.ack_confidence_ln;
        for verdict in self.outgoing.review(dialect, filter, witness, confidence) {
            match verdict {
                Verdict::Acked(seq) => acked.extend(self.acknowledged(cx, seq)),
                Verdict::Possibly(seq) => self.possibly_acknowledged(cx, seq),
                Verdict::Likelier(seq) => self.persist_outgoing(cx, seq),
            }
        }
    }

    fn read_filter<'a>(
        &self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &MessageRef<'a>,
    ) -> Option<ReceivedFilter<'a>> {
        let bytes = message.bloom_filter.filter(|bytes| !bytes.is_empty())?;
        let filter = match dialect {
            WireDialect::Lip109 => ReceivedFilter::from_lip109(bytes, &self.config.geometry),
            WireDialect::NimSds => ReceivedFilter::from_nim(bytes, MAX_K),
        };
        filter
            .map_err(|error| {
                cx.outbox.emit_now(Event::FilterIgnored {
                    channel: self.id.clone(),
                    sender_id: message.sender_id.into(),
                    error,
                });
            })
            .ok()
    }

    /// Tells if a repeat differs from the message we have.
    fn report_conflict(
        &self,
        cx: &mut Cx<'_>,
        place: IdState,
        message: &MessageRef<'_>,
        lamport: u64,
    ) {
        let known = match place {
            IdState::Logged(slot) => self.log.get(slot).map(|logged| &logged.entry),
            IdState::Incoming(slot) => {
                self.incoming.get(slot).map(|waiting| &waiting.arrived.entry)
            }
            IdState::Evicted
            | IdState::Missing(_)
            | IdState::Resolved
            | IdState::Lost
            | IdState::Sync
            | IdState::Processing => None,
        };
        let differs = known.is_some_and(|known| {
            // A form of the nim dialect without senders leaves them out.
            let (sender, other) = (known.sender_id(), message.sender_id);
            known.lamport() != lamport
                || sender != other && !sender.is_empty() && !other.is_empty()
                || Some(known.content()) != message.content
                // Hints and senders of entries may differ between dialects and forms.
                || known.causal_history().len() != message.causal_history.len()
                || !known.causal_history().zip(&message.causal_history).all(|(known, other)| known.message_id == other.message_id)
        });
        if differs {
            cx.outbox.emit_now(Event::Conflict {
                channel: self.id.clone(),
                message_id: message.message_id.into(),
                sender_id: message.sender_id.into(),
            });
        }
    }

    /// Tells once that a sender's clock is far behind ours, as nim-sds's is, which counts in
    /// seconds.
    fn report_clock_behind(&mut self, cx: &mut Cx<'_>, sender: IdRef<'_>, lamport: u64) {
        let behind = cx.now.wall.is_some_and(|wall| lamport < wall.0 / 2);
        if behind && !self.reported_clock_behind {
            self.reported_clock_behind = true;
            let (channel, sender_id) = (self.id.clone(), sender.into());
            cx.outbox.emit_now(Event::ClockBehind { channel, sender_id, lamport });
        }
    }

    /// Tells once that somebody else has our participant id, or that we lost our state.
    fn report_id_in_use(&mut self, cx: &mut Cx<'_>, message: &MessageRef<'_>, lamport: u64) {
        if !self.reported_id_in_use {
            self.reported_id_in_use = true;
            let (channel, message_id) = (self.id.clone(), message.message_id.into());
            cx.outbox.emit_now(Event::ParticipantIdInUse { channel, message_id, lamport });
        }
    }

    fn note_join(&mut self, cx: &Cx<'_>) {
        if matches!(self.joining, Joining::NotYet) {
            self.joining = Joining::Since(cx.now.mono);
        }
    }
}

/// Copies the parts of a message that outlive its datagram.
fn logged(message: &MessageRef<'_>, lamport: u64) -> LogEntry {
    let anonymous = broken::is(Break::Authors);
    let sender_id = if anonymous { IdRef::default() } else { message.sender_id };
    LogEntry::of(
        message.message_id.as_bytes(),
        sender_id.as_bytes(),
        lamport,
        &message.causal_history,
        message.content.unwrap_or_default(),
    )
}
