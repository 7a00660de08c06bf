//! One participant's process, in one of its lives.

use core::fmt::Display;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

use crate::pipe::Report;
use crate::profile::name;

/// Number of last lines that are kept of a process.
const LAST_WORDS: usize = 10;

/// Something that a process did.
pub(crate) struct News {
    /// The participant, and in which life.
    pub(crate) from: (usize, u32),
    pub(crate) what: What,
}

pub(crate) enum What {
    /// It said so.
    Said(Report),
    /// It ended, or closed its output, or talked nonsense.
    Gone,
}

/// A running process. It is killed and reaped when this is dropped.
pub(crate) struct Process {
    index: usize,
    child: Child,
    orders: Option<ChildStdin>,
    last_words: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts the participant and has all it says reported.
    pub(crate) fn spawn(
        command: &mut Command,
        from: (usize, u32),
        reports: Sender<News>,
    ) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || forward(from, BufReader::new(output), &reports));
        }
        let complaints = child.stderr.take();
        let last_words = complaints.map(|errors| thread::spawn(move || last_lines(errors)));
        Ok(Self { index: from.0, child, orders, last_words })
    }

    /// Says something to it. If it is gone it does not hear it, which shows otherwise.
    pub(crate) fn tell(&mut self, order: impl Display) {
        if let Some(orders) = &mut self.orders {
            drop(writeln!(orders, "{order}"));
        }
    }

    /// Closes its input, which stops it.
    pub(crate) fn hang_up(&mut self) {
        self.orders = None;
    }

    /// Ends it without warning, with SIGKILL on Unix; returns when it has ended.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Waits for its end, which must be a good one; if not, tells its name and last words.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        let status = self.child.wait().map_err(|error| self.died(&error.to_string()))?;
        if status.success() { Ok(()) } else { Err(self.died(&status.to_string())) }
    }

    /// Describes the end of the process.
    pub(crate) fn died(&mut self, how: &str) -> String {
        let words = self.last_words.take().and_then(|reader| reader.join().ok());
        let name = name(self.index);
        match words.filter(|words| !words.is_empty()) {
            Some(words) => format!("{name} died ({how}); its last words:\n{words}"),
            None => format!("{name} died ({how}) without a word"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// Passes on what a process says.
fn forward(from: (usize, u32), output: impl BufRead, reports: &Sender<News>) {
    let lines = output.lines().map_while(Result::ok);
    for report in lines.map_while(|line| line.parse().ok()) {
        if reports.send(News { from, what: What::Said(report) }).is_err() {
            return;
        }
    }
    // Nobody listens any more if this fails.
    drop(reports.send(News { from, what: What::Gone }));
}

fn last_lines(errors: impl Read) -> String {
    let mut last = VecDeque::new();
    for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    Vec::from(last).join("\n")
}
