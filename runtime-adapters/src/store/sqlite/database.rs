//! The contents of the file.

use core::hash::Hasher;
use core::time::Duration;

use bytes::Bytes;
use rusqlite::config::DbConfig;
use rusqlite::ffi;
use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags, Row, ToSql, Transaction, TransactionBehavior,
};
use sds_proto::stored::{Op, Write};
use sds_proto::{ChannelId, StoreError};
use siphasher::sip::SipHasher13;

use super::backup::{BackupError, Target};
use super::file::{self, APPLICATION_ID, Claim};
use super::log::{self, Marks, Stage};
use super::{OpenReason, SqliteBuilder, Synchronous};
use crate::store::Record;

/// Version of the schema, kept as `user_version`; 0 in a file that has none yet.
const SCHEMA: u32 = 1;

/// Without an id of its own for each row: records are only ever found by channel and key.
const CREATE: &str = "
    CREATE TABLE records (
        channel BLOB NOT NULL,
        key BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (channel, key)
    ) STRICT, WITHOUT ROWID;";

/// Bytes that SQLite allows for a row, as it is compiled.
const MAX_ROW: u64 = 1_000_000_000;
/// Bytes of key and value that a row has room for: its channel has at most 64 KiB, and the rest is
/// short.
pub(super) const MAX_RECORD: u64 = MAX_ROW - (64 << 10) - 64;

const PUT: &str = "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4)";
const REMOVE: &str = "DELETE FROM records WHERE channel = ?1 AND key = ?2";
const REMOVE_RANGE: &str = "DELETE FROM records WHERE channel = ?1 AND key BETWEEN ?2 AND ?3";
const CLEAR: &str = "DELETE FROM records WHERE channel = ?1";
const LOAD: &str = "SELECT channel, key, checksum, value FROM records WHERE channel = ?1";
/// One record of the next channel: a seek, however many records a channel has.
const NEXT_CHANNEL: &str = "
    SELECT channel, key, checksum, value FROM records WHERE channel > ?1
    ORDER BY channel, key LIMIT 1";
const LOAD_ALL: &str = "SELECT channel, key, checksum, value FROM records";

/// An open file that nobody else can open.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    log: Stage,
    /// Given up last: SQLite still works on the file while it closes it.
    claim: Claim,
}

impl Database {
    /// Opens the claimed file, checks it, and makes the table if there is none.
    pub(super) fn open(claim: Claim, settings: &SqliteBuilder) -> Result<Self, OpenReason> {
        let path = claim.path();
        let alone = file::look_at(path, settings.vfs.as_deref())?;
        // No other thread uses the connection. A file that is not there was made by the claim.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match &settings.vfs {
            None => Connection::open_with_flags(path, flags)?,
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
        };
        let mut database = Self { connection, log: Stage::Empty, claim };
        if database.connection.is_readonly(MAIN_DB)? {
            return Err(OpenReason::ReadOnly);
        }
        // A file that is refused keeps its log beside it, as it was found.
        database.keep_log_at_close(true)?;
        let marks = database.lock_and_set_up(&alone)?;
        check(&database.connection, settings.full_check)?;
        database.recover(&marks)?;
        database.keep_log_at_close(false)?;
        database.claim.note_log();
        if let Some(bytes) = settings.max_bytes {
            let page_size: u32 = database.pragma("page_size")?;
            let pages = u32::try_from(bytes / u64::from(page_size)).unwrap_or(u32::MAX);
            database.connection.pragma_update(None, "max_page_count", pages.max(1))?;
        }
        Ok(database)
    }

    fn keep_log_at_close(&self, keep: bool) -> rusqlite::Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
    }

    /// Takes the file for this connection alone, and its log in. Gives the marks that are then
    /// there.
    fn lock_and_set_up(&self, alone: &Marks) -> Result<Marks, OpenReason> {
        let connection = &self.connection;
        // A locked file stays locked, so waiting is useless.
        connection.busy_timeout(Duration::ZERO)?;
        // From the first transaction on the file stays locked; the index of its log is then kept
        // in memory and not in a file beside it.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // Code stored in a file is not executed.
        connection.pragma_update(None, "trusted_schema", false)?;
        // When the log is carried into the file is not SQLite's affair.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Exclusive)?;
        let marks = Marks::read(&transaction);
        if !marks.go_on(alone) {
            return Err(OpenReason::OtherLog { log: file::beside(self.claim.path(), "-wal") });
        }
        match self.pragma::<i32>("user_version")?.cast_unsigned() {
            0 => {
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
                transaction.execute_batch(CREATE)?;
                transaction.execute_batch(log::CREATE)?;
            }
            SCHEMA => {}
            found => return Err(OpenReason::NewerSchema { found, known: SCHEMA }),
        }
        transaction.commit()?;
        Ok(marks)
    }

    /// Goes on after the last life, with a log that is the file's own.
    fn recover(&mut self, marks: &Marks) -> Result<(), OpenReason> {
        if log::pages(&self.connection, "NOOP")?.0 > 0 {
            self.log = if marks.is_ended() { Stage::Ended } else { Stage::Begun };
        }
        if Marks::read(&self.connection) == Marks::None {
            // Without a log, so that it is the file that has the table.
            self.set_journal_mode("DELETE")?;
            self.log = Stage::Empty;
            let transaction = self.transaction()?;
            transaction.execute_batch(log::CREATE)?;
            transaction.commit()?;
        }
        self.set_journal_mode("WAL")?;
        if self.log == Stage::Ended && self.carry()? {
            // Somebody may have copied the file with a part of the log in it, which has the mark
            // of the whole. What comes now does not go on that.
            let transaction = self.transaction()?;
            begin_log(&transaction)?;
            transaction.commit()?;
            self.log = Stage::Begun;
        }
        match self.carry() {
            // It is tried again when there is room.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(()),
            carried => Ok(carried.map(drop)?),
        }
    }

    fn set_journal_mode(&self, mode: &str) -> Result<(), OpenReason> {
        let found: String =
            self.connection
                .pragma_update_and_check(None, "journal_mode", mode, |row| row.get(0))?;
        if found.eq_ignore_ascii_case(mode) {
            return Ok(());
        }
        Err(OpenReason::Sqlite { message: format!("its journal mode is {found}") })
    }

    fn transaction(&self) -> rusqlite::Result<Transaction<'_>> {
        Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
    }

    /// Carries the log into the file, which then needs it no more. Whether all of it was.
    fn carry(&mut self) -> rusqlite::Result<bool> {
        if self.log == Stage::Begun {
            self.connection.execute(log::END, ())?;
            self.log = Stage::Ended;
        }
        if self.log == Stage::Ended {
            let (pages, carried) = log::pages(&self.connection, "PASSIVE")?;
            if pages == carried {
                self.log = Stage::Empty;
            }
        }
        Ok(self.log == Stage::Empty)
    }

    fn pragma<T: rusqlite::types::FromSql>(&self, name: &str) -> rusqlite::Result<T> {
        self.connection.pragma_query_value(None, name, |row| row.get(0))
    }

    pub(super) fn set_synchronous(&mut self, level: Synchronous) -> Result<(), StoreError> {
        let (synchronous, flushes_disk) = match level {
            Synchronous::Off => ("OFF", false),
            Synchronous::Normal => ("NORMAL", false),
            Synchronous::Full => ("FULL", true),
        };
        let set = |name, value: &dyn ToSql| self.connection.pragma_update(None, name, value);
        set("synchronous", &synchronous).map_err(store_error)?;
        // On macOS a sync leaves data in the disk's own memory.
        set("fullfsync", &flushes_disk).map_err(store_error)?;
        set("checkpoint_fullfsync", &flushes_disk).map_err(store_error)
    }

    /// All of it in order, or nothing.
    pub(super) fn write<'a>(
        &mut self,
        writes: impl Iterator<Item = &'a Write>,
    ) -> Result<(), StoreError> {
        let write = || {
            let transaction = self.transaction()?;
            if self.log == Stage::Empty {
                begin_log(&transaction)?;
            }
            for write in writes {
                apply(&transaction, write)?;
            }
            transaction.commit()
        };
        write().map_err(store_error)?;
        if self.log == Stage::Empty {
            self.log = Stage::Begun;
        }
        if log::pages(&self.connection, "NOOP").is_ok_and(|(pages, _)| pages >= log::MAX_PAGES) {
            // The write is safe in the log; if it cannot be carried now, it will be.
            drop(self.carry());
        }
        // A write that is safe in a file that nobody will find is not safe.
        if self.claim.are_in_place() { Ok(()) } else { Err(StoreError::Moved) }
    }

    /// Copies all records of one moment.
    pub(super) fn back_up(&self, target: &Target) -> Result<(), BackupError> {
        target.write(&self.connection)
    }

    /// All records of a channel.
    pub(super) fn load(&self, channel: &ChannelId) -> Result<Vec<Record>, StoreError> {
        let load = || {
            let mut statement = self.connection.prepare_cached(LOAD)?;
            let mut rows = statement.query([channel.as_bytes()])?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.push(record(row)?);
            }
            Ok(records)
        };
        let records: Vec<Option<Record>> = load().map_err(store_error)?;
        records.into_iter().collect::<Option<_>>().ok_or(StoreError::Corrupt)
    }

    /// The channels that have records, in order.
    pub(super) fn channels(&self) -> Result<Vec<ChannelId>, StoreError> {
        let mut channels: Vec<ChannelId> = Vec::new();
        loop {
            // No channel's id is empty.
            let last = channels.last().map_or(&[][..], |channel| channel.as_bytes());
            match self.channel_after(last).map_err(store_error)? {
                None => return Ok(channels),
                Some(next) => channels.push(next.ok_or(StoreError::Corrupt)?),
            }
        }
    }

    /// The next channel, if there is one; `None` in place of its id if the record that says so is
    /// damaged.
    fn channel_after(&self, channel: &[u8]) -> rusqlite::Result<Option<Option<ChannelId>>> {
        let mut statement = self.connection.prepare_cached(NEXT_CHANNEL)?;
        let mut rows = statement.query([channel])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let sound = record(row)?.is_some();
        let id = row.get_ref(0)?.as_blob()?;
        Ok(Some(sound.then(|| ChannelId::from(id))))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SQLite carries a log that has not ended as well, and takes it away.
        if self.carry().is_err() && self.log == Stage::Begun {
            drop(self.keep_log_at_close(true));
        }
    }
}

/// Says on which mark the log goes on, with the page that says that there are marks, so that this
/// is read even if the file is of a time before them.
fn begin_log(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute(log::BEGIN, ())?;
    transaction.pragma_update(None, "user_version", SCHEMA)
}

/// Whether all is as this release makes it.
pub(super) fn check(connection: &Connection, full: bool) -> Result<(), OpenReason> {
    let pragma = if full { "integrity_check" } else { "quick_check" };
    let finding: String = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
    if finding != "ok" {
        // A headline, and then a line for each.
        let first = finding.lines().find(|line| !line.starts_with("***"));
        return Err(OpenReason::Corrupt { finding: first.unwrap_or("no details").into() });
    }
    for statement in [PUT, REMOVE, REMOVE_RANGE, CLEAR, LOAD, NEXT_CHANNEL] {
        // Fails if the table is not the one that this release makes.
        let prepared = connection.prepare_cached(statement);
        prepared.map_err(|error| OpenReason::Corrupt { finding: error.to_string() })?;
    }
    if !all_records_are_sound(connection)? {
        return Err(OpenReason::Corrupt { finding: "a record's checksum is wrong".into() });
    }
    Ok(())
}

fn all_records_are_sound(connection: &Connection) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare(LOAD_ALL)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if record(row)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn apply(connection: &Connection, Write { channel, op }: &Write) -> rusqlite::Result<()> {
    let channel = channel.as_bytes();
    let run = |statement, parameters: &[&dyn ToSql]| {
        connection.prepare_cached(statement)?.execute(parameters).map(drop)
    };
    match op {
        Op::Put { key, value } => {
            let (key, value) = (&key[..], &value[..]);
            run(PUT, &[&channel, &key, &checksum(channel, key, value), &value])
        }
        Op::Remove { key } => run(REMOVE, &[&channel, &&key[..]]),
        Op::RemoveRange { first, last } => run(REMOVE_RANGE, &[&channel, &&first[..], &&last[..]]),
        Op::Clear => run(CLEAR, &[&channel]),
    }
}

/// A row's record; `None` if its checksum is wrong.
fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let blob = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_blob()?);
    let (channel, key, value) = (blob(0)?, blob(1)?, blob(3)?);
    let sound = row.get::<_, i64>(2)? == checksum(channel, key, value);
    let record =
        || Record { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) };
    Ok(sound.then(record))
}

/// Tells accidents, not forgeries: SipHash-1-3 under a fixed key, of the parts and where they end.
fn checksum(channel: &[u8], key: &[u8], value: &[u8]) -> i64 {
    let mut hasher = SipHasher13::new_with_keys(0x5344_5300, 0x726f_7773);
    for part in [channel, key] {
        hasher.write(&(part.len() as u64).to_be_bytes());
        hasher.write(part);
    }
    hasher.write(value);
    hasher.finish().cast_signed()
}

fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        _ if is_damage(&error) => StoreError::Corrupt,
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Unavailable,
    }
}

impl From<rusqlite::Error> for OpenReason {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_damage(&error) => Self::Corrupt { finding: error.to_string() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            _ => Self::Sqlite { message: error.to_string() },
        }
    }
}

/// Whether the file is to blame.
fn is_damage(error: &rusqlite::Error) -> bool {
    let Some(failure) = error.sqlite_error() else {
        // A row with something else in it than the table has.
        return true;
    };
    matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        || failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_row_is_what_sqlite_allows() {
        let connection = Connection::open_in_memory().unwrap();
        // It has a length before it has bytes.
        let len = |bytes: u64| {
            let bytes = bytes.cast_signed();
            connection.query_row("SELECT length(zeroblob(?1))", [bytes], |row| row.get::<_, i64>(0))
        };
        assert_eq!(len(MAX_ROW), Ok(MAX_ROW.cast_signed()));
        assert!(len(MAX_ROW + 1).is_err());
    }
}
