//! The file before SQLite sees it: whose it is, and whether it is one of ours.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::OpenReason;

/// Marks a SQLite file as a store: `SDSs`.
pub(super) const APPLICATION_ID: u32 = u32::from_be_bytes(*b"SDSs");

/// Of a SQLite file, in bytes.
const HEADER_LEN: usize = 100;
/// Where the application id ends in it.
const APPLICATION_ID_END: usize = 72;

/// The files that stores of this process have open.
///
/// POSIX takes all locks of a process on a file away when it closes any descriptor of it. SQLite
/// knows that of its own descriptors; a file that it has locked must not be opened beside it.
static CLAIMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The right of this process's only store on a file, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
}

impl Claim {
    /// The file's one name, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claimed().remove(&self.path);
    }
}

/// Claims a file, makes it if it is not there, and looks whether it may be a store.
pub(super) fn claim(path: &Path) -> Result<Claim, OpenReason> {
    let path = resolve(path)?;
    if !claimed().insert(path.clone()) {
        return Err(OpenReason::InUse);
    }
    let claim = Claim { path };
    match create(&claim.path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => look_at(&claim.path)?,
        Err(error) => return Err(error.into()),
    }
    Ok(claim)
}

/// The absolute path without symbolic links, whether or not there is a file.
fn resolve(path: &Path) -> Result<PathBuf, OpenReason> {
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
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Keeps SQLite from what is not ours: opening a file is enough for it to carry out what an
/// unfinished transaction left beside it.
fn look_at(path: &Path) -> Result<(), OpenReason> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(OpenReason::NotAFile);
    }
    // Said also to those whom permissions do not stop.
    if metadata.permissions().readonly() {
        return Err(OpenReason::ReadOnly);
    }
    let mut header = Vec::with_capacity(HEADER_LEN);
    File::open(path)?.take(HEADER_LEN as u64).read_to_end(&mut header)?;
    // Empty, or a first transaction that a crash has cut short, which SQLite takes back.
    if header.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(OpenReason::Foreign { application_id: None });
    }
    let Some([.., a, b, c, d]) = header.get(..APPLICATION_ID_END) else {
        return Err(OpenReason::Corrupt { finding: "it is cut off".into() });
    };
    match u32::from_be_bytes([*a, *b, *c, *d]) {
        APPLICATION_ID => Ok(()),
        other => Err(OpenReason::Foreign { application_id: Some(other) }),
    }
}

/// Nothing panics while the lock is held, so that a poisoned lock guards a sound set.
fn claimed() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}
