//! A machine whose power can fail: files as a process sees them, and what of it is on the disk.
//!
//! A SQLite VFS in front of real files. What is written stays in memory until the file is synced.
//! When the power fails, unsynced writes are lost, or reach the disk in part and in any order; the
//! real files are then what a machine finds when it starts again.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs, wip};

/// The part of unsynced writes that is on the disk when the power fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survivors {
    /// Nothing.
    None,
    /// Any of their sectors, by chance.
    Some {
        /// Of the chance.
        seed: u64,
    },
}

const SECTOR: usize = 512;

/// One machine, registered as a VFS of its own: SQLite never forgets it.
#[derive(Clone)]
pub(crate) struct Machine {
    name: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    /// Changes of files and syncs so far.
    operations: u64,
    syncs: u64,
    power_fails_at: Option<(u64, Survivors)>,
    is_off: bool,
    has_no_room: bool,
    /// The sync of this number fails and loses what it should have made safe.
    bad_sync: Option<u64>,
    syncs_held: bool,
    sync_waits: bool,
}

/// A file as the process sees it, and how the one on the disk differs.
#[derive(Default)]
struct File {
    content: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Machine {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("machine-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let machine = Self { name, shared: Arc::default() };
        sqlite_vfs::register(&machine.name, machine.clone(), false).unwrap();
        machine
    }

    pub(crate) fn vfs(&self) -> &str {
        &self.name
    }

    /// The power fails instead of the operation of this number.
    pub(crate) fn fail_power_at(&self, operation: u64, survivors: Survivors) {
        self.lock().power_fails_at = Some((operation, survivors));
    }

    pub(crate) fn fail_power(&self, survivors: Survivors) {
        self.lock().fail_power(survivors);
    }

    /// All that was written reaches the disk, as it does in time.
    pub(crate) fn settle(&self) {
        for (path, file) in &mut self.lock().files {
            to_disk(path, &core::mem::take(&mut file.unsynced));
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    pub(crate) fn set_no_room(&self, has_no_room: bool) {
        self.lock().has_no_room = has_no_room;
    }

    /// A sync fails and its writes are lost, though the process still sees them.
    pub(crate) fn spoil_sync(&self, number: u64) {
        self.lock().bad_sync = Some(number);
    }

    /// Syncs wait until they are released.
    pub(crate) fn hold_syncs(&self) {
        self.lock().syncs_held = true;
    }

    pub(crate) fn release_syncs(&self) {
        self.lock().syncs_held = false;
        self.shared.changed.notify_all();
    }

    /// Returns when a sync waits.
    pub(crate) fn until_a_sync_waits(&self) {
        let state = self.lock();
        drop(self.shared.changed.wait_while(state, |state| !state.sync_waits).unwrap());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Changes a file, unless the power is off or fails now.
    fn change(&self, path: &Path, change: Change) -> io::Result<()> {
        let mut state = self.lock();
        state.begin()?;
        if state.has_no_room {
            return Err(ErrorKind::WriteZero.into());
        }
        let file = state.files.entry(path.to_owned()).or_default();
        change.apply(&mut file.content);
        file.unsynced.push(change);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin()?;
        state.syncs += 1;
        if state.syncs_held {
            state.sync_waits = true;
            self.shared.changed.notify_all();
            state = self.shared.changed.wait_while(state, |state| state.syncs_held).unwrap();
            state.sync_waits = false;
        }
        let is_bad = state.bad_sync == Some(state.syncs);
        let file = state.files.entry(path.to_owned()).or_default();
        let unsynced = core::mem::take(&mut file.unsynced);
        if is_bad {
            return Err(ErrorKind::Other.into());
        }
        to_disk(path, &unsynced);
        Ok(())
    }
}

impl State {
    /// Counts an operation.
    fn begin(&mut self) -> io::Result<()> {
        if let Some((_, survivors)) =
            self.power_fails_at.take_if(|(operation, _)| *operation == self.operations)
        {
            self.fail_power(survivors);
        }
        self.operations += 1;
        if self.is_off { Err(ErrorKind::Other.into()) } else { Ok(()) }
    }

    fn fail_power(&mut self, survivors: Survivors) {
        self.is_off = true;
        let Survivors::Some { seed } = survivors else {
            return;
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        for (path, file) in &mut self.files {
            let mut survivors: Vec<_> = core::mem::take(&mut file.unsynced)
                .into_iter()
                .flat_map(Change::sectors)
                .filter(|_| rng.bool())
                .collect();
            rng.shuffle(&mut survivors);
            to_disk(path, &survivors);
        }
    }
}

/// Makes the file if it is not there, even if nothing is to be changed.
fn to_disk(path: &Path, changes: &[Change]) {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(false).open(path).unwrap();
    for change in changes {
        match change {
            Change::Write { at, bytes } => {
                file.seek(SeekFrom::Start(*at as u64)).unwrap();
                file.write_all(bytes).unwrap();
            }
            Change::SetLen(len) => file.set_len(*len as u64).unwrap(),
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*at..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }

    /// The parts that reach the disk one by one.
    fn sectors(self) -> Vec<Self> {
        match self {
            Self::Write { at, bytes } => bytes
                .chunks(SECTOR)
                .enumerate()
                .map(|(n, bytes)| Self::Write { at: at + n * SECTOR, bytes: bytes.to_vec() })
                .collect(),
            Self::SetLen(_) => vec![self],
        }
    }
}

impl Vfs for Machine {
    type Handle = Handle;

    fn open(&self, path: &str, options: OpenOptions) -> io::Result<Handle> {
        let path = PathBuf::from(path);
        let mut state = self.lock();
        if state.is_off {
            return Err(ErrorKind::Other.into());
        }
        if !state.files.contains_key(&path) {
            let content = match fs::read(&path) {
                Ok(content) => content,
                Err(_) if matches!(options.access, OpenAccess::Create | OpenAccess::CreateNew) => {
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            state.files.insert(path.clone(), File { content, unsynced: Vec::new() });
        }
        Ok(Handle { machine: self.clone(), path, lock: LockKind::None })
    }

    /// On the disk at once: SQLite syncs the directory where it matters.
    fn delete(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin()?;
        let seen = state.files.remove(Path::new(path)).is_some();
        match fs::remove_file(path) {
            Err(_) if seen => Ok(()),
            removed => removed,
        }
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let path = Path::new(path);
        Ok(self.lock().files.contains_key(path) || path.exists())
    }

    fn temporary_name(&self) -> String {
        unreachable!("a store needs no temporary files")
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.fill_with(|| fastrand::i8(..));
    }

    fn sleep(&self, _: Duration) -> Duration {
        unreachable!("a store waits for nobody")
    }
}

/// An open file.
pub(crate) struct Handle {
    machine: Machine,
    path: PathBuf,
    lock: LockKind,
}

impl DatabaseHandle for Handle {
    type WalIndex = NoIndex;

    fn size(&self) -> io::Result<u64> {
        let state = self.machine.lock();
        Ok(state.files.get(&self.path).map_or(0, |file| file.content.len() as u64))
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.machine.lock();
        let content = state.files.get(&self.path).map_or(&[][..], |file| &file.content);
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        buffer[len..].fill(0);
        if len < buffer.len() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = Change::Write { at: offset as usize, bytes: bytes.to_vec() };
        self.machine.change(&self.path, write)
    }

    fn sync(&mut self, _data_only: bool) -> io::Result<()> {
        self.machine.sync(&self.path)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.machine.change(&self.path, Change::SetLen(size as usize))
    }

    fn lock(&mut self, lock: LockKind) -> io::Result<bool> {
        self.lock = lock;
        Ok(true)
    }

    fn reserved(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        Ok(self.lock)
    }

    fn wal_index(&self, _readonly: bool) -> io::Result<NoIndex> {
        unreachable!("the index of the log is in memory")
    }
}

pub(crate) struct NoIndex;

impl wip::WalIndex for NoIndex {
    fn map(&mut self, _: u32) -> io::Result<[u8; 32_768]> {
        unreachable!("there is none")
    }

    fn lock(&mut self, _: core::ops::Range<u8>, _: wip::WalIndexLock) -> io::Result<bool> {
        unreachable!("there is none")
    }

    fn delete(self) -> io::Result<()> {
        unreachable!("there is none")
    }
}
