//! The file before SQLite works on it: whose it is, and whether it is one of ours.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::OpenReason;
use super::log::Marks;

/// Marks a SQLite file as a store: `SDSs`.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"SDSs");

/// The files that stores of this process have open.
///
/// POSIX takes all locks of a process on a file away when it closes any descriptor of it. SQLite
/// knows that of its own descriptors; therefore nothing but SQLite opens a file that is there.
static CLAIMED: Mutex<BTreeSet<Name>> = Mutex::new(BTreeSet::new());

/// By what two paths are seen to be of one file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Name {
    /// The place where a store looks for its log: not to be shared even if the file was replaced.
    Path(PathBuf),
    /// The file itself, whatever its links and wherever it was moved: device and inode.
    #[cfg(unix)]
    Inode(u64, u64),
}

/// The right of this process's only store on a file, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    names: Vec<Name>,
    /// The file that is the log, once there is one.
    log: Option<Name>,
}

impl Claim {
    /// The file's one name, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn add(&mut self, name: Name) -> Result<(), OpenReason> {
        if !claimed().insert(name.clone()) {
            return Err(OpenReason::InUse);
        }
        self.names.push(name);
        Ok(())
    }

    /// Remembers which file is the log.
    pub(super) fn note_log(&mut self) {
        self.log = identity(&beside(&self.path, "-wal")).ok();
    }

    /// Whether the paths still lead to the file and its log.
    pub(super) fn are_in_place(&mut self) -> bool {
        if self.log.is_none() {
            self.note_log();
        }
        identity(&self.path).is_ok_and(|name| self.names.contains(&name))
            && self.log == identity(&beside(&self.path, "-wal")).ok()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = claimed();
        for name in &self.names {
            claimed.remove(name);
        }
    }
}

/// Claims a file, and makes it if it is not there.
pub(super) fn claim(path: &Path) -> Result<Claim, OpenReason> {
    let path = resolve(path)?;
    let mut claim = Claim { path: path.clone(), names: Vec::new(), log: None };
    claim.add(Name::Path(path))?;
    match create(&claim.path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    match identity(&claim.path)? {
        Name::Path(_) => {}
        #[cfg(unix)]
        inode @ Name::Inode(..) => claim.add(inode)?,
    }
    Ok(claim)
}

/// Whether a store of this process has the file open.
pub(super) fn is_claimed(path: &Path) -> bool {
    identity(path).is_ok_and(|name| claimed().contains(&name))
        || resolve(path).is_ok_and(|path| claimed().contains(&Name::Path(path)))
}

/// Whether the path, which is absolute, is that of a log of a store that this process has open.
pub(super) fn is_log_of_claimed(path: &Path) -> bool {
    claimed().iter().any(|name| match name {
        Name::Path(store) => {
            ["-wal", "-shm", "-journal"].iter().any(|ending| beside(store, ending) == path)
        }
        #[cfg(unix)]
        Name::Inode(..) => false,
    })
}

/// Without opening it.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Name> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(path)?;
    Ok(Name::Inode(metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Name> {
    fs::canonicalize(path).map(Name::Path)
}

/// The absolute path without symbolic links, whether or not there is a file.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, OpenReason> {
    match fs::canonicalize(path) {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(OpenReason::NoDirectory);
        }
        Err(error) => return Err(error.into()),
    }
    let name = path.file_name().ok_or(OpenReason::NotAFile)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match fs::canonicalize(directory) {
        Ok(directory) => Ok(directory.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenReason::NoDirectory),
        Err(error) => Err(error.into()),
    }
}

/// Makes an empty file for its owner alone. SQLite gives its log the same permissions.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = OsString::from(path);
    beside.push(ending);
    beside.into()
}

/// Keeps SQLite from what is not ours, for opening a file is enough for it to carry out what an
/// unfinished transaction left beside it. Gives the marks of the file without its log.
///
/// The file is read through SQLite, but as one that nobody changes: SQLite then looks at nothing
/// beside it, takes no lock, and changes nothing.
pub(super) fn look_at(path: &Path, vfs: Option<&str>) -> Result<Marks, OpenReason> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(OpenReason::NotAFile);
    }
    // Said also to those whom permissions do not stop.
    if metadata.permissions().readonly() {
        return Err(OpenReason::ReadOnly);
    }
    if metadata.len() == 0 {
        return Ok(Marks::None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let alone = match vfs {
        None => Connection::open_with_flags(immutable(path), flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(immutable(path), flags, vfs)?,
    };
    // Half of a log may have been carried into it: it need not have all pages.
    alone.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    let read = |name| alone.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    // A file with another beginning than SQLite's has no pages to SQLite, or is no database to it.
    let id = read("page_count").and_then(|pages| match pages {
        0 => Ok(None),
        _ => read("application_id").map(|id| Some(id.cast_unsigned())),
    });
    match id {
        Ok(Some(APPLICATION_ID)) if !first_transaction_was_cut_short(path) => {
            Ok(Marks::read(&alone))
        }
        // It would be taken back to nothing, though it is not what that transaction wrote.
        Ok(Some(APPLICATION_ID)) if has_records(&alone) => {
            Err(OpenReason::OtherLog { log: beside(path, "-journal") })
        }
        Ok(Some(APPLICATION_ID)) => Ok(Marks::Unknown),
        Ok(Some(other)) => Err(OpenReason::Foreign { application_id: Some(other) }),
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::NotADatabase) => {
            Err(error.into())
        }
        Ok(None) | Err(_) if first_transaction_was_cut_short(path) => Ok(Marks::Unknown),
        Ok(None) | Err(_) => Err(OpenReason::Foreign { application_id: None }),
    }
}

/// The file as a URI that says that nobody changes it.
fn immutable(path: &Path) -> String {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path.to_string_lossy();
    #[cfg(not(unix))]
    let bytes = bytes.as_bytes();
    let mut uri = String::from("file:");
    for byte in bytes {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

/// Whether what lies beside the file takes it back to what it was before there was anything in it.
fn first_transaction_was_cut_short(path: &Path) -> bool {
    const JOURNAL: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    /// The bytes of a journal with the original number of pages.
    const PAGES: core::ops::Range<usize> = 16..20;
    let mut header = [0; 28];
    fs::File::open(beside(path, "-journal"))
        .and_then(|mut journal| journal.read_exact(&mut header))
        .is_ok_and(|()| header.starts_with(&JOURNAL) && header[PAGES] == [0; 4])
}

/// Of a file that is not whole as it is nothing can be said.
fn has_records(alone: &Connection) -> bool {
    let exists = "SELECT EXISTS (SELECT * FROM records)";
    alone.query_row(exists, (), |row| row.get(0)).unwrap_or(false)
}

/// Nothing panics while the lock is held, so that a poisoned lock guards a sound set.
fn claimed() -> MutexGuard<'static, BTreeSet<Name>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}
