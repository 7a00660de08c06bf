//! Messages to bytes and back, in the two dialects that are spoken.
//!
//! Both are protobuf, with the same meaning and different field numbers:
//!
//! | field | LIP-109 | nim-sds |
//! | --- | --- | --- |
//! | sender id | 1, text | 7, see [`NimForm`] |
//! | message id | 2, text | 1 |
//! | channel id | 3, text | 4 |
//! | Lamport time | 10, optional | 2 |
//! | causal history | 11, repeated | 3, repeated |
//! | bloom filter | 12, optional | 6 |
//! | repair requests | 13, repeated | 13, repeated |
//! | content | 20, optional | 5 |
//!
//! Field 2 is bytes in the one and a number in the other, and always present: that tells them apart
//! ([`detect()`]). An entry of the history or of the requests is, in both, a message id (1), a
//! retrieval hint (2) and a sender id (3). LIP-109 leaves out what is not set. nim-sds has changed
//! how it writes histories and what it leaves out: each [`NimForm`] is read, and one is written.
//!
//! Decoding copies nothing: a [`MessageRef`] is made of slices of its datagram, and a [`Message`]
//! of counted ones, which keep it alive. Encoding is canonical, so that it gives the bytes that the
//! other implementations give.

mod detect;
mod error;
mod filter;
mod lip109;
mod message;
mod nim;
pub mod nim_snapshot;
mod reader;
mod values;
mod writer;

use core::fmt;

use bytes::Bytes;

pub use detect::{channel_id, detect};
pub use error::DecodeError;
pub(crate) use filter::nim_container_len;
pub use filter::{FilterField, NimFilter};
pub use message::{HistoryEntry, HistoryEntryRef, Kind, Message, MessageRef, Outgoing};
pub(crate) use reader::{Field, Fields, Value};
pub(crate) use values::Entry;
pub use values::Limits;
pub(crate) use writer::{Encode, Sink};

/// One of the two incompatible encodings of messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever matches must think of a new dialect")]
pub enum WireDialect {
    /// The specification's, spoken by `@waku/sds`.
    Lip109,
    /// That of nim-sds.
    NimSds,
}

/// The layout of nim-sds messages, by the version that introduced it.
///
/// Every form is read, whatever a channel writes. nim-sds reads the ids in a history of any form
/// but [`V030`](Self::V030), whose entries it takes for ids that never come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "whoever matches must think of a new form")]
pub enum NimForm {
    /// 0.2: a history of bare ids, and neither hints nor sender ids nor repair requests.
    V02,
    /// 0.3.0 and release candidates of 0.4: entries with hints and sender ids.
    V030,
    /// 0.3.1 to 0.3.3, the Status app among them: bare ids with hints beside them, and neither
    /// sender ids nor repair requests.
    V033,
    /// 0.4 and later, logos-delivery among them: bare ids with hints and sender ids beside them.
    #[default]
    V04,
}

impl NimForm {
    /// All of them, in the order of the versions.
    pub const ALL: [Self; 4] = [Self::V02, Self::V030, Self::V033, Self::V04];

    /// Whether it has room for sender ids and repair requests.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        match self {
            Self::V030 | Self::V04 => true,
            Self::V02 | Self::V033 => false,
        }
    }
}

impl fmt::Display for NimForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V02 => "0.2",
            Self::V030 => "0.3.0",
            Self::V033 => "0.3.3",
            Self::V04 => "0.4",
        })
    }
}

impl fmt::Display for WireDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lip109 => "LIP-109",
            Self::NimSds => "nim-sds",
        })
    }
}

/// Decodes a message of either dialect and says which it was; the message says of which
/// [`NimForm`].
///
/// # Errors
///
/// See [`detect()`] and [`decode_as`].
pub fn decode(datagram: &Bytes, limits: &Limits) -> Result<(WireDialect, Message), DecodeError> {
    let (dialect, message) = decode_ref(datagram, limits)?;
    Ok((dialect, message.within(datagram)))
}

/// Decodes a message of either dialect in place and says which it was: [`decode`] without counted
/// references.
///
/// # Errors
///
/// See [`decode`].
pub fn decode_ref<'a>(
    datagram: &'a [u8],
    limits: &Limits,
) -> Result<(WireDialect, MessageRef<'a>), DecodeError> {
    let dialect = detect(datagram)?;
    Ok((dialect, decode_ref_as(dialect, datagram, limits)?))
}

/// Decodes a message of the dialect named.
///
/// One pass over the bytes. Of a field that should occur once the last occurrence counts; unknown
/// fields, and known ones of an unexpected wire type, are skipped.
///
/// # Errors
///
/// The bytes are not protobuf, lack a field that the dialect requires, exceed one of the `limits`,
/// name a message or channel by an empty id, or (LIP-109) by one that is not UTF-8, or are none of
/// the three [`Kind`]s.
pub fn decode_as(
    dialect: WireDialect,
    datagram: &Bytes,
    limits: &Limits,
) -> Result<Message, DecodeError> {
    Ok(decode_ref_as(dialect, datagram, limits)?.within(datagram))
}

fn decode_ref_as<'a>(
    dialect: WireDialect,
    datagram: &'a [u8],
    limits: &Limits,
) -> Result<MessageRef<'a>, DecodeError> {
    match dialect {
        WireDialect::Lip109 => lip109::decode(datagram, limits),
        WireDialect::NimSds => nim::decode(datagram, limits),
    }
}
