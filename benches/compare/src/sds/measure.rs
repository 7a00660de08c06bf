//! The measurement of each row: its preparation, and one round.

use core::time::Duration;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use sds_proto::{Config, NimFilterSize};

use super::allocs::Allocations;
use super::drivers::{self, Driver, Pace};
use super::filters::Filters;
use super::floor::{Floor, SAMPLES};
use super::idle::Channels;
use super::ours::{Clock, Publisher, Reader, Stopwatch, Unmeasured, receive_all, small_channel};
use super::peer::Peer;
use super::report::{Detail, Measured};
use super::setup::{RECEIVED, REVERSED, Setup, WARM_UP};
use super::stream::{Recipe, Spoken, Stream, sent};

/// Messages of our own that nobody has acknowledged.
const FEW_UNACKED: usize = 50;
const MANY_UNACKED: usize = 1_000;
/// Published at once between two acknowledgements.
const BATCH: usize = 10;
const IDLE_CHANNELS: usize = 100_000;
const ACTIVE_CHANNELS: usize = 1_000;
/// One message in this time while latency is measured: longer than the millisecond to which some
/// timers are rounded, so that no two are sent at once.
const INTERVAL: Duration = Duration::from_millis(2);

const RATE: &str = "messages/s";

/// Measures once.
pub(crate) type Round = Box<dyn FnMut() -> anyhow::Result<Measured>>;

pub(crate) fn receive_in_order(setup: &Setup, unacked: usize) -> anyhow::Result<Round> {
    let stream = setup.nim()?;
    let floor = Floor::of(&stream)?;
    Ok(Box::new(move || {
        let (mut reader, mut watch) =
            (warm_reader(&stream, unacked)?, Stopwatch::new(Clock::Processor));
        reader.receive(&stream.messages()[WARM_UP..], &mut watch)?;
        reader.expect(WARM_UP + RECEIVED)?;
        Ok(Measured::beside_floor(watch.ns_per(RECEIVED), floor.receive()))
    }))
}

/// A node whose log is full.
fn warm_reader(stream: &Stream, unacked: usize) -> anyhow::Result<Reader> {
    let mut reader = Reader::new(stream, unacked)?;
    reader.receive(&stream.messages()[..WARM_UP], &mut Unmeasured)?;
    Ok(reader)
}

pub(crate) fn receive_reversed(_: &Setup) -> anyhow::Result<Round> {
    let in_order = Recipe::plain(Spoken::NimSds, REVERSED).make()?;
    let reversed = in_order.reversed();
    Ok(Box::new(move || {
        let [ours, reference] =
            [&reversed, &in_order].map(|stream| receive_all(stream, Clock::Processor));
        Ok(Measured::plain(ours?, reference?))
    }))
}

pub(crate) fn publish_full_filter() -> anyhow::Result<Round> {
    // The hashed and copied data is the same as when it is received.
    let floor = Floor::of(&Recipe::plain(Spoken::NimSds, SAMPLES as u32).make()?)?;
    Ok(Box::new(move || {
        let config = Config::builder()
            .dialect(Spoken::NimSds.node())
            .nim_filter_size(NimFilterSize::FullSize)
            .max_outgoing(2 * MANY_UNACKED);
        let mut watch = Stopwatch::new(Clock::Processor);
        let mut author = Publisher::new("author-1", config, &mut rng())?;
        author.publish(MANY_UNACKED, &mut Unmeasured)?;
        author.publish(MANY_UNACKED, &mut watch)?;
        Ok(Measured::beside_floor(watch.ns_per(MANY_UNACKED), floor.publish_full_filter()))
    }))
}

pub(crate) fn publish_sized_filter(setup: &Setup) -> anyhow::Result<Round> {
    let batches = if setup.quick { 2_000 } else { 20_000 };
    Ok(Box::new(move || {
        let (mut author, mut watch) = (small_author()?, Stopwatch::new(Clock::Processor));
        for _ in 0..batches {
            author.publish(BATCH, &mut watch)?;
            author.acknowledge_oldest(BATCH)?;
        }
        Ok(Measured::plain(watch.per_second(batches * BATCH), 1_000_000.0))
    }))
}

/// A node whose log and filter are full.
fn small_author() -> anyhow::Result<Publisher> {
    let mut author = Publisher::new("author-1", small_channel(FEW_UNACKED), &mut rng())?;
    author.publish(FEW_UNACKED, &mut Unmeasured)?;
    for _ in 0..20 {
        author.publish(BATCH, &mut Unmeasured)?;
        author.acknowledge_oldest(BATCH)?;
    }
    Ok(author)
}

pub(crate) fn js_send(setup: &Setup) -> anyhow::Result<Round> {
    let js = setup.js()?;
    Ok(Box::new(move || {
        let count = js.stream.len();
        let ours = mean(count, || {
            let config = Config::builder()
                .dialect(Spoken::Lip109.node())
                .max_outgoing(count)
                .causal_history_len(2);
            let mut watch = Stopwatch::new(Clock::Wall);
            Publisher::new("author-1", config, &mut rng())?.publish(count, &mut watch)?;
            Ok(watch.ns_per(count))
        })?;
        Ok(Measured::plain(1e9 / ours, count as f64 / js.js.send().run(&js.in_order)?))
    }))
}

/// Both receive the whole stream.
pub(crate) fn beside_peer(stream: Stream, peer: Peer, path: PathBuf) -> anyhow::Result<Round> {
    Ok(Box::new(move || {
        let ours = mean(stream.len(), || receive_all(&stream, Clock::Wall))?;
        Ok(Measured::plain(1e9 / ours, stream.len() as f64 / peer.run(&path)?))
    }))
}

/// The mean of as many runs as take about half a second: of one, by the time of day, it would
/// depend on luck how much of it the processor was somebody else's.
fn mean(messages: usize, run: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let runs = (200_000 / messages).clamp(1, 1_000);
    let sum: f64 = core::iter::repeat_with(run).take(runs).sum::<anyhow::Result<_>>()?;
    Ok(sum / runs as f64)
}

pub(crate) fn wire_bytes() -> anyhow::Result<Round> {
    Ok(Box::new(|| {
        let config = Config::builder().dialect(Spoken::NimSds.node());
        let mut author = Publisher::new("author-1", config, &mut rng())?;
        author.publish(50, &mut Unmeasured)?;
        let effects = author.publish_one(vec![7; 64].into())?;
        let sent = effects.into_iter().find_map(sent).context("nothing was sent")?;
        Ok(Measured::plain(sent.len() as f64, 500.0))
    }))
}

pub(crate) fn allocs_receive(setup: &Setup) -> anyhow::Result<Round> {
    let stream = setup.nim()?;
    Ok(Box::new(move || {
        let (mut reader, mut counted) = (warm_reader(&stream, 0)?, Allocations::default());
        reader.receive(&stream.messages()[WARM_UP..], &mut counted)?;
        Ok(Measured::plain(counted.per(RECEIVED), 2.0))
    }))
}

pub(crate) fn allocs_publish() -> anyhow::Result<Round> {
    const BATCHES: usize = 200;
    Ok(Box::new(|| {
        let (mut author, mut counted) = (small_author()?, Allocations::default());
        for _ in 0..BATCHES {
            author.publish(BATCH, &mut counted)?;
            author.acknowledge_oldest(BATCH)?;
        }
        Ok(Measured::plain(counted.per(BATCHES * BATCH), 2.0))
    }))
}

pub(crate) fn idle(setup: &Setup) -> anyhow::Result<Round> {
    let ticks = if setup.quick { 100_000 } else { 500_000 };
    let (mut many, mut one) = (Channels::new(IDLE_CHANNELS)?, Channels::new(1)?);
    Ok(Box::new(move || {
        let detail = |name, value, unit| Detail { name, value, unit };
        let ours = many.tick(ticks)?;
        let reference = one.tick(ticks)?;
        let details = vec![
            detail("memory of a channel just opened", many.empty_bytes, "bytes"),
            detail("memory of an idle one with one message", many.used_bytes, "bytes"),
            detail(
                "received in 1,000 active channels in turn",
                Channels::new(ACTIVE_CHANNELS)?.throughput(50)?,
                RATE,
            ),
            detail("the same in 1 channel", Channels::new(1)?.throughput(9_000)?, RATE),
        ];
        Ok(Measured { value: ours, reference, details })
    }))
}

/// Latency at a fixed rate, and throughput.
pub(crate) fn driver<D: Driver + 'static>(setup: &Setup) -> anyhow::Result<Round> {
    let (messages, cores) = (if setup.quick { 250 } else { 2_000 }, Rc::clone(&setup.cores));
    Ok(Box::new(move || {
        let ours = drivers::pass::<D>(&cores, messages, Pace::Each(INTERVAL))?;
        let bare = drivers::pass_bare(&cores, messages, INTERVAL)?;
        let full = drivers::pass::<D>(&cores, 20 * messages, Pace::Full)?;
        let us = |name, value| Detail { name, value, unit: "µs" };
        let details = vec![
            us("p99", ours.microseconds(0.99)),
            us("p99.9", ours.microseconds(0.999)),
            us("p99 of a bare datagram", bare.microseconds(0.99)),
            us("p99.9 of a bare datagram", bare.microseconds(0.999)),
            Detail { name: "throughput", value: full.per_second(), unit: RATE },
        ];
        let (value, reference) = (ours.microseconds(0.5), bare.microseconds(0.5));
        Ok(Measured { value, reference, details })
    }))
}

/// Ids a second.
pub(crate) fn filter(
    setup: &Setup,
    dialect: Spoken,
    work: fn(&mut Filters, usize) -> anyhow::Result<f64>,
) -> anyhow::Result<Round> {
    let (mut filters, turns) = (Filters::new(dialect), if setup.quick { 50 } else { 400 });
    Ok(Box::new(move || Ok(Measured::plain(work(&mut filters, turns)?, 20e6))))
}

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(1)
}
