//! Errors that the application sees.

use core::error::Error;
use core::fmt;
use std::io;

use bytes::Bytes;
use sds_proto::{Durability, RejectReason, StoreError};

/// Why a driver was not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration asks for durability, which needs a store to write to.
    NeedsStore {
        /// The configured durability.
        durability: Durability,
    },
    /// There is a store, and the configuration asks for nothing to be kept in it.
    UnusedStore,
    /// The store cannot be used, and says why.
    Store(StoreError),
    /// The configuration allows messages whose records are longer than the store takes.
    RecordTooLong {
        /// The longest record that the configuration allows, in bytes: [`Config::max_record_len`].
        ///
        /// [`Config::max_record_len`]: sds_proto::Config::max_record_len
        len: u64,
        /// The longest record that the store takes, in bytes.
        limit: u64,
    },
    /// The operating system gave no poller or no thread to run on.
    NoResources(io::ErrorKind),
    /// It was to be spawned on the tokio runtime of the caller, who is in none.
    NoRuntime,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsStore { durability } => write!(
                f,
                "durability {durability:?} needs a store and this driver has none: hand one over \
                 with Options::store, or configure Durability::None"
            ),
            Self::UnusedStore => f.write_str(
                "there is a store and Durability::None keeps nothing in it: configure \
                 Durability::Relaxed or Strict, or hand no store over",
            ),
            Self::Store(error) => write!(f, "the store cannot be used: {error}"),
            Self::RecordTooLong { len, limit } => write!(
                f,
                "a record may have {len} bytes by the configuration, and the store takes {limit}: \
                 lower max_content_len, max_history_entries, max_id_len or max_hint_len"
            ),
            Self::NoResources(kind) => {
                write!(f, "the operating system has no poller or thread to spare: {kind}")
            }
            Self::NoRuntime => f.write_str(
                "the caller is in no tokio runtime: call it from a task, or enter a runtime first",
            ),
        }
    }
}

impl Error for StartError {}

/// Why a call of a [`Handle`](crate::Handle) was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandleError {
    /// The node refused it; nothing changed.
    Rejected(RejectReason),
    /// The store could not answer.
    Store(StoreError),
    /// There is no room for the command now; nothing changed. Said by calls that do not wait, like
    /// [`try_publish`](crate::Handle::try_publish), and to messages that have waited in vain for
    /// unread events to be read, for [`Options::max_stall`](crate::Options::max_stall).
    Full,
    /// The driver has stopped. If it was stopped by [`shutdown`](crate::Handle::shutdown) or by
    /// dropping all handles, nothing was done; if its future was dropped, it may have been.
    Stopped,
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason) => reason.fmt(f),
            Self::Store(error) => write!(f, "the store could not answer: {error}"),
            Self::Full => f.write_str(
                "the driver has no room for the command now: try again once earlier ones were \
                 answered, and unread events were read",
            ),
            Self::Stopped => f.write_str("the driver has stopped, and nothing more can be asked"),
        }
    }
}

impl Error for HandleError {}

/// A message that was not published, and its content to try again with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PublishError {
    /// Why.
    pub reason: HandleError,
    /// The content as it was given.
    pub content: Bytes,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not published: {}", self.reason)
    }
}

impl Error for PublishError {}
