//! Many channels on one node: what they cost while nothing happens in them, and when it does.

use core::hint::black_box;
use core::time::Duration;

use anyhow::ensure;
use bytes::{Bytes, BytesMut};
use sds_proto::wire::{HistoryEntry, Outgoing, WireDialect};
use sds_proto::{ChannelId, Config, Dialect, Input, MessageId, Node, Now, UnixMillis};

use super::allocs::live_bytes;
use super::ours::{Clock, Meter as _, START_MS, Stopwatch, drain};

/// A node in some channels.
pub(crate) struct Channels {
    node: Node,
    now: Now,
    ids: Vec<ChannelId>,
    /// Bytes of each channel when it was opened.
    pub(crate) empty_bytes: f64,
    /// The same once it had received a message, and waited for the time of its next sync.
    pub(crate) used_bytes: f64,
}

impl Channels {
    /// A node that has received one message in each of so many channels.
    ///
    /// # Errors
    ///
    /// The node refused something.
    pub(crate) fn new(count: usize) -> anyhow::Result<Self> {
        let config = Config::builder().participant_id("reader-1".into()).dialect(Dialect::NimSds);
        // Sync messages keep a timer in every channel; without them idle ones would have none.
        let mut node = Node::new(config.sync_to_nim(true).build()?);
        let now = Now::new(sds_proto::Instant::ZERO, UnixMillis(START_MS));
        let id = |number| ChannelId::from(format!("channel-{number:06}").as_str());
        let ids: Vec<_> = (0..count).map(id).collect();
        let before = live_bytes();
        for channel in ids.iter().cloned() {
            node.handle(now, Input::Open { channel, config: None })?;
        }
        let opened = live_bytes();
        let mut channels = Self { node, now, ids, empty_bytes: 0.0, used_bytes: 0.0 };
        let messages = channels.ids.iter().map(|id| message(id, 0)).collect();
        channels.receive(messages)?;
        channels.empty_bytes = (opened - before) as f64 / count as f64;
        channels.used_bytes = (live_bytes() - before) as f64 / count as f64;
        ensure!(channels.node.next_deadline().is_some(), "no channel waits for its next sync");
        Ok(channels)
    }

    /// Nanoseconds of a tick with nothing due, and of looking whether there is an effect and when
    /// to tick next.
    ///
    /// # Errors
    ///
    /// Something was due.
    pub(crate) fn tick(&mut self, ticks: usize) -> anyhow::Result<f64> {
        let mut watch = Stopwatch::new(Clock::Processor);
        watch.measure(|| {
            for _ in 0..ticks {
                self.now.mono = self.now.mono + Duration::from_micros(1);
                self.node.handle(self.now, Input::Tick)?;
                ensure!(self.node.poll_effect().is_none(), "something was due");
                black_box(self.node.next_deadline());
            }
            Ok(())
        })?;
        Ok(watch.ns_per(ticks))
    }

    /// Messages a second, received in all channels in turn, from the second of each on.
    ///
    /// # Errors
    ///
    /// The node refused one, or did not deliver it.
    pub(crate) fn throughput(&mut self, each: u64) -> anyhow::Result<f64> {
        let numbers = 1..=each;
        let messages: Vec<_> =
            numbers.flat_map(|number| self.ids.iter().map(move |id| message(id, number))).collect();
        let count = messages.len();
        let mut watch = Stopwatch::new(Clock::Processor);
        watch.measure(|| self.receive(messages))?;
        Ok(watch.per_second(count))
    }

    fn receive(&mut self, messages: Vec<Bytes>) -> anyhow::Result<()> {
        let count = messages.len();
        let mut delivered = 0;
        for message in messages {
            self.node.handle(self.now, Input::Datagram(message))?;
            delivered += drain(&mut self.node);
        }
        ensure!(delivered == count, "{delivered} of {count} messages were delivered");
        Ok(())
    }
}

/// A message of 64 bytes that names the one before it, without a filter.
fn message(channel: &ChannelId, number: u64) -> Bytes {
    let id = |number: u64| format!("550e8400-e29b-41d4-a716-{number:012}");
    let mut named = HistoryEntry::default();
    named.message_id = MessageId::from(id(number.saturating_sub(1)));
    let history = [named.borrowed()];
    let message_id = id(number);
    let mut message = Outgoing::default();
    message.sender_id = b"author-1";
    message.message_id = message_id.as_bytes();
    message.channel_id = channel.as_bytes();
    message.lamport = Some(START_MS + number);
    message.causal_history = if number == 0 { &[] } else { &history };
    message.content = Some(&[7; 64]);
    let mut buffer = BytesMut::new();
    message.encode(WireDialect::NimSds, &mut buffer);
    buffer.freeze()
}
