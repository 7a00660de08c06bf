//! The store of a context. Its thread waits for each answer, so that what a call changed is safe
//! when the call returns.

use core::fmt;
use std::thread;

use sds_proto::snapshot::{Change, Snapshot};
use sds_proto::stored;
use sds_proto::{ChannelId, Durability, StoreError};
use sds_runtime::{Store, Wait};

/// A store that has been started.
pub(crate) struct Storage(Box<dyn Store>);

impl Storage {
    #[cfg_attr(not(any(test, feature = "sqlite")), expect(dead_code, reason = "there is none"))]
    pub(crate) fn start(mut store: impl Store, durability: Durability) -> Result<Self, StoreError> {
        // On a thread of ours, for it may wait: see `signal` for why a caller's thread must not.
        let started = thread::spawn(move || {
            store.start(durability)?;
            Ok(Self(Box::new(store)))
        });
        started.join().unwrap_or(Err(StoreError::Unavailable))
    }

    pub(crate) fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.write(stored::writes(changes)).wait()
    }

    /// The channels that it knows, in the order of their bytes.
    pub(crate) fn channels(&mut self) -> Result<Vec<ChannelId>, StoreError> {
        self.0.channels().wait()
    }

    pub(crate) fn load(
        &mut self,
        channel: &ChannelId,
    ) -> Result<Option<Box<Snapshot>>, StoreError> {
        let records = self.0.load(channel).wait()?;
        let records = records.iter().map(|record| (&record.key[..], &record.value[..]));
        Ok(stored::snapshot(records)?)
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}
