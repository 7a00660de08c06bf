//! One participant: publishes, records what happens, and leaves its files.

use core::cell::Cell;
use core::error::Error;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;

use async_channel::Receiver;
use fastrand::Rng;
use futures_lite::future;
use sds_proto::{DeliverySeq, RejectReason, Status};
use sds_runtime::event_loop::EventLoop;
use sds_runtime::smol::Timer;
use sds_runtime::store::{Memory, Sqlite};
use sds_runtime::transport::{Faults, Lossy, UdpBuilder};
use sds_runtime::{Events, Handle, HandleError, LogSnapshot, Metrics, Options};

use crate::args::{Driver, Member, Store};
use crate::pipe::{Order, Progress, Report};
use crate::profile::{self, CHANNEL};
use crate::record::{Figure, LOG, Logged, PUBLISHED, Published, SUMMARY};
use crate::recorder::Recorder;
use crate::seal::SealedWriter;

/// Socket buffers, in bytes. At some 19 KB a message the operating system's default holds ten.
const SOCKET_BUFFER: usize = 4 << 20;
/// Time between two reports to the parent.
pub(crate) const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Time until a message that the node had no room for is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

type Failure = Box<dyn Error>;

/// Takes part in the group until told to stop.
pub(crate) fn run(member: &Member) -> Result<(), Failure> {
    let dir = &member.dir;
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    #[cfg(feature = "tokio")]
    if member.group.driver == Driver::Tokio {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(take_part(member));
    }
    smol::block_on(take_part(member))
}

async fn take_part(member: &Member) -> Result<(), Failure> {
    let (handle, events) = match start(member) {
        Ok(started) => started,
        Err(error) if is_port_taken(error.as_ref()) => return Ok(say(Report::PortTaken)?),
        Err(error) => return Err(error),
    };
    let progress = Cell::default();
    let recorder = Recorder::resume(&member.dir, events, &progress)?;
    participate(member, &handle, recorder).await
}

/// A node on its driver, with a socket and a bad network in front of it.
fn start(member: &Member) -> Result<(Handle, Events), Failure> {
    let Member { group, index, life, ports, .. } = member;
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let own = *ports.get(*index).ok_or("a participant without a port")?;
    let others = ports.iter().copied().filter(|port| *port != own).map(address).collect();
    let socket = UdpBuilder::new().receive_buffer(SOCKET_BUFFER).send_buffer(SOCKET_BUFFER);
    let faults = Faults::seeded(profile::seed(group, *index, *life))
        .loss(f64::from(group.loss) / 100.0)
        .duplication(f64::from(group.dup) / 100.0)
        .reordering(Duration::from_millis(group.reorder_ms));
    let config = profile::config(group, *index, *life)?;
    let options = options(member)?;
    match group.driver {
        Driver::Smol => {
            let socket = socket.unicast(address(own), others)?;
            let transport = Lossy::new(socket, Timer::default(), faults);
            let (handle, events, run) = sds_runtime::smol::new(config, transport, options)?;
            smol::spawn(run).detach();
            Ok((handle, events))
        }
        Driver::EventLoop => {
            let event_loop = EventLoop::new()?;
            let socket = socket.unicast_on(&event_loop, address(own), others)?;
            let transport = Lossy::new(socket, event_loop.timer(), faults);
            Ok(event_loop.spawn(config, transport, options)?)
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let socket = socket.unicast_on_tokio(address(own), others)?;
            let timer = sds_runtime::tokio::Timer::default();
            let transport = Lossy::new(socket, timer, faults);
            let (handle, events, run) = sds_runtime::tokio::new(config, transport, options)?;
            drop(tokio::spawn(run));
            Ok((handle, events))
        }
        #[cfg(not(feature = "tokio"))]
        Driver::Tokio => Err("tokio is not compiled in".into()),
    }
}

/// Opens the node's store, which has the state of earlier lives.
fn options(member: &Member) -> Result<Options, Failure> {
    let options = Options::default();
    Ok(match member.group.store {
        None => options,
        Some(Store::Memory) => options.store(Memory::default()),
        Some(Store::Sqlite) => {
            let dir = member.store_dir.as_ref().ok_or("a participant without a store directory")?;
            let file = dir.join(profile::name(member.index)).with_extension("db");
            options.store(Sqlite::open(file)?)
        }
    })
}

fn is_port_taken(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

async fn participate(
    member: &Member,
    handle: &Handle,
    mut recorder: Recorder<'_>,
) -> Result<(), Failure> {
    handle.open(CHANNEL).await?;
    let orders = orders();
    say(Report::Ready)?;
    if orders.recv().await != Ok(Order::Start) {
        return Ok(());
    }

    let progress = recorder.progress();
    let (mut published, _) = SealedWriter::resume(&member.dir.join(PUBLISHED))?;
    let stop = Cell::new(false);
    let publisher = Publisher { member, handle, progress, stop: &stop, file: &mut published };
    let stopped = until_stopped(handle, &orders, progress, &stop);
    let work = future::try_zip(publisher.run(), stopped);
    recorder.during(work).await??;
    published.seal()?;

    // The files show one moment: when all of the log, and no more, has been recorded.
    let (log, metrics) = loop {
        let question = future::try_zip(handle.log(CHANNEL), handle.metrics());
        let (log, metrics) = recorder.during(question).await??;
        if recorder.until(log.entries.len() as u64).await? {
            break (log, metrics);
        }
    };
    write_log(&member.dir, &log)?;
    write_summary(&member.dir, &log, metrics, progress.get())?;
    recorder.seal()?;
    handle.shutdown().await;
    Ok(())
}

/// Reports to the parent, and to the node what was recorded, until the parent or its end says to
/// stop.
async fn until_stopped(
    handle: &Handle,
    orders: &Receiver<Order>,
    progress: &Cell<Progress>,
    stop: &Cell<bool>,
) -> Result<(), Failure> {
    loop {
        let order = async { Some(orders.recv().await) };
        let pause = async {
            smol::Timer::after(REPORT_EVERY).await;
            None
        };
        if future::or(order, pause).await.is_some() {
            stop.set(true);
            return Ok(());
        }
        // From here on it need not be delivered again after a restart.
        let Progress { published, delivered, .. } = progress.get();
        handle.consumed(CHANNEL, DeliverySeq(delivered)).await?;
        let Status { outgoing, .. } = handle.status(CHANNEL).await?;
        let acknowledged = published.saturating_sub(outgoing as u64);
        progress.update(|p| Progress { acknowledged, ..p });
        say(Report::Progress(progress.get()))?;
    }
}

/// Publishes a participant's messages.
struct Publisher<'a> {
    member: &'a Member,
    handle: &'a Handle,
    progress: &'a Cell<Progress>,
    stop: &'a Cell<bool>,
    file: &'a mut SealedWriter,
}

impl Publisher<'_> {
    /// Publishes all messages at the group's pace, unless told to stop: those that are not in the
    /// log from an earlier life. What an earlier life handed to its node, and the node had not
    /// stored when it died, is published with other content, which nobody must be able to tell.
    async fn run(self) -> Result<(), Failure> {
        let Member { group, index, life, .. } = self.member;
        let name = profile::name(*index);
        let mut rng = Rng::with_seed(profile::seed(group, *index, *life));
        let log = self.handle.log(CHANNEL).await?;
        let own = log.entries.iter().filter(|entry| entry.sender_id() == *name);
        let first = own.count() as u32;
        self.progress.update(|p| Progress { published: first.into(), ..p });
        for number in first..group.messages {
            smol::Timer::after(profile::pace(group).mul_f64(0.5 + rng.f64())).await;
            let message_id = format!("{name}-{number:04}");
            let content: Vec<u8> = (0..rng.usize(16..=256)).map(|_| rng.u8(..)).collect();
            self.file.line(Published::new(&message_id, &content))?;
            if !self.publish(message_id, content).await? {
                break;
            }
            self.progress.update(|p| Progress { published: p.published + 1, ..p });
        }
        Ok(())
    }

    /// Publishes one message, as soon as the node has room; `false` if told to stop before.
    async fn publish(&self, message_id: String, content: Vec<u8>) -> Result<bool, Failure> {
        let mut content = content.into();
        while !self.stop.get() {
            // Unlike `publish` it does not wait for acknowledgements, which may not come any more.
            let publication = self.handle.try_publish(CHANNEL, message_id.as_str(), content);
            let published = match publication {
                Ok(publication) => publication.await,
                Err(error) => Err(error),
            };
            let Err(error) = published else { return Ok(true) };
            let (HandleError::Full
            | HandleError::Rejected(
                RejectReason::OutgoingFull { .. } | RejectReason::StoreTooSlow { .. },
            )) = error.reason
            else {
                return Err(error.into());
            };
            content = error.content;
            smol::Timer::after(RETRY_AFTER).await;
        }
        Ok(false)
    }
}

fn write_log(dir: &Path, log: &LogSnapshot) -> io::Result<()> {
    let mut file = SealedWriter::create(&dir.join(LOG))?;
    log.entries.iter().try_for_each(|entry| file.line(Logged::new(entry)))?;
    file.seal()
}

fn write_summary(
    dir: &Path,
    log: &LogSnapshot,
    metrics: Metrics,
    progress: Progress,
) -> io::Result<()> {
    let mut file = SealedWriter::create(&dir.join(SUMMARY))?;
    file.line(Figure::new("digest", log.digest))?;
    file.line(Figure::new("acknowledged", progress.acknowledged))?;
    file.line(Figure::new("sent", metrics.sent_new))?;
    file.line(Figure::new("resent", metrics.sent_resends))?;
    file.line(Figure::new("retrieved", metrics.sent_repairs))?;
    file.line(Figure::new("syncs", metrics.sent_syncs))?;
    file.line(Figure::new("bridged", metrics.sent_bridged))?;
    file.line(Figure::new("received", metrics.received))?;
    file.line(Figure::new("rejected", metrics.rejected))?;
    file.line(Figure::new("too_large", metrics.too_large))?;
    file.line(Figure::new("send_failures", metrics.send_failures))?;
    file.seal()
}

/// The parent's orders, as they come. They end when the parent does.
fn orders() -> Receiver<Order> {
    let (sender, orders) = async_channel::unbounded();
    std::thread::spawn(move || {
        let lines = io::stdin().lock().lines().map_while(Result::ok);
        for order in lines.map_while(|line| line.parse().ok()) {
            if sender.try_send(order).is_err() {
                break;
            }
        }
    });
    orders
}

fn say(report: Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{report}")?;
    out.flush()
}
