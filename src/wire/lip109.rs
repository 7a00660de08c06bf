//! The dialect of the LIP-109 specification, as `@waku/sds` speaks it.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::WireDialect;
use super::error::DecodeError;
use super::filter::FilterField;
use super::message::{MessageRef, Outgoing};
use super::reader::{Fields, bytes_tag, number_tag};
use super::values::{Entry, Limits, Values, room_for_one};
use super::writer::{Encode, Sink};

const SENDER_ID: u32 = 1;
const MESSAGE_ID: u32 = 2;
pub(super) const CHANNEL_ID: u32 = 3;
const LAMPORT: u32 = 10;
const CAUSAL_HISTORY: u32 = 11;
const BLOOM_FILTER: u32 = 12;
const REPAIR_REQUEST: u32 = 13;
const CONTENT: u32 = 20;

/// The fields' tags.
mod tag {
    use super::{bytes_tag, number_tag};

    pub(super) const SENDER_ID: u64 = bytes_tag(super::SENDER_ID);
    pub(super) const MESSAGE_ID: u64 = bytes_tag(super::MESSAGE_ID);
    pub(super) const CHANNEL_ID: u64 = bytes_tag(super::CHANNEL_ID);
    pub(super) const LAMPORT: u64 = number_tag(super::LAMPORT);
    pub(super) const CAUSAL_HISTORY: u64 = bytes_tag(super::CAUSAL_HISTORY);
    pub(super) const BLOOM_FILTER: u64 = bytes_tag(super::BLOOM_FILTER);
    pub(super) const REPAIR_REQUEST: u64 = bytes_tag(super::REPAIR_REQUEST);
    pub(super) const CONTENT: u64 = bytes_tag(super::CONTENT);
}

/// A known field of the wrong wire type is skipped like an unknown one, which is what protobuf's
/// own decoders do; the exception is the field by which the dialect was told.
pub(super) fn decode<'a>(
    datagram: &'a [u8],
    limits: &Limits,
) -> Result<MessageRef<'a>, DecodeError> {
    let values = Values { limits, dialect: WireDialect::Lip109, is_stored: false };
    let (mut sender_id, mut message_id, mut channel_id) = (None, None, None);
    let (mut lamport, mut bloom_filter, mut content) = (None, None, None);
    let mut causal_history = SmallVec::new();
    let mut repair_request = Vec::new();
    let mut fields = Fields::new(datagram);
    loop {
        let offset = fields.offset();
        let Some(tag) = fields.tag()? else { break };
        match tag {
            tag::SENDER_ID => sender_id = Some(fields.bytes()?),
            tag::MESSAGE_ID => message_id = Some(fields.bytes()?),
            tag::CHANNEL_ID => channel_id = Some(fields.bytes()?),
            tag::LAMPORT => lamport = Some(fields.varint()?),
            tag::CAUSAL_HISTORY => {
                room_for_one(CAUSAL_HISTORY, causal_history.len(), limits.max_history)?;
                let payload = fields.bytes()?;
                causal_history.push(values.entry(fields.nested(payload))?);
            }
            tag::BLOOM_FILTER => bloom_filter = Some(fields.bytes()?),
            tag::REPAIR_REQUEST => {
                room_for_one(REPAIR_REQUEST, repair_request.len(), limits.max_repair_requests)?;
                let payload = fields.bytes()?;
                repair_request.push(values.entry(fields.nested(payload))?);
            }
            tag::CONTENT => content = Some(fields.bytes()?),
            _ => {
                let field = fields.field(tag, offset)?;
                if field.number == MESSAGE_ID {
                    return Err(field.wrong_wire_type());
                }
            }
        }
    }
    if lamport.is_none() && content.is_none_or(<[u8]>::is_empty) {
        return Err(DecodeError::NoKind);
    }
    Ok(MessageRef {
        sender_id: values.sender_id(SENDER_ID, sender_id)?,
        message_id: values.id(MESSAGE_ID, message_id)?,
        channel_id: values.id(CHANNEL_ID, channel_id)?,
        lamport,
        causal_history,
        bloom_filter: values.filter(BLOOM_FILTER, bloom_filter)?,
        repair_request,
        content: values.content(CONTENT, content)?,
        nim_form: None,
    })
}

/// A message in this dialect: what is not set is left out.
pub(super) struct Encoding<'a>(pub(super) &'a Outgoing<'a>);

impl Encode for Encoding<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        let message = self.0;
        let ids = [message.sender_id, message.message_id, message.channel_id];
        for (field, id) in [SENDER_ID, MESSAGE_ID, CHANNEL_ID].into_iter().zip(ids) {
            if !id.is_empty() {
                sink.bytes(field, id);
            }
        }
        if let Some(lamport) = message.lamport {
            sink.number(LAMPORT, lamport);
        }
        for entry in message.causal_history {
            sink.nested(CAUSAL_HISTORY, &Entry(*entry, WireDialect::Lip109));
        }
        if message.filter != FilterField::Absent {
            sink.nested(BLOOM_FILTER, &message.filter);
        }
        for entry in message.repair_request {
            sink.nested(REPAIR_REQUEST, &Entry(*entry, WireDialect::Lip109));
        }
        if let Some(content) = message.content {
            sink.bytes(CONTENT, content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Kind, Message};
    use bytes::{Bytes, BytesMut};

    /// Message "m" of channel "c", still without time or content.
    const IDS: &[u8] = &[0x12, 1, b'm', 0x1a, 1, b'c'];
    const TIME: &[u8] = &[0x50, 7];
    const CONTENT_X: &[u8] = &[0xa2, 1, 1, b'x'];

    fn decoded(parts: &[&[u8]]) -> Result<Message, DecodeError> {
        wire::decode_as(WireDialect::Lip109, &Bytes::from(parts.concat()), &Limits::default())
    }

    fn encoded(message: &Message) -> BytesMut {
        let mut buffer = BytesMut::new();
        Encoding(&message.borrowed().as_outgoing()).append_to(&mut buffer);
        buffer
    }

    #[test]
    fn neither_time_nor_content_is_no_message() {
        assert_eq!(decoded(&[IDS, TIME, CONTENT_X]).unwrap().kind(), Kind::Content);
        assert_eq!(decoded(&[IDS, TIME]).unwrap().kind(), Kind::Sync);
        assert_eq!(decoded(&[IDS, CONTENT_X]).unwrap().kind(), Kind::Ephemeral);
        assert_eq!(decoded(&[IDS]), Err(DecodeError::NoKind));
        assert_eq!(decoded(&[IDS, &[0xa2, 1, 0]]), Err(DecodeError::NoKind));
    }

    #[test]
    fn empty_and_absent_stay_apart_where_the_dialect_can_say_both() {
        // Empty content, an empty filter, and an entry with an empty hint.
        let empty: &[u8] = &[0x5a, 5, 0x0a, 1, b'e', 0x12, 0, 0x62, 0, 0xa2, 1, 0];
        let message = decoded(&[IDS, TIME, empty]).unwrap();
        assert_eq!(message.kind(), Kind::Sync);
        assert_eq!(message.causal_history[0].retrieval_hint, Some(Bytes::new()));
        assert_eq!(message.bloom_filter, Some(Bytes::new()));
        assert_eq!(encoded(&message), [IDS, TIME, empty].concat());
    }

    #[test]
    fn message_and_channel_need_ids() {
        let missing = |field| Err(DecodeError::MissingField { field });
        assert_eq!(decoded(&[&IDS[..3], TIME]), missing(CHANNEL_ID));
        assert_eq!(decoded(&[&IDS[3..], TIME]), missing(MESSAGE_ID));
        assert_eq!(decoded(&[IDS, TIME, &[0x5a, 0]]), missing(1));
        let empty = |field| Err(DecodeError::EmptyId { field });
        assert_eq!(decoded(&[IDS, TIME, &[0x12, 0]]), empty(MESSAGE_ID));
        assert_eq!(decoded(&[IDS, TIME, &[0x1a, 0]]), empty(CHANNEL_ID));
        assert_eq!(decoded(&[IDS, TIME, &[0x6a, 2, 0x0a, 0]]), empty(1));
    }

    #[test]
    fn ids_are_text() {
        for field in [SENDER_ID, MESSAGE_ID, CHANNEL_ID] {
            let not_text = [(field << 3 | 2) as u8, 1, 0xff];
            assert_eq!(decoded(&[IDS, TIME, &not_text]), Err(DecodeError::NotUtf8 { field }));
        }
        let entry = [0x5a, 6, 0x0a, 1, b'e', 0x1a, 1, 0xff];
        assert_eq!(decoded(&[IDS, TIME, &entry]), Err(DecodeError::NotUtf8 { field: 3 }));
    }

    #[test]
    fn a_field_of_the_wrong_wire_type_is_skipped_unless_it_told_the_dialect() {
        let plain = decoded(&[IDS, CONTENT_X]);
        let skipped: &[u8] = &[0x08, 0, 0x18, 0, 0x52, 0, 0x58, 0, 0x60, 0, 0x68, 0, 0xa0, 1, 0];
        assert_eq!(decoded(&[IDS, CONTENT_X, skipped]), plain);
        let refused = DecodeError::WireType { field: 2, wire_type: 0, offset: 6 };
        assert_eq!(decoded(&[IDS, &[0x10, 0], CONTENT_X]), Err(refused));
    }

    #[test]
    fn the_last_of_several_wins() {
        let message = decoded(&[IDS, TIME, CONTENT_X, &[0x50, 8], &[0xa2, 1, 1, b'y']]).unwrap();
        assert_eq!((message.lamport, message.content), (Some(8), Some(Bytes::from("y"))));
    }
}
