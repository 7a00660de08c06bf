//! What comes out of a node.

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

/// Number of a request to a store node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number, for embedders to pass back")]
pub struct RetrievalId(pub u64);

/// One effect of [`Node::poll_effect`](crate::Node::poll_effect): something to do, or to know.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
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
        /// What it is sent for.
        why: SendReason,
    },
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
    /// Write these changes in order and all or nothing, then say
    /// [`Input::Persisted`](crate::Input::Persisted). [`stored::writes`](crate::stored::writes)
    /// makes puts and removals of them.
    Persist {
        /// Number of the write.
        id: PersistId,
        /// What changed, oldest first.
        changes: Arc<[Change]>,
    },
    /// Read a channel's state, then say [`Input::Loaded`](crate::Input::Loaded).
    /// [`stored::snapshot`](crate::stored::snapshot) makes it of records.
    Load {
        /// Number of the request.
        id: LoadId,
        /// The channel.
        channel: ChannelId,
    },
    /// Fetch these messages from elsewhere if there is an elsewhere, then say
    /// [`Input::Repaired`](crate::Input::Repaired).
    RequestRepair {
        /// Number of the request.
        id: RetrievalId,
        /// The channel.
        channel: ChannelId,
        /// What is missing, with hints where known.
        missing: Vec<HistoryEntry>,
    },
    /// A peer's filter holds an own message.
    PossiblyAcked {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// Some peer has an own message. Those that one message acknowledges come in the order of
    /// sending.
    Acked {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// An own message was sent `max_resends` times more and nobody acknowledged it. It is no
    /// longer resent; [`Effect::Acked`] may still follow, and [`Input::Resend`](crate::Input::Resend)
    /// sends it again.
    Unconfirmed {
        /// The channel.
        channel: ChannelId,
        /// The own message.
        message_id: MessageId,
    },
    /// A message names dependencies that are not here.
    Missing {
        /// The channel.
        channel: ChannelId,
        /// The message that names them: a content message, or a sync.
        message_id: MessageId,
        /// What it names and is neither logged nor waiting itself.
        missing: Vec<HistoryEntry>,
    },
    /// These dependencies were given up, or dropped because theirs were. None is given up for time alone
    /// that passed while nobody handled a [`Tick`](crate::Input::Tick).
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
    /// A write failed. It is retried; until it succeeds publishing is refused and what depends
    /// on it is held.
    Degraded {
        /// What the store said.
        error: StoreError,
        /// When the write is handed out again.
        retry_at: Instant,
    },
    /// The failed write succeeded.
    Recovered,
    /// A bound of the configuration bit.
    Bounded {
        /// The channel.
        channel: ChannelId,
        /// Which one.
        bound: Bound,
        /// The message it bit.
        message_id: MessageId,
        /// Who sent that, as it says itself; empty where nobody knows.
        sender_id: ParticipantId,
    },
    /// A second message came with the id of another and different content; the first stays.
    Conflict {
        /// The channel.
        channel: ChannelId,
        /// The id.
        message_id: MessageId,
        /// The sender that the second message names.
        sender_id: ParticipantId,
    },
    /// A message's filter was malformed and ignored; the message itself counts.
    FilterIgnored {
        /// The channel.
        channel: ChannelId,
        /// The message's sender.
        sender_id: ParticipantId,
        /// What is wrong with it.
        error: FilterError,
    },
    /// A message's Lamport time is far behind ours: its sender's clock differs or counts in
    /// seconds. Told once a channel. [`WallClockOff`](Self::WallClockOff) is about our own.
    ClockBehind {
        /// The channel.
        channel: ChannelId,
        /// The message's sender.
        sender_id: ParticipantId,
        /// The message's Lamport time.
        lamport: u64,
    },
    /// The monotonic time of an input is more than a minute behind that of an earlier one, as that of a
    /// counter is that has wrapped: timers stand still until it has caught up. Told once until it has.
    TimeBehind {
        /// The time that the input gave.
        told: Instant,
        /// The newest time, at which timers stand.
        newest: Instant,
    },
    /// Our own wall clock seems to be off by more than `max_clock_skew`: then others refuse what we send, or
    /// we refuse what they do. For ten minutes the Lamport times of more senders than were heard otherwise
    /// have run at such a distance from it. In a group of two nobody can tell whose clock it is. Times
    /// in seconds, as nim-sds has them, do not count. Told once a node.
    WallClockOff {
        /// Our wall clock.
        ours: UnixMillis,
        /// The Lamport time of the newest message of the others.
        theirs: UnixMillis,
    },
    /// A message came under our own participant id that this node did not make. Either another node has the
    /// same `participant_id`: each takes the other's messages for its own, so neither acknowledges them.
    /// Give every node its own. Or we made it before our state was lost: then there is nothing to do. Or
    /// it is forged. Told once a channel. An anonymous node is never told.
    ParticipantIdInUse {
        /// The channel.
        channel: ChannelId,
        /// The message: a content message, or a sync.
        message_id: MessageId,
        /// The message's Lamport time.
        lamport: u64,
    },
    /// Own messages go out in a form of the nim dialect without room for sender ids and repair
    /// requests: all who write it count as one in acknowledgement by filters, and what is missing is
    /// asked for in no message. Told once a channel.
    FormIncomplete {
        /// The channel.
        channel: ChannelId,
        /// The form.
        form: NimForm,
    },
    /// A logged message cannot be sent in the LIP-109 dialect, because an id in it is not UTF-8; or in the
    /// form of the nim dialect, which would take an id in it for an entry. The former is from
    /// a time when the channel wrote nim-sds alone; others are refused as
    /// [`RejectReason::NotText`](crate::RejectReason::NotText).
    NotText {
        /// The channel.
        channel: ChannelId,
        /// The message.
        message_id: MessageId,
    },
}

impl Effect {
    /// Bytes that it takes while it waits for the store, what it keeps alive included.
    pub(crate) fn kept_bytes(&self) -> usize {
        let kept = match self {
            Self::Send { bytes, message_id, .. } => bytes.len() + message_id.len(),
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
            | Self::Persist { .. }
            | Self::Load { .. }
            | Self::RequestRepair { .. }
            | Self::Synced { .. }
            | Self::Degraded { .. }
            | Self::Recovered
            | Self::Bounded { .. }
            | Self::Conflict { .. }
            | Self::FilterIgnored { .. }
            | Self::ClockBehind { .. }
            | Self::TimeBehind { .. }
            | Self::WallClockOff { .. }
            | Self::ParticipantIdInUse { .. }
            | Self::FormIncomplete { .. }
            | Self::NotText { .. } => 0,
        };
        size_of::<Self>() + kept
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
    /// The entry right before it in the log: an application that shows the log inserts it
    /// there. `None`: it is the first.
    pub follows: Option<LogEntry>,
    /// Whether something it depends on, directly, is missing from the log, or was evicted from it
    /// before a restart without having been consumed and so may never have been told.
    pub gap: bool,
    /// Whether we published it ourselves.
    pub own: bool,
    /// Whether it was delivered before a restart and not consumed.
    pub redelivery: bool,
}

/// What a message is sent for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum SendReason {
    /// It was just published.
    New,
    /// Nobody acknowledged it in time.
    Resend,
    /// It tells the group what we have and what we miss.
    Sync,
    /// Somebody asked for it.
    Repair,
    /// It was just published and is not logged.
    Ephemeral,
    /// It was heard in the other dialect.
    Bridge,
}

/// A bound that bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bound {
    /// `max_incoming_messages` or `max_incoming_bytes`: the waiting message with the highest
    /// Lamport time was dropped; it is asked for again when it is named again.
    Incoming,
    /// `max_wanted`: more dependencies are missing than can be kept track of. This message named
    /// some of them and was dropped: of all senders its own had named most.
    Wanted,
    /// `max_answers`: the request for this message was ignored.
    Answers,
}
