//! The example `lossy_group`, run as its users run it, with small groups.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The example, built like this test. `cargo test` alone builds it as well; a run of this test
/// alone would find an old one, or none.
static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--example", "lossy_group", "--target-dir"]);
    cargo.arg(profile.parent().unwrap());
    if cfg!(feature = "tokio") {
        cargo.args(["--features", "tokio"]);
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

fn judge(dir: &Path) -> Output {
    lossy_group(&["--judge", dir.to_str().unwrap()])
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
    let tokio = cfg!(feature = "tokio").then_some("tokio");
    for driver in ["smol", "event-loop"].into_iter().chain(tokio) {
        let size = ["--participants", "3", "--messages", "20", "--driver", driver];
        let output = lossy_group(&size);
        assert_converged(&output, "converged: 3/3 participants, 60 messages, log ");
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
fn a_used_directory_is_not_overwritten() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("precious"), "data").unwrap();
    let output = lossy_group(&["--keep", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_participant_ends_with_its_parent() {
    let dir = TempDir::new().unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(&*EXAMPLE)
        .args(["--child=0", &format!("--ports={port},9"), "--dir", dir.path().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    writeln!(stdin, "start").unwrap();
    assert!(lines.next().unwrap().unwrap().starts_with("progress "));
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// A converged group's files.
struct Kept(TempDir);

impl Kept {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let size = ["--participants", "2", "--messages", "10", "--keep"];
        let output = lossy_group(&[&size[..], &[dir.path().to_str().unwrap()]].concat());
        assert_converged(&output, "converged: 2/2 participants, 20 messages, log ");
        let judged = judge(dir.path());
        assert_eq!(last_line(&judged), last_line(&output));
        assert_eq!(judged.status.code(), Some(0));
        Self(dir)
    }

    /// Judges with one file changed, then changes it back.
    fn judge_changed(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Output {
        let path = self.0.path().join(file);
        let original = fs::read(&path).unwrap();
        let mut changed = original.clone();
        change(&mut changed);
        assert_ne!(changed, original);
        fs::write(&path, changed).unwrap();
        let judged = judge(self.0.path());
        fs::write(&path, original).unwrap();
        judged
    }

    /// The same with its lines changed and the seal made good.
    fn judge_forged(&self, file: &str, change: impl FnOnce(&mut Vec<String>)) -> Output {
        self.judge_changed(file, |bytes| {
            let text = core::str::from_utf8(bytes).unwrap();
            let mut lines: Vec<String> = text.lines().map(String::from).collect();
            lines.pop();
            change(&mut lines);
            let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let seal: String =
                Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
            *bytes = format!("{body}sha256 {seal}\n").into_bytes();
        })
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found() {
    let kept = Kept::new();
    for name in ["published.txt", "delivered.txt", "log.txt", "summary.txt"] {
        let file = format!("p1/{name}");
        let len = fs::read(kept.0.path().join(&file)).unwrap().len();
        for at in [0, len / 3, len / 2, len - 40, len - 1] {
            let judged = kept.judge_changed(&file, |bytes| bytes[at] ^= 0x01);
            assert_not_converged(&judged, &format!("1/2 participants; p1 {name} "));
        }
    }
}

#[test]
fn forged_files_are_found_by_what_they_say() {
    let kept = Kept::new();
    let forged = |file: &str, blame: &str, change: &dyn Fn(&mut Vec<String>)| {
        assert_not_converged(&kept.judge_forged(file, change), blame);
    };
    forged("p1/published.txt", "p1 published 9 messages of 10", &|lines| {
        lines.pop();
    });
    forged("p1/log.txt", "p1 lacks 1 messages (p", &|lines| {
        lines.remove(3);
    });
    forged("p1/log.txt", "p1 logs p", &|lines| lines.swap(3, 4));
    forged("p1/log.txt", "with another content than was published", &|lines| {
        let changed = if lines[3].ends_with('0') { "1" } else { "0" };
        let len = lines[3].len();
        lines[3].replace_range(len - 1.., changed);
    });
    forged("p1/delivered.txt", "p1 logs 20 messages, of which 19 were delivered", &|lines| {
        lines.pop();
    });
    forged("p1/delivered.txt", "twice", &|lines| lines.push(lines[3].clone()));
    forged("p1/delivered.txt", "with a gap before it", &|lines| {
        lines[3] = lines[3].replace(" whole ", " gap ");
    });
    forged("p1/delivered.txt", "which it depends on", &|lines| lines.reverse());
    forged("p1/delivered.txt", "with another causal history than others", &|lines| {
        let history = lines[19].rfind(' ').unwrap();
        lines[19].replace_range(history.., " -");
    });
    forged("p1/summary.txt", "not as its node says", &|lines| lines[0] = "digest 0".into());
    forged("group.txt", "2/3 participants; p2 published.txt cannot be read: ", &|lines| {
        lines[0] = "participants 3".into()
    });
}
