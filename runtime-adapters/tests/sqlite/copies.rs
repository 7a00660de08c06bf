//! A file and a log that were not copied together: one of the states there were, or refused.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sds_runtime::store::{OpenReason, Record, Sqlite, SqliteBuilder};

use super::machine::{Machine, Survivors};
use super::{Place, changes, load, write};

/// The files that lay on the disk at one time.
#[derive(Clone)]
struct Copy {
    file: Vec<u8>,
    log: Option<Vec<u8>>,
}

fn log_of(file: &Path) -> PathBuf {
    let mut path = OsString::from(file);
    path.push("-wal");
    path.into()
}

impl Copy {
    fn of(place: &Place) -> Self {
        Self { file: fs::read(place.file()).unwrap(), log: fs::read(log_of(&place.file())).ok() }
    }

    fn put(file: &[u8], log: Option<&[u8]>) -> Place {
        let place = Place::new();
        fs::write(place.file(), file).unwrap();
        if let Some(log) = log {
            fs::write(log_of(&place.file()), log).unwrap();
        }
        place
    }
}

const CHANNELS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The copies of a store's life, and all the states it was in.
#[derive(Default)]
struct Life {
    copies: Vec<Copy>,
    states: Vec<Vec<Record>>,
}

impl Life {
    /// Some pages of records.
    fn begins(place: &Place) -> Self {
        let mut store = Sqlite::open(place.file()).unwrap();
        for channel in CHANNELS {
            write(&mut store, changes::message(channel, 1, 3_000)).unwrap();
        }
        let states = vec![state(&mut store)];
        drop(store);
        Self { copies: vec![Copy::of(place)], states }
    }

    /// Changes one page or two in place, so that pages of different times fit each other.
    fn goes_on(&mut self, place: &Place, store: &mut Sqlite, number: usize) {
        write(store, changes::clock(CHANNELS[number % CHANNELS.len()], number as u64)).unwrap();
        self.states.push(state(store));
        self.copies.push(Copy::of(place));
    }
}

fn state(store: &mut Sqlite) -> Vec<Record> {
    CHANNELS.iter().flat_map(|channel| load(store, channel).unwrap()).collect()
}

/// Puts each file beside each log. How many were opened, and how many refused.
fn mix(life: &Life) -> (usize, usize) {
    let (mut opened, mut refused) = (0, 0);
    let logs = life.copies.iter().filter_map(|copy| copy.log.as_ref());
    for (which_log, log) in logs.enumerate() {
        for (which_file, Copy { file, log: own }) in life.copies.iter().enumerate() {
            let place = Copy::put(file, Some(log));
            match Sqlite::open(place.file()) {
                Ok(mut store) => {
                    let found = state(&mut store);
                    assert!(
                        life.states.contains(&found),
                        "a mixture of file {which_file} and log {which_log}"
                    );
                    opened += 1;
                }
                Err(error) => {
                    assert!(own.as_ref() != Some(log), "{which_file}, {which_log}: {error}");
                    assert!(
                        matches!(error.reason, OpenReason::OtherLog { .. }),
                        "{which_file}, {which_log}: {error}"
                    );
                    assert!(fs::read(place.file()).unwrap() == *file);
                    assert!(fs::read(log_of(&place.file())).unwrap() == *log);
                    refused += 1;
                }
            }
        }
    }
    (opened, refused)
}

#[test]
fn no_file_and_log_of_different_times_open_as_a_mixture() {
    let place = Place::new();
    let mut life = Life::begins(&place);
    for opening in 0..4 {
        let mut store = Sqlite::open(place.file()).unwrap();
        for number in 0..4 {
            life.goes_on(&place, &mut store, 2 + opening * 4 + number);
        }
        drop(store);
        life.copies.push(Copy::of(&place));
    }
    let (opened, refused) = mix(&life);
    assert!(opened >= 16 && refused > 100, "{opened} opened, {refused} refused");
}

/// Long enough for the log to be carried into the file, and begun again, while the store is open.
#[test]
fn no_file_opens_with_another_log_when_it_begins_again() {
    let place = Place::new();
    let mut life = Life::begins(&place);
    let mut store = Sqlite::open(place.file()).unwrap();
    for number in 2..14 {
        // Over and over in the same pages.
        for len in 5_000..5_060 {
            write(&mut store, changes::message("z", 1, len)).unwrap();
        }
        life.goes_on(&place, &mut store, number);
    }
    let begun: BTreeSet<_> = life
        .copies
        .iter()
        .filter_map(|copy| Some(copy.log.as_ref()?.get(..32)?.to_vec()))
        .collect();
    assert!(begun.len() > 2, "the log began {} times", begun.len());
    let (opened, refused) = mix(&life);
    assert!(opened >= 12 && refused > 20, "{opened} opened, {refused} refused");
}

/// Returns the files as the release before marks left them: the same without their table, and with
/// the log if it was killed.
fn of_the_release_before(place: &Place, killed: bool) -> Place {
    let theirs = Connection::open(place.file()).unwrap();
    theirs.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    theirs.execute_batch("DROP TABLE log").unwrap();
    theirs.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
    if killed {
        theirs.execute_batch("DELETE FROM records WHERE channel = x'62'").unwrap();
    }
    let Copy { file, log } = Copy::of(place);
    assert_eq!(log.as_ref().is_some_and(|log| !log.is_empty()), killed);
    Copy::put(&file, log.as_deref())
}

#[test]
fn a_store_of_the_release_before_marks_opens_with_its_log() {
    for killed in [false, true] {
        let place = Place::new();
        let mut expected = Life::begins(&place).states.remove(0);
        let old = of_the_release_before(&place, killed);
        if killed {
            let mut store = Sqlite::open(place.file()).unwrap();
            let gone = load(&mut store, "b").unwrap();
            expected = state(&mut store);
            assert!(gone.is_empty());
        }
        let unmarked = fs::read(old.file()).unwrap();
        let mut store = Sqlite::open(old.file()).unwrap();
        assert_eq!(state(&mut store), expected);
        write(&mut store, changes::clock("a", 2)).unwrap();
        // It has marks from now on: its copy of before does not go with its log.
        let mixed = Copy::put(&unmarked, Copy::of(&old).log.as_deref());
        let error = Sqlite::open(mixed.file()).unwrap_err();
        assert!(matches!(error.reason, OpenReason::OtherLog { .. }), "{error}");
    }
}

#[test]
fn a_refused_log_is_named_with_its_file_and_what_to_do() {
    let place = Place::new();
    let old = Life::begins(&place).copies.remove(0);
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 2)).unwrap();
    drop(store);
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 3)).unwrap();
    let newer = Copy::of(&place);
    let mixed = Copy::put(&old.file, newer.log.as_deref());
    let log = log_of(&fs::canonicalize(mixed.file()).unwrap());
    let said = Sqlite::open(mixed.file()).unwrap_err().to_string();
    assert!(said.starts_with(&format!("{}: the log {} ", mixed.file().display(), log.display())));
    assert!(said.contains("put back the file") && said.contains("move the log away"), "{said}");
    // Either remedy works.
    fs::remove_file(&log).unwrap();
    drop(Sqlite::open(mixed.file()).unwrap());
    fs::write(mixed.file(), &newer.file).unwrap();
    fs::write(&log, newer.log.unwrap()).unwrap();
    assert_eq!(state(&mut Sqlite::open(mixed.file()).unwrap()), state(&mut store));
}

#[test]
fn the_advice_for_a_damaged_file_names_what_lies_beside_it() {
    let place = Place::new();
    drop(Life::begins(&place));
    let len = fs::metadata(place.file()).unwrap().len();
    fs::File::options().write(true).open(place.file()).unwrap().set_len(len / 2).unwrap();
    let said = Sqlite::open(place.file()).unwrap_err().to_string();
    for beside in ["-wal", "-shm", "-journal", "backup"] {
        assert!(said.contains(beside), "{said}");
    }
}

/// A crash of a first opening leaves a journal that takes any file back to nothing.
#[test]
fn a_file_beside_the_journal_of_a_first_transaction_keeps_its_records() {
    let sound = Place::new();
    let copy = Life::begins(&sound).copies.remove(0);
    let mut journals = 0;
    for operation in 0.. {
        let (place, machine) = (Place::new(), Machine::new());
        machine.fail_power_at(operation, Survivors::None);
        let opened = SqliteBuilder::new().vfs(machine.vfs()).open(place.file());
        if opened.is_ok() {
            break;
        }
        if !place.files().contains(&"store.db-journal".to_owned()) {
            continue;
        }
        fs::write(place.file(), &copy.file).unwrap();
        match Sqlite::open(place.file()) {
            Ok(mut store) => assert_eq!(state(&mut store), state_of(&sound), "{operation}"),
            Err(error) => {
                assert!(matches!(error.reason, OpenReason::OtherLog { .. }), "{error}");
                assert!(error.to_string().contains("-journal"), "{error}");
                assert!(fs::read(place.file()).unwrap() == copy.file, "{operation}");
                journals += 1;
            }
        }
    }
    assert!(journals > 2, "{journals}");
}

fn state_of(place: &Place) -> Vec<Record> {
    state(&mut Sqlite::open(place.file()).unwrap())
}

/// A file that a crash left with a part of its log in it, without that log.
#[test]
fn a_file_with_half_a_log_in_it_does_not_open_with_the_next() {
    let begun = Place::new();
    let first = Life::begins(&begun).copies.remove(0);
    let mut half = 0;
    for operation in 0.. {
        let (place, machine) = (Place::new(), Machine::new());
        fs::write(place.file(), &first.file).unwrap();
        let opened = SqliteBuilder::new().vfs(machine.vfs()).open(place.file());
        let mut store = opened.unwrap();
        for (channel, lamport) in CHANNELS.iter().zip(2..) {
            write(&mut store, changes::clock(channel, lamport)).unwrap();
        }
        let whole = state(&mut store);
        // While it is closed, which carries the log into the file.
        machine
            .fail_power_at(machine.operations() + operation, Survivors::Some { seed: operation });
        drop(store);
        if !machine.is_off() {
            break;
        }
        let crashed = Copy::of(&place);
        let mut store = Sqlite::open(place.file()).unwrap();
        assert_eq!(state(&mut store), whole, "{operation}");
        write(&mut store, changes::clock("a", 100)).unwrap();
        let last = state(&mut store);
        let mixed = Copy::put(&crashed.file, Copy::of(&place).log.as_deref());
        match Sqlite::open(mixed.file()) {
            Ok(mut store) => assert!(state(&mut store) == last, "{operation}: a mixture"),
            Err(error) => {
                assert!(matches!(error.reason, OpenReason::OtherLog { .. }), "{error}");
                half += 1;
            }
        }
    }
    assert!(half > 8, "{half}");
}
