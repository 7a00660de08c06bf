//! Errors of opening a file.

use core::error::Error;
use core::fmt;
use std::io;
use std::path::PathBuf;

/// A file that was not opened as a store. It was left as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the file and the reason are all there is to say")]
pub struct OpenError {
    /// The file as it was named.
    pub path: PathBuf,
    /// The fault.
    pub reason: OpenReason,
}

/// A fault of a file, or of its place.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenReason {
    /// The directory that it is to be in does not exist.
    NoDirectory,
    /// It is no file but a directory, or something else that records cannot be kept in.
    NotAFile,
    /// It, or its directory, may not be written to or read.
    ReadOnly,
    /// Another store has it open, in this process or in another one.
    InUse,
    /// It is not a store of this kind.
    Foreign {
        /// The application id of the SQLite file that it is; `None`: it is no SQLite file.
        application_id: Option<u32>,
    },
    /// A newer release has written it.
    NewerSchema {
        /// The version of its schema.
        found: u32,
        /// The newest that this release knows.
        known: u32,
    },
    /// The log beside it was written to another file, or to this one at another time: together
    /// they would be a mixture.
    OtherLog {
        /// The log.
        log: PathBuf,
    },
    /// It is damaged: changed, cut off, or not all there.
    Corrupt {
        /// The first finding of SQLite.
        finding: String,
    },
    /// The disk has no room, or the file is at its bound.
    Full,
    /// The operating system refused.
    Io(io::ErrorKind),
    /// SQLite failed in another way.
    Sqlite {
        /// The message of SQLite.
        message: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl fmt::Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory => {
                f.write_str("there is no such directory: make it, or correct the path")
            }
            Self::NotAFile => f.write_str("this is not a file: name one, which need not exist"),
            Self::ReadOnly => f.write_str(
                "the file or its directory is read-only: let this process read and write both",
            ),
            Self::InUse => f.write_str(
                "another node or process has it open: stop that one, or give each a file of its \
                 own",
            ),
            Self::Foreign { application_id: None } => f.write_str(
                "this is not a store, nor any sound SQLite file, and was left as it is: name \
                 another file, which need not exist",
            ),
            Self::Foreign { application_id: Some(id) } => write!(
                f,
                "this SQLite file belongs to another application (id {id:#010x}) and was left as \
                 it is: name another file, which need not exist"
            ),
            Self::NewerSchema { found, known } => write!(
                f,
                "a newer release wrote it (schema {found}, this one knows {known}): use that \
                 release, or another file"
            ),
            Self::OtherLog { log } => write!(
                f,
                "the log {} beside it is not the log of this file, and both were left as they are: \
                 put back the file that was there when the log was written, or move the log away \
                 to go on with what this file has",
                log.display()
            ),
            Self::Corrupt { finding } => write!(
                f,
                "the file is damaged ({finding}) and was left as it is: move it away together with \
                 those beside it whose names are its own with -wal, -shm or -journal behind it; \
                 then put a backup in its place, or start anew"
            ),
            Self::Full => f.write_str("there is no room for it: free some, or allow more"),
            Self::Io(kind) => write!(f, "the operating system refused: {kind}"),
            Self::Sqlite { message } => write!(f, "SQLite failed: {message}"),
        }
    }
}

impl Error for OpenError {}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other kind has a meaning of its own")]
impl From<io::Error> for OpenReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            kind => Self::Io(kind),
        }
    }
}
