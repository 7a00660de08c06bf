//! A file and a log that were not copied together: one of the states there were, or refused.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sds_runtime::store::{OpenReason, Record, Sqlite};

use super::{Place, changes, load, write};

/// What lay on the disk at one time.
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
