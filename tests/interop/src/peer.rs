//! A participant, ours or JavaScript's, with the same words for both: each case is written once
//! and run in both directions.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use sds_proto::hash::farm_hash64;
use sds_proto::wire::{self, Kind, Limits, Message, WireDialect};
use sds_proto::{
    ChannelId, Config, Dialect, Effect, Event, Input, Instant, MessageId, Node, Now, PublishKind,
    RejectReason, UnixMillis,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bridge::Bridge;
use crate::{Failure, ensure};

/// Wall-clock time at the start of a case: 2026-01-01.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

const CHANNEL: &str = "interop";

pub(crate) type Js = Rc<RefCell<Bridge>>;

/// Which implementation a participant runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Rust(Dialect),
    Js,
}

impl Side {
    pub(crate) const RUST: Self = Self::Rust(Dialect::Lip109);

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust(Dialect::Lip109) => "Rust",
            Self::Rust(Dialect::NimSds) => "nim",
            Self::Rust(Dialect::Mirror { .. }) => "mirror",
            Self::Rust(Dialect::Bridge) => "bridge",
            Self::Js => "JS",
        }
    }
}

/// Settings of both implementations. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Entries named in a causal history. `None`: as many as each implementation does by itself.
    pub(crate) named: Option<usize>,
    /// Filters that acknowledge a message in JavaScript.
    pub(crate) ack_threshold: u32,
    /// Chance of error below which filters acknowledge a message in Rust.
    pub(crate) ack_confidence: f64,
    pub(crate) t_min: u64,
    pub(crate) t_max: u64,
    pub(crate) groups: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            named: None,
            ack_threshold: 2,
            ack_confidence: 1e-6,
            t_min: 1_000,
            t_max: 6_000,
            groups: 1,
        }
    }
}

impl Settings {
    pub(crate) fn repair_config(&self) -> Value {
        json!({ "tMin": self.t_min, "tMax": self.t_max, "numResponseGroups": self.groups })
    }
}

/// An event of a participant for its application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    Delivered(String),
    Ephemeral(Bytes),
    /// JavaScript only: the library shows that it heard a sync.
    Sync(String),
    Missing(Vec<String>),
    PossiblyAcked(String),
    Acked(String),
}

/// The result of one call.
#[derive(Default, Debug)]
pub(crate) struct Turn {
    pub(crate) sent: Vec<Bytes>,
    pub(crate) told: Vec<Told>,
}

impl Turn {
    /// The only message that was sent.
    pub(crate) fn one(&self) -> Result<&Bytes, Failure> {
        match self.sent.as_slice() {
            [bytes] => Ok(bytes),
            others => Err(format!("{} messages instead of one", others.len()).into()),
        }
    }
}

pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) side: Side,
    engine: Engine,
}

enum Engine {
    Rust { node: Box<Node>, delivered: BTreeSet<MessageId> },
    Js { js: Js, who: String },
}

impl Peer {
    /// A participant with an empty log, at time zero.
    pub(crate) fn new(
        js: &Js,
        side: Side,
        name: &str,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let engine = match side {
            Side::Rust(dialect) => Engine::rust(dialect, name, settings)?,
            Side::Js => Engine::js(js, name, settings)?,
        };
        Ok(Self { name: name.into(), side, engine })
    }

    pub(crate) fn publish(&mut self, at: u64, content: &str) -> Result<Turn, Failure> {
        let kind = PublishKind::Content;
        match &mut self.engine {
            Engine::Rust { .. } => self.handle(at, publication(content, kind)),
            Engine::Js { .. } => self.ask(at, "publish", "content", content.as_bytes()),
        }
    }

    pub(crate) fn ephemeral(&mut self, at: u64, content: &str) -> Result<Turn, Failure> {
        let kind = PublishKind::Ephemeral;
        match &mut self.engine {
            Engine::Rust { .. } => self.handle(at, publication(content, kind)),
            Engine::Js { .. } => self.ask(at, "ephemeral", "content", content.as_bytes()),
        }
    }

    pub(crate) fn receive(&mut self, at: u64, bytes: &Bytes) -> Result<Turn, Failure> {
        match &mut self.engine {
            Engine::Rust { .. } => self.handle(at, Input::Datagram(bytes.clone())),
            Engine::Js { .. } => self.ask(at, "receive", "message", bytes),
        }
    }

    /// A sync message. A node sends it when it is due, so its time moves on; the library when told.
    pub(crate) fn sync(&mut self, at: u64) -> Result<Turn, Failure> {
        if matches!(self.engine, Engine::Js { .. }) {
            return self.ask(at, "sync", "", &[]);
        }
        for _ in 0..100 {
            let at = self.next_wake().ok_or("a node with a log has a sync due")?;
            let turn = self.wake(at)?;
            let is_sync = |bytes: &Bytes| decoded(bytes).is_ok_and(|it| it.kind() == Kind::Sync);
            if turn.sent.iter().any(is_sync) {
                return Ok(turn);
            }
        }
        Err("no sync in a hundred turns".into())
    }

    /// Runs what is due: ticks a node; has the library answer requests and check its buffered
    /// messages again.
    pub(crate) fn wake(&mut self, at: u64) -> Result<Turn, Failure> {
        match &self.engine {
            Engine::Rust { .. } => self.handle(at, Input::Tick),
            Engine::Js { .. } => self.ask(at, "sweep", "", &[]),
        }
    }

    /// The library leaves resending to its application.
    pub(crate) fn resend(&mut self, at: u64) -> Result<Turn, Failure> {
        self.ask(at, "resend", "", &[])
    }

    /// When a node wants to be woken; the library has no timers.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        match &self.engine {
            Engine::Rust { node, .. } => {
                node.next_deadline().map(|deadline| deadline.at.as_micros().div_ceil(1_000))
            }
            Engine::Js { .. } => None,
        }
    }

    /// Lamport time and id of each log entry, in the participant's order.
    pub(crate) fn log(&self) -> Result<Vec<(u64, String)>, Failure> {
        match &self.engine {
            Engine::Rust { node, .. } => {
                let log = node.log(&ChannelId::from(CHANNEL)).ok_or("not open")?;
                Ok(log
                    .iter()
                    .map(|entry| (entry.lamport(), entry.message_id().to_string()))
                    .collect())
            }
            Engine::Js { .. } => {
                let log: Vec<(String, String)> =
                    serde_json::from_value(self.state()?["log"].take())?;
                log.into_iter().map(|(lamport, id)| Ok((lamport.parse()?, id))).collect()
            }
        }
    }

    /// Own messages that nobody acknowledged.
    pub(crate) fn unacked(&self) -> Result<usize, Failure> {
        match &self.engine {
            Engine::Rust { node, .. } => {
                Ok(node.status(&ChannelId::from(CHANNEL)).ok_or("not open")?.outgoing)
            }
            Engine::Js { .. } => Ok(self.state()?["unacked"].as_array().map_or(0, Vec::len)),
        }
    }

    fn state(&self) -> Result<Value, Failure> {
        let Engine::Js { js, who } = &self.engine else { return Err("not JavaScript".into()) };
        js.borrow_mut().ask(&json!({ "op": "state", "who": who }))
    }

    fn ask(&self, at: u64, op: &str, field: &str, bytes: &[u8]) -> Result<Turn, Failure> {
        let Engine::Js { js, who } = &self.engine else { return Err("not JavaScript".into()) };
        let request =
            json!({ "op": op, "who": who, "now": EPOCH_MS + at, field: hex::encode(bytes) });
        let mut answer = js.borrow_mut().ask(&request)?;
        let sent: Vec<String> = serde_json::from_value(answer["sent"].take())?;
        let told: Vec<Vec<String>> = serde_json::from_value(answer["told"].take())?;
        let sent = sent.into_iter().map(|text| Ok(hex::decode(text)?.into()));
        let told = told.into_iter().map(from_js);
        Ok(Turn {
            sent: sent.collect::<Result<_, Failure>>()?,
            told: told.collect::<Result<_, _>>()?,
        })
    }

    fn handle(&mut self, at: u64, input: Input) -> Result<Turn, Failure> {
        let Engine::Rust { node, delivered } = &mut self.engine else {
            return Err("not Rust".into());
        };
        let now = Now::new(Instant::from_millis(at), UnixMillis(EPOCH_MS + at));
        match node.handle(now, input) {
            Ok(()) => {}
            // The link is shared by both dialects; who speaks one hears the other.
            Err(rejected) if matches!(rejected.reason, RejectReason::DialectNotAccepted(_)) => {}
            Err(rejected) => return Err(format!("{}: {rejected}", self.name).into()),
        }
        let mut turn = Turn::default();
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Send { bytes, reason, dialect, .. } => {
                    let one_dialect = match self.side {
                        Side::Rust(Dialect::Lip109) => dialect == WireDialect::Lip109,
                        Side::Rust(Dialect::NimSds) => dialect == WireDialect::NimSds,
                        _ => true,
                    };
                    ensure(one_dialect, || format!("{}: {reason:?} in {dialect}", self.name))?;
                    turn.sent.push(bytes);
                }
                Effect::Event(Event::Deliver(delivery)) => {
                    let entry = &delivery.entry;
                    let id = entry.message_id();
                    ensure(delivered.insert(id.into()), || format!("{id} delivered twice"))?;
                    let met = |named: wire::HistoryEntryRef<'_>| {
                        delivered.contains(named.message_id.as_bytes())
                    };
                    ensure(!delivery.gap && entry.causal_history().all(met), || {
                        format!("{}: {id} before what it depends on", self.name)
                    })?;
                    if !delivery.own {
                        turn.told.push(Told::Delivered(id.to_string()));
                    }
                }
                Effect::Event(Event::DeliverEphemeral { content, .. }) => {
                    turn.told.push(Told::Ephemeral(content));
                }
                Effect::Event(Event::PossiblyAcked { message_id, .. }) => {
                    turn.told.push(Told::PossiblyAcked(message_id.to_string()));
                }
                Effect::Event(Event::Acked { message_id, .. }) => {
                    turn.told.push(Told::Acked(message_id.to_string()));
                }
                Effect::Event(Event::Missing { missing, .. }) => {
                    let ids = missing.iter().map(|entry| entry.message_id.to_string());
                    turn.told.push(Told::Missing(ids.collect()));
                }
                Effect::Event(Event::FilterIgnored { error, .. }) => {
                    return Err(error.to_string().into());
                }
                Effect::Event(Event::Lost { message_ids, .. }) => {
                    return Err(format!("lost: {message_ids:?}").into());
                }
                _ => {}
            }
        }
        Ok(turn)
    }
}

impl Engine {
    fn rust(dialect: Dialect, name: &str, settings: &Settings) -> Result<Self, Failure> {
        let millis = Duration::from_millis;
        let config = Config::chat()
            .participant_id(name.into())
            .seed(farm_hash64(name.as_bytes()))
            .dialect(dialect)
            .accept_nim_sds(dialect != Dialect::Lip109)
            .accept_lip109(dialect != Dialect::NimSds)
            // All nim peers are ours here.
            .sync_to_nim(true)
            .causal_history_len(settings.named.unwrap_or(2))
            .max_heads(settings.named.unwrap_or(16))
            .ack_confidence(settings.ack_confidence)
            .repair_t_min(millis(settings.t_min))
            .repair_t_max(Some(millis(settings.t_max)))
            .response_groups(settings.groups)
            .repair_sync_min(millis(1))
            .resend_after(millis(3_000))
            .resend_max(millis(30_000))
            .sync_min(millis(4_000))
            .sync_max(millis(8_000))
            .build()?;
        let mut node = Box::new(Node::new(config));
        let now = Now::new(Instant::ZERO, UnixMillis(EPOCH_MS));
        node.handle(now, Input::Open { channel: CHANNEL.into(), config: None })?;
        Ok(Self::Rust { node, delivered: BTreeSet::new() })
    }

    fn js(js: &Js, name: &str, settings: &Settings) -> Result<Self, Failure> {
        let options = json!({
            "causalHistorySize": settings.named,
            "possibleAcksThreshold": settings.ack_threshold,
            "repairConfig": settings.repair_config(),
        });
        let request = json!({
            "op": "join", "who": name, "now": EPOCH_MS, "name": name, "channel": CHANNEL,
            "options": options,
        });
        js.borrow_mut().ask(&request)?;
        Ok(Self::Js { js: Rc::clone(js), who: name.into() })
    }
}

fn publication(content: &str, kind: PublishKind) -> Input {
    Input::Publish {
        channel: CHANNEL.into(),
        message_id: id_of(content).into(),
        content: Bytes::copy_from_slice(content.as_bytes()),
        kind,
    }
}

fn from_js(words: Vec<String>) -> Result<Told, Failure> {
    let mut words = words.into_iter();
    let what = words.next().ok_or("a word")?;
    let rest: Vec<String> = words.collect();
    let first = rest.first().cloned().unwrap_or_default();
    Ok(match what.as_str() {
        "delivered" => Told::Delivered(first),
        "ephemeral" => Told::Ephemeral(hex::decode(first)?.into()),
        "sync" => Told::Sync(first),
        "missing" => Told::Missing(rest),
        "possibly-acked" => Told::PossiblyAcked(first),
        "acked" => Told::Acked(first),
        _ => return Err(format!("JavaScript: {what} {first}").into()),
    })
}

/// The id that `@waku/sds` gives to a message with this content; ours do the same.
pub(crate) fn id_of(content: &str) -> String {
    hex::encode(Sha256::digest(content.as_bytes()))
}

/// A message of either dialect.
pub(crate) fn decoded(bytes: &Bytes) -> Result<Message, Failure> {
    Ok(wire::decode(bytes, &Limits::default())?.1)
}
