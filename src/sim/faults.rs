//! Faults as they begin and end; stores that answer; members that stop and start.

use alloc::format;

use super::fault::Fault;
use super::member::Presence;
use super::plan::Plan;
use super::queue::Occurrence;
use super::store::Safe;
use super::value::Keep;
use super::{RETRY_MICROS, Simulation};
use crate::config::Durability;
use crate::effect::{LoadId, RetrievalId};
use crate::input::{Input, RetrievalOutcome};
use crate::node::Node;
use crate::wire;

impl Simulation {
    pub(super) fn schedule_plan(&mut self) {
        let mut late = alloc::vec![false; self.members.len()];
        for fault in self.plan.faults.clone() {
            let (begin, end) = fault.span();
            self.troubled_until = self.troubled_until.max(end * 1_000);
            match fault {
                Fault::Join { node, at } => {
                    let member = node as usize;
                    late[member] = true;
                    self.queue.schedule(at * 1_000, Occurrence::Start { member });
                }
                Fault::Skew { .. } | Fault::Drift { .. } => {}
                _ => self.queue.schedule(begin * 1_000, Occurrence::Begin(fault)),
            }
        }
        for member in (0..self.members.len()).filter(|member| !late[*member]) {
            self.queue.schedule(0, Occurrence::Start { member });
        }
        let Plan { messages, gap_ms, nodes, together, .. } = self.plan;
        let mut at = 0;
        for number in 0..messages {
            if !self.rng.percent(together) {
                at += self.rng.below(2 * gap_ms * 1_000 + 1);
            }
            let member = self.rng.below(nodes) as usize;
            self.queue.schedule(at, Occurrence::Publish { number, member });
        }
        self.unpublished = messages;
        self.troubled_until = self.troubled_until.max(at);
    }

    /// Members that are there from the beginning start before the application does anything.
    pub(super) fn start_all_due(&mut self) {
        while self.now == 0
            && self.report.inputs < self.plan.nodes
            && self.queue.next_at() == Some(0)
        {
            if let Some((_, event)) = self.queue.pop() {
                self.happen(event);
            }
        }
    }

    pub(super) fn begin(&mut self, fault: Fault) {
        let (begin, end) = fault.span();
        match fault {
            Fault::Partition { .. } | Fault::OneWay { .. } => {
                self.network.cut(fault);
            }
            Fault::SlowStore { node, takes, .. } => {
                self.members[node as usize].store.slow = Some(takes);
            }
            Fault::FailingStore { node, .. } => self.members[node as usize].store.failing += 1,
            Fault::Crash { node, down, keep, mid_write, .. } => {
                let index = node as usize;
                let keeps = self.members[index].config.durability() != Durability::None;
                if mid_write > 0 && keeps {
                    self.members[index].crash = Some((keep, down));
                } else {
                    self.crash(index, keep, down);
                }
                return;
            }
            Fault::Jump { node, by, .. } => {
                let clock = &mut self.members[node as usize].clock;
                clock.ahead = clock.ahead.map(|ahead| ahead + by);
                return;
            }
            Fault::Leave { node, .. } => {
                self.stop(node as usize);
                self.members[node as usize].presence = Presence::Gone;
                return;
            }
            Fault::Sleep { node, .. } => {
                let member = &mut self.members[node as usize];
                member.asleep_until = member.asleep_until.max(end * 1_000);
            }
            Fault::Skew { .. } | Fault::Drift { .. } | Fault::Join { .. } => return,
        }
        self.queue.schedule(self.now + (end - begin) * 1_000, Occurrence::End(fault));
    }

    pub(super) fn end(&mut self, fault: Fault) {
        match fault {
            Fault::SlowStore { node, .. } => self.members[node as usize].store.slow = None,
            Fault::FailingStore { node, .. } => self.members[node as usize].store.failing -= 1,
            Fault::Sleep { node, .. } => self.plan_wake(node as usize),
            _ => self.network.heal(fault),
        }
    }

    /// A member that waits for a write to be under way crashes if one is.
    pub(super) fn crash_mid_write(&mut self, index: usize) -> bool {
        let member = &mut self.members[index];
        if member.store.is_idle() || !member.is_here() {
            return false;
        }
        let Some((keep, down)) = member.crash.take() else { return false };
        self.crash(index, keep, down);
        true
    }

    fn crash(&mut self, index: usize, keep: Keep, down: u64) {
        if !self.members[index].is_here() {
            return;
        }
        self.report.crashes += 1;
        self.stop(index);
        let member = &mut self.members[index];
        member.store.crash(keep);
        if keep == Keep::Nothing || member.config.durability() == Durability::None {
            member.judge = super::judge::Judge::default();
        }
        self.queue.schedule(self.now + down * 1_000, Occurrence::Start { member: index });
    }

    fn stop(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.presence = Presence::Away;
        member.boot += 1;
        member.wake_at = None;
        member.status = None;
        self.busy -= usize::from(core::mem::take(&mut member.is_busy));
        if let Some(replay) = member.replay.take() {
            self.finished_replays.push((member.config.clone(), replay));
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.presence != Presence::Away {
            return;
        }
        member.presence = Presence::Here;
        member.node = Node::new(member.config.clone());
        member.clock.started = self.now;
        let input = Input::Open { channel: self.channel.clone(), config: None };
        if let Err(rejected) = self.handle(index, input) {
            self.fail(Some(index), (4, format!("opening was refused: {rejected}")));
        }
    }

    pub(super) fn written(&mut self, index: usize, boot: u32) {
        if self.members[index].boot != boot {
            return;
        }
        let written = self.rng.percent(50);
        let Some((id, result)) = self.members[index].store.answer(written) else { return };
        if let Err(rejected) = self.handle(index, Input::Persisted { id, result }) {
            self.fail(Some(index), (9, format!("the store's answer was refused: {rejected}")));
        }
    }

    pub(super) fn loaded(&mut self, index: usize, boot: u32, id: LoadId) {
        let member = &mut self.members[index];
        if member.boot != boot || !member.is_here() {
            return;
        }
        if member.store.failing > 0 {
            let again = Occurrence::Loaded { member: index, boot, id };
            self.queue.schedule(self.now + RETRY_MICROS, again);
            return;
        }
        let state = match member.store.load() {
            Ok(state) => state,
            Err(error) => {
                let what = format!("what was stored cannot be read: {error}");
                return self.fail(Some(index), (9, what));
            }
        };
        let durability = member.config.durability();
        let verdict = member.judge.restarts(&self.registry, state.as_deref(), durability);
        member.store.safe = state.as_ref().map_or_else(Safe::default, |state| Safe {
            lamport: state.lamport,
            delivered: state.delivered,
        });
        self.judge(index, verdict);
        let input = Input::Loaded { id, channel: self.channel.clone(), result: Ok(state) };
        if let Err(rejected) = self.handle(index, input) {
            self.fail(Some(index), (9, format!("what was stored was refused: {rejected}")));
        }
    }

    pub(super) fn retrieved(
        &mut self,
        index: usize,
        boot: u32,
        answer: (RetrievalId, RetrievalOutcome),
    ) {
        if self.members[index].boot != boot || !self.members[index].is_here() {
            return;
        }
        let (id, outcome) = answer;
        let message = match &outcome {
            RetrievalOutcome::Message(bytes) => wire::decode(bytes, &wire::Limits::default())
                .ok()
                .and_then(|(_, message)| self.registry.number(&message.message_id)),
            RetrievalOutcome::NotFound | RetrievalOutcome::Failed => None,
        };
        self.hear(index, message, Input::Retrieved { id, outcome });
    }
}
