//! Drivers, transports and stores for Scalable Data Sync: [`sds_proto::Node`] on real sockets and
//! clocks.
//!
//! A group of programs keeps one log, the same at every member, over a network that loses and
//! reorders; [`sds_proto`] is the protocol and says more.
//!
//! The node decides, and does nothing; a *driver* does what it says. A driver is one task, or one
//! thread, that owns the node, a [`Transport`] and a timer. The application keeps a [`Handle`] to
//! tell it what to do, and [`Events`], a stream of what happened. Both are the same whatever the
//! driver; tasks await them, and threads without an executor [wait](Wait) for them.
//!
#![cfg_attr(feature = "smol", doc = "```")]
#![cfg_attr(not(feature = "smol"), doc = "```ignore")]
//! use sds_proto::{Config, Event};
//! use sds_runtime::{DriverEvent, transport::MemoryGroup};
//!
//! # smol::block_on(async {
//! let group = MemoryGroup::new(64);
//! let config = |name: &str| Config::builder().participant_id(name.into()).build();
//! let (alice, _) = sds_runtime::smol::spawn(config("alice")?, group.join())?;
//! let (bob, mut events) = sds_runtime::smol::spawn(config("bob")?, group.join())?;
//! alice.open("greetings").await?;
//! bob.open("greetings").await?;
//!
//! alice.publish("greetings", "m1", "hello").await?;
//! while let Some(event) = events.next().await {
//!     if let DriverEvent::Node(Event::Deliver(delivery)) = event {
//!         assert_eq!(delivery.entry.content(), b"hello");
//!         break;
//!     }
//! }
//! alice.shutdown().await;
//! bob.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Which driver
//!
//! | | runs | sockets |
//! | --- | --- | --- |
//! | `smol::spawn` | a task on smol's executor, or with `smol::new` on any | `transport::Udp` |
//! | `tokio::spawn` | a task on the tokio runtime of the caller | `tokio::Udp` |
//! | `event_loop::spawn` | a thread of its own, asleep in the system's poller | `event_loop::Udp` |
//!
//! Each has a variant that takes [`Options`]: bounds, a clock, and the [store] in which the node's
//! state outlives the process. [`transport::MemoryGroup`] is a group within one process, and
//! [`transport::Lossy`] makes any transport a bad one. `docs/runtimes.md` in the repository has
//! whole programs, `docs/metrics.md` says what the numbers mean.
//!
//! # What a turn does
//!
//! Each turn of a driver, in this order and each under a budget, so that a flood of one starves
//! no other:
//!
//! 1. effects of the node go to the transport, to the store and to the events, and nothing else
//!    happens while there are any; if the transport takes no more, only questions are answered;
//! 2. an answer of the [store] is taken in, if there is one, and what it lets go is carried out;
//! 3. datagrams are taken in;
//! 4. commands of the handles are carried out, and their questions answered;
//! 5. if the node's deadline has passed, it is told the time;
//! 6. the driver sleeps until any of these wakes it.
//!
//! # What is bounded, and what happens at the bound
//!
//! * *Commands*: [`Options::commands`] wait at most; then calls of a [`Handle`] wait, and
//!   [`try_publish`](Handle::try_publish) says that it is full. Questions and
//!   [`consumed`](Handle::consumed) have a queue of their own, as long, which is looked at in
//!   each turn.
//! * *Events*: once [`Options::events`] wait to be read, the driver takes in no datagrams until one
//!   is read. Commands are carried out and timers go on, so that resends, repairs and syncs still
//!   leave; what they have to report is queued beyond the bound: that is at most a few events for
//!   each message the node holds. Once twice as many wait, messages to publish wait as well, for
//!   at most [`Options::max_stall`] without one being read. No other call of a [`Handle`] depends on
//!   the events. Events that repeat by themselves are [skipped](DriverEvent::Skipped) beyond the bound,
//!   and those that a stranger can repeat beyond half of it; no other event is ever lost.
//! * *Messages nobody has acknowledged*: [`max_outgoing`](sds_proto::Config::max_outgoing); beyond,
//!   [`publish`](Handle::publish) waits, in each channel in the order of the calls, and
//!   [`try_publish`](Handle::try_publish) says so.
//! * *What waits for the store*: [`max_held_effects`](sds_proto::Config::max_held_effects); beyond,
//!   the node refuses messages, its own and those of others, and its timers stand still.
//! * *Datagrams to send*: [`Options::sends`]; beyond, effects stay in the node until the
//!   transport takes one, and nothing is taken in meanwhile but questions and
//!   [`consumed`](Handle::consumed).
//!
//! # Features
//!
//! * `smol` (default): the module `smol`, a driver on the smol executor, and `transport::Udp`.
//! * `event-loop` (default): the module `event_loop`, a driver on a thread of its own, with its
//!   own UDP transport. Links no executor.
//! * `tokio`: the module `tokio`, a driver on a tokio runtime, with its own UDP transport.
//! * `tracing`: spans and events, of the target `sds_runtime`. A span `driver` for the life of
//!   each, and within it `store_write`; events when it starts and ends, when channels are opened,
//!   when writes are made, fail and recover, when sockets fail, and at level debug when datagrams
//!   are refused.
//! * `prometheus`: the module `prometheus`, [`Metrics`] as text.
//! * `sqlite`: `store::Sqlite`, a store in a file. Compiles SQLite, which takes a C compiler.
//! * `encryption`: `store::Encrypted`, which seals records in front of any store.
//!
//! Without a driver, [`Run`] is a plain future for any executor that brings its own [`Timer`] and
//! [`Transport`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod clock;
mod command;
mod driver;
mod error;
mod event;
#[cfg(feature = "event-loop")]
pub mod event_loop;
mod handle;
mod keeper;
mod metrics;
mod opening;
mod options;
mod port;
#[cfg(feature = "prometheus")]
pub mod prometheus;
mod reply;
mod run;
#[cfg(feature = "smol")]
pub mod smol;
mod spin;
pub mod store;
mod timer;
#[cfg(feature = "tokio")]
pub mod tokio;
mod trace;
pub mod transport;
mod wait;
mod waiting;

pub use clock::{Clock, Jumps};
pub use command::LogSnapshot;
pub use error::{HandleError, PublishError, StartError};
pub use event::{DriverEvent, Events};
pub use handle::{Handle, Publication};
pub use metrics::{Metric, MetricKind, Metrics};
pub use options::Options;
pub use run::Run;
pub use spin::Spin;
pub use store::Store;
pub use timer::Timer;
pub use transport::Transport;
pub use wait::Wait;

/// The code in the README and in the guides is compiled with the documentation tests.
#[cfg(doctest)]
mod guides {
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[cfg(feature = "smol")]
    #[doc = include_str!("../../docs/run.md")]
    struct Run;
    #[cfg(all(feature = "event-loop", feature = "smol", feature = "sqlite", feature = "tokio"))]
    #[doc = include_str!("../../docs/runtimes.md")]
    struct Runtimes;
    #[cfg(all(feature = "prometheus", feature = "smol"))]
    #[doc = include_str!("../../docs/metrics.md")]
    struct Metrics;
}
