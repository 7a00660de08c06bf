//! The bytes of the format: committed once, so that they cannot drift unnoticed, and counted.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

use bytes::Bytes;
use sds_proto::hash::HashKind;
use sds_proto::snapshot::{
    IdRecord, Snapshot, StoredAnswer, StoredBridge, StoredEntry, StoredIncoming, StoredMissing,
    StoredOutgoing, StoredResolved,
};
use sds_proto::stored::Op;
use sds_proto::wire::{HistoryEntry, WireDialect};
use sds_proto::{
    Config, DeliverySeq, Durability, Effect, Event, LogDigest, LogEntry, MessageId, Node,
    UnixMillis,
};
use smallvec::SmallVec;

use crate::common::peer::entry;
use crate::common::{at, channel, open, store::Store};
use crate::{Records, read, records};

fn log_entry(id: &str, sender: &str, lamport: u64, named: &[HistoryEntry]) -> LogEntry {
    let named = named.iter().map(HistoryEntry::borrowed);
    LogEntry::new(id, sender, lamport, named, format!("content of {id}"))
}

fn hinted(id: &str, hint: &'static str) -> HistoryEntry {
    let mut named = entry(id, "bob");
    named.retrieval_hint = Some(Bytes::from_static(hint.as_bytes()));
    named
}

/// A state in which every field of every table is in use.
pub(crate) fn everything() -> Snapshot {
    let mut state = Snapshot::default();
    state.record_key = [0x0102_0304_0506_0708, 0x1112_1314_1516_1718];
    state.lamport = 1_767_225_600_300;
    state.delivered = DeliverySeq(300);
    state.consumed = DeliverySeq(299);
    state.digest = LogDigest::from_bytes([0xd1; 16]);
    state.floor = Some(7);
    state.unreported_up_to = Some(1);
    state.participant_id = "alice".into();
    let first = log_entry("m1", "", 1_767_225_600_000, &[]);
    let second = log_entry("m2", "alice", 1_767_225_600_001, &[entry("m1", ""), hinted("m0", "h")]);
    for (seq, entry, gap, own) in [(299, &first, true, false), (300, &second, false, true)] {
        let (seq, entry) = (DeliverySeq(seq), entry.clone());
        state.log.insert(seq, StoredEntry { seq, entry, gap, own });
    }
    for (number, id, lamport) in [(1, "m1", 1_767_225_600_000), (2, "m2", 1_767_225_600_001)] {
        let record = IdRecord {
            number,
            digest: u128::from(number) << 64 | 5,
            lamport,
            lip109: (number == 1).then(|| HashKind::Lip109.probe(id.as_bytes())),
            nim_sds: Some(HashKind::NimFarm.probe(id.as_bytes())),
        };
        state.record.insert(number, record);
    }
    for (number, lost) in [(4, true), (5, false)] {
        state.resolved.insert(number, StoredResolved { number, digest: 0xfeed << number, lost });
    }
    state.hints.insert(DeliverySeq(299), "shelf".into());
    let seq = DeliverySeq(300);
    let witnesses = [7, u64::MAX].into_iter().collect();
    let due = None;
    let unacked =
        StoredOutgoing { seq, resends: 3, witnesses, doubt_ln: -50.5, unconfirmed: false, due };
    state.outgoing.insert(seq, unacked);
    let seq = DeliverySeq(298);
    let (witnesses, own) = (SmallVec::new(), log_entry("m0", "alice", 5, &[]));
    let unconfirmed =
        StoredOutgoing { seq, resends: 8, witnesses, doubt_ln: 0.0, unconfirmed: true, due };
    state.outgoing.insert(seq, unconfirmed);
    let due = Some(UnixMillis(1_767_225_630_500));
    let (seq, witnesses) = (DeliverySeq(297), SmallVec::new());
    let timed =
        StoredOutgoing { seq, resends: 1, witnesses, doubt_ln: 0.0, unconfirmed: false, due };
    state.outgoing.insert(seq, timed);
    let seq = DeliverySeq(298);
    state.log.insert(seq, StoredEntry { seq, entry: own, gap: false, own: true });
    let (seq, heard) = (DeliverySeq(299), WireDialect::NimSds);
    let due = Some(UnixMillis(1_767_225_600_500));
    state.bridges.insert(seq, StoredBridge { seq, heard, due });
    let waiting = log_entry("w1", "bob", 1_767_225_600_400, &[hinted("lacking", "")]);
    let heard = Some(WireDialect::Lip109);
    state.incoming.insert("w1".into(), StoredIncoming { entry: waiting, heard });
    let waiting = log_entry("w2", "", 9, &[entry("w1", "bob")]);
    state.incoming.insert("w2".into(), StoredIncoming { entry: waiting, heard: None });
    let wanted = [
        ("lacking", None, Some(1_767_225_630_000), 0),
        ("long", None, None, 1_800_000),
        ("seen", Some("x"), None, 0),
    ];
    for (id, hint, due, waited_ms) in wanted {
        let mut entry = entry(id, "bob");
        entry.retrieval_hint = hint.map(Bytes::from);
        let (due, background) = (due.map(UnixMillis), hint.is_some());
        let wanted = StoredMissing { entry, rounds: 2, due, background, waited_ms };
        state.missing.insert(id.into(), wanted);
    }
    for (id, lip109, nim_sds) in [("m1", false, true), ("w1", true, false), ("m2", true, true)] {
        let (message_id, due) = (MessageId::from(id), Some(UnixMillis(1_767_225_600_777)));
        state.answers.insert(id.into(), StoredAnswer { message_id, lip109, nim_sds, due });
    }
    state
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One record a line, then the blob.
fn golden(state: &Snapshot) -> String {
    let mut text = String::new();
    for (key, value) in records(state) {
        let _ = writeln!(text, "{} {}", hex(&key), hex(&value));
    }
    let _ = writeln!(text, "blob {}", hex(&state.encode()));
    text
}

/// If this fails, stores that others have written can no longer be read: change the version.
#[test]
fn the_bytes_are_those_of_version_1() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/stored/version-1.txt"].iter().collect();
    let state = everything();
    assert_eq!(state.check(), Ok(()));
    if env::var_os("STORED_REWRITE").is_some() {
        fs::write(&path, golden(&state)).expect("writable");
    }
    let text = fs::read_to_string(path).expect("committed");
    assert_eq!(golden(&state), text);
    assert_eq!(read(&records(&state)), Ok(Some(Box::new(state.clone()))));
    assert_eq!(Snapshot::decode(&state.encode()), Ok(Box::new(state)));
}

/// The first trees of version 1 wrote these: without a participant id, times of resends, and times
/// waited.
#[test]
fn the_first_records_and_blob_of_version_1_are_read() {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/stored/version-1-first.txt"].iter().collect();
    let text = fs::read_to_string(path).expect("committed");
    let mut state = everything();
    state.participant_id = "".into();
    state.outgoing.remove(&DeliverySeq(297));
    state.missing.remove(&MessageId::from("long"));
    assert_eq!(golden(&state), text, "and are still written, for a state without these");
    let (records, blob) = parsed(&text);
    assert_eq!(read(&records), Ok(Some(Box::new(state.clone()))));
    assert_eq!(Snapshot::decode(&blob), Ok(Box::new(state)));
}

/// The records of a text as [`golden`] makes it, and the blob.
fn parsed(text: &str) -> (Records, Vec<u8>) {
    let (mut records, mut blob) = (Records::new(), Vec::new());
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        match key {
            "blob" => blob = unhex(value),
            key => drop(records.insert(unhex(key), unhex(value))),
        }
    }
    (records, blob)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

#[test]
fn a_channel_without_records_has_no_state() {
    assert_eq!(read(&Records::new()), Ok(None));
}

/// Returns the stored bytes for each 64-byte message after `count` messages of another member.
fn bytes_per_message(config: sds_proto::ConfigBuilder, count: u64) -> BTreeMap<u8, f64> {
    let config = config.durability(Durability::Strict).auto_consume(true);
    let mut node = Node::new(config.build().expect("valid settings"));
    let mut store = Store::default();
    node.handle(at(0), open()).expect("opens");
    store.serve(&mut node, at(0));
    let id = |n: u64| format!("550e8400-e29b-41d4-a716-{n:012}");
    for n in 0..count {
        let said = crate::common::peer::lip109(&id(n), n).content(&"x".repeat(64));
        let named = (n.saturating_sub(2)..n).map(id).collect::<Vec<_>>();
        let said = said.after(named.iter().map(String::as_str));
        node.handle(at(n), said.input()).expect("taken");
        store.serve(&mut node, at(n));
    }
    let mut tables = BTreeMap::new();
    for (key, value) in store.disk.records_of(&channel()) {
        *tables.entry(key[0]).or_insert(0.0) += (key.len() + value.len()) as f64 / count as f64;
    }
    tables
}

#[test]
fn a_logged_message_of_64_bytes_takes_so_many_bytes() {
    let tables = bytes_per_message(Config::builder().participant_id("alice".into()), 1_000);
    println!("bytes a message by table: {tables:.1?}");
    // Content 64, id 36, two entries of 36 with sender, sender, time, key and tags.
    let (ids, log) = (tables[&0x10], tables[&0x20]);
    assert!(log < 64.0 + 3.0 * 36.0 + 60.0, "{tables:?}");
    assert!(ids < 50.0, "{tables:?}");
    let rest: f64 = tables.values().sum::<f64>() - ids - log;
    assert!(rest < 1.0, "{tables:?}");
}

#[test]
fn own_messages_and_what_others_said_read_back_as_they_were() {
    let mut store = Store::default();
    let config = Config::builder().participant_id("alice".into()).durability(Durability::Strict);
    let mut node = Node::new(config.build().expect("valid settings"));
    node.handle(at(0), open()).expect("opens");
    store.serve(&mut node, at(0));
    node.handle(at(1), crate::common::publish("m1")).expect("published");
    let told = store.serve(&mut node, at(1));
    let own = told.iter().find_map(|effect| match effect {
        Effect::Event(Event::Deliver(delivery)) => Some(&delivery.entry),
        _ => None,
    });
    let state = store.disk.load(&channel()).expect("created");
    assert_eq!(state.log.values().map(|stored| &stored.entry).next(), own);
    assert!(store.disk.records.keys().all(|(of, _)| *of == channel()));
    let puts = |op: &Op| matches!(op, Op::Put { .. });
    assert!(sds_proto::stored::import(&channel(), &state)[1..].iter().all(|write| puts(&write.op)));
}
