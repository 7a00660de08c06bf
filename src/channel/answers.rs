//! The repair extension (SDS-R), what we answer.

use core::mem;
use core::time::Duration;

use smallvec::SmallVec;

use super::log::Dialects;
use super::record::{DigestMap, IdDigest, IdState};
use super::repair::{arithmetic, signed_millis};
use super::slots::{Slot, Slots};
use super::{Channel, Cx, Timer};
use crate::bloom::ReceivedFilter;
use crate::broken::{self, Break};
use crate::config::Dialect;
use crate::effect::{Event, Limit, SendReason};
use crate::entry::DeliverySeq;
use crate::id::{IdRef, MessageId, ParticipantId};
use crate::snapshot::{ChangeKind, StoredAnswer};
use crate::time::Instant;
use crate::timer::TimerKey;
use crate::wire::{HistoryEntryRef, MessageRef, NimForm, WireDialect};

/// A request of others that we answer, or have just answered.
#[derive(Debug)]
pub(super) struct Answer {
    digest: IdDigest,
    message_id: MessageId,
    /// Dialects it was asked for in.
    dialects: Dialects,
    timer: TimerKey,
    /// Whether the log keeps the entry for it.
    pinned: bool,
    /// Whether it was given; until the timer runs out further requests are taken to have crossed
    /// it on the way.
    given: bool,
}

/// The incoming repair requests.
#[derive(Debug, Default)]
pub(super) struct Answers {
    answers: Slots<Answer>,
    by_digest: DigestMap<Slot>,
}

/// Entries looked for at once in the filter of somebody who cannot ask.
const MAX_LOOKED_FOR: usize = 256;
/// Times that one entry is offered, at most: it may be one that is refused.
const MAX_OFFERS: u8 = 16;

/// The entries that were looked for in filters of others who cannot ask.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// When that was.
    looked_at: Instant,
    /// When `newest` was taken, and the deliveries until then and until T_min or more before: those
    /// that are not just on their way to others.
    settled_at: Instant,
    newest: DeliverySeq,
    settled: DeliverySeq,
    /// Settled entries already looked for, from the newest on.
    depth: usize,
}

impl Channel {
    /// Answers without a request what the `filter` of a message shows its sender to lack, if its
    /// form has no room for requests.
    #[inline(always)]
    pub(super) fn offer_lacking(
        &mut self,
        cx: &mut Cx<'_>,
        message: &MessageRef<'_>,
        filter: Option<&ReceivedFilter<'_>>,
    ) {
        if message.nim_form.is_none_or(NimForm::is_complete) {
            return;
        }
        let cannot_ask = message.repair_request.is_empty();
        if let (Some(filter), true) = (filter, cannot_ask && self.config.repair) {
            self.look_for_lacking(cx, filter);
        }
    }

    fn look_for_lacking(&mut self, cx: &mut Cx<'_>, filter: &ReceivedFilter<'_>) {
        let (now, offers) = (cx.now.mono, &mut self.offers);
        if now.since(offers.looked_at) < self.config.repair_sync_min {
            return;
        }
        offers.looked_at = now;
        if now.since(offers.settled_at) >= self.config.repair_t_min {
            offers.settled_at = now;
            offers.settled = mem::replace(&mut offers.newest, self.log.delivered());
        }
        // Filters forget what is older.
        let held = self.config.bloom_capacity as usize / 5 * 4;
        let (settled, depth) = (offers.settled, offers.depth);
        let looked_for = MAX_LOOKED_FOR.min(held.saturating_sub(depth));
        let entries = self.log.delivered_until(settled).skip(depth).take(looked_for);
        let mut lacking: SmallVec<[Slot; 32]> = SmallVec::new();
        let mut count = 0;
        for (slot, logged) in entries {
            count += 1;
            let is_due = logged.offers < MAX_OFFERS
                && lacking.len() < self.config.max_repair_requests_burst
                && !self.answers.by_digest.contains_key(&logged.digest);
            let id = logged.entry.message_id();
            if is_due && !self.filters.finds(WireDialect::NimSds, filter, id) {
                lacking.push(slot);
            }
        }
        self.offers.depth = if count < MAX_LOOKED_FOR { 0 } else { depth + count };
        for slot in lacking {
            let Some(logged) = self.log.get_mut(slot) else { continue };
            logged.offers += 1;
            let (entry, digest) = (logged.entry.clone(), logged.digest);
            let named = HistoryEntryRef {
                message_id: entry.message_id(),
                sender_id: entry.sender_id(),
                ..HistoryEntryRef::default()
            };
            self.consider_answer(cx, WireDialect::NimSds, named, digest);
        }
    }

    pub(super) fn consider_answer(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        request: HistoryEntryRef<'_>,
        digest: IdDigest,
    ) {
        if let Some(slot) = self.answers.by_digest.get(&digest) {
            let Some(answer) = self.answers.answers.get_mut(*slot) else { return };
            if !answer.given && !answer.dialects.has(dialect) {
                answer.dialects = answer.dialects.with(Dialects::of(dialect));
                self.persist_answer(cx, *slot);
            }
            return;
        }
        let arithmetic = arithmetic(&self.config, dialect);
        let me = self.config.participant_id.as_bytes();
        let (sender, id) = (request.sender_id.as_bytes(), request.message_id.as_bytes());
        let groups = i64::from(self.config.response_groups);
        // A form of the nim dialect leaves senders out. Among those who speak LIP-109 nobody would
        // answer for them but whoever has told their messages there.
        let is_theirs = sender.is_empty() && self.config.dialect == Dialect::Bridge;
        if !is_theirs && !arithmetic.in_response_group(me, sender, id, groups) {
            return;
        }
        let t_max = signed_millis(self.config.t_max(dialect));
        let delay = Duration::from_millis(arithmetic.t_resp(me, sender, id, t_max));
        let dialects = Dialects::of(dialect);
        self.schedule_answer(cx, dialects, request.message_id, digest, delay);
    }

    pub(super) fn schedule_answer(
        &mut self,
        cx: &mut Cx<'_>,
        dialects: Dialects,
        message_id: IdRef<'_>,
        digest: IdDigest,
        delay: Duration,
    ) {
        let message_id = MessageId::from(message_id);
        if self.answers.answers.len() >= self.config.max_answers {
            let channel = self.id.clone();
            let (limit, sender_id) = (Limit::Answers, ParticipantId::default());
            cx.outbox.emit_now(Event::LimitReached { channel, limit, message_id, sender_id });
            return;
        }
        let at = cx.now.mono + delay;
        let pinned = match self.ids.state(digest) {
            Some(IdState::Logged(slot)) => {
                self.log.pin(slot);
                true
            }
            _ => false,
        };
        let slot = self.answers.answers.insert(Answer {
            digest,
            message_id,
            dialects,
            timer: TimerKey::default(),
            pinned,
            given: false,
        });
        let timer = self.timers.schedule(at, Timer::Answer(slot));
        if let Some(answer) = self.answers.answers.get_mut(slot) {
            answer.timer = timer;
        }
        self.answers.by_digest.insert(digest, slot);
        self.persist_answer(cx, slot);
    }

    fn persist_answer(&self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(answer) = self.answers.answers.get(slot) else { return };
        let due = cx.wall_at(answer.timer.at());
        cx.outbox.change(&self.id, || {
            ChangeKind::AnswerSet(StoredAnswer {
                message_id: answer.message_id.clone(),
                lip109: answer.dialects.has(WireDialect::Lip109),
                nim_sds: answer.dialects.has(WireDialect::NimSds),
                due,
            })
        });
    }

    /// The message was heard: whoever asked has it now as well.
    pub(super) fn cancel_answer(&mut self, cx: &mut Cx<'_>, digest: IdDigest) {
        let Some(slot) = self.answers.by_digest.get(&digest).copied() else { return };
        if self.answers.answers.get(slot).is_some_and(|answer| !answer.given) {
            self.end_answer(cx, slot);
        }
    }

    fn end_answer(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(answer) = self.answers.answers.remove(slot) else { return };
        self.answers.by_digest.remove(&answer.digest);
        self.timers.cancel(answer.timer);
        if !answer.given {
            self.release_answered(cx, &answer);
        }
    }

    fn release_answered(&mut self, cx: &mut Cx<'_>, answer: &Answer) {
        if let (true, Some(IdState::Logged(slot))) = (answer.pinned, self.ids.state(answer.digest))
        {
            self.log.unpin(slot);
        }
        cx.outbox.change(&self.id, || ChangeKind::AnswerRemoved(answer.message_id.clone()));
    }

    /// T_resp ran out, or the quiet time after an answer did.
    pub(super) fn answer_due(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(answer) = self.answers.answers.get_mut(slot) else { return };
        if answer.given {
            self.end_answer(cx, slot);
            return;
        }
        answer.given = !broken::is(Break::Rest);
        // A member that misses this answer requests it again after T_min at the earliest.
        answer.timer =
            self.timers.schedule(cx.now.mono + self.config.repair_t_min / 2, Timer::Answer(slot));
        let (digest, dialects) = (answer.digest, answer.dialects);
        let answer = Answer { message_id: answer.message_id.clone(), ..*answer };
        self.release_answered(cx, &answer);
        let entry = match self.ids.state(digest) {
            Some(IdState::Logged(slot)) => self.log.get(slot).map(|logged| logged.entry.clone()),
            Some(IdState::Incoming(slot)) => {
                self.incoming.get(slot).map(|waiting| waiting.arrived.entry.clone())
            }
            _ => None,
        };
        let Some(entry) = entry else { return };
        for dialect in [WireDialect::Lip109, WireDialect::NimSds] {
            if dialects.has(dialect) {
                self.send_entry(cx, dialect, &entry, SendReason::Repair);
            }
        }
    }
}
