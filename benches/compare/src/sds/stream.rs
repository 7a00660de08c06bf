//! Streams of encoded messages: made by a seed, read from a file, written to one.
//!
//! A stream file is the messages in the order in which they arrive, each after its length in bytes
//! as a little-endian 32-bit number, and nothing else.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes};
use clap::{Args, ValueEnum};
use sds_proto::wire::{self, Limits, Message};
use sds_proto::{ChannelId, Config, Dialect, Effect, NimFilterSize};

use super::ours::{Publisher, START_MS};

/// Maximum number of places by which a late message falls back.
const LATEST: usize = 64;

/// A stream to be made: of one author, in one channel, each message with the author's filter.
#[derive(Args, Clone, Copy)]
pub(crate) struct Recipe {
    /// The dialect of a stream that is written
    #[arg(long, value_enum, default_value = "nim-sds", requires = "write_stream")]
    pub(crate) dialect: Spoken,

    /// Its messages
    #[arg(long, default_value_t = 20_000, requires = "write_stream")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,

    /// Bytes of content of each
    #[arg(long, default_value_t = 64, requires = "write_stream")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) payload: u32,

    /// Earlier messages that each names
    #[arg(long, default_value_t = 2, requires = "write_stream")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) history: u32,

    /// Per cent of the messages that are lost at first, and arrive up to 64 places late
    #[arg(long, default_value_t = 0, requires = "write_stream")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) late: u8,

    /// The last message first
    #[arg(long, requires = "write_stream")]
    pub(crate) reversed: bool,

    /// Seed of ids, content and losses
    #[arg(long, default_value_t = 1, requires = "write_stream")]
    pub(crate) seed: u64,
}

/// The dialect of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Spoken {
    /// As nim-sds sends it: each message with a filter of full size.
    NimSds,
    /// As `@waku/sds` sends it.
    Lip109,
}

/// Messages of one channel in the order in which they arrive. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    messages: Vec<Bytes>,
    channel: ChannelId,
    dialect: Spoken,
    start_ms: u64,
}

impl Recipe {
    /// Returns the default stream of the rows.
    pub(crate) const fn plain(dialect: Spoken, count: u32) -> Self {
        Self { dialect, count, payload: 64, history: 2, late: 0, reversed: false, seed: 1 }
    }

    /// Makes the stream: the same bytes for the same recipe.
    ///
    /// # Errors
    ///
    /// The node does not take the settings.
    pub(crate) fn make(&self) -> anyhow::Result<Stream> {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let count = self.count as usize;
        let config = Config::builder()
            .dialect(self.dialect.node())
            .nim_filter_size(NimFilterSize::FullSize)
            .causal_history_len(self.history as usize)
            .max_log_messages(count)
            .max_log_bytes(1 << 40)
            .max_outgoing(count)
            .max_ids((count * 2).max(12_000));
        let mut author = Publisher::new("author-1", config, &mut rng)?;
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            let content = core::iter::repeat_with(|| rng.u8(..)).take(self.payload as usize);
            let content = content.collect::<Vec<_>>();
            let sends = author.publish_one(content.into())?.into_iter().filter_map(sent);
            messages.extend(sends);
        }
        // Late ones fall back behind those that are in time.
        let mut arrivals: Vec<_> = messages.into_iter().enumerate().collect();
        arrivals.sort_by_cached_key(|(index, _)| {
            let is_late = rng.u8(..100) < self.late;
            index + if is_late { rng.usize(1..=LATEST) } else { 0 }
        });
        let mut messages: Vec<_> = arrivals.into_iter().map(|(_, message)| message).collect();
        if self.reversed {
            messages.reverse();
        }
        Stream::new(messages)
    }
}

impl Spoken {
    pub(crate) const fn node(self) -> Dialect {
        match self {
            Self::NimSds => Dialect::NimSds,
            Self::Lip109 => Dialect::Lip109,
        }
    }
}

impl Stream {
    /// # Errors
    ///
    /// There is no message, or the first one is none of SDS.
    fn new(messages: Vec<Bytes>) -> anyhow::Result<Self> {
        let first = messages.first().context("the stream has no messages")?;
        let (dialect, first) =
            wire::decode(first, &Limits::default()).context("message 1 is no SDS message")?;
        let dialect = match dialect {
            wire::WireDialect::Lip109 => Spoken::Lip109,
            wire::WireDialect::NimSds => Spoken::NimSds,
        };
        let start_ms = first.lamport.unwrap_or(START_MS);
        // A channel id of its own, which does not keep the message alive.
        let channel = ChannelId::from(first.channel_id.as_bytes());
        Ok(Self { messages, channel, dialect, start_ms })
    }

    /// Takes the bytes of a stream file apart, without copying.
    ///
    /// # Errors
    ///
    /// The file ends within a message, with the number of that message; there is no message; the
    /// first one is none of SDS.
    pub(crate) fn parse(mut file: Bytes) -> anyhow::Result<Self> {
        let mut messages = Vec::new();
        while file.has_remaining() {
            let (number, left) = (messages.len() + 1, file.len());
            let Ok(len) = file.try_get_u32_le() else {
                bail!("message {number}: the file ends after {left} of the 4 bytes of its length")
            };
            let (len, left) = (len as usize, file.len());
            if len > left {
                bail!("message {number} claims {len} bytes, and the file has {left} left");
            }
            messages.push(file.split_to(len));
        }
        Self::new(messages)
    }

    /// Reads a stream file.
    ///
    /// # Errors
    ///
    /// It cannot be read; [`parse`](Self::parse).
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let blame = || format!("the stream file {}", path.display());
        let bytes = std::fs::read(path).with_context(blame)?;
        Self::parse(bytes.into()).with_context(blame)
    }

    /// Writes a stream file.
    ///
    /// # Errors
    ///
    /// It cannot be written; a message has 4 GiB or more.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let blame = || format!("cannot write {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(blame)?);
        for message in &self.messages {
            let len = u32::try_from(message.len()).context("a message of 4 GiB or more")?;
            file.write_all(&len.to_le_bytes()).with_context(blame)?;
            file.write_all(message).with_context(blame)?;
        }
        file.flush().with_context(blame)
    }

    pub(crate) fn messages(&self) -> &[Bytes] {
        &self.messages
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn dialect(&self) -> Spoken {
        self.dialect
    }

    pub(crate) fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// The Lamport time of the first message, which the reader's wall clock shows.
    pub(crate) fn start_ms(&self) -> u64 {
        self.start_ms
    }

    /// The same messages, the last one first.
    pub(crate) fn reversed(&self) -> Self {
        let messages = self.messages.iter().rev().cloned().collect();
        Self { messages, channel: self.channel.clone(), ..*self }
    }

    /// The messages, decoded.
    ///
    /// # Errors
    ///
    /// One of them is none of SDS.
    pub(crate) fn decoded(&self) -> impl Iterator<Item = anyhow::Result<Message>> {
        self.messages.iter().enumerate().map(|(index, bytes)| {
            let decoded = wire::decode(bytes, &Limits::default());
            let (_, message) =
                decoded.with_context(|| format!("message {} is no SDS message", index + 1))?;
            Ok(message)
        })
    }
}

/// The bytes of a message that is to be sent.
pub(crate) fn sent(effect: Effect) -> Option<Bytes> {
    if let Effect::Send { bytes, .. } = effect { Some(bytes) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(stream: &Stream) -> Vec<String> {
        stream.decoded().map(|message| message.unwrap().message_id.to_string()).collect()
    }

    #[test]
    fn a_written_stream_is_read_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stream");
        for dialect in [Spoken::NimSds, Spoken::Lip109] {
            let stream = Recipe { late: 30, ..Recipe::plain(dialect, 20) }.make().unwrap();
            assert_eq!((stream.len(), stream.dialect()), (20, dialect));
            stream.write(&path).unwrap();
            assert_eq!(Stream::read(&path).unwrap(), stream);
        }
    }

    #[test]
    fn a_seed_gives_the_same_stream_and_another_one_another() {
        let recipe = Recipe { late: 30, ..Recipe::plain(Spoken::NimSds, 50) };
        assert_eq!(recipe.make().unwrap(), recipe.make().unwrap());
        assert_ne!(recipe.make().unwrap(), Recipe { seed: 2, ..recipe }.make().unwrap());
    }

    #[test]
    fn late_messages_come_out_of_order_and_none_is_left_out() {
        let plain = Recipe::plain(Spoken::NimSds, 200);
        let (in_order, late) = (plain.make().unwrap(), Recipe { late: 30, ..plain });
        let mut late = ids(&late.make().unwrap());
        assert_ne!(late, ids(&in_order));
        let mut expected = ids(&in_order);
        late.sort();
        expected.sort();
        assert_eq!(late, expected);
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_number_of_the_message() {
        let message = Recipe::plain(Spoken::NimSds, 1).make().unwrap().messages()[0].clone();
        let whole = [&(message.len() as u32).to_le_bytes()[..], &message].concat();
        let refused = |bytes: &[&[u8]]| {
            let error = Stream::parse(bytes.concat().into()).unwrap_err();
            format!("{error:#}")
        };
        assert_eq!(
            refused(&[&whole, &[200, 0, 0, 0, 1, 2]]),
            "message 2 claims 200 bytes, and the file has 2 left"
        );
        assert_eq!(
            refused(&[&whole, &whole, &[1, 2, 3]]),
            "message 3: the file ends after 3 of the 4 bytes of its length"
        );
        assert_eq!(refused(&[]), "the stream has no messages");
        assert!(refused(&[&[1, 0, 0, 0, 7]]).starts_with("message 1 is no SDS message: "));
    }
}
