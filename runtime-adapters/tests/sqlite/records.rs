//! The records of a store.

use sds_proto::{Durability, StoreError};
use sds_runtime::Wait;
use sds_runtime::store::{Memory, Sqlite, SqliteBuilder, Store, Synchronous};

use super::{Place, changes, filled, load, write};

/// Another store that keeps the same is the measure.
#[test]
fn it_keeps_what_a_store_in_memory_keeps_across_reopening() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (place, mut memory) = (Place::new(), Memory::default());
    let mut seen = 0;
    for _ in 0..12 {
        let mut store = Sqlite::open(place.file()).unwrap();
        store.start(Durability::Relaxed).unwrap();
        for _ in 0..40 {
            let batch = changes::any(&mut rng);
            memory.write(batch.clone()).wait().unwrap();
            write(&mut store, batch).unwrap();
        }
        for channel in ["a", "b", "ab", "\0", "c"] {
            let records = load(&mut store, channel).unwrap();
            seen += records.len();
            assert_eq!(records, load(&mut memory, channel).unwrap(), "{channel:?}");
        }
        assert_eq!(store.channels().wait(), Ok(memory.channels()));
    }
    assert!(seen > 500, "only {seen} records were compared");
}

#[test]
fn a_load_sees_the_writes_before_it() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    let first = store.write(changes::clock("a", 1));
    let loaded = store.load(&"a".into());
    let second = store.write(changes::clock("a", 2));
    assert_eq!(second.wait(), Ok(()));
    assert_eq!(loaded.wait().unwrap()[0].value[..], [0x08, 1]);
    assert_eq!(first.wait(), Ok(()));
    assert_eq!(load(&mut store, "a").unwrap()[0].value[..], [0x08, 2]);
}

#[test]
fn what_was_accepted_is_written_when_the_store_is_dropped() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    for number in 1..=50 {
        // Nobody waits for the answer.
        drop(store.write(changes::message("a", number, 100)));
    }
    drop(store);
    assert_eq!(place.files(), ["store.db"], "the log is gone");
    let mut store = Sqlite::open(place.file()).unwrap();
    assert_eq!(load(&mut store, "a").unwrap().len(), 1 + 2 * 50);
}

#[test]
fn a_batch_that_does_not_fit_leaves_no_trace_and_fits_once_there_is_room() {
    let place = Place::new();
    filled(&place.file());
    let limited = SqliteBuilder::new().max_bytes(100_000);
    let mut store = limited.open(place.file()).unwrap();
    let before = load(&mut store, "one").unwrap();
    let batch: Vec<_> = (10..50).flat_map(|n| changes::message("one", n, 3_000)).collect();
    assert_eq!(write(&mut store, batch.clone()), Err(StoreError::Full));
    assert_eq!(load(&mut store, "one").unwrap(), before);
    assert_eq!(write(&mut store, changes::message("one", 10, 3_000)), Ok(()), "a smaller one");
    drop(store);
    let mut store = Sqlite::open(place.file()).unwrap();
    assert_eq!(write(&mut store, batch), Ok(()));
    assert_eq!(load(&mut store, "one").unwrap().len(), before.len() + 2 * 40);
}

#[test]
fn room_of_removed_records_is_used_again() {
    let place = Place::new();
    let mut store = SqliteBuilder::new().max_bytes(1_000_000).open(place.file()).unwrap();
    for round in 0..10 {
        let batch = (0..150).flat_map(|number| changes::message("a", number, 3_000)).collect();
        write(&mut store, batch).unwrap();
        write(&mut store, changes::erased("a")).unwrap();
        assert_eq!(load(&mut store, "a"), Ok(Vec::new()), "round {round}");
    }
}

#[test]
fn every_durability_starts() {
    for durability in [Durability::Relaxed, Durability::Strict] {
        let place = Place::new();
        let mut store = Sqlite::open(place.file()).unwrap();
        assert_eq!(store.start(durability), Ok(()));
        assert_eq!(write(&mut store, changes::clock("a", 1)), Ok(()));
    }
    let place = Place::new();
    let mut store = SqliteBuilder::new().synchronous(Synchronous::Off).open(place.file()).unwrap();
    assert_eq!(store.start(Durability::Strict), Ok(()));
    assert_eq!(write(&mut store, changes::clock("a", 1)), Ok(()));
}

#[test]
#[cfg(feature = "encryption")]
fn behind_encryption_the_file_holds_no_content_and_opens_with_its_key_alone() {
    use sds_runtime::store::{Encrypted, EncryptionKey};

    let place = Place::new();
    let open = |key| Encrypted::new(Sqlite::open(place.file()).unwrap(), EncryptionKey::from(key));
    let content = [b'x'; 100];
    let in_file = || {
        let file = std::fs::read(place.file()).unwrap();
        file.windows(content.len()).any(|window| window == content)
    };
    let message = || changes::message("a", b'x'.into(), content.len());
    let mut store = open([1; 32]);
    store.write(message()).wait().unwrap();
    let records = load(&mut store, "a").unwrap();
    drop(store);
    assert!(!in_file());
    assert_eq!(load(&mut open([1; 32]), "a").unwrap(), records);
    assert_eq!(load(&mut open([2; 32]), "a"), Err(StoreError::Corrupt));
    Sqlite::open(place.file()).unwrap().write(message()).wait().unwrap();
    assert!(in_file(), "without encryption it does");
}
