//! Own messages: publishing, resending, and what becomes of them.

use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::fit::Shares;
use super::incoming::{Arrived, Deps, Waiters};
use super::log::{Dialects, Naming};
use super::outgoing::Unacked;
use super::record::{IdDigest, IdState};
use super::slots::Slot;
use super::{Channel, Cx, Timer};
use crate::broken::{self, Break};
use crate::config::Config;
use crate::effect::{Effect, Event, SendReason};
use crate::entry::{DeliverySeq, LogEntry};
use crate::error::RejectReason;
use crate::id::MessageId;
use crate::snapshot::ChangeKind;
use crate::time::Instant;
use crate::wire::{FilterField, HistoryEntry, HistoryEntryRef, Outgoing as Encoding, WireDialect};

/// The causal history of an own message.
pub(super) type History<'a> = SmallVec<[HistoryEntryRef<'a>; 4]>;

impl Channel {
    /// Publishes a content message.
    pub(crate) fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        message_id: &MessageId,
        content: &Bytes,
    ) -> Result<(), RejectReason> {
        self.check_publish(message_id, content)?;
        if self.config.writes_dialect(WireDialect::Lip109) && message_id.as_str().is_none() {
            return Err(RejectReason::IdNotUtf8);
        }
        let dialects = self.own_dialects();
        let digest = self.ids.digest(message_id.as_bytes());
        let place = self.ids.state(digest);
        // The record may have forgotten an own message that the log had to let go of.
        let waits = self.outgoing.seq_of(digest).is_some();
        // Naming an id, or giving it up, does not use it: only a message does.
        let used = matches!(
            place,
            Some(
                IdState::Logged(_) | IdState::Evicted | IdState::Incoming(_) | IdState::Processing
            )
        );
        if waits || used {
            if broken::is(Break::Refusal) {
                self.clock.observe(self.clock.current() + 1);
            }
            return Err(RejectReason::IdKnown);
        }
        let Shares { naming, requests } = self.message_shares(cx, message_id, content)?;
        let lamport = self.clock.next(cx.now.wall).ok_or(RejectReason::ClockExhausted)?;
        self.make_outgoing_room(cx)?;
        // Others have named it: we may have published it before our state was lost.
        let dependency = match place {
            Some(IdState::Missing(slot)) => self.take_missing(cx, slot),
            _ => None,
        };

        let requests = self.take_due_requests(cx, requests, false);
        let requests: Vec<_> = requests.iter().map(HistoryEntry::borrowed).collect();
        let (entry, deps) = {
            let (named, deps) = self.next_history(naming);
            let me = self.config.participant_id.as_bytes();
            (LogEntry::of(message_id.as_bytes(), me, lamport, &named, content), deps)
        };
        let filtered = self.filters.take_turn();
        let mut sends: SmallVec<[Effect; 2]> = SmallVec::new();
        for dialect in dialects {
            // The filter as it is before this message joins it.
            sends.push(self.with_filter(*dialect, filtered, |filter| {
                self.encode(cx, *dialect, &entry, filter, &requests, SendReason::New)
            }));
            self.sync.note_traffic(*dialect, cx.now.mono);
        }
        self.tell_incomplete(cx);
        self.log.on_history_sent(naming);
        self.log_own(cx, entry, digest, deps, dialects);
        sends.into_iter().for_each(|send| cx.outbox.emit_after_write(send));
        if let Some(dependency) = dependency {
            // It is in the log before them, so none of them has a gap, whatever their Lamport
            // times.
            self.release(cx, &dependency.waiters, false);
        }
        self.settle(cx);
        Ok(())
    }

    /// Publishes a message that is not logged.
    pub(crate) fn publish_ephemeral(
        &self,
        cx: &mut Cx<'_>,
        message_id: &MessageId,
        content: &Bytes,
    ) -> Result<(), RejectReason> {
        self.check_publish(message_id, content)?;
        if !self.config.writes_dialect(WireDialect::Lip109) {
            return Err(RejectReason::EphemeralNotInDialect);
        }
        if message_id.as_str().is_none() {
            return Err(RejectReason::IdNotUtf8);
        }
        self.check_ephemeral_fits(cx, message_id, content)?;
        let message = Encoding {
            sender_id: self.config.participant_id.as_bytes(),
            message_id: message_id.as_bytes(),
            channel_id: self.id.as_bytes(),
            content: Some(content),
            ..Encoding::default()
        };
        let dialect = WireDialect::Lip109;
        let send = self.encoded(cx, dialect, &message, SendReason::Ephemeral);
        cx.outbox.emit_now(send);
        Ok(())
    }

    fn check_publish(&self, message_id: &MessageId, content: &Bytes) -> Result<(), RejectReason> {
        let (len, limit) = (message_id.len(), self.config.max_id_len);
        if message_id.is_empty() {
            return Err(RejectReason::EmptyId);
        }
        if len > limit {
            return Err(RejectReason::IdTooLong { len, limit });
        }
        let (len, limit) = (content.len(), self.config.max_content_len);
        if content.is_empty() {
            return Err(RejectReason::EmptyContent);
        }
        if len > limit {
            return Err(RejectReason::ContentTooLong { len, limit });
        }
        Ok(())
    }

    /// Why no more own messages can be kept until they are acknowledged, if so.
    fn outgoing_full(&self) -> Option<RejectReason> {
        let Config { max_outgoing, max_log_bytes, .. } = *self.config;
        if self.outgoing.len() >= max_outgoing {
            return Some(RejectReason::OutgoingFull { limit: max_outgoing });
        }
        // Their bodies are the log's, and what the log must let go of they must not keep.
        let full = self.outgoing.bytes() >= max_log_bytes;
        full.then_some(RejectReason::OutgoingFull { limit: max_log_bytes })
    }

    /// Returns the bounds on the causal history of the next content message.
    pub(super) fn naming(&self) -> Naming {
        let Config { causal_history_len: len, max_heads, .. } = *self.config;
        Naming { len, max_heads, max_named: max_heads }
    }

    /// The causal history of the next message, and the digests of what it names.
    pub(super) fn next_history(&self, naming: Naming) -> (History<'_>, Deps) {
        let named = self.log.next_history(naming);
        let logged = named.iter().filter_map(|slot| self.log.get(*slot));
        logged
            .map(|logged| {
                let named = HistoryEntryRef {
                    message_id: logged.entry.message_id(),
                    retrieval_hint: logged.hint.as_deref(),
                    sender_id: logged.entry.sender_id(),
                };
                (named, logged.digest)
            })
            // A mirror may have come to write another form since.
            .filter(|(named, _)| self.can_name(named.message_id))
            .unzip()
    }

    fn log_own(
        &mut self,
        cx: &mut Cx<'_>,
        entry: LogEntry,
        digest: IdDigest,
        deps: Deps,
        dialects: &[WireDialect],
    ) {
        let probes = self.filters.own_probes(entry.message_id());
        self.record(cx, digest, &probes, entry.lamport());
        let heard = dialects.iter().fold(Dialects::default(), |set, d| set.with(Dialects::of(*d)));
        let arrived = Arrived {
            entry: entry.clone(),
            digest,
            deps,
            heard,
            gap: false,
            nameable: self.can_name(entry.message_id()),
            waiters: Waiters::new(),
        };
        let slot = self.append(cx, &arrived, true);
        let seq = self.log.delivered();
        self.log.pin(slot);
        self.outgoing.add(seq, entry, digest, probes);
        self.schedule_resend(cx, seq);
        self.persist_outgoing(cx, seq);
        self.evict(cx);
    }

    pub(super) fn schedule_resend(&mut self, cx: &mut Cx<'_>, seq: DeliverySeq) {
        let Some(unacked) = self.outgoing.get(seq) else { return };
        let delay = unacked.jittered_delay(&self.config, cx.rng);
        self.schedule_resend_at(cx.now.mono + delay, seq);
    }

    pub(super) fn schedule_resend_at(&mut self, at: Instant, seq: DeliverySeq) {
        let Some(unacked) = self.outgoing.get_mut(seq) else { return };
        if let Some(key) = unacked.timer.take() {
            self.timers.cancel(key);
        }
        if self.config.resend {
            unacked.timer = Some(self.timers.schedule(at, Timer::Resend(seq)));
        }
    }

    pub(super) fn persist_outgoing(&self, cx: &mut Cx<'_>, seq: DeliverySeq) {
        let Some(unacked) = self.outgoing.get(seq) else { return };
        let due = unacked.timer.and_then(|timer| cx.wall_at(timer.at()));
        cx.outbox.change(&self.id, || ChangeKind::OutgoingSet(unacked.stored(seq, false, due)));
    }

    /// Nobody acknowledged the message in time: it is sent again, or reported unconfirmed.
    pub(super) fn resend(&mut self, cx: &mut Cx<'_>, seq: DeliverySeq) {
        let Some(unacked) = self.outgoing.get_mut(seq) else { return };
        unacked.timer = None;
        if unacked.resends >= self.config.max_resends {
            self.unconfirmed(cx, seq);
            return;
        }
        unacked.resends += 1;
        let entry = unacked.entry.clone();
        self.schedule_resend(cx, seq);
        self.persist_outgoing(cx, seq);
        self.send_again(cx, &entry);
    }

    /// The application wants an own message sent again.
    pub(crate) fn resend_now(
        &mut self,
        cx: &mut Cx<'_>,
        message_id: &MessageId,
    ) -> Result<(), RejectReason> {
        let digest = self.ids.digest(message_id.as_bytes());
        let unacked = self.outgoing.seq_of(digest).and_then(|seq| self.outgoing.get(seq));
        let entry = match unacked {
            Some(unacked) => unacked.entry.clone(),
            None => self.await_again(cx, digest)?,
        };
        self.send_again(cx, &entry);
        Ok(())
    }

    /// An unconfirmed message waits for an acknowledgement again, as when it was new.
    fn await_again(&mut self, cx: &mut Cx<'_>, digest: IdDigest) -> Result<LogEntry, RejectReason> {
        let slot = match self.ids.state(digest) {
            Some(IdState::Logged(slot)) => slot,
            Some(IdState::Evicted) => return Err(RejectReason::BodyEvicted),
            _ => return Err(RejectReason::NotUnacknowledged),
        };
        let logged = self.log.get(slot).filter(|logged| logged.unconfirmed);
        let logged = logged.ok_or(RejectReason::NotUnacknowledged)?;
        let (seq, entry) = (logged.seq, logged.entry.clone());
        self.make_outgoing_room(cx)?;
        if let Some(logged) = self.log.get_mut(slot) {
            logged.unconfirmed = false;
        }
        self.log.pin(slot);
        let probes = self.filters.own_probes(entry.message_id());
        self.outgoing.add(seq, entry.clone(), digest, probes);
        self.schedule_resend(cx, seq);
        self.persist_outgoing(cx, seq);
        Ok(entry)
    }

    /// Makes room for one more own message that waits for an acknowledgement, if that is allowed.
    fn make_outgoing_room(&mut self, cx: &mut Cx<'_>) -> Result<(), RejectReason> {
        while let Some(reason) = self.outgoing_full() {
            let oldest = self.outgoing.oldest().filter(|_| self.config.unconfirmed_when_full);
            self.unconfirmed(cx, oldest.ok_or(reason)?);
        }
        Ok(())
    }

    fn send_again(&mut self, cx: &mut Cx<'_>, entry: &LogEntry) {
        let filtered = self.filters.take_turn();
        for dialect in self.own_dialects() {
            if !self.can_tell(*dialect, entry) {
                // From a time when other settings let it be published.
                continue;
            }
            let send = self.with_filter(*dialect, filtered, |filter| {
                self.encode(cx, *dialect, entry, filter, &[], SendReason::Resend)
            });
            cx.outbox.emit_after_write(send);
        }
    }

    /// Hands our filter on if the message is to have one.
    fn with_filter<R>(
        &self,
        dialect: WireDialect,
        filtered: bool,
        encode: impl FnOnce(FilterField<'_>) -> R,
    ) -> R {
        if filtered {
            self.filters.with_field(dialect, encode)
        } else {
            encode(FilterField::Absent)
        }
    }

    fn unconfirmed(&mut self, cx: &mut Cx<'_>, seq: DeliverySeq) {
        let Some((unacked, slot)) = self.end_outgoing(seq) else { return };
        if let Some(logged) = slot.and_then(|slot| self.log.get_mut(slot)) {
            logged.unconfirmed = true;
            self.has_unconfirmed = true;
            cx.outbox.change(&self.id, || ChangeKind::OutgoingSet(unacked.stored(seq, true, None)));
        } else {
            cx.outbox.change(&self.id, || ChangeKind::OutgoingRemoved(seq));
        }
        let message_id = unacked.entry.message_id().into();
        cx.outbox.emit_after_write(Event::Unconfirmed { channel: self.id.clone(), message_id });
    }

    /// A received causal history names this id: if it is an own message, somebody has it, and it
    /// is to be told.
    pub(super) fn acknowledge_named(
        &mut self,
        cx: &mut Cx<'_>,
        digest: IdDigest,
    ) -> Option<(DeliverySeq, MessageId)> {
        if let Some(seq) = self.outgoing.seq_of(digest) {
            return self.acknowledged(cx, seq);
        }
        if !self.has_unconfirmed {
            return None;
        }
        let Some(IdState::Logged(slot)) = self.ids.state(digest) else { return None };
        let logged = self.log.get_mut(slot).filter(|logged| logged.unconfirmed)?;
        logged.unconfirmed = false;
        let (seq, message_id) = (logged.seq, logged.entry.message_id().into());
        cx.outbox.change(&self.id, || ChangeKind::OutgoingRemoved(seq));
        Some((seq, message_id))
    }

    /// Somebody has this own message, which is to be told.
    pub(super) fn acknowledged(
        &mut self,
        cx: &mut Cx<'_>,
        seq: DeliverySeq,
    ) -> Option<(DeliverySeq, MessageId)> {
        let (unacked, _) = self.end_outgoing(seq)?;
        cx.outbox.change(&self.id, || ChangeKind::OutgoingRemoved(seq));
        Some((seq, unacked.entry.message_id().into()))
    }

    pub(super) fn possibly_acknowledged(&mut self, cx: &mut Cx<'_>, seq: DeliverySeq) {
        let Some(unacked) = self.outgoing.get_mut(seq) else { return };
        let message_id = unacked.entry.message_id().into();
        self.schedule_resend(cx, seq);
        self.persist_outgoing(cx, seq);
        cx.outbox.emit_after_write(Event::PossiblyAcked { channel: self.id.clone(), message_id });
    }

    /// Takes a message out of the outgoing buffer, and says where it is if it is logged.
    fn end_outgoing(&mut self, seq: DeliverySeq) -> Option<(Unacked, Option<Slot>)> {
        let unacked = self.outgoing.remove(seq)?;
        if let Some(key) = unacked.timer {
            self.timers.cancel(key);
        }
        let slot = match self.ids.state(unacked.digest) {
            // Another's message may bear an id that was forgotten.
            Some(IdState::Logged(slot)) => {
                self.log.get(slot).filter(|logged| logged.seq == seq).map(|_| slot)
            }
            _ => None,
        };
        if let Some(slot) = slot {
            self.log.unpin(slot);
        }
        Some((unacked, slot))
    }

    /// Sends somebody's logged message as it is: no filter, which would be ours under another's
    /// name, and no repair requests. An entry that the dialect cannot say is reported instead.
    pub(super) fn send_entry(
        &self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        entry: &LogEntry,
        reason: SendReason,
    ) {
        if !self.can_tell(dialect, entry) {
            let (channel, message_id) = (self.id.clone(), entry.message_id().into());
            cx.outbox.emit_now(Event::NotForwarded { channel, message_id });
            return;
        }
        let send = self.encode(cx, dialect, entry, FilterField::Absent, &[], reason);
        cx.outbox.emit_after_write(send);
    }

    /// A logged message as it goes to those who ask for it, in the first of our dialects that can
    /// say it.
    pub(crate) fn logged_datagram(&self, cx: &mut Cx<'_>, message_id: &MessageId) -> Option<Bytes> {
        let entry = self.view().get(message_id)?;
        let mut dialects = self.own_dialects().iter();
        let dialect = dialects.find(|own| **own != WireDialect::Lip109 || entry.is_text())?;
        let reason = SendReason::Repair;
        let send = self.encode(cx, *dialect, entry, FilterField::Absent, &[], reason);
        let Effect::Send { bytes, .. } = send else { return None };
        Some(bytes)
    }

    fn encode(
        &self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        entry: &LogEntry,
        filter: FilterField<'_>,
        requests: &[HistoryEntryRef<'_>],
        reason: SendReason,
    ) -> Effect {
        let message = Encoding {
            sender_id: entry.sender_id().as_bytes(),
            message_id: entry.message_id().as_bytes(),
            channel_id: self.id.as_bytes(),
            lamport: Some(entry.lamport()),
            causal_history: &entry.causal_history().collect::<History<'_>>(),
            filter,
            repair_request: requests,
            content: Some(entry.content()),
            nim_form: self.own_form(),
        };
        self.encoded(cx, dialect, &message, reason)
    }

    pub(super) fn encoded(
        &self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message: &Encoding<'_>,
        reason: SendReason,
    ) -> Effect {
        let mut message = *message;
        // Of a sync, or of a message that was published under other settings.
        if message.filter != FilterField::Absent
            && cx.node.max_datagram_len < usize::MAX
            && message.encoded_len(dialect) > cx.node.max_datagram_len
        {
            message.filter = FilterField::Absent;
        }
        message.encode(dialect, cx.buffer);
        if broken::is(Break::Canonical) {
            // Field 100, of no bytes.
            cx.buffer.extend_from_slice(&[0xa2, 0x06, 0x00]);
        }
        let bytes = cx.buffer.split().freeze();
        Effect::Send {
            channel: self.id.clone(),
            message_id: bytes.slice(message.message_id_range(dialect)).into(),
            bytes,
            dialect,
            reason,
        }
    }
}
