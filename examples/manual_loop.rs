//! A participant on plain blocking UDP: the whole of what an embedder has to write.
//!
//! In two terminals:
//!
//! ```text
//! cargo run --example manual_loop -- alice 127.0.0.1:7001 127.0.0.1:7002
//! cargo run --example manual_loop -- bob   127.0.0.1:7002 127.0.0.1:7001
//! ```
//!
//! Each publishes a message every second, with `--messages N` only N of them. `mio_loop` and, in
//! `runtime-adapters/`, `smol_loop` do the same on other loops and can be in the same group.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    reason = "an example talks, has std, and picks the effects it shows"
)]

use std::error::Error;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sds_proto::{
    ChannelId, Config, Effect, Event, Input, Instant, MessageId, Node, Now, PublishKind, UnixMillis,
};

const PUBLISH_EVERY: Duration = Duration::from_secs(1);
const USAGE: &str = "usage: manual_loop NAME OWN_ADDRESS PEER_ADDRESS... [--messages N]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut messages = u64::MAX;
    if let Some(flag) = args.iter().position(|arg| arg == "--messages") {
        let text = args.get(flag + 1).ok_or(USAGE)?;
        messages = text.parse().map_err(|error| format!("--messages {text}: {error}"))?;
        args.truncate(flag);
    }
    let [name, own, peers @ ..] = args.as_slice() else { return Err(USAGE.into()) };
    let own = address(own)?;
    let peers: Vec<SocketAddr> =
        peers.iter().map(|peer| address(peer)).collect::<Result<_, _>>()?;
    if peers.is_empty() {
        return Err(USAGE.into());
    }

    let socket = UdpSocket::bind(own).map_err(|error| format!("{own}: {error}"))?;
    let start = Clock::now();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    // A local network answers at once; the defaults are for links that take seconds.
    let config = Config::chat()
        .participant_id(name.as_str().into())
        .seed(seed)
        .resend_after(Duration::from_secs(1))
        .repair_t_min(Duration::from_millis(200))
        .repair_t_max(Some(Duration::from_secs(1)))
        .sync_min(Duration::from_secs(1))
        .sync_max(Duration::from_secs(3))
        .build()?;
    let channel = ChannelId::from_static("example");
    let mut node = Node::new(config);
    node.handle(now(start)?, Input::Open { channel: channel.clone(), config: None })?;

    let mut published = 0;
    let mut publish_at = Duration::ZERO;
    let mut buffer = vec![0; 65_536];
    loop {
        // 1. Carry out what the node wants done.
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Send { bytes, .. } => {
                    for peer in &peers {
                        // A datagram that cannot be sent is a lost one; the protocol copes.
                        let _lost = socket.send_to(&bytes, peer);
                    }
                }
                Effect::Event(Event::Deliver(delivery)) => {
                    let text = String::from_utf8_lossy(delivery.entry.content());
                    println!("{}: {text}", delivery.entry.sender_id());
                    if let Some(log) = node.log(&channel) {
                        println!("log of {}: {}", log.len(), log.digest());
                    }
                }
                _ => {}
            }
        }
        // 2. What the application wants.
        if start.elapsed() >= publish_at {
            published += 1;
            let content = Bytes::from(format!("message {published} of {name}"));
            let message_id = MessageId::from(format!("{name}-{seed:x}-{published}"));
            let kind = PublishKind::Content;
            let channel = channel.clone();
            let publish = Input::Publish { channel, message_id, content, kind };
            node.handle(now(start)?, publish)?;
            publish_at =
                if published < messages { start.elapsed() + PUBLISH_EVERY } else { Duration::MAX };
            continue;
        }
        // 3. Sleep until a datagram comes or something is due.
        let due = node.next_deadline().map(|deadline| deadline.at.as_micros());
        let due = due.map_or(publish_at, |due| Duration::from_micros(due).min(publish_at));
        let wait = due.saturating_sub(start.elapsed());
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(60));
        socket.set_read_timeout(Some(wait))?;
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                let datagram = Bytes::copy_from_slice(&buffer[..len]);
                if let Err(rejected) = node.handle(now(start)?, Input::Datagram(datagram)) {
                    println!("from {from}: {rejected}");
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Somebody's port is not open yet.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error.into()),
        }
        // Also when datagrams leave no time to sleep. If nothing is due it does nothing.
        node.handle(now(start)?, Input::Tick)?;
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn now(start: Clock) -> Result<Now, Box<dyn Error>> {
    let mono = Instant::from_micros(start.elapsed().as_micros() as u64);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    Ok(Now::new(mono, UnixMillis(wall)))
}
