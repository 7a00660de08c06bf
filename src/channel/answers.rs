//! The repair extension (SDS-R), what we answer.

use core::time::Duration;

use super::log::Dialects;
use super::record::{DigestMap, IdDigest, Place};
use super::repair::{arithmetic, signed_millis};
use super::slots::{Slot, Slots};
use super::{Channel, Cx, Timer};
use crate::broken::{self, Break};
use crate::effect::{Bound, Effect, SendReason};
use crate::id::{IdRef, MessageId, ParticipantId};
use crate::snapshot::{ChangeKind, StoredAnswer};
use crate::timer::TimerKey;
use crate::wire::{HistoryEntryRef, WireDialect};

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

impl Channel {
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
        if !arithmetic.in_response_group(me, sender, id, groups) {
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
            let (bound, sender_id) = (Bound::Answers, ParticipantId::default());
            cx.outbox.report(Effect::Bounded { channel, bound, message_id, sender_id });
            return;
        }
        let at = cx.now.mono + delay;
        let pinned = match self.ids.place(digest) {
            Some(Place::Logged(slot)) => {
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
        if let (true, Some(Place::Logged(slot))) = (answer.pinned, self.ids.place(answer.digest)) {
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
        // Whoever misses this answer asks again after T_min at the earliest.
        answer.timer =
            self.timers.schedule(cx.now.mono + self.config.repair_t_min / 2, Timer::Answer(slot));
        let (digest, dialects) = (answer.digest, answer.dialects);
        let answer = Answer { message_id: answer.message_id.clone(), ..*answer };
        self.release_answered(cx, &answer);
        let entry = match self.ids.place(digest) {
            Some(Place::Logged(slot)) => self.log.get(slot).map(|logged| logged.entry.clone()),
            Some(Place::Incoming(slot)) => {
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
