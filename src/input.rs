//! What goes into a node.

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
    /// A message as it came from the transport, of either dialect. What is kept of it is copied;
    /// only the content of [`Effect::DeliverEphemeral`](crate::Effect::DeliverEphemeral) is a slice
    /// of it.
    Datagram(Bytes),
    /// A message of our own.
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
    /// Send an own message again now that nobody has acknowledged. It goes out as any resend does, and
    /// the next one is due when it was before. If it was reported
    /// [`Unconfirmed`](crate::Effect::Unconfirmed), before a restart too, it waits for an acknowledgement
    /// again as a new message does, with all of its resends; that takes room in `max_outgoing`.
    Resend {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// Time has passed: what is due happens.
    Tick,
    /// The store's answer to [`Effect::Persist`](crate::Effect::Persist).
    Persisted {
        /// The id of the write. Completing it completes all before it.
        id: PersistId,
        /// Whether the changes are safe.
        result: Result<(), StoreError>,
    },
    /// The store's answer to [`Effect::Load`](crate::Effect::Load).
    Loaded {
        /// The id of the effect. Answers to others, such as one from before the channel was closed and
        /// opened again, are refused.
        id: LoadId,
        /// The channel asked for.
        channel: ChannelId,
        /// Its state, or `None` if the store has none.
        result: Result<Option<Box<Snapshot>>, StoreError>,
    },
    /// A store node's answer to [`Effect::RequestRepair`](crate::Effect::RequestRepair). A
    /// request may be answered in any number of parts.
    Repaired {
        /// The id of the request.
        id: RetrievalId,
        /// What came of it.
        outcome: Retrieved,
    },
    /// Take part in a channel.
    Open {
        /// The channel.
        channel: ChannelId,
        /// Settings for this channel in place of the node's. Those that belong to the whole node
        /// (seed, durability, `auto_open` and its bound, `auto_consume`, `max_held_effects`,
        /// `max_held_bytes`, `max_datagram_len`, and the lengths and counts that the decoder checks) are ignored.
        config: Option<Arc<Config>>,
    },
    /// Stop taking part. What is in memory is dropped, what is stored stays.
    Close {
        /// The channel.
        channel: ChannelId,
    },
    /// Stop taking part and erase what is stored.
    Drop {
        /// The channel.
        channel: ChannelId,
    },
    /// Empty every open channel, in memory and in the store; they stay open.
    Reset,
    /// Where a logged message can be fetched from; told to others in causal histories.
    Hint {
        /// The channel.
        channel: ChannelId,
        /// A logged message.
        message_id: MessageId,
        /// Opaque bytes, at most `max_hint_len`.
        hint: Bytes,
    },
    /// The application has these messages by other means: they no longer block anything.
    DependenciesMet {
        /// The channel.
        channel: ChannelId,
        /// Remembered like delivered ids, up to `max_met_ids`.
        ids: Vec<MessageId>,
    },
    /// The application is done with deliveries up to here; they are not repeated after a restart.
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
    /// Delivered at once to whoever hears it; never logged nor resent. LIP-109 only.
    Ephemeral,
}

/// What a store node had.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a store node has it, has it not, or fails")]
pub enum Retrieved {
    /// A message, as it went over the wire.
    Message(Bytes),
    /// Nothing. It is asked again, later than after a failure.
    NotFound,
    /// No answer could be had. It is asked again soon.
    Failed,
}
