//! Copies of a store that is open.

use std::fs;
use std::sync::mpsc;
use std::thread;

use rusqlite::Connection;
use sds_proto::{Config, Durability, Event};
use sds_runtime::event_loop::EventLoop;
use sds_runtime::store::{BackupError, OpenReason, Record, Sqlite, SqliteBuilder, Store};
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, Options, Wait};

use super::{Place, changes, load, write};

fn records(path: &std::path::Path) -> Vec<Record> {
    load(&mut SqliteBuilder::new().full_check(true).open(path).unwrap(), "a").unwrap()
}

#[test]
fn a_backup_between_writes_has_those_before_it_and_no_other() {
    let (place, backups) = (Place::new(), Place::new());
    let mut store = Sqlite::open(place.file()).unwrap();
    store.start(Durability::Relaxed).unwrap();
    let (mut answers, mut states) = (Vec::new(), Vec::new());
    for number in 1..=40 {
        write(&mut store, changes::message("a", number, 40_000)).unwrap();
        states.push(load(&mut store, "a").unwrap());
        let to = backups.0.path().join(format!("{number}.db"));
        // Asked between two writes that nobody waits for.
        answers.push(store.backup(&to));
        drop(store.write(changes::clock("b", number)));
    }
    for answer in answers {
        answer.wait().unwrap();
    }
    for (state, number) in states.iter().zip(1..) {
        assert!(records(&backups.0.path().join(format!("{number}.db"))) == *state, "{number}");
    }
    assert_eq!(backups.files().len(), 40, "{:?}", backups.files());
}

#[test]
fn a_backup_of_a_running_node_is_a_prefix_of_its_log() {
    let place = Place::new();
    let store = Sqlite::open(place.file()).unwrap();
    let backups = store.backups();
    let config = || {
        let config = Config::chat().participant_id("alice".into());
        config.durability(Durability::Strict).build().unwrap()
    };
    let run = |store| {
        let options = Options::default().store(store);
        let transport = MemoryGroup::new(1).join();
        EventLoop::new().unwrap().spawn(config(), transport, options).unwrap()
    };
    let (handle, mut events) = run(store);
    let (delivered_one, deliveries) = mpsc::channel();
    let reader = thread::spawn(move || {
        let delivered = |event| match event {
            DriverEvent::Node(Event::Deliver(delivery)) => {
                Some(delivery.entry.message_id().to_string())
            }
            _ => None,
        };
        let ids = events.iter().filter_map(delivered);
        // In the end nobody waits for one.
        ids.inspect(|_| _ = delivered_one.send(())).collect::<Vec<_>>()
    });
    handle.open("news").wait().unwrap();
    let (permits, may_publish) = mpsc::channel();
    let publisher = {
        let handle = handle.clone();
        thread::spawn(move || {
            for number in may_publish {
                handle.publish("news", format!("id-{number}"), vec![7; 5_000]).wait().unwrap();
            }
        })
    };
    let mut copies = Vec::new();
    for number in 0..8 {
        // The backup is made while these are published.
        (0..30).for_each(|n| permits.send(30 * number + n).unwrap());
        let to = place.0.path().join(format!("{number}.backup"));
        backups.backup(&to).wait().unwrap();
        copies.push(to);
        (0..30).for_each(|_| deliveries.recv().unwrap());
    }
    drop(permits);
    publisher.join().unwrap();
    handle.shutdown().wait();
    let all = reader.join().unwrap();
    let mut lens = Vec::new();
    for copy in &copies {
        let (handle, events) = run(Sqlite::open(copy).unwrap());
        drop(events);
        handle.open("news").wait().unwrap();
        let log = handle.log("news").wait().unwrap();
        let ids: Vec<_> = log.entries.iter().map(|entry| entry.message_id().to_string()).collect();
        assert!(all.starts_with(&ids), "{}", copy.display());
        lens.push(ids.len());
        handle.shutdown().wait();
    }
    let in_turn = lens.iter().zip(0..).all(|(len, n)| (30 * n..=30 * (n + 1)).contains(len));
    assert!(in_turn, "{lens:?}");
    assert_eq!(backups.backup(place.0.path().join("late")).wait(), Err(BackupError::Closed));
}

#[test]
fn a_backup_replaces_nothing_unless_it_is_asked_to() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    let to = place.0.path().join("backup");
    fs::write(&to, "my diary").unwrap();
    assert_eq!(store.backup(&to).wait(), Err(BackupError::Exists { path: to.clone() }));
    assert_eq!(fs::read(&to).unwrap(), b"my diary");
    store.backups().replace(&to).wait().unwrap();
    assert_eq!(records(&to), load(&mut store, "a").unwrap());
    write(&mut store, changes::clock("a", 2)).unwrap();
    store.backups().replace(&to).wait().unwrap();
    assert_eq!(records(&to), load(&mut store, "a").unwrap());
}

#[test]
fn a_backup_onto_a_store_or_beside_a_log_is_refused() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    let in_use = Err(BackupError::InUse { path: place.file() });
    assert_eq!(store.backups().replace(place.file()).wait(), in_use);
    assert_eq!(store.backup(place.file()).wait(), in_use);
    let to = place.0.path().join("other");
    let log = place.0.path().join("other-wal");
    fs::write(&log, "of something else").unwrap();
    for answer in [store.backup(&to), store.backups().replace(&to)] {
        assert_eq!(answer.wait(), Err(BackupError::Exists { path: log.clone() }));
    }
    assert_eq!(place.files(), ["other-wal", "store.db", "store.db-wal"]);
    assert_eq!(write(&mut store, changes::clock("a", 2)), Ok(()));
}

#[test]
fn a_backup_that_cannot_be_written_says_where_and_why() {
    let place = Place::new();
    let store = Sqlite::open(place.file()).unwrap();
    let path = place.0.path().join("no/such/backup");
    let error = store.backup(&path).wait().unwrap_err();
    let reason = OpenReason::NoDirectory;
    assert_eq!(error, BackupError::NotWritten { path: path.clone(), reason });
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let path = place.0.path().to_owned();
    let error = store.backups().replace(&path).wait().unwrap_err();
    assert_eq!(error, BackupError::NotWritten { path, reason: OpenReason::NotAFile });
}

#[test]
fn a_backup_of_damaged_records_does_not_replace_a_sound_one() {
    let place = Place::new();
    let to = place.0.path().join("backup");
    let mut store = Sqlite::open(place.file()).unwrap();
    store.backup(&to).wait().unwrap();
    let sound = fs::read(&to).unwrap();
    // More than SQLite keeps in memory, so that it reads the file again.
    let batch = (1..2_000).flat_map(|number| changes::message("one", number, 3_000)).collect();
    write(&mut store, batch).unwrap();
    drop(store);
    let store = Sqlite::open(place.file()).unwrap();
    let mut content = fs::read(place.file()).unwrap();
    for page in content.chunks_mut(4_096).skip(4) {
        page[2_000] ^= 1;
    }
    fs::write(place.file(), content).unwrap();
    let error = store.backups().replace(&to).wait().unwrap_err();
    assert!(matches!(error, BackupError::Corrupt { .. }), "{error}");
    assert!(fs::read(&to).unwrap() == sound);
    assert!(!place.files().contains(&"backup-part".to_owned()));
}

#[test]
fn a_backup_beside_the_log_of_its_store_is_refused_or_has_nothing_else() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::message("a", 1, 3_000)).unwrap();
    let to = place.0.path().join("backup");
    store.backup(&to).wait().unwrap();
    write(&mut store, changes::clock("a", 2)).unwrap();
    fs::copy(place.0.path().join("store.db-wal"), place.0.path().join("backup-wal")).unwrap();
    let error = Sqlite::open(&to).unwrap_err();
    assert!(matches!(error.reason, OpenReason::OtherLog { .. }), "{error}");
    fs::remove_file(place.0.path().join("backup-wal")).unwrap();
    assert_eq!(records(&to).len(), 3);
}

#[test]
#[cfg(unix)]
fn a_backup_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let store = Sqlite::open(place.file()).unwrap();
    let to = place.0.path().join("backup");
    store.backup(&to).wait().unwrap();
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    let open = Connection::open(&to).unwrap();
    let finding: String = open.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(finding, "ok");
}

#[test]
fn a_backup_over_what_belongs_to_an_open_store_is_refused() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    let mut other = Sqlite::open(place.0.path().join("other-part")).unwrap();
    write(&mut store, changes::message("a", 1, 3_000)).unwrap();
    write(&mut other, changes::message("b", 1, 3_000)).unwrap();
    // Logs, whether they are there or not, and where the backup is made before it has its name.
    for name in ["store.db-wal", "store.db-journal", "store.db-shm", "other"] {
        let path = place.0.path().join(name);
        let error = other.backups().replace(&path).wait().unwrap_err();
        assert_eq!(error, BackupError::InUse { path: path.clone() });
        assert!(other.backup(&path).wait().is_err(), "{name}");
    }
    write(&mut store, changes::clock("a", 2)).unwrap();
    write(&mut other, changes::clock("b", 2)).unwrap();
    drop((store, other));
    assert_eq!(records(&place.file()).len(), 3);
}
