//! Messages as we might send them.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Source;
use super::decode::survives_another_trip;
use crate::wire::{
    self, FilterField, HistoryEntry, HistoryEntryRef, Limits, NimForm, Outgoing, WireDialect,
};
use crate::{MessageId, ParticipantId};

/// Any message that a dialect can say decodes to what was encoded, less what its form leaves out:
/// in each form the same ids.
pub fn roundtrip(data: &[u8]) {
    let mut source = Source(data);
    let kind = source.byte();
    let dialect = if kind.is_multiple_of(2) { WireDialect::Lip109 } else { WireDialect::NimSds };
    let forms = [NimForm::V04, NimForm::V030, NimForm::V033, NimForm::V02];
    let nim_form = forms[usize::from(kind / 2) % forms.len()];
    let is_complete = dialect == WireDialect::Lip109 || nim_form.is_complete();
    let lamport = source.number(8);
    let (message_id, channel_id) = (name(&mut source, dialect), name(&mut source, dialect));
    let sender_id = text(source.short(), dialect);
    let (content, filter) = (source.short(), source.short());
    let is_ephemeral = dialect == WireDialect::Lip109 && kind >= 128 && !content.is_empty();
    let lamport = (!is_ephemeral).then_some(lamport);
    let mut history = entries(&mut source, dialect);
    if dialect == WireDialect::NimSds {
        let mut seen = BTreeSet::new();
        history.retain(|named| {
            let id = &named.message_id;
            nim_form.can_name(id.as_bytes()) && seen.insert(id.clone())
        });
    }
    let mut requests = entries(&mut source, dialect);
    let message = Outgoing {
        sender_id: &sender_id,
        message_id: &message_id,
        channel_id: &channel_id,
        lamport,
        causal_history: &borrowed(&history),
        filter: if filter.is_empty() { FilterField::Absent } else { FilterField::Bytes(filter) },
        repair_request: &borrowed(&requests),
        content: Some(content),
        nim_form,
    };
    let mut buffer = BytesMut::new();
    message.encode(dialect, &mut buffer);
    assert_eq!(buffer.len(), message.encoded_len(dialect));
    let (detected, decoded) =
        wire::decode(&buffer.freeze(), &Limits::default()).expect("the dialect can say it");
    assert_eq!(detected, dialect);
    let said: Vec<_> = history.iter().map(|named| named.message_id.clone()).collect();
    let read: Vec<_> =
        decoded.causal_history.iter().map(|named| named.message_id.clone()).collect();
    assert_eq!(read, said);
    if dialect == WireDialect::NimSds {
        history = in_form(nim_form, &history);
    }
    if !is_complete {
        requests.clear();
    }
    let sender_id = if is_complete { &sender_id[..] } else { &[] };
    assert_eq!(decoded.sender_id.as_bytes(), sender_id);
    assert_eq!(decoded.message_id.as_bytes(), message_id);
    assert_eq!(decoded.channel_id.as_bytes(), channel_id);
    assert_eq!(decoded.lamport, lamport);
    assert_eq!(decoded.content.as_deref(), Some(content));
    assert_eq!(decoded.bloom_filter.as_deref().unwrap_or_default(), filter);
    assert_eq!(decoded.causal_history[..], history[..]);
    assert_eq!(decoded.repair_request, requests);
    survives_another_trip(dialect, &decoded);
}

/// Returns the part of a history that is left in a form.
fn in_form(form: NimForm, history: &[HistoryEntry]) -> Vec<HistoryEntry> {
    let left = |named: &HistoryEntry| {
        let mut named = named.clone();
        if !form.is_complete() {
            named.sender_id = ParticipantId::default();
        }
        if form == NimForm::V02 {
            named.retrieval_hint = None;
        }
        named
    };
    history.iter().map(left).collect()
}

fn borrowed(entries: &[HistoryEntry]) -> Vec<HistoryEntryRef<'_>> {
    entries.iter().map(HistoryEntry::borrowed).collect()
}

/// An id as the dialect can say it: LIP-109 wants text.
fn text(bytes: &[u8], dialect: WireDialect) -> Vec<u8> {
    match dialect {
        WireDialect::Lip109 => String::from_utf8_lossy(bytes).into_owned().into(),
        WireDialect::NimSds => bytes.into(),
    }
}

/// The id of a message or of a channel, which is never empty.
fn name(source: &mut Source<'_>, dialect: WireDialect) -> Vec<u8> {
    let id = text(source.short(), dialect);
    if id.is_empty() { b"x".into() } else { id }
}

/// Up to 7 of them.
fn entries(source: &mut Source<'_>, dialect: WireDialect) -> Vec<HistoryEntry> {
    let count = source.byte() % 8;
    let mut entry = || HistoryEntry {
        message_id: MessageId::new(name(source, dialect).into()),
        sender_id: ParticipantId::new(text(source.short(), dialect).into()),
        // An empty one is none in nim-sds.
        retrieval_hint: source.maybe().filter(|hint| !hint.is_empty()).map(Bytes::copy_from_slice),
    };
    (0..count).map(|_| entry()).collect()
}
