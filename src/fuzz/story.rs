//! Changes that a store might have been handed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::Hasher;

use bytes::Bytes;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Source;
use crate::bloom::Probe;
use crate::digest::LogDigest;
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::{MessageId, ParticipantId};
use crate::snapshot::{
    ChangeKind, IdRecord, Snapshot, StoredAnswer, StoredBridge, StoredEntry, StoredIncoming,
    StoredMissing, StoredOutgoing, StoredResolved,
};
use crate::time::UnixMillis;
use crate::wire::{HistoryEntry, WireDialect};

/// The key of the digests in every story.
const RECORD_KEY: [u64; 2] = [1, 2];

/// Up to 63 changes, and the state that they add up to. Those after which no channel could be in
/// the state are left out; the others need not be what a node would have said.
pub(super) fn story(source: &mut Source<'_>) -> (Vec<ChangeKind>, Box<Snapshot>) {
    let created = ChangeKind::Created { record_key: RECORD_KEY };
    let mut state = Box::new(Snapshot { record_key: RECORD_KEY, ..Snapshot::default() });
    let mut changes = alloc::vec![created];
    for _ in 0..source.byte() % 64 {
        let change = change(source, &state);
        let mut next = Some(state.clone());
        Snapshot::apply(&mut next, &change);
        if let Some(next) = next.filter(|next| next.check().is_ok()) {
            changes.push(change);
            state = next;
        }
    }
    (changes, state)
}

/// One of a few ids, so that many things are said of each.
pub(super) fn id(source: &mut Source<'_>) -> MessageId {
    const IDS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "new"];
    match source.byte() {
        // LIP-109 cannot say it.
        255 => MessageId::from(&[0xff, 1][..]),
        byte => MessageId::from_static(IDS[usize::from(byte) % IDS.len()]),
    }
}

/// "p" is the one that restores.
pub(super) fn sender(source: &mut Source<'_>) -> ParticipantId {
    ParticipantId::from_static(["", "p", "q", "r"][usize::from(source.byte() % 4)])
}

/// In an hour of 1970, which is when the story is told, or any other.
fn due(source: &mut Source<'_>) -> Option<UnixMillis> {
    match source.byte() {
        byte @ ..100 => Some(UnixMillis(u64::from(byte) * 36_000)),
        100..200 => None,
        _ => Some(UnixMillis(source.any_number())),
    }
}

pub(super) fn named(source: &mut Source<'_>) -> HistoryEntry {
    let (message_id, sender_id) = (id(source), sender(source));
    let retrieval_hint = source.maybe().map(Bytes::copy_from_slice);
    HistoryEntry { message_id, retrieval_hint, sender_id }
}

pub(super) fn entry(source: &mut Source<'_>) -> LogEntry {
    let (message_id, sender_id, lamport) = (id(source), sender(source), source.any_number());
    let history: Vec<_> = (0..source.byte() % 4).map(|_| named(source)).collect();
    let content = alloc::vec![b'x'; 1 + usize::from(source.byte())];
    let named = history.iter().map(HistoryEntry::borrowed);
    LogEntry::new(message_id.as_bytes(), sender_id.as_bytes(), lamport, named, content)
}

/// That of an id, or any.
fn digest(source: &mut Source<'_>) -> u128 {
    if source.byte() >= 240 {
        return source.any_number().into();
    }
    let mut hasher = SipHasher13::new_with_keys(RECORD_KEY[0], RECORD_KEY[1]);
    hasher.write(id(source).as_bytes());
    hasher.finish128().as_u128()
}

fn probe(source: &mut Source<'_>) -> Option<Probe> {
    source.flag().then(|| Probe { a: source.any_number(), b: source.any_number() })
}

fn dialect(source: &mut Source<'_>) -> WireDialect {
    if source.flag() { WireDialect::Lip109 } else { WireDialect::NimSds }
}

/// A number that somebody counted to, or that nobody did; never one near enough to the last that
/// may be stored for a node to count beyond it.
fn counted(source: &mut Source<'_>) -> u64 {
    source.any_number() & !(1 << 62)
}

fn change(source: &mut Source<'_>, state: &Snapshot) -> ChangeKind {
    let last = state.delivered;
    match source.byte() % 24 {
        0 => ChangeKind::Clock(source.any_number().max(1)),
        1..4 => ChangeKind::Recorded(IdRecord {
            number: counted(source),
            digest: digest(source),
            lamport: source.any_number(),
            lip109: probe(source),
            nim_sds: probe(source),
        }),
        4 => ChangeKind::Forgotten { up_to: source.any_number() },
        5 => ChangeKind::Unrecorded { number: source.any_number() },
        6 => ChangeKind::Floor(source.any_number()),
        7..11 => {
            let seq = match source.byte() {
                250.. => source.any_number(),
                byte => last.0.saturating_add(1 + u64::from(byte % 4)),
            };
            let (seq, entry) = (DeliverySeq(seq), entry(source));
            let lamport = entry.lamport().max(state.lamport);
            let (gap, own) = (source.flag(), source.flag());
            let mut digest = state.digest;
            digest.add(entry.lamport(), entry.message_id());
            let digest = if source.byte() < 250 { digest } else { LogDigest::default() };
            ChangeKind::Appended { stored: StoredEntry { seq, entry, gap, own }, lamport, digest }
        }
        11 => ChangeKind::Evicted(near(source, last)),
        12 | 13 => ChangeKind::OutgoingSet(outgoing(source, last)),
        14 => ChangeKind::OutgoingRemoved(near(source, last)),
        15 => ChangeKind::BridgeSet(StoredBridge {
            seq: near(source, last),
            heard: dialect(source),
            due: due(source),
        }),
        16 => ChangeKind::BridgeRemoved(near(source, last)),
        17 | 18 => ChangeKind::IncomingSet(StoredIncoming {
            entry: entry(source),
            heard: source.flag().then(|| dialect(source)),
        }),
        19 => ChangeKind::MissingSet(StoredMissing {
            entry: named(source),
            rounds: source.any_number() as u32,
            due: due(source),
            background: source.flag(),
            waited_ms: source.any_number(),
        }),
        20 => {
            let (message_id, due) = (id(source), due(source));
            let (lip109, both) = (source.flag(), source.flag());
            ChangeKind::AnswerSet(StoredAnswer {
                message_id,
                lip109,
                nim_sds: !lip109 || both,
                due,
            })
        }
        21 => ChangeKind::ResolvedAdded(StoredResolved {
            number: counted(source),
            digest: digest(source),
            lost: source.flag(),
        }),
        22 => ChangeKind::Hint {
            seq: near(source, last),
            hint: Bytes::copy_from_slice(source.short()),
        },
        _ => match source.byte() % 7 {
            0 => ChangeKind::IncomingRemoved(id(source)),
            1 => ChangeKind::MissingRemoved(id(source)),
            2 => ChangeKind::AnswerRemoved(id(source)),
            3 => ChangeKind::ResolvedForgotten { up_to: source.any_number() },
            4 => ChangeKind::UnreportedUpTo(source.any_number()),
            5 => ChangeKind::Participant(sender(source)),
            _ => ChangeKind::Consumed(near(source, last).max(DeliverySeq(1))),
        },
    }
}

/// A number that was given out not long ago.
fn near(source: &mut Source<'_>, last: DeliverySeq) -> DeliverySeq {
    DeliverySeq(last.0.saturating_sub(u64::from(source.byte() % 8)))
}

fn outgoing(source: &mut Source<'_>, last: DeliverySeq) -> StoredOutgoing {
    let (seq, resends) = (near(source, last), source.any_number() as u32);
    let witnesses = (0..source.byte() % 4).map(|_| source.any_number()).collect::<Vec<_>>().into();
    let doubt_ln = -f64::from(1 + source.number(2) as u32);
    let (unconfirmed, due) = (source.flag(), due(source));
    let mut outgoing = StoredOutgoing { seq, resends, witnesses, doubt_ln, unconfirmed, due };
    if outgoing.witnesses.is_empty() {
        outgoing.doubt_ln = 0.0;
    }
    outgoing
}
