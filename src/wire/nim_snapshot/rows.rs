//! The table in which logos-delivery keeps what nim-sds stores.
//!
//! | category | key | value |
//! | --- | --- | --- |
//! | `sds.meta` | channel | the channel's state, without its log |
//! | `sds.log` | channel, message | a message of the log |
//!
//! A part of a key is its length in two bytes, big-endian, and its bytes. There are other
//! categories, which say nothing of a state.

use alloc::collections::BTreeMap;
use core::fmt;

use bytes::Bytes;

use super::codec;
use super::{ChannelData, ChannelMeta};
use crate::wire::error::DecodeError;
use crate::wire::message::Message;
use crate::wire::values::Limits;
use crate::{ChannelId, MessageId};

const META: &[u8] = b"sds.meta";
const LOG: &[u8] = b"sds.log";

/// A row of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the table has these columns")]
pub struct Row {
    /// The kind of thing that it is.
    pub category: Bytes,
    /// Which one.
    pub key: Bytes,
    /// The thing.
    pub payload: Bytes,
}

/// Why the rows cannot be used: the file is damaged, or of another program.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RowError {
    /// A row has a key that is not a channel, or not a channel and a message.
    Key {
        /// The key.
        key: Bytes,
    },
    /// The state of a channel or a message of its log cannot be read.
    Payload {
        /// The channel.
        channel: ChannelId,
        /// The message; `None`: the state.
        message_id: Option<MessageId>,
        /// The problem with it.
        error: DecodeError,
    },
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key } => write!(f, "a row has the key {key:?}, which names no channel"),
            Self::Payload { channel, message_id: None, error } => {
                write!(f, "the state of channel {channel} cannot be read: {error}")
            }
            Self::Payload { channel, message_id: Some(message_id), error } => {
                write!(f, "message {message_id} of channel {channel} cannot be read: {error}")
            }
        }
    }
}

impl core::error::Error for RowError {}

impl ChannelData {
    /// The channels that the rows of logos-delivery's table hold, in any order; each with its log
    /// by (Lamport time, id). Rows of other categories are ignored.
    ///
    /// # Errors
    ///
    /// One of the rows cannot be read: nothing is imported in part.
    pub fn from_rows(
        rows: impl IntoIterator<Item = Row>,
        limits: &Limits,
    ) -> Result<BTreeMap<ChannelId, Self>, RowError> {
        let mut channels: BTreeMap<ChannelId, Self> = BTreeMap::new();
        for Row { category, key, payload } in rows {
            let parts =
                |count| parts(&key, count).ok_or_else(|| RowError::Key { key: key.clone() });
            match &category[..] {
                META => {
                    let [channel, _] = parts(1)?;
                    let channel = ChannelId::from(channel);
                    let meta = ChannelMeta::decode(&payload, limits).map_err(|error| {
                        let channel = channel.clone();
                        RowError::Payload { channel, message_id: None, error }
                    })?;
                    channels.entry(channel).or_default().meta = meta;
                }
                LOG => {
                    let [channel, message_id] = parts(2)?;
                    let channel = ChannelId::from(channel);
                    let message: Message =
                        codec::decode(&payload, limits).map_err(|error| RowError::Payload {
                            channel: channel.clone(),
                            message_id: Some(message_id.into()),
                            error,
                        })?;
                    channels.entry(channel).or_default().messages.push(message);
                }
                _ => {}
            }
        }
        for data in channels.values_mut() {
            // nim-sds counts Lamport times as signed.
            let lamport = |message: &Message| message.lamport.unwrap_or_default().cast_signed();
            data.messages
                .sort_by(|a, b| (lamport(a), &a.message_id).cmp(&(lamport(b), &b.message_id)));
        }
        Ok(channels)
    }
}

/// The parts of a key that has so many, one or two.
fn parts(key: &[u8], count: usize) -> Option<[&[u8]; 2]> {
    let (mut parts, mut rest): ([&[u8]; 2], _) = ([&[], &[]], key);
    for part in &mut parts[..count] {
        let (len, behind) = rest.split_first_chunk()?;
        (*part, rest) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    fn row(category: &'static str, parts: &[&str], payload: &[u8]) -> Row {
        let mut key = Vec::new();
        for part in parts {
            key.extend([0, part.len() as u8]);
            key.extend(part.as_bytes());
        }
        let (category, payload) = (Bytes::from(category), Bytes::copy_from_slice(payload));
        Row { category, key: key.into(), payload }
    }

    /// A message with this id and Lamport time.
    fn message(id: u8, lamport: u8) -> [u8; 8] {
        [0x0a, 1, id, 0x10, lamport, 0x22, 1, b'c']
    }

    fn channels(rows: Vec<Row>) -> Result<BTreeMap<ChannelId, ChannelData>, RowError> {
        ChannelData::from_rows(rows, &Limits::default())
    }

    #[test]
    fn rows_become_channels_with_their_logs_in_order() {
        let rows = vec![
            row("sds.log", &["c", "b"], &message(b'b', 2)),
            row("sds.log", &["c", "a"], &message(b'a', 2)),
            row("sds.log", &["c", "z"], &message(b'z', 1)),
            row("sds.log", &["d", "y"], &message(b'y', 1)),
            row("sds.meta", &["c"], &[0x08, 1, 0x10, 9]),
            row("sds.migration", &["c", "wire-v0.4"], &[1]),
            row("another", &[], &[]),
        ];
        let channels = channels(rows).unwrap();
        assert_eq!(channels.len(), 2);
        let data = &channels[&ChannelId::from("c")];
        assert_eq!(data.meta.lamport, 9);
        let ids: Vec<_> = data.messages.iter().map(|message| &message.message_id).collect();
        assert_eq!(ids, ["z", "a", "b"].map(MessageId::from).iter().collect::<Vec<_>>());
        assert_eq!(channels[&ChannelId::from("d")].messages.len(), 1);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named() {
        let key = |row: Row| Err(RowError::Key { key: row.key });
        for parts in [&["c"][..], &["c", "a", "b"]] {
            let row = row("sds.log", parts, &message(b'a', 1));
            assert_eq!(channels(vec![row.clone()]), key(row));
        }
        let long = Row { key: Bytes::from_static(&[0, 9, b'c']), ..row("sds.meta", &["c"], &[]) };
        assert_eq!(channels(vec![long.clone()]), key(long));
        let text = |rows| channels(rows).unwrap_err().to_string();
        assert_eq!(
            text(vec![row("sds.log", &["c", "a"], &[0x0a, 9])]),
            "message a of channel c cannot be read: truncated: the value at byte 1 does not end"
        );
        assert_eq!(
            text(vec![row("sds.meta", &["c"], &[0x08, 7])]),
            "the state of channel c cannot be read: unknown snapshot schema version 7"
        );
    }
}
