//! A small language for specifications: commands that give a node its inputs, and its effects as
//! one line of text each.
//!
//! | command | what it does |
//! | --- | --- |
//! | `node [setting=value]…` | a new node, of participant alice, with channel c open; its store and the time start anew |
//! | `at 1500ms` | moves both clocks; `s`, `ms` and `h` are units |
//! | `wall 1000000` / `wall none` | the wall clock's milliseconds at time 0; none at first |
//! | `tick`, `run 60s` | a tick now; ticks whenever one is due, up to a time, each effect behind its time |
//! | `publish m1 [text] [in=c]`, `ephemeral e1 [text]`, `resend m1` | own messages |
//! | `receive nim m2 at=5 by=bob after=m0,m1@carol#hint asks=m7@bob has=m1 text=hi [form=0.3.3] [sync] [ephemeral] [in=c]` | a peer's; `lip109` is the other dialect, `has=junk` a bad filter, `hex:ff` any id |
//! | `open d`, `close`, `drop`, `reset`, `hint m1 text`, `resolved m1,m2`, `consumed 3`, `not-found 1`, `failed 1` | further inputs |
//! | `store ok`, `store full`, `restart` | the store answers the oldest write; the node is lost and built anew from the store |
//! | `log`, `heads`, `history`, `status`, `outgoing`, `missing`, `dependencies m1`, `deadline`, `nothing` | what can be read of a node |

use core::fmt::{Display, Write as _};
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use sds_proto::bloom::{Geometry, MAX_K, ReceivedFilter};
use sds_proto::hash::HashKind;
use sds_proto::snapshot::{Change, ChangeKind};
use sds_proto::wire::{self, HistoryEntry, HistoryEntryRef, Limits, NimForm, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, Delivery, DeliverySeq, Dialect, Durability, Effect, Event, FilterPolicy,
    Input, Instant, MessageId, MissingEntry, Node, Now, OnJoin, OnLost, OutgoingEntry,
    OutgoingState, PersistId, PublishKind, RetrievalId, RetrievalOutcome, SendReason, StoreError,
    UnixMillis,
};

use super::peer::Said;
use super::store::Disk;

pub struct Script {
    node: Node,
    config: Config,
    micros: u64,
    wall: Option<u64>,
    disk: Disk,
    writes: VecDeque<(PersistId, Arc<[Change]>)>,
    /// Every id that was mentioned, to look for in filters.
    ids: BTreeSet<MessageId>,
    output: String,
    /// Whether lines begin with the time.
    timed: bool,
}

impl Script {
    pub fn new() -> Self {
        let config = settings(&[]);
        let mut script = Self {
            node: Node::new(config.clone()),
            config,
            micros: 0,
            wall: None,
            disk: Disk::default(),
            writes: VecDeque::new(),
            ids: BTreeSet::new(),
            output: String::new(),
            timed: false,
        };
        script.restart();
        script
    }

    /// Runs commands, one a line, and returns what came of them.
    pub fn run(&mut self, commands: &str) -> String {
        for line in commands.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [command, arguments @ ..] = &words[..] {
                self.command(command, arguments);
                self.drain();
            }
        }
        core::mem::take(&mut self.output)
    }

    fn command(&mut self, command: &str, arguments: &[&str]) {
        let first = arguments.first().copied();
        let argument = || first.unwrap_or_else(|| panic!("{command} what?"));
        match command {
            "node" => {
                *self = Self { config: settings(arguments), ..Self::new() };
                self.restart();
            }
            "at" => self.micros = micros(argument()),
            "wall" => self.wall = argument().parse().ok(),
            "tick" => self.handle(Input::Tick),
            "run" => self.run_until(micros(argument())),
            "publish" => self.publish(arguments, PublishKind::Content),
            "resend" => {
                let message_id = id(argument());
                self.handle(Input::Resend { channel: "c".into(), message_id });
            }
            "ephemeral" => self.publish(arguments, PublishKind::Ephemeral),
            "receive" => self.receive(arguments),
            "open" => {
                self.handle(Input::Open { channel: first.unwrap_or("c").into(), config: None });
            }
            "close" => self.handle(Input::Close { channel: "c".into() }),
            "drop" => self.handle(Input::Drop { channel: "c".into() }),
            "reset" => self.handle(Input::Reset),
            "hint" => self.handle(Input::Hint {
                channel: "c".into(),
                message_id: id(argument()),
                hint: text(arguments[1]),
            }),
            "resolved" => {
                let ids = argument().split(',').map(id).collect();
                self.handle(Input::DependenciesMet { channel: "c".into(), ids });
            }
            "consumed" => {
                let up_to = DeliverySeq(argument().parse().expect("a number"));
                self.handle(Input::Consumed { channel: "c".into(), up_to });
            }
            "not-found" => self.retrieved(argument(), RetrievalOutcome::NotFound),
            "failed" => self.retrieved(argument(), RetrievalOutcome::Failed),
            "store" => self.answer(argument()),
            "restart" => self.restart(),
            "dependencies" => {
                let (channel, message_id) = ("c".into(), id(argument()));
                let dependencies = entries(self.node.missing_dependencies(&channel, &message_id));
                self.line(&format!("dependencies {dependencies}"));
            }
            "log" | "heads" | "history" | "status" | "outgoing" | "missing" | "deadline"
            | "nothing" => self.show(command),
            _ => panic!("unknown command {command}"),
        }
    }

    fn handle(&mut self, input: Input) {
        let mono = Instant::from_micros(self.micros);
        let now = match self.wall {
            Some(wall) => Now::new(mono, UnixMillis(wall + self.micros / 1000)),
            None => Now::without_wall(mono),
        };
        if let Err(rejected) = self.node.handle(now, input) {
            self.line(&format!("refused: {rejected}"));
        }
    }

    fn publish(&mut self, arguments: &[&str], kind: PublishKind) {
        let message_id = id(arguments[0]);
        self.ids.insert(message_id.clone());
        let words = arguments[1..].iter().filter(|word| !word.starts_with("in="));
        let content = words.copied().next().unwrap_or("x");
        let channel = value(arguments, "in").unwrap_or("c").into();
        self.handle(Input::Publish { channel, message_id, content: text(content), kind });
    }

    fn receive(&mut self, arguments: &[&str]) {
        let dialect = match arguments[0] {
            "lip109" => WireDialect::Lip109,
            "nim" => WireDialect::NimSds,
            other => panic!("no dialect {other}"),
        };
        let lamport = value(arguments, "at").map_or(0, |at| at.parse().expect("a Lamport time"));
        let mut said = Said::new(dialect, id(arguments[1]), lamport)
            .by(value(arguments, "by").unwrap_or("bob"))
            .in_channel(value(arguments, "in").unwrap_or("c"))
            .content(value(arguments, "text").unwrap_or("x"));
        for named in list(arguments, "after") {
            said = said.naming(entry(named));
        }
        for missing in list(arguments, "asks") {
            said = said.asking(entry(missing));
        }
        match value(arguments, "has") {
            Some("junk") => said = said.filter(&b"junk"[..]),
            Some(_) => said = said.having(self.geometry(), list(arguments, "has")),
            None => {}
        }
        if arguments.contains(&"sync") {
            said = said.sync();
        }
        if arguments.contains(&"ephemeral") {
            said = said.ephemeral();
        }
        if let Some(form) = value(arguments, "form") {
            said = said.in_form(nim_form(form));
        }
        self.ids.insert(said.message.message_id.clone());
        self.handle(said.input());
    }

    fn retrieved(&mut self, number: &str, outcome: RetrievalOutcome) {
        let id = RetrievalId(number.parse().expect("a number"));
        self.handle(Input::Retrieved { id, outcome });
    }

    fn answer(&mut self, answer: &str) {
        let (id, changes) = self.writes.pop_front().expect("no write is outstanding");
        let result = match answer {
            "ok" => Ok(()),
            "full" => Err(StoreError::Full),
            other => panic!("no such answer: {other}"),
        };
        if result.is_ok() {
            self.disk.write(&changes);
        }
        self.handle(Input::Persisted { id, result });
    }

    fn restart(&mut self) {
        self.node = Node::new(self.config.clone());
        self.writes.clear();
        self.handle(Input::Open { channel: "c".into(), config: None });
    }

    fn run_until(&mut self, end: u64) {
        self.timed = true;
        self.drain();
        for _ in 0..100_000 {
            let Some(deadline) = self.node.next_deadline() else { break };
            let due = deadline.at.as_micros();
            if due > end {
                break;
            }
            self.micros = self.micros.max(due);
            self.handle(Input::Tick);
            self.drain();
        }
        self.micros = self.micros.max(end);
        self.timed = false;
    }

    fn drain(&mut self) {
        while let Some(effect) = self.node.poll_effect() {
            match &effect {
                Effect::Load { id, channel } => {
                    // Each channel is as the store has it; a specification need not say so.
                    let result = Ok(self.disk.load(channel));
                    self.handle(Input::Loaded { id: *id, channel: channel.clone(), result });
                    continue;
                }
                Effect::Persist { id, changes } => {
                    self.writes.push_back((*id, Arc::clone(changes)));
                }
                _ => {}
            }
            let line = self.effect(&effect);
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        if self.timed {
            let (seconds, rest) = (self.micros / 1_000_000, self.micros / 1_000 % 1_000);
            let _ = write!(self.output, "{seconds}.{rest:03}s ");
        }
        self.output.push_str(line);
        self.output.push('\n');
    }

    fn show(&mut self, what: &str) {
        let lines = match (self.node.log(&"c".into()), what) {
            (Some(log), "log") => {
                let entries = log.iter().map(|e| format!("{} {}", e.lamport(), e.message_id()));
                entries.collect::<Vec<_>>()
            }
            (Some(log), "heads") => vec![format!("heads {}", ids(log.heads()))],
            (Some(_), "history") => {
                vec![format!("history {}", ids(self.node.next_causal_history(&"c".into())))]
            }
            (_, "deadline") => vec![self.node.next_deadline().map_or_else(
                || "no deadline".into(),
                |deadline| format!("{:?} at {}us", deadline.reason, deadline.at.as_micros()),
            )],
            (Some(_), "status") => {
                let status = self.node.status(&"c".into()).expect("open");
                vec![format!(
                    "lamport {} logged {} outgoing {} incoming {} missing {} lost {}",
                    status.lamport,
                    status.logged,
                    status.outgoing,
                    status.incoming,
                    status.missing,
                    status.lost
                )]
            }
            (Some(_), "outgoing") => {
                let outgoing = self.node.outgoing(&"c".into()).expect("open");
                let line = |own: OutgoingEntry| {
                    let state = match own.state {
                        OutgoingState::Unacknowledged { resends } => format!("resent {resends}"),
                        OutgoingState::PossiblyAcknowledged { resends, witnesses } => {
                            format!("resent {resends} possibly acked by {witnesses}")
                        }
                        OutgoingState::Unconfirmed => "unconfirmed".into(),
                        other => format!("{other:?}"),
                    };
                    format!("outgoing #{} {} {state}", own.seq.0, own.entry.message_id())
                };
                outgoing.into_iter().map(line).collect()
            }
            (Some(_), "missing") => {
                let line = |missing: MissingEntry| {
                    let named = entries([missing.named.borrowed()]);
                    let waiters = ids(missing.waiters.iter().map(MessageId::borrowed));
                    format!("missing {named} asked {} wait {waiters}", missing.requests)
                };
                self.node.missing(&"c".into()).map(line).collect()
            }
            (_, "nothing") => vec![],
            (_, _) => vec!["not open".into()],
        };
        lines.iter().for_each(|line| self.line(line));
    }

    fn effect(&self, effect: &Effect) -> String {
        match effect {
            Effect::Send { bytes, reason, .. } => self.sent(bytes, *reason),
            Effect::Event(Event::Deliver(delivery)) => delivered(delivery),
            Effect::Event(Event::DeliverEphemeral { message_id, sender_id, content, .. }) => {
                format!("ephemeral {message_id}@{sender_id} {}", String::from_utf8_lossy(content))
            }
            Effect::Persist { changes, .. } => {
                let changes: Vec<_> = changes.iter().map(|change| changed(&change.kind)).collect();
                format!("persist {}", changes.join(", "))
            }
            Effect::Retrieve { id, missing, .. } => {
                format!("fetch {} {}", id.0, entries(missing.iter().map(HistoryEntry::borrowed)))
            }
            Effect::Event(Event::PossiblyAcked { message_id, .. }) => {
                format!("possibly acked {message_id}")
            }
            Effect::Event(Event::Acked { message_id, .. }) => format!("acked {message_id}"),
            Effect::Event(Event::Unconfirmed { message_id, .. }) => {
                format!("unconfirmed {message_id}")
            }
            Effect::Event(Event::Missing { message_id, missing, .. }) => {
                format!(
                    "missing for {message_id}: {}",
                    entries(missing.iter().map(HistoryEntry::borrowed))
                )
            }
            Effect::Event(Event::Lost { message_ids, .. }) => format!("lost {}", ids(message_ids)),
            Effect::Event(Event::Synced { lost, .. }) => format!("synced, {lost} lost"),
            Effect::Event(Event::Degraded { error, retry_at }) => {
                format!("degraded: {error}, retry at {}us", retry_at.as_micros())
            }
            Effect::Event(Event::Recovered) => "recovered".into(),
            Effect::Event(Event::LimitReached { limit, message_id, .. }) => {
                format!("limit reached {limit:?} {message_id}")
            }
            Effect::Event(Event::Conflict { message_id, sender_id, .. }) => {
                format!("conflict {message_id}@{sender_id}")
            }
            Effect::Event(Event::FilterIgnored { sender_id, error, .. }) => {
                format!("filter of {sender_id} ignored: {error}")
            }
            Effect::Event(Event::ClockBehind { sender_id, lamport, .. }) => {
                format!("clock of {sender_id} behind: {lamport}")
            }
            Effect::Event(Event::FormIncomplete { form, .. }) => {
                format!("form {form} is incomplete")
            }
            Effect::Event(Event::TimeBehind { told, newest }) => {
                let millis = |at: &Instant| at.as_micros() / 1_000;
                format!("time {} ms behind {} ms", millis(told), millis(newest))
            }
            Effect::Event(Event::WallClockOff { ours, theirs }) => {
                format!("own wall clock off: {}, others {}", ours.0, theirs.0)
            }
            Effect::Event(Event::ParticipantIdInUse { message_id, lamport, .. }) => {
                format!("own id in use by another: {message_id} at={lamport}")
            }
            Effect::Event(Event::NotForwarded { message_id, .. }) => {
                format!("not text {message_id}")
            }
            other => format!("{other:?}"),
        }
    }

    fn sent(&self, bytes: &Bytes, reason: SendReason) -> String {
        let (dialect, message) = wire::decode(bytes, &Limits::default()).expect("what we send");
        let dialect_name = match dialect {
            WireDialect::Lip109 => "lip109",
            WireDialect::NimSds => "nim",
        };
        let mut line = format!("send {reason:?} {dialect_name}");
        if reason != SendReason::Sync {
            // The id of a sync is random.
            let _ = write!(line, " {}@{}", message.message_id, message.sender_id);
        }
        if let Some(lamport) = message.lamport {
            let _ = write!(line, " at={lamport}");
        }
        if !message.causal_history.is_empty() {
            let _ = write!(
                line,
                " after={}",
                entries(message.causal_history.iter().map(HistoryEntry::borrowed))
            );
        }
        if !message.repair_request.is_empty() {
            let _ = write!(
                line,
                " asks={}",
                entries(message.repair_request.iter().map(HistoryEntry::borrowed))
            );
        }
        if let Some(filter) = &message.bloom_filter {
            let _ = write!(line, " has={}", self.held(dialect, filter));
        }
        line
    }

    fn geometry(&self) -> Geometry {
        let capacity = u64::from(self.config.bloom_capacity());
        Geometry::new(capacity, self.config.bloom_error_rate()).expect("a geometry")
    }

    /// The ids mentioned so far that a filter holds.
    fn held(&self, dialect: WireDialect, filter: &[u8]) -> String {
        let (filter, hash) = match dialect {
            WireDialect::Lip109 => {
                (ReceivedFilter::from_lip109(filter, &self.geometry()), HashKind::Lip109)
            }
            WireDialect::NimSds => (ReceivedFilter::from_nim(filter, MAX_K), HashKind::NimFarm),
        };
        let filter = filter.expect("a filter of ours");
        ids(self.ids.iter().filter(|id| filter.contains(hash.probe(id.as_bytes()))))
    }
}

fn nim_form(version: &str) -> NimForm {
    let forms = NimForm::ALL;
    let found = forms.into_iter().find(|form| form.to_string() == version);
    found.unwrap_or_else(|| panic!("no form {version}"))
}

fn delivered(delivery: &Delivery) -> String {
    let (seq, entry) = (delivery.seq.0, &delivery.entry);
    let place = delivery
        .follows
        .as_ref()
        .map_or_else(|| "first".to_owned(), |follows| format!("behind {}", follows.message_id()));
    let mut line = format!("deliver #{seq} {}@{} {place}", entry.message_id(), entry.sender_id());
    for (word, set) in
        [("gap", delivery.gap), ("own", delivery.own), ("again", delivery.redelivery)]
    {
        if set {
            let _ = write!(line, " {word}");
        }
    }
    line
}

fn changed(kind: &ChangeKind) -> String {
    match kind {
        ChangeKind::Created { .. } => "created".into(),
        ChangeKind::Clock(lamport) => format!("clock {lamport}"),
        ChangeKind::Recorded(_) => "id recorded".into(),
        ChangeKind::Forgotten { .. } => "id forgotten".into(),
        ChangeKind::Floor(lamport) => format!("floor {lamport}"),
        ChangeKind::Appended { stored, .. } => {
            format!("append #{} {}", stored.seq.0, stored.entry.message_id())
        }
        ChangeKind::Evicted(seq) => format!("evict #{}", seq.0),
        ChangeKind::OutgoingSet(outgoing) => {
            let witnesses = match outgoing.witnesses.len() {
                0 => String::new(),
                n => format!(" held by {n}"),
            };
            let state = if outgoing.unconfirmed { "unconfirmed" } else { "unacked" };
            format!("{state} #{} resent {}{witnesses}", outgoing.seq.0, outgoing.resends)
        }
        ChangeKind::OutgoingRemoved(seq) => format!("no longer unacked #{}", seq.0),
        ChangeKind::BridgeSet(bridge) => format!("to be bridged #{}", bridge.seq.0),
        ChangeKind::BridgeRemoved(seq) => format!("no longer to be bridged #{}", seq.0),
        ChangeKind::IncomingSet(incoming) => format!("waits {}", incoming.entry.message_id()),
        ChangeKind::IncomingRemoved(id) => format!("waits no longer {id}"),
        ChangeKind::MissingSet(missing) => {
            format!("missing {} asked {}", missing.entry.message_id, missing.rounds)
        }
        ChangeKind::MissingRemoved(id) => format!("no longer missing {id}"),
        ChangeKind::AnswerSet(answer) => format!("answer {}", answer.message_id),
        ChangeKind::AnswerRemoved(id) => format!("no answer {id}"),
        ChangeKind::ResolvedAdded(resolved) => {
            if resolved.lost { "id lost" } else { "id resolved" }.into()
        }
        ChangeKind::ResolvedForgotten { .. } => "id no longer resolved".into(),
        ChangeKind::Hint { seq, .. } => format!("hint #{}", seq.0),
        ChangeKind::Consumed(up_to) => format!("consumed #{}", up_to.0),
        ChangeKind::UnreportedUpTo(number) => format!("unreported up to id {number}"),
        ChangeKind::Participant(id) => format!("participant {id}"),
        ChangeKind::Erased => "erased".into(),
        other => format!("{other:?}"),
    }
}

fn ids(ids: impl IntoIterator<Item = impl Display>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

fn entries<'a>(entries: impl IntoIterator<Item = HistoryEntryRef<'a>>) -> String {
    let entries = entries.into_iter().map(|entry| {
        let hint = entry.retrieval_hint;
        let hint = hint.map_or_else(String::new, |hint| format!("#{}", hint.escape_ascii()));
        format!("{}@{}{hint}", entry.message_id, entry.sender_id)
    });
    entries.collect::<Vec<_>>().join(",")
}

fn id(word: &str) -> MessageId {
    let Some(digits) = word.strip_prefix("hex:") else { return word.into() };
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    MessageId::from(Bytes::from_iter((0..digits.len()).step_by(2).map(byte)))
}

fn entry(word: &str) -> HistoryEntry {
    let (word, hint) = word.split_once('#').map_or((word, None), |(word, hint)| (word, Some(hint)));
    let (name, sender) = word.split_once('@').unwrap_or((word, "bob"));
    let mut entry = super::peer::entry(id(name), sender);
    entry.retrieval_hint = hint.map(text);
    entry
}

fn text(word: &str) -> Bytes {
    Bytes::from(word.to_owned())
}

fn value<'a>(arguments: &[&'a str], name: &str) -> Option<&'a str> {
    let mut values = arguments.iter().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    values.next()
}

fn list<'a>(arguments: &[&'a str], name: &str) -> impl Iterator<Item = &'a str> {
    value(arguments, name).into_iter().flat_map(|ids| ids.split(',')).filter(|id| !id.is_empty())
}

fn micros(word: &str) -> u64 {
    let split = word.find(|c: char| c.is_alphabetic()).expect("a unit");
    let unit = match &word[split..] {
        "ms" => 1_000,
        "s" => 1_000_000,
        "h" => 3_600_000_000,
        unit => panic!("no unit {unit}"),
    };
    word[..split].parse::<u64>().expect("a number") * unit
}

fn duration(word: &str) -> Duration {
    Duration::from_micros(micros(word))
}

/// A configuration in which nothing happens by time unless a setting says so.
fn settings(words: &[&str]) -> Config {
    let quiet = Config::builder()
        .participant_id("alice".into())
        .bloom_capacity(100)
        .sync(false)
        .resend(false)
        .retrieval_interval(None);
    let builder = words.iter().fold(quiet, |builder, word| {
        let (name, value) = word.split_once('=').expect("setting=value");
        set(builder, name, value)
    });
    builder.build().expect("valid settings")
}

fn set(builder: ConfigBuilder, name: &str, value: &str) -> ConfigBuilder {
    let number = || value.parse::<usize>().expect("a number");
    let yes = value == "yes";
    match name {
        "participant" => builder.participant_id(value.into()),
        "adopt_store" => builder.adopt_store(yes),
        "auto_open" => builder.auto_open(yes),
        "max_auto_channels" => builder.max_auto_channels(number()),
        "accept_lip109" => builder.accept_lip109(yes),
        "accept_nim" => builder.accept_nim_sds(yes),
        "sync_to_nim" => builder.sync_to_nim(yes),
        "auto_consume" => builder.auto_consume(yes),
        "repair" => builder.repair(yes),
        "sync" => match value.split_once("..") {
            Some((min, max)) => builder.sync(true).sync_min(duration(min)).sync_max(duration(max)),
            None => builder.sync(yes),
        },
        "dialect" => builder.dialect(match value {
            "lip109" => Dialect::Lip109,
            "nim" => Dialect::NimSds,
            "bridge" => Dialect::Bridge,
            "mirror" => Dialect::Mirror { initial: WireDialect::Lip109 },
            other => panic!("no dialect {other}"),
        }),
        "nim_form" => builder.nim_form(nim_form(value)),
        "durability" => builder.durability(match value {
            "strict" => Durability::Strict,
            "relaxed" => Durability::Relaxed,
            other => panic!("no durability {other}"),
        }),
        "filters" => builder.filter_policy(match value {
            "sync" => FilterPolicy::SyncOnly,
            messages => FilterPolicy::EveryNth(messages.parse().expect("a number")),
        }),
        "on_lost" => builder.on_lost(match value {
            "drop" => OnLost::Drop,
            other => panic!("no such choice: {other}"),
        }),
        "on_join" => builder.on_join(OnJoin::Recent { window: duration(value) }),
        "resend_after" => builder.resend(true).resend_after(duration(value)),
        "resend_max" => builder.resend_max(duration(value)),
        "max_resends" => builder.max_resends(u32::try_from(number()).expect("small")),
        "retrieval_interval" => builder.retrieval_interval(Some(duration(value))),
        "lost_after" => builder.lost_after(duration(value)),
        "t_min" => builder.repair_t_min(duration(value)),
        "t_max" => builder.repair_t_max(Some(duration(value))),
        "repair_sync_min" => builder.repair_sync_min(duration(value)),
        "bridge_delay" => builder.bridge_delay(duration(value)),
        "groups" => builder.response_groups(u32::try_from(number()).expect("small")),
        "history" => builder.causal_history_len(number()),
        "max_heads" => builder.max_heads(number()),
        "max_log" => builder.max_log_messages(number()).max_outgoing(number()),
        "max_ids" => builder.max_ids(number()).bloom_capacity(1),
        "unconfirmed_when_full" => builder.unconfirmed_when_full(yes),
        "max_outgoing" => builder.max_outgoing(number()),
        "max_incoming" => builder.max_incoming_messages(number()),
        "max_missing" => builder.max_missing(number()),
        "max_answers" => builder.max_answers(number()),
        "max_held" => builder.max_held_effects(number()),
        "max_id_len" => builder.max_id_len(number()),
        "max_content" => builder.max_content_len(number()),
        "max_history" => builder.max_history_entries(number()),
        "requests" => builder.max_repair_requests(number()).max_repair_requests_burst(number()),
        "ack_confidence" => builder.ack_confidence(value.parse().expect("a chance")),
        "max_clock_skew" => builder.max_clock_skew(duration(value)),
        other => panic!("no setting {other}"),
    }
}
