//! The contents of a participant's file.

use core::error::Error;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sds_proto::stored;
use sds_runtime::Wait;
use sds_runtime::store::{Sqlite, Store};
use tempfile::TempDir;

use crate::group::CHANNEL;
use crate::pipe::Message;

/// The state of a node as it would start from it.
#[derive(Default, Debug)]
pub(crate) struct Disk {
    /// In the order of the log.
    pub(crate) log: Vec<Message>,
    /// Ids of own messages that nobody has acknowledged.
    pub(crate) outgoing: Vec<String>,
}

impl Disk {
    /// Reads a copy of a file and of the log beside it, as a killed process left them.
    pub(crate) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let dir = TempDir::with_prefix("sds-kill")?;
        let copy = dir.path().join("copy.db");
        fs::copy(file, &copy)?;
        let log = beside(file);
        if log.exists() {
            fs::copy(&log, beside(&copy))?;
        }
        let mut store = Sqlite::open(&copy)?;
        let records = store.load(&CHANNEL.into()).wait()?;
        let pairs = records.iter().map(|record| (&record.key[..], &record.value[..]));
        let Some(state) = stored::snapshot(pairs)? else {
            return Ok(Self::default());
        };
        let by_seq: BTreeMap<_, _> =
            state.log.iter().map(|(seq, stored)| (*seq, Message::new(&stored.entry))).collect();
        let outgoing = state.outgoing.keys().map(|seq| by_seq[seq].id.clone()).collect();
        let mut log: Vec<_> = by_seq.into_values().collect();
        log.sort_by(|a, b| (a.lamport, &a.id).cmp(&(b.lamport, &b.id)));
        Ok(Self { log, outgoing })
    }
}

/// The write-ahead log of a SQLite file.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
