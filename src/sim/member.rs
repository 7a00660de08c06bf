//! One member of a simulated group: a node with its clocks, its store and its judge.

use alloc::format;
use core::time::Duration;

use super::clock::Clock;
use super::fault::Fault;
use super::judge::Judge;
use super::plan::Plan;
use super::replay::Replay;
use super::store::Store;
use super::value::{Keep, Keeping, Speech};
use crate::Status;
use crate::config::{Config, ConfigBuilder, Dialect, Durability};
use crate::node::Node;
use crate::rng::Rng;
use crate::wire::{NimForm, WireDialect};

/// State of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It has not come yet, or is down after a crash.
    Away,
    Here,
    Gone,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) config: Config,
    pub(super) node: Node,
    pub(super) presence: Presence,
    /// When its device wakes up.
    pub(super) asleep_until: u64,
    /// Counts its starts.
    pub(super) boot: u32,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) judge: Judge,
    /// The earliest of its wake-ups in the queue.
    pub(super) wake_at: Option<u64>,
    /// A crash that waits for a write.
    pub(super) crash: Option<(Keep, u64)>,
    /// Status of its channel after the last input.
    pub(super) status: Option<Status>,
    /// Whether something of it is pending.
    pub(super) is_busy: bool,
    pub(super) bytes_sent: u64,
    /// Its inputs and effects, to be checked by a replay.
    pub(super) replay: Option<Replay>,
}

impl Member {
    pub(super) fn new(plan: &Plan, index: usize, config: Config) -> Self {
        let mut clock = Clock { ahead: Some(0), ..Clock::default() };
        if index as u64 + plan.without_wall >= plan.nodes {
            clock.ahead = None;
        }
        for fault in &plan.faults {
            match *fault {
                Fault::Drift { node, ppm } if node == index as u64 => clock.ppm = ppm,
                Fault::Skew { node, by } if node == index as u64 => {
                    clock.ahead = clock.ahead.map(|_| by);
                }
                _ => {}
            }
        }
        Self {
            node: Node::new(config.clone()),
            presence: Presence::Away,
            asleep_until: 0,
            boot: 0,
            clock,
            store: Store::default(),
            judge: Judge::default(),
            wake_at: None,
            crash: None,
            status: None,
            is_busy: false,
            bytes_sent: 0,
            replay: None,
            config,
        }
    }

    pub(super) fn is_here(&self) -> bool {
        self.presence == Presence::Here
    }

    pub(super) fn is_strict(&self) -> bool {
        self.config.durability() == Durability::Strict
    }
}

/// The settings of a member as the plan has them: those of a chat or of a large group, with bounds
/// that the plan's messages fit into.
pub(super) fn settings(plan: &Plan, seed: u64, index: usize) -> ConfigBuilder {
    let defaults = match u32::try_from(plan.nodes) {
        Ok(nodes) if nodes > 64 => Config::large_group(nodes),
        _ => Config::chat(),
    };
    let messages = usize::try_from(plan.messages.clamp(100, 1 << 20)).unwrap_or(100);
    let log = if plan.log == 0 { 2 * messages } else { plan.log as usize };
    let (dialect, lip109, nim_sds) = speech(plan.speech, index);
    let retry = (plan.archive > 0).then_some(Duration::from_secs(5));
    defaults
        .participant_id(format!("p{index}").as_str().into())
        .seed(Rng::new(seed ^ (index as u64) << 32).next_u64())
        .bloom_capacity(messages as u32)
        .max_filter_len((4 * messages).max(64 << 10))
        .max_ids(3 * messages.max(log))
        .max_log_messages(log)
        .max_outgoing(log.min(1_000))
        .dialect(dialect)
        .nim_form(form(plan.speech, index))
        .accept_lip109(lip109)
        .accept_nim_sds(nim_sds)
        .sync_to_nim(true)
        .durability(durability(plan.keeping, index))
        .auto_consume(index.is_multiple_of(2))
        .lost_after(Duration::from_secs(60 * plan.lost_after_min))
        .retrieval_interval(retry)
}

const fn speech(speech: Speech, index: usize) -> (Dialect, bool, bool) {
    match (speech, index % 3) {
        (Speech::Lip109, _) | (Speech::Mixed, 1) => (Dialect::Lip109, true, false),
        (Speech::NimSds | Speech::Forms, _) | (Speech::Mixed, 2) => (Dialect::NimSds, false, true),
        (Speech::Mixed, _) | (Speech::Mirror, 0) => (Dialect::Bridge, true, true),
        (Speech::Mirror, 1) => (Dialect::Mirror { initial: WireDialect::Lip109 }, true, true),
        (Speech::Mirror, _) => (Dialect::Mirror { initial: WireDialect::NimSds }, true, true),
    }
}

/// Returns the form that a member writes in the nim dialect.
const fn form(speech: Speech, index: usize) -> NimForm {
    match (speech, index % 4) {
        (Speech::Forms, 0) => NimForm::V02,
        (Speech::Forms, 1) => NimForm::V030,
        (Speech::Forms, 2) => NimForm::V033,
        _ => NimForm::V04,
    }
}

const fn durability(keeping: Keeping, index: usize) -> Durability {
    match (keeping, index % 3) {
        (Keeping::None, _) | (Keeping::Mixed, 0) => Durability::None,
        (Keeping::Relaxed, _) | (Keeping::Mixed, 1) => Durability::Relaxed,
        (Keeping::Strict, _) | (Keeping::Mixed, _) => Durability::Strict,
    }
}
