//! From publishing to the peer's delivery, over UDP on the loopback interface: one thread on each
//! side runs a driver and its application. Beside it, one bare datagram of the same length.

use core::future::poll_fn;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail};
use async_channel::{Receiver, Sender};
use bytes::Bytes;
use hdrhistogram::Histogram;
use sds_proto::{Config, Event};
use sds_runtime::{DriverEvent, Events, Handle, Options, Run, Timer, Transport};
use smol::future::{or, zip};

use super::ours::{Publisher, Unmeasured, small_channel, uuid};
use super::stream::sent;
use crate::cores::Cores;

const CHANNEL: &str = "channel1";
const LOCAL: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Nothing that is measured here takes that long unless a datagram is lost.
const LOST_AFTER: Duration = Duration::from_secs(120);

/// Messages on their way at once, at most, when as many as possible are sent: few enough for the
/// buffer of a socket.
const WINDOW: usize = 64;

/// A driver to be measured.
pub(crate) trait Driver {
    type Udp: Transport;
    type Timer: Timer;

    fn new() -> io::Result<Self>
    where
        Self: Sized;

    /// A socket on the loopback interface, after its address.
    fn bind(&self, peers: Vec<SocketAddr>) -> io::Result<(SocketAddr, Self::Udp)>;

    fn timer(&self) -> Self::Timer;

    /// Runs a future on this thread.
    fn run<F: Future>(self, future: F) -> F::Output;
}

/// When messages are published.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// One in this time.
    Each(Duration),
    /// As soon as there is room.
    Full,
}

/// Result of passing some messages.
pub(crate) struct Passed {
    /// From publishing to delivery, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the first delivery to the last.
    elapsed: Duration,
}

impl Passed {
    pub(crate) fn microseconds(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn per_second(&self) -> f64 {
        (self.latency.len() - 1) as f64 / self.elapsed.as_secs_f64()
    }
}

/// Passes messages from one driver to another of the kind.
///
/// # Errors
///
/// Of the operating system; a message did not arrive.
pub(crate) fn pass<D: Driver>(cores: &Cores, messages: u64, pace: Pace) -> anyhow::Result<Passed> {
    let (ready, address) = mpsc::channel();
    let (on_the_way, arrived) = async_channel::bounded(WINDOW);
    let start = Instant::now();
    cores.together(
        move || receive::<D>(messages, start, arrived, ready),
        move || send::<D>(messages, start, pace, &on_the_way, &address),
    )
}

/// Sends as many bare datagrams, as long as ours, from one blocking socket to another.
///
/// # Errors
///
/// As [`pass`].
pub(crate) fn pass_bare(
    cores: &Cores,
    messages: u64,
    interval: Duration,
) -> anyhow::Result<Passed> {
    let (from, to) = (UdpSocket::bind(LOCAL)?, UdpSocket::bind(LOCAL)?);
    to.set_read_timeout(Some(LOST_AFTER))?;
    let address = to.local_addr()?;
    let mut datagram = datagram()?;
    let start = Instant::now();
    cores.together(
        || {
            let mut buffer = [0; 65_536];
            let mut tally = Tally::new(start)?;
            for _ in 0..messages {
                let len = to.recv(&mut buffer).context("a bare datagram was lost")?;
                tally.delivered(&buffer[..len])?;
            }
            Ok(tally.passed)
        },
        || {
            for number in 0..messages {
                let due = start + interval * number as u32;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                stamp(&mut datagram, start);
                from.send_to(&datagram, address)?;
            }
            Ok(())
        },
    )
}

/// Adds up what arrives.
struct Tally {
    start: Instant,
    first: Option<Instant>,
    passed: Passed,
}

impl Tally {
    fn new(start: Instant) -> anyhow::Result<Self> {
        // To three digits, up to a minute.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        Ok(Self { start, first: None, passed: Passed { latency, elapsed: Duration::ZERO } })
    }

    /// Something arrived that was stamped when it was sent.
    fn delivered(&mut self, content: &[u8]) -> anyhow::Result<()> {
        let now = Instant::now();
        let sent = content.first_chunk().map(|nanos| u64::from_le_bytes(*nanos));
        let sent = Duration::from_nanos(sent.context("a message without its time")?);
        let taken = now.duration_since(self.start).saturating_sub(sent);
        self.passed.latency.record(taken.as_nanos() as u64)?;
        self.passed.elapsed = now.duration_since(*self.first.get_or_insert(now));
        Ok(())
    }
}

/// Writes the time into the first eight bytes.
fn stamp(content: &mut [u8], start: Instant) {
    let nanos = start.elapsed().as_nanos() as u64;
    content[..8].copy_from_slice(&nanos.to_le_bytes());
}

/// Acknowledges nothing and has nothing due, so that each message is one datagram.
fn config(name: &str) -> anyhow::Result<Config> {
    let config = small_channel(1 << 20).resend(false).sync(false).max_ids(1 << 21);
    Ok(config.participant_id(name.into()).build()?)
}

/// As long as those that the drivers send.
fn datagram() -> anyhow::Result<Vec<u8>> {
    let mut author =
        Publisher::new("author-1", small_channel(1_000), &mut fastrand::Rng::with_seed(1))?;
    author.publish(200, &mut Unmeasured)?;
    let mut sends = author.publish_one(Bytes::from_static(&[7; 64]))?.into_iter().filter_map(sent);
    Ok(sends.next().context("nothing was sent")?.into())
}

/// The application's ends of a driver, and the driver.
type Node<D> = (Handle, Events, Run<<D as Driver>::Udp, <D as Driver>::Timer>);

fn start_node<D: Driver>(driver: &D, name: &str, socket: D::Udp) -> anyhow::Result<Node<D>> {
    Ok(Run::new(config(name)?, socket, driver.timer(), Options::default())?)
}

fn receive<D: Driver>(
    messages: u64,
    start: Instant,
    on_the_way: Receiver<()>,
    ready: mpsc::Sender<SocketAddr>,
) -> anyhow::Result<Passed> {
    let driver = D::new()?;
    let (address, socket) = driver.bind(Vec::new())?;
    let (handle, mut events, run) = start_node(&driver, "reader-1", socket)?;
    let mut timer = driver.timer();
    let arrivals = async {
        handle.open(CHANNEL).await?;
        ready.send(address).context("the sender is gone")?;
        let mut tally = Tally::new(start)?;
        while tally.passed.latency.len() < messages {
            match events.next().await {
                Some(DriverEvent::Node(Event::Deliver(delivery))) => {
                    tally.delivered(delivery.entry.content())?;
                    // Only those that are sent at full speed are counted.
                    _ = on_the_way.try_recv();
                }
                Some(DriverEvent::Node(_)) => {}
                other => bail!("instead of a delivery: {other:?}"),
            }
        }
        Ok(tally.passed)
    };
    let deadline = async {
        sleep_until(&mut timer, Instant::now() + LOST_AFTER).await;
        Err(anyhow!("not all of {messages} messages arrived within {LOST_AFTER:?}"))
    };
    let application = async {
        let passed = or(arrivals, deadline).await;
        handle.shutdown().await;
        passed
    };
    driver.run(zip(run, application)).1
}

fn send<D: Driver>(
    messages: u64,
    start: Instant,
    pace: Pace,
    on_the_way: &Sender<()>,
    address: &mpsc::Receiver<SocketAddr>,
) -> anyhow::Result<()> {
    let Ok(peer) = address.recv() else {
        return Ok(()); // The receiver is gone, and says reason.
    };
    let driver = D::new()?;
    let (_, socket) = driver.bind(vec![peer])?;
    // Nobody reads the events of this side.
    let (handle, _, run) = start_node(&driver, "author-1", socket)?;
    let mut timer = driver.timer();
    let application = async {
        handle.open(CHANNEL).await?;
        let mut rng = fastrand::Rng::with_seed(1);
        let first = Instant::now();
        for number in 0..messages {
            match pace {
                Pace::Each(interval) => {
                    sleep_until(&mut timer, first + interval * number as u32).await;
                }
                Pace::Full => {
                    if on_the_way.send(()).await.is_err() {
                        break; // The receiver is gone, and says reason.
                    }
                }
            }
            let (message_id, mut content) = (uuid(&mut rng), vec![7; 64]);
            stamp(&mut content, start);
            handle.publish(CHANNEL, message_id, content).await?;
        }
        anyhow::Ok(())
    };
    let application = async {
        let result = application.await;
        handle.shutdown().await;
        result
    };
    driver.run(zip(run, application)).1
}

async fn sleep_until(timer: &mut impl Timer, at: Instant) {
    timer.set(Some(at));
    poll_fn(|cx| timer.poll(cx)).await;
}

/// On async-io, as smol's executor runs it.
pub(crate) struct Smol;

impl Driver for Smol {
    type Udp = sds_runtime::transport::Udp;
    type Timer = sds_runtime::smol::Timer;

    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn bind(&self, peers: Vec<SocketAddr>) -> io::Result<(SocketAddr, Self::Udp)> {
        let socket = Self::Udp::unicast(LOCAL, peers)?;
        Ok((socket.local_addr()?, socket))
    }

    fn timer(&self) -> Self::Timer {
        Self::Timer::default()
    }

    fn run<F: Future>(self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

/// On a tokio runtime of one thread.
pub(crate) struct Tokio(tokio::runtime::Runtime);

impl Driver for Tokio {
    type Udp = sds_runtime::tokio::Udp;
    type Timer = sds_runtime::tokio::Timer;

    fn new() -> io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Self)
    }

    fn bind(&self, peers: Vec<SocketAddr>) -> io::Result<(SocketAddr, Self::Udp)> {
        let _inside = self.0.enter();
        let socket = Self::Udp::unicast(LOCAL, peers)?;
        Ok((socket.local_addr()?, socket))
    }

    fn timer(&self) -> Self::Timer {
        Self::Timer::default()
    }

    fn run<F: Future>(self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// On the project's own event loop.
pub(crate) struct EventLoop(sds_runtime::event_loop::EventLoop);

impl Driver for EventLoop {
    type Udp = sds_runtime::event_loop::Udp;
    type Timer = sds_runtime::event_loop::Timer;

    fn new() -> io::Result<Self> {
        sds_runtime::event_loop::EventLoop::new().map(Self)
    }

    fn bind(&self, peers: Vec<SocketAddr>) -> io::Result<(SocketAddr, Self::Udp)> {
        let socket = Self::Udp::unicast(&self.0, LOCAL, peers)?;
        Ok((socket.local_addr()?, socket))
    }

    fn timer(&self) -> Self::Timer {
        self.0.timer()
    }

    fn run<F: Future>(self, future: F) -> F::Output {
        self.0.run(future)
    }
}
