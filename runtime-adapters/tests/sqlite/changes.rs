//! Batches to write.

use sds_proto::snapshot::{Change, ChangeKind, StoredIncoming, StoredResolved};
use sds_proto::stored::{self, Write};
use sds_proto::{ChannelId, LogEntry, MessageId};

/// Returns the writes of a node that receives the message of this number, of so many bytes.
pub(crate) fn message(channel: &str, number: u64, len: usize) -> Vec<Write> {
    let met = StoredResolved { number, digest: number.into(), lost: false };
    writes(
        channel,
        [ChangeKind::Clock(number), ChangeKind::ResolvedAdded(met), incoming(number, len)],
    )
}

/// A clock, which replaces the one before.
pub(crate) fn clock(channel: &str, lamport: u64) -> Vec<Write> {
    writes(channel, [ChangeKind::Clock(lamport)])
}

pub(crate) fn erased(channel: &str) -> Vec<Write> {
    writes(channel, [ChangeKind::Erased])
}

/// Batches that do to a few channels whatever can be done to them, by chance.
pub(crate) fn any(rng: &mut fastrand::Rng) -> Vec<Write> {
    let kinds = (0..rng.usize(1..8)).map(|_| Change {
        channel: ChannelId::from(*rng.choice(&["a", "b", "ab", "\0"]).unwrap()),
        kind: kind(rng),
    });
    let changes: Vec<_> = kinds.collect();
    stored::writes(&changes)
}

fn kind(rng: &mut fastrand::Rng) -> ChangeKind {
    let number = rng.u64(1..40);
    match rng.u32(0..100) {
        0 => ChangeKind::Erased,
        1 => ChangeKind::Created { record_key: [rng.u64(..), rng.u64(..)] },
        2..10 => ChangeKind::ResolvedForgotten { up_to: number },
        10..30 => ChangeKind::IncomingRemoved(id(number)),
        30..50 => ChangeKind::Clock(number),
        50..75 => {
            ChangeKind::ResolvedAdded(StoredResolved { number, digest: rng.u128(..), lost: false })
        }
        _ => incoming(number, rng.usize(0..2_000) * rng.usize(0..4)),
    }
}

fn incoming(number: u64, len: usize) -> ChangeKind {
    let entry = LogEntry::new(id(number), "bob", number, [], vec![number as u8; len]);
    ChangeKind::IncomingSet(StoredIncoming { entry, heard: None })
}

fn id(number: u64) -> MessageId {
    format!("message-{number}").into()
}

fn writes<const N: usize>(channel: &str, kinds: [ChangeKind; N]) -> Vec<Write> {
    let channel = ChannelId::from(channel);
    stored::writes(&kinds.map(|kind| Change { channel: channel.clone(), kind }))
}
