//! One event after the other: members hear, wake, publish, and are looked at.

use alloc::format;

use bytes::Bytes;

use super::member::Presence;
use super::queue::Occurrence;
use super::{RETRY_MICROS, Simulation};
use crate::entry::LogEntry;
use crate::error::{RejectReason, Rejected};
use crate::id::MessageId;
use crate::input::Input;
use crate::rng::Rng;
use crate::wire;

impl Simulation {
    pub(super) fn happen(&mut self, event: Occurrence) {
        let Some(event) = self.unless_asleep(event) else { return };
        match event {
            Occurrence::Arrive { to, message, bytes } => {
                if self.members[to].is_here() {
                    self.hear(to, message, Input::Datagram(bytes));
                }
            }
            Occurrence::Wake { member } => self.wake(member),
            Occurrence::Publish { number, member } => self.publish_planned(number, member),
            Occurrence::Written { member, boot } => self.written(member, boot),
            Occurrence::Loaded { member, boot, id } => self.loaded(member, boot, id),
            Occurrence::RetrievalOutcome { member, boot, answer } => {
                self.retrieved(member, boot, *answer)
            }
            Occurrence::Start { member } => self.start(member),
            Occurrence::Begin(fault) => self.begin(fault),
            Occurrence::End(fault) => self.end(fault),
        }
    }

    /// An event of a member whose device sleeps waits, or is lost.
    fn unless_asleep(&mut self, event: Occurrence) -> Option<Occurrence> {
        let (member, waits) = match &event {
            Occurrence::Arrive { to, .. } => (*to, false),
            Occurrence::Wake { member } => (*member, false),
            Occurrence::Publish { member, .. }
            | Occurrence::Written { member, .. }
            | Occurrence::Loaded { member, .. }
            | Occurrence::RetrievalOutcome { member, .. }
            | Occurrence::Start { member } => (*member, true),
            Occurrence::Begin(_) | Occurrence::End(_) => return Some(event),
        };
        let until = self.members[member].asleep_until;
        if self.now >= until {
            return Some(event);
        }
        if waits {
            self.queue.schedule(until, event);
        } else if matches!(event, Occurrence::Wake { .. }) {
            self.members[member].wake_at = None;
        }
        None
    }

    /// Gives a member a message of somebody else.
    pub(super) fn hear(&mut self, to: usize, message: Option<usize>, input: Input) {
        if self.handle(to, input).is_err() {
            return;
        }
        let Some(number) = message else { return };
        self.members[to].judge.hears(number);
        let message = self.registry.get_mut(number);
        message.reached_others |= message.by != Some(to);
    }

    fn wake(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.wake_at != Some(self.now) {
            return; // it was to be woken earlier since, and was
        }
        member.wake_at = None;
        if !member.is_here() {
            return;
        }
        let now = member.clock.now(self.now);
        if member.node.next_deadline().is_none_or(|deadline| deadline.at > now.mono) {
            self.plan_wake(index);
            return;
        }
        let before = self.hasher.get();
        // A tick is always taken.
        let _taken = self.handle(index, Input::Tick);
        let deadline = self.members[index].node.next_deadline();
        // One that made much may leave the rest for the next.
        let idle = self.hasher.get() == before;
        if idle && deadline.is_some_and(|deadline| deadline.at <= now.mono) {
            self.fail(Some(index), (8, format!("it is due again at once: {deadline:?}")));
        }
    }

    fn publish_planned(&mut self, number: u64, index: usize) {
        if self.members[index].presence == Presence::Gone {
            self.unpublished -= 1;
            return;
        }
        // The first part orders messages of equal Lamport times by chance.
        let hash = Rng::new(number ^ 0x6d65_7373).next_u64() >> 32;
        let message_id = MessageId::from(format!("{hash:08x}-{number}"));
        let mut content = alloc::vec![b'.'; self.plan.content as usize];
        let text = format!("{number}");
        let shown = text.len().min(content.len());
        content[..shown].copy_from_slice(&text.as_bytes()[..shown]);
        let content = Bytes::from(content);
        match self.publish(index, message_id.clone(), content.clone()) {
            Ok(()) => {
                self.unpublished -= 1;
                // An application that makes a mistake is told so, and that is all.
                if !matches!(self.publish(index, message_id, content), Err(RejectReason::IdKnown))
                    && self.members[index].is_here()
                {
                    self.fail(Some(index), (3, "an id could be used twice".into()));
                }
            }
            Err(
                RejectReason::ChannelNotOpen
                | RejectReason::ChannelLoading
                | RejectReason::OutgoingFull { .. }
                | RejectReason::Degraded
                | RejectReason::StoreTooSlow { .. },
            ) => {
                let again = self.now + RETRY_MICROS;
                self.queue.schedule(again, Occurrence::Publish { number, member: index });
            }
            Err(reason) => self.fail(Some(index), (4, format!("publishing was refused: {reason}"))),
        }
    }

    /// Gives a member an input, carries out what it says, and checks what it did.
    pub(super) fn handle(&mut self, index: usize, input: Input) -> Result<(), Rejected> {
        self.report.inputs += 1;
        let member = &mut self.members[index];
        let now = member.clock.now(self.now);
        if let Some(replay) = &mut member.replay {
            replay.input(now, &input);
        }
        let result = member.node.handle(now, input);
        if let Err(rejected) = &result {
            self.report.refused += 1;
            let member = &self.members[index];
            if member.node.status(&self.channel) != member.status {
                let what = format!("a refused input left a trace: {rejected}");
                self.fail(Some(index), (4, what));
            }
        }
        self.drain(index);
        self.review(index);
        result
    }

    /// Looks where a member stands after an input.
    fn review(&mut self, index: usize) {
        let member = &mut self.members[index];
        if let Some(replay) = &mut member.replay {
            replay.drained();
        }
        let status = member.node.status(&self.channel);
        let is_busy = member.is_here()
            && (!member.store.is_idle()
                || status.as_ref().is_none_or(|status| {
                    status.outgoing > 0 || status.incoming > 0 || status.missing > 0
                }));
        self.busy = self.busy + usize::from(is_busy) - usize::from(member.is_busy);
        member.is_busy = is_busy;
        let exceeded = status.as_ref().and_then(|status| {
            let config = &member.config;
            let counts = [
                ("max_log_messages", status.logged, config.max_log_messages),
                ("max_log_bytes", status.logged_bytes, config.max_log_bytes),
                ("max_outgoing", status.outgoing, config.max_outgoing),
                ("max_incoming_messages", status.incoming, config.max_incoming_messages),
                ("max_missing", status.missing, config.max_missing),
            ];
            // One body stays, however large.
            let one = status.logged == 1;
            counts
                .into_iter()
                .find(|(name, count, max)| count > max && !(one && *name == "max_log_bytes"))
        });
        member.status = status;
        if let Some((name, count, max)) = exceeded {
            self.fail(Some(index), (7, format!("{name} is {max}, and there are {count}")));
        }
        if self.crash_mid_write(index) {
            return;
        }
        self.plan_wake(index);
    }

    /// Puts the member's deadline into the queue, unless it is woken earlier anyway.
    pub(super) fn plan_wake(&mut self, index: usize) {
        let member = &mut self.members[index];
        let Some(deadline) = member.node.next_deadline().filter(|_| member.is_here()) else {
            return;
        };
        let at = member.clock.when(deadline.at).max(self.now);
        if member.wake_at.is_none_or(|wake_at| at < wake_at) {
            member.wake_at = Some(at);
            self.queue.schedule(at, Occurrence::Wake { member: index });
        }
    }

    /// A datagram of an outsider counts as published, if it is a message.
    pub(super) fn note_foreign(&mut self, bytes: &Bytes) -> Option<usize> {
        let (_, message) = wire::decode_ref(bytes, &wire::Limits::default()).ok()?;
        if message.kind() != wire::Kind::Content || message.channel_id != self.channel {
            return None;
        }
        let entry = LogEntry::new(
            message.message_id,
            message.sender_id,
            message.lamport?,
            message.causal_history.iter().copied(),
            message.content?,
        );
        Some(self.registry.add(&entry, None, self.now))
    }
}
