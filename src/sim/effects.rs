//! Carrying out what a member says, and checking that it may say it.

use alloc::boxed::Box;
use alloc::format;

use bytes::{Bytes, BytesMut};

use super::Simulation;
use super::queue::Occurrence;
use crate::effect::{Delivery, Effect, Event, RetrievalId, SendReason};
use crate::id::MessageId;
use crate::input::RetrievalOutcome;
use crate::time::Instant;
use crate::wire::{self, HistoryEntry, NimForm, Outgoing, WireDialect};

/// Latency of the store node.
const ARCHIVE_MICROS: u64 = 50_000;
/// Chance in percent that the store node does not answer.
const ARCHIVE_FAILS: u64 = 10;

impl Simulation {
    pub(super) fn drain(&mut self, index: usize) {
        while let Some(effect) = self.members[index].node.poll_effect() {
            self.hasher.add(&effect);
            if let Some(replay) = &mut self.members[index].replay {
                replay.effect(&effect);
            }
            self.carry_out(index, &effect);
            if let Some(told) = &mut self.told {
                told.push_back((index, effect));
            }
        }
    }

    fn carry_out(&mut self, index: usize, effect: &Effect) {
        match effect {
            Effect::Send { channel, bytes, message_id, dialect, reason } => {
                if *channel == self.channel {
                    self.check_sent(index, bytes, message_id, *dialect, *reason);
                }
                self.sent(index, bytes, message_id, *dialect, *reason);
            }
            Effect::Event(Event::Deliver(delivery)) if delivery.channel == self.channel => {
                self.delivered(index, delivery);
            }
            Effect::Persist { id, changes } => {
                let member = &mut self.members[index];
                member.store.write(*id, changes.clone());
                let takes = member.store.slow.unwrap_or(self.plan.store_ms) * 1_000;
                let (member, boot) = (index, member.boot);
                self.queue.schedule(self.now + takes, Occurrence::Written { member, boot });
            }
            Effect::Load { id, .. } => {
                let boot = self.members[index].boot;
                let at = self.now + self.plan.store_ms * 1_000;
                self.queue.schedule(at, Occurrence::Loaded { member: index, boot, id: *id });
            }
            Effect::Retrieve { id, missing, .. } => self.ask_archive(index, *id, missing),
            Effect::Event(Event::Acked { channel, message_id }) if *channel == self.channel => {
                self.acknowledged(index, message_id)
            }
            Effect::Event(Event::Unconfirmed { .. }) => self.report.unconfirmed += 1,
            Effect::Event(Event::Lost { channel, message_ids }) if *channel == self.channel => {
                self.report.lost += message_ids.len() as u64;
                for id in message_ids {
                    self.check_asked(index, id);
                    let Some(number) = self.registry.number(id) else { continue };
                    let in_reach = self.could_have_heard(index, number);
                    self.members[index].judge.loses(number, in_reach);
                }
            }
            Effect::Event(Event::LimitReached { .. }) => self.report.bounded += 1,
            Effect::Event(Event::Conflict { channel, message_id, .. })
                if *channel == self.channel =>
            {
                let number = self.registry.number(message_id);
                if !number.is_some_and(|number| self.registry.get(number).is_ambiguous()) {
                    let what = format!("{message_id} is said to be two messages");
                    self.fail(Some(index), (17, what));
                }
            }
            Effect::Event(Event::ParticipantIdInUse { channel, message_id, .. })
                if *channel == self.channel =>
            {
                let number = self.registry.number(message_id);
                let judge = &self.members[index].judge;
                if number.is_some_and(|number| judge.has_delivered(number)) {
                    let what = format!("it does not know any more that it made {message_id}");
                    self.fail(Some(index), (17, what));
                }
            }
            _ => {}
        }
    }

    fn sent(
        &mut self,
        index: usize,
        bytes: &Bytes,
        message_id: &MessageId,
        dialect: WireDialect,
        reason: SendReason,
    ) {
        let sent = &mut self.report.sent[reason as usize];
        sent.messages += 1;
        sent.bytes += bytes.len() as u64;
        self.members[index].bytes_sent += bytes.len() as u64;
        let message = self.registry.number(message_id);
        if let Some(number) = message {
            self.registry.get_mut(number).archive(dialect, bytes);
            let lacks =
                |member: &super::Member| member.is_here() && !member.judge.has_heard(number);
            if reason == SendReason::Repair && !self.members.iter().any(lacks) {
                self.report.redundant_repairs += 1;
            }
        }
        let Some(left) = self.network.departure(&self.plan, index, bytes.len(), self.now) else {
            return;
        };
        for to in (0..self.members.len()).filter(|to| *to != index) {
            self.send_to(Some(index), to, bytes, message, left);
        }
    }

    pub(super) fn send_to(
        &mut self,
        from: Option<usize>,
        to: usize,
        bytes: &Bytes,
        message: Option<usize>,
        left: u64,
    ) {
        for at in self.network.arrivals(&self.plan, &mut self.rng, from, to, left) {
            self.queue.schedule(at, Occurrence::Arrive { to, message, bytes: bytes.clone() });
        }
    }

    fn check_sent(
        &mut self,
        index: usize,
        bytes: &Bytes,
        message_id: &MessageId,
        dialect: WireDialect,
        reason: SendReason,
    ) {
        let limits = self.members[index].config.limits();
        let message = match wire::decode_ref(bytes, &limits) {
            Ok((in_dialect, message)) if in_dialect == dialect => message,
            other => {
                let what = format!("{message_id} cannot be read: {:?}", other.err());
                return self.fail(Some(index), (14, what));
            }
        };
        // A message that several forms have in common is read as one of them.
        let forms = [NimForm::V04, NimForm::V033, NimForm::V030, NimForm::V02];
        let is_canonical = |nim_form| {
            let mut again = BytesMut::with_capacity(bytes.len());
            Outgoing { nim_form, ..message.as_outgoing() }.encode(dialect, &mut again);
            again == *bytes
        };
        if !is_canonical(message.as_outgoing().nim_form) && !forms.into_iter().any(is_canonical) {
            self.fail(Some(index), (14, format!("{message_id} is not canonical")));
        }
        for request in &message.repair_request {
            self.asked.insert(request.message_id.into(), self.now);
        }
        let Some(lamport) = message.lamport else { return };
        let member = &mut self.members[index];
        if matches!(reason, SendReason::New | SendReason::Sync) {
            let verdict = member.judge.makes(lamport, message_id);
            if member.is_strict() && member.store.safe.lamport < lamport {
                let what = format!("{message_id} left before its Lamport time was safe");
                self.fail(Some(index), (9, what));
            }
            self.judge(index, verdict);
        }
    }

    /// A message that a member gives up must have been asked for, by it or others, since it started
    /// or woke up.
    fn check_asked(&mut self, index: usize, id: &MessageId) {
        let member = &self.members[index];
        let since = member.clock.started.max(member.asleep_until);
        if self.asked.get(id).is_none_or(|at| *at < since) {
            let what = format!("{id} was given up without having been asked for");
            self.fail(Some(index), (12, what));
        }
    }

    fn delivered(&mut self, index: usize, delivery: &Delivery) {
        let entry = &delivery.entry;
        let member = &self.members[index];
        if member.is_strict() && member.store.safe.delivered < delivery.seq {
            let what = format!("{} was delivered before it was safe", entry.message_id());
            self.fail(Some(index), (9, what));
        }
        let number = match self.registry.number(entry.message_id()) {
            Some(number) => number,
            None if delivery.own => {
                self.report.published += 1;
                self.report.published_at = Instant::from_micros(self.now);
                self.registry.add(entry, Some(index), self.now)
            }
            None => {
                let what = format!("{} was delivered and never published", entry.message_id());
                return self.fail(Some(index), (17, what));
            }
        };
        let member = &mut self.members[index];
        let verdict = member.judge.delivers(&self.registry, number, delivery, &member.node);
        if !delivery.redelivery {
            self.report.deliveries += 1;
            self.report.delivered_at = Instant::from_micros(self.now);
        }
        self.judge(index, verdict);
    }

    fn acknowledged(&mut self, index: usize, message_id: &MessageId) {
        let Some(number) = self.registry.number(message_id) else {
            let what = format!("{message_id} was acknowledged and never published");
            return self.fail(Some(index), (17, what));
        };
        let message = self.registry.get(number);
        if !message.reached_others {
            let what = format!("{message_id} was acknowledged, and nobody has it");
            return self.fail(Some(index), (13, what));
        }
        let after = Instant::from_micros(self.now).since(Instant::from_micros(message.at));
        self.report.acknowledged_after.push(after);
    }

    /// A store node answers what it is asked, or some of it.
    fn ask_archive(&mut self, index: usize, id: RetrievalId, missing: &[HistoryEntry]) {
        if self.plan.archive == 0 {
            return;
        }
        let config = &self.members[index].config;
        let boot = self.members[index].boot;
        let fails = self.rng.percent(ARCHIVE_FAILS);
        for named in missing {
            let number = self.registry.number(&named.message_id);
            let archived = number.and_then(|number| {
                self.registry.get(number).archived(|dialect| config.accepts(dialect))
            });
            let found = archived.filter(|_| self.rng.percent(self.plan.archive));
            let outcome = match found {
                _ if fails => RetrievalOutcome::Failed,
                Some(bytes) => RetrievalOutcome::Message(bytes.clone()),
                None => RetrievalOutcome::NotFound,
            };
            let answer = Box::new((id, outcome));
            let event = Occurrence::RetrievalOutcome { member: index, boot, answer };
            self.queue.schedule(self.now + ARCHIVE_MICROS, event);
        }
    }
}
