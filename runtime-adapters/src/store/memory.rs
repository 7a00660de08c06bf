//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sds_proto::ChannelId;
use sds_proto::stored::Write;

use super::records::Records;
use super::{Record, Store, StoreFuture};

/// Keeps records as long as it or a clone of it is there: for tests, and for nodes that restart
/// within one process. Clones hold the same records; one driver at a time may use them.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<ChannelId, Records>>>);

impl Memory {
    /// The channels of which there are records, in order of their ids.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelId> {
        self.lock().keys().cloned().collect()
    }

    /// The records of a channel, in order of their keys.
    #[must_use]
    pub fn records(&self, channel: &ChannelId) -> Vec<Record> {
        self.lock().get(channel).map_or_else(Vec::new, |records| records.iter().collect())
    }

    fn apply(&self, batch: Vec<Write>) {
        let mut channels = self.lock();
        for Write { channel, op } in batch {
            let records = channels.entry(channel.clone()).or_default();
            records.apply(&op);
            if records.is_empty() {
                channels.remove(&channel);
            }
        }
    }

    /// Nothing panics while the lock is held, so that a poisoned lock guards sound records.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Records>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()> {
        let memory = self.clone();
        Box::pin(async move {
            memory.apply(batch);
            Ok(())
        })
    }

    fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>> {
        let (memory, channel) = (self.clone(), channel.clone());
        Box::pin(async move { Ok(memory.records(&channel)) })
    }

    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
        let memory = self.clone();
        Box::pin(async move { Ok(Self::channels(&memory)) })
    }
}
