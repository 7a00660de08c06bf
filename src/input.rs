//! The inputs of a node.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::Config;
use crate::effect::{LoadId, PersistId, RetrievalId};
use crate::entry::DeliverySeq;
use crate::error::StoreError;
use crate::id::{ChannelId, MessageId};
use crate::snapshot::Snapshot;

/// One input of [`Node::handle`](crate::Node::handle).
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A message as the transport received it, in either dialect. The node copies what it keeps;
    /// only the content of [`Event::DeliverEphemeral`](crate::Event::DeliverEphemeral) is a slice
    /// of it.
    Datagram(Bytes),
    /// Publish a message.
    Publish {
        /// The channel, which must be open.
        channel: ChannelId,
        /// An id that is unique in the channel for ever.
        message_id: MessageId,
        /// Not empty, at most `max_content_len` bytes.
        content: Bytes,
        /// Whether it is logged.
        kind: PublishKind,
    },
    /// Resend an own message now that is not acknowledged. The next scheduled resend stays due when
    /// it was. If the message was reported [`Unconfirmed`](crate::Event::Unconfirmed), also before
    /// a restart, it is outgoing again like a new message, with all of its resends, and counts
    /// toward `max_outgoing`.
    Resend {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// Time has passed: timers that are due run.
    Tick,
    /// The store's answer to [`Effect::Persist`](crate::Effect::Persist).
    Persisted {
        /// The id of the write. Completing it completes all before it.
        id: PersistId,
        /// Whether the changes are persisted.
        result: Result<(), StoreError>,
    },
    /// The store's answer to [`Effect::Load`](crate::Effect::Load).
    Loaded {
        /// The id of the effect. Answers to others, such as one from before the channel was closed
        /// and opened again, are refused.
        id: LoadId,
        /// The channel asked for.
        channel: ChannelId,
        /// Its state, or `None` if the store has none.
        result: Result<Option<Box<Snapshot>>, StoreError>,
    },
    /// An archive's answer to [`Effect::Retrieve`](crate::Effect::Retrieve). A request may be
    /// answered in any number of parts.
    Retrieved {
        /// The id of the request.
        id: RetrievalId,
        /// The answer.
        outcome: RetrievalOutcome,
    },
    /// Take part in a channel.
    Open {
        /// The channel.
        channel: ChannelId,
        /// Settings for this channel in place of the node's. Those that belong to the whole node
        /// (seed, durability, `auto_open` and its bound, `auto_consume`, `max_held_effects`,
        /// `max_held_bytes`, `max_datagram_len`, and the lengths and counts that the decoder
        /// checks) are ignored.
        config: Option<Arc<Config>>,
    },
    /// Stop taking part. The state in memory is dropped, the stored state stays.
    Close {
        /// The channel.
        channel: ChannelId,
    },
    /// Stop taking part and erase the stored state.
    Drop {
        /// The channel.
        channel: ChannelId,
    },
    /// Empty every open channel, in memory and in the store; they stay open.
    Reset,
    /// Set the retrieval hint of a logged message, which others receive in causal histories.
    Hint {
        /// The channel.
        channel: ChannelId,
        /// A logged message.
        message_id: MessageId,
        /// Opaque bytes, at most `max_hint_len`.
        hint: Bytes,
    },
    /// Declare dependencies resolved: the application has these messages by other means.
    DependenciesMet {
        /// The channel.
        channel: ChannelId,
        /// Their ids; remembered up to `max_resolved_ids`.
        ids: Vec<MessageId>,
    },
    /// The application is done with these deliveries; they are not repeated after a restart.
    Consumed {
        /// The channel.
        channel: ChannelId,
        /// The newest delivery it is done with.
        up_to: DeliverySeq,
    },
}

/// The two kinds of message an application publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum PublishKind {
    /// Logged, acknowledged, repaired.
    #[default]
    Content,
    /// Delivered at once by whoever receives it; never logged nor resent. LIP-109 only.
    Ephemeral,
}

/// The answer of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "an archive has it, has it not, or fails")]
pub enum RetrievalOutcome {
    /// A message, as it was sent.
    Message(Bytes),
    /// The archive does not have it. The request is repeated, later than after a failure.
    NotFound,
    /// The archive did not answer. The request is repeated soon.
    Failed,
}
