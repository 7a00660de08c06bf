//! A store that must be found out.

use core::future::ready;

use sds_proto::stored::Write;
use sds_proto::{ChannelId, Durability, StoreError};
use sds_runtime::store::{Record, Store, StoreFuture};

/// Answers at once, and writes a batch when the next one comes, or when it is dropped.
pub(crate) struct Hasty<S: Store> {
    inner: S,
    waiting: Vec<Write>,
}

impl<S: Store> Hasty<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner, waiting: Vec::new() }
    }
}

impl<S: Store> Store for Hasty<S> {
    fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.inner.start(durability)
    }

    fn write(&mut self, batch: Vec<Write>) -> StoreFuture<()> {
        drop(self.inner.write(core::mem::replace(&mut self.waiting, batch)));
        Box::pin(ready(Ok(())))
    }

    fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>> {
        drop(self.inner.write(core::mem::take(&mut self.waiting)));
        self.inner.load(channel)
    }

    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
        drop(self.inner.write(core::mem::take(&mut self.waiting)));
        self.inner.channels()
    }
}

impl<S: Store> Drop for Hasty<S> {
    fn drop(&mut self) {
        drop(self.inner.write(core::mem::take(&mut self.waiting)));
    }
}
