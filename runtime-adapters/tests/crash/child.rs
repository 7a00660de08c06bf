//! One participant: publishes, and says what it is told.

use core::error::Error;
use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::thread;

use fastrand::Rng;
use sds_proto::{DeliverySeq, Durability, Event, RejectReason, Status};
use sds_runtime::event_loop::EventLoop;
use sds_runtime::store::{OpenError, Sqlite, Store};
use sds_runtime::transport::UdpBuilder;
use sds_runtime::{DriverEvent, Events, Handle, HandleError, Options, Wait};

use crate::args::{Driver, Member};
use crate::group::{self, CHANNEL};
use crate::hasty::Hasty;
use crate::pipe::{Delivered, Message, Order, Report, State};

/// Time between two messages on average.
const PACE: Duration = Duration::from_millis(10);
/// Time between two looks at the state.
const STATE_EVERY: Duration = Duration::from_millis(10);
/// Socket buffers, in bytes.
const SOCKET_BUFFER: usize = 4 << 20;

type Failure = Box<dyn Error>;

/// Orders of the parent.
#[derive(Default)]
struct Orders {
    publishing: AtomicBool,
    /// Number of orders received.
    heard: AtomicU64,
    /// Number of orders that the publisher has carried out.
    obeyed: AtomicU64,
    stopped: AtomicBool,
}

/// Takes part in the group until its input ends.
pub(crate) fn run(member: &Member) -> ExitCode {
    match take_part(member) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody listens any more there is nobody to tell.
            drop(say(&Report::Trouble(error.to_string())));
            ExitCode::FAILURE
        }
    }
}

fn take_part(member: &Member) -> Result<(), Failure> {
    let (handle, mut events) = start(member)?;
    let (orders, told) = (Orders::default(), AtomicU64::new(0));
    thread::scope(|scope| {
        let listener = scope.spawn(|| tell(&mut events, &told));
        handle.open(CHANNEL).wait()?;
        say(&Report::Ready)?;
        let publisher = scope.spawn(|| publish(member, &handle, &orders));
        let reporter = scope.spawn(|| report(&handle, &told, &orders));
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let order = line.parse::<Order>().map_err(|unknown| unknown.to_string())?;
            orders.publishing.store(order == Order::Publish, Ordering::SeqCst);
            orders.heard.fetch_add(1, Ordering::SeqCst);
        }
        orders.stopped.store(true, Ordering::SeqCst);
        let results = [publisher.join(), reporter.join()];
        handle.shutdown().wait();
        for result in results.into_iter().chain([listener.join()]) {
            result.map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

fn store(member: &Member) -> Result<Options, OpenError> {
    let store = Sqlite::open(&member.file)?;
    Ok(match member.hasty {
        false => options(store),
        true => options(Hasty::new(store)),
    })
}

fn options(store: impl Store) -> Options {
    Options::default().flush(Duration::from_secs(60)).store(store)
}

fn start(member: &Member) -> Result<(Handle, Events), Failure> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let own = *member.ports.get(member.index).ok_or("a participant without a port")?;
    let others = member.ports.iter().copied().filter(|port| *port != own).map(address).collect();
    let socket = UdpBuilder::new().receive_buffer(SOCKET_BUFFER).send_buffer(SOCKET_BUFFER);
    let (config, options) = (group::config(member)?, store(member)?);
    assert_eq!(config.durability(), Durability::Strict);
    match member.driver.of(member.index) {
        Driver::Smol | Driver::Mixed => {
            let socket = socket.unicast(address(own), others)?;
            let (handle, events, run) = sds_runtime::smol::new(config, socket, options)?;
            smol::spawn(run).detach();
            Ok((handle, events))
        }
        Driver::EventLoop => {
            let event_loop = EventLoop::new()?;
            let socket = socket.unicast_on(&event_loop, address(own), others)?;
            Ok(event_loop.spawn(config, socket, options)?)
        }
        #[cfg(feature = "tokio")]
        Driver::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let inside = runtime.enter();
            let socket = socket.unicast_on_tokio(address(own), others)?;
            let (handle, events, run) = sds_runtime::tokio::new(config, socket, options)?;
            drop(inside);
            thread::spawn(move || runtime.block_on(run));
            Ok((handle, events))
        }
        #[cfg(not(feature = "tokio"))]
        Driver::Tokio => Err("tokio is not compiled in".into()),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other event is trouble")]
/// Says what happens. `told` is the newest delivery that was said: the application is done with it.
fn tell(events: &mut Events, told: &AtomicU64) -> io::Result<()> {
    for event in events.iter() {
        match event {
            DriverEvent::Node(Event::Deliver(delivery)) => {
                let message = Message::new(&delivery.entry);
                let redelivery = delivery.redelivery;
                say(&Report::Delivered(Delivered { message, redelivery }))?;
                if delivery.gap {
                    say(&Report::Trouble("a delivery with a gap".into()))?;
                }
                told.store(delivery.seq.0, Ordering::SeqCst);
            }
            DriverEvent::Node(Event::Acked { message_id, .. }) => {
                say(&Report::Acked(message_id.to_string()))?;
            }
            DriverEvent::Node(
                effect @ (Event::Unconfirmed { .. }
                | Event::Lost { .. }
                | Event::Degraded { .. }
                | Event::LimitReached { .. }
                | Event::Conflict { .. }
                | Event::FilterIgnored { .. }),
            ) => say(&Report::Trouble(format!("{effect:?}")))?,
            DriverEvent::Node(_) | DriverEvent::Retrieve { .. } => {}
            // Others talk before the channel is loaded, and sockets complain while one is away.
            DriverEvent::DatagramRejected {
                reason: RejectReason::ChannelNotOpen | RejectReason::ChannelLoading,
                ..
            }
            | DriverEvent::SendFailed(_)
            | DriverEvent::ReceiveFailed(_) => {}
            trouble => say(&Report::Trouble(format!("{trouble:?}")))?,
        }
    }
    Ok(())
}

fn publish(member: &Member, handle: &Handle, orders: &Orders) -> io::Result<()> {
    let mut rng = Rng::with_seed(member.seed ^ u64::from(member.life));
    let mut number = 0;
    while !orders.stopped.load(Ordering::SeqCst) {
        thread::sleep(PACE.mul_f64(2.0 * rng.f64()));
        let heard = orders.heard.load(Ordering::SeqCst);
        if orders.publishing.load(Ordering::SeqCst) {
            number += u64::from(publish_one(member, handle, number, &mut rng)?);
        }
        orders.obeyed.store(heard, Ordering::SeqCst);
    }
    Ok(())
}

/// `false` if the node would not have it now.
fn publish_one(member: &Member, handle: &Handle, number: u64, rng: &mut Rng) -> io::Result<bool> {
    let content: Vec<u8> = (0..rng.usize(1..=400)).map(|_| rng.u8(..)).collect();
    let published = handle.try_publish(CHANNEL, group::message_id(member, number), content);
    match published.and_then(Wait::wait).map_err(|error| error.reason) {
        Ok(()) => return Ok(true),
        // The group is slower than we are.
        Err(
            HandleError::Full
            | HandleError::Rejected(
                RejectReason::OutgoingFull { .. } | RejectReason::StoreTooSlow { .. },
            ),
        ) => {}
        Err(reason) => say(&Report::Trouble(format!("not published: {reason}")))?,
    }
    Ok(false)
}

/// Says where the node stands whenever that has changed, and to the node what was told.
fn report(handle: &Handle, told: &AtomicU64, orders: &Orders) -> io::Result<()> {
    let mut reporter = Reporter { handle, consumed: 0, seen: None };
    while !orders.stopped.load(Ordering::SeqCst) {
        // Before the state: it has what the publisher has done by then.
        let obeyed = orders.obeyed.load(Ordering::SeqCst);
        match reporter.look(told.load(Ordering::SeqCst), obeyed) {
            Ok(Some(state)) => say(&Report::State(state))?,
            Ok(None) | Err(HandleError::Rejected(RejectReason::StoreTooSlow { .. })) => {}
            Err(error) => say(&Report::Trouble(error.to_string()))?,
        }
        thread::sleep(STATE_EVERY);
    }
    Ok(())
}

struct Reporter<'a> {
    handle: &'a Handle,
    consumed: u64,
    seen: Option<(u64, Status)>,
}

impl Reporter<'_> {
    /// Returns the state of the node, if it has changed.
    fn look(&mut self, told: u64, obeyed: u64) -> Result<Option<State>, HandleError> {
        if told > self.consumed {
            self.handle.consumed(CHANNEL, DeliverySeq(told)).wait()?;
            self.consumed = told;
        }
        let seen = Some((obeyed, self.handle.status(CHANNEL).wait()?));
        if self.seen == seen {
            return Ok(None);
        }
        let log = self.handle.log(CHANNEL).wait()?;
        self.seen = seen;
        Ok(seen.map(|(obeyed, status)| State {
            obeyed,
            delivered: status.delivered.0,
            outgoing: status.outgoing,
            waiting: status.incoming + status.missing,
            digest: log.digest.to_string(),
        }))
    }
}

fn say(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{report}\n").as_bytes())?;
    out.flush()
}
