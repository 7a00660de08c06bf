//! The own filter of a channel, which forgets old ids as new ones come.

use super::ring::ProbeRing;
use super::{Filter, Geometry, Probe};

/// The smallest filter of [`Rolling::Sized`], in ids.
const FIRST_RUNG: u64 = 64;

/// Maximum number of older probes that an insertion carries over into the next filter. With the
/// insertion of the new one into both filters that makes four.
const CARRIED_PER_INSERT: usize = 2;

/// The way in which the filter of a channel changes as it fills.
///
/// In each way, a filter made for `n` ids that gets more than `n` + 20 % is replaced by one of the
/// newest `n` − 20 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rolling {
    /// As nim-sds does it: the replacement is made for `n` + 20 %, and so larger than the first.
    NimClass,
    /// As LIP-109 wants it: all filters are of one size.
    Fixed,
    /// For nim-sds peers, who read the size in the filter: no larger than what it holds needs.
    ///
    /// It starts with 64 ids and is replaced by one of twice the size, with all ids in it, as often
    /// as it is full; from `n` on it is as in [`Rolling::NimClass`].
    Sized,
}

/// A filter of the newest ids, never of fewer than `n` − 20 % once that many came, where `n` is its
/// capacity.
///
/// No insertion pays for the replacement of the filter: while one filter is in use, the next is
/// filled beside it. An insertion costs at most four insertions into a [`Filter`], now and then the
/// allocation of an empty one.
///
/// Memory: two filters at worst, and 8 bytes for each of `n` + 20 % ids, or 16 with 64-bit hashes.
#[derive(Clone, Debug)]
pub struct RollingFilter {
    rolling: Rolling,
    /// As configured.
    geometry: Geometry,
    filter: Filter,
    /// Probes of the ids in `filter`.
    ring: ProbeRing,
    next: Option<NextFilter>,
}

#[derive(Clone, Debug)]
struct NextFilter {
    filter: Filter,
    /// Of the ids to keep, those from `carried` up to `until` are still missing. Both count in the
    /// ring; what came later was inserted as it came.
    carried: usize,
    until: usize,
}

/// When the filter is replaced.
#[derive(Clone, Copy)]
struct Turn {
    /// The length of the ring at which it is.
    at: usize,
    /// Number of the newest ids that go into the replacement.
    keep: usize,
}

impl RollingFilter {
    /// An empty filter, made for the capacity of `geometry`.
    #[must_use]
    pub fn new(geometry: Geometry, rolling: Rolling) -> Self {
        let first = match rolling {
            Rolling::NimClass | Rolling::Fixed => geometry,
            Rolling::Sized => rung(&geometry, FIRST_RUNG),
        };
        let filter = Filter::new(first);
        Self { rolling, geometry, filter, ring: ProbeRing::new(), next: None }
    }

    /// A filter into which `probes` are inserted, oldest first: after a restart, from what is
    /// remembered of the ids received.
    #[must_use]
    pub fn from_probes(
        geometry: Geometry,
        rolling: Rolling,
        probes: impl IntoIterator<Item = Probe>,
    ) -> Self {
        let mut filter = Self::new(geometry, rolling);
        probes.into_iter().for_each(|probe| filter.insert(probe));
        filter
    }

    /// Adds an id, by its hashes. An id that is added twice counts twice.
    pub fn insert(&mut self, probe: Probe) {
        self.insert_counted(probe);
    }

    /// Whether an id is among the newest: `true` if it is; now and then if not.
    #[must_use]
    pub fn contains(&self, probe: Probe) -> bool {
        self.filter.contains(probe)
    }

    /// The filter in use, to be sent.
    #[must_use]
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Number of ids in the filter, at most [`max_capacity`](Self::max_capacity).
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether no id is in the filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of ids that it was made for, as configured.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.geometry.capacity() as usize
    }

    /// Number of ids kept when the filter rolls: the capacity less 20 %, rounded down.
    #[must_use]
    pub const fn min_capacity(&self) -> usize {
        self.geometry.min_capacity()
    }

    /// Number of ids the filter takes before it rolls: the capacity and 20 %, rounded down.
    #[must_use]
    pub const fn max_capacity(&self) -> usize {
        self.geometry.max_capacity()
    }

    /// Inserts, and tells how many insertions into filters that took.
    fn insert_counted(&mut self, probe: Probe) -> usize {
        let turn = self.turn();
        self.filter.insert(probe);
        self.ring.push(probe, self.max_capacity() + 1);
        let count = 1 + self.prepare_next(probe, turn);
        if self.ring.len() < turn.at {
            return count;
        }
        count + self.replace(turn)
    }

    fn turn(&self) -> Turn {
        if self.is_growing() {
            let full = self.filter.geometry().capacity() as usize + 1;
            return Turn { at: full, keep: full };
        }
        Turn { at: self.max_capacity() + 1, keep: self.min_capacity() }
    }

    /// The geometry of the filter that replaces this one.
    fn next_geometry(&self) -> Geometry {
        if self.is_growing() {
            return rung(&self.geometry, self.filter.geometry().capacity() * 2);
        }
        match self.rolling {
            Rolling::Fixed => self.geometry,
            Rolling::NimClass | Rolling::Sized => self.geometry.rolled(),
        }
    }

    fn is_growing(&self) -> bool {
        self.rolling == Rolling::Sized
            && self.filter.geometry().capacity() < self.geometry.capacity()
    }

    /// Brings the next filter a step nearer to completion; `newest` is the last in the ring. Tells
    /// how many insertions that took.
    fn prepare_next(&mut self, newest: Probe, turn: Turn) -> usize {
        if self.next.is_none() {
            // It takes in three ids a step. Begin when those just suffice, and not before: the
            // memory is needed the shorter. All ids yet to come are then among those to keep.
            let (len, steps_left) = (self.ring.len(), turn.at - self.ring.len());
            if steps_left.saturating_mul(1 + CARRIED_PER_INSERT) < turn.keep {
                self.next = Some(NextFilter {
                    filter: Filter::new(self.next_geometry()),
                    carried: turn.at - turn.keep,
                    until: len - 1,
                });
            }
        }
        let Some(next) = &mut self.next else {
            return 0;
        };
        next.filter.insert(newest);
        1 + next.carry(&self.ring, CARRIED_PER_INSERT)
    }

    /// Puts the next filter into use. Tells how many insertions were left to do: none, to which
    /// the tests hold it, unless the next filter was begun too late.
    fn replace(&mut self, turn: Turn) -> usize {
        let late = match self.next.take() {
            Some(mut next) => {
                let late = next.carry(&self.ring, usize::MAX);
                self.filter = next.filter;
                late
            }
            // Of a capacity of 1, nothing is kept.
            None => {
                self.filter = Filter::new(self.next_geometry());
                0
            }
        };
        self.ring.drop_oldest(turn.at - turn.keep);
        late
    }
}

impl NextFilter {
    /// Inserts up to `most` of the missing ids from the ring. Tells how many.
    fn carry(&mut self, ring: &ProbeRing, most: usize) -> usize {
        let from = self.carried;
        self.carried = self.until.min(from.saturating_add(most));
        (from..self.carried).filter_map(|n| ring.get(n)).for_each(|p| self.filter.insert(p));
        self.carried - from
    }
}

/// The geometry for about `capacity` ids on the way to `full`.
fn rung(full: &Geometry, capacity: u64) -> Geometry {
    // A last rung just below the full size would save next to nothing, and be left before the
    // filter after it is complete.
    if capacity <= full.capacity() * 9 / 10 { full.resized(capacity) } else { *full }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKind;
    use alloc::vec::Vec;

    const ALL: [Rolling; 3] = [Rolling::NimClass, Rolling::Fixed, Rolling::Sized];

    /// The same, rebuilt at once whenever it is due.
    struct Naive {
        rolling: Rolling,
        geometry: Geometry,
        filter: Filter,
        probes: Vec<Probe>,
    }

    impl Naive {
        fn new(geometry: Geometry, rolling: Rolling) -> Self {
            let filter = RollingFilter::new(geometry, rolling).filter;
            Self { rolling, geometry, filter, probes: Vec::new() }
        }

        fn insert(&mut self, probe: Probe) {
            let capacity = self.geometry.capacity();
            let in_use = self.filter.geometry().capacity();
            self.filter.insert(probe);
            self.probes.push(probe);
            let len = self.probes.len() as u64;
            if self.rolling == Rolling::Sized && in_use < capacity {
                if len > in_use {
                    let doubled = in_use * 2;
                    let fits = doubled * 10 <= capacity * 9;
                    self.rebuild(if fits { doubled } else { capacity });
                }
            } else if len > capacity * 120 / 100 {
                self.probes.drain(..(len - capacity * 80 / 100) as usize);
                self.rebuild(match self.rolling {
                    Rolling::Fixed => capacity,
                    Rolling::NimClass | Rolling::Sized => capacity * 120 / 100,
                });
            }
        }

        fn rebuild(&mut self, capacity: u64) {
            self.filter = Filter::new(self.geometry.resized(capacity));
            self.probes.iter().for_each(|&probe| self.filter.insert(probe));
        }
    }

    fn probe(n: u64) -> Probe {
        HashKind::NimFarm.probe(&n.to_le_bytes())
    }

    #[test]
    fn is_at_every_step_what_a_rebuild_at_once_gives() {
        let capacities = (1..=20).chain([63, 64, 65, 71, 72, 100, 127, 128, 130, 143, 300]);
        for (capacity, rolling) in capacities.flat_map(|n| ALL.map(|rolling| (n, rolling))) {
            let geometry = Geometry::new(capacity, 0.01).unwrap();
            let mut naive = Naive::new(geometry, rolling);
            let mut filter = RollingFilter::new(geometry, rolling);
            for n in 0..capacity * 4 + 10 {
                naive.insert(probe(n));
                filter.insert(probe(n));
                assert_eq!(filter.filter(), &naive.filter, "{capacity} {rolling:?} at {n}");
                assert_eq!(filter.len(), naive.probes.len());
                assert!(filter.len() <= filter.max_capacity());
            }
        }
    }

    #[test]
    fn no_insertion_takes_more_than_four() {
        for (capacity, rolling) in (1..=700).flat_map(|n| ALL.map(|rolling| (n, rolling))) {
            let mut filter = RollingFilter::new(Geometry::new(capacity, 0.5).unwrap(), rolling);
            for n in 0..capacity * 3 + 10 {
                let count = filter.insert_counted(Probe::new(n, 1));
                assert!(count <= 4, "{count} insertions: {capacity} {rolling:?} at {n}");
            }
        }
    }

    #[test]
    fn large_filters_are_exact_and_amortised_too() {
        for rolling in ALL {
            let mut naive = Naive::new(Geometry::DEFAULT, rolling);
            let mut filter = RollingFilter::new(Geometry::DEFAULT, rolling);
            for n in 0..21_000 {
                naive.insert(probe(n));
                assert!(filter.insert_counted(probe(n)) <= 4);
            }
            assert_eq!(filter.filter(), &naive.filter);
        }
    }

    #[test]
    fn restored_from_its_probes_it_goes_on_alike() {
        for rolling in ALL {
            let geometry = Geometry::new(100, 0.001).unwrap();
            let mut filter = RollingFilter::new(geometry, rolling);
            (0..150).for_each(|n| filter.insert(probe(n)));
            let mut restored = RollingFilter::from_probes(geometry, rolling, (0..150).map(probe));
            for n in 150..400 {
                assert_eq!(filter.filter(), restored.filter());
                filter.insert(probe(n));
                restored.insert(probe(n));
            }
        }
    }

    #[test]
    fn sized_grows_with_its_content() {
        let mut filter = RollingFilter::new(Geometry::DEFAULT, Rolling::Sized);
        assert!(filter.is_empty());
        let mut sizes = Vec::new();
        for n in 0..20_000 {
            filter.insert(probe(n));
            let size = filter.filter().geometry().capacity();
            if sizes.last() != Some(&size) {
                sizes.push(size);
            }
        }
        assert_eq!(sizes, [64, 128, 256, 512, 1024, 2048, 4096, 8192, 10_000, 12_000]);
    }
}
