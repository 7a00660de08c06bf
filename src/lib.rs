//! Scalable Data Sync.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bloom;
mod channel;
mod config;
mod digest;
mod effect;
mod entry;
mod error;
pub mod hash;
mod id;
mod input;
mod keyed;
mod lamport;
mod node;
mod outbox;
pub mod repair;
mod rng;
pub mod snapshot;
mod time;
mod timer;
pub mod wire;

pub use channel::{LogView, Status};
pub use config::{
    Config, ConfigBuilder, Dialect, Durability, FilterPolicy, NimHash, OnJoin, OnLost,
};
pub use digest::{ContentDigest, LogDigest};
pub use effect::{Bound, Delivery, Effect, PersistId, RetrievalId, SendReason};
pub use entry::{DeliverySeq, LogEntry};
pub use error::{ConfigError, DecodeError, RejectReason, Rejected, StoreError};
pub use id::{ChannelId, MessageId, ParticipantId};
pub use input::{Input, PublishKind, Retrieved};
pub use node::Node;
pub use time::{Instant, Now, UnixMillis};
pub use timer::{Deadline, Why};
