//! Commands of a handle to its driver.

use sds_proto::wire::HistoryEntry;
use sds_proto::{
    ChannelId, ContentDigest, Input, LogDigest, LogEntry, MessageId, MissingEntry, OutgoingEntry,
    Status,
};

use crate::keeper::Listing;
use crate::metrics::Metrics;
use crate::opening::Verdict;
use crate::reply::Reply;
use crate::waiting::Publish;

/// One question or order, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Command {
    Input { input: Input, verdict: Verdict },
    Publish(Publish),
    Log { channel: ChannelId, reply: Reply<Option<LogSnapshot>> },
    Status { channel: ChannelId, reply: Reply<Option<Status>> },
    Outgoing { channel: ChannelId, reply: Reply<Option<Vec<OutgoingEntry>>> },
    Missing { channel: ChannelId, reply: Reply<Option<Vec<MissingEntry>>> },
    Unmet { channel: ChannelId, message_id: MessageId, reply: Reply<Option<Vec<HistoryEntry>>> },
    Channels { reply: Reply<Vec<ChannelId>> },
    StoredChannels { reply: Listing },
    Metrics { reply: Reply<Metrics> },
}

/// The log of one channel at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogSnapshot {
    /// The retained entries, ordered by (Lamport time, message id).
    pub entries: Vec<LogEntry>,
    /// Covers every entry ever delivered.
    pub digest: LogDigest,
    /// Covers the content of the retained entries.
    pub content_digest: ContentDigest,
}

impl LogSnapshot {
    pub(crate) const fn new(
        entries: Vec<LogEntry>,
        digest: LogDigest,
        content_digest: ContentDigest,
    ) -> Self {
        Self { entries, digest, content_digest }
    }
}
