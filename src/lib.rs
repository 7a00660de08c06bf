//! **Scalable Data Sync** (SDS, LIP-109): a group of programs keeps one log, the same at every
//! member and in the same order, over a transport that loses, repeats, delays and reorders.
//!
//! Members broadcast messages. Each names the messages it depends on and carries a short summary of
//! what its sender has. From that a receiver sees what it lacks and asks for it, and a sender sees
//! what has arrived and sends again what has not. There is no leader, no server and no list of
//! members. The log is ordered by (Lamport time, message id), so a message from a slow link is
//! inserted where it belongs, late, and the application is told where that is.
//!
//! This crate is the protocol as a state machine. It does no I/O, reads no clock, draws no
//! randomness but from a seed, and needs no more than `alloc`: whoever embeds it moves the bytes
//! and tells the time.
//!
//! ```text
//!                 Input                                         Effect
//!  a datagram came ──┐                                      ┌──► Send: broadcast these bytes
//!  publish this ─────┤       handle            poll_effect  ├──► Deliver: it joined the log
//!  time has passed ──┼────────────►   Node   ───────────────┼──► Acked, Missing, Lost, Synced, …
//!  the store says ───┘                 │                    └──► Persist, Load: ask the store
//!                                      ▼
//!                       next_deadline: when to come back, and why
//! ```
//!
//! # Two nodes and a lost message
//!
//! Alice publishes two messages; the first datagram is lost. Bob sees from the second that one is
//! missing, and holds it back. The lost one comes with Alice's resend, for nobody acknowledged it,
//! or as an answer to Bob's request, whichever is due first; then Bob is told both in order. Time
//! is virtual: what takes the nodes half a minute takes none here.
//!
//! ```
//! use sds_proto::{ChannelId, Config, Effect, Event, Input, Instant, Node, Now, PublishKind, UnixMillis};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! /// Both clocks, some milliseconds after the start.
//! fn at(millis: u64) -> Now {
//!     Now::new(Instant::from_millis(millis), UnixMillis(1_767_225_600_000 + millis))
//! }
//!
//! let channel = ChannelId::from("news");
//! let mut nodes = Vec::new();
//! for (name, seed) in [("alice", 1), ("bob", 2)] {
//!     let mut node = Node::new(Config::chat().participant_id(name.into()).seed(seed).build()?);
//!     node.handle(at(0), Input::Open { channel: channel.clone(), config: None })?;
//!     nodes.push(node);
//! }
//! for (id, text) in [("m1", "hello"), ("m2", "anybody there?")] {
//!     nodes[0].handle(at(0), Input::Publish {
//!         channel: channel.clone(),
//!         message_id: id.into(), // unique in the channel for ever
//!         content: text.into(),
//!         kind: PublishKind::Content,
//!     })?;
//! }
//!
//! let (mut now, mut sent, mut heard) = (0, 0, Vec::new());
//! while heard.len() < 2 {
//!     // Carry out what the nodes want done.
//!     let mut under_way = Vec::new();
//!     for (index, node) in nodes.iter_mut().enumerate() {
//!         while let Some(effect) = node.poll_effect() {
//!             match effect {
//!                 Effect::Send { bytes, .. } => {
//!                     sent += 1;
//!                     if sent > 1 { // the first is lost
//!                         under_way.push((1 - index, bytes));
//!                     }
//!                 }
//!                 Effect::Event(Event::Missing { missing, .. }) => {
//!                     assert_eq!(missing[0].message_id, "m1".into());
//!                 }
//!                 Effect::Event(Event::Deliver(delivery)) if !delivery.own => {
//!                     heard.push(delivery.entry.content_bytes());
//!                 }
//!                 _ => {}
//!             }
//!         }
//!     }
//!     // Hand over what they said. When all is quiet, time jumps to what is due next.
//!     if under_way.is_empty() {
//!         let due = nodes.iter().filter_map(|node| Some(node.next_deadline()?.at)).min();
//!         now = due.expect("something is due while one is missing").as_micros().div_ceil(1_000);
//!         for node in &mut nodes {
//!             node.handle(at(now), Input::Tick)?;
//!         }
//!     }
//!     for (to, bytes) in under_way {
//!         nodes[to].handle(at(now), Input::Datagram(bytes))?;
//!     }
//! }
//!
//! assert_eq!(heard, ["hello", "anybody there?"]);
//! let digest = |node: &Node| node.log(&channel).map(|log| log.digest());
//! assert_eq!(digest(&nodes[0]), digest(&nodes[1]));
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(not(doctest), doc = include_str!("../docs/run.md"))]
//!
//! # The contract
//!
//! 1. A [`Node`] is made from a [`Config`], which is valid by construction.
//! 2. Everything that happens goes in through [`Node::handle`]: a datagram, a message to publish,
//!    the time. Each input comes with [`Now`], the two clocks.
//! 3. Everything to be done comes out of [`Node::poll_effect`]. Drain it after one input or after
//!    many, the effects are the same.
//! 4. [`Node::next_deadline`] says when the node wants a [`Input::Tick`], and why. Early ticks are
//!    harmless, late ones only delay. A tick that makes much leaves the rest to the next, which is
//!    due at once.
//! 5. An input that is refused changes nothing and comes back in [`Rejected`], with a reason that
//!    says whose fault it was. No input panics, whoever made it.
//!
//! # What is promised
//!
//! Deliveries come in a causal order: a message after everything it depends on, unless it is
//! marked with a `gap`. The log is ordered by (Lamport time, message id), the same at every
//! participant. A message is delivered once; one that a restart repeats is marked. Everything a
//! peer controls is bounded by the [`Config`], and an effect says when a bound bites;
//! [`Config::max_memory`] adds the bounds up.
//!
//! It does not authenticate: whoever can send to the transport can use any name. Put it inside a
//! channel whose members do not forge each other's names.
//!
//! # Where things are
//!
//! | | |
//! | --- | --- |
//! | [`Node`], [`Input`], [`Effect`], [`Now`] | all that an embedder needs every day |
//! | [`Config`], [`ConfigBuilder`] | every period, bound and choice, with its default, unit and cost |
//! | [`Node::log`], [`Node::status`] | what a channel holds, and where it stands |
//! | [`RejectReason`], [`DecodeError`], [`ConfigError`], [`StoreError`] | what can go wrong, by whose fault |
//! | [`snapshot`], [`stored`] | what a store is told, and the records it may keep; importing nim-sds's state |
//! | [`wire`] | both dialects as bytes |
//! | [`bloom`], [`repair`], [`hash`] | filters and arithmetic that must equal the other implementations' |
//! | `sim` (feature) | a group on virtual time with faults, to test an application in |
//!
//! # Features
//!
//! None is on by default, and `sim` changes nothing that a node does.
//!
//! | feature | adds |
//! | --- | --- |
//! | `sim` | the module `sim` |
//! | `fuzz`, `sim-broken` | nothing for users: what the tests of this crate need |
//!
//! # Where to read next
//!
//! In the repository: `docs/embed.md` on each input and effect, with a store; `docs/tuning.md` on
//! the settings; `docs/guarantees.md` on what holds and what does not; `docs/interop.md` on nim-sds
//! and `@waku/sds`; `docs/firmware.md` on boards without an operating system.
//! `examples/manual_loop.rs` and `examples/mio_loop.rs` are whole programs.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bloom;
#[cfg(not(feature = "sim-broken"))]
mod broken;
#[cfg(feature = "sim-broken")]
#[doc(hidden)]
pub mod broken;
mod channel;
mod clock_watch;
mod config;
mod deadlines;
mod digest;
mod effect;
mod entry;
mod error;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod hash;
mod id;
mod input;
mod lamport;
mod memory;
mod node;
mod outbox;
pub mod repair;
mod rng;
#[cfg(feature = "sim")]
pub mod sim;
pub mod snapshot;
mod sorted;
pub mod stored;
mod time;
mod timer;
pub mod wire;

pub use channel::{LogView, MissingEntry, OutgoingEntry, OutgoingState, Status};
pub use config::{
    Config, ConfigBuilder, Dialect, Durability, FilterPolicy, NimFilterSize, NimHash, OnJoin,
    OnLost,
};
pub use digest::{ContentDigest, LogDigest};
pub use effect::{Delivery, Effect, Event, Limit, LoadId, PersistId, RetrievalId, SendReason};
pub use entry::{CausalHistory, DeliverySeq, LogEntry};
pub use error::{ConfigError, DecodeError, RejectReason, Rejected, StoreError};
pub use id::{ChannelId, IdRef, MessageId, ParticipantId};
pub use input::{Input, PublishKind, RetrievalOutcome};
pub use memory::MaxMemory;
pub use node::Node;
pub use time::{Instant, Now, UnixMillis};
pub use timer::{Deadline, DeadlineReason};

/// The code in the README and in the guides is compiled with the documentation tests.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/embed.md")]
    struct Embed;
    #[doc = include_str!("../docs/firmware.md")]
    struct Firmware;
    #[doc = include_str!("../docs/guarantees.md")]
    struct Guarantees;
    #[doc = include_str!("../docs/interop.md")]
    struct Interop;
    #[doc = include_str!("../docs/tuning.md")]
    struct Tuning;
}
