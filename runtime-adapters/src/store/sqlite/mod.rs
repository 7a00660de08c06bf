//! A store in one file.

mod backup;
mod database;
mod error;
mod file;
mod log;
mod worker;

use core::pin::Pin;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use sds_proto::stored::Write;
use sds_proto::{ChannelId, Durability, StoreError};
use sds_spsc::Sender;

pub use self::backup::BackupError;
use self::backup::Target;
use self::database::Database;
pub use self::error::{OpenError, OpenReason};
use self::worker::{Request, WriteRequest};
use super::{Record, Store, StoreFuture};
use crate::reply::{self, Answer, Reply};
use crate::wait::Wait;

/// Calls that may wait for the storage thread. A driver makes one at a time, so that more than one
/// waits only if the futures of others were dropped.
const MAX_WAITING: usize = 64;

/// Keeps the records of a node in one SQLite file.
///
/// ```no_run
/// use sds_proto::{Config, Durability};
/// use sds_runtime::{Options, store::Sqlite};
///
/// let config = Config::chat().participant_id("alice".into()).durability(Durability::Strict);
/// let options = Options::default().store(Sqlite::open("alice.db")?);
/// # Ok::<(), sds_runtime::store::OpenError>(())
/// ```
///
/// The file is worked on by a thread of its own: no driver waits for a disk, and only
/// [`open`](Self::open) and the drop of the store block. A batch is one transaction; batches that
/// wait are one transaction together.
///
/// # What is safe when
///
/// The file has a write-ahead log beside it (`-wal`), which is part of it while the store is open
/// and after a crash. Under [`Durability::Strict`] a write is on the disk before it is answered
/// (`synchronous=FULL`). Under [`Durability::Relaxed`] (`NORMAL`) it has reached the operating
/// system: it outlives the process, but a power failure may take the newest writes, never some out
/// of the middle, and the file stays sound. Both trust the disk to do what it says. After a drop
/// all is on the disk, and the log is gone.
///
/// # Copies
///
/// While a store is open, or after a crash, its file alone is not all of it: copy it with
/// [`backup`](Self::backup), also while a driver has it ([`backups`](Self::backups)). A file that
/// lies beside a log which is not its own is not opened ([`OpenReason::OtherLog`]).
///
/// # What it checks
///
/// Each record has a checksum. When the file is opened its structure and all records are checked,
/// and a record again when it is loaded: damage is an error, and never taken for a record.
/// This is against accidents; whoever can write the file can also forge it. The log has checksums
/// too, and is read up to the first that is wrong, as after a power failure.
///
/// A new file is readable and writable by its owner alone, on Unix; the permissions of one that
/// is there are left as they are. It is locked while the store is open, whatever the name by which
/// others come to it; if it is renamed, deleted or replaced meanwhile, or its log is, writes fail
/// with [`StoreError::Moved`] until it is put back. It is not encrypted, for
/// which there is `Encrypted`. It does not shrink: room of removed records is used again.
///
/// A record has at most 999 MB, which is more than most need; a driver whose configuration
/// allows longer ones does not start.
///
/// Memory: some 2 MB for pages that were read, and the batches that wait.
#[derive(Debug)]
pub struct Sqlite {
    lane: Lane,
    thread: Option<JoinHandle<()>>,
    synchronous: Option<Synchronous>,
}

impl Sqlite {
    /// Opens a file, or makes it. Blocks while the file is checked, which reads all of it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong and what to do. A file that cannot be used is left as it
    /// is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        SqliteBuilder::new().open(path)
    }

    /// Copies the store into a new file while it is open, as [`Backups::backup`].
    ///
    /// # Errors
    ///
    /// [`BackupError`] says what is wrong and what to do.
    pub fn backup(&self, to: impl AsRef<Path>) -> BackupFuture {
        self.backups().backup(to)
    }

    /// Returns a handle that makes copies of the store when a driver has it.
    pub fn backups(&self) -> Backups {
        Backups { lane: self.lane.clone() }
    }

    /// Has it done; the answer is `Unavailable` if the thread has ended or too much waits.
    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<Result<T, StoreError>>) -> Request,
    ) -> StoreFuture<T> {
        let answer = self.lane.ask(request);
        Box::pin(async { answer.await.unwrap_or(Err(StoreError::Unavailable)) })
    }
}

/// The end of a backup, which is made whether or not anybody waits for it.
pub type BackupFuture = Pin<Box<dyn Future<Output = Result<(), BackupError>> + Send>>;

/// Makes copies of a [`Sqlite`] store, also while a driver has it.
///
/// ```
/// use sds_runtime::store::Sqlite;
/// use sds_runtime::{Options, Wait};
///
/// # let dir = tempfile::tempdir()?;
/// # let (file, copy) = (dir.path().join("alice.db"), dir.path().join("alice.backup"));
/// let store = Sqlite::open(&file)?;
/// let backups = store.backups();
/// let options = Options::default().store(store);
/// // … the options to a driver, and at any time:
/// backups.backup(&copy).wait()?; // `.await` in a task
/// # drop(Sqlite::open(&copy)?);
/// # drop(options);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Backups {
    lane: Lane,
}

impl Backups {
    /// Copies the store into a new file. The copy has every write that was answered before, and
    /// none in part; it was checked, is on the disk, and is a store that needs nothing beside it.
    /// Until it is complete it is named with `-part` behind. It is readable by its owner alone.
    ///
    /// It is made at once, by the thread of the store: writes wait meanwhile, for as long as it
    /// takes to write and read back as many bytes as the store has.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; a file that is there is left as it is, as is the store in any case.
    pub fn backup(&self, to: impl AsRef<Path>) -> BackupFuture {
        self.ask(Target { path: to.as_ref().to_owned(), replaces: false })
    }

    /// As [`backup`](Self::backup), in place of a file that may be there: whenever the machine
    /// stops, either the old one is there or the new one.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; the old file is there as long as there is no new one.
    pub fn replace(&self, to: impl AsRef<Path>) -> BackupFuture {
        self.ask(Target { path: to.as_ref().to_owned(), replaces: true })
    }

    fn ask(&self, target: Target) -> BackupFuture {
        let answer = self.lane.ask(|reply| Request::BackUp { target, reply });
        let lane = self.lane.clone();
        Box::pin(async move {
            let no_answer =
                || Err(if lane.is_open() { BackupError::Busy } else { BackupError::Closed });
            answer.await.unwrap_or_else(no_answer)
        })
    }
}

/// The way to the storage thread, of the store and of those who make copies of it. It ends with
/// the store.
#[derive(Clone, Debug)]
struct Lane(Arc<Mutex<Option<Sender<Request>>>>);

impl Lane {
    /// There is no answer if the thread has ended or too much waits.
    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Answer<T> {
        let (reply, answer) = reply::pair();
        if let Some(requests) = &mut *self.lock() {
            // Refused, it is dropped with its reply, which says that there will be no answer.
            drop(requests.try_send(request(reply)));
        }
        answer
    }

    fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    fn close(&self) {
        *self.lock() = None;
    }

    /// Nothing panics while the lock is held, so that a poisoned lock guards a sound lane.
    fn lock(&self) -> MutexGuard<'_, Option<Sender<Request>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Sqlite {
    fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
        let level = self.synchronous.unwrap_or(match durability {
            Durability::Relaxed | Durability::None => Synchronous::Normal,
            Durability::Strict | _ => Synchronous::Full,
        });
        self.ask(|reply| Request::Synchronous { level, reply }).wait()
    }

    fn max_record_len(&self) -> u64 {
        database::MAX_RECORD
    }

    fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()> {
        self.ask(|reply| Request::Write(WriteRequest { batch, reply }))
    }

    fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>> {
        let channel = channel.clone();
        self.ask(|reply| Request::Load { channel, reply })
    }

    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
        self.ask(|reply| Request::Channels { reply })
    }
}

impl Drop for Sqlite {
    /// Waits until what was accepted is written and the file closed.
    fn drop(&mut self) {
        self.lane.close();
        if let Some(thread) = self.thread.take() {
            // A panic on the thread has been reported there.
            drop(thread.join());
        }
    }
}

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Synchronous {
    /// The operating system has it, and may write it in any order: a power failure can make the
    /// file unusable. For tests, and for what may be lost.
    Off,
    /// The operating system has it: a power failure can take the newest writes.
    Normal,
    /// The disk has it.
    Full,
}

/// Settings for a [`Sqlite`] store.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "nothing is opened before `open`"]
pub struct SqliteBuilder {
    full_check: bool,
    synchronous: Option<Synchronous>,
    max_bytes: Option<u64>,
    vfs: Option<String>,
}

impl SqliteBuilder {
    /// The defaults, as each setting describes.
    pub const fn new() -> Self {
        Self { full_check: false, synchronous: None, max_bytes: None, vfs: None }
    }

    /// Whether opening checks all that SQLite can (`PRAGMA integrity_check`). Default: only what
    /// it can check fast (`PRAGMA quick_check`). Each record's checksum is compared in any case.
    pub const fn full_check(mut self, full: bool) -> Self {
        self.full_check = full;
        self
    }

    /// When a write counts as done, whatever the durability. Default:
    /// [`Full`](Synchronous::Full) under [`Durability::Strict`], else
    /// [`Normal`](Synchronous::Normal). Less than `Full` breaks what `Strict` promises.
    pub const fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = Some(synchronous);
        self
    }

    /// Most bytes the file may grow to, in steps of 4,096; beyond, writes fail with
    /// [`StoreError::Full`]. It must have room for the state of all channels and the largest
    /// message beside that: a write that does not fit is tried again until the program ends. The
    /// log beside it, usually some 4 MB, is not counted. Default: what the disk holds.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// The SQLite VFS through which the file is reached, by the name under which it was
    /// registered: for tests. Default: SQLite's own.
    pub fn vfs(mut self, name: impl Into<String>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    /// Opens a file, or makes it, as [`Sqlite::open`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong and what to do.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Sqlite, OpenError> {
        let path = path.as_ref();
        let open = || {
            let database = Database::open(file::claim(path)?, &self)?;
            let (requests, receiver) = sds_spsc::channel(MAX_WAITING);
            let thread = thread::Builder::new()
                .name("sds-sqlite".into())
                .spawn(move || worker::serve(database, receiver))?;
            Ok(Sqlite {
                lane: Lane(Arc::new(Mutex::new(Some(requests)))),
                thread: Some(thread),
                synchronous: self.synchronous,
            })
        };
        open().map_err(|reason| OpenError { path: path.to_owned(), reason })
    }
}

impl Default for SqliteBuilder {
    fn default() -> Self {
        Self::new()
    }
}
