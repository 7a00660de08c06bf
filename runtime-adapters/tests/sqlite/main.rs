//! The store in a SQLite file: what it keeps, what it refuses to open, what damage it notices.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod backup;
mod changes;
mod copies;
mod damage;
mod logos_delivery;
mod machine;
mod open;
mod power;
mod records;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

use sds_proto::stored::Write;
use sds_proto::{ChannelId, StoreError};
use sds_runtime::Wait;
use sds_runtime::store::{Record, Sqlite, Store};
use tempfile::TempDir;

/// A place for a file that is not there yet.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    /// The names of the files in the directory.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn write(store: &mut Sqlite, batch: Vec<Write>) -> Result<(), StoreError> {
    store.write(batch).wait()
}

/// The records of a channel, in order of their keys.
fn load(store: &mut impl Store, channel: &str) -> Result<Vec<Record>, StoreError> {
    let mut records = store.load(&ChannelId::from(channel)).wait()?;
    records.sort();
    Ok(records)
}

/// A file with records of two channels, closed.
fn filled(path: &Path) {
    let mut store = Sqlite::open(path).unwrap();
    for channel in ["one", "two"] {
        write(&mut store, changes::message(channel, 1, 300)).unwrap();
        write(&mut store, changes::message(channel, 2, 3_000)).unwrap();
    }
}
