//! Why a request was not carried out, in the words of nim-sds.

use core::fmt;

use sds_proto::RejectReason;

/// A request that failed: it changed nothing, unless it says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// More than the code tells, for the functions that nim-sds does not have.
    pub(crate) reason: Option<Reason>,
}

/// The reason why a request fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// The node refused it.
    Rejected(RejectReason),
    /// Texts of C end at the NUL, so that it would be taken for another channel's.
    NulInChannelId,
    /// It is not the "next" of a page.
    NotACursor,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason) => reason.fmt(f),
            Self::NulInChannelId => f.write_str(
                "the message's channel id has a NUL byte, behind which programs in C do not look",
            ),
            Self::NotACursor => f.write_str(
                "the page to begin behind is none: pass the \"next\" of the page before",
            ),
        }
    }
}

/// The codes that nim-sds has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    InvalidArgument,
    InternalError,
    DeserializationError,
    MessageTooLarge,
    PersistenceError,
    OutOfMemory,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "reInvalidArgument",
            Self::InternalError => "reInternalError",
            Self::DeserializationError => "reDeserializationError",
            Self::MessageTooLarge => "reMessageTooLarge",
            Self::PersistenceError => "rePersistenceError",
            Self::OutOfMemory => "reOutOfMemory",
        })
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self { code, reason: None }
    }
}

impl From<RejectReason> for Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are the caller's fault")]
    fn from(reason: RejectReason) -> Self {
        let code = match reason {
            RejectReason::Decode(_)
            | RejectReason::DialectNotAccepted(_)
            | RejectReason::NotForwardable => Code::DeserializationError,
            RejectReason::ContentTooLong { .. } | RejectReason::DatagramTooLong { .. } => {
                Code::MessageTooLarge
            }
            RejectReason::Degraded
            | RejectReason::StoreTooSlow { .. }
            | RejectReason::ChannelLoading
            | RejectReason::LoadFailed(_) => Code::PersistenceError,
            RejectReason::TooManyChannels { .. } => Code::OutOfMemory,
            RejectReason::ClockExhausted => Code::InternalError,
            _ => Code::InvalidArgument,
        };
        Self { code, reason: Some(Reason::Rejected(reason)) }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Rejected(reason) => reason.into(),
            Reason::NulInChannelId | Reason::NotACursor => {
                Self { code: Code::InvalidArgument, reason: Some(reason) }
            }
        }
    }
}
