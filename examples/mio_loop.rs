//! A participant on somebody else's event loop, mio's: all that a node needs of one is "this
//! datagram came" and "it is time". The arguments are those of `manual_loop`, and both can be in
//! one group:
//!
//! ```text
//! cargo run --example mio_loop -- carol 127.0.0.1:7003 127.0.0.1:7001 127.0.0.1:7002
//! ```

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    reason = "an example talks, has std, and picks the effects it shows"
)]

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use sds_proto::{
    ChannelId, Config, Effect, Event, Input, Instant, Node, Now, PublishKind, UnixMillis,
};

const CHANNEL: ChannelId = ChannelId::from_static("example");
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
const USAGE: &str = "usage: mio_loop NAME OWN_ADDRESS PEER_ADDRESS... [--messages N]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mio_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut messages = u32::MAX;
    if let Some(flag) = args.iter().position(|arg| arg == "--messages") {
        let text = args.get(flag + 1).ok_or(USAGE)?;
        messages = text.parse().map_err(|error| format!("--messages {text}: {error}"))?;
        args.truncate(flag);
    }
    let [name, own, peers @ ..] = args.as_slice() else { return Err(USAGE.into()) };
    let peers = peers.iter().map(|peer| address(peer)).collect::<Result<_, _>>()?;
    let mut member = Member::join(name, address(own)?, peers)?;

    let mut poll = Poll::new()?;
    poll.registry().register(&mut member.socket, Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(16);
    let mut published = 0;
    loop {
        if published < messages && member.start.elapsed() >= PUBLISH_EVERY * published {
            published += 1;
            member.publish(published)?;
        }
        member.carry_out();
        // Woken by the first of: a datagram, the node's deadline, the next message of our own.
        let due = member.node.next_deadline().map(|due| Duration::from_micros(due.at.as_micros()));
        let publish_at = (published < messages).then(|| PUBLISH_EVERY * published);
        let timeout = [due, publish_at].into_iter().flatten().min();
        let timeout = timeout.map(|at| at.saturating_sub(member.start.elapsed()));
        if let Err(error) = poll.poll(&mut events, timeout)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        if !events.is_empty() {
            member.receive_all()?;
        }
        member.node.handle(member.now()?, Input::Tick)?;
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// The node, and what it needs of the world.
struct Member {
    name: String,
    node: Node,
    socket: UdpSocket,
    peers: Vec<SocketAddr>,
    start: Clock,
    seed: u64,
}

impl Member {
    fn join(name: &str, own: SocketAddr, peers: Vec<SocketAddr>) -> Result<Self, Box<dyn Error>> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
        // A local network answers at once; the defaults are for links that take seconds.
        let config = Config::chat()
            .participant_id(name.into())
            .seed(seed)
            .resend_after(Duration::from_secs(1))
            .repair_t_min(Duration::from_millis(200))
            .repair_t_max(Some(Duration::from_secs(1)))
            .sync_min(Duration::from_secs(1))
            .sync_max(Duration::from_secs(3))
            .build()?;
        let socket = UdpSocket::bind(own).map_err(|error| format!("{own}: {error}"))?;
        let node = Node::new(config);
        let mut member = Self { name: name.into(), node, socket, peers, start: Clock::now(), seed };
        member.node.handle(member.now()?, Input::Open { channel: CHANNEL, config: None })?;
        Ok(member)
    }

    fn publish(&mut self, number: u32) -> Result<(), Box<dyn Error>> {
        let publish = Input::Publish {
            channel: CHANNEL,
            message_id: format!("{}-{:x}-{number}", self.name, self.seed).into(),
            content: format!("message {number} of {}", self.name).into(),
            kind: PublishKind::Content,
        };
        Ok(self.node.handle(self.now()?, publish)?)
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.node.poll_effect() {
            match effect {
                Effect::Send { bytes, .. } => {
                    for peer in &self.peers {
                        // A datagram that cannot be sent is a lost one; the protocol copes.
                        let _lost = self.socket.send_to(&bytes, *peer);
                    }
                }
                Effect::Event(Event::Deliver(delivery)) => {
                    let text = String::from_utf8_lossy(delivery.entry.content());
                    println!("{}: {text}", delivery.entry.sender_id());
                    let Some(log) = self.node.log(&CHANNEL) else { continue };
                    println!("log of {}: {}", log.len(), log.digest());
                }
                _ => {}
            }
        }
    }

    /// The poller tells once that there is something to read, so all of it is read.
    fn receive_all(&mut self) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; 65_536];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    let datagram = Input::Datagram(buffer[..len].to_vec().into());
                    if let Err(rejected) = self.node.handle(self.now()?, datagram) {
                        println!("from {from}: {rejected}");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Somebody's port is not open yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn now(&self) -> Result<Now, Box<dyn Error>> {
        let mono = Instant::from_micros(self.start.elapsed().as_micros() as u64);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        Ok(Now::new(mono, UnixMillis(wall)))
    }
}
