//! The dialect of nim-sds, in its four forms.
//!
//! nim-sds has changed how a causal history is written, and what else a message holds:
//!
//! | form | 3, for each entry | 7 | 8 | 13 | 5 and 6, when empty |
//! | --- | --- | --- | --- | --- | --- |
//! | [`V02`](NimForm::V02) | its id | | | | are there |
//! | [`V030`](NimForm::V030) | id, hint and sender as a message | sender id | | requests | are there |
//! | [`V033`](NimForm::V033) | its id | after each 3 that has a hint: id and hint | | | are there |
//! | [`V04`](NimForm::V04) | its id | sender id | for each entry with hint or sender: all three | requests | are left out |
//!
//! A message does not say its form; its shape does. Field 8 is of `V04` only. Otherwise a field 3
//! that begins as an entry does makes it `V030`: no id in use begins with a control character.
//! Otherwise fields 7 that are all ids and hints of ids in fields 3 make it `V033`, and any other
//! field 7 is a sender. What has no field 7 either is the same in three forms, and counts as `V02`.

use alloc::vec;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::error::DecodeError;
use super::message::{HistoryEntryRef, MessageRef, Outgoing};
use super::reader::{Fields, bytes_tag, number_tag};
use super::values::{Entry, Limits, Values, begins_like_entry, room_for_one};
use super::writer::{Encode, Sink};
use super::{NimForm, WireDialect};
use crate::IdRef;

const MESSAGE_ID: u32 = 1;
const LAMPORT: u32 = 2;
pub(super) const CAUSAL_HISTORY: u32 = 3;
pub(super) const CHANNEL_ID: u32 = 4;
const CONTENT: u32 = 5;
const BLOOM_FILTER: u32 = 6;
const SENDER_ID: u32 = 7;
/// In [`NimForm::V033`].
const HINT: u32 = 7;
const METADATA: u32 = 8;
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
    pub(super) const METADATA: u64 = bytes_tag(super::METADATA);
    pub(super) const REPAIR_REQUEST: u64 = bytes_tag(super::REPAIR_REQUEST);
}

/// A message from a peer.
pub(super) fn decode<'a>(
    datagram: &'a [u8],
    limits: &Limits,
) -> Result<MessageRef<'a>, DecodeError> {
    let values = Values { limits, dialect: WireDialect::NimSds, is_stored: false };
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
    let whole = fields;
    let mut history = History::new();
    let (mut hints, mut only_hints) = (History::new(), true);
    // Metadata in another order than the ids, how much there is in all, and the next id for it.
    let (mut astray, mut described, mut next) = (History::new(), 0, 0);
    let mut has_entries = false;
    let mut repair_request = Vec::new();
    'fields: loop {
        let offset = fields.offset();
        let Some(tag) = fields.tag()? else { break };
        match tag {
            tag::MESSAGE_ID => message_id = Some(fields.bytes()?),
            tag::LAMPORT => lamport = Some(fields.varint()?),
            tag::CAUSAL_HISTORY => {
                room_for_one(CAUSAL_HISTORY, history.len(), limits.max_history)?;
                let payload = fields.bytes()?;
                // The kind of the payload can be told once all fields are known.
                let entry = begins_like_entry(payload);
                has_entries |= entry;
                history.push(if entry { unjudged(payload) } else { values.bare_entry(payload)? });
            }
            tag::CHANNEL_ID => channel_id = Some(fields.bytes()?),
            tag::CONTENT => content = Some(fields.bytes()?),
            tag::BLOOM_FILTER => bloom_filter = Some(fields.bytes()?),
            tag::SENDER_ID => {
                let payload = fields.bytes()?;
                sender_id = Some(payload);
                only_hints &= hints.len() < limits.max_history;
                match values.hint(payload) {
                    Some(hint) if only_hints => hints.push(hint),
                    _ => only_hints = false,
                }
            }
            tag::METADATA => {
                room_for_one(METADATA, described, limits.max_history)?;
                described += 1;
                let payload = fields.bytes()?;
                let said = values.metadata(fields.nested(payload))?;
                // Metadata after something astray is so as well, for the last of several counts.
                if astray.is_empty() {
                    while let Some(named) = history.get_mut(next) {
                        next += 1;
                        if describes(&said, named) {
                            continue 'fields;
                        }
                    }
                }
                astray.push(said);
            }
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
    if has_entries {
        judge(values, whole, &mut history, described == 0)?;
    }
    let form = if described > 0 {
        if !astray.is_empty() {
            describe(&mut history, &mut astray);
        }
        NimForm::V04
    } else if has_entries {
        NimForm::V030
    } else if sender_id.is_none() {
        NimForm::V02
    } else if only_hints && describe(&mut history, &mut hints) {
        sender_id = None;
        NimForm::V033
    } else {
        history.iter_mut().for_each(|named| named.retrieval_hint = None);
        NimForm::V04
    };
    Ok(MessageRef {
        sender_id: values.sender_id(SENDER_ID, sender_id)?,
        message_id: values.id(MESSAGE_ID, message_id)?,
        channel_id: values.id(CHANNEL_ID, channel_id)?,
        lamport: match lamport {
            None if values.is_stored => Some(0),
            None => return Err(DecodeError::MissingField { field: LAMPORT }),
            lamport => lamport,
        },
        causal_history: history,
        bloom_filter: values.filter(BLOOM_FILTER, bloom_filter)?,
        repair_request,
        content: Some(values.content(CONTENT, content)?.unwrap_or_default()),
        nim_form: Some(form),
    })
}

type History<'a> = SmallVec<[HistoryEntryRef<'a>; 2]>;

/// An id or an entry.
fn unjudged(payload: &[u8]) -> HistoryEntryRef<'_> {
    HistoryEntryRef { message_id: IdRef::new(payload), ..HistoryEntryRef::default() }
}

/// Judges those of the `history` that begin like entries: they are, or all are ids.
fn judge<'a>(
    values: &Values<'_>,
    whole: Fields<'a>,
    history: &mut [HistoryEntryRef<'a>],
    are_entries: bool,
) -> Result<(), DecodeError> {
    for named in history {
        let payload = named.message_id.as_bytes();
        if begins_like_entry(payload) {
            if are_entries {
                *named = values.entry(whole.within(payload))?;
            } else {
                values.bare_entry(payload)?;
            }
        }
    }
    Ok(())
}

/// Whether what is `said` is of the entry `named`, to which it is added then. Most ids that differ
/// do in their last byte.
#[inline(always)]
fn describes<'a>(said: &HistoryEntryRef<'a>, named: &mut HistoryEntryRef<'a>) -> bool {
    let (a, b) = (said.message_id.as_bytes(), named.message_id.as_bytes());
    let is_same = a.last() == b.last() && a == b;
    if is_same {
        (named.retrieval_hint, named.sender_id) = (said.retrieval_hint, said.sender_id);
    }
    is_same
}

/// Adds to the `history` what `metadata` says of its ids, the last of several for one id; and
/// whether all of them are for ids of the history.
fn describe<'a>(history: &mut [HistoryEntryRef<'a>], metadata: &mut History<'a>) -> bool {
    /// As many are compared to each id of a history.
    const FEW: usize = 8;
    if metadata.len() <= FEW {
        let mut used = 0_u8;
        for named in history {
            for (bit, said) in metadata.iter().enumerate() {
                used |= u8::from(describes(said, named)) << bit;
            }
        }
        return used.count_ones() as usize == metadata.len();
    }
    // Their order is stable: the last for an id stays the last.
    metadata.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    let mut used = vec![false; metadata.len()];
    for named in history {
        let end = metadata.partition_point(|said| said.message_id <= named.message_id);
        let last = end.checked_sub(1).and_then(|last| Some((last, metadata.get(last)?)));
        if let Some((last, said)) = last {
            used[last] |= describes(said, named);
        }
    }
    let is_for_next = |at: usize| metadata[at].message_id == metadata[at + 1].message_id;
    for at in (0..metadata.len() - 1).rev() {
        used[at] |= used[at + 1] && is_for_next(at);
    }
    !used.contains(&false)
}

impl NimForm {
    /// Whether readers of this form take the id for what it is: a bare one must not begin like an
    /// entry. [`V04`](Self::V04) can say that there are none.
    pub(crate) const fn can_name(self, id: &[u8]) -> bool {
        match self {
            Self::V02 | Self::V033 => !begins_like_entry(id),
            Self::V030 | Self::V04 => true,
        }
    }
}

/// A message in this dialect: id, time and channel always, even when empty.
pub(super) struct Encoding<'a>(pub(super) &'a Outgoing<'a>);

impl Encoding<'_> {
    /// Whether field 8 has something to say of an entry: its hint or sender, or else that nothing
    /// here is of another form.
    fn needs_metadata(&self, named: &HistoryEntryRef<'_>) -> bool {
        named.retrieval_hint.is_some_and(|hint| !hint.is_empty())
            || !named.sender_id.is_empty()
            || begins_like_entry(named.message_id.as_bytes())
            || begins_like_entry(self.0.sender_id)
    }
}

impl Encode for Encoding<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        let message = self.0;
        let form = message.nim_form;
        let sends_empty = form != NimForm::V04;
        sink.bytes(MESSAGE_ID, message.message_id);
        sink.number(LAMPORT, message.lamport.unwrap_or(0));
        for entry in message.causal_history {
            if form == NimForm::V030 {
                sink.nested(CAUSAL_HISTORY, &Entry(*entry, WireDialect::NimSds));
                continue;
            }
            sink.bytes(CAUSAL_HISTORY, entry.message_id.as_bytes());
            let hint = entry.retrieval_hint.is_some_and(|hint| !hint.is_empty());
            if form == NimForm::V033 && hint {
                let hint = HistoryEntryRef { sender_id: IdRef::default(), ..*entry };
                sink.nested(HINT, &Entry(hint, WireDialect::NimSds));
            }
        }
        sink.bytes(CHANNEL_ID, message.channel_id);
        let content = message.content.unwrap_or_default();
        if sends_empty || !content.is_empty() {
            sink.bytes(CONTENT, content);
        }
        let filter_len = message.filter.encoded_len();
        if sends_empty || filter_len > 0 {
            sink.length(BLOOM_FILTER, filter_len);
            message.filter.write(sink);
        }
        if !form.is_complete() {
            return;
        }
        if !message.sender_id.is_empty() {
            sink.bytes(SENDER_ID, message.sender_id);
        }
        if form == NimForm::V04 {
            for entry in message.causal_history.iter().filter(|entry| self.needs_metadata(entry)) {
                sink.nested(METADATA, &Entry(*entry, WireDialect::NimSds));
            }
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
    fn the_first_byte_tells_an_entry_from_a_bare_id() {
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
        assert_eq!(decoded(&[MESSAGE, &[0x1a, 0]]), Err(DecodeError::EmptyId { field: 3 }));
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
        for (field, range) in [(1, 0..3), (2, 3..5), (4, 5..8)] {
            let mut bytes = MESSAGE.to_vec();
            bytes.drain(range);
            assert_eq!(decoded(&[&bytes]), Err(DecodeError::MissingField { field }));
        }
    }

    const ID: &[u8] = &[0x1a, 1, b'a'];
    const HINT_OF_A: &[u8] = &[0x3a, 6, 0x0a, 1, b'a', 0x12, 1, b'h'];
    const METADATA_OF_A: &[u8] = &[0x42, 6, 0x0a, 1, b'a', 0x1a, 1, b's'];

    fn form(parts: &[&[u8]]) -> Option<NimForm> {
        decoded(&[&[MESSAGE], parts].concat()).expect("a message").nim_form
    }

    #[test]
    fn the_shape_of_a_message_tells_its_form() {
        assert_eq!(form(&[ID]), Some(NimForm::V02));
        assert_eq!(form(&[ID, &[0x1a, 3, 0x0a, 1, b'e']]), Some(NimForm::V030));
        assert_eq!(form(&[ID, HINT_OF_A]), Some(NimForm::V033));
        assert_eq!(form(&[HINT_OF_A, HINT_OF_A, ID]), Some(NimForm::V033));
        assert_eq!(form(&[ID, METADATA_OF_A]), Some(NimForm::V04));
        assert_eq!(form(&[ID, &[0x42, 0]]), Some(NimForm::V04));
        assert_eq!(form(&[ID, HINT_OF_A, &[0x3a, 1, b's']]), Some(NimForm::V04), "a sender");
        assert_eq!(form(&[HINT_OF_A]), Some(NimForm::V04), "a sender: nobody names a");
    }

    #[test]
    fn a_sender_like_a_hint_leaves_no_hint_behind() {
        let message = decoded(&[MESSAGE, ID, HINT_OF_A, &[0x3a, 1, b's']]).unwrap();
        assert_eq!(message.causal_history[0].retrieval_hint, None);
        assert_eq!(message.sender_id.as_bytes(), b"s");
    }

    #[test]
    fn field_8_makes_bare_ids_of_what_begins_like_entries() {
        let odd: &[u8] = &[0x1a, 3, 0x0a, 1, b'a'];
        let message = decoded(&[MESSAGE, odd, METADATA_OF_A, &[0x42, 5, 0x0a, 3, 0x0a, 1, b'a']]);
        let named = message.unwrap().causal_history.into_vec();
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].message_id.as_bytes(), [0x0a, 1, b'a']);
        assert!(named[0].sender_id.is_empty());
    }

    #[test]
    fn many_hints_in_any_order_find_their_ids() {
        let ids = |n: u8| [0x1a, 1, b'a' + n];
        let hint = |n: u8, hint: u8| [0x3a, 6, 0x0a, 1, b'a' + n, 0x12, 1, hint];
        let mut bytes = MESSAGE.to_vec();
        (0..20).for_each(|n| bytes.extend(ids(n)));
        (0..20).for_each(|n| bytes.extend(hint(n, b'x')));
        (0..20).rev().for_each(|n| bytes.extend(hint(n, n)));
        let message = decoded(&[&bytes]).unwrap();
        assert_eq!(message.nim_form, Some(NimForm::V033));
        for (n, named) in (0_u8..).zip(&message.causal_history) {
            assert_eq!(named.retrieval_hint.as_deref(), Some(&[n][..]), "the last counts");
        }
        // One that nobody names, and all are senders.
        let message = decoded(&[&bytes, &hint(21, b'x')]).unwrap();
        assert_eq!(message.nim_form, Some(NimForm::V04));
        assert!(message.causal_history.iter().all(|named| named.retrieval_hint.is_none()));
    }

    #[test]
    fn no_more_metadata_is_taken_than_entries() {
        let limits = Limits { max_history: 2, ..Limits::default() };
        let decoded = |parts: &[&[u8]]| {
            let bytes = Bytes::from([&[MESSAGE, ID], parts].concat().concat());
            wire::decode_as(WireDialect::NimSds, &bytes, &limits)
        };
        assert!(decoded(&[METADATA_OF_A; 2]).is_ok());
        let refused = DecodeError::TooMany { field: 8, max: 2 };
        assert_eq!(decoded(&[METADATA_OF_A; 3]), Err(refused));
        // Of hints so many are none: the last is a sender.
        assert_eq!(decoded(&[HINT_OF_A; 3]).unwrap().nim_form, Some(NimForm::V04));
    }

    #[test]
    fn what_is_absent_is_empty() {
        let message = decoded(&[&MESSAGE[..8]]).unwrap();
        assert_eq!(message.content, Some(Bytes::new()));
        assert_eq!((message.bloom_filter, message.sender_id.is_empty()), (None, true));
    }

    #[test]
    fn a_field_of_the_wrong_wire_type_is_absent_unless_it_told_the_dialect() {
        let skipped: &[u8] = &[0x08, 0, 0x18, 0, 0x20, 0, 0x28, 0, 0x30, 0, 0x38, 0, 0x68, 0];
        assert_eq!(decoded(&[MESSAGE, skipped]), decoded(&[MESSAGE]));
        let refused = DecodeError::WireType { field: 2, wire_type: 2, offset: 11 };
        assert_eq!(decoded(&[MESSAGE, &[0x12, 0]]), Err(refused));
    }
}
