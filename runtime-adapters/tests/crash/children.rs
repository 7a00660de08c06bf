//! The participants' processes.

use core::net::{Ipv4Addr, SocketAddr};
use std::io::{self, BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use crate::args::Member;
use crate::pipe::{Order, Report};

/// Something that a child did.
pub(crate) enum News {
    Said(Report),
    /// It is gone, and everything that it said was heard.
    Gone,
}

/// Processes, by the index of their participant.
pub(crate) struct Children {
    running: Vec<Option<Child>>,
    heard: Receiver<(usize, News)>,
    for_heard: Sender<(usize, News)>,
}

impl Children {
    pub(crate) fn new(participants: usize) -> Self {
        let (for_heard, heard) = mpsc::channel();
        Self { running: (0..participants).map(|_| None).collect(), heard, for_heard }
    }

    pub(crate) fn start(&mut self, member: &Member) -> io::Result<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(member.to_command_line())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (index, heard) = (member.index, self.for_heard.clone());
        thread::spawn(move || forward(index, output, &heard));
        self.running[index] = Some(child);
        Ok(())
    }

    /// Kills a child with SIGKILL; what it had said is still to be heard.
    pub(crate) fn kill(&mut self, index: usize) -> io::Result<()> {
        let child = self.running[index].as_mut().expect("it runs");
        child.kill()?;
        child.wait().map(drop)
    }

    /// Gives an order. Who is gone does not hear it, which shows otherwise.
    pub(crate) fn tell(&mut self, index: usize, order: Order) {
        if let Some(pipe) = self.running[index].as_mut().and_then(|child| child.stdin.as_mut()) {
            drop(writeln!(pipe, "{order}"));
        }
    }

    /// Closes the input of all, which shuts them down.
    pub(crate) fn shut_down(&mut self) {
        self.running.iter_mut().flatten().for_each(|child| drop(child.stdin.take()));
    }

    /// Whether a child that is gone ended as it should.
    pub(crate) fn ended_well(&mut self, index: usize) -> io::Result<bool> {
        let child = self.running[index].as_mut().expect("it ran");
        Ok(child.wait()?.success())
    }

    /// The next thing that happened, if anything does until then.
    pub(crate) fn news(&self, until: Instant) -> Option<(usize, News)> {
        let patience = until.saturating_duration_since(Instant::now());
        self.heard.recv_timeout(patience).ok()
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Passes on what a child says. Nobody listens any more if that fails.
fn forward(index: usize, output: impl BufRead, heard: &Sender<(usize, News)>) {
    for line in output.lines().map_while(Result::ok) {
        let report = line.parse().unwrap_or_else(|unknown| Report::Trouble(format!("{unknown}")));
        if heard.send((index, News::Said(report))).is_err() {
            return;
        }
    }
    drop(heard.send((index, News::Gone)));
}

/// Ports that nobody has right now.
pub(crate) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind(free)).collect::<Result<_, _>>()?;
    sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
}
