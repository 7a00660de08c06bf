//! The cost of a message for a node: received in order, received in reverse, published.
//!
//! `benches/README.md` explains the figures.

#![allow(
    missing_docs,
    clippy::std_instead_of_core,
    reason = "criterion's macros make undocumented functions, and a benchmark has std"
)]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sds_proto::wire::{self, FilterField, Limits};
use sds_proto::{
    ChannelId, Config, ConfigBuilder, Dialect, Effect, Input, Instant, MessageId, Node, Now,
    PublishKind, UnixMillis,
};

fn now() -> Now {
    Now::new(Instant::from_millis(1_000), UnixMillis(1_767_225_600_000))
}

fn node(name: &str, dialect: Dialect) -> Node {
    let config = config(dialect).participant_id(name.into());
    let mut node = Node::new(config.build().expect("valid settings"));
    let open = Input::Open { channel: ChannelId::from("bench"), config: None };
    node.handle(now(), open).expect("opens");
    node
}

/// Roomy bounds, and nothing that is due on its own.
fn config(dialect: Dialect) -> ConfigBuilder {
    Config::builder()
        .dialect(dialect)
        .seed(1)
        .max_outgoing(20_000)
        .max_log_messages(20_000)
        .max_ids(40_000)
}

fn publish(node: &mut Node, index: usize) {
    // Ids as long as the usual ones: 36 characters.
    let message_id = MessageId::from(format!("550e8400-e29b-41d4-a716-{index:012}"));
    let content = Bytes::from_static(&[7; 64]);
    let channel = ChannelId::from("bench");
    let input = Input::Publish { channel, message_id, content, kind: PublishKind::Content };
    node.handle(now(), input).expect("published");
}

fn drain(node: &mut Node) {
    while let Some(effect) = node.poll_effect() {
        black_box(effect);
    }
}

/// `count` messages of one author, each naming the two before it, without filters: those are read
/// in place, and only if there is something to look up in them, but 10,000 times 18 KB would not
/// fit into any cache.
fn stream(count: usize, dialect: Dialect) -> Vec<Bytes> {
    let mut author = node("author", dialect);
    let mut messages = Vec::with_capacity(count);
    for index in 0..count {
        publish(&mut author, index);
        while let Some(effect) = author.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                messages.push(without_filter(&bytes));
            }
        }
    }
    messages
}

fn without_filter(bytes: &Bytes) -> Bytes {
    let (dialect, message) = wire::decode(bytes, &Limits::default()).expect("our own");
    let message = message.borrowed();
    let mut outgoing = message.as_outgoing();
    outgoing.filter = FilterField::Absent;
    let mut buffer = BytesMut::new();
    outgoing.encode(dialect, &mut buffer);
    buffer.freeze()
}

/// Gives the allocator memory to reuse. Without it each iteration takes fresh pages from the
/// operating system and gives them back, which costs as much as the work and says nothing of it.
fn warm_heap() -> Box<[u8; 1024]> {
    let mut blocks: Vec<_> = (0..65_536).map(|_| Box::new([1_u8; 1024])).collect();
    // As long as the last one lives, the memory below it is kept.
    blocks.pop().expect("just filled")
}

fn receive(c: &mut Criterion) {
    let _top = warm_heap();
    let mut group = c.benchmark_group("receive");
    group.sample_size(20);
    for count in [1_000, 10_000] {
        let in_order = stream(count, Dialect::NimSds);
        let mut reversed = in_order.clone();
        reversed.reverse();
        group.throughput(Throughput::Elements(count as u64));
        for (name, messages) in [("in_order", &in_order), ("reversed", &reversed)] {
            group.bench_with_input(BenchmarkId::new(name, count), messages, |b, messages| {
                b.iter_batched_ref(
                    || node("reader", Dialect::NimSds),
                    |node| {
                        for message in messages {
                            node.handle(now(), Input::Datagram(message.clone())).expect("taken");
                            drain(node);
                        }
                        let log = node.log(&ChannelId::from("bench")).expect("open");
                        assert_eq!(log.len(), count);
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

/// A hundred messages published into a log that has `entries` already.
fn publish_into(c: &mut Criterion) {
    const PUBLISHED: usize = 100;
    let _top = warm_heap();
    let mut group = c.benchmark_group("publish");
    group.sample_size(20);
    group.throughput(Throughput::Elements(PUBLISHED as u64));
    for (name, dialect) in [("nim_sds", Dialect::NimSds), ("lip109", Dialect::Lip109)] {
        for entries in [10, 1_000, 10_000] {
            group.bench_function(BenchmarkId::new(name, entries), |b| {
                b.iter_batched_ref(
                    || {
                        let mut author = node("author", dialect);
                        for index in 0..entries {
                            publish(&mut author, index);
                            drain(&mut author);
                        }
                        author
                    },
                    |author| {
                        for index in 0..PUBLISHED {
                            publish(author, entries + index);
                            drain(author);
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, receive, publish_into);
criterion_main!(benches);
