//! The end of a run: everybody has everything, nothing is left to be done, and it is quiet.

use alloc::format;
use core::time::Duration;

use super::Simulation;
use super::member::{Member, Presence};
use super::report::Violation;
use crate::channel::LogView;
use crate::effect::SendReason;
use crate::wire::WireDialect;

/// Members are compared no more often than this, as it takes time.
const LOOK_EVERY: u64 = 1_000_000;
/// Time in which a request is answered: the maximum delays of requests, answers and datagrams.
const ANSWERED_IN: Duration = Duration::from_secs(600);
/// Time for which it must be quiet.
const SILENCE: Duration = Duration::from_secs(600);

impl Simulation {
    pub(super) fn run_until_settled(&mut self) -> Result<(), Violation> {
        let deadline = self.troubled_until + self.plan.patience_min * 60_000_000;
        while !self.is_settled() {
            let next_look = self.troubled_until.max(self.look_at);
            if self.queue.next_at().is_none() && self.now < next_look {
                // Nothing is going to happen, but time passes.
                self.now = next_look;
                continue;
            }
            if self.now > deadline || !self.step()? {
                let (member, what) = self.what_is_left();
                self.fail(member, what);
                return self.verdict();
            }
        }
        // The silence that follows has no faults: what waits for a write that never came is off.
        self.members.iter_mut().for_each(|member| member.crash = None);
        self.report.settled_at = Some(self.now());
        Ok(())
    }

    pub(super) fn run_in_silence(&mut self) -> Result<(), Violation> {
        self.run_until(self.now() + ANSWERED_IN)?;
        let before = self.report.sent;
        self.run_until(self.now() + SILENCE)?;
        let after = self.report.sent;
        for reason in [SendReason::New, SendReason::Resend, SendReason::Repair, SendReason::Bridge]
        {
            let sent = after[reason as usize].messages - before[reason as usize].messages;
            if sent > 0 {
                self.fail(None, (18, format!("after everything was settled {sent} × {reason:?}")));
            }
        }
        self.verdict()
    }

    pub(super) fn check_at_the_end(&mut self) -> Result<(), Violation> {
        self.check_lost();
        for index in 0..self.members.len() {
            let member = &self.members[index];
            if member.is_here() {
                let verdict =
                    member.judge.check_log(&self.channel, &member.node, self.plan.log > 0);
                self.judge(index, verdict);
            }
            if let Some(replay) = self.members[index].replay.take() {
                self.finished_replays.push((self.members[index].config.clone(), replay));
            }
        }
        for (config, replay) in core::mem::take(&mut self.finished_replays) {
            if let Err(broken) = replay.check(&config, &mut self.rng) {
                self.fail(None, broken);
            }
        }
        self.verdict()
    }

    fn verdict(&self) -> Result<(), Violation> {
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Whether nothing is left to be done.
    fn is_settled(&mut self) -> bool {
        if self.busy > 0 || self.unpublished > 0 || self.now < self.troubled_until {
            return false;
        }
        let is_away = |member: &Member| member.presence == Presence::Away;
        if self.now < self.look_at || self.members.iter().any(is_away) {
            return false;
        }
        self.look_at = self.now + LOOK_EVERY;
        self.lacking().is_none()
    }

    /// A member and a message that it lacks, although it could be had.
    fn lacking(&self) -> Option<(usize, usize)> {
        let all = self.registry.len();
        let incomplete = |index: &usize| {
            let member = &self.members[*index];
            member.is_here() && member.judge.delivered < all && member.judge.has_sent_all_heads()
        };
        (0..self.members.len())
            .filter(incomplete)
            .find_map(|index| self.lacked_by(index).map(|number| (index, number)))
    }

    /// A message that a member lacks, that it has not given up, and that somebody could tell it of.
    ///
    /// References are transitive through logged entries. If those were evicted, only heads and
    /// their references are certain to be known.
    fn lacked_by(&self, index: usize) -> Option<usize> {
        let judge = &self.members[index].judge;
        let lacks = |number: &usize| {
            let is_one = !self.registry.get(*number).is_ambiguous();
            is_one && !judge.has_delivered(*number) && !judge.has_lost(*number)
        };
        if self.plan.log > 0 || judge.has_lost_any() {
            let mut logs = self.logs_heard_by(index);
            return logs.find_map(|log| {
                log.heads().filter_map(|head| self.registry.number(head)).find(lacks)
            });
        }
        (0..self.registry.len()).filter(lacks).find(|number| self.could_hear(index, *number))
    }

    /// The logs of those who can tell a member something without somebody in between.
    fn logs_heard_by(&self, index: usize) -> impl Iterator<Item = LogView<'_>> {
        self.heard_by(index).filter_map(|member| member.node.log(&self.channel))
    }

    fn heard_by(&self, index: usize) -> impl Iterator<Item = &Member> {
        let hearer = &self.members[index].config;
        let understood = |member: &&Member| {
            let dialects = [WireDialect::Lip109, WireDialect::NimSds];
            let common = |dialect| member.config.writes_dialect(dialect) && hearer.accepts(dialect);
            member.is_here() && dialects.into_iter().any(common)
        };
        self.members.iter().filter(understood)
    }

    /// Whether anybody whom the member understands has the message, and did not sleep while it was
    /// asked for.
    pub(super) fn could_have_heard(&self, index: usize, number: usize) -> bool {
        let id = self.registry.get(number).entry().message_id();
        let lost_after = self.plan.lost_after_min * 60_000_000;
        let was_awake = |member: &&Member| {
            member.asleep_until == 0 || member.asleep_until + lost_after <= self.now
        };
        let awake = self.heard_by(index).filter(was_awake);
        let mut logs = awake.filter_map(|member| member.node.log(&self.channel));
        logs.any(|log| log.get(id).is_some())
    }

    /// Whether anybody whom the member understands has the message.
    pub(super) fn could_hear(&self, index: usize, number: usize) -> bool {
        let id = self.registry.get(number).entry().message_id();
        self.logs_heard_by(index).any(|log| log.get(id).is_some())
    }

    /// A message that was reachable both when it was given up and now must not have been given up.
    fn check_lost(&mut self) {
        for index in 0..self.members.len() {
            let member = &self.members[index];
            let lost = |number: &usize| {
                member.judge.has_lost_in_reach(*number) && !member.judge.has_delivered(*number)
            };
            if !member.is_here() || !member.judge.has_lost_any() {
                continue;
            }
            let lost = (0..self.registry.len())
                .filter(lost)
                .find(|number| self.could_hear(index, *number));
            if let Some(number) = lost {
                let id = self.registry.get(number).entry().message_id();
                let what = format!("{id} was given up, although others have it");
                self.fail(Some(index), (12, what));
            }
        }
    }

    /// Returns the reason why a group has not settled, and the invariant that this breaks.
    fn what_is_left(&self) -> (Option<usize>, super::Broken) {
        let busy = self.members.iter().position(|member| member.is_busy);
        if let Some(index) = busy {
            let status = &self.members[index].status;
            let invariant = match status {
                Some(status) if status.missing + status.incoming > 0 => 12,
                _ => 18,
            };
            return (Some(index), (invariant, format!("it does not come to rest: {status:?}")));
        }
        if let Some((index, number)) = self.lacking() {
            let id = self.registry.get(number).entry().message_id();
            return (Some(index), (11, format!("it never heard of {id}")));
        }
        (None, (18, format!("{} messages could not be published", self.unpublished)))
    }
}
