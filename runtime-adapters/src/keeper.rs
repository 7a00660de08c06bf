//! The driver's access to its store: one call at a time.

use core::fmt;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use sds_proto::snapshot::{Change, Snapshot};
use sds_proto::stored::{self, Write};
use sds_proto::{ChannelId, LoadId, PersistId, StoreError};

use crate::reply::Reply;
use crate::store::{Record, Store, StoreFuture};
use crate::trace::{Span, event, span};

/// A store, what it is at, and what comes next. Writes that come while another is under way
/// become one; writes and reads take turns.
pub(crate) struct Keeper {
    store: Box<dyn Store>,
    under_way: Option<UnderWay>,
    next_write: Option<(PersistId, Vec<Write>)>,
    reads: VecDeque<Read>,
    /// Whether a read comes before the next write, if there is one.
    read_first: bool,
}

/// The reply that gets the list of stored channels.
pub(crate) type Listing = Reply<Result<Vec<ChannelId>, StoreError>>;

/// A read of the store that is to be made.
enum Read {
    Load(LoadId, ChannelId),
    Channels(Listing),
}

enum UnderWay {
    Write { id: PersistId, operations: usize, since: Instant, span: Span, write: StoreFuture<()> },
    Load { id: LoadId, channel: ChannelId, load: StoreFuture<Vec<Record>> },
    Channels { listing: Option<Listing>, list: StoreFuture<Vec<ChannelId>> },
}

/// An answer of the store.
#[derive(Debug)]
pub(crate) enum Answer {
    Persisted {
        id: PersistId,
        operations: usize,
        took: Duration,
        result: Result<(), StoreError>,
    },
    Loaded {
        id: LoadId,
        channel: ChannelId,
        result: Result<Option<Box<Snapshot>>, StoreError>,
    },
    /// Told already.
    Listed,
}

impl Keeper {
    pub(crate) const fn new(store: Box<dyn Store>) -> Self {
        let reads = VecDeque::new();
        Self { store, under_way: None, next_write: None, reads, read_first: false }
    }

    /// Has the changes written, with what waits to be written already. The answer to the newest
    /// `id` answers those before it too.
    pub(crate) fn persist(&mut self, id: PersistId, changes: &[Change]) {
        let writes = stored::writes(changes);
        match &mut self.next_write {
            Some((newest, waiting)) => {
                *newest = id;
                waiting.extend(writes);
            }
            None => self.next_write = Some((id, writes)),
        }
    }

    /// Has the state of a channel read.
    pub(crate) fn load(&mut self, id: LoadId, channel: ChannelId) {
        self.reads.push_back(Read::Load(id, channel));
    }

    /// Has the channels listed that there are records of.
    pub(crate) fn list(&mut self, listing: Listing) {
        // Nobody waits for those any more, and a store that does not answer would let them pile up.
        self.reads.retain(|read| !matches!(read, Read::Channels(older) if older.is_abandoned()));
        self.reads.push_back(Read::Channels(listing));
    }

    /// Whether nothing is under way nor waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.next_write.is_none() && self.reads.is_empty()
    }

    /// Puts and removals that the store has not answered.
    pub(crate) fn waiting(&self) -> usize {
        let under_way = match &self.under_way {
            Some(UnderWay::Write { operations, .. }) => *operations,
            Some(UnderWay::Load { .. } | UnderWay::Channels { .. }) | None => 0,
        };
        under_way + self.next_write.as_ref().map_or(0, |(_, writes)| writes.len())
    }

    /// The store's next answer; pending also if nothing was asked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        self.begin_next();
        let answer = match &mut self.under_way {
            None => return Poll::Pending,
            Some(UnderWay::Write { id, operations, since, span, write }) => {
                let result = ready!(span.within(|| write.as_mut().poll(cx)));
                if result.is_err() {
                    // The node takes back what waits, to hand it out again behind what failed.
                    self.next_write = None;
                }
                let (id, operations, took) = (*id, *operations, since.elapsed());
                span.within(|| {
                    event!(
                        debug,
                        took_us = took.as_micros() as u64,
                        ok = result.is_ok(),
                        "written"
                    );
                });
                Answer::Persisted { id, operations, took, result }
            }
            Some(UnderWay::Load { id, channel, load }) => {
                let records = ready!(load.as_mut().poll(cx));
                let result = records.and_then(|records| snapshot(&records));
                Answer::Loaded { id: *id, channel: channel.clone(), result }
            }
            Some(UnderWay::Channels { listing, list }) => {
                let channels = ready!(list.as_mut().poll(cx));
                if let Some(listing) = listing.take() {
                    listing.send(channels);
                }
                Answer::Listed
            }
        };
        self.under_way = None;
        Poll::Ready(answer)
    }

    fn begin_next(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let write = self.next_write.take_if(|_| !self.read_first || self.reads.is_empty());
        if let Some((id, batch)) = write {
            self.read_first = true;
            let (operations, since) = (batch.len(), Instant::now());
            let span = span!(debug_span, "store_write", operations);
            let write = span.within(|| self.store.write(batch));
            self.under_way = Some(UnderWay::Write { id, operations, since, span, write });
        } else if let Some(read) = self.reads.pop_front() {
            self.read_first = false;
            self.under_way = Some(match read {
                Read::Load(id, channel) => {
                    let load = self.store.load(&channel);
                    UnderWay::Load { id, channel, load }
                }
                Read::Channels(listing) => {
                    let list = self.store.channels();
                    UnderWay::Channels { listing: Some(listing), list }
                }
            });
        }
    }
}

fn snapshot(records: &[Record]) -> Result<Option<Box<Snapshot>>, StoreError> {
    let records = records.iter().map(|record| (&record.key[..], &record.value[..]));
    stored::snapshot(records).map_err(|error| {
        event!(error, %error, "records make no sense");
        error.into()
    })
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.is_idle();
        f.debug_struct("Keeper").field("idle", &idle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use core::task::Waker;

    use sds_proto::snapshot::ChangeKind;
    use sds_proto::stored::Op;

    use super::*;
    use crate::store::{Faults, Faulty, Memory, Switch};

    fn keeper() -> (Keeper, Switch, Memory) {
        let records = Memory::default();
        let store = Faulty::new(records.clone(), Faults::seeded(0));
        let switch = store.switch();
        (Keeper::new(Box::new(store)), switch, records)
    }

    fn persist(keeper: &mut Keeper, id: u64, lamport: u64) {
        let change = Change { channel: "c".into(), kind: ChangeKind::Clock(lamport) };
        keeper.persist(PersistId(id), &[change]);
    }

    /// The id and success of a write, or the channel of a load.
    fn poll(keeper: &mut Keeper) -> Option<Result<(u64, bool), ChannelId>> {
        match keeper.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Answer::Persisted { id, result, .. }) => Some(Ok((id.0, result.is_ok()))),
            Poll::Ready(Answer::Loaded { channel, .. }) => Some(Err(channel)),
            Poll::Ready(Answer::Listed) => panic!("nobody asked"),
            Poll::Pending => None,
        }
    }

    /// The value of the clock's record as the format's only field.
    fn clock(records: &Memory) -> Vec<u8> {
        let [record] = &records.records(&"c".into())[..] else { panic!("more than the clock") };
        record.value[1..].to_vec()
    }

    #[test]
    fn what_comes_during_a_write_is_one_write_after_it() {
        let (mut keeper, switch, records) = keeper();
        switch.hold();
        persist(&mut keeper, 1, 1);
        assert_eq!(poll(&mut keeper), None);
        persist(&mut keeper, 2, 2);
        persist(&mut keeper, 3, 3);
        assert_eq!(poll(&mut keeper), None);
        assert_eq!(keeper.waiting(), 3);
        switch.release();
        assert_eq!(poll(&mut keeper), Some(Ok((1, true))));
        assert_eq!(clock(&records), [1]);
        assert_eq!(poll(&mut keeper), Some(Ok((3, true))));
        assert_eq!(clock(&records), [3]);
        assert!(keeper.is_idle());
        assert_eq!(switch.calls(), 2);
    }

    #[test]
    fn nothing_overtakes_a_write_that_failed() {
        let (mut keeper, switch, records) = keeper();
        switch.hold();
        persist(&mut keeper, 1, 1);
        assert_eq!(poll(&mut keeper), None);
        persist(&mut keeper, 2, 2);
        switch.fail(Some(StoreError::Full));
        switch.release();
        assert_eq!(poll(&mut keeper), Some(Ok((1, false))));
        switch.fail(None);
        assert!(keeper.is_idle(), "the node hands it out again");
        assert_eq!(poll(&mut keeper), None);
        assert!(records.channels().is_empty());
    }

    #[test]
    fn writes_and_loads_take_turns() {
        let (mut keeper, ..) = keeper();
        for channel in ["x", "y", "z"] {
            keeper.load(LoadId(1), channel.into());
        }
        persist(&mut keeper, 1, 1);
        assert_eq!(poll(&mut keeper), Some(Ok((1, true))));
        persist(&mut keeper, 2, 2);
        assert_eq!(poll(&mut keeper), Some(Err("x".into())));
        assert_eq!(poll(&mut keeper), Some(Ok((2, true))));
        assert_eq!(poll(&mut keeper), Some(Err("y".into())));
        assert_eq!(poll(&mut keeper), Some(Err("z".into())));
        assert!(keeper.is_idle());
    }

    #[test]
    fn records_that_make_no_sense_are_corrupt() {
        let (mut keeper, _, mut records) = keeper();
        // A clock of a channel that does not exist.
        persist(&mut keeper, 1, 1);
        assert_eq!(poll(&mut keeper), Some(Ok((1, true))));
        keeper.load(LoadId(1), "c".into());
        let Poll::Ready(Answer::Loaded { result, .. }) =
            keeper.poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("not loaded");
        };
        assert_eq!(result, Err(StoreError::Corrupt));
        let clear = Write { channel: "c".into(), op: Op::Clear };
        smol::block_on(records.write(vec![clear])).unwrap();
        assert!(records.channels().is_empty());
    }
}
