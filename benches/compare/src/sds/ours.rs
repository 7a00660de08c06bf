//! Nodes of this project, fed and drained as an embedder does it, through the public API.

use core::hint::black_box;
use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use cpu_time::ThreadTime;
use sds_proto::wire::{HistoryEntry, Outgoing, WireDialect};
use sds_proto::{
    ChannelId, Config, ConfigBuilder, Effect, Event, Input, MessageId, NimFilterSize, Node, Now,
    PublishKind, Rejected, UnixMillis,
};

use super::stream::{Spoken, Stream};

/// The wall clock of those who publish: the start of 2026.
pub(crate) const START_MS: u64 = 1_767_225_600_000;

/// The channel of those who publish. Eight characters, as their names have.
static CHANNEL: ChannelId = ChannelId::from_static("channel1");

/// Inputs that are laid ready before the clock runs. So few that they are still in the cache when
/// the node reads them, as datagrams are that were just received.
const BATCH: usize = 16;

/// A quantity that is measured of a piece of work.
pub(crate) trait Meter {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T;
}

/// Adds up time.
pub(crate) struct Stopwatch {
    clock: Clock,
    total: Duration,
}

/// The clock of a stopwatch.
#[derive(Clone, Copy)]
pub(crate) enum Clock {
    /// The time that this thread has the processor: others on the machine do not count.
    Processor,
    /// The time of day, by which others are measured as well.
    Wall,
}

impl Stopwatch {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self { clock, total: Duration::ZERO }
    }

    /// Nanoseconds of each of so many messages.
    pub(crate) fn ns_per(&self, messages: usize) -> f64 {
        self.total.as_secs_f64() * 1e9 / messages as f64
    }

    /// Returns the rate in messages a second.
    pub(crate) fn per_second(&self, messages: usize) -> f64 {
        messages as f64 / self.total.as_secs_f64()
    }
}

impl Meter for Stopwatch {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        match self.clock {
            Clock::Processor => {
                let start = ThreadTime::now();
                let result = work();
                self.total += start.elapsed();
                result
            }
            Clock::Wall => {
                let start = Instant::now();
                let result = work();
                self.total += start.elapsed();
                result
            }
        }
    }
}

/// Measures nothing: what it is given makes ready for what is measured.
pub(crate) struct Unmeasured;

impl Meter for Unmeasured {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// A node that receives a stream.
pub(crate) struct Reader {
    node: Node,
    now: Now,
    delivered: usize,
}

impl Reader {
    /// A node in the stream's channel, at the default bounds, that has published `unacked`
    /// messages.
    ///
    /// # Errors
    ///
    /// The node does not take the settings.
    pub(crate) fn new(stream: &Stream, unacked: usize) -> anyhow::Result<Self> {
        let config = Config::builder()
            .participant_id("reader-1".into())
            .dialect(stream.dialect().node())
            .nim_filter_size(NimFilterSize::FullSize)
            .seed(2)
            .build()?;
        let now = Now::new(sds_proto::Instant::ZERO, UnixMillis(stream.start_ms()));
        let mut node = Node::new(config);
        let channel = stream.channel().clone();
        node.handle(now, Input::Open { channel: channel.clone(), config: None })?;
        for number in 0..unacked {
            let message_id = MessageId::from(format!("own-message-{number:024}"));
            let (content, kind) = (Bytes::from_static(&[7; 64]), PublishKind::Content);
            let channel = channel.clone();
            node.handle(now, Input::Publish { channel, message_id, content, kind })?;
        }
        drain(&mut node);
        Ok(Self { node, now, delivered: 0 })
    }

    /// Receives messages: each is handled, every effect is polled and dropped.
    ///
    /// # Errors
    ///
    /// The node refused one.
    pub(crate) fn receive(
        &mut self,
        messages: &[Bytes],
        meter: &mut impl Meter,
    ) -> anyhow::Result<()> {
        for batch in messages.chunks(BATCH) {
            // In allocations of their own, as a node wants them.
            let own = |bytes: &Bytes| Input::Datagram(Bytes::copy_from_slice(bytes));
            let inputs: Vec<_> = batch.iter().map(own).collect();
            meter.measure(|| {
                for input in inputs {
                    self.node.handle(self.now, input)?;
                    self.delivered += drain(&mut self.node);
                }
                Ok::<_, Rejected>(())
            })?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// Not exactly so many messages were delivered.
    pub(crate) fn expect(&self, messages: usize) -> anyhow::Result<()> {
        let delivered = self.delivered;
        ensure!(delivered == messages, "ours delivered {delivered} of {messages} messages");
        Ok(())
    }
}

/// A new node receives all of the stream; nanoseconds a message.
///
/// # Errors
///
/// It refused a message, or did not deliver all.
pub(crate) fn receive_all(stream: &Stream, clock: Clock) -> anyhow::Result<f64> {
    let (mut reader, mut watch) = (Reader::new(stream, 0)?, Stopwatch::new(clock));
    reader.receive(stream.messages(), &mut watch)?;
    reader.expect(stream.len())?;
    Ok(watch.ns_per(stream.len()))
}

/// A node that publishes.
pub(crate) struct Publisher {
    node: Node,
    now: Now,
    rng: fastrand::Rng,
    unacked: VecDeque<MessageId>,
    acknowledged: u64,
}

impl Publisher {
    /// A node with nothing due on its own, which acknowledgements are made up for.
    ///
    /// # Errors
    ///
    /// The node does not take the settings.
    pub(crate) fn new(
        name: &str,
        config: ConfigBuilder,
        rng: &mut fastrand::Rng,
    ) -> anyhow::Result<Self> {
        let config = config.participant_id(name.into()).resend(false).sync(false).seed(1);
        let now = Now::new(sds_proto::Instant::ZERO, UnixMillis(START_MS));
        let mut node = Node::new(config.build()?);
        node.handle(now, Input::Open { channel: CHANNEL.clone(), config: None })?;
        Ok(Self { node, now, rng: rng.fork(), unacked: VecDeque::new(), acknowledged: 0 })
    }

    /// Publishes messages of 64 bytes: each is handled, every effect is polled and dropped.
    ///
    /// # Errors
    ///
    /// The node refused one.
    pub(crate) fn publish(&mut self, count: usize, meter: &mut impl Meter) -> anyhow::Result<()> {
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            let inputs: Vec<_> = (0..batch).map(|_| self.next(vec![7; 64].into())).collect();
            meter.measure(|| {
                for input in inputs {
                    self.node.handle(self.now, input)?;
                    drain(&mut self.node);
                }
                Ok::<_, Rejected>(())
            })?;
            left -= batch;
        }
        Ok(())
    }

    /// Publishes one message; all its effects.
    ///
    /// # Errors
    ///
    /// The node refused it.
    pub(crate) fn publish_one(&mut self, content: Bytes) -> anyhow::Result<Vec<Effect>> {
        let input = self.next(content);
        self.node.handle(self.now, input)?;
        Ok(core::iter::from_fn(|| self.node.poll_effect()).collect())
    }

    /// A peer's sync message names the oldest `count` unacknowledged messages.
    ///
    /// # Errors
    ///
    /// There are not so many; the node did not take that as acknowledgement.
    pub(crate) fn acknowledge_oldest(&mut self, count: usize) -> anyhow::Result<()> {
        ensure!(count <= self.unacked.len(), "too few messages to acknowledge");
        let named = |message_id| {
            let mut entry = HistoryEntry::default();
            entry.message_id = message_id;
            entry
        };
        let history: Vec<_> = self.unacked.drain(..count).map(named).collect();
        self.acknowledged += 1;
        let message_id = format!("sync-{}", self.acknowledged);
        let mut sync = Outgoing::default();
        sync.sender_id = b"reader-1";
        sync.message_id = message_id.as_bytes();
        sync.channel_id = CHANNEL.as_bytes();
        sync.lamport = Some(START_MS);
        let named: Vec<_> = history.iter().map(HistoryEntry::borrowed).collect();
        sync.causal_history = &named;
        let mut buffer = BytesMut::new();
        sync.encode(WireDialect::NimSds, &mut buffer);
        self.node.handle(self.now, Input::Datagram(buffer.freeze()))?;
        drain(&mut self.node);
        let status = self.node.status(&CHANNEL).context("the channel is open")?;
        ensure!(status.outgoing == self.unacked.len(), "the node took no acknowledgement");
        Ok(())
    }

    fn next(&mut self, content: Bytes) -> Input {
        let message_id = MessageId::from(uuid(&mut self.rng));
        self.unacked.push_back(message_id.clone());
        Input::Publish { channel: CHANNEL.clone(), message_id, content, kind: PublishKind::Content }
    }
}

/// 36 characters.
pub(crate) fn uuid(rng: &mut fastrand::Rng) -> String {
    let (high, low) = (rng.u64(..), rng.u64(..));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Polls and drops every effect; how many were deliveries.
pub(crate) fn drain(node: &mut Node) -> usize {
    let mut delivered = 0;
    while let Some(effect) = node.poll_effect() {
        delivered += usize::from(matches!(effect, Effect::Event(Event::Deliver(_))));
        black_box(effect);
    }
    delivered
}

/// The settings of a publisher whose channel holds some fifty messages, and whose filter is sized
/// to that: of 60 ids at most in the nim dialect.
pub(crate) fn small_channel(unacked: usize) -> ConfigBuilder {
    Config::builder()
        .dialect(Spoken::NimSds.node())
        .nim_filter_size(NimFilterSize::SizedToContent)
        .bloom_capacity(50)
        .max_log_messages(unacked + BATCH)
        .max_outgoing(unacked + BATCH)
}

#[cfg(test)]
mod tests {
    use super::super::stream::Recipe;
    use super::*;

    #[test]
    fn a_reader_delivers_a_stream_in_any_order() {
        for dialect in [Spoken::NimSds, Spoken::Lip109] {
            let stream = Recipe { late: 30, ..Recipe::plain(dialect, 100) }.make().unwrap();
            receive_all(&stream, Clock::Wall).unwrap();
            receive_all(&stream.reversed(), Clock::Processor).unwrap();
        }
    }

    #[test]
    fn a_publisher_notices_when_an_acknowledgement_has_no_effect() {
        let mut author =
            Publisher::new("author-1", small_channel(50), &mut fastrand::Rng::with_seed(1))
                .unwrap();
        author.publish(20, &mut Unmeasured).unwrap();
        author.acknowledge_oldest(5).unwrap();
        author.unacked[0] = "of somebody else".into();
        assert!(author.acknowledge_oldest(1).is_err());
    }

    #[test]
    fn ids_have_36_characters() {
        assert_eq!(uuid(&mut fastrand::Rng::with_seed(3)).len(), 36);
    }
}
