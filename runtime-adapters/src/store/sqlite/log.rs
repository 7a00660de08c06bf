//! The marks that tell which file a log beside it belongs to.
//!
//! SQLite takes any sound log for the file's own, so that an old copy of a file beside the log of
//! a newer one would become a mixture of both. Therefore a file has a *mark*, by chance:
//!
//! * The first transaction of a log says on which mark the log goes on, its *base*.
//! * Before a log is carried into the file, its last transaction gives the file a new mark.
//!
//! So the mark of the file alone is the log's base, or, while the log is being carried into it, the
//! new one. A file with any other mark is of another time, or of another store.

use rusqlite::Connection;

/// A table of one row. 128 bits by chance are never the same again.
pub(super) const CREATE: &str = "
    CREATE TABLE log (mark BLOB NOT NULL, base BLOB NOT NULL) STRICT;
    INSERT INTO log VALUES (randomblob(16), x'');";
/// A log begins.
pub(super) const BEGIN: &str = "UPDATE log SET base = mark";
/// A log ends; also for a copy of the file, which is to be mistaken for none of its states.
pub(super) const END: &str = "UPDATE log SET mark = randomblob(16)";

/// Pages after which a log is carried into the file.
pub(super) const MAX_PAGES: u32 = 1_000;

/// The marks that are to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Marks {
    /// Those of the table.
    Some { mark: Vec<u8>, base: Vec<u8> },
    /// There is no table: a new file, or one of a release that had no marks.
    None,
    /// The file is not whole without its log.
    Unknown,
}

impl Marks {
    pub(super) fn read(connection: &Connection) -> Self {
        let read = || {
            let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'log'";
            if connection.query_row(tables, (), |row| row.get::<_, i64>(0))? == 0 {
                return Ok(Self::None);
            }
            connection.query_row("SELECT mark, base FROM log", (), |row| {
                Ok(Self::Some { mark: row.get(0)?, base: row.get(1)? })
            })
        };
        let marks: rusqlite::Result<Self> = read();
        marks.unwrap_or(Self::Unknown)
    }

    /// Whether the log through which these were read may go on a file that has `file` alone.
    pub(super) fn go_on(&self, file: &Self) -> bool {
        match (self, file) {
            (Self::Some { mark, base }, Self::Some { mark: file, .. }) => {
                file == mark || file == base
            }
            (Self::None, Self::None) | (_, Self::Unknown) | (Self::Unknown, _) => true,
            (Self::None, Self::Some { .. }) | (Self::Some { .. }, Self::None) => false,
        }
    }

    /// Whether the log through which these were read has said that it ends.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Some { mark, base } if mark != base)
    }
}

/// Progress of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Nothing in it is newer than the file.
    Empty,
    /// It has begun.
    Begun,
    /// It has ended, and the file may have a part of it already.
    Ended,
}

/// Pages in the log, and how many of them are in the file as well.
pub(super) fn pages(connection: &Connection, mode: &str) -> rusqlite::Result<(u32, u32)> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    // Without a log both are -1.
    let pages = |pages: i64| u32::try_from(pages).unwrap_or(0);
    connection
        .prepare_cached(&sql)?
        .query_row((), |row| Ok((pages(row.get(1)?), pages(row.get(2)?))))
}
