//! A rig for tests: nodes on virtual time, and a network between them that loses, repeats and
//! delays by seed. Time jumps to whatever comes next.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::std_instead_of_core,
    reason = "tests pick what they look at, and have std"
)]

pub mod peer;
pub mod script;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sds_proto::{
    ChannelId, Config, Effect, Event, Input, Instant, LogEntry, MessageId, Node, Now, PublishKind,
    Rejected, SendReason, Status, UnixMillis,
};
use store::Store;

/// Wall-clock time at the start of the monotonic clock: 2026-01-01.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// Both clocks, `millis` milliseconds into a test.
pub fn at(millis: u64) -> Now {
    Now::new(Instant::from_millis(millis), UnixMillis(EPOCH_MS + millis))
}

pub fn both(micros: u64) -> Now {
    Now::new(Instant::from_micros(micros), UnixMillis(EPOCH_MS + micros / 1000))
}

pub fn channel() -> ChannelId {
    ChannelId::from("c")
}

pub fn publish(id: &str) -> Input {
    Input::Publish {
        channel: channel(),
        message_id: MessageId::from(id),
        content: Bytes::from(format!("content of {id}")),
        kind: PublishKind::Content,
    }
}

pub fn open() -> Input {
    Input::Open { channel: channel(), config: None }
}

pub fn drain(node: &mut Node) -> Vec<Effect> {
    std::iter::from_fn(|| node.poll_effect()).collect()
}

/// The bytes of all messages in `effects`.
pub fn sent(effects: &[Effect]) -> Vec<Bytes> {
    let bytes = effects.iter().filter_map(|effect| match effect {
        Effect::Send { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    bytes.collect()
}

/// Message ids of these names.
pub fn ids(names: &[&str]) -> Vec<MessageId> {
    names.iter().map(|name| MessageId::from(*name)).collect()
}

/// Ids of all deliveries in `effects`, in order.
pub fn delivered(effects: &[Effect]) -> Vec<MessageId> {
    let ids = effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::Deliver(delivery)) => Some(delivery.entry.message_id().into()),
        _ => None,
    });
    ids.collect()
}

/// An open node of participant `name` with the settings of `config`.
pub fn node(name: &str, config: sds_proto::ConfigBuilder) -> Node {
    let config = config.participant_id(name.into()).build().expect("valid settings");
    let mut node = Node::new(config);
    node.handle(at(0), open()).expect("opens");
    node
}

pub fn status(node: &Node) -> Status {
    node.status(&channel()).expect("open")
}

/// Ticks whenever one is due, up to `end_ms`, and returns what that told.
pub fn run(node: &mut Node, end_ms: u64) -> Vec<Effect> {
    let mut effects = drain(node);
    while let Some(deadline) = node.next_deadline() {
        let now = deadline.at.as_micros().div_ceil(1_000);
        if now > end_ms {
            break;
        }
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        effects.extend(drain(node));
    }
    effects
}

/// Counts the messages in `effects` that are sent for this reason.
pub fn sends(effects: &[Effect], reason: SendReason) -> usize {
    let sends = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Send { reason: sent, .. } if *sent == reason));
    sends.count()
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Faults of the network for each datagram and receiver.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss: u64,
    pub dup: u64,
    pub delay_ms: u64,
}

pub struct Group {
    pub nodes: Vec<Node>,
    /// The store of each, which answers at once.
    pub stores: Vec<Store>,
    pub now: u64,
    pub faults: Faults,
    pub rng: Rng,
    /// Everything each node told, sends aside.
    pub told: Vec<Vec<Effect>>,
    pub sends: BTreeMap<String, u64>,
    pub bytes_sent: u64,
    /// Bytes sent, by reason.
    pub bytes: BTreeMap<String, u64>,
    /// The datagrams and who sent them, if they are kept.
    pub datagrams: Option<Vec<(usize, Bytes)>>,
    in_flight: BTreeMap<(u64, u64), (usize, Bytes)>,
    sequence: u64,
}

impl Group {
    pub fn new(configs: Vec<Config>, seed: u64, faults: Faults) -> Self {
        let count = configs.len();
        let mut group = Self {
            told: vec![Vec::new(); count],
            nodes: configs.into_iter().map(Node::new).collect(),
            stores: (0..count).map(|_| Store::default()).collect(),
            now: 0,
            faults,
            rng: Rng(seed),
            sends: BTreeMap::new(),
            bytes_sent: 0,
            bytes: BTreeMap::new(),
            datagrams: None,
            in_flight: BTreeMap::new(),
            sequence: 0,
        };
        for index in 0..count {
            group.handle(index, open()).expect("opens");
        }
        group
    }

    /// Builds a node anew from its store.
    pub fn restart(&mut self, index: usize) {
        self.nodes[index] = Node::new(self.nodes[index].config().clone());
        self.handle(index, open()).expect("opens");
    }

    pub fn handle(&mut self, node: usize, input: Input) -> Result<(), Rejected> {
        let result = self.nodes[node].handle(both(self.now), input);
        self.drain(node);
        result
    }

    fn drain(&mut self, from: usize) {
        let now = both(self.now);
        while let Some(effect) = self.nodes[from].poll_effect() {
            let store = &mut self.stores[from];
            match effect {
                Effect::Persist { id, changes } => {
                    store.write(id, changes);
                    let answer = store.answer().expect("just queued");
                    self.nodes[from].handle(now, answer).expect("asked for");
                }
                Effect::Load { id, channel } => {
                    let answer = store.load(id, &channel);
                    self.nodes[from].handle(now, answer).expect("asked for");
                }
                Effect::Send { bytes, reason, .. } => {
                    *self.sends.entry(format!("{reason:?}")).or_default() += 1;
                    *self.bytes.entry(format!("{reason:?}")).or_default() += bytes.len() as u64;
                    self.bytes_sent += bytes.len() as u64;
                    self.datagrams.iter_mut().for_each(|kept| kept.push((from, bytes.clone())));
                    self.broadcast(from, &bytes);
                }
                other => self.told[from].push(other),
            }
        }
    }

    fn broadcast(&mut self, from: usize, bytes: &Bytes) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let copies = 1 + u64::from(self.rng.percent(self.faults.dup));
            for _ in 0..copies {
                if self.rng.percent(self.faults.loss) {
                    continue;
                }
                let delay = 1_000 + self.rng.below(self.faults.delay_ms * 1_000 + 1);
                self.sequence += 1;
                self.in_flight.insert((self.now + delay, self.sequence), (to, bytes.clone()));
            }
        }
    }

    /// Moves time on to the next arrival or deadline, but not past `end`. `false`: nothing was
    /// left before it.
    pub fn step(&mut self, end: u64) -> bool {
        let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            node.next_deadline().map(|deadline| (deadline.at.as_micros(), index))
        });
        let deadline = deadline.min();
        let next = [arrival, deadline.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let ((_, _), (to, bytes)) = self.in_flight.pop_first().expect("just seen");
            self.handle(to, Input::Datagram(bytes)).unwrap_or_else(|rejected| {
                assert!(
                    matches!(
                        rejected.reason,
                        sds_proto::RejectReason::DialectNotAccepted(_)
                            | sds_proto::RejectReason::Stale { .. }
                    ),
                    "{rejected}"
                );
            });
        } else if let Some((_, index)) = deadline {
            self.handle(index, Input::Tick).expect("a tick is always taken");
        }
        true
    }

    /// Runs until `done`, at the latest until `end_ms`. Returns whether it was reached.
    pub fn run_until(&mut self, end_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let mut steps = 0_u64;
        while !done(self) {
            steps += 1;
            assert!(steps < 20_000_000, "no progress: a busy loop?");
            if !self.step(end_ms * 1_000) {
                return done(self);
            }
        }
        true
    }

    pub fn log(&self, node: usize) -> Vec<LogEntry> {
        self.nodes[node].log(&channel()).expect("open").iter().cloned().collect()
    }

    pub fn logged(&self, node: usize) -> usize {
        self.nodes[node].log(&channel()).expect("open").len()
    }

    /// Checks what must hold at any time: causal order, no repeat, the log's order.
    pub fn check(&self) {
        for (index, told) in self.told.iter().enumerate() {
            let mut seen: BTreeSet<MessageId> = BTreeSet::new();
            for effect in told {
                let Effect::Event(Event::Deliver(delivery)) = effect else { continue };
                for named in delivery.entry.causal_history() {
                    assert!(
                        delivery.gap || seen.contains(named.message_id.as_bytes()),
                        "node {index}: {:?} before its dependency {:?}",
                        delivery.entry.message_id(),
                        named.message_id
                    );
                }
                assert!(seen.insert(delivery.entry.message_id().into()), "a repeat at {index}");
            }
            let log = self.log(index);
            let key = |entry: &LogEntry| (entry.lamport(), MessageId::from(entry.message_id()));
            assert!(log.is_sorted_by_key(key));
        }
    }

    /// Checks that all logs are the same, entry by entry.
    pub fn check_converged(&self) {
        self.check();
        let first = self.log(0);
        for index in 1..self.nodes.len() {
            assert!(self.log(index) == first, "the logs of 0 and {index} differ");
        }
    }
}
