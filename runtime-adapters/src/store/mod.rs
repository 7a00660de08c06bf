//! Stores for the state that outlives a node.
//!
//! A store keeps records, bytes under a channel and a key, and need not understand them; their
//! format is that of [`sds_proto::stored`]. A driver is handed one by
//! [`Options::store`](crate::Options::store), and its node a
//! [`Durability`](sds_proto::Config::durability) other than `None`:
//!
#![cfg_attr(feature = "smol", doc = "```")]
#![cfg_attr(not(feature = "smol"), doc = "```ignore")]
//! use sds_proto::{Config, Durability};
//! use sds_runtime::{Options, smol, store, transport::MemoryGroup};
//!
//! # ::smol::block_on(async {
//! let records = store::Memory::default();
//! let config = Config::builder().participant_id("alice".into()).durability(Durability::Strict);
//! for restarted in [false, true] {
//!     let options = Options::default().store(records.clone());
//!     let transport = MemoryGroup::new(64).join();
//!     let (alice, _events, run) = smol::new(config.clone().build()?, transport, options)?;
//!     ::smol::spawn(run).detach();
//!     alice.open("diary").await?;
//!     assert_eq!(alice.status("diary").await?.logged, usize::from(restarted));
//!     if !restarted {
//!         alice.publish("diary", "m1", "Dear diary").await?;
//!     }
//!     alice.shutdown().await;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What a driver does with it
//!
//! It makes one call at a time and waits for the answer. What the node wants written meanwhile
//! becomes one write after that, so that a slow store is asked less often for more. A write that
//! failed is made again together with all that came after it; nothing overtakes it. Until it
//! succeeds publishing is refused, and
//! [`Event::Degraded`](sds_proto::Event::Degraded) and
//! [`Event::Recovered`](sds_proto::Event::Recovered) tell the application.

use core::future::Future;
use core::pin::Pin;

use bytes::Bytes;
use sds_proto::stored::Write;
use sds_proto::{ChannelId, Durability, StoreError};

#[cfg(feature = "encryption")]
mod encrypted;
mod faulty;
#[cfg(feature = "sqlite")]
mod logos_delivery;
mod memory;
mod records;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "encryption")]
pub use encrypted::{Encrypted, EncryptionKey};
pub use faulty::{Faults, Faulty, Switch};
#[cfg(feature = "sqlite")]
pub use logos_delivery::{ImportError, read_logos_delivery};
pub use memory::Memory;
#[cfg(feature = "sqlite")]
pub use sqlite::{
    BackupError, BackupFuture, Backups, OpenError, OpenReason, Sqlite, SqliteBuilder, Synchronous,
};

/// The pending answer of a store. A dropped call is carried out wholly or not at all.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Keeps the records of a node. It belongs to one driver.
///
/// A call may do its work at once or when its future is polled; a store that blocks should use a
/// thread. The driver does not call again before the future has ended, or was dropped when the
/// driver ended.
pub trait Store: Send + 'static {
    /// Told once, before anything else. `Strict` wants every write to be on the disk before it is
    /// answered; `Relaxed` leaves it to the store when that is.
    ///
    /// # Errors
    ///
    /// It cannot be used; the driver does not start.
    fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
        _ = durability;
        Ok(())
    }

    /// Longest record that it takes, in bytes of key and value. A driver whose configuration allows
    /// longer ones ([`max_record_len`](sds_proto::Config::max_record_len)) does not start, for such
    /// a write would never succeed. Default: any.
    fn max_record_len(&self) -> u64 {
        u64::MAX
    }

    /// Carries out `batch` in order: all of it or nothing.
    ///
    /// # Errors
    ///
    /// Nothing of it is done, or all of it: it is handed in again as part of a later batch.
    fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()>;

    /// All records of a channel, in any order; none if the channel is not known.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>>;

    /// The channels of which there are records, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>>;
}

/// One record of a channel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by every store")]
pub struct Record {
    /// The key it was put under.
    pub key: Bytes,
    /// The value that was put last.
    pub value: Bytes,
}
