//! **Scalable Data Sync** (SDS, LIP-109): every member of a group ends up with the same log in the
//! same causal order, over transports that lose, repeat, delay and reorder messages, and without
//! a leader.
//!
//! This crate is the protocol as a state machine. It does no I/O, reads no clock, draws no
//! randomness but from a seed, and needs no more than `alloc`: whoever embeds it moves the bytes
//! and tells the time. `sds-runtime` does that on smol.
//!
//! # The contract
//!
//! 1. A [`Node`] is made from a [`Config`], which is valid by construction.
//! 2. Everything that happens goes in through [`Node::handle`]: a datagram, a message to publish,
//!    the time. Each input comes with [`Now`], the two clocks.
//! 3. Everything to be done comes out of [`Node::poll_effect`]. Drain it after one input or after
//!    many, the effects are the same.
//! 4. [`Node::next_deadline`] says when the node wants a [`Input::Tick`], and why. Early ticks are
//!    harmless, late ones only delay.
//! 5. An input that is refused changes nothing and comes back in [`Rejected`], with a reason that
//!    says whose fault it was. No input panics, whoever made it.
//!
//! # Two nodes
//!
//! ```
//! use bytes::Bytes;
//! use sds_proto::{Config, Effect, Input, Instant, Node, Now, PublishKind, UnixMillis};
//!
//! let now = Now::new(Instant::from_millis(5), UnixMillis(1_767_225_600_000));
//! let mut open_node = |name: &str| -> Result<Node, Box<dyn core::error::Error>> {
//!     let config = Config::chat().participant_id(name.into()).seed(name.len() as u64);
//!     let mut node = Node::new(config.build()?);
//!     node.handle(now, Input::Open { channel: "news".into(), config: None })?;
//!     Ok(node)
//! };
//! let (mut alice, mut bob) = (open_node("alice")?, open_node("bob")?);
//!
//! alice.handle(now, Input::Publish {
//!     channel: "news".into(),
//!     message_id: "an id that is unique for ever".into(),
//!     content: Bytes::from("hello"),
//!     kind: PublishKind::Content,
//! })?;
//! while let Some(effect) = alice.poll_effect() {
//!     if let Effect::Send { bytes, .. } = effect {
//!         bob.handle(now, Input::Datagram(bytes))?; // this transport is a good one
//!     }
//! }
//! let delivered = core::iter::from_fn(|| bob.poll_effect()).find_map(|effect| match effect {
//!     Effect::Deliver(delivery) => Some(delivery.entry.content_bytes()),
//!     _ => None,
//! });
//! assert_eq!(delivered.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(alice.log(&"news".into()).map(|log| log.digest()),
//!            bob.log(&"news".into()).map(|log| log.digest()));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! Deliveries come in a causal order: a message after everything it depends on, unless it is
//! marked with a `gap`. The log is ordered by (Lamport time, message id), the same at every
//! participant. A message is delivered once; one that a restart repeats is marked. Everything a
//! peer controls is bounded by the [`Config`], and an effect says when a bound bites.

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
mod config;
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
mod node;
mod outbox;
pub mod repair;
mod rng;
#[cfg(feature = "sim")]
pub mod sim;
pub mod snapshot;
pub mod stored;
mod time;
mod timer;
pub mod wire;

pub use channel::{LogView, Status};
pub use config::{
    Config, ConfigBuilder, Dialect, Durability, FilterPolicy, NimHash, OnJoin, OnLost,
};
pub use digest::{ContentDigest, LogDigest};
pub use effect::{Bound, Delivery, Effect, PersistId, RetrievalId, SendReason};
pub use entry::{CausalHistory, DeliverySeq, LogEntry};
pub use error::{ConfigError, DecodeError, RejectReason, Rejected, StoreError};
pub use id::{ChannelId, IdRef, MessageId, ParticipantId};
pub use input::{Input, PublishKind, Retrieved};
pub use node::Node;
pub use time::{Instant, Now, UnixMillis};
pub use timer::{Deadline, Why};

/// The README's code is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
