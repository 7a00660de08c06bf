//! The most expensive datagrams that are known, by instructions a byte: `.ci/worst` runs them under
//! callgrind, which collects within [`hot`] only.
//!
//! `worst WORKLOAD` prints the bytes of the datagrams that the workload handled in it.

#![allow(
    clippy::std_instead_of_core,
    clippy::print_stdout,
    reason = "a program for a script, which reads its output"
)]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use sds_proto::wire::{FilterField, HistoryEntry, Outgoing, WireDialect};
use sds_proto::{
    ChannelId, Config, ConfigBuilder, Dialect, Input, Instant, Node, Now, PublishKind, UnixMillis,
};

const CHANNEL: &str = "c";
const EPOCH_MS: u64 = 1_767_225_600_000;
/// Datagrams that are counted.
const COUNTED: usize = 200;

fn main() {
    // `cargo test` and `cargo bench` run this without knowing of workloads.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [workload] = &arguments[..] else { return };
    let bytes = match &workload[..] {
        "plain" => plain(),
        "falling" => falling(),
        "tiny_filter" => tiny_filter(),
        "many_heads" => many_heads(),
        "unknown_ids" => unknown_ids(),
        "requests" => requests(),
        "repeats" => repeats(),
        other => panic!("there is no workload {other}"),
    };
    println!("{bytes}");
}

/// Handles datagrams, polls and drops every effect, and returns the bytes. All of it is counted.
#[inline(never)]
fn hot(node: &mut Node, datagrams: Vec<Bytes>) -> usize {
    let mut bytes = 0;
    for datagram in datagrams {
        bytes += datagram.len();
        black_box(node.handle(now(), Input::Datagram(datagram)).is_ok());
        while let Some(effect) = node.poll_effect() {
            black_box(effect);
        }
    }
    bytes
}

/// As [`hot`], and not counted.
fn cold(node: &mut Node, datagrams: impl IntoIterator<Item = Bytes>) {
    for datagram in datagrams {
        node.handle(now(), Input::Datagram(datagram)).expect("taken");
        while node.poll_effect().is_some() {}
    }
}

/// Messages of 64 bytes in order, for comparison.
fn plain() -> usize {
    let mut node = node(config());
    let said = |n: usize| {
        let before = format!("message {}", n.wrapping_sub(1));
        Said::new(format!("message {n}"), n as u64).after([before]).content(64).bytes()
    };
    cold(&mut node, (0..100).map(said));
    hot(&mut node, (100..100 + COUNTED).map(said).collect())
}

/// A full incoming buffer whose messages wait for one id: each new one evicts the oldest.
fn falling() -> usize {
    let mut node = node(config());
    let said = |n: usize| {
        let lamport = 1_000_000 - n as u64;
        Said::new(format!("{n:x}"), lamport).after(["?"]).content(1).bytes()
    };
    let full = Config::builder().build().expect("valid").max_incoming_messages();
    cold(&mut node, (0..full).map(said));
    hot(&mut node, (full..full + COUNTED).map(said).collect())
}

/// Syncs with filters of 64 bits, for a node with 1,000 unacknowledged messages.
fn tiny_filter() -> usize {
    let mut node = node(config().dialect(Dialect::NimSds));
    for number in 0..1_000 {
        let publish = Input::Publish {
            channel: ChannelId::from(CHANNEL),
            message_id: format!("own {number}").into(),
            content: Bytes::from_static(b"x"),
            kind: PublishKind::Content,
        };
        node.handle(now(), publish).expect("published");
        while node.poll_effect().is_some() {}
    }
    let said = |n: usize| {
        let word = [u64::MAX, 0x5555_5555_5555_5555, 0x1111_1111_1111_1111, u64::MAX >> 1][n % 4];
        Said::sync(format!("s{n}"), 2_000_000).filter(word, 32).bytes()
    };
    hot(&mut node, (0..COUNTED).map(said).collect())
}

/// Syncs with a full filter, for a node with 256 heads of long ids.
fn many_heads() -> usize {
    let mut node = node(config().dialect(Dialect::NimSds));
    let head = |n: usize| Said::new(format!("{n:0>250}"), n as u64).content(1).bytes();
    cold(&mut node, (0..256).map(head));
    let said = |n: usize| Said::sync(format!("s{n}"), 300).filter(u64::MAX, 1).bytes();
    hot(&mut node, (0..COUNTED).map(said).collect())
}

/// Messages that each reference as many short unknown ids as they may, beyond `max_missing`.
fn unknown_ids() -> usize {
    let mut node = node(config());
    let said = |n: usize| {
        let named = (0..255).map(move |m| format!("{n:x}.{m:x}"));
        Said::new(format!("{n:x}"), n as u64).after(named).content(1).bytes()
    };
    cold(&mut node, (0..80).map(said));
    hot(&mut node, (80..80 + COUNTED).map(said).collect())
}

/// Syncs that each request as many known messages as they may.
fn requests() -> usize {
    let mut node = node(config());
    let said = |n: usize| Said::new(format!("{n:x}"), n as u64).content(1).bytes();
    cold(&mut node, (0..5_000).map(said));
    let said = |n: usize| {
        let ids = (0..255).map(move |m| format!("{:x}", (n * 255 + m) % 5_000));
        Said::sync(format!("s{n}"), 6_000).asking(ids).bytes()
    };
    hot(&mut node, (0..COUNTED).map(said).collect())
}

/// One short message again and again.
fn repeats() -> usize {
    let mut node = node(config());
    let said = |_| Said::new("m".into(), 1).content(1).bytes();
    hot(&mut node, (0..COUNTED).map(said).collect())
}

fn config() -> ConfigBuilder {
    Config::builder().seed(1).participant_id("alice".into())
}

fn node(config: ConfigBuilder) -> Node {
    let mut node = Node::new(config.build().expect("valid settings"));
    node.handle(now(), Input::Open { channel: CHANNEL.into(), config: None }).expect("opens");
    node
}

fn now() -> Now {
    Now::new(Instant::from_millis(1_000), UnixMillis(EPOCH_MS))
}

/// A message in the nim dialect.
struct Said {
    id: String,
    lamport: u64,
    history: Vec<HistoryEntry>,
    requests: Vec<HistoryEntry>,
    content: Vec<u8>,
    filter: Option<(u64, u64)>,
}

impl Said {
    fn new(id: String, lamport: u64) -> Self {
        let (history, requests) = (Vec::new(), Vec::new());
        Self { id, lamport, history, requests, content: Vec::new(), filter: None }
    }

    fn sync(id: String, lamport: u64) -> Self {
        Self::new(id, lamport)
    }

    fn content(mut self, len: usize) -> Self {
        self.content = vec![7; len];
        self
    }

    fn after(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.history = ids.into_iter().map(entry).collect();
        self
    }

    fn asking(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.requests = ids.into_iter().map(entry).collect();
        self
    }

    /// With a filter of this word and so many hash functions.
    const fn filter(mut self, word: u64, k: u64) -> Self {
        self.filter = Some((word, k));
        self
    }

    fn bytes(self) -> Bytes {
        let history: Vec<_> = self.history.iter().map(HistoryEntry::borrowed).collect();
        let requests: Vec<_> = self.requests.iter().map(HistoryEntry::borrowed).collect();
        let word = self.filter.map(|(word, _)| [word]);
        let mut message = Outgoing::default();
        message.sender_id = b"m";
        message.message_id = self.id.as_bytes();
        message.channel_id = CHANNEL.as_bytes();
        message.lamport = Some(self.lamport);
        message.causal_history = &history;
        message.repair_request = &requests;
        message.content = Some(&self.content);
        if let (Some(words), Some((_, k))) = (&word, self.filter) {
            let (capacity, error_rate_millionths) = (4, 1_000);
            message.filter =
                FilterField::Nim { words, capacity, error_rate_millionths, k, m_bits: 64 };
        }
        let mut buffer = BytesMut::new();
        message.encode(WireDialect::NimSds, &mut buffer);
        buffer.freeze()
    }
}

fn entry(id: impl Into<String>) -> HistoryEntry {
    let mut entry = HistoryEntry::default();
    entry.message_id = id.into().into();
    entry
}
