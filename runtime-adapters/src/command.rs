//! What a handle asks of its driver.

use std::sync::Arc;

use async_channel::{Receiver, Sender};
use sds_proto::{ChannelId, ContentDigest, Input, LogDigest, LogEntry, Rejected, Status};

use crate::metrics::Metrics;

/// One question or order, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Command {
    Input { input: Input, reply: Reply<Result<(), Rejected>> },
    Log { channel: ChannelId, reply: Reply<Option<LogSnapshot>> },
    Status { channel: ChannelId, reply: Reply<Option<Status>> },
    Channels { reply: Reply<Vec<ChannelId>> },
    Metrics { reply: Reply<Metrics> },
}

/// The log of one channel at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogSnapshot {
    /// The retained entries, ordered by (Lamport time, message id).
    pub entries: Vec<Arc<LogEntry>>,
    /// Covers every entry ever delivered.
    pub digest: LogDigest,
    /// Covers the content of the retained entries.
    pub content_digest: ContentDigest,
}

impl LogSnapshot {
    pub(crate) const fn new(
        entries: Vec<Arc<LogEntry>>,
        digest: LogDigest,
        content_digest: ContentDigest,
    ) -> Self {
        Self { entries, digest, content_digest }
    }
}

/// Takes the one answer to a command.
#[derive(Debug)]
pub(crate) struct Reply<T>(Sender<T>);

impl<T> Reply<T> {
    /// A place for an answer, and where it arrives.
    pub(crate) fn pair() -> (Self, Receiver<T>) {
        let (sender, receiver) = async_channel::bounded(1);
        (Self(sender), receiver)
    }

    /// Answers, unless whoever asked has stopped waiting.
    pub(crate) fn send(self, answer: T) {
        // There is room for the one answer, so that this fails only if nobody waits for it.
        drop(self.0.try_send(answer));
    }
}
