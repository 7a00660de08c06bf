//! Messages as we might send them.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Source;
use super::decode::survives_another_trip;
use crate::wire::{
    self, FilterField, HistoryEntry, HistoryEntryRef, Limits, Outgoing, WireDialect,
};
use crate::{MessageId, ParticipantId};

/// Any message that a dialect can say decodes to what was encoded.
pub fn roundtrip(data: &[u8]) {
    let mut source = Source(data);
    let dialect = match source.byte() % 2 {
        0 => WireDialect::Lip109,
        _ => WireDialect::NimSds,
    };
    let lamport = source.number(8);
    let (message_id, channel_id, sender_id) = (source.short(), source.short(), source.short());
    let (content, filter) = (source.short(), source.short());
    let history = entries(&mut source);
    let requests = entries(&mut source);
    let message = Outgoing {
        sender_id,
        message_id,
        channel_id,
        lamport: Some(lamport),
        causal_history: &borrowed(&history),
        filter: if filter.is_empty() { FilterField::Absent } else { FilterField::Bytes(filter) },
        repair_request: &borrowed(&requests),
        content: Some(content),
    };
    let mut buffer = BytesMut::new();
    message.encode(dialect, &mut buffer);
    assert_eq!(buffer.len(), message.encoded_len(dialect));
    // Refused if an id is empty, or not the text that LIP-109 wants.
    let Ok((detected, decoded)) = wire::decode(&buffer.freeze(), &Limits::default()) else {
        return;
    };
    assert_eq!(detected, dialect);
    assert_eq!(decoded.sender_id.as_bytes(), sender_id);
    assert_eq!(decoded.message_id.as_bytes(), message_id);
    assert_eq!(decoded.channel_id.as_bytes(), channel_id);
    assert_eq!(decoded.lamport, Some(lamport));
    assert_eq!(decoded.content.as_deref(), Some(content));
    assert_eq!(decoded.bloom_filter.as_deref().unwrap_or_default(), filter);
    assert_eq!(decoded.causal_history[..], history[..]);
    assert_eq!(decoded.repair_request, requests);
    survives_another_trip(dialect, &decoded);
}

fn borrowed(entries: &[HistoryEntry]) -> Vec<HistoryEntryRef<'_>> {
    entries.iter().map(HistoryEntry::borrowed).collect()
}

/// Up to 7 of them.
fn entries(source: &mut Source<'_>) -> Vec<HistoryEntry> {
    let count = source.byte() % 8;
    let mut entry = || HistoryEntry {
        message_id: MessageId::from(source.short()),
        sender_id: ParticipantId::from(source.short()),
        // An empty one is none in nim-sds.
        retrieval_hint: source.maybe().filter(|hint| !hint.is_empty()).map(Bytes::copy_from_slice),
    };
    (0..count).map(|_| entry()).collect()
}
