//! Filters: an id of 36 characters is hashed and inserted into one, or looked up.

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use sds_proto::bloom::{Filter, Geometry, MAX_K, ReceivedFilter};
use sds_proto::hash::HashKind;

use super::ours::{Clock, Meter as _, Stopwatch, uuid};
use super::stream::Spoken;

/// Ids that take turns; the filter is nearly full of them, and they fit into a cache.
const IDS: usize = 8_192;

/// A filter of 10,000 ids and 10 hash functions, and ids for it.
pub(crate) struct Filters {
    hash: HashKind,
    dialect: Spoken,
    ids: Vec<String>,
    filter: Filter,
}

impl Filters {
    pub(crate) fn new(dialect: Spoken) -> Self {
        let hash = match dialect {
            Spoken::NimSds => HashKind::NimFarm,
            Spoken::Lip109 => HashKind::Lip109,
        };
        let mut rng = fastrand::Rng::with_seed(1);
        let ids = core::iter::repeat_with(|| uuid(&mut rng)).take(IDS).collect();
        Self { hash, dialect, ids, filter: Filter::new(Geometry::DEFAULT) }
    }

    /// Ids hashed and inserted a second, all of them `turns` times.
    ///
    /// # Errors
    ///
    /// The filter lacks one afterwards.
    pub(crate) fn insert(&mut self, turns: usize) -> anyhow::Result<f64> {
        let mut watch = Stopwatch::new(Clock::Processor);
        watch.measure(|| {
            for id in core::iter::repeat_n(&self.ids, turns).flatten() {
                self.filter.insert(self.hash.probe(id.as_bytes()));
            }
        });
        let has = |id: &String| self.filter.contains(self.hash.probe(id.as_bytes()));
        ensure!(self.ids.iter().all(has), "the filter lacks what was inserted");
        Ok(watch.per_second(turns * IDS))
    }

    /// Ids hashed and looked up a second in the filter as a peer sends it, which has all of them.
    ///
    /// # Errors
    ///
    /// The filter is refused, or lacks one.
    pub(crate) fn look_up(&mut self, turns: usize) -> anyhow::Result<f64> {
        self.insert(1)?;
        let mut bytes = BytesMut::new();
        let received = match self.dialect {
            Spoken::NimSds => {
                self.filter.nim_field().encode(&mut bytes);
                ReceivedFilter::from_nim(&bytes, MAX_K)
            }
            Spoken::Lip109 => {
                self.filter.lip109_field().encode(&mut bytes);
                ReceivedFilter::from_lip109(&bytes, &Geometry::DEFAULT)
            }
        };
        let received = received.context("our own filter")?;
        let ids = core::iter::repeat_n(&self.ids, turns).flatten();
        let has = |id: &&String| received.contains(self.hash.probe(id.as_bytes()));
        let mut watch = Stopwatch::new(Clock::Processor);
        let found = watch.measure(|| ids.filter(has).count());
        ensure!(found == turns * IDS, "the filter lacks what is in it");
        Ok(watch.per_second(turns * IDS))
    }
}
