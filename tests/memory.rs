//! `Config::max_memory` against an allocator that counts: whatever peers send, a node takes no
//! more, and no less than a quarter of it is what they can reach. `cargo test --release --test
//! memory -- --nocapture` prints both. Debug builds send fewer messages.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]
#![allow(clippy::print_stdout, reason = "the figures are wanted")]

mod common;
mod heap;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use common::peer::{Said, entry};
use common::{EPOCH_MS, Rng, at, channel};
use heap::{StoreIs, Watched};
use sds_proto::bloom::Filter;
use sds_proto::bloom::Geometry;
use sds_proto::hash::HashKind;
use sds_proto::wire::{HistoryEntry, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, Dialect, Durability, Input, MessageId, OnLost, PublishKind,
};

/// Messages of a turn.
const TURN: u64 = if cfg!(debug_assertions) { 1_000 } else { 25_000 };
const ME: &str = "alice";

/// All that peers can do, in the order that fills everything at once.
struct Attack {
    config: Config,
    dialects: &'static [WireDialect],
    node: Watched,
    rng: Rng,
    millis: u64,
    count: u64,
    /// Messages of late that were logged or wait.
    known: VecDeque<HistoryEntry>,
    /// The dependency of all buffered messages.
    key: MessageId,
    /// Own messages that are not acknowledged, and a filter that has them and much else.
    own: Vec<MessageId>,
    filters: Vec<(WireDialect, Bytes)>,
}

impl Attack {
    fn new(config: ConfigBuilder) -> Self {
        let config = config.participant_id(ME.into()).seed(7).build().expect("valid settings");
        let mut node = Watched::new(&config);
        let open = || Input::Open { channel: channel(), config: None };
        node.handle(at(0), open).expect("opens");
        let dialects: &[WireDialect] = match config.dialect() {
            Dialect::NimSds => &[WireDialect::NimSds],
            _ => &[WireDialect::Lip109, WireDialect::NimSds],
        };
        let (rng, key) = (Rng(1), MessageId::from("key"));
        let (known, own, filters) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { config, dialects, node, rng, millis: 0, count: 0, known, key, own, filters }
    }

    /// An id as long as allowed.
    fn id(&mut self, prefix: &str) -> String {
        self.count += 1;
        let len = self.config.max_id_len() - prefix.len();
        format!("{prefix}{:0len$}", self.count)
    }

    fn named(&mut self, prefix: &str) -> HistoryEntry {
        let (id, sender) = (self.id(prefix), self.id("s"));
        let mut named = entry(id.as_str(), &sender);
        named.retrieval_hint = Some(vec![7; self.config.max_hint_len()].into());
        named
    }

    fn said(&mut self, prefix: &str) -> Said {
        let (id, sender) = (self.id(prefix), self.id("s"));
        let dialect = self.dialects[self.rng.below(self.dialects.len() as u64) as usize];
        Said::new(dialect, id.as_str(), EPOCH_MS + self.millis).by(&sender)
    }

    /// A content that lets as many messages as there may be fill as many bytes as there may be.
    fn content(&mut self, bytes: usize, messages: usize) -> String {
        let ids = 2 * self.config.max_id_len();
        let average = (bytes / messages).saturating_sub(ids).max(1) as u64;
        let len = 1 + self.rng.below(2 * average);
        "x".repeat((len as usize).min(self.config.max_content_len()))
    }

    fn hear(&mut self, said: &Said) -> bool {
        self.node.hear(at(self.millis), &said.bytes()).is_ok()
    }

    /// It is asked for later on.
    fn know(&mut self, said: &Said) {
        let sender = said.message.sender_id.as_str().expect("text");
        self.known.push_back(entry(said.message.message_id.clone(), sender));
        if self.known.len() > 64 {
            self.known.pop_front();
        }
    }

    /// A message that is logged at once, and tells where others can be fetched from.
    fn logged(&mut self) {
        let content = self.content(self.config.max_log_bytes(), self.config.max_log_messages());
        let mut said = self.said("l").content(&content);
        for n in 0..self.rng.below(3) {
            let Some(mut named) = self.known.iter().rev().nth(n as usize).cloned() else { break };
            named.retrieval_hint = Some(vec![9; self.config.max_hint_len()].into());
            said = said.naming(named);
        }
        if self.rng.percent(30) {
            said = said.filter(vec![0xff; 100]);
        }
        if self.hear(&said) {
            self.know(&said);
        }
    }

    /// One that waits for the key.
    fn waiting(&mut self) {
        let (bytes, messages) =
            (self.config.max_incoming_bytes(), self.config.max_incoming_messages());
        let content = self.content(bytes, messages);
        let mut said = self.said("w").content(&content);
        let most = if self.rng.percent(2) { self.config.max_history_entries() } else { 1 };
        for _ in 0..most {
            said = said.naming(entry(self.key.clone(), "key"));
        }
        // The message that is furthest ahead is dropped first.
        said.message.lamport =
            Some(EPOCH_MS + self.millis - self.rng.below(self.millis.min(1_000) + 1));
        if self.hear(&said) {
            self.know(&said);
        }
    }

    /// One that names what was never sent.
    fn inventing(&mut self) {
        let mut said = self.said("i");
        for _ in 0..1 + self.rng.below(4) {
            let named = self.named("x");
            said = said.naming(named);
        }
        let said = if self.rng.percent(90) { said.sync() } else { said };
        self.hear(&said);
    }

    fn asking(&mut self) {
        let mut said = self.said("a").sync();
        let most = (self.config.max_request_entries()).min(16);
        for named in self.known.iter().rev().take(most) {
            said = said.asking(named.clone());
        }
        self.hear(&said);
    }

    /// Another sender's filter, so full that it proves next to nothing.
    fn witnessing(&mut self) {
        if self.filters.is_empty() {
            self.filters = self.dialects.iter().map(|of| (*of, self.crowded(*of))).collect();
        }
        let mut said = self.said("f").sync();
        let filter = self.filters.iter().find(|(dialect, _)| *dialect == said.dialect);
        said = said.filter(filter.expect("one of each").1.clone());
        self.hear(&said);
    }

    fn crowded(&self, dialect: WireDialect) -> Bytes {
        let geometry =
            Geometry::new(u64::from(self.config.bloom_capacity()), self.config.bloom_error_rate());
        let mut filter = Filter::new(geometry.expect("that of the node"));
        let kind = match dialect {
            WireDialect::Lip109 => HashKind::Lip109,
            WireDialect::NimSds => HashKind::NimFarm,
        };
        self.own.iter().for_each(|id| filter.insert(kind.probe(id.as_bytes())));
        let m_bits = filter.geometry().m_bits();
        for n in 0_u64.. {
            if filter.ones() * 100 > m_bits * 88 {
                break;
            }
            filter.insert(kind.probe(&n.to_le_bytes()));
        }
        let mut container = BytesMut::new();
        match dialect {
            WireDialect::Lip109 => filter.lip109_field().encode(&mut container),
            WireDialect::NimSds => filter.nim_field().encode(&mut container),
        }
        container.freeze()
    }

    fn publish(&mut self) {
        let (bytes, messages) = (self.config.max_log_bytes(), self.config.max_outgoing());
        let (id, content) = (self.id("o"), self.content(bytes, messages));
        let input = || Input::Publish {
            channel: channel(),
            message_id: id.as_str().into(),
            content: Bytes::copy_from_slice(content.as_bytes()),
            kind: PublishKind::Content,
        };
        if self.node.handle(at(self.millis), input).is_ok() {
            self.own.push(id.as_str().into());
            self.filters.clear();
            if self.own.len() > self.config.max_outgoing() {
                self.own.remove(0);
            }
        }
    }

    /// Inputs that are refused, or should leave nothing behind.
    fn nonsense(&mut self) {
        let said = self.said("n");
        let said = match self.rng.below(7) {
            0 => said.lamport(u64::MAX - self.rng.below(10)),
            1 => (0..=self.config.max_history_entries())
                .fold(said, |said, n| said.naming(entry(format!("{n}").as_str(), "bob"))),
            2 => said.sync().filter(vec![0xff; self.config.max_filter_len()]),
            3 => said.by(ME).content("in our name"),
            4 => said.by("bob").content("in one name"),
            5 => match self.known.back() {
                Some(known) => Said::new(said.dialect, known.message_id.clone(), EPOCH_MS),
                None => said,
            },
            _ => said.ephemeral(),
        };
        self.hear(&said);
    }

    /// A message of a channel that nobody opened, of few that come again or of many.
    fn elsewhere(&mut self) {
        let content = self.content(self.config.max_log_bytes(), self.config.max_log_messages());
        let few = format!("few {}", self.rng.below(8));
        let channel = if self.rng.percent(80) { few } else { self.id("c") };
        let said = self.said("e").content(&content).in_channel(&channel);
        self.hear(&said);
    }

    fn say(&mut self) {
        self.millis += self.rng.below(10);
        match self.rng.below(100) {
            0..30 => self.logged(),
            30..60 => self.waiting(),
            60..75 => self.inventing(),
            75..80 => self.asking(),
            80..84 => self.witnessing(),
            84..90 => self.publish(),
            90..97 => self.nonsense(),
            _ => self.elsewhere(),
        }
        self.node.tick(at(self.millis));
    }

    /// The dependency of all buffered messages arrives.
    fn turn_key(&mut self) {
        let mut said = self.said("k");
        said.message.message_id = self.key.clone();
        said.message.lamport = Some(EPOCH_MS);
        self.hear(&said);
        self.key = MessageId::from(self.id("k"));
    }

    fn run(
        mut self,
        name: &str,
        turns: u64,
        mut before_key: impl FnMut(&mut Self, u64),
    ) -> Outcome {
        for turn in 1..=turns {
            for _ in 0..TURN {
                self.say();
            }
            before_key(&mut self, turn);
            self.turn_key();
        }
        self.outcome(name)
    }

    /// Returns the memory of the node, which must be within the bound.
    fn outcome(&self, name: &str) -> Outcome {
        let bound = self.config.max_memory().total(1);
        let most = self.node.gauge.most();
        let ratio = bound as f64 / most as f64;
        println!("{name}: {most} bytes at most, the bound is {bound}: {ratio:.2} times");
        assert!(most < bound, "{name}: {most} bytes, above {bound}");
        Outcome { most, bound }
    }
}

struct Outcome {
    most: usize,
    bound: usize,
}

impl Outcome {
    /// Peers can reach so large a part of the bound.
    fn check_within(&self, times: usize) {
        let Self { most, bound } = *self;
        assert!(bound < times * most, "{bound} is more than {times} times {most}");
    }
}

/// Little of everything, so that all of it fills.
fn small() -> ConfigBuilder {
    Config::builder()
        .bloom_capacity(1_000)
        .max_log_messages(1_000)
        .max_log_bytes(1 << 20)
        .max_ids(2_000)
        .max_resolved_ids(500)
        .max_outgoing(250)
        .max_incoming_messages(1_000)
        .max_incoming_bytes(1 << 19)
        .max_missing(1_000)
        .max_answers(250)
        .max_held_effects(500)
        .max_held_bytes(1 << 18)
        .max_id_len(64)
        .max_hint_len(64)
        .max_history_entries(64)
        .max_request_entries(32)
        .max_content_len(8 << 10)
        .max_resends(u32::MAX)
        .ack_confidence(1e-200)
}

#[test]
#[cfg_attr(feature = "sim-broken", ignore = "the core is broken")]
fn everything_at_once_is_within_the_bound_and_near_it() {
    Attack::new(small()).run("everything at once", 40, |_, _| {}).check_within(4);
}

#[test]
#[cfg_attr(feature = "sim-broken", ignore = "the core is broken")]
fn a_bridge_is_within_the_bound_and_near_it() {
    let config = small().dialect(Dialect::Bridge).on_lost(OnLost::Drop);
    Attack::new(config).run("a bridge", 10, |_, _| {}).check_within(4);
}

#[test]
#[cfg_attr(feature = "sim-broken", ignore = "the core is broken")]
fn what_waits_for_a_store_is_within_the_bound() {
    for durability in [Durability::Relaxed, Durability::Strict] {
        let attack = Attack::new(small().durability(durability));
        let stores = [StoreIs::Silent, StoreIs::Prompt, StoreIs::Failing, StoreIs::Prompt];
        let outcome = attack.run(&format!("a bad store, {durability:?}"), 12, |attack, turn| {
            attack.node.store = stores[turn as usize % 4];
            if attack.node.store == StoreIs::Prompt {
                attack.node.recover(at(attack.millis));
            }
        });
        outcome.check_within(8);
    }
}

/// Own messages that nobody acknowledges, others that are logged in their place since somebody asks
/// for them, and others that wait, all of them large: next to nothing else is in the bound.
#[test]
#[cfg_attr(feature = "sim-broken", ignore = "the core is broken")]
fn bodies_are_within_the_bound_and_next_to_it() {
    const ALL: usize = 32 << 20;
    const EACH: usize = 64 << 10;
    let config = small().max_content_len(EACH).max_log_bytes(ALL).max_incoming_bytes(ALL);
    let mut attack = Attack::new(config.max_outgoing(1_000).max_answers(1_000));
    let large = "x".repeat(EACH);
    for n in 0.. {
        let publish = || Input::Publish {
            channel: channel(),
            message_id: format!("o{n}").into(),
            content: Bytes::copy_from_slice(large.as_bytes()),
            kind: PublishKind::Content,
        };
        if attack.node.handle(at(0), publish).is_err() {
            break;
        }
    }
    for _ in 0..ALL / EACH + 10 {
        let said = attack.said("w").content(&large).naming(entry("key", "bob"));
        attack.hear(&said);
        let said = attack.said("l").content(&large);
        attack.hear(&said);
        attack.know(&said);
        attack.asking();
    }
    attack.outcome("bodies").check_within(2);
}

#[test]
#[cfg_attr(feature = "sim-broken", ignore = "the core is broken")]
fn firmware_is_within_the_bound() {
    for durability in [Durability::None, Durability::Strict] {
        let config = Config::firmware().durability(durability);
        Attack::new(config).run(&format!("firmware, {durability:?}"), 10, |_, _| {});
    }
}

#[test]
#[cfg_attr(feature = "sim-broken", ignore = "the core is broken")]
fn channels_of_others_are_within_the_bound() {
    let config = small().auto_open(true).max_auto_channels(8);
    Attack::new(config).run("channels of others", 10, |_, _| {});
}

/// The core broken on purpose: the sums above must notice.
#[cfg(feature = "sim-broken")]
#[test]
fn a_log_that_keeps_everything_is_above_the_bound() {
    use sds_proto::broken::{self, Break};
    broken::set(Some(Break::Bounds));
    let mut attack = Attack::new(small());
    (0..40_000).for_each(|_| attack.logged());
    broken::set(None);
    let (most, bound) = (attack.node.gauge.most(), attack.config.max_memory().total(1));
    println!("a log that keeps everything: {most} bytes, the bound is {bound}");
    assert!(most > bound);
}
