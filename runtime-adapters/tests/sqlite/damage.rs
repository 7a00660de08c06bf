//! Files that were changed by accident. Whatever the damage: an error, or the very records.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use sds_proto::StoreError;
use sds_runtime::store::{OpenReason, Record, Sqlite, SqliteBuilder};

use super::{Place, changes, filled, load, write};

/// Result of opening a damaged file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    NotOpened,
    NotLoaded,
    Harmless,
}

/// Opens a file that was damaged; what can be read must be `records`.
fn outcome(path: &Path, records: &[Vec<Record>]) -> Outcome {
    let damaged = fs::read(path).unwrap();
    let mut store = match Sqlite::open(path) {
        Ok(store) => store,
        Err(error) => {
            assert!(
                !matches!(error.reason, OpenReason::Sqlite { .. } | OpenReason::Io(_)),
                "{error}"
            );
            assert_eq!(fs::read(path).unwrap(), damaged, "what is not opened is left as it is");
            return Outcome::NotOpened;
        }
    };
    let mut outcome = Outcome::Harmless;
    for (channel, expected) in ["one", "two"].iter().zip(records) {
        match load(&mut store, channel) {
            Ok(found) => assert!(found == *expected, "garbage"),
            Err(error) => {
                assert_eq!(error, StoreError::Corrupt);
                outcome = Outcome::NotLoaded;
            }
        }
    }
    outcome
}

fn records(path: &Path) -> Vec<Vec<Record>> {
    let mut store = Sqlite::open(path).unwrap();
    ["one", "two"].map(|channel| load(&mut store, channel).unwrap()).into()
}

#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let place = Place::new();
    filled(&place.file());
    let (expected, sound) = (records(&place.file()), fs::read(place.file()).unwrap());
    let mut outcomes = Vec::new();
    let mut rng = fastrand::Rng::with_seed(1);
    // The header and the beginning of each page, where a bit means most, and a sample of the rest.
    for at in 0..sound.len() {
        if at % 4_096 >= 120 && rng.u32(0..16) > 0 {
            continue;
        }
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << rng.u32(0..8);
        fs::write(place.file(), &damaged).unwrap();
        outcomes.push(outcome(&place.file(), &expected));
    }
    let noticed = outcomes.iter().filter(|outcome| **outcome != Outcome::Harmless).count();
    assert!(noticed > 200, "{noticed} of {} flips were noticed", outcomes.len());
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let place = Place::new();
    filled(&place.file());
    let (expected, sound) = (records(&place.file()), fs::read(place.file()).unwrap());
    for len in (1..sound.len()).step_by(97).chain([1, 15, 16, 71, 99, 100, sound.len() - 1]) {
        fs::write(place.file(), &sound[..len]).unwrap();
        let outcome = outcome(&place.file(), &expected);
        // The end of the last page holds nothing.
        let holds_nothing = outcome == Outcome::Harmless && sound[len..].iter().all(|b| *b == 0);
        assert!(outcome == Outcome::NotOpened || holds_nothing, "{len} bytes: {outcome:?}");
    }
}

#[test]
fn a_page_of_zeros_or_of_another_place_is_noticed() {
    let place = Place::new();
    filled(&place.file());
    let (expected, sound) = (records(&place.file()), fs::read(place.file()).unwrap());
    let pages = sound.len() / 4_096;
    for page in 1..pages {
        for source in 0..pages {
            let mut damaged = sound.clone();
            let target = page * 4_096..(page + 1) * 4_096;
            match source {
                0 => damaged[target].fill(0),
                _ => damaged.copy_within(source * 4_096..(source + 1) * 4_096, target.start),
            }
            fs::write(place.file(), &damaged).unwrap();
            let noticed = outcome(&place.file(), &expected) != Outcome::Harmless;
            assert!(noticed || damaged == sound, "page {page} replaced by {source}");
        }
    }
}

/// Damage that leaves a sound SQLite file: only the checksum of the record tells.
#[test]
fn a_changed_record_is_noticed() {
    let one = "(channel, key) = (SELECT channel, key FROM records LIMIT 1)";
    for damage in ["value = x'0801'", "checksum = checksum + 1", "channel = x'00'", "key = x'02'"] {
        let place = Place::new();
        filled(&place.file());
        let theirs = Connection::open(place.file()).unwrap();
        let changed = theirs.execute(&format!("UPDATE records SET {damage} WHERE {one}"), ());
        assert_eq!(changed, Ok(1));
        drop(theirs);
        for full in [false, true] {
            let error = SqliteBuilder::new().full_check(full).open(place.file()).unwrap_err();
            assert!(matches!(&error.reason, OpenReason::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains("checksum"), "{error}");
        }
    }
}

#[test]
fn a_record_that_is_changed_while_the_store_is_open_is_noticed_when_it_is_loaded() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    // More than SQLite keeps in memory.
    let batch = (1..2_000).flat_map(|number| changes::message("one", number, 3_000)).collect();
    write(&mut store, batch).unwrap();
    drop(store);
    let mut store = Sqlite::open(place.file()).unwrap();
    let mut content = fs::read(place.file()).unwrap();
    let at = content.windows(8).position(|window| window == [1; 8]).unwrap();
    content[at] = 7;
    fs::write(place.file(), content).unwrap();
    assert_eq!(load(&mut store, "one"), Err(StoreError::Corrupt));
}
