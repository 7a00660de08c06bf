//! Copies of a store that is open.

use core::error::Error;
use core::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::database::check;
use super::{OpenReason, file, log};

/// Why there is no copy of a store, or none that is new. The store goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// Something is there already, which was left as it is.
    Exists {
        /// It, or what is left of its log.
        path: PathBuf,
    },
    /// The place is, or belongs to, a store that is open in this process.
    InUse {
        /// The place.
        path: PathBuf,
    },
    /// The contents of the store are damaged: its copy was thrown away.
    Corrupt {
        /// The damage that SQLite found first.
        finding: String,
    },
    /// The copy could not be written.
    NotWritten {
        /// The place.
        path: PathBuf,
        /// The problem with it.
        reason: OpenReason,
    },
    /// The store has too much to do: 64 calls wait already.
    Busy,
    /// The store was dropped, as by the end of its driver.
    Closed,
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { path } => write!(
                f,
                "{} is there already and was left as it is: name another file for the backup, or \
                 move this one away",
                path.display()
            ),
            Self::InUse { path } => write!(
                f,
                "{} is a store that is open, or belongs to one: name another file for the backup",
                path.display()
            ),
            Self::Corrupt { finding } => write!(
                f,
                "the store is damaged ({finding}), so that there is no new backup of it: keep the \
                 last one, and stop the node"
            ),
            Self::NotWritten { path, reason } => {
                write!(f, "the backup {} was not written: {reason}", path.display())
            }
            Self::Busy => f.write_str("too many calls of the store wait already: try again later"),
            Self::Closed => f.write_str("the store is closed: copy its file"),
        }
    }
}

impl Error for BackupError {}

/// Behind the name of a copy that is not complete.
const PART: &str = "-part";

/// A copy to be made.
#[derive(Debug)]
pub(super) struct Target {
    /// The place.
    pub(super) path: PathBuf,
    /// Whether a file that is there gives way.
    pub(super) replaces: bool,
}

impl Target {
    /// Makes a copy beside the place, checks it, and only then gives it its name.
    pub(super) fn write(&self, source: &Connection) -> Result<(), BackupError> {
        let not_written = |reason| BackupError::NotWritten { path: self.path.clone(), reason };
        let path = file::resolve(&self.path).map_err(not_written)?;
        self.is_free(&path)?;
        let part = file::beside(&path, PART);
        let written = copy(source, &part, not_written).and_then(|()| {
            // Copying took its time.
            self.is_free(&path)?;
            fs::rename(&part, &path)
                .and_then(|()| sync_directory(&path))
                .map_err(|error| not_written(error.into()))
        });
        if written.is_err() {
            drop(fs::remove_file(&part));
        }
        written
    }

    fn is_free(&self, path: &Path) -> Result<(), BackupError> {
        // The place where the copy is made must not be one either.
        if file::is_claimed(path)
            || file::is_claimed(&file::beside(path, PART))
            || file::is_log_of_claimed(path)
        {
            return Err(BackupError::InUse { path: self.path.clone() });
        }
        // A log would be taken for that of the copy.
        let endings: &[&str] =
            if self.replaces { &["-wal", "-journal"] } else { &["", "-wal", "-journal"] };
        for ending in endings {
            if file::beside(path, ending).symlink_metadata().is_ok() {
                return Err(BackupError::Exists { path: file::beside(&self.path, ending) });
            }
        }
        if path.is_dir() {
            let reason = OpenReason::NotAFile;
            return Err(BackupError::NotWritten { path: self.path.clone(), reason });
        }
        Ok(())
    }
}

/// All pages of one moment, in a file that is on the disk afterwards.
fn copy(
    source: &Connection,
    part: &Path,
    not_written: impl Fn(OpenReason) -> BackupError + Copy,
) -> Result<(), BackupError> {
    // Left by a process that was killed.
    drop(fs::remove_file(part));
    file::create(part).map_err(|error| not_written(error.into()))?;
    let failed = |error: rusqlite::Error| not_written(error.into());
    let damaged = |reason| {
        if let OpenReason::Corrupt { finding } = reason {
            return BackupError::Corrupt { finding };
        }
        not_written(reason)
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(part, flags).map_err(failed)?;
    target.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    target.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    // A copy that is cut short is never used, and so never rolled back.
    target.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(())).map_err(failed)?;
    let step = Backup::new(source, &mut target).and_then(|backup| backup.step(-1));
    if step.map_err(|error| damaged(error.into()))? != StepResult::Done {
        return Err(not_written(OpenReason::InUse));
    }
    check(&target, false).map_err(damaged)?;
    // No log but its own goes on a copy.
    target.execute(log::END, ()).map_err(failed)?;
    target.close().map_err(|(_, error)| failed(error))?;
    File::open(part).and_then(|file| file.sync_all()).map_err(|error| not_written(error.into()))
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
