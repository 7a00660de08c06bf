//! Files that are opened, and files that are refused and left unchanged.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use sds_proto::StoreError;
use sds_runtime::store::{OpenReason, Sqlite, SqliteBuilder};

use super::{Place, changes, filled, load, write};

/// Why a file is not opened; it is then as it was before.
fn refusal(path: &Path) -> OpenReason {
    let before = fs::read(path).ok();
    let error = Sqlite::open(path).unwrap_err();
    assert_eq!(error.path, path);
    let said = error.to_string();
    assert!(said.starts_with(&path.display().to_string()), "{said}");
    assert_eq!(fs::read(path).ok(), before, "it was changed: {said}");
    error.reason
}

#[test]
fn a_path_without_a_directory_is_refused() {
    let place = Place::new();
    let path = place.0.path().join("no/such/store.db");
    assert_eq!(refusal(&path), OpenReason::NoDirectory);
    assert!(place.files().is_empty());
    filled(&place.file());
    assert_eq!(refusal(&place.file().join("store.db")), OpenReason::NoDirectory);
}

#[test]
fn a_directory_is_refused() {
    let place = Place::new();
    assert_eq!(Sqlite::open(place.0.path()).unwrap_err().reason, OpenReason::NotAFile);
    assert_eq!(Sqlite::open("/").unwrap_err().reason, OpenReason::NotAFile);
    assert!(place.files().is_empty());
}

#[test]
fn a_read_only_file_is_refused() {
    let place = Place::new();
    filled(&place.file());
    let mut permissions = fs::metadata(place.file()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(place.file(), permissions).unwrap();
    assert_eq!(refusal(&place.file()), OpenReason::ReadOnly);
}

#[test]
fn a_file_that_is_not_sqlite_is_refused() {
    let place = Place::new();
    for content in ["x", "my diary", &"a long text ".repeat(1_000)] {
        fs::write(place.file(), content).unwrap();
        assert_eq!(refusal(&place.file()), OpenReason::Foreign { application_id: None });
    }
    assert_eq!(place.files(), ["store.db"]);
}

#[test]
fn a_sqlite_file_of_another_application_is_refused_with_all_that_lies_beside_it() {
    let place = Place::new();
    for (id, mode) in [(0, "DELETE"), (0x1234, "DELETE"), (0x1234, "WAL")] {
        drop(fs::remove_file(place.file()));
        let theirs = Connection::open(place.file()).unwrap();
        theirs.pragma_update(None, "application_id", id).unwrap();
        theirs.execute_batch("CREATE TABLE diary (day); INSERT INTO diary VALUES (1)").unwrap();
        theirs.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(())).unwrap();
        theirs.execute_batch("INSERT INTO diary VALUES (2)").unwrap();
        let beside: Vec<_> = place.files();
        let log = fs::read(place.file().with_extension("db-wal")).ok();
        assert_eq!(refusal(&place.file()), OpenReason::Foreign { application_id: Some(id) });
        assert_eq!(place.files(), beside);
        assert_eq!(fs::read(place.file().with_extension("db-wal")).ok(), log);
    }
}

#[test]
fn a_file_of_a_newer_release_is_refused() {
    let place = Place::new();
    filled(&place.file());
    Connection::open(place.file()).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(refusal(&place.file()), OpenReason::NewerSchema { found: 2, known: 1 });
}

#[test]
fn a_file_with_other_tables_than_ours_is_refused() {
    let place = Place::new();
    filled(&place.file());
    for change in ["ALTER TABLE records RENAME COLUMN checksum TO sum", "DROP TABLE records"] {
        Connection::open(place.file()).unwrap().execute_batch(change).unwrap();
        assert!(matches!(refusal(&place.file()), OpenReason::Corrupt { .. }));
    }
}

#[test]
fn an_empty_file_and_a_crashed_first_open_become_a_store() {
    let place = Place::new();
    for content in [vec![], vec![0; 4_096]] {
        fs::write(place.file(), &content).unwrap();
        let opened = Sqlite::open(place.file());
        match content.is_empty() {
            true => drop(opened.unwrap()),
            // SQLite finds no unfinished transaction beside it, so that it is no store.
            false => drop(opened.unwrap_err()),
        }
    }
    assert_eq!(fs::read(place.file()).unwrap(), [0; 4_096]);
}

#[test]
fn a_store_that_is_open_is_not_opened_again_by_whatever_name() {
    let place = Place::new();
    let store = Sqlite::open(place.file()).unwrap();
    let mut names = vec![place.file(), place.0.path().join("../").join(place.file())];
    #[cfg(unix)]
    {
        let link = place.0.path().join("link.db");
        std::os::unix::fs::symlink(place.file(), &link).unwrap();
        names.push(link);
    }
    for name in names {
        assert_eq!(Sqlite::open(name).unwrap_err().reason, OpenReason::InUse);
    }
    drop(store);
    drop(Sqlite::open(place.file()).unwrap());
}

/// Whether another process can open a file.
fn another_process_opens(path: &Path) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "open::opens_the_file_that_the_environment_names", "--ignored"]);
    child.env(FILE, path).stdout(Stdio::null()).stderr(Stdio::null());
    child.status().unwrap().success()
}

#[test]
fn a_store_that_another_process_has_open_is_not_opened() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    // A second attempt within this process must not take the lock away.
    drop(Sqlite::open(place.file()).unwrap_err());
    assert!(!another_process_opens(&place.file()));
    assert_eq!(write(&mut store, changes::clock("a", 2)), Ok(()));
    drop(store);
    assert!(another_process_opens(&place.file()), "nothing but the lock kept it from it");
}

#[test]
#[cfg(unix)]
fn a_lock_outlives_attempts_by_other_names() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    let [hard, soft, moved] = ["hard.db", "soft.db", "moved.db"].map(|n| place.0.path().join(n));
    fs::hard_link(place.file(), &hard).unwrap();
    std::os::unix::fs::symlink(place.file(), &soft).unwrap();
    for name in [&hard, &soft] {
        assert_eq!(Sqlite::open(name).unwrap_err().reason, OpenReason::InUse);
        assert!(!another_process_opens(&place.file()), "{}", name.display());
        assert!(!another_process_opens(&hard), "{}", name.display());
    }
    fs::rename(place.file(), &moved).unwrap();
    assert_eq!(Sqlite::open(&moved).unwrap_err().reason, OpenReason::InUse);
    assert!(!another_process_opens(&moved));
    // Another file in its place would share its log.
    assert_eq!(Sqlite::open(place.file()).unwrap_err().reason, OpenReason::InUse);
    assert!(!place.file().exists());
}

/// POSIX takes a lock away when its process closes any descriptor of the file.
#[test]
fn a_lock_of_the_application_outlives_an_attempt_to_open() {
    let place = Place::new();
    filled(&place.file());
    let theirs = Connection::open(place.file()).unwrap();
    theirs.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    theirs.execute_batch("BEGIN EXCLUSIVE; UPDATE records SET value = value; COMMIT").unwrap();
    assert!(!another_process_opens(&place.file()));
    assert_eq!(Sqlite::open(place.file()).unwrap_err().reason, OpenReason::InUse);
    assert!(!another_process_opens(&place.file()));
    drop(theirs);
    assert!(another_process_opens(&place.file()));
}

#[test]
#[cfg(unix)]
fn a_file_moved_while_open_fails_writes_until_it_is_back() {
    for ending in ["", "-wal"] {
        let place = Place::new();
        let mut store = Sqlite::open(place.file()).unwrap();
        write(&mut store, changes::clock("a", 1)).unwrap();
        let mut file = place.file().into_os_string();
        file.push(ending);
        let away = place.0.path().join("away");
        fs::rename(&file, &away).unwrap();
        for _ in 0..2 {
            assert_eq!(write(&mut store, changes::clock("a", 2)), Err(StoreError::Moved));
        }
        fs::write(&file, "another").unwrap();
        assert_eq!(write(&mut store, changes::clock("a", 2)), Err(StoreError::Moved), "replaced");
        fs::rename(&away, &file).unwrap();
        assert_eq!(write(&mut store, changes::clock("a", 2)), Ok(()));
        drop(store);
        let mut store = Sqlite::open(place.file()).unwrap();
        assert_eq!(load(&mut store, "a").unwrap()[0].value[..], [0x08, 2]);
    }
}

#[test]
#[cfg(unix)]
fn a_file_deleted_while_open_fails_writes() {
    for ending in ["", "-wal"] {
        let place = Place::new();
        let mut store = Sqlite::open(place.file()).unwrap();
        write(&mut store, changes::clock("a", 1)).unwrap();
        let mut file = place.file().into_os_string();
        file.push(ending);
        fs::remove_file(&file).unwrap();
        assert_eq!(write(&mut store, changes::clock("a", 2)), Err(StoreError::Moved));
        let said = StoreError::Moved.to_string();
        assert!(said.contains("deleted") && said.contains("restart"), "{said}");
    }
}

/// The environment variable that names the file to the test below.
const FILE: &str = "SDS_TEST_SQLITE_FILE";

#[test]
#[ignore = "the other process of the test before"]
fn opens_the_file_that_the_environment_names() {
    let mut store = Sqlite::open(std::env::var_os(FILE).unwrap()).unwrap();
    write(&mut store, changes::clock("a", 3)).unwrap();
}

#[test]
#[cfg(unix)]
fn a_new_file_and_its_log_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    assert_eq!(place.files(), ["store.db", "store.db-wal"]);
    for file in place.files() {
        let mode = fs::metadata(place.0.path().join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    drop(store);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o640)).unwrap();
    drop(Sqlite::open(place.file()).unwrap());
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "that of an old one is its owner's business");
}

#[test]
#[cfg(unix)]
fn a_file_named_like_a_uri_is_a_file() {
    let place = Place::new();
    let path = place.0.path().join("file:store.db?mode=memory");
    let mut store = Sqlite::open(&path).unwrap();
    write(&mut store, changes::clock("a", 1)).unwrap();
    drop(store);
    assert_eq!(place.files(), ["file:store.db?mode=memory"]);
}

#[test]
fn an_unknown_vfs_is_an_error() {
    let place = Place::new();
    let error = SqliteBuilder::new().vfs("no such").open(place.file()).unwrap_err();
    assert!(error.to_string().contains("no such vfs"), "{error}");
}

/// Returns a copy of the files that a process killed now leaves behind.
fn left_behind(place: &Place) -> Place {
    let copy = Place::new();
    for file in place.files() {
        fs::copy(place.0.path().join(&file), copy.0.path().join(&file)).unwrap();
    }
    copy
}

#[test]
fn a_file_that_is_refused_keeps_its_log() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    for number in 1..9 {
        write(&mut store, changes::message("a", number, 3_000)).unwrap();
    }
    drop(store);
    // Its log has one page of them.
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::message("b", 1, 100)).unwrap();
    let left = left_behind(&place);
    let log = left.file().with_extension("db-wal");
    let sound = (fs::read(left.file()).unwrap(), fs::read(&log).unwrap());
    let mut damaged = sound.0.clone();
    let content: Vec<_> =
        (0..damaged.len()).filter(|at| damaged[*at..].starts_with(&[1; 8])).collect();
    assert!(!content.is_empty());
    content.into_iter().for_each(|at| damaged[at] = 7);
    fs::write(left.file(), &damaged).unwrap();
    assert!(matches!(refusal(&left.file()), OpenReason::Corrupt { .. }));
    assert!(fs::read(&log).unwrap() == sound.1);
    fs::write(left.file(), &sound.0).unwrap();
    let mut retrieved = Sqlite::open(left.file()).unwrap();
    assert_eq!(load(&mut retrieved, "a"), load(&mut store, "a"));
}

#[test]
fn a_file_left_by_a_killed_process_is_opened_with_all_it_had_written() {
    let place = Place::new();
    let mut store = Sqlite::open(place.file()).unwrap();
    write(&mut store, changes::message("a", 1, 100)).unwrap();
    let copy = left_behind(&place);
    let mut restarted = SqliteBuilder::new().full_check(true).open(copy.file()).unwrap();
    assert_eq!(load(&mut restarted, "a"), load(&mut store, "a"));
}
