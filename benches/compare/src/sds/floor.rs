//! The least possible cost of a message, measured item by item: each is a loop of its own over the
//! ids and contents of some messages, which are in the cache.

use core::hash::Hasher as _;
use core::hint::black_box;
use std::collections::BTreeMap;

use hashbrown::HashTable;
use sds_proto::hash::HashKind;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::ours::{Clock, Meter as _, Stopwatch};
use super::report::Detail;
use super::stream::Stream;

/// Entries that are in the tables before.
const ENTRIES: usize = 10_000;

/// Messages that the items are measured with: few enough for the cache.
pub(crate) const SAMPLES: usize = 2_000;

/// Bytes of a filter for 10,000 ids: 1 + 150,000 / 64 words.
pub(crate) const FILTER_BYTES: usize = 18_752;

/// The messages with which the floor is measured.
pub(crate) struct Floor {
    samples: Vec<Sample>,
    filter: Vec<u8>,
}

struct Sample {
    id: Box<[u8]>,
    content: Box<[u8]>,
}

impl Floor {
    /// The floor for messages such as those of the stream.
    ///
    /// # Errors
    ///
    /// One of its messages is none of SDS.
    pub(crate) fn of(stream: &Stream) -> anyhow::Result<Self> {
        let mut samples = Vec::new();
        for message in stream.decoded().take(SAMPLES) {
            let message = message?;
            let content = message.content.as_deref().unwrap_or_default().into();
            samples.push(Sample { id: message.message_id.as_bytes().into(), content });
        }
        Ok(Self { samples, filter: vec![7; FILTER_BYTES] })
    }

    /// Nanoseconds a message, for each item of what receiving one takes.
    pub(crate) fn receive(&self) -> Vec<Detail> {
        vec![
            Detail::ns("floor: two FarmHash64 of the id, for the filter", self.filter_hashes()),
            Detail::ns("floor: SipHash-1-3 of the id, for the table", self.table_hash()),
            Detail::ns("floor: insert into a hash map", self.map_insert()),
            Detail::ns("floor: insert into an ordered map", self.ordered_insert()),
            Detail::ns("floor: copy of the content", self.content_copy()),
        ]
    }

    /// The same for publishing one with a filter of full size.
    pub(crate) fn publish_full_filter(&self) -> Vec<Detail> {
        let mut items = self.receive();
        items.push(Detail::ns("floor: copy of the filter, 18,752 bytes", self.filter_copy()));
        items
    }

    fn filter_hashes(&self) -> f64 {
        self.time(|sample| {
            black_box(HashKind::NimFarm.probe(&sample.id));
        })
    }

    fn table_hash(&self) -> f64 {
        self.time(|sample| {
            black_box(digest(&sample.id));
        })
    }

    /// Into one of 10,000 entries, which needs not grow, of an id that is known not to be in it.
    fn map_insert(&self) -> f64 {
        let mut table = HashTable::with_capacity(ENTRIES + self.samples.len());
        let hash = |entry: &(u128, usize)| entry.0 as u64;
        for number in 0..ENTRIES {
            let entry = (digest(&number.to_le_bytes()), number);
            table.insert_unique(hash(&entry), entry, hash);
        }
        let mut entries = self
            .samples
            .iter()
            .map(|sample| (digest(&sample.id), 0))
            .collect::<Vec<_>>()
            .into_iter();
        self.time(|_| {
            if let Some(entry) = entries.next() {
                table.insert_unique(hash(&entry), entry, hash);
            }
        })
    }

    /// At the end of one of 10,000 entries.
    fn ordered_insert(&self) -> f64 {
        let mut order: BTreeMap<_, _> =
            (0..ENTRIES).map(|number| (number as u64, number)).collect();
        let mut next = ENTRIES;
        self.time(|_| {
            order.insert(next as u64, next);
            next += 1;
        })
    }

    /// Into an allocation of its own, in place of that of an older message.
    fn content_copy(&self) -> f64 {
        let mut kept: Vec<Box<[u8]>> =
            self.samples.iter().map(|sample| sample.content.clone()).collect();
        let mut next = 0;
        self.time(|sample| {
            kept[next] = black_box(sample.content.clone());
            next += 1;
        })
    }

    fn filter_copy(&self) -> f64 {
        let mut to = vec![0; FILTER_BYTES];
        self.time(|_| black_box(&mut to).copy_from_slice(black_box(&self.filter)))
    }

    /// Nanoseconds for each sample.
    fn time(&self, item: impl FnMut(&Sample)) -> f64 {
        for sample in &self.samples {
            black_box(digest(&sample.id) ^ digest(&sample.content)); // into the cache
        }
        let mut watch = Stopwatch::new(Clock::Processor);
        watch.measure(|| self.samples.iter().for_each(item));
        watch.ns_per(self.samples.len())
    }
}

fn digest(id: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new_with_keys(1, 2);
    hasher.write(id);
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use sds_proto::bloom::Geometry;

    use super::super::stream::{Recipe, Spoken};
    use super::*;

    #[test]
    fn the_filter_has_the_default_size() {
        assert_eq!(FILTER_BYTES, Geometry::DEFAULT.word_count() * 8);
    }

    #[test]
    fn every_item_takes_time() {
        let stream = Recipe::plain(Spoken::NimSds, 100).make().unwrap();
        let items = Floor::of(&stream).unwrap().publish_full_filter();
        assert_eq!(items.len(), 6);
        assert!(items.iter().all(|item| item.value > 0.0));
    }
}
