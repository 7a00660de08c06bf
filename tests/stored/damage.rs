//! Records that were cut off, changed, lost or mixed up: refused, or another state that can be.
//! Never a panic, never a part of a state.

use core::hash::Hasher as _;
use std::fs;

use sds_proto::fuzz::stored_records;
use sds_proto::snapshot::Snapshot;
use sds_proto::stored::{StoredError, Table, VERSION};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::format::everything;
use crate::{Records, read, records};

/// As the fuzzing target takes them.
fn packed(records: &Records) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        data.push(u8::try_from(key.len()).expect("short"));
        data.extend_from_slice(key);
        data.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
        data.extend_from_slice(value);
    }
    data
}

fn with(key: &[u8], value: &[u8]) -> Result<Option<Box<Snapshot>>, StoredError> {
    let mut records = records(&everything());
    records.insert(key.to_vec(), value.to_vec());
    read(&records)
}

fn without(key: &[u8]) -> Result<Option<Box<Snapshot>>, StoredError> {
    let mut records = records(&everything());
    assert!(records.remove(key).is_some());
    read(&records)
}

fn numbered(table: u8, number: u64) -> Vec<u8> {
    [&[table][..], &number.to_be_bytes()].concat()
}

#[test]
fn every_truncated_value_is_refused_or_another_state() {
    let whole = records(&everything());
    for (key, value) in &whole {
        for len in 0..value.len() {
            let mut records = whole.clone();
            records.insert(key.clone(), value[..len].to_vec());
            let state = read(&records);
            // Only a field that may be absent can be cut off unnoticed.
            assert_ne!(state, Ok(Some(Box::new(everything()))), "{key:x?} {len}");
            stored_records(&packed(&records));
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_or_another_state() {
    let whole = records(&everything());
    for (key, value) in &whole {
        for bit in 0..(key.len() + value.len()) * 8 {
            let mut record = [&key[..], value].concat();
            record[bit / 8] ^= 1 << (bit % 8);
            let (changed_key, changed_value) = record.split_at(key.len());
            let mut records = whole.clone();
            records.remove(key);
            records.insert(changed_key.to_vec(), changed_value.to_vec());
            assert_ne!(read(&records), Ok(Some(Box::new(everything()))), "{key:x?} bit {bit}");
            stored_records(&packed(&records));
        }
    }
}

#[test]
fn every_lost_record_is_refused_or_another_state() {
    let whole = records(&everything());
    for key in whole.keys() {
        let mut records = whole.clone();
        records.remove(key);
        assert_ne!(read(&records), Ok(Some(Box::new(everything()))), "{key:x?}");
        stored_records(&packed(&records));
    }
}

#[test]
fn unknown_versions_and_tables_are_refused_by_name() {
    let newer = [&[8, 2, 18, 16][..], &[0; 16]].concat();
    assert_eq!(with(&[0], &newer), Err(StoredError::Version { found: 2 }));
    assert_eq!(with(&[0x77], &[8, 1]), Err(StoredError::UnknownTable { byte: Some(0x77) }));
    assert_eq!(with(&[], &[8, 1]), Err(StoredError::UnknownTable { byte: None }));
    // The version explains whatever else looks strange.
    let mut records = records(&everything());
    records.insert(vec![0x77], vec![]);
    records.insert(vec![0], newer);
    let backwards = records.iter().rev().map(|(key, value)| (&key[..], &value[..]));
    let error = sds_proto::stored::snapshot(backwards);
    assert_eq!(error, Err(StoredError::Version { found: 2 }));
}

#[test]
fn malformed_records_are_refused_by_table_and_field() {
    let field = |table, field| Err(StoredError::Field { table, field });
    // Absent, of the wrong type, unknown, twice, out of order, out of range.
    assert_eq!(with(&[1], &[]), field(Table::Clock, 1));
    assert_eq!(with(&[1], &[10, 0]), field(Table::Clock, 1));
    assert_eq!(with(&[1], &[8, 1, 16, 1]), field(Table::Clock, 2));
    assert_eq!(with(&[1], &[8, 1, 8, 1]), field(Table::Clock, 1));
    let digest = [&[10, 16][..], &[1; 16]].concat();
    assert_eq!(
        with(&numbered(0x11, 9), &[&digest[..], &[16, 2]].concat()),
        field(Table::Resolved, 2)
    );
    assert_eq!(
        with(&numbered(0x11, 9), &[&[16, 1], &digest[..]].concat()),
        field(Table::Resolved, 1)
    );
    assert_eq!(
        with(&numbered(0x11, 9), &digest[..17]),
        Err(StoredError::Malformed { table: Table::Resolved })
    );
    assert_eq!(with(&numbered(0x11, 9), &[10, 2, 1, 1]), field(Table::Resolved, 1));
    // No doubt left, or none that is a number.
    let doubt = |bits: f64| {
        let mut value = vec![8, 0, 0x10, 7, 0x18];
        let mut bits = bits.to_bits();
        while bits > 0x7f {
            value.push(bits as u8 | 0x80);
            bits >>= 7;
        }
        value.push(bits as u8);
        with(&numbered(0x22, 300), &value)
    };
    assert!(doubt(-1.0).is_ok());
    for wrong in [0.0, 1.0, f64::NAN, f64::NEG_INFINITY] {
        assert_eq!(doubt(wrong), field(Table::Outgoing, 3), "{wrong}");
    }
    for dialects in [0, 3, 4] {
        assert_eq!(with(&numbered(0x23, 299), &[8, dialects]), field(Table::Bridges, 1));
    }
    // A field that is left out if it is empty is present and empty.
    assert_eq!(with(b"\x31w9", &[0x0a, 0, 0x18, 0]), field(Table::Missing, 1));
    assert_eq!(
        with(b"\x30w9", &[0x12, 0, 0x18, 9, 0x2a, 1, 1, 0x30, 3]),
        field(Table::Incoming, 2)
    );
    // An entry of a causal history without an id.
    let entry = [0x18, 9, 0x22, 2, 0x1a, 0, 0x2a, 1, b'x'];
    assert_eq!(with(b"\x30w9", &entry), field(Table::Incoming, 4));
    assert_eq!(with(b"\x30w9", &[0x18, 9, 0x2a, 0]), field(Table::Incoming, 5));
}

#[test]
fn keys_that_do_not_fit_their_table_are_refused() {
    let digest = [&[10, 16][..], &[1; 16]].concat();
    for (key, table) in [
        (vec![1, 0], Table::Clock),
        (vec![0x11, 0, 1], Table::Resolved),
        (numbered(0x11, 0), Table::Resolved),
        (numbered(0x11, u64::MAX), Table::Resolved),
        (vec![0x30], Table::Incoming),
    ] {
        assert_eq!(
            with(&key, if key[0] == 1 { &[8, 1] } else { &digest }),
            Err(StoredError::Key { table })
        );
    }
}

/// Each table whose only record is told by its first byte.
const SINGLE: [(u8, Table); 7] = [
    (0, Table::Channel),
    (1, Table::Clock),
    (2, Table::Delivered),
    (3, Table::Consumed),
    (4, Table::Floor),
    (5, Table::UnreportedUpTo),
    (6, Table::Participant),
];

#[test]
fn a_table_of_one_record_has_one_under_its_byte_alone() {
    let all = records(&everything());
    for (byte, table) in SINGLE {
        let (key, value) = ([byte], &all[&[byte][..]]);
        for tail in [&[0][..], &[7; 8]] {
            let key = [&[byte][..], tail].concat();
            assert_eq!(with(&key, value), Err(StoredError::Key { table }), "{key:x?}");
        }
        let pairs = all.iter().map(|(key, value)| (&key[..], &value[..]));
        let twice = pairs.chain([(&key[..], &value[..])]);
        assert_eq!(sds_proto::stored::snapshot(twice), Err(StoredError::Repeated { table }));
    }
    let others = all.keys().filter(|key| key.len() > 1).count();
    assert_eq!(all.len() - others, SINGLE.len(), "every other table has keys of more than a byte");
}

#[test]
fn a_number_that_is_left_out_at_0_is_refused_at_0() {
    let field = |table, field| Err(StoredError::Field { table, field });
    let delivered = [&[8, 0, 18, 16][..], &[0; 16]].concat();
    assert_eq!(with(&[2], &delivered), field(Table::Delivered, 1));
    assert_eq!(with(&[3], &[8, 0]), field(Table::Consumed, 1));
    let mut empty = records(&everything());
    empty.retain(|key, _| key == &[0]);
    assert!(read(&empty).is_ok());
    empty.insert(vec![1], vec![8, 0]);
    assert_eq!(read(&empty), field(Table::Clock, 1));
}

/// A peer may send a message of Lamport time 0 before any other.
#[test]
fn a_clock_of_0_after_a_delivery_reads_back() {
    let mut state = Snapshot::default();
    state.delivered = sds_proto::DeliverySeq(1);
    let mut records = records(&state);
    assert_eq!(records[&[1][..]], [8, 0]);
    assert_eq!(read(&records), Ok(Some(Box::new(state.clone()))));
    // As an import of an earlier release left it.
    records.remove(&[1][..]);
    assert_eq!(read(&records), Ok(Some(Box::new(state))));
}

#[test]
fn a_longer_key_or_varint_is_refused_or_another_state() {
    let whole = records(&everything());
    for (key, value) in &whole {
        let mut changed = Vec::new();
        for tail in [&[0][..], &[1; 8]] {
            changed.push(([key, tail].concat(), value.clone()));
        }
        // A byte of no bits more for whatever ends here, if it is a varint.
        for at in 0..value.len() {
            let mut longer = value.clone();
            longer[at] |= 0x80;
            longer.insert(at + 1, 0);
            changed.push((key.clone(), longer));
        }
        for (changed_key, changed_value) in changed {
            let mut records = whole.clone();
            records.remove(key);
            records.insert(changed_key, changed_value);
            assert_ne!(read(&records), Ok(Some(Box::new(everything()))), "{key:x?}");
            stored_records(&packed(&records));
        }
    }
}

#[test]
fn a_record_twice_is_refused_in_every_table() {
    let all = records(&everything());
    for (key, value) in &all {
        let pairs = all.iter().map(|(key, value)| (&key[..], &value[..]));
        let error = sds_proto::stored::snapshot(pairs.chain([(&key[..], &value[..])]));
        assert!(matches!(error, Err(StoredError::Repeated { .. })), "{key:x?}: {error:?}");
    }
}

#[test]
fn records_that_contradict_each_other_are_refused() {
    let contradiction = |table, with| Err(StoredError::Contradiction { table, with });
    assert_eq!(without(&[0]), Err(StoredError::NoChannel));
    assert_eq!(without(&[1]), contradiction(Table::Log, Table::Clock));
    assert_eq!(without(&[2]), contradiction(Table::Log, Table::Delivered));
    assert_eq!(without(&numbered(0x20, 299)), contradiction(Table::Hints, Table::Log));
    let seq = |n: u8| [&[8, n][..], &[18, 16], &[0; 16]].concat();
    assert_eq!(with(&[2], &seq(1)), contradiction(Table::Log, Table::Delivered));
    assert_eq!(with(&[3], &[8, 0xff, 0x7f]), contradiction(Table::Consumed, Table::Delivered));
    assert_eq!(with(&numbered(0x22, 299), &[8, 0]), contradiction(Table::Outgoing, Table::Log));
    assert_eq!(
        with(&numbered(0x22, 301), &[8, 0]),
        contradiction(Table::Outgoing, Table::Delivered)
    );
    let waiting = [0x18, 9, 0x2a, 1, 1, 0x30, 3];
    assert_eq!(with(b"\x30m1", &waiting), contradiction(Table::Incoming, Table::Log));
    let copy = [8, 1];
    assert_eq!(with(&numbered(0x23, 9), &copy), contradiction(Table::Bridges, Table::Log));
    let unconfirmed = [8, 0, 0x20, 1];
    assert_eq!(with(&numbered(0x22, 9), &unconfirmed), contradiction(Table::Outgoing, Table::Log));
    assert!(
        with(&numbered(0x22, 9), &[8, 0]).is_ok(),
        "the body may be evicted while it is resent"
    );
    assert_eq!(with(b"\x31m1", &[0x18, 0]), contradiction(Table::Missing, Table::Log));
    assert_eq!(with(b"\x31w1", &[0x18, 0]), contradiction(Table::Missing, Table::Incoming));
    let twice = records(&everything())[&numbered(0x20, 299)].clone();
    assert_eq!(with(&numbered(0x20, 298), &twice), contradiction(Table::Log, Table::Log));
    let all = records(&everything());
    let doubled = all.iter().chain(&all).map(|(key, value)| (&key[..], &value[..]));
    let error = sds_proto::stored::snapshot(doubled).expect_err("each key twice");
    assert_eq!(error, StoredError::Repeated { table: Table::Channel });
}

#[test]
fn a_blob_that_was_cut_off_or_changed_is_refused() {
    let blob = everything().encode();
    assert_eq!(blob[4..8], VERSION.to_be_bytes());
    for len in 0..blob.len() {
        assert!(Snapshot::decode(&blob[..len]).is_err(), "{len}");
    }
    for bit in 0..blob.len() * 8 {
        let mut changed = blob.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..4 => StoredError::NotABlob,
            4..8 => StoredError::Version {
                found: u64::from(
                    1 ^ 1_u32.rotate_left(24 - 8 * (bit as u32 / 8 - 4) + bit as u32 % 8),
                ),
            },
            _ => StoredError::Damaged,
        };
        assert_eq!(Snapshot::decode(&changed), Err(expected), "bit {bit}");
    }
}

/// A blob of these records, its checksum right.
fn blob(records: &[(Vec<u8>, Vec<u8>)], pad: bool) -> Vec<u8> {
    let mut blob = everything().encode()[..8].to_vec();
    for (key, value) in records {
        for (field, bytes) in [(1, key), (2, value)] {
            blob.push(field << 3 | 2);
            let len = u16::try_from(bytes.len()).expect("short");
            let more = if pad || len > 0x7f { 0x80 } else { 0 };
            blob.push(len as u8 & 0x7f | more);
            if more > 0 {
                blob.push((len >> 7) as u8);
            }
            blob.extend_from_slice(bytes);
        }
    }
    let mut hasher = SipHasher13::new_with_keys(0x5344_5300, 0x626c_6f62);
    hasher.write(&blob);
    blob.extend(hasher.finish128().as_u128().to_be_bytes());
    blob
}

#[test]
fn a_blob_of_the_same_state_in_other_bytes_is_refused() {
    let mut all: Vec<_> = records(&everything()).into_iter().collect();
    assert_eq!(blob(&all, false), everything().encode());
    assert_eq!(Snapshot::decode(&blob(&all, true)), Err(StoredError::Damaged), "longer lengths");
    all.swap(3, 4);
    assert_eq!(Snapshot::decode(&blob(&all, false)), Err(StoredError::Damaged), "another order");
}

#[test]
fn every_error_says_something() {
    for error in [
        StoredError::NoChannel,
        StoredError::Version { found: 9 },
        StoredError::Field { table: Table::Log, field: 3 },
        StoredError::Contradiction { table: Table::Log, with: Table::Clock },
    ] {
        assert!(error.to_string().len() > 20);
    }
    assert!(StoredError::Field { table: Table::Log, field: 3 }.to_string().contains("table log"));
}

/// Writes the corpus anew: `cargo test -p sds-proto --test stored -- --ignored corpus`.
#[test]
#[ignore = "writes files"]
fn write_the_corpus() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/store_decode");
    fs::create_dir_all(corpus).expect("writable");
    let all = records(&everything());
    let mut empty = Records::new();
    empty.insert(vec![0], all[&[0][..]].clone());
    let mut largest = empty.clone();
    largest.insert(vec![1], [&[8][..], &[0xff; 9], &[1]].concat());
    for (name, data) in [
        ("everything", packed(&all)),
        ("empty-channel", packed(&empty)),
        ("last-lamport-time", packed(&largest)),
        ("blob", everything().encode()),
    ] {
        fs::write(format!("{corpus}/{name}"), data).expect("writable");
    }
}
