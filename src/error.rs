//! Errors, by whose fault they are: the peer's bytes ([`DecodeError`]), an input that is well
//! formed but not acceptable ([`Rejected`]), the configuration ([`ConfigError`]), the store
//! ([`StoreError`]).

use alloc::boxed::Box;
use core::fmt;

use crate::bloom::GeometryError;
use crate::input::Input;
pub use crate::wire::DecodeError;
use crate::wire::WireDialect;

/// An input that was not taken in. Nothing changed, and the input comes back.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the reason and the input are all there is to say")]
pub struct Rejected {
    /// Why.
    pub reason: RejectReason,
    /// The input as it was given.
    pub input: Box<Input>,
}

/// Why an input was not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RejectReason {
    /// The datagram is not a message: the peer's fault.
    Decode(DecodeError),
    /// The channel is not open here.
    ChannelNotOpen,
    /// The channel is open already.
    ChannelAlreadyOpen,
    /// The channel waits for its state from the store. The first message of a channel that is
    /// opened by it (`auto_open`) is refused so, and has opened it: repair asks for it again.
    ChannelLoading,
    /// By the settings of the channel more could be sent than a node with the settings of this one
    /// takes in: what is received is held to those of the node, for all its channels.
    ChannelExceedsNode {
        /// The channel's setting.
        field: &'static str,
        /// The most that it allows to be sent.
        value: u64,
        /// The most that the node takes in.
        bound: u64,
    },
    /// No state was asked for under this id, it came already, or the channel was closed since.
    NotLoading,
    /// The store could not give the channel's state. The channel still waits for it: ask the
    /// store again, or close the channel.
    LoadFailed(StoreError),
    /// Messages of others have opened as many channels as `max_auto_channels` allows.
    TooManyChannels {
        /// `max_auto_channels`.
        limit: usize,
    },
    /// The message's dialect is not accepted by the configuration.
    DialectNotAccepted(WireDialect),
    /// The message's Lamport time is too far ahead of our wall clock; without one, of our Lamport
    /// clock.
    ClockSkew {
        /// The message's Lamport time.
        lamport: u64,
        /// The latest acceptable one.
        limit: u64,
    },
    /// The message is older than what the id record remembers, so that it cannot be told from a
    /// repeat, and we did not ask for it.
    Stale {
        /// The message's Lamport time.
        lamport: u64,
        /// The newest forgotten Lamport time.
        forgotten: u64,
    },
    /// An id is empty.
    EmptyId,
    /// An id is longer than `max_id_len`.
    IdTooLong {
        /// Length in bytes.
        len: usize,
        /// `max_id_len`.
        limit: usize,
    },
    /// A retrieval hint is longer than `max_hint_len`.
    HintTooLong {
        /// Length in bytes.
        len: usize,
        /// `max_hint_len`.
        limit: usize,
    },
    /// An id is not UTF-8, which the LIP-109 dialect requires: the channel writes it, or may come
    /// to.
    IdNotUtf8,
    /// A nim message has or names an id that is not UTF-8. The channel writes LIP-109, or may come
    /// to, and could not pass it on: others would lack it for ever.
    NotForwardable,
    /// The content is empty, which is how sync messages are told.
    EmptyContent,
    /// The content is longer than `max_content_len`.
    ContentTooLong {
        /// Length in bytes.
        len: usize,
        /// `max_content_len`.
        limit: usize,
    },
    /// The message would be longer than `max_datagram_len`, with the largest filter that it can
    /// come to carry.
    DatagramTooLong {
        /// Length of its content in bytes.
        content_len: usize,
        /// `max_datagram_len`.
        limit: usize,
        /// Longest content that fits with the same message id, in bytes. 0: none does.
        max_content: usize,
    },
    /// A message with this id was published or received in the channel. An id that was merely named
    /// by others, given up or declared met can be published.
    IdKnown,
    /// The message is not in the log.
    NotLogged,
    /// The message is not an own one that nobody has acknowledged.
    NotUnacknowledged,
    /// The message's body has left the log, so it cannot be sent again: publish its content under a
    /// new id.
    BodyEvicted,
    /// As many own messages as `max_outgoing` allows are unacknowledged, or as many bytes of them
    /// as `max_log_bytes` allows: wait for acknowledgements.
    OutgoingFull {
        /// The one of the two that is reached.
        limit: usize,
    },
    /// nim-sds has no ephemeral messages.
    EphemeralNotInDialect,
    /// The Lamport clock is at its end.
    ClockExhausted,
    /// A write failed and has not yet succeeded when retried.
    Degraded,
    /// As much as `max_held_effects` or `max_held_bytes` allows waits for the store.
    StoreTooSlow {
        /// The one of the two that is reached.
        limit: usize,
    },
    /// No write with this id is outstanding.
    UnknownPersist,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => write!(f, "the peer's bytes are not a message: {error}"),
            Self::ChannelNotOpen => f.write_str("the channel is not open"),
            Self::ChannelAlreadyOpen => f.write_str("the channel is open already"),
            Self::ChannelLoading => f.write_str("the channel waits for its state from the store"),
            Self::ChannelExceedsNode { field, value, bound } => write!(
                f,
                "{field} is {value} in the settings of the channel, and those of the node take in no more \
                 than {bound}: raise the node's limit"
            ),
            Self::NotLoading => f.write_str(
                "the channel does not wait for this answer: its state came already, or it was closed \
                 since it was asked for",
            ),
            Self::LoadFailed(error) => {
                write!(f, "the channel's state could not be loaded: {error}")
            }
            Self::TooManyChannels { limit } => {
                write!(
                    f,
                    "others have opened as many channels as max_auto_channels, {limit}, allows"
                )
            }
            Self::DialectNotAccepted(dialect) => {
                write!(f, "the peer speaks {dialect}, which the configuration does not accept")
            }
            Self::ClockSkew { lamport, limit } => write!(
                f,
                "the message's Lamport time {lamport} is beyond {limit}, the latest that our clock \
                 and max_clock_skew allow: the sender's clock is wrong, or ours"
            ),
            Self::Stale { lamport, forgotten } => write!(
                f,
                "the message's Lamport time {lamport} is not above {forgotten}, up to which ids \
                 are forgotten: it may be a repeat"
            ),
            Self::EmptyId => f.write_str("a message id or channel id is empty"),
            Self::IdTooLong { len, limit } => {
                write!(f, "an id has {len} bytes, and max_id_len allows {limit}")
            }
            Self::HintTooLong { len, limit } => {
                write!(f, "a retrieval hint has {len} bytes, and max_hint_len allows {limit}")
            }
            Self::IdNotUtf8 => f.write_str("an id is not UTF-8, which LIP-109 requires"),
            Self::NotForwardable => f.write_str(
                "the message has or names an id that is not UTF-8, so it could not be passed on in \
                 LIP-109, which the channel writes or may come to write",
            ),
            Self::EmptyContent => f.write_str("the content is empty, as that of syncs alone is"),
            Self::ContentTooLong { len, limit } => {
                write!(f, "the content has {len} bytes, and max_content_len allows {limit}")
            }
            Self::DatagramTooLong { limit, max_content: 0, .. } => write!(
                f,
                "beside ids and filter nothing fits into {limit} bytes, which the transport takes \
                 (max_datagram_len): a smaller bloom_capacity, or FilterPolicy::SyncOnly, makes room"
            ),
            Self::DatagramTooLong { content_len, limit, max_content } => write!(
                f,
                "the content has {content_len} bytes, and beside ids and filter {max_content} fit into \
                 the {limit} bytes that the transport takes (max_datagram_len)"
            ),
            Self::IdKnown => f.write_str(
                "the message id is known in the channel: each message needs one of its own, for \
                 ever",
            ),
            Self::NotLogged => f.write_str("the message is not in the log"),
            Self::NotUnacknowledged => {
                f.write_str("the message is not an own one that waits for an acknowledgement")
            }
            Self::BodyEvicted => f.write_str(
                "the message's body has left the log: publish its content again under a new id",
            ),
            Self::OutgoingFull { limit } => {
                write!(
                    f,
                    "unacknowledged own messages have reached {limit}, which max_outgoing or \
                     max_log_bytes allows: wait until somebody acknowledges one"
                )
            }
            Self::EphemeralNotInDialect => {
                f.write_str("nim-sds has no ephemeral messages, and no other dialect is configured")
            }
            Self::ClockExhausted => f.write_str(
                "the Lamport clock is at its end: nothing more can be published in the channel",
            ),
            Self::Degraded => f.write_str(
                "a write to the store failed and is being retried: publish again once it succeeds",
            ),
            Self::StoreTooSlow { limit } => write!(
                f,
                "the store is too slow: what waits for it has reached {limit}, which max_held_effects or \
                 max_held_bytes allows"
            ),
            Self::UnknownPersist => f.write_str("no write with this id is outstanding"),
        }
    }
}

impl core::error::Error for RejectReason {}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl core::error::Error for Rejected {}

/// A configuration that cannot work, with the field, its value and the bound.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its range. Times are in milliseconds, sizes in bytes.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The smallest allowed value.
        min: u64,
        /// The largest allowed value.
        max: u64,
    },
    /// A number above another setting. Times are in milliseconds.
    Above {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The field it must not exceed.
        bound_field: &'static str,
        /// That field's value.
        bound: u64,
    },
    /// `max_content_len`, `max_id_len`, `max_hint_len` and `max_history_entries` together allow a
    /// message that is too large for the log.
    EntryTooLarge {
        /// The size of the largest message that they allow, in bytes.
        bytes: u64,
        /// The largest one that the log can hold, in bytes.
        limit: u64,
    },
    /// A chance that is not between 0 and 1, both excluded.
    NotAChance {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// The dialect spoken is not among those accepted, so that nobody's answer would be heard.
    SpokenNotAccepted {
        /// The dialect spoken.
        dialect: WireDialect,
    },
    /// `participant_id` is not UTF-8, which the LIP-109 dialect requires.
    ParticipantIdNotUtf8,
    /// `bloom_capacity` and `bloom_error_rate` have no filter geometry.
    Bloom(GeometryError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { field, value, min, max } => {
                let unit = unit(field);
                write!(f, "{field} is {value}{unit}, but must be from {min} to {max}{unit}")
            }
            Self::Above { field, value, bound_field, bound } => {
                let unit = unit(field);
                write!(f, "{field} is {value}{unit}, above {bound_field}, which is {bound}{unit}")
            }
            Self::EntryTooLarge { bytes, limit } => write!(
                f,
                "max_content_len, max_id_len, max_hint_len and max_history_entries allow a message of \
                 {bytes} bytes, above {limit}, the most that the log can hold in one: lower one of them"
            ),
            Self::NotAChance { field, value } => {
                write!(f, "{field} is {value}, but must be above 0 and below 1")
            }
            Self::SpokenNotAccepted { dialect } => {
                let field = match dialect {
                    WireDialect::Lip109 => "accept_lip109",
                    WireDialect::NimSds => "accept_nim_sds",
                };
                write!(
                    f,
                    "dialect speaks {dialect}, but {field} is false: no answer would be heard"
                )
            }
            Self::ParticipantIdNotUtf8 => {
                f.write_str("participant_id is not UTF-8, which LIP-109 requires")
            }
            Self::Bloom(error) => write!(f, "bloom_capacity and bloom_error_rate: {error}"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Returns the unit of a field's number, if its name does not contain it.
fn unit(field: &str) -> &'static str {
    match field {
        "bridge_delay" | "lost_after" | "max_clock_skew" | "repair_sync_min" | "repair_t_min"
        | "repair_t_max × 3" | "resend_after" | "resend_max" | "retrieval_interval"
        | "sync_max" | "sync_min" => " ms",
        _ => "",
    }
}

/// Why the store did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or is gone.
    Unavailable,
    /// It has no room.
    Full,
    /// Its data cannot be read.
    Corrupt,
    /// Its version is not known.
    Version,
    /// The state that it holds is that of another participant id.
    OtherParticipant,
    /// Its file was renamed, deleted or replaced while it was open.
    Moved,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the store cannot be reached, or is gone",
            Self::Full => "the store has no room left",
            Self::Corrupt => {
                "what the store holds is damaged, contradicts itself, or is sealed under another key"
            }
            Self::Version => "the store was written by a release with another format",
            Self::OtherParticipant => {
                "the store holds the channel of another participant than participant_id: start with the id \
                 that it was written under, or set adopt_store to go on with it under the new one"
            }
            Self::Moved => {
                "the store's file was renamed, deleted or replaced while it was open: put it back, \
                 or restart the node"
            }
        })
    }
}

impl core::error::Error for StoreError {}
