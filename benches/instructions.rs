//! Workloads of a node whose instructions are counted: `.ci/instructions` runs them under
//! callgrind, which collects within [`hot`] only.
//!
//! `instructions WORKLOAD` prints how many messages the workload handled in it.

#![allow(
    clippy::std_instead_of_core,
    clippy::print_stdout,
    reason = "a program for a script, which reads its output"
)]

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use sds_proto::wire::{HistoryEntry, Outgoing, WireDialect};
use sds_proto::{
    ChannelId, Config, ConfigBuilder, Dialect, Effect, Input, Instant, MessageId, NimFilterSize,
    Node, Now, PublishKind, UnixMillis,
};

const CHANNEL: &str = "channel1";
/// Messages handled in each workload.
const MESSAGES: usize = 1_000;
/// The log of those who receive: at its bound before anything is counted.
const LOG: usize = 1_000;
/// Own messages that nobody has acknowledged.
const UNACKED: usize = 50;
/// Published between two acknowledgements.
const BATCH: usize = 10;

fn main() {
    // `cargo test` and `cargo bench` run this without knowing of workloads.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [workload] = &arguments[..] else { return };
    match &workload[..] {
        "publish_sized" => publish_sized(),
        "publish_full" => publish_full(),
        "receive_nim" => receive(Dialect::NimSds),
        "receive_lip109" => receive(Dialect::Lip109),
        other => panic!("there is no workload {other}"),
    }
    println!("{MESSAGES}");
}

/// Everything that is counted: messages handled, every effect polled and dropped.
#[inline(never)]
fn hot(node: &mut Node, inputs: Vec<Input>) {
    for input in inputs {
        node.handle(now(), input).expect("taken");
        while let Some(effect) = node.poll_effect() {
            black_box(effect);
        }
    }
}

/// A channel of some fifty messages, whose filter is sized to that.
fn publish_sized() {
    let bound = UNACKED + BATCH;
    let config = config(Dialect::NimSds, NimFilterSize::SizedToContent)
        .bloom_capacity(50)
        .max_log_messages(bound)
        .max_outgoing(bound);
    let mut node = node("author-1", config);
    let mut unacked: VecDeque<_> = (0..UNACKED).collect();
    cold(&mut node, publications(0, UNACKED));
    for first in (UNACKED..).step_by(BATCH).take((LOG + MESSAGES) / BATCH) {
        unacked.extend(first..first + BATCH);
        if first < UNACKED + LOG {
            cold(&mut node, publications(first, BATCH));
        } else {
            hot(&mut node, publications(first, BATCH));
        }
        let acknowledgement = sync(first, unacked.drain(..BATCH));
        cold(&mut node, vec![acknowledgement]);
    }
    let left = node.status(&CHANNEL.into()).expect("open").outgoing;
    assert_eq!(left, UNACKED, "each batch is acknowledged");
}

fn publish_full() {
    let config = config(Dialect::NimSds, NimFilterSize::FullSize).max_outgoing(LOG + MESSAGES);
    let mut node = node("author-1", config);
    cold(&mut node, publications(0, LOG));
    hot(&mut node, publications(LOG, MESSAGES));
}

fn receive(dialect: Dialect) {
    let settings = config(dialect, NimFilterSize::FullSize);
    let mut author = node("author-1", settings.clone().max_outgoing(2 * LOG + MESSAGES));
    let mut messages = Vec::new();
    for input in publications(0, 2 * LOG + MESSAGES) {
        author.handle(now(), input).expect("taken");
        while let Some(effect) = author.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                messages.push(Input::Datagram(bytes));
            }
        }
    }
    let counted = messages.split_off(2 * LOG);
    let mut reader = node("reader-1", settings.max_outgoing(LOG).max_log_messages(LOG));
    cold(&mut reader, messages);
    hot(&mut reader, counted);
    let status = reader.status(&CHANNEL.into()).expect("open");
    assert_eq!(status.delivered.0, (2 * LOG + MESSAGES) as u64);
}

/// As [`hot`], and not counted.
fn cold(node: &mut Node, inputs: Vec<Input>) {
    for input in inputs {
        node.handle(now(), input).expect("taken");
        while node.poll_effect().is_some() {}
    }
}

/// Nothing is due on its own.
fn config(dialect: Dialect, nim_filter_size: NimFilterSize) -> ConfigBuilder {
    Config::builder()
        .dialect(dialect)
        .nim_filter_size(nim_filter_size)
        .seed(1)
        .resend(false)
        .sync(false)
}

fn node(name: &str, config: ConfigBuilder) -> Node {
    let mut node = Node::new(config.participant_id(name.into()).build().expect("valid settings"));
    node.handle(now(), Input::Open { channel: CHANNEL.into(), config: None }).expect("opens");
    node
}

fn now() -> Now {
    Now::new(Instant::from_millis(1_000), UnixMillis(1_767_225_600_000))
}

fn id(number: usize) -> String {
    format!("550e8400-e29b-41d4-a716-{number:012}")
}

fn publications(first: usize, count: usize) -> Vec<Input> {
    let channel = ChannelId::from(CHANNEL);
    let publication = |number| Input::Publish {
        channel: channel.clone(),
        message_id: id(number).into(),
        content: Bytes::from(vec![7; 64]),
        kind: PublishKind::Content,
    };
    (first..first + count).map(publication).collect()
}

/// A peer's sync message that names these of our messages.
fn sync(number: usize, named: impl Iterator<Item = usize>) -> Input {
    let entry = |number| {
        let mut entry = HistoryEntry::default();
        entry.message_id = MessageId::from(id(number));
        entry
    };
    let history: Vec<_> = named.map(entry).collect();
    let message_id = format!("sync-{number}");
    let mut message = Outgoing::default();
    message.sender_id = b"reader-1";
    message.message_id = message_id.as_bytes();
    message.channel_id = CHANNEL.as_bytes();
    message.lamport = Some(1_767_225_600_000);
    let named: Vec<_> = history.iter().map(HistoryEntry::borrowed).collect();
    message.causal_history = &named;
    let mut buffer = BytesMut::new();
    message.encode(WireDialect::NimSds, &mut buffer);
    Input::Datagram(buffer.freeze())
}
