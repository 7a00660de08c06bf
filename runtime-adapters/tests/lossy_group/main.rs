//! The example `lossy_group`, run as its users run it, with small groups.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod judge;
mod participant;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Which features this test has, so that the example has the same and is not compiled anew.
const FEATURES: [(&str, bool); 4] = [
    ("encryption", cfg!(feature = "encryption")),
    ("prometheus", cfg!(feature = "prometheus")),
    ("tokio", cfg!(feature = "tokio")),
    ("tracing", cfg!(feature = "tracing")),
];

/// The example, built like this test. `cargo test` alone builds it as well; a run of this test
/// alone would find an old one, or none.
static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--example", "lossy_group", "--target-dir"]);
    cargo.arg(profile.parent().unwrap());
    for (feature, _) in FEATURES.iter().filter(|(_, is_on)| *is_on) {
        cargo.args(["--features", feature]);
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success());
    profile.join("examples/lossy_group").with_extension(std::env::consts::EXE_EXTENSION)
});

fn lossy_group(args: &[&str]) -> Output {
    Command::new(&*EXAMPLE).args(args).output().unwrap()
}

/// The drivers that are compiled in.
fn drivers() -> impl Iterator<Item = &'static str> {
    let tokio = cfg!(feature = "tokio").then_some("tokio");
    ["smol", "event-loop"].into_iter().chain(tokio)
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().last().unwrap_or_default().into()
}

fn assert_converged(output: &Output, start: &str) {
    let line = last_line(output);
    assert!(line.starts_with(start), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

fn assert_not_converged(output: &Output, blame: &str) {
    let line = last_line(output);
    assert!(line.starts_with("not converged: ") && line.contains(blame), "{line}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn small_groups_converge_in_each_dialect() {
    for dialect in ["lip109", "nim", "mixed"] {
        let size = ["--participants", "3", "--messages", "20", "--dialect", dialect];
        let output = lossy_group(&size);
        assert_converged(&output, "converged: 3/3 participants, 60 messages, log ");
    }
}

#[test]
fn small_groups_converge_on_each_driver() {
    for driver in drivers() {
        let size = ["--participants", "3", "--messages", "20", "--driver", driver];
        let output = lossy_group(&size);
        assert_converged(&output, "converged: 3/3 participants, 60 messages, log ");
    }
}

#[test]
fn a_group_converges_on_stores_and_their_files_can_be_kept() {
    let size = ["--participants", "3", "--messages", "20", "--store"];
    let output = lossy_group(&[&size[..], &["memory"]].concat());
    assert_converged(&output, "converged: 3/3 participants, 60 messages, log ");

    let dir = TempDir::new().unwrap();
    let sqlite = ["sqlite", "--store-dir", dir.path().to_str().unwrap()];
    let output = lossy_group(&[&size[..], &sqlite].concat());
    assert_converged(&output, "converged: 3/3 participants, 60 messages, log ");
    let files: BTreeSet<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["p0.db", "p1.db", "p2.db"].map(Into::into).into());
}

#[test]
fn who_is_killed_comes_back_and_the_group_converges_on_each_driver() {
    for driver in drivers() {
        let dir = TempDir::new().unwrap();
        let size = ["--participants", "3", "--messages", "50", "--driver", driver];
        // Everybody once, and one of them twice.
        let crash = ["--store", "sqlite", "--crash", "4", "--keep", dir.path().to_str().unwrap()];
        let output = lossy_group(&[size, crash].concat());
        assert_converged(&output, "converged: 3/3 participants, 150 messages, log ");
        let crashes = fs::read_to_string(dir.path().join("crashes.txt")).unwrap();
        let killed: BTreeSet<_> =
            crashes.lines().take(4).map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(crashes.lines().count(), 5, "{driver}: {crashes}");
        assert_eq!(killed, ["p0", "p1", "p2"].into(), "{driver}: {crashes}");
    }
}

#[test]
fn without_repair_a_group_does_not_converge_and_says_what_is_missing() {
    let output = lossy_group(&["--participants", "3", "--messages", "20", "--no-repair"]);
    assert_not_converged(&output, "not converged: 0/3 participants; p0 lacks ");
}

#[test]
fn nonsense_is_refused_with_the_value_and_the_bound() {
    for (option, value, bound) in [
        ("--loss", "100", "0..=99"),
        ("--dup", "101", "0..=100"),
        ("--participants", "0", "2..=64"),
        ("--participants", "65", "2..=64"),
        ("--messages", "0", "1..=10000"),
        ("--reorder-ms", "10001", "0..=10000"),
        ("--timeout-s", "0", "1..=86400"),
        ("--seed", "x", "invalid digit"),
        ("--crash", "101", "0..=100"),
        ("--store", "drawer", "possible values: memory, sqlite"),
        ("--dialect", "klingon", "possible values: lip109, nim, mixed"),
        ("--driver", "horse", "possible values: smol, event-loop, tokio"),
    ] {
        let output = lossy_group(&[option, value]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
        assert!(complaint.contains(&format!("'{value}'")), "{complaint}");
        assert!(complaint.contains(option) && complaint.contains(bound), "{complaint}");
    }
}

#[test]
#[cfg(not(feature = "tokio"))]
fn a_driver_that_is_not_compiled_in_is_refused_with_what_to_do() {
    let output = lossy_group(&["--driver", "tokio"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint.contains("build with --features tokio"), "{complaint}");
}

#[test]
fn what_needs_files_is_refused_without_with_what_to_add() {
    for options in [
        &["--crash", "3"][..],
        &["--crash", "3", "--store", "memory"],
        &["--store-dir", "nowhere"],
        &["--store-dir", "nowhere", "--store", "memory"],
    ] {
        let output = lossy_group(options);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(complaint.contains(options[0]), "{complaint}");
        assert!(complaint.contains("add --store sqlite"), "{complaint}");
    }
}

#[test]
fn a_used_directory_is_not_overwritten() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("precious"), "data").unwrap();
    for option in ["--keep", "--store-dir"] {
        let dir = dir.path().to_str().unwrap();
        let output = lossy_group(&["--store", "sqlite", option, dir]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    }
}

/// Its files cannot be written in the end, because their directory has another name by then.
#[test]
#[cfg(unix)]
fn a_participant_that_dies_by_itself_is_named_with_its_last_words() {
    let dir = TempDir::new().unwrap();
    let [taken, moved] = ["p1", "moved"].map(|name| dir.path().join(name));
    let mut parent = Command::new(&*EXAMPLE)
        .args(["--participants", "2", "--keep", dir.path().to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !taken.join("published.txt").exists() {
        assert!(parent.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::yield_now();
    }
    fs::rename(taken, moved).unwrap();
    let output = parent.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let names = complaint.contains("p1 died (exit status: 1); its last words:\nlossy_group: ");
    assert!(names && complaint.contains("No such file"), "{complaint}");
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
