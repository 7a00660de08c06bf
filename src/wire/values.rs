//! From the bytes of a field to a value of ours: presence, bounds, text.

use super::error::DecodeError;
use super::message::HistoryEntryRef;
use super::reader::{Fields, bytes_tag};
use super::writer::{Encode, Sink};
use super::{WireDialect, nim};
use crate::IdRef;

const ENTRY_ID: u32 = 1;
const ENTRY_HINT: u32 = 2;
const ENTRY_SENDER: u32 = 3;

const ID_TAG: u64 = bytes_tag(ENTRY_ID);
const HINT_TAG: u64 = bytes_tag(ENTRY_HINT);
const SENDER_TAG: u64 = bytes_tag(ENTRY_SENDER);

/// The most that a message may claim of us; more is refused before anything is allocated for it.
///
/// Lengths are in bytes, counts are entries. Decoding allocates nothing but lists of
/// entries, of which the first two of a causal history need no allocation either; all the rest are
/// slices of the datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Longest id of a message, channel or participant. Default: 1024.
    pub max_id_len: usize,
    /// Longest retrieval hint. Default: 1024.
    pub max_hint_len: usize,
    /// Most entries of a causal history, and as many beside them that say more of these. Default:
    /// 1000.
    pub max_history: usize,
    /// Most repair requests in a message. Default: 256.
    pub max_repair_requests: usize,
    /// Longest content. Default: 1 MiB.
    pub max_content_len: usize,
    /// Longest bloom filter, container included. Default: 64 KiB.
    pub max_filter_len: usize,
    /// Whether the ids of messages and channels may be empty, as nim-sds lets them be. A node takes
    /// no such message in. Default: no.
    pub empty_ids: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_id_len: 1024,
            max_hint_len: 1024,
            max_history: 1000,
            max_repair_requests: 256,
            max_content_len: 1 << 20,
            max_filter_len: 64 << 10,
            empty_ids: false,
        }
    }
}

impl Limits {
    /// Whether a message with these parts is within the limits: one that comes from elsewhere than
    /// the decoder.
    pub(crate) fn admit<'a>(
        &self,
        message_id: IdRef<'_>,
        sender_id: IdRef<'_>,
        causal_history: impl ExactSizeIterator<Item = HistoryEntryRef<'a>>,
        content: &[u8],
    ) -> bool {
        let is_short = |id: IdRef<'_>| id.len() <= self.max_id_len;
        let hint_len = |named: &HistoryEntryRef<'_>| named.retrieval_hint.map_or(0, <[u8]>::len);
        is_short(message_id)
            && is_short(sender_id)
            && content.len() <= self.max_content_len
            && causal_history.len() <= self.max_history
            && causal_history.into_iter().all(|named| {
                is_short(named.message_id)
                    && is_short(named.sender_id)
                    && hint_len(&named) <= self.max_hint_len
            })
    }
}

/// Turns fields into values.
#[derive(Clone, Copy)]
pub(super) struct Values<'l> {
    pub(super) limits: &'l Limits,
    pub(super) dialect: WireDialect,
    /// Whether an id or Lamport time that is absent is empty or 0, as in what nim-sds 0.4 stores.
    pub(super) is_stored: bool,
}

impl Values<'_> {
    /// The id of a message or channel.
    pub(super) fn id<'a>(
        &self,
        field: u32,
        value: Option<&'a [u8]>,
    ) -> Result<IdRef<'a>, DecodeError> {
        let value = match value {
            None if self.is_stored => &[],
            Some([]) if self.limits.empty_ids => &[],
            value => id_bytes(self.dialect, field, value)?,
        };
        bounded(field, value, self.limits.max_id_len).map(IdRef::new)
    }

    /// The only id that may be absent or empty, which mean the same.
    pub(super) fn sender_id<'a>(
        &self,
        field: u32,
        value: Option<&'a [u8]>,
    ) -> Result<IdRef<'a>, DecodeError> {
        let value = text(self.dialect, field, value.unwrap_or_default())?;
        bounded(field, value, self.limits.max_id_len).map(IdRef::new)
    }

    pub(super) fn content<'a>(
        &self,
        field: u32,
        value: Option<&'a [u8]>,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        value.map(|value| bounded(field, value, self.limits.max_content_len)).transpose()
    }

    /// nim-sds always sends the field, and sends it empty where it has no filter.
    pub(super) fn filter<'a>(
        &self,
        field: u32,
        value: Option<&'a [u8]>,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        self.unless_empty_in_nim(value)
            .map(|value| bounded(field, value, self.limits.max_filter_len))
            .transpose()
    }

    /// The entry that has these `fields`.
    pub(super) fn entry<'a>(&self, fields: Fields<'a>) -> Result<HistoryEntryRef<'a>, DecodeError> {
        let (id, entry) = self.described(fields)?;
        Ok(HistoryEntryRef { message_id: self.id(ENTRY_ID, id)?, ..entry })
    }

    /// Returns what these `fields` say of an id that another field names. Without an id they say
    /// nothing.
    #[inline(always)]
    pub(super) fn metadata<'a>(
        &self,
        fields: Fields<'a>,
    ) -> Result<HistoryEntryRef<'a>, DecodeError> {
        let (id, entry) = self.described(fields)?;
        Ok(HistoryEntryRef { message_id: IdRef::new(id.unwrap_or_default()), ..entry })
    }

    /// An entry whose id is not judged yet.
    #[inline(always)]
    fn described<'a>(
        &self,
        mut fields: Fields<'a>,
    ) -> Result<(Option<&'a [u8]>, HistoryEntryRef<'a>), DecodeError> {
        let (mut id, mut hint, mut sender) = (None, None, None);
        loop {
            let offset = fields.offset();
            let Some(tag) = fields.tag()? else { break };
            match tag {
                ID_TAG => id = Some(fields.bytes()?),
                HINT_TAG => hint = Some(fields.bytes()?),
                SENDER_TAG => sender = Some(fields.bytes()?),
                _ => {
                    fields.field(tag, offset)?;
                }
            }
        }
        let entry = HistoryEntryRef {
            message_id: IdRef::default(),
            retrieval_hint: self
                .unless_empty_in_nim(hint)
                .map(|hint| bounded(ENTRY_HINT, hint, self.limits.max_hint_len))
                .transpose()?,
            sender_id: self.sender_id(ENTRY_SENDER, sender)?,
        };
        Ok((id, entry))
    }

    /// Reads a payload that is exactly an id and its hint, neither of them empty.
    #[inline(always)]
    pub(super) fn hint<'a>(&self, payload: &'a [u8]) -> Option<HistoryEntryRef<'a>> {
        // As good as every sender id is told from a hint by this.
        if begins_like_entry(payload) { self.hint_in(payload) } else { None }
    }

    #[inline(never)]
    fn hint_in<'a>(&self, payload: &'a [u8]) -> Option<HistoryEntryRef<'a>> {
        let (mut id, mut hint): (&[u8], &[u8]) = (&[], &[]);
        let mut fields = Fields::new(payload);
        while let Some(tag) = fields.tag().ok()? {
            match tag {
                ID_TAG => id = fields.bytes().ok()?,
                HINT_TAG => hint = fields.bytes().ok()?,
                _ => return None,
            }
        }
        let is_hint = !id.is_empty() && !hint.is_empty() && hint.len() <= self.limits.max_hint_len;
        is_hint.then_some(HistoryEntryRef {
            message_id: IdRef::new(id),
            retrieval_hint: Some(hint),
            sender_id: IdRef::default(),
        })
    }

    /// An entry that is nothing but an id.
    pub(super) fn bare_entry<'a>(&self, id: &'a [u8]) -> Result<HistoryEntryRef<'a>, DecodeError> {
        let message_id = self.id(nim::CAUSAL_HISTORY, Some(id))?;
        Ok(HistoryEntryRef { message_id, ..HistoryEntryRef::default() })
    }

    fn unless_empty_in_nim<'v>(&self, value: Option<&'v [u8]>) -> Option<&'v [u8]> {
        value.filter(|value| self.dialect == WireDialect::Lip109 || !value.is_empty())
    }
}

const fn bounded(field: u32, value: &[u8], max: usize) -> Result<&[u8], DecodeError> {
    if value.len() > max {
        return Err(DecodeError::TooLong { field, len: value.len(), max });
    }
    Ok(value)
}

/// Refuses an entry too many before it is decoded.
pub(super) const fn room_for_one(field: u32, len: usize, max: usize) -> Result<(), DecodeError> {
    if len < max { Ok(()) } else { Err(DecodeError::TooMany { field, max }) }
}

/// The bytes of an id that must be there and not be empty.
pub(super) fn id_bytes(
    dialect: WireDialect,
    field: u32,
    value: Option<&[u8]>,
) -> Result<&[u8], DecodeError> {
    match value {
        None => Err(DecodeError::MissingField { field }),
        Some([]) => Err(DecodeError::EmptyId { field }),
        Some(value) => text(dialect, field, value),
    }
}

/// LIP-109 declares ids to be strings, which makes decoders check that they are UTF-8; nim-sds
/// takes any bytes.
fn text(dialect: WireDialect, field: u32, value: &[u8]) -> Result<&[u8], DecodeError> {
    if dialect == WireDialect::Lip109 && core::str::from_utf8(value).is_err() {
        return Err(DecodeError::NotUtf8 { field });
    }
    Ok(value)
}

/// Whether a bare id could be taken for an entry, which begins with one of its three fields.
pub(crate) const fn begins_like_entry(id: &[u8]) -> bool {
    matches!(id, [0x0a | 0x12 | 0x1a, ..])
}

/// An entry in the encoding of a dialect.
pub(crate) struct Entry<'a>(pub(crate) HistoryEntryRef<'a>, pub(crate) WireDialect);

impl Encode for Entry<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        let Self(entry, dialect) = *self;
        sink.bytes(ENTRY_ID, entry.message_id.as_bytes());
        if let Some(hint) = entry.retrieval_hint
            && (dialect == WireDialect::Lip109 || !hint.is_empty())
        {
            sink.bytes(ENTRY_HINT, hint);
        }
        if !entry.sender_id.is_empty() {
            sink.bytes(ENTRY_SENDER, entry.sender_id.as_bytes());
        }
    }
}
