//! Files with something to carry out in their schema: whoever made them, none of it is carried out.

use std::path::Path;

use rusqlite::Connection;
use sds_proto::wire::Limits;
use sds_runtime::Wait;
use sds_runtime::store::{BackupError, ImportError, OpenReason, Sqlite, read_logos_delivery};

use super::{Place, changes, filled, write};

/// A table that SQLite reads for a schema only if it is trusted.
const UNSAFE: &str = "pragma_database_list";

fn plant(path: &Path, schema: &str) {
    Connection::open(path).unwrap().execute_batch(schema).unwrap();
}

/// Whether SQLite has refused to carry the schema out.
fn is_refused(reason: &OpenReason) -> bool {
    reason.to_string().contains("unsafe use")
}

#[test]
fn a_trigger_on_the_records_keeps_a_store_from_being_opened() {
    for event in ["INSERT", "DELETE"] {
        let place = Place::new();
        filled(&place.file());
        let trigger = format!("CREATE TRIGGER t AFTER {event} ON records");
        plant(&place.file(), &format!("{trigger} BEGIN SELECT name FROM {UNSAFE}; END"));
        let error = Sqlite::open(place.file()).unwrap_err();
        assert!(is_refused(&error.reason), "{error}");
    }
}

#[test]
fn a_trigger_on_the_marks_is_not_carried_out_by_a_backup() {
    let place = Place::new();
    filled(&place.file());
    let trigger = "CREATE TRIGGER t AFTER UPDATE OF mark ON log";
    plant(&place.file(), &format!("{trigger} BEGIN SELECT name FROM {UNSAFE}; END"));
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("one", 1)).unwrap();
    let error = store.backup(place.0.path().join("copy.db")).wait().unwrap_err();
    assert!(
        matches!(&error, BackupError::NotWritten { reason, .. } if is_refused(reason)),
        "{error}"
    );
}

#[test]
fn a_view_is_not_imported() {
    let place = Place::new();
    let view = "CREATE VIEW kv AS SELECT name AS category, name AS key, name AS payload FROM";
    plant(&place.file(), &format!("PRAGMA user_version = 1; {view} {UNSAFE}"));
    let error = read_logos_delivery(place.file(), &Limits::default()).unwrap_err();
    assert!(matches!(&error, ImportError::Open(error) if is_refused(&error.reason)), "{error}");
}
