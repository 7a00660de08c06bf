//! The store of a context. Its thread waits for each answer, so that what a call changed is safe
//! when the call returns.

use core::fmt;

use sds_proto::snapshot::{Change, Snapshot};
use sds_proto::stored;
use sds_proto::{ChannelId, StoreError};
use sds_runtime::{Store, Wait};

/// A store that has been started.
pub(crate) struct Storage(Box<dyn Store>);

impl Storage {
    #[cfg_attr(not(test), expect(dead_code, reason = "this build has no store"))]
    pub(crate) fn new(store: impl Store) -> Self {
        Self(Box::new(store))
    }

    pub(crate) fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.write(stored::writes(changes)).wait()
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
