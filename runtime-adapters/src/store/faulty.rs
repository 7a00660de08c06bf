//! Injected faults, for tests.

use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sds_proto::stored::Write;
use sds_proto::{ChannelId, Durability, StoreError};

use super::records::Records;
use super::{Record, Store, StoreFuture};

/// Faults of a store. [`Faults::seeded`] creates them without any.
#[derive(Clone, Debug)]
pub struct Faults {
    rng: fastrand::Rng,
    failure: f64,
    tearing: f64,
    forgetting: f64,
    max_polls: usize,
}

impl Faults {
    /// No faults; those added are chosen by `seed`: the same seed and the same calls in the same
    /// order suffer the same.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { rng, failure: 0.0, tearing: 0.0, forgetting: 0.0, max_polls: 0 }
    }

    /// Chance, from 0 to 1, that a call fails and does nothing.
    #[must_use]
    pub const fn failure(mut self, chance: f64) -> Self {
        self.failure = chance;
        self
    }

    /// Chance, from 0 to 1, that a write that does not fail otherwise is carried out up to
    /// somewhere and then fails, which a store must never do.
    ///
    /// A driver makes such a write again, and all is well; only a restart in between finds
    /// records that do not belong together, and may refuse them.
    #[must_use]
    pub const fn tearing(mut self, chance: f64) -> Self {
        self.tearing = chance;
        self
    }

    /// Chance, from 0 to 1, that under [`Durability::Relaxed`] a write that succeeds is not on
    /// the disk yet. It gets there with the next one that is, and is forgotten if the store is
    /// dropped before. Until then it can be read.
    #[must_use]
    pub const fn forgetting(mut self, chance: f64) -> Self {
        self.forgetting = chance;
        self
    }

    /// A call takes some polls more than it needs, at most this many, partly before and partly
    /// after it is carried out.
    #[must_use]
    pub const fn slowness(mut self, max_polls: usize) -> Self {
        self.max_polls = max_polls;
        self
    }

    /// Returns the fate of a call with so many writes.
    fn fate(&mut self, writes: usize) -> Fate {
        let mut happens = |chance| self.rng.f64() < chance;
        let (fails, tears, forgets) =
            (happens(self.failure), happens(self.tearing), happens(self.forgetting));
        let before = self.rng.usize(..=self.max_polls);
        let after = self.rng.usize(..=self.max_polls - before);
        Fate {
            before,
            after,
            done: if fails {
                0
            } else if tears {
                self.rng.usize(..=writes)
            } else {
                writes
            },
            fails: fails || tears,
            forgets,
        }
    }
}

/// The fate of one call.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Polls before and after it is carried out.
    before: usize,
    after: usize,
    /// Writes that are carried out.
    done: usize,
    fails: bool,
    forgets: bool,
}

/// A store that fails, is slow, and forgets, in front of one that does not.
///
/// It does so by chance, as [`Faults`] say, and on demand: a [`Switch`] makes it fail from now on,
/// or wait. Drop the driver and with it this store for a crash, and hand a clone of the inner one,
/// for example a [`Memory`](super::Memory), to the next driver.
#[derive(Debug)]
pub struct Faulty<S> {
    shared: Arc<Mutex<Shared<S>>>,
    faults: Faults,
    switch: Switch,
    durability: Durability,
}

#[derive(Debug)]
struct Shared<S> {
    inner: S,
    /// Writes that were answered and are not yet on the disk.
    cached: Vec<Write>,
}

impl<S: Store> Faulty<S> {
    /// `inner` with `faults`.
    #[must_use]
    pub fn new(inner: S, faults: Faults) -> Self {
        let shared = Arc::new(Mutex::new(Shared { inner, cached: Vec::new() }));
        let switch = Switch::default();
        Self { shared, faults, switch, durability: Durability::None }
    }

    /// Returns the switch that changes it while it is in use.
    #[must_use]
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }
}

impl<S: Store> Store for Faulty<S> {
    fn start(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.durability = durability;
        lock(&self.shared).inner.start(durability)
    }

    fn max_record_len(&self) -> u64 {
        lock(&self.shared).inner.max_record_len()
    }

    fn write(&mut self, mut batch: Vec<Write>) -> StoreFuture<()> {
        let fate = self.faults.fate(batch.len());
        let cache = fate.forgets && !fate.fails && self.durability == Durability::Relaxed;
        let (shared, switch) = (Arc::clone(&self.shared), self.switch.clone());
        Box::pin(async move {
            polls(fate.before).await;
            switch.passed().await?;
            batch.truncate(fate.done);
            if cache {
                lock(&shared).cached.append(&mut batch);
            } else if fate.done > 0 {
                let written = {
                    let Shared { inner, cached } = &mut *lock(&shared);
                    inner.write(cached.iter().cloned().chain(batch).collect())
                };
                written.await?;
                lock(&shared).cached.clear();
            }
            polls(fate.after).await;
            if fate.fails { Err(StoreError::Unavailable) } else { Ok(()) }
        })
    }

    fn load(&mut self, channel: &ChannelId) -> StoreFuture<Vec<Record>> {
        let fate = self.faults.fate(0);
        let (shared, switch, channel) =
            (Arc::clone(&self.shared), self.switch.clone(), channel.clone());
        Box::pin(async move {
            polls(fate.before).await;
            switch.passed().await?;
            if fate.fails {
                return Err(StoreError::Unavailable);
            }
            let loaded = lock(&shared).inner.load(&channel);
            let loaded = loaded.await?;
            let cached = lock(&shared).cached.clone();
            let records = records(loaded, &channel, &cached);
            polls(fate.after).await;
            Ok(records.iter().collect())
        })
    }

    fn channels(&mut self) -> StoreFuture<Vec<ChannelId>> {
        let fate = self.faults.fate(0);
        let (shared, switch) = (Arc::clone(&self.shared), self.switch.clone());
        Box::pin(async move {
            polls(fate.before).await;
            switch.passed().await?;
            if fate.fails {
                return Err(StoreError::Unavailable);
            }
            let listed = lock(&shared).inner.channels();
            let mut channels: BTreeSet<_> = listed.await?.into_iter().collect();
            let cached = lock(&shared).cached.clone();
            let touched: BTreeSet<_> = cached.iter().map(|write| &write.channel).collect();
            for channel in touched {
                let loaded = lock(&shared).inner.load(channel);
                if records(loaded.await?, channel, &cached).is_empty() {
                    channels.remove(channel);
                } else {
                    channels.insert(channel.clone());
                }
            }
            polls(fate.after).await;
            Ok(channels.into_iter().collect())
        })
    }
}

/// Returns a channel's records as they are once the acknowledged writes are persisted too.
fn records(loaded: Vec<Record>, channel: &ChannelId, cached: &[Write]) -> Records {
    let mut records: Records = loaded.into_iter().collect();
    for write in cached.iter().filter(|write| write.channel == *channel) {
        records.apply(&write.op);
    }
    records
}

/// Tells a [`Faulty`] store what to do from now on. Clones tell the same store.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    error: Option<StoreError>,
    held: bool,
    waiting: Option<Waker>,
    passed: u64,
}

impl Switch {
    /// Calls fail with this error and do nothing; `None`: no more.
    pub fn fail(&self, error: Option<StoreError>) {
        lock(&self.0).error = error;
    }

    /// Calls wait before they do anything.
    pub fn hold(&self) {
        lock(&self.0).held = true;
    }

    /// They wait no more.
    pub fn release(&self) {
        let mut told = lock(&self.0);
        told.held = false;
        let waiting = told.waiting.take();
        drop(told);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Whether a call waits to be released.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        lock(&self.0).waiting.is_some()
    }

    /// Calls that have not been held, or are no more, so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.0).passed
    }

    /// Waits while calls are held.
    async fn passed(&self) -> Result<(), StoreError> {
        poll_fn(|cx| {
            let mut waiting = Some(cx.waker().clone());
            let mut told = lock(&self.0);
            if told.held {
                core::mem::swap(&mut told.waiting, &mut waiting);
                return Poll::Pending;
            }
            told.passed += 1;
            Poll::Ready(told.error.map_or(Ok(()), Err))
        })
        .await
    }
}

/// Takes that many polls more than none.
async fn polls(mut left: usize) {
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Nothing panics while a lock is held, so that a poisoned lock guards a sound state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use core::task::Context;

    use sds_proto::snapshot::{Change, ChangeKind};
    use sds_proto::stored::writes;

    use super::*;
    use crate::store::Memory;
    use crate::wait::Wait;

    fn batch(channels: u8) -> Vec<Write> {
        let kind = ChangeKind::Clock(1);
        let change = |n: u8| Change { channel: [n][..].into(), kind: kind.clone() };
        writes(&(0..channels).map(change).collect::<Vec<_>>())
    }

    /// Returns the fates of a hundred writes of ten records each: whether one failed, and the
    /// number of records after it.
    fn fates(faults: Faults) -> Vec<(bool, usize)> {
        let records = Memory::default();
        let mut store = Faulty::new(records.clone(), faults);
        let mut write = || store.write(batch(10)).wait().is_err();
        let clear = || {
            let clear = |channel| Write { channel, op: sds_proto::stored::Op::Clear };
            records.clone().write(records.channels().into_iter().map(clear).collect()).wait()
        };
        (0..100)
            .map(|_| {
                let fate = (write(), records.channels().len());
                clear().unwrap();
                fate
            })
            .collect()
    }

    #[test]
    fn a_seed_decides_and_chances_hold() {
        let faults = |seed| Faults::seeded(seed).failure(0.3).tearing(0.3).slowness(5);
        assert_eq!(fates(faults(1)), fates(faults(1)));
        assert_ne!(fates(faults(1)), fates(faults(2)));
        let fates = fates(faults(3));
        let count =
            |wanted: fn(&(bool, usize)) -> bool| fates.iter().filter(|fate| wanted(fate)).count();
        assert!((15..45).contains(&count(|(failed, done)| *failed && *done == 0)));
        assert!((5..35).contains(&count(|(failed, done)| *failed && *done > 0)));
        assert_eq!(count(|(failed, done)| !failed && *done < 10), 0);
    }

    #[test]
    fn no_faults_and_certain_faults() {
        assert!(fates(Faults::seeded(1)).iter().all(|fate| *fate == (false, 10)));
        assert!(fates(Faults::seeded(1).failure(1.0)).iter().all(|fate| *fate == (true, 0)));
        assert!(fates(Faults::seeded(1).tearing(1.0)).iter().all(|(failed, _)| *failed));
    }

    #[test]
    fn what_is_not_on_the_disk_can_be_read_and_is_gone_after_a_crash() {
        let records = Memory::default();
        let channel = ChannelId::from(&[0][..]);
        let mut store = Faulty::new(records.clone(), Faults::seeded(1).forgetting(1.0));
        store.start(Durability::Relaxed).unwrap();
        store.write(batch(1)).wait().unwrap();
        assert_eq!(store.load(&channel).wait().unwrap().len(), 1);
        assert_eq!(store.channels().wait(), Ok(vec![channel.clone()]));
        let clear = |channel| Write { channel, op: sds_proto::stored::Op::Clear };
        store.write(vec![clear(channel.clone())]).wait().unwrap();
        assert_eq!(store.channels().wait(), Ok(Vec::new()));
        store.write(batch(1)).wait().unwrap();
        drop(store);
        assert!(records.channels().is_empty());

        let mut store = Faulty::new(records.clone(), Faults::seeded(1).forgetting(1.0));
        store.start(Durability::Strict).unwrap();
        store.write(batch(1)).wait().unwrap();
        drop(store);
        assert_eq!(records.channels(), [channel]);
    }

    #[test]
    fn a_later_write_takes_what_was_not_on_the_disk_along() {
        let records = Memory::default();
        let mut store = Faulty::new(records.clone(), Faults::seeded(1).forgetting(0.5));
        store.start(Durability::Relaxed).unwrap();
        let mut kept = 0;
        for number in 0..20 {
            let before = records.channels().len();
            store.write(batch(number + 1).split_off(number.into())).wait().unwrap();
            let after = records.channels().len();
            assert!(after == before || after == usize::from(number) + 1, "{before} {after}");
            kept += usize::from(after == before);
        }
        assert!((4..16).contains(&kept), "{kept}");
    }

    #[test]
    fn a_held_call_waits_and_an_unreleased_one_does_nothing() {
        let records = Memory::default();
        let mut store = Faulty::new(records.clone(), Faults::seeded(1));
        let switch = store.switch();
        switch.hold();
        let mut write = store.write(batch(1));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(!switch.is_waited_for());
        assert!(write.as_mut().poll(cx).is_pending());
        assert!(switch.is_waited_for() && switch.calls() == 0);
        drop(write);
        assert!(records.channels().is_empty());
        let mut write = store.write(batch(1));
        assert!(write.as_mut().poll(cx).is_pending());
        switch.release();
        assert_eq!(write.wait(), Ok(()));
        assert_eq!((switch.calls(), records.channels().len()), (1, 1));
        switch.fail(Some(StoreError::Full));
        assert_eq!(store.load(&"c".into()).wait(), Err(StoreError::Full));
    }
}
