//! A participant on the smol driver, which does what `manual_loop` and `mio_loop` of `sds-proto` do
//! by hand. The arguments are theirs, and all three can be in one group.
//!
//! ```text
//! cargo run -p sds-runtime --example smol_loop -- dave 127.0.0.1:7004 127.0.0.1:7001
//! ```

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::wildcard_enum_match_arm,
    reason = "an example talks, has std, and picks the events it shows"
)]

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_lite::StreamExt;
use futures_lite::future::try_zip;
use sds_proto::{Config, Event};
use sds_runtime::transport::Udp;
use sds_runtime::{DriverEvent, Events, Handle};
use smol::Timer;

const CHANNEL: &str = "example";
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
const USAGE: &str = "usage: smol_loop NAME OWN_ADDRESS PEER_ADDRESS... [--messages N]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smol_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut messages = usize::MAX;
    if let Some(flag) = args.iter().position(|arg| arg == "--messages") {
        let text = args.get(flag + 1).ok_or(USAGE)?;
        messages = text.parse().map_err(|error| format!("--messages {text}: {error}"))?;
        args.truncate(flag);
    }
    let [name, own, peers @ ..] = args.as_slice() else { return Err(USAGE.into()) };
    let peers = peers.iter().map(|peer| address(peer)).collect::<Result<_, _>>()?;
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
    let own = address(own)?;
    let socket = Udp::unicast(own, peers).map_err(|error| format!("{own}: {error}"))?;
    smol::block_on(async {
        let (handle, events) = sds_runtime::smol::spawn(config, socket)?;
        handle.open(CHANNEL).await?;
        try_zip(publish(&handle, name, seed, messages), show(&handle, events)).await?;
        Ok(())
    })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

async fn publish(
    handle: &Handle,
    name: &str,
    seed: u64,
    messages: usize,
) -> Result<(), Box<dyn Error>> {
    let mut clock = Timer::interval_at(Instant::now(), PUBLISH_EVERY);
    for number in 1..=messages {
        clock.next().await;
        let (id, text) =
            (format!("{name}-{seed:x}-{number}"), format!("message {number} of {name}"));
        handle.publish(CHANNEL, id, text).await?;
    }
    Ok(())
}

async fn show(handle: &Handle, mut events: Events) -> Result<(), Box<dyn Error>> {
    while let Some(event) = events.next().await {
        match event {
            DriverEvent::Node(Event::Deliver(delivery)) => {
                let text = String::from_utf8_lossy(delivery.entry.content());
                println!("{}: {text}", delivery.entry.sender_id());
                let log = handle.log(CHANNEL).await?;
                println!("log of {}: {}", log.entries.len(), log.digest);
            }
            DriverEvent::DatagramRejected { reason, .. } => println!("refused: {reason}"),
            _ => {}
        }
    }
    Ok(())
}
