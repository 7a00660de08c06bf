//! Records and changes add up to the same states.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use sds_proto::bloom::Probe;
use sds_proto::hash::HashKind;
use sds_proto::snapshot::{
    Change, ChangeKind, IdRecord, StoredAnswer, StoredBridge, StoredEntry, StoredIncoming,
    StoredMissing, StoredOutgoing, StoredResolved,
};
use sds_proto::stored::{self, Op};
use sds_proto::wire::{HistoryEntry, WireDialect};
use sds_proto::{ChannelId, DeliverySeq, LogDigest, LogEntry, MessageId, UnixMillis};
use smallvec::SmallVec;

use crate::common::peer::entry;
use crate::common::store::Disk;
use crate::records;

fn id() -> impl Strategy<Value = MessageId> {
    // Some that fit into a key without allocation, some that do not.
    (0..6_u8).prop_map(|n| MessageId::from("m".repeat(1 + usize::from(n) * 7)))
}

fn seq() -> impl Strategy<Value = DeliverySeq> {
    (1..8_u64).prop_map(DeliverySeq)
}

fn log_entry() -> impl Strategy<Value = LogEntry> {
    let named = prop::collection::vec((id(), "[ab]?", prop::option::of("[xy]{0,2}")), 0..4);
    (id(), "[ab]?", 0..20_u64, named, "[a-z]{1,9}").prop_map(
        |(id, sender, lamport, named, content)| {
            let named = named.into_iter().map(|(id, sender, hint)| {
                let mut named = entry(id, &sender);
                named.retrieval_hint = hint.map(Bytes::from);
                named
            });
            let named: Vec<_> = named.collect();
            LogEntry::new(id, sender, lamport, named.iter().map(HistoryEntry::borrowed), content)
        },
    )
}

fn id_record() -> impl Strategy<Value = IdRecord> {
    (1..10_u64, any::<u128>(), any::<u64>(), any::<[bool; 2]>()).prop_map(
        |(number, digest, lamport, [lip109, nim_sds])| {
            let probe = |hash: HashKind| -> Probe { hash.probe(&digest.to_be_bytes()) };
            IdRecord {
                number,
                digest,
                lamport,
                lip109: lip109.then(|| probe(HashKind::NimMurmur)),
                nim_sds: nim_sds.then(|| probe(HashKind::NimFarm)),
            }
        },
    )
}

fn appended() -> impl Strategy<Value = ChangeKind> {
    (seq(), log_entry(), any::<[bool; 2]>(), 1..30_u64, any::<[u8; 16]>()).prop_map(
        |(seq, entry, [gap, own], lamport, digest)| ChangeKind::Appended {
            stored: StoredEntry { seq, entry, gap, own },
            lamport,
            digest: LogDigest::from_bytes(digest),
        },
    )
}

fn wanted() -> impl Strategy<Value = StoredMissing> {
    let waited = prop_oneof![Just(0), any::<u64>()];
    let hint = prop::option::of("[xy]{0,2}");
    (id(), "[ab]?", hint, any::<u32>(), due(), any::<bool>(), waited).prop_map(
        |(id, sender, hint, rounds, due, background, waited_ms)| {
            let mut entry = entry(id, &sender);
            entry.retrieval_hint = hint.map(Bytes::from);
            StoredMissing { entry, rounds, due, background, waited_ms }
        },
    )
}

fn answer() -> impl Strategy<Value = StoredAnswer> {
    (id(), dialects(), due()).prop_map(|(message_id, only, due)| {
        let (lip109, nim_sds) =
            (only != Some(WireDialect::NimSds), only != Some(WireDialect::Lip109));
        StoredAnswer { message_id, lip109, nim_sds, due }
    })
}

fn due() -> impl Strategy<Value = Option<UnixMillis>> {
    prop::option::of(any::<u64>().prop_map(UnixMillis))
}

/// One, or `None` for both.
fn dialects() -> impl Strategy<Value = Option<WireDialect>> {
    prop::sample::select(vec![None, Some(WireDialect::Lip109), Some(WireDialect::NimSds)])
}

fn outgoing() -> impl Strategy<Value = StoredOutgoing> {
    let witnesses = prop::collection::vec(any::<u64>(), 0..4);
    (seq(), any::<u32>(), witnesses, -99.0..-0.1_f64, any::<bool>(), due()).prop_map(
        |(seq, resends, witnesses, doubt, unconfirmed, due)| StoredOutgoing {
            seq,
            resends,
            doubt_ln: if witnesses.is_empty() { 0.0 } else { doubt },
            witnesses: witnesses.into(),
            unconfirmed,
            due,
        },
    )
}

fn bridge() -> impl Strategy<Value = StoredBridge> {
    (seq(), any::<bool>(), due()).prop_map(|(seq, nim, due)| {
        let heard = if nim { WireDialect::NimSds } else { WireDialect::Lip109 };
        StoredBridge { seq, heard, due }
    })
}

fn incoming() -> impl Strategy<Value = StoredIncoming> {
    (log_entry(), dialects()).prop_map(|(entry, heard)| StoredIncoming { entry, heard })
}

fn met() -> impl Strategy<Value = StoredResolved> {
    (1..10_u64, any::<u128>(), any::<bool>()).prop_map(|(number, digest, lost)| StoredResolved {
        number,
        digest,
        lost,
    })
}

fn created() -> impl Strategy<Value = ChangeKind> {
    any::<[u64; 2]>().prop_map(|record_key| ChangeKind::Created { record_key })
}

/// Any change of a channel that was created.
fn kind() -> impl Strategy<Value = ChangeKind> {
    prop_oneof![
        3 => appended(),
        2 => seq().prop_map(ChangeKind::Evicted),
        2 => id_record().prop_map(ChangeKind::Recorded),
        1 => (1..10_u64).prop_map(|up_to| ChangeKind::Forgotten { up_to }),
        1 => (1..10_u64).prop_map(|number| ChangeKind::Unrecorded { number }),
        1 => (1..30_u64).prop_map(ChangeKind::Clock),
        1 => any::<u64>().prop_map(ChangeKind::Floor),
        1 => seq().prop_map(ChangeKind::Consumed),
        1 => (1..10_u64).prop_map(ChangeKind::UnreportedUpTo),
        1 => "[pq]{0,2}".prop_map(|id: String| ChangeKind::Participant(id.as_str().into())),
        2 => outgoing().prop_map(ChangeKind::OutgoingSet),
        1 => seq().prop_map(ChangeKind::OutgoingRemoved),
        2 => bridge().prop_map(ChangeKind::BridgeSet),
        1 => seq().prop_map(ChangeKind::BridgeRemoved),
        2 => incoming().prop_map(ChangeKind::IncomingSet),
        1 => id().prop_map(ChangeKind::IncomingRemoved),
        2 => wanted().prop_map(ChangeKind::MissingSet),
        1 => id().prop_map(ChangeKind::MissingRemoved),
        1 => answer().prop_map(ChangeKind::AnswerSet),
        1 => id().prop_map(ChangeKind::AnswerRemoved),
        2 => met().prop_map(ChangeKind::ResolvedAdded),
        1 => (1..10_u64).prop_map(|up_to| ChangeKind::ResolvedForgotten { up_to }),
        1 => (seq(), "[xy]{0,3}").prop_map(|(seq, hint)| ChangeKind::Hint { seq, hint: hint.into() }),
    ]
}

/// Generates the changes of a channel from its creation on, and maybe to its end.
fn life() -> impl Strategy<Value = Vec<ChangeKind>> {
    let change = prop_oneof![30 => kind(), 1 => created()];
    (created(), prop::collection::vec(change, 0..60), prop::option::weighted(0.1, Just(())))
        .prop_map(|(created, changes, end)| {
            let end = end.map(|()| ChangeKind::Erased);
            [created].into_iter().chain(changes).chain(end).collect()
        })
}

fn interleave(lives: [Vec<ChangeKind>; 2], order: &[bool]) -> Vec<Change> {
    let mut lives = lives.map(Vec::into_iter);
    let mut changes = Vec::new();
    for first in order.iter().chain([true, false].iter().cycle().take(200)) {
        let index = usize::from(!first);
        let channel = ChannelId::from(["a", "b"][index]);
        changes.extend(lives[index].next().map(|kind| Change { channel, kind }));
    }
    changes
}

/// The records a disk has and those of the states it has.
fn check(disk: &Disk) -> Result<(), TestCaseError> {
    for (channel, state) in &disk.states {
        let held: crate::Records =
            disk.records_of(channel).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(&held, &state.as_deref().map(records).unwrap_or_default());
        let expected = state.clone().map_or(Ok(None), |state| state.check().map(|()| Some(state)));
        prop_assert_eq!(stored::snapshot(disk.records_of(channel)), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn records_tell_what_the_changes_do_however_they_are_grouped_and_retried(
        lives in [life(), life()],
        order in prop::collection::vec(any::<bool>(), 0..100),
        ends in prop::collection::vec((any::<Index>(), 0..20_usize), 0..10),
    ) {
        let changes = interleave(lives, &order);
        let mut whole = Disk::default();
        whole.write(&changes);
        check(&whole)?;

        let ends = ends.iter().map(|(end, back)| (end.index(changes.len() + 1), *back));
        let mut ends: Vec<_> = ends.chain([(changes.len(), 0)]).collect();
        ends.sort_unstable();
        let (mut disk, mut written) = (Disk::default(), 0);
        for (end, back) in ends {
            // A write whose answer was lost is handed out again, together with later changes.
            disk.write(&changes[written - written.min(back)..end]);
            check(&disk)?;
            written = end;
        }
        prop_assert_eq!(disk, whole);
    }

    #[test]
    fn a_state_survives_the_trip_through_a_blob(life in life()) {
        let mut disk = Disk::default();
        let changes = life.into_iter().map(|kind| Change { channel: "c".into(), kind });
        disk.write(&changes.collect::<Vec<_>>());
        let Some(Some(state)) = disk.states.remove(&ChannelId::from("c")) else { return Ok(()) };
        let expected = state.check().map(|()| state.clone());
        prop_assert_eq!(sds_proto::snapshot::Snapshot::decode(&state.encode()), expected);
    }
}

#[test]
fn of_several_writes_to_one_key_the_last_is_left() {
    let outgoing = |resends| {
        ChangeKind::OutgoingSet(StoredOutgoing {
            seq: DeliverySeq(1),
            resends,
            witnesses: SmallVec::new(),
            doubt_ln: 0.0,
            unconfirmed: false,
            due: None,
        })
    };
    let changes = [
        ChangeKind::Clock(1),
        outgoing(1),
        ChangeKind::Clock(2),
        outgoing(2),
        ChangeKind::OutgoingRemoved(DeliverySeq(1)),
        ChangeKind::Clock(3),
    ];
    let changes = changes.map(|kind| Change { channel: "c".into(), kind });
    let ops: Vec<Op> = stored::writes(&changes).into_iter().map(|write| write.op).collect();
    let [Op::Remove { key }, Op::Put { key: clock, value }] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!(
        (&key[..], &clock[..], &value[..]),
        (&[0x22, 0, 0, 0, 0, 0, 0, 0, 1][..], &[1][..], &[8, 3][..])
    );
}

#[test]
fn what_a_later_range_removes_is_not_written_before() {
    let met = |number| ChangeKind::ResolvedAdded(StoredResolved { number, digest: 7, lost: false });
    let changes = [
        met(1),
        ChangeKind::ResolvedForgotten { up_to: 1 },
        met(2),
        met(3),
        ChangeKind::ResolvedForgotten { up_to: 2 },
    ];
    let changes = changes.map(|kind| Change { channel: "c".into(), kind });
    let ops: Vec<Op> = stored::writes(&changes).into_iter().map(|write| write.op).collect();
    let [Op::Put { key, .. }, Op::RemoveRange { first, last }] = &ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!([key[8], first[8], last[8]], [3, 0, 2]);
}

#[test]
fn what_was_cleared_is_not_written_before_nor_does_it_touch_other_channels() {
    let changes = [
        ("a", ChangeKind::Created { record_key: [1, 2] }),
        ("b", ChangeKind::Created { record_key: [3, 4] }),
        ("a", ChangeKind::Clock(5)),
        ("a", ChangeKind::Erased),
        ("b", ChangeKind::Clock(6)),
    ];
    let changes = changes.map(|(channel, kind)| Change { channel: channel.into(), kind });
    let writes = stored::writes(&changes);
    let told: Vec<_> = writes
        .iter()
        .map(|write| (write.channel.as_str().expect("text"), write.op == Op::Clear))
        .collect();
    assert_eq!(told, [("b", true), ("b", false), ("a", true), ("b", false)]);
}
