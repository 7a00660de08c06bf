//! The dialect of nim-sds.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::WireDialect;
use super::error::DecodeError;
use super::message::{HistoryEntryRef, MessageRef, Outgoing};
use super::reader::{Fields, bytes_tag, number_tag};
use super::values::{Entry, Limits, Values, room_for_one};
use super::writer::{Encode, Sink};

const MESSAGE_ID: u32 = 1;
const LAMPORT: u32 = 2;
const CAUSAL_HISTORY: u32 = 3;
pub(super) const CHANNEL_ID: u32 = 4;
const CONTENT: u32 = 5;
const BLOOM_FILTER: u32 = 6;
const SENDER_ID: u32 = 7;
const REPAIR_REQUEST: u32 = 13;

/// The fields' tags.
mod tag {
    use super::{bytes_tag, number_tag};

    pub(super) const MESSAGE_ID: u64 = bytes_tag(super::MESSAGE_ID);
    pub(super) const LAMPORT: u64 = number_tag(super::LAMPORT);
    pub(super) const CAUSAL_HISTORY: u64 = bytes_tag(super::CAUSAL_HISTORY);
    pub(super) const CHANNEL_ID: u64 = bytes_tag(super::CHANNEL_ID);
    pub(super) const CONTENT: u64 = bytes_tag(super::CONTENT);
    pub(super) const BLOOM_FILTER: u64 = bytes_tag(super::BLOOM_FILTER);
    pub(super) const SENDER_ID: u64 = bytes_tag(super::SENDER_ID);
    pub(super) const REPAIR_REQUEST: u64 = bytes_tag(super::REPAIR_REQUEST);
}

/// A message from a peer.
pub(super) fn decode<'a>(
    datagram: &'a [u8],
    limits: &Limits,
) -> Result<MessageRef<'a>, DecodeError> {
    let values = Values { limits, dialect: WireDialect::NimSds };
    decode_fields(&values, Fields::new(datagram))
}

/// A message of these `fields`.
///
/// A known field of the wrong wire type counts as absent, as it does for nim-sds; the exception is
/// the field by which the dialect was told.
pub(super) fn decode_fields<'a>(
    values: &Values<'_>,
    mut fields: Fields<'a>,
) -> Result<MessageRef<'a>, DecodeError> {
    let limits = values.limits;
    let (mut sender_id, mut message_id, mut channel_id) = (None, None, None);
    let (mut lamport, mut bloom_filter, mut content) = (None, None, None);
    let mut causal_history = SmallVec::new();
    let mut repair_request = Vec::new();
    loop {
        let offset = fields.offset();
        let Some(tag) = fields.tag()? else { break };
        match tag {
            tag::MESSAGE_ID => message_id = Some(fields.bytes()?),
            tag::LAMPORT => lamport = Some(fields.varint()?),
            tag::CAUSAL_HISTORY => {
                room_for_one(CAUSAL_HISTORY, causal_history.len(), limits.max_history)?;
                let payload = fields.bytes()?;
                causal_history.push(causal_entry(values, fields.nested(payload), payload)?);
            }
            tag::CHANNEL_ID => channel_id = Some(fields.bytes()?),
            tag::CONTENT => content = Some(fields.bytes()?),
            tag::BLOOM_FILTER => bloom_filter = Some(fields.bytes()?),
            tag::SENDER_ID => sender_id = Some(fields.bytes()?),
            tag::REPAIR_REQUEST => {
                room_for_one(REPAIR_REQUEST, repair_request.len(), limits.max_repair_requests)?;
                let payload = fields.bytes()?;
                repair_request.push(values.entry(fields.nested(payload))?);
            }
            _ => {
                let field = fields.field(tag, offset)?;
                if field.number == LAMPORT {
                    return Err(field.wrong_wire_type());
                }
            }
        }
    }
    let missing = |field| DecodeError::MissingField { field };
    Ok(MessageRef {
        sender_id: values.sender_id(SENDER_ID, sender_id)?,
        message_id: values.id(MESSAGE_ID, message_id)?,
        channel_id: values.id(CHANNEL_ID, channel_id)?,
        lamport: Some(lamport.ok_or_else(|| missing(LAMPORT))?),
        causal_history,
        bloom_filter: values.filter(BLOOM_FILTER, bloom_filter)?,
        repair_request,
        content: Some(values.content(CONTENT, content)?.ok_or_else(|| missing(CONTENT))?),
    })
}

/// Old versions of nim-sds sent the ids themselves where an entry is now. What begins like one of an
/// entry's three fields is an entry, and anything else an id.
fn causal_entry<'a>(
    values: &Values<'_>,
    fields: Fields<'a>,
    payload: &'a [u8],
) -> Result<HistoryEntryRef<'a>, DecodeError> {
    match payload {
        [] | [0x0a | 0x12 | 0x1a, ..] => values.entry(fields),
        id => values.bare_entry(CAUSAL_HISTORY, id),
    }
}

/// A message in this dialect: id, time, channel, content and filter always, even when empty.
pub(super) struct Encoding<'a>(pub(super) &'a Outgoing<'a>);

impl Encode for Encoding<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        let message = self.0;
        sink.bytes(MESSAGE_ID, message.message_id);
        sink.number(LAMPORT, message.lamport.unwrap_or(0));
        for entry in message.causal_history {
            sink.nested(CAUSAL_HISTORY, &Entry(*entry, WireDialect::NimSds));
        }
        sink.bytes(CHANNEL_ID, message.channel_id);
        sink.bytes(CONTENT, message.content.unwrap_or_default());
        sink.nested(BLOOM_FILTER, &message.filter);
        if !message.sender_id.is_empty() {
            sink.bytes(SENDER_ID, message.sender_id);
        }
        for entry in message.repair_request {
            sink.nested(REPAIR_REQUEST, &Entry(*entry, WireDialect::NimSds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, WireDialect};
    use crate::{MessageId, wire};
    use bytes::Bytes;

    /// Message "m" of channel "c", at time 7, with content "x".
    const MESSAGE: &[u8] = &[0x0a, 1, b'm', 0x10, 7, 0x22, 1, b'c', 0x2a, 1, b'x'];

    fn decoded(parts: &[&[u8]]) -> Result<Message, DecodeError> {
        wire::decode_as(WireDialect::NimSds, &Bytes::from(parts.concat()), &Limits::default())
    }

    #[test]
    fn the_first_byte_tells_an_entry_from_the_bare_id_of_old_versions() {
        let message = decoded(&[MESSAGE, &[0x1a, 2, b'i', b'd', 0x1a, 3, 0x0a, 1, b'e']]).unwrap();
        let ids: Vec<_> = message.causal_history.iter().map(|entry| &entry.message_id).collect();
        assert_eq!(ids, ["id", "e"].map(MessageId::from).iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_begins_like_an_entry_must_be_one() {
        for first in [0x0a, 0x12, 0x1a] {
            assert!(decoded(&[MESSAGE, &[0x1a, 1, first]]).is_err());
            assert!(decoded(&[MESSAGE, &[0x1a, 2, first, 0]]).is_err());
        }
        assert_eq!(decoded(&[MESSAGE, &[0x1a, 0]]), Err(DecodeError::MissingField { field: 1 }));
    }

    #[test]
    fn repair_requests_are_never_bare_ids() {
        assert!(decoded(&[MESSAGE, &[0x6a, 2, b'i', b'd']]).is_err());
    }

    #[test]
    fn an_empty_hint_or_filter_is_none() {
        let message = decoded(&[MESSAGE, &[0x32, 0, 0x1a, 5, 0x0a, 1, b'e', 0x12, 0]]).unwrap();
        assert_eq!(message.bloom_filter, None);
        assert_eq!(message.causal_history[0].retrieval_hint, None);
    }

    #[test]
    fn each_required_field_is_missed() {
        for (field, range) in [(1, 0..3), (2, 3..5), (4, 5..8), (5, 8..11)] {
            let mut bytes = MESSAGE.to_vec();
            bytes.drain(range);
            assert_eq!(decoded(&[&bytes]), Err(DecodeError::MissingField { field }));
        }
    }

    #[test]
    fn a_field_of_the_wrong_wire_type_is_absent_unless_it_told_the_dialect() {
        let skipped: &[u8] = &[0x08, 0, 0x18, 0, 0x20, 0, 0x28, 0, 0x30, 0, 0x38, 0, 0x68, 0];
        assert_eq!(decoded(&[MESSAGE, skipped]), decoded(&[MESSAGE]));
        let refused = DecodeError::WireType { field: 2, wire_type: 2, offset: 11 };
        assert_eq!(decoded(&[MESSAGE, &[0x12, 0]]), Err(refused));
    }
}
