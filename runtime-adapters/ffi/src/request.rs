//! The requests of a worker.

use bytes::Bytes;
use sds_proto::wire::DecodeError;
use sds_proto::{ChannelId, DeliverySeq, MessageId, RejectReason};

use crate::failure::Failure;
use crate::text::Text;

/// Longest content that can be wrapped, in bytes.
pub(crate) const MAX_CONTENT: usize = 1 << 20;

/// Longest message that can be unwrapped, in bytes.
pub(crate) const MAX_DATAGRAM: usize = 32 << 20;

/// Most ids in one call.
pub(crate) const MAX_IDS: usize = 1 << 20;

/// One call, its arguments checked and copied.
#[derive(Debug)]
pub(crate) enum Request {
    /// The worker is to say that it is there.
    Start,
    Wrap {
        message_id: MessageId,
        channel: ChannelId,
        content: Passed,
        kind: Wrapping,
    },
    Unwrap {
        datagram: Passed,
        form: Form,
    },
    DependenciesMet {
        channel: ChannelId,
        ids: Vec<MessageId>,
    },
    Reset,
    StartPeriodicTasks,
    RemoveChannel {
        channel: ChannelId,
    },
    Consumed {
        channel: ChannelId,
        up_to: DeliverySeq,
    },
    OpenChannel {
        channel: ChannelId,
    },
    /// The channels behind `after`.
    Channels {
        after: ChannelId,
    },
    Status {
        channel: ChannelId,
    },
    /// The log from the beginning, or behind the page that ended with `after`.
    Log {
        channel: ChannelId,
        after: Option<Bytes>,
        max: usize,
    },
    Metrics,
    /// A bug, to test what becomes of one.
    #[cfg(test)]
    Panic,
}

/// Bytes of the caller's.
#[derive(Debug)]
pub(crate) enum Passed {
    /// A copy of them.
    Copied(Bytes),
    /// The length of the list exceeds its limit.
    TooMany { len: usize, limit: usize },
    /// They are no message.
    Malformed(DecodeError),
}

impl Passed {
    pub(crate) fn get(self) -> Result<Bytes, RejectReason> {
        match self {
            Self::Copied(bytes) => Ok(bytes),
            Self::TooMany { len, limit } => Err(RejectReason::ContentTooLong { len, limit }),
            Self::Malformed(error) => Err(RejectReason::Decode(error)),
        }
    }
}

impl From<Bytes> for Passed {
    fn from(bytes: Bytes) -> Self {
        Self::Copied(bytes)
    }
}

/// The kind of a wrapped message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrapping {
    Content(Form),
    /// Delivered to whoever hears it and not logged; always told as bytes.
    Ephemeral,
}

/// The format of messages in answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// As nim-sds does.
    Text,
    Binary,
}

impl Request {
    /// Returns the text for a failed request. The functions of nim-sds have the same text as there;
    /// those of
    /// this library add the reason.
    pub(crate) fn failure(name: Name, failure: Failure) -> Text {
        let Name { name, says_why } = name;
        match failure.reason.filter(|_| says_why) {
            None => format!("error processing {name} request: {}", failure.code).into(),
            Some(reason) => {
                format!("error processing {name} request: {}: {reason}", failure.code).into()
            }
        }
    }

    pub(crate) const fn name(&self) -> Name {
        let (name, says_why) = match self {
            Self::Start => ("CREATE_RELIABILITY_MANAGER", false),
            Self::Wrap { kind: Wrapping::Content(form), .. } => {
                ("WRAP_MESSAGE", matches!(form, Form::Binary))
            }
            Self::Wrap { kind: Wrapping::Ephemeral, .. } => ("WRAP_EPHEMERAL", true),
            Self::Unwrap { form, .. } => ("UNWRAP_MESSAGE", matches!(form, Form::Binary)),
            Self::DependenciesMet { .. } => ("MARK_DEPENDENCIES_MET", false),
            Self::Reset => ("RESET_RELIABILITY_MANAGER", false),
            Self::StartPeriodicTasks => ("START_PERIODIC_TASKS", false),
            Self::RemoveChannel { .. } => ("REMOVE_CHANNEL", false),
            Self::Consumed { .. } => ("CONSUMED", true),
            Self::OpenChannel { .. } => ("OPEN_CHANNEL", true),
            Self::Channels { .. } => ("CHANNELS", true),
            Self::Status { .. } => ("STATUS", true),
            Self::Log { .. } => ("LOG", true),
            Self::Metrics => ("METRICS", true),
            #[cfg(test)]
            Self::Panic => ("PANIC", true),
        };
        Name { name, says_why }
    }
}

/// The name of a request in texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    name: &'static str,
    says_why: bool,
}
