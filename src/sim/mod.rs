//! A simulated group: nodes, their clocks and stores, and the network between them, all by seed.
//!
//! Time is virtual and jumps to whatever comes next, so that hours pass in milliseconds. What goes
//! wrong is said by a [`Plan`]. After every step the invariants of ARCHITECTURE.md are checked, and
//! at the end that everybody has everything and nothing is left to be done. The same seed and plan
//! give the same run, on every platform.
//!
//! ```
//! use sds_proto::sim::{Plan, Simulation};
//!
//! let plan: Plan = "nodes 5\nmessages 20\nloss 30\npartition at=5000 lasts=60000 ways=2".parse()?;
//! let report = Simulation::new(7, &plan)?.run()?;
//! assert_eq!(report.deliveries, 5 * 20);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! An application is tested by putting it in the place of the plan's messages: publish with
//! [`Simulation::publish`], [`step`](Simulation::step), and take what members are told from
//! [`Simulation::poll_effect`].
//!
//! ```
//! use sds_proto::{Effect, Event};
//! use sds_proto::sim::{Plan, Simulation};
//!
//! let mut simulation = Simulation::new(7, &"nodes 3\nmessages 0\nloss 50".parse()?)?;
//! simulation.keep_effects();
//! simulation.publish(0, "m1".into(), "ping".into())?;
//! let mut heard = vec![];
//! while heard.len() < 3 && simulation.step()? {
//!     while let Some((member, effect)) = simulation.poll_effect() {
//!         if let Effect::Event(Event::Deliver(_)) = effect {
//!             heard.push(member); // an application would answer here
//!         }
//!     }
//! }
//! assert_eq!(heard.len(), 3);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![allow(clippy::wildcard_enum_match_arm, reason = "the simulator picks what it looks at")]

mod clock;
mod effects;
mod fault;
mod faults;
mod judge;
mod member;
mod network;
mod plan;
mod queue;
mod random;
mod registry;
mod replay;
mod report;
mod settle;
mod shrink;
mod step;
mod store;
mod value;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

pub use fault::Fault;
pub use plan::{Plan, PlanError, Problem};
pub use report::{Report, Sample, Sent, Violation};
pub use shrink::minimise;
pub use value::{Keep, Keeping, Speech, Tail};

use self::judge::Broken;
use self::member::{Member, settings};
use self::network::Network;
use self::queue::Queue;
use self::registry::Registry;
use self::replay::{EffectHasher, Replay};
use crate::config::{Config, ConfigBuilder, Durability};
use crate::effect::Effect;
use crate::error::RejectReason;
use crate::id::{ChannelId, MessageId};
use crate::input::{Input, PublishKind};
use crate::node::Node;
use crate::rng::Rng;
use crate::time::Instant;

/// Time after which something that was refused is tried again.
const RETRY_MICROS: u64 = 1_000_000;
/// A run with more inputs than this makes no progress.
const MAX_INPUTS: u64 = 200_000_000;
/// Groups up to this size have the inputs of a member repeated.
const MAX_REPLAYED: u64 = 64;

/// A group in a bad world.
#[derive(Debug)]
pub struct Simulation {
    plan: Plan,
    channel: ChannelId,
    members: Vec<Member>,
    network: Network,
    queue: Queue,
    registry: Registry,
    /// When somebody last asked for a message.
    asked: BTreeMap<MessageId, u64>,
    rng: Rng,
    /// Microseconds since the beginning.
    now: u64,
    /// When the last fault ends and the last message of the plan is published.
    troubled_until: u64,
    /// Messages of the plan that are not published yet.
    unpublished: u64,
    /// Members that have something pending.
    busy: usize,
    /// When it is worth looking whether everybody has everything.
    look_at: u64,
    finished_replays: Vec<(Config, Replay)>,
    told: Option<VecDeque<(usize, Effect)>>,
    sampling: Option<(u64, u64)>,
    hasher: EffectHasher,
    report: Report,
    violation: Option<Violation>,
}

impl Simulation {
    /// A group as `plan` says, with the settings of [`Config::chat`] (of [`Config::large_group`]
    /// above 64 members), but for what follows the plan.
    ///
    /// Four bounds follow its number of messages, at least 100 and at most 2<sup>20</sup>:
    ///
    /// | setting | value | why |
    /// | --- | --- | --- |
    /// | `bloom_capacity` | the messages | filters are as full at the end as they are to be, and bytes sent are not mostly empty filters |
    /// | `max_log_messages` | twice the messages, or `log` of the plan | whole logs can be compared at the end, unless the plan wants evictions |
    /// | `max_ids` | three times the larger of both | no message that a partition held back for long is stale |
    /// | `max_outgoing` | 1,000, or the log if that is smaller | own unacknowledged messages must fit into the log |
    ///
    /// Dialects, durability, `lost_after` and retrieval are the plan's. `sync_to_nim` is on, as all
    /// members are of this library, and every second member consumes by itself. Whoever wants other
    /// values of any of these has [`Simulation::with_settings`].
    ///
    /// # Errors
    ///
    /// The plan has a number out of its range, or names a member that is not there.
    pub fn new(seed: u64, plan: &Plan) -> Result<Self, PlanError> {
        Self::with_settings(seed, plan, |_, settings| settings)
    }

    /// The same with other settings: `adjust` gets each member's number and settings.
    ///
    /// # Errors
    ///
    /// Those of [`Simulation::new`].
    ///
    /// # Panics
    ///
    /// The settings are not valid.
    pub fn with_settings(
        seed: u64,
        plan: &Plan,
        mut adjust: impl FnMut(usize, ConfigBuilder) -> ConfigBuilder,
    ) -> Result<Self, PlanError> {
        plan.check()?;
        let nodes = plan.nodes as usize;
        let mut member = |index| {
            let config = adjust(index, settings(plan, seed, index)).build();
            Member::new(plan, index, config.expect("settings that `adjust` leaves valid"))
        };
        let mut simulation = Self {
            channel: ChannelId::from_static("simulated"),
            members: (0..nodes).map(&mut member).collect(),
            network: Network::new(nodes),
            queue: Queue::default(),
            registry: Registry::new(plan.speech == Speech::Forms),
            asked: BTreeMap::new(),
            rng: Rng::new(seed),
            now: 0,
            troubled_until: 0,
            unpublished: 0,
            busy: 0,
            look_at: 0,
            finished_replays: Vec::new(),
            told: None,
            sampling: None,
            hasher: EffectHasher::default(),
            report: Report::default(),
            violation: None,
            plan: plan.clone(),
        };
        let kept_nowhere = |member: &&mut Member| member.config.durability() == Durability::None;
        if plan.nodes <= MAX_REPLAYED
            && let Some(member) = simulation.members.iter_mut().find(kept_nowhere)
        {
            member.replay = Some(Replay::default());
        }
        simulation.schedule_plan();
        Ok(simulation)
    }

    /// Keeps a copy of every effect for [`poll_effect`](Self::poll_effect).
    pub fn keep_effects(&mut self) {
        self.told = Some(VecDeque::new());
    }

    /// Returns the next effect of a member, with the member's number. Empty unless effects are
    /// [kept](Self::keep_effects). The simulation has already carried it out.
    pub fn poll_effect(&mut self) -> Option<(usize, Effect)> {
        self.told.as_mut()?.pop_front()
    }

    /// Takes a [`Sample`] whenever this much time has passed.
    pub fn sample_every(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.sampling = Some((micros, self.now));
    }

    /// Simulated time since the beginning.
    #[must_use]
    pub const fn now(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// The channel that all members take part in.
    #[must_use]
    pub const fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// A member's node. `None`: there is no such member, or it is not there now.
    #[must_use]
    pub fn node(&self, member: usize) -> Option<&Node> {
        self.members.get(member).filter(|member| member.is_here()).map(|member| &member.node)
    }

    /// Returns the report of the run so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            at: self.now(),
            bytes_by_member: self.members.iter().map(|member| member.bytes_sent).collect(),
            fingerprint: self.hasher.get(),
            ..self.report.clone()
        }
    }

    /// Publishes a message of the application. Ids must be unique for ever.
    ///
    /// # Errors
    ///
    /// The member's node refuses it, or it is not there ([`RejectReason::ChannelNotOpen`]).
    pub fn publish(
        &mut self,
        member: usize,
        message_id: MessageId,
        content: Bytes,
    ) -> Result<(), RejectReason> {
        self.start_all_due();
        if self.node(member).is_none() {
            return Err(RejectReason::ChannelNotOpen);
        }
        let (channel, kind) = (self.channel.clone(), PublishKind::Content);
        let input = Input::Publish { channel, message_id, content, kind };
        self.handle(member, input).map_err(|rejected| rejected.reason)
    }

    /// Sends every member a datagram of an outsider, which suffers what the network does to all.
    pub fn broadcast(&mut self, bytes: &Bytes) {
        self.start_all_due();
        let message = self.note_foreign(bytes);
        for to in 0..self.members.len() {
            self.send_to(None, to, bytes, message, self.now);
        }
    }

    /// Lets the next thing happen. `false`: there is nothing left to happen.
    ///
    /// # Errors
    ///
    /// An invariant does not hold; the simulation goes no further.
    pub fn step(&mut self) -> Result<bool, Violation> {
        if let Some((at, event)) = self.queue.pop() {
            self.sample_up_to(at);
            self.now = at;
            self.happen(event);
            self.check_progress();
            return self.violation.clone().map_or(Ok(true), Err);
        }
        self.violation.clone().map_or(Ok(false), Err)
    }

    /// Runs until `end`.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn run_until(&mut self, end: Instant) -> Result<(), Violation> {
        while self.queue.next_at().is_some_and(|at| at <= end.as_micros()) {
            self.step()?;
        }
        self.now = self.now.max(end.as_micros());
        Ok(())
    }

    /// Runs until all faults are over and everybody has everything, then for twenty minutes more,
    /// in the second half of which nothing but syncs may be sent.
    ///
    /// # Errors
    ///
    /// An invariant does not hold; that everything is everywhere in time is one.
    pub fn run(&mut self) -> Result<Report, Violation> {
        self.run_until_settled()?;
        self.run_in_silence()?;
        self.check_at_the_end()?;
        Ok(self.report())
    }

    fn check_progress(&mut self) {
        if self.report.inputs > MAX_INPUTS {
            self.fail(None, (8, "there is no end of inputs".into()));
        }
    }

    fn sample_up_to(&mut self, at: u64) {
        while let Some((every, next)) = self.sampling.filter(|(_, next)| *next <= at) {
            self.sampling = Some((every, next + every));
            let sample = Sample {
                at: Instant::from_micros(next),
                published: self.report.published,
                deliveries: self.report.deliveries,
                sent: self.report.sent_in_all(),
                repairs: self.report.sent(crate::SendReason::Repair),
            };
            self.report.samples.push(sample);
        }
    }

    /// The first violation counts.
    fn fail(&mut self, member: Option<usize>, (invariant, what): Broken) {
        let at = self.now();
        self.violation.get_or_insert(Violation { invariant, member, at, what });
    }

    fn judge(&mut self, member: usize, verdict: Result<(), Broken>) {
        if let Err(broken) = verdict {
            self.fail(Some(member), broken);
        }
    }
}
