//! The participants' processes.

use core::error::Error;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io::{self, BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use crate::args::GroupArgs;
use crate::pipe::{Order, Report};
use crate::profile::name;

/// How often a group is started anew because somebody took a port meanwhile.
const ATTEMPTS: usize = 10;
/// Time for all children to open their sockets.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time for all children to write their files; then they are killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);

/// Something that a child did.
pub(crate) enum News {
    /// It said so.
    Said(usize, Report),
    /// It ended, or closed its output, or talked nonsense.
    Gone(usize),
}

/// A running group.
pub(crate) struct Children {
    children: Vec<Child>,
    orders: Vec<Option<ChildStdin>>,
    news: Receiver<News>,
}

impl Children {
    /// Starts all participants and returns when their sockets are open.
    pub(crate) fn start(group: &GroupArgs, dir: &Path) -> Result<Self, Box<dyn Error>> {
        for _ in 0..ATTEMPTS {
            let ports = free_ports(group.participants as usize)?;
            let children = Self::spawn(group, dir, &ports)?;
            match children.until_ready() {
                Ok(true) => return Ok(children),
                Ok(false) => children.wait(),
                Err(error) => {
                    children.wait();
                    return Err(error);
                }
            }
        }
        Err(format!("found no {} free UDP ports in {ATTEMPTS} attempts", group.participants).into())
    }

    fn spawn(group: &GroupArgs, dir: &Path, ports: &[u16]) -> io::Result<Self> {
        let (reports, news) = mpsc::channel();
        let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let mut started = Self { children: Vec::new(), orders: Vec::new(), news };
        for index in 0..group.participants as usize {
            let mut child = Command::new(std::env::current_exe()?)
                .args(group.to_command_line())
                .arg(format!("--child={index}"))
                .arg(format!("--ports={ports}"))
                .arg("--dir")
                .arg(dir.join(name(index)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            started.orders.push(child.stdin.take());
            if let Some(output) = child.stdout.take() {
                let reports = reports.clone();
                thread::spawn(move || forward(index, BufReader::new(output), &reports));
            }
            started.children.push(child);
        }
        Ok(started)
    }

    /// `false` if a port has been taken by somebody else.
    fn until_ready(&self) -> Result<bool, Box<dyn Error>> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut ready = 0;
        while ready < self.children.len() {
            if Instant::now() >= deadline {
                let (all, s) = (self.children.len(), READY_WITHIN.as_secs());
                return Err(format!("only {ready} of {all} participants started in {s} s").into());
            }
            match self.news(Duration::from_millis(100)) {
                Some(News::Said(_, Report::Ready)) => ready += 1,
                Some(News::Said(_, Report::PortTaken)) => return Ok(false),
                Some(News::Gone(index)) => {
                    return Err(format!("{} did not start", name(index)).into());
                }
                Some(News::Said(_, Report::Progress(_))) | None => {}
            }
        }
        Ok(true)
    }

    /// Gives an order to all. Who is gone does not hear it, which shows otherwise.
    pub(crate) fn tell(&mut self, order: Order) {
        for pipe in self.orders.iter_mut().flatten() {
            drop(writeln!(pipe, "{order}"));
        }
    }

    /// The next thing that happened, if anything does within `patience`.
    pub(crate) fn news(&self, patience: Duration) -> Option<News> {
        self.news.recv_timeout(patience).ok()
    }

    /// Closes the children's input, which stops them, and waits until they have ended.
    pub(crate) fn wait(mut self) {
        self.orders.clear();
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            // Disconnected: all their outputs are closed.
            match self.news.recv_timeout(Duration::from_millis(100)) {
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }
}

impl Drop for Children {
    /// Kills who has not ended and reaps all.
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Passes on what a child says.
fn forward(index: usize, output: impl BufRead, reports: &Sender<News>) {
    let lines = output.lines().map_while(Result::ok);
    for report in lines.map_while(|line| line.parse().ok()) {
        if reports.send(News::Said(index, report)).is_err() {
            return;
        }
    }
    // Nobody listens any more if this fails.
    drop(reports.send(News::Gone(index)));
}

/// Ports that nobody has right now.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind(free)).collect::<Result<_, _>>()?;
    sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
}
