//! One participant by itself.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::{EXAMPLE, sha256};

/// The only participant that runs of a group.
struct Lonely {
    child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Lonely {
    fn start(dir: &Path, options: &[&str]) -> Self {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(&*EXAMPLE)
            .args(["--child=0", &format!("--ports={port},9"), "--dir", dir.to_str().unwrap()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = child.stdin.take().unwrap();
        let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(reports.next().unwrap().unwrap(), "ready");
        writeln!(orders, "start").unwrap();
        Self { child, orders, reports }
    }

    /// Returns the numbers of its published and delivered messages.
    fn progress(&mut self) -> [u64; 2] {
        let line = self.reports.next().unwrap().unwrap();
        let mut words = line.strip_prefix("progress ").unwrap().split(' ');
        [(); 2].map(|()| words.next().unwrap().parse().unwrap())
    }

    fn end(mut self) {
        drop(self.orders);
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_participant_ends_with_its_parent() {
    let dir = TempDir::new().unwrap();
    let mut participant = Lonely::start(dir.path(), &[]);
    participant.progress();
    participant.end();
}

#[test]
fn a_killed_participant_goes_on_where_it_was_and_no_half_line_is_left() {
    let dir = TempDir::new().unwrap();
    let options = ["--store=sqlite", "--store-dir", dir.path().to_str().unwrap(), "--messages=300"];
    let mut first = Lonely::start(dir.path(), &options);
    let before = loop {
        let progress = first.progress();
        if progress[1] > 5 {
            break progress;
        }
    };
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let delivered = dir.path().join("delivered.txt");
    let mut file = fs::OpenOptions::new().append(true).open(&delivered).unwrap();
    write!(file, "99 p0 p0-half").unwrap();

    let mut second = Lonely::start(dir.path(), &[&options[..], &["--life=2"]].concat());
    let after = second.progress();
    // Published messages that were not delivered were perhaps not stored.
    assert!(after[0] >= before[1] && after[1] >= before[1], "{before:?} {after:?}");
    second.end();
    let text = fs::read_to_string(&delivered).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let (seal, lines) = lines.split_last().unwrap();
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(*seal, format!("sha256 {}", sha256(&body)));
    assert!(lines.len() as u64 >= after[1] && !text.contains("half"), "{text}");
}
