//! The event loop: a driver on a thread of its own, which needs no executor.
//!
//! The thread owns the node and its transport. It sleeps in the operating system's poller until a
//! socket is ready, a handle has sent something, or the node's deadline comes, and then makes the
//! same [turns](crate#what-a-turn-does) as every driver. While it sleeps it uses no processor
//! time; whoever wakes it pays for one system call, and for none while it is running.
//!
//! Application threads talk to it through a [`Handle`] each: a clone is a lock-free queue of its
//! own, so that threads that have a clone each never wait for each other, and the event loop
//! visits the queues in turn, so that a busy thread starves no other. [`Options::commands`] is the
//! room of each. Questions and [`Handle::consumed`] take one queue that all share, which is always
//! looked at.
//!
//! ```
//! use sds_proto::{Config, Event};
//! use sds_runtime::{DriverEvent, Wait, event_loop, transport::MemoryGroup};
//!
//! let group = MemoryGroup::new(64);
//! let config = |name: &str| Config::builder().participant_id(name.into()).build();
//! let (alice, _) = event_loop::spawn(config("alice")?, group.join())?;
//! let (bob, mut events) = event_loop::spawn(config("bob")?, group.join())?;
//! alice.open("greetings").wait()?;
//! bob.open("greetings").wait()?;
//!
//! let publishing = std::thread::spawn(move || alice.publish("greetings", "m1", "hello").wait());
//! let delivery = events.iter().find_map(|event| match event {
//!     DriverEvent::Node(Event::Deliver(delivery)) => Some(delivery),
//!     _ => None,
//! });
//! assert_eq!(delivery.unwrap().entry.content(), b"hello");
//! publishing.join().unwrap()?;
//! bob.shutdown().wait();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Back-pressure
//!
//! A lane that is full makes [`Handle::publish`] wait and [`Handle::try_publish`] say so. It fills
//! when the event loop is slower than the thread, when the transport takes no more, and when twice
//! [`Options::events`] are unread and as many publications as a lane holds wait for that.
//!
//! # The end
//!
//! [`Handle::shutdown`] and dropping the last handle do the same: commands that were taken are
//! carried out, what there is to send is sent, for at most [`Options::flush`], and the thread has
//! ended when either returns. A task should await the shutdown, because the drop blocks.

pub(crate) mod lane;
mod reactor;
mod sleep;
pub(crate) mod thread;
mod timer;
mod udp;

use core::pin::pin;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::thread::Builder;

use sds_proto::Config;

use crate::error::StartError;
use crate::event::Events;
use crate::handle::Handle;
use crate::options::Options;
use crate::port::{Inlet, Outlet};
use crate::run::Run;
use crate::transport::Transport;
use reactor::{Reactor, Sleeper};
use thread::LoopThread;

pub use timer::Timer;
pub use udp::Udp;

/// Starts an event loop, with the default [`Options`], for a transport that needs none of its
/// sockets or timers.
///
/// It runs until it is shut down or the last [`Handle`] is dropped.
///
/// # Errors
///
/// [`StartError::NeedsStore`] if `config` asks for durability; [`StartError::NoResources`].
pub fn spawn(config: Config, transport: impl Transport) -> Result<(Handle, Events), StartError> {
    let event_loop = EventLoop::new().map_err(|error| StartError::NoResources(error.kind()))?;
    event_loop.spawn(config, transport, Options::default())
}

/// An event loop that does not run yet, for transports to be made on it.
#[derive(Debug)]
pub struct EventLoop(Sleeper);

impl EventLoop {
    /// An event loop with a poller of its own.
    ///
    /// # Errors
    ///
    /// Of the operating system, for example that too many files are open.
    pub fn new() -> io::Result<Self> {
        Sleeper::new().map(Self)
    }

    /// A timer for a transport, for example [`Lossy`](crate::transport::Lossy).
    #[must_use]
    pub fn timer(&self) -> Timer {
        Timer::new(self.reactor())
    }

    /// Maximum time for which it spins for wake-ups before a sleep, as long as that is
    /// [worth it](crate::Spin). Default 0.
    ///
    /// A thread that asks and waits for the answer is answered sooner, for as much processor time.
    /// Sockets and timers may be served late by as long.
    #[must_use]
    pub const fn spin(mut self, spin: Duration) -> Self {
        self.0.set_spin(spin);
        self
    }

    /// Runs a future of the caller's to its end, on this thread, which sleeps whenever there is
    /// nothing to do.
    pub fn run<F: Future>(self, future: F) -> F::Output {
        self.0.run(pin!(future))
    }

    /// Runs it, on a new thread: a node with `config` on `transport`.
    ///
    /// It runs until it is shut down or the last [`Handle`] is dropped.
    ///
    /// # Errors
    ///
    /// As [`Run::new`]; also [`StartError::NoResources`].
    pub fn spawn<T: Transport>(
        self,
        config: Config,
        transport: T,
        options: Options,
    ) -> Result<(Handle, Events), StartError> {
        let (lane, lanes) = lane::lanes(options.commands.max(1));
        let port = (Outlet::Lane(lane), Inlet::Lanes(lanes));
        let timer = self.timer();
        let (handle, events, run) = Run::with_port(config, transport, timer, options, port)?;
        let thread = Builder::new()
            .name("sds-event-loop".into())
            .spawn(move || self.0.run(run))
            .map_err(|error| StartError::NoResources(error.kind()))?;
        Ok((handle.on(LoopThread::new(thread)), events))
    }

    const fn reactor(&self) -> &Arc<Reactor> {
        self.0.reactor()
    }
}
