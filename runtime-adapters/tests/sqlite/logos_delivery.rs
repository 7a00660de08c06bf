//! State taken over from the file of logos-delivery.

use std::path::Path;

use rusqlite::Connection;
use sds_proto::snapshot::Snapshot;
use sds_proto::stored;
use sds_proto::wire::{Limits, NimForm, Outgoing, WireDialect};
use sds_proto::{ChannelId, Config, Dialect, Durability, Instant, Now, UnixMillis};
use sds_runtime::store::{ImportError, OpenReason, read_logos_delivery};

use crate::*;

/// A file with these rows, as logos-delivery lays it out.
fn file(path: &Path, rows: &[(&str, &[&str], &[u8])]) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA user_version = 1;
             CREATE TABLE kv (category BLOB NOT NULL, key BLOB NOT NULL, payload BLOB NOT NULL,
                 PRIMARY KEY (category, key)) WITHOUT ROWID;",
        )
        .unwrap();
    for (category, parts, payload) in rows {
        let mut key = Vec::new();
        for part in *parts {
            key.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            key.extend(part.as_bytes());
        }
        let row = (category.as_bytes(), key, *payload);
        connection.execute("INSERT INTO kv VALUES (?1, ?2, ?3)", row).unwrap();
    }
}

/// A message of nim-sds 0.4.
fn message(id: &str, lamport: u64) -> Vec<u8> {
    let mut message = Outgoing::default();
    (message.message_id, message.channel_id) = (id.as_bytes(), b"general");
    (message.lamport, message.nim_form) = (Some(lamport), NimForm::V04);
    message.content = Some(b"hello");
    let mut bytes = bytes::BytesMut::new();
    message.encode(WireDialect::NimSds, &mut bytes);
    bytes.to_vec()
}

#[test]
fn a_channel_of_logos_delivery_becomes_one_of_ours() {
    let place = Place::new();
    let old = place.0.path().join("persistency.db");
    let (first, second) = (message("m1", 1_000), message("m2", 2_000));
    file(
        &old,
        &[
            ("sds.log", &["general", "m2"], &second),
            ("sds.log", &["general", "m1"], &first),
            ("sds.meta", &["general"], &[0x08, 1, 0x10, 0xd0, 0x0f]),
            ("sds.migration", &["general", "wire-v0.4"], &[1]),
        ],
    );
    let channels = read_logos_delivery(&old, &Limits::default()).unwrap();
    let data = &channels[&ChannelId::from("general")];
    assert_eq!((channels.len(), data.meta.lamport, data.messages.len()), (1, 2_000, 2));

    let config = Config::builder().participant_id("alice".into()).dialect(Dialect::NimSds);
    let config = config.durability(Durability::Strict).build().unwrap();
    let now = Now::new(Instant::ZERO, UnixMillis(5_000));
    let channel = ChannelId::from("general");
    let state = Snapshot::from_nim_sds(data, &channel, &config, now);
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, stored::import(&channel, &state)).unwrap();
    let records = load(&mut store, "general").unwrap();
    let records = records.iter().map(|record| (&record.key[..], &record.value[..]));
    let loaded = stored::snapshot(records).unwrap().unwrap();
    assert_eq!(loaded, state);
    let ids: Vec<_> =
        loaded.log.values().map(|stored| stored.entry.message_id().as_bytes()).collect();
    assert_eq!(ids, [b"m1", b"m2"]);
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let place = Place::new();
    let read = || read_logos_delivery(place.file(), &Limits::default()).unwrap_err();
    assert!(matches!(read(), ImportError::Open(_)), "{}", read());
    assert_eq!(place.files(), [""; 0], "none is made");
    fs::write(place.file(), "a text that is longer than the header of a SQLite file. ".repeat(9))
        .unwrap();
    let ImportError::Open(error) = read() else { panic!("{}", read()) };
    assert!(matches!(error.reason, OpenReason::Corrupt { .. }), "{error}");
    fs::remove_file(place.file()).unwrap();
    Connection::open(place.file()).unwrap().execute_batch("CREATE TABLE kv (a)").unwrap();
    assert_eq!(read(), ImportError::Version { found: 0 });
}

#[test]
fn a_row_that_cannot_be_read_stops_the_import() {
    let place = Place::new();
    file(&place.file(), &[("sds.log", &["general", "m1"], &[0x0a, 9])]);
    let error = read_logos_delivery(place.file(), &Limits::default()).unwrap_err();
    let wanted = "message m1 of channel general cannot be read: truncated: the value at byte 1 does \
                  not end: nothing was imported";
    assert_eq!(error.to_string(), wanted);
}
