//! The participants' processes.

use core::error::Error;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use crate::args::GroupArgs;
use crate::pipe::{Order, Report};
use crate::process::{News, Process, What};
use crate::profile::name;

/// Maximum number of restarts of a group, or of a killed member, because its port was taken.
const ATTEMPTS: usize = 10;
/// Time for all children to open their sockets.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time for all children to write their files; then they are killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
/// Time between two looks at the processes while waiting.
const PATIENCE: Duration = Duration::from_millis(10);

/// The way in which participants are started.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) group: &'a GroupArgs,
    /// Folder with a directory of records for each.
    pub(crate) records: &'a Path,
    /// Folder with the store of each, if it is a file.
    pub(crate) stores: Option<&'a Path>,
}

/// A running group.
pub(crate) struct Children<'a> {
    setup: Setup<'a>,
    ports: Vec<u16>,
    members: Vec<Member>,
    reports: Sender<News>,
    news: Receiver<News>,
}

struct Member {
    process: Process,
    /// Which of its lives this is, from 1.
    life: u32,
    /// Number of failed starts in succession because its port was taken.
    shut_out: usize,
}

impl<'a> Children<'a> {
    /// Starts all participants and returns when their sockets are open.
    pub(crate) fn start(setup: Setup<'a>) -> Result<Self, Box<dyn Error>> {
        let participants = setup.group.participants as usize;
        for _ in 0..ATTEMPTS {
            let mut children = Self::spawn(setup, free_ports(participants)?)?;
            if children.until_ready()? {
                return Ok(children);
            }
            children.stop()?;
        }
        Err(format!("found no {participants} free UDP ports in {ATTEMPTS} attempts").into())
    }

    fn spawn(setup: Setup<'a>, ports: Vec<u16>) -> io::Result<Self> {
        let (reports, news) = mpsc::channel();
        let mut started = Self { setup, ports, members: Vec::new(), reports, news };
        for index in 0..started.ports.len() {
            let process = started.process(index, 1)?;
            started.members.push(Member { process, life: 1, shut_out: 0 });
        }
        Ok(started)
    }

    fn process(&self, index: usize, life: u32) -> io::Result<Process> {
        let Setup { group, records, stores } = self.setup;
        let ports = self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(group.to_command_line());
        command.arg(format!("--child={index}"));
        command.arg(format!("--life={life}"));
        command.arg(format!("--ports={ports}"));
        command.arg("--dir").arg(records.join(name(index)));
        if let Some(stores) = stores {
            command.arg("--store-dir").arg(stores);
        }
        Process::spawn(&mut command, (index, life), self.reports.clone())
    }

    /// `false` if a port has been taken by somebody else.
    fn until_ready(&mut self) -> Result<bool, Box<dyn Error>> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut ready = 0;
        while ready < self.members.len() {
            if Instant::now() >= deadline {
                let (all, s) = (self.members.len(), READY_WITHIN.as_secs());
                return Err(format!("only {ready} of {all} participants started in {s} s").into());
            }
            match self.news() {
                Some((_, What::Said(Report::Ready))) => ready += 1,
                Some((_, What::Said(Report::PortTaken))) => return Ok(false),
                Some((index, What::Gone)) => return Err(self.lost(index).into()),
                Some((_, What::Said(Report::Progress(_)))) | None => {}
            }
        }
        Ok(true)
    }

    /// Has all participants begin.
    pub(crate) fn begin(&mut self) {
        self.members.iter_mut().for_each(|member| member.process.tell(Order::Start));
    }

    /// The next thing that a participant did, if any does something soon. Those who were killed
    /// and come back are taken care of.
    ///
    /// # Errors
    ///
    /// A participant died that was not killed, or cannot come back.
    pub(crate) fn progress(&mut self) -> Result<Option<(usize, Report)>, Box<dyn Error>> {
        let Some((index, what)) = self.news() else {
            return Ok(None);
        };
        match what {
            What::Said(Report::Ready) => {
                self.members[index].process.tell(Order::Start);
                self.members[index].shut_out = 0;
            }
            What::Said(Report::PortTaken) => {
                self.members[index].shut_out += 1;
                if self.members[index].shut_out == ATTEMPTS {
                    let (name, port) = (name(index), self.ports[index]);
                    return Err(format!("{name} cannot come back: port {port} is taken").into());
                }
                self.restart(index)?;
            }
            What::Said(report @ Report::Progress(_)) => return Ok(Some((index, report))),
            What::Gone => return Err(self.lost(index).into()),
        }
        Ok(None)
    }

    /// Kills a participant and starts it again.
    pub(crate) fn crash(&mut self, index: usize) -> io::Result<()> {
        self.members[index].process.kill()?;
        self.restart(index)
    }

    fn restart(&mut self, index: usize) -> io::Result<()> {
        let life = self.members[index].life + 1;
        let process = self.process(index, life)?;
        let member = &mut self.members[index];
        (member.process, member.life) = (process, life);
        Ok(())
    }

    /// Returns the next event of a participant in its present life.
    fn news(&self) -> Option<(usize, What)> {
        let News { from: (index, life), what } = self.news.recv_timeout(PATIENCE).ok()?;
        (self.members[index].life == life).then_some((index, what))
    }

    /// Describes a participant that ended and should not have.
    fn lost(&mut self, index: usize) -> String {
        let process = &mut self.members[index].process;
        process.hang_up();
        process.end().err().unwrap_or_else(|| process.died("nobody had told it to end"))
    }

    /// Stops all participants and waits until they have ended.
    ///
    /// # Errors
    ///
    /// One of them did not end in time, or not well.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        self.members.iter_mut().for_each(|member| member.process.hang_up());
        let deadline = Instant::now() + STOPPED_WITHIN;
        let mut running: Vec<usize> = (0..self.members.len()).collect();
        while !running.is_empty() && Instant::now() < deadline {
            if let Some((gone, What::Gone)) = self.news() {
                running.retain(|index| *index != gone);
            }
        }
        if let Some(index) = running.first() {
            let (name, s) = (name(*index), STOPPED_WITHIN.as_secs());
            return Err(format!("{name} did not end within {s} s").into());
        }
        for member in &mut self.members {
            member.process.end()?;
        }
        Ok(())
    }
}

/// Ports that nobody has right now.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind(free)).collect::<Result<_, _>>()?;
    sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
}
