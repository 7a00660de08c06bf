//! The outputs of a node.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::bloom::FilterError;
use crate::entry::{DeliverySeq, LogEntry};
use crate::error::StoreError;
use crate::id::{ChannelId, MessageId, ParticipantId};
use crate::snapshot::Change;
use crate::time::{Instant, UnixMillis};
use crate::wire::{HistoryEntry, NimForm, WireDialect};

/// Number of a write. Ids increase; completing one completes all before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to pass back")]
pub struct PersistId(pub u64);

/// Number of a request for a channel's state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to pass back")]
pub struct LoadId(pub u64);

/// Number of a request to an archive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to pass back")]
pub struct RetrievalId(pub u64);

/// One output of [`Node::poll_effect`](crate::Node::poll_effect): an action to carry out, or an
/// event for the application.
///
/// Match on it without a wildcard: a loop that drops a [`Persist`](Self::Persist) or a
/// [`Load`](Self::Load) waits for ever.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "an embedder must carry out all of it")]
pub enum Effect {
    /// Broadcast these bytes to the group.
    Send {
        /// The channel.
        channel: ChannelId,
        /// The message, encoded.
        bytes: Bytes,
        /// The id in it.
        message_id: MessageId,
        /// The dialect it is encoded in.
        dialect: WireDialect,
        /// The reason it is sent.
        reason: SendReason,
    },
    /// Write these changes in order, all or nothing, then answer with
    /// [`Input::Persisted`](crate::Input::Persisted). [`stored::writes`](crate::stored::writes)
    /// turns them into puts and removals.
    Persist {
        /// Number of the write.
        id: PersistId,
        /// The changes, oldest first.
        changes: Arc<[Change]>,
    },
    /// Read a channel's state, then answer with [`Input::Loaded`](crate::Input::Loaded).
    /// [`stored::snapshot`](crate::stored::snapshot) decodes it from records.
    Load {
        /// Number of the request.
        id: LoadId,
        /// The channel.
        channel: ChannelId,
    },
    /// Fetch these messages from an archive if there is one, then answer with
    /// [`Input::Retrieved`](crate::Input::Retrieved).
    Retrieve {
        /// Number of the request.
        id: RetrievalId,
        /// The channel.
        channel: ChannelId,
        /// The missing messages, with hints where known.
        missing: Vec<HistoryEntry>,
    },
    /// Tell the application.
    Event(Event),
}

impl From<Event> for Effect {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// An event for the application. Nothing needs an answer.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message joined the log. Deliveries come in a causal order.
    Deliver(Delivery),
    /// An ephemeral message, not logged.
    DeliverEphemeral {
        /// The channel.
        channel: ChannelId,
        /// The message's id.
        message_id: MessageId,
        /// Its author; may be empty.
        sender_id: ParticipantId,
        /// Its content, a slice of its datagram, which it keeps alive.
        content: Bytes,
    },
    /// The filter of a peer contains an own message.
    PossiblyAcked {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// A peer has an own message. Messages acknowledged at once are reported in the order of
    /// publication.
    Acked {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// An own message was resent `max_resends` times without an acknowledgement. It is no longer
    /// resent; [`Event::Acked`] may still follow, and [`Input::Resend`](crate::Input::Resend)
    /// sends it again.
    Unconfirmed {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// A message references dependencies that have not been received.
    Missing {
        /// The channel.
        channel: ChannelId,
        /// The message that references them: a content message, or a sync.
        message_id: MessageId,
        /// The dependencies that are neither logged nor buffered.
        missing: Vec<HistoryEntry>,
    },
    /// These dependencies were given up, or dropped because one of their own dependencies was. Time
    /// in which no [`Tick`](crate::Input::Tick) was handled is no reason to give up.
    Lost {
        /// The channel.
        channel: ChannelId,
        /// Their ids.
        message_ids: Vec<MessageId>,
    },
    /// Nothing is missing any more.
    Synced {
        /// The channel.
        channel: ChannelId,
        /// Dependencies given up since the channel was opened.
        lost: u64,
    },
    /// A write failed. It is retried. Until it succeeds, publishing is refused and dependent
    /// effects are held.
    Degraded {
        /// The error that the store returned.
        error: StoreError,
        /// When the write is handed out again.
        retry_at: Instant,
    },
    /// The failed write succeeded.
    Recovered,
    /// A configured limit was reached.
    LimitReached {
        /// The channel.
        channel: ChannelId,
        /// The limit.
        limit: Limit,
        /// The message that was dropped, or whose request was ignored.
        message_id: MessageId,
        /// The sender that the message states; empty if it is not known.
        sender_id: ParticipantId,
    },
    /// A message has the id of an earlier one and another content, sender, Lamport time or causal
    /// history. The first one stays.
    Conflict {
        /// The channel.
        channel: ChannelId,
        /// The id.
        message_id: MessageId,
        /// The sender that the second message states.
        sender_id: ParticipantId,
    },
    /// The filter of a message was malformed and is ignored. The message itself is processed.
    FilterIgnored {
        /// The channel.
        channel: ChannelId,
        /// The message's sender.
        sender_id: ParticipantId,
        /// The fault of the filter.
        error: FilterError,
    },
    /// The Lamport time of a message is far behind ours: its sender's clock differs or counts in
    /// seconds. Reported once a channel. [`WallClockOff`](Self::WallClockOff) is about our own
    /// clock.
    ClockBehind {
        /// The channel.
        channel: ChannelId,
        /// The message's sender.
        sender_id: ParticipantId,
        /// The message's Lamport time.
        lamport: u64,
    },
    /// The monotonic time of an input is more than a minute behind that of an earlier one, for
    /// example because a counter wrapped. Timers stand still until it has caught up. Reported once
    /// until then.
    TimeBehind {
        /// The time that the input gave.
        told: Instant,
        /// The newest time, at which timers stand.
        newest: Instant,
    },
    /// Our own wall clock seems to be off by more than `max_clock_skew`, so that others refuse our
    /// messages, or we refuse theirs: for ten minutes the Lamport times of most senders have run at
    /// such a distance from it. In a group of two it is unknown whose clock is off. Times in
    /// seconds, as nim-sds has them, do not count. Reported once a node.
    WallClockOff {
        /// Our wall clock.
        ours: UnixMillis,
        /// The Lamport time of the newest message of the others.
        theirs: UnixMillis,
    },
    /// A message has our own participant id and was not published by this node. Either another node
    /// has the same `participant_id`: each takes the other's messages for its own, so neither
    /// acknowledges them. Give every node its own. Or this node published it before its state was
    /// lost: then there is nothing to do. Or it is forged. Reported once a channel, and never to an
    /// anonymous node.
    ParticipantIdInUse {
        /// The channel.
        channel: ChannelId,
        /// The message: a content message, or a sync.
        message_id: MessageId,
        /// The message's Lamport time.
        lamport: u64,
    },
    /// Own messages are encoded in a form of the nim dialect that has no room for sender ids and
    /// repair requests. All its writers count as one in acknowledgement by filters, and no message
    /// requests missing ones. Reported once a channel.
    FormIncomplete {
        /// The channel.
        channel: ChannelId,
        /// The form.
        form: NimForm,
    },
    /// A logged message cannot be sent in the LIP-109 dialect, because one of its ids is not UTF-8;
    /// or in the form of the nim dialect, whose readers would take one of its ids for an entry. The
    /// former was received when the channel wrote nim-sds alone; others are refused as
    /// [`RejectReason::NotForwardable`](crate::RejectReason::NotForwardable).
    NotForwarded {
        /// The channel.
        channel: ChannelId,
        /// The message.
        message_id: MessageId,
    },
}

impl Effect {
    /// Bytes that it takes while it is held, including those that it keeps alive.
    pub(crate) fn kept_bytes(&self) -> usize {
        let kept = match self {
            Self::Send { bytes, message_id, .. } => bytes.len() + message_id.len(),
            Self::Event(event) => event.kept_bytes(),
            Self::Persist { .. } | Self::Load { .. } | Self::Retrieve { .. } => 0,
        };
        size_of::<Self>() + kept
    }
}

impl Event {
    /// Bytes that it keeps alive.
    fn kept_bytes(&self) -> usize {
        match self {
            Self::Deliver(Delivery { entry, follows, .. }) => {
                entry.size() + follows.as_ref().map_or(0, LogEntry::size)
            }
            Self::Missing { message_id, missing, .. } => {
                message_id.len() + missing.iter().map(HistoryEntry::size).sum::<usize>()
            }
            Self::Lost { message_ids, .. } => {
                message_ids.iter().map(|id| size_of::<MessageId>() + id.len()).sum()
            }
            Self::PossiblyAcked { message_id, .. }
            | Self::Acked { message_id, .. }
            | Self::Unconfirmed { message_id, .. } => message_id.len(),
            Self::DeliverEphemeral { .. }
            | Self::Synced { .. }
            | Self::Degraded { .. }
            | Self::Recovered
            | Self::LimitReached { .. }
            | Self::Conflict { .. }
            | Self::FilterIgnored { .. }
            | Self::ClockBehind { .. }
            | Self::TimeBehind { .. }
            | Self::WallClockOff { .. }
            | Self::ParticipantIdInUse { .. }
            | Self::FormIncomplete { .. }
            | Self::NotForwarded { .. } => 0,
        }
    }
}

/// A message that joined the log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The channel.
    pub channel: ChannelId,
    /// Number of the delivery in its channel.
    pub seq: DeliverySeq,
    /// The message.
    pub entry: LogEntry,
    /// The entry right before it in the log, behind which an application that shows the log inserts
    /// it. `None`: it is the first.
    pub follows: Option<LogEntry>,
    /// Whether a direct dependency was not delivered. After a restart also whether one was evicted
    /// without being consumed, so that it may not have been reported.
    pub gap: bool,
    /// Whether it was published here.
    pub own: bool,
    /// Whether it was delivered before a restart and not consumed.
    pub redelivery: bool,
}

/// The reason for which a message is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum SendReason {
    /// It was just published.
    New,
    /// It was not acknowledged in time.
    Resend,
    /// It is a sync message: heads, filter and repair requests.
    Sync,
    /// A member requested it.
    Repair,
    /// It was just published and is not logged.
    Ephemeral,
    /// It was received in the other dialect.
    Bridge,
}

/// A limit of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// `max_incoming_messages` or `max_incoming_bytes`: the buffered message with the highest
    /// Lamport time was dropped. It is requested again when it is referenced again.
    Incoming,
    /// `max_missing`: more dependencies are missing than can be kept track of. This message named
    /// some of them and was dropped: of all senders its own had named most.
    Missing,
    /// `max_answers`: the request for this message was ignored.
    Answers,
}
