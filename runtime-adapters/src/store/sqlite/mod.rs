//! A store in one file.

mod database;
mod error;
mod file;
mod worker;

use std::path::Path;
use std::thread::{self, JoinHandle};

use sds_proto::stored::Write;
use sds_proto::{ChannelId, Durability, StoreError};
use sds_spsc::Sender;

use self::database::Database;
pub use self::error::{OpenError, OpenReason};
use self::worker::{Request, WriteRequest};
use super::{Record, Store, StoreFuture};
use crate::reply::{self, Reply};
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
/// # What it checks
///
/// Each record has a checksum. When the file is opened its structure and all records are checked,
/// and a record again when it is loaded: damage is an error, and never taken for a record.
/// This is against accidents; whoever can write the file can also forge it. The log has checksums
/// too, and is read up to the first that is wrong, as after a power failure.
///
/// A new file is readable and writable by its owner alone, on Unix; the permissions of one that
/// is there are left as they are. It is locked while the store is open. It is not encrypted, for
/// which there is `Encrypted`. It does not shrink: room of removed records is used again.
///
/// Memory: some 2 MB for pages that were read, and the batches that wait.
#[derive(Debug)]
pub struct Sqlite {
    /// `None` only within the drop.
    requests: Option<Sender<Request>>,
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

    /// Has it done; the answer is `Unavailable` if the thread has ended or too much waits.
    fn ask<T: Send + 'static>(
        &mut self,
        request: impl FnOnce(Reply<Result<T, StoreError>>) -> Request,
    ) -> StoreFuture<T> {
        let (reply, answer) = reply::pair();
        if let Some(requests) = &mut self.requests {
            // Refused, it is dropped with its reply, which says that there will be no answer.
            drop(requests.try_send(request(reply)));
        }
        Box::pin(async { answer.await.unwrap_or(Err(StoreError::Unavailable)) })
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
        self.requests = None;
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
    /// [`StoreError::Full`]. The log beside it, usually some 4 MB, is not counted. Default: what
    /// the disk holds.
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
                requests: Some(requests),
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
