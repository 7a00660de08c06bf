//! Measures the memory of single items, and checks the documentation of `Config` against it.
//! `cargo test --test memory_figures -- --nocapture` prints the tables of `benches/README.md`.

#![cfg(target_pointer_width = "64")]
#![allow(clippy::print_stdout, reason = "the figures are wanted")]

mod common;
mod heap;

use bytes::Bytes;
use common::peer::{Said, entry};
use common::{EPOCH_MS, at, channel, open};
use heap::Watched;
use sds_proto::wire::WireDialect;
use sds_proto::{Config, ConfigBuilder, Dialect, Input, MessageId, PublishKind};

/// Bytes of an id, as UUIDs have, and of a content.
const ID: usize = 36;
const CONTENT: usize = 64;
/// Bytes of a message with two entries in its history.
const PAYLOAD: usize = CONTENT + 6 * ID;

fn id(prefix: &str, n: usize) -> String {
    let len = ID - prefix.len();
    format!("{prefix}{n:0len$}")
}

struct Subject {
    node: Watched,
    dialect: WireDialect,
}

impl Subject {
    fn new(config: ConfigBuilder) -> Self {
        let config = config.participant_id(id("me", 0).into()).build().expect("valid settings");
        let dialect = match config.dialect() {
            Dialect::NimSds => WireDialect::NimSds,
            Dialect::Lip109 | Dialect::Mirror { .. } | Dialect::Bridge => WireDialect::Lip109,
        };
        let mut node = Watched::new(&config);
        node.handle(at(0), open).expect("opens");
        Self { node, dialect }
    }

    fn said(&self, prefix: &str, n: usize) -> Said {
        let lamport = EPOCH_MS + n as u64;
        let said = Said::new(self.dialect, id(prefix, n).as_str(), lamport).by(&id("bob", 0));
        said.content(&"x".repeat(CONTENT))
    }

    fn hear(&mut self, said: &Said) {
        self.node.hear(at(100_000), &said.bytes()).expect("taken");
    }

    /// The `n`th message, which names the two before it.
    fn log(&mut self, n: usize) {
        let named = (n.saturating_sub(2).max(1)..n).map(|n| id("m", n));
        let named = named.map(|id| entry(id.as_str(), &self::id("bob", 0)));
        let said = named.fold(self.said("m", n), Said::naming);
        self.hear(&said);
    }

    fn publish(&mut self, n: usize) {
        let input = || Input::Publish {
            channel: channel(),
            message_id: id("o", n).into(),
            content: Bytes::from(vec![b'x'; CONTENT]),
            kind: PublishKind::Content,
        };
        self.node.handle(at(100_000), input).expect("published");
    }

    /// Waits for what never comes.
    fn wait(&mut self, n: usize) {
        let said = self.said("w", n).naming(entry(id("never", 0).as_str(), &id("bob", 0)));
        self.hear(&said);
    }

    fn want(&mut self, n: usize) {
        let said = self.said("s", n).sync().naming(entry(id("never", n).as_str(), &id("bob", 0)));
        self.hear(&said);
    }

    fn ask(&mut self, n: usize) {
        let said = self.said("s", n).by(&id("eve", 0)).sync();
        self.hear(&said.asking(entry(id("m", n).as_str(), &id("bob", 0))));
    }

    /// One id is declared met, and one is that of a sync.
    fn meet(&mut self, n: usize) {
        let said = self.said("s", n).sync();
        self.hear(&said);
        let ids = || vec![MessageId::from(id("met", n))];
        let input = || Input::DependenciesMet { channel: channel(), ids: ids() };
        self.node.handle(at(100_000), input).expect("taken");
    }

    /// Bytes for each of as many more as there are, after `count` of them: what doubles has then
    /// doubled once.
    fn each(mut self, count: usize, mut one: impl FnMut(&mut Self, usize)) -> f64 {
        (1..=count).for_each(|n| one(&mut self, n));
        let before = self.node.gauge.held();
        (count + 1..=2 * count).for_each(|n| one(&mut self, n));
        (self.node.gauge.held() - before) as f64 / count as f64
    }
}

/// The same without filters to speak of, so that they can be told apart.
fn unfiltered(config: ConfigBuilder) -> ConfigBuilder {
    config.bloom_capacity(1)
}

/// The same with a log that is full soon.
fn forgetful(config: ConfigBuilder) -> ConfigBuilder {
    config.max_log_messages(16).max_outgoing(16)
}

fn idle_channel(config: ConfigBuilder) -> f64 {
    let mut subject = Subject::new(config);
    let open = |subject: &mut Subject, n| {
        let input = || Input::Open { channel: id("c", n).into(), config: None };
        subject.node.handle(at(0), input).expect("opens");
    };
    (1..=1_000).for_each(|n| open(&mut subject, n));
    let before = subject.node.gauge.held();
    (1_001..=2_000).for_each(|n| open(&mut subject, n));
    (subject.node.gauge.held() - before) as f64 / 1e3
}

/// Bytes of own filters for each id that they are made for, when they hold as many.
fn filter(config: fn() -> ConfigBuilder) -> f64 {
    let held = |config| {
        let mut subject = Subject::new(forgetful(config));
        (1..=10_000).for_each(|n| subject.log(n));
        subject.node.gauge.held()
    };
    (held(config()) - held(unfiltered(config()))) as f64 / 1e4
}

fn nim() -> ConfigBuilder {
    Config::chat().dialect(Dialect::NimSds)
}

/// The number that the documentation of a field gives after "Memory:".
fn documented(field: &str) -> f64 {
    let source = include_str!("../src/config/mod.rs");
    let field = format!("\n    {field}: ");
    let before = source.split(&field).next().expect("a field");
    let (_, memory) = before.rsplit_once("Memory:").expect("it says what it takes");
    let words = memory.split_whitespace().map(|word| word.replace(',', ""));
    words.filter_map(|word| word.parse().ok()).next().expect("a number")
}

#[test]
fn the_documentation_says_what_things_take() {
    let chat = || Subject::new(unfiltered(Config::chat()));
    let record = Subject::new(forgetful(unfiltered(Config::chat()))).each(4_096, Subject::log);
    let logged = chat().each(4_096, Subject::log) - record - PAYLOAD as f64;
    let waiting = chat().each(4_096, Subject::wait) - record - (PAYLOAD - 2 * ID) as f64;
    let unacked = chat().each(256, Subject::publish) - chat().each(256, Subject::log);
    let mut asked = chat();
    (1..=1_024).for_each(|n| asked.log(n));
    type Set = fn(ConfigBuilder, usize) -> ConfigBuilder;
    let measured: [(_, _, Set); 7] = [
        ("max_log_messages", logged, ConfigBuilder::max_log_messages),
        ("max_ids", record, ConfigBuilder::max_ids),
        ("max_resolved_ids", chat().each(1_024, Subject::meet), ConfigBuilder::max_resolved_ids),
        ("max_outgoing", unacked, ConfigBuilder::max_outgoing),
        ("max_incoming_messages", waiting, ConfigBuilder::max_incoming_messages),
        ("max_missing", chat().each(4_096, Subject::want), ConfigBuilder::max_missing),
        ("max_answers", asked.each(256, Subject::ask), ConfigBuilder::max_answers),
    ];
    let mut wrong = Vec::new();
    let mut check = |field, measured: f64| {
        let documented = documented(field);
        println!("{field}: {measured:.1} bytes, {documented} by its documentation");
        if (measured - documented).abs() > documented / 8.0 {
            wrong.push(field);
        }
    };
    check("max_auto_channels", idle_channel(Config::chat()));
    check("bloom_capacity", filter(nim));
    measured.iter().for_each(|(field, measured, _)| check(field, *measured));
    assert!(wrong.is_empty(), "{wrong:?}");
    for (field, measured, set) in measured {
        check_bound(field, measured, set);
    }
}

/// Checks that room for one more raises the bound by what one takes, and not by much more.
fn check_bound(field: &str, measured: f64, set: fn(ConfigBuilder, usize) -> ConfigBuilder) {
    const MANY: usize = 1 << 20;
    // There must be as many ids as messages.
    let (from, to) = if field == "max_ids" { (MANY, 4 * MANY) } else { (1, MANY) };
    let bound = |count| {
        let config = Config::chat().max_log_messages(MANY).max_ids(MANY).max_outgoing(1);
        let config = set(config.max_id_len(ID).max_hint_len(1), count);
        config.build().expect("valid settings").max_memory().channel
    };
    let raised = (bound(to) - bound(from)) as f64 / (to - from) as f64;
    println!("{field}: {measured:.1} bytes each, {raised:.1} in the bound");
    // Senders whose filters hold a message, as many as are remembered; no filter was heard here.
    let witnesses = if field == "max_outgoing" { 64.0 * 8.0 } else { 0.0 };
    let slack = raised - witnesses;
    assert!(measured <= slack && slack < 4.0 * measured, "{field}: {measured} {raised}");
}

#[test]
fn the_table_of_the_readme() {
    let firmware = || Config::firmware().max_held_effects(64);
    let lip109 = Config::chat;
    println!("| bytes | LIP-109 | nim-sds | firmware |\n| --- | --- | --- | --- |");
    let row = |name: &str, of: [f64; 3]| {
        let [a, b, c] = of.map(|bytes| bytes.round());
        println!("| {name} | {a} | {b} | {c} |");
    };
    row("an idle channel", [lip109(), nim(), firmware()].map(idle_channel));
    let logged = [(lip109(), 4_096), (nim(), 4_096), (firmware(), 16)];
    let logged = logged.map(|(config, count)| Subject::new(config).each(count, Subject::log));
    row("a logged message", logged);
    let unacked = [(lip109(), 256), (nim(), 256), (firmware(), 8)];
    let unacked = unacked.map(|(config, count)| Subject::new(config).each(count, Subject::publish));
    row("an own message, unacknowledged", unacked);
    let bounds = [lip109(), nim(), firmware()].map(|config| {
        let bound = config.build().expect("valid settings").max_memory();
        [bound.node, bound.channel].map(|bytes| bytes as f64)
    });
    row("at most, a node", bounds.map(|[node, _]| node));
    row("at most, each channel", bounds.map(|[_, channel]| channel));
}
