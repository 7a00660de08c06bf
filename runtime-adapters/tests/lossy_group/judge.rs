//! Findings of the judge in files that were changed.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::{assert_converged, assert_not_converged, last_line, lossy_group, sha256};

fn judge(dir: &Path) -> Output {
    lossy_group(&["--judge", dir.to_str().unwrap()])
}

/// A converged group's files.
struct Kept(TempDir);

impl Kept {
    fn new() -> Self {
        Self::of(&[])
    }

    /// Both of them were killed.
    fn crashed() -> Self {
        Self::of(&["--store", "sqlite", "--crash", "2"])
    }

    fn of(options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let size = ["--participants", "2", "--messages", "10", "--keep"];
        let output = lossy_group(&[&size[..], &[dir.path().to_str().unwrap()], options].concat());
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
            *bytes = format!("{body}sha256 {}\n", sha256(&body)).into_bytes();
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
    forged("p1/published.txt", "p1 published an id twice", &|lines| lines.push(lines[3].clone()));
    forged("p1/delivered.txt", "twice", &|lines| lines.push(lines[3].clone()));
    forged("p1/delivered.txt", "again and was never killed", &|lines| lines.push(again(&lines[3])));
    forged("p0/delivered.txt", "with the Lamport time of p", &|lines| {
        let second = (1..20).find(|n| word(&lines[*n], 1) == word(&lines[0], 1)).unwrap();
        let (_, rest) = lines[second].split_once(' ').unwrap();
        lines[second] = format!("{} {rest}", word(&lines[0], 0));
    });
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

/// The word of a line with this index.
fn word(line: &str, index: usize) -> &str {
    line.split(' ').nth(index).unwrap()
}

/// A line of `delivered.txt`, marked as a repeat.
fn again(line: &str) -> String {
    line.replace(" new ", " again ")
}

#[test]
fn who_was_killed_may_repeat_what_it_marks_and_nothing_else() {
    let kept = Kept::crashed();
    let marked = kept.judge_forged("p1/delivered.txt", |lines| lines.push(again(&lines[3])));
    assert_converged(&marked, "converged: 2/2 participants, 20 messages, log ");
    let unmarked = kept.judge_forged("p1/delivered.txt", |lines| {
        lines.push(lines[3].replace(" again ", " new "));
    });
    assert_not_converged(&unmarked, "twice");
    let other_content = kept.judge_forged("p1/delivered.txt", |lines| {
        let content = word(&lines[3], 3).to_owned();
        lines.push(again(&lines[3]).replace(&content, &sha256("other")));
    });
    assert_not_converged(&other_content, "otherwise than it is in its log");
    let tried_twice = kept.judge_forged("p1/published.txt", |lines| {
        lines.insert(0, format!("{} {}", word(&lines[0], 0), sha256("forgotten")));
    });
    assert_converged(&tried_twice, "converged: 2/2 participants, 20 messages, log ");
    let lost = kept.judge_forged("p1/delivered.txt", |lines| {
        lines.push(lines[3].replace(&format!(" {} ", word(&lines[3], 2)), " p1-9999 "));
    });
    assert_not_converged(&lost, "delivered p1-9999 otherwise than it is in its log");
}
