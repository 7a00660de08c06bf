//! The state of every known id: logged, buffered, missing or resolved, by one look-up.

use alloc::collections::VecDeque;

use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use siphasher::sip128::SipHasher13;

use crate::channel::slots::Slot;

/// Keyed 128-bit digest of an id. Peers do not know the key, so they cannot make two ids meet.
pub(super) type IdDigest = u128;

/// A table by digest. The digest is a keyed hash already, so half of it places it.
pub(super) type DigestMap<V> = HashMap<IdDigest, V, BuildHasherDefault<DigestHasher>>;

#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write_u128(&mut self, digest: u128) {
        self.0 = table_hash(digest);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a digest is hashed as a number")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The state of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IdState {
    /// Its body is in the log.
    Logged(Slot),
    /// It was delivered; its body is gone.
    Evicted,
    /// It waits for dependencies.
    Incoming(Slot),
    /// It is not here and is wanted.
    Missing(Slot),
    /// The application has it by other means.
    Resolved,
    /// It was given up: what depends on it is delivered with a gap.
    Lost,
    /// It is the id of a sync message.
    Sync,
    /// It was received, and what becomes of it is being found out.
    Processing,
}

impl IdState {
    /// Whether a dependency on it is met.
    pub(super) const fn is_resolved(self) -> bool {
        matches!(self, Self::Logged(_) | Self::Evicted | Self::Resolved | Self::Lost | Self::Sync)
    }
}

#[derive(Debug)]
pub(super) struct Known {
    digest: IdDigest,
    state: IdState,
    /// The low bits of its number in the arrival ring; 0 if it is not there.
    number: u32,
    /// Whether a logged entry names it.
    pub(super) is_named: bool,
}

/// The id record of one channel.
#[derive(Debug)]
pub(super) struct IdTable {
    key: [u64; 2],
    table: HashTable<Known>,
    /// Processing content ids, oldest first.
    ring: VecDeque<Recorded>,
    /// Number of the newest in the ring.
    recorded: u64,
    max_ids: usize,
    /// Ids that count as met without being logged, oldest first: of content, by number, and of
    /// syncs.
    resolved: VecDeque<(u64, IdDigest)>,
    syncs: VecDeque<IdDigest>,
    max_resolved: usize,
    /// Newest Lamport time whose id is forgotten.
    floor: Option<u64>,
}

/// A received content id. If it was dropped since, another may bear its digest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    digest: IdDigest,
    lamport: u64,
    number: u64,
}

/// Numbers in the ring differ in these bits, for it holds less than 2^31. Never 0.
const fn low_bits(number: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    let low = number as u32;
    low | 1 << 31
}

const fn table_hash(digest: IdDigest) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "half of the digest is enough")]
    let half = digest as u64;
    half
}

impl IdTable {
    pub(super) const fn new(key: [u64; 2], max_ids: usize, max_resolved: usize) -> Self {
        Self {
            key,
            table: HashTable::new(),
            ring: VecDeque::new(),
            recorded: 0,
            max_ids,
            resolved: VecDeque::new(),
            syncs: VecDeque::new(),
            max_resolved,
            floor: None,
        }
    }

    pub(super) fn digest(&self, id: &[u8]) -> IdDigest {
        SipHasher13::new_with_keys(self.key[0], self.key[1]).hash(id).as_u128()
    }

    pub(super) fn state(&self, digest: IdDigest) -> Option<IdState> {
        self.table.find(table_hash(digest), |known| known.digest == digest).map(|known| known.state)
    }

    /// Says where an id is now, and returns what is known of it.
    pub(super) fn set(&mut self, digest: IdDigest, state: IdState) -> &Known {
        let known = self.entry(digest, state);
        known.state = state;
        known
    }

    /// Marks `digest` as named by a logged entry, if anything is known of it, and says what.
    pub(super) fn mark_named(&mut self, digest: IdDigest) -> Option<IdState> {
        let known = self.table.find_mut(table_hash(digest), |known| known.digest == digest)?;
        known.is_named = true;
        Some(known.state)
    }

    /// Puts a received content id into the arrival ring, unless it is there. Returns its number if
    /// it is new, and that of the id that fell out of the ring for it.
    pub(super) fn record(&mut self, digest: IdDigest, lamport: u64) -> (Option<u64>, Option<u64>) {
        let number = self.recorded + 1;
        let known = self.entry(digest, IdState::Processing);
        known.state = IdState::Processing;
        if known.number != 0 {
            return (None, None);
        }
        known.number = low_bits(number);
        (Some(number), self.put(Recorded { digest, lamport, number }))
    }

    /// Puts back an id that was recorded before a restart. It counts as evicted. Returns the number
    /// of the id that fell out of the ring for it.
    pub(super) fn restore(&mut self, digest: IdDigest, lamport: u64, number: u64) -> Option<u64> {
        let known = self.entry(digest, IdState::Evicted);
        known.state = IdState::Evicted;
        known.number = low_bits(number);
        self.put(Recorded { digest, lamport, number })
    }

    fn put(&mut self, recorded: Recorded) -> Option<u64> {
        self.recorded = recorded.number;
        self.ring.push_back(recorded);
        if self.ring.len() <= self.max_ids {
            return None;
        }
        let oldest = self.ring.pop_front()?;
        self.leave_ring(oldest);
        Some(oldest.number)
    }

    fn leave_ring(&mut self, oldest: Recorded) {
        let Entry::Occupied(mut known) = self.lookup(oldest.digest) else { return };
        if known.get().number != low_bits(oldest.number) {
            return; // It was dropped, and has come again since.
        }
        known.get_mut().number = 0;
        if known.get().state == IdState::Evicted {
            known.remove();
            self.raise_floor(oldest.lamport);
        }
    }

    /// The body of a logged id is gone.
    pub(super) fn evicted(&mut self, digest: IdDigest, lamport: u64) {
        let Entry::Occupied(mut known) = self.lookup(digest) else { return };
        if known.get().number != 0 {
            known.get_mut().state = IdState::Evicted;
            return;
        }
        known.remove();
        self.raise_floor(lamport);
    }

    /// A received id counts as never received. Returns its number if the ring holds it.
    pub(super) fn dropped(&mut self, digest: IdDigest) -> Option<u64> {
        let Entry::Occupied(known) = self.lookup(digest) else { return None };
        let (known, _) = known.remove();
        self.number(&known)
    }

    /// The number of an id whose body is gone, if the ring holds it.
    pub(super) fn evicted_number(&self, digest: IdDigest) -> Option<u64> {
        let known = self.table.find(table_hash(digest), |known| known.digest == digest)?;
        self.number(known).filter(|_| known.state == IdState::Evicted)
    }

    /// The number of the newest id in the ring.
    pub(super) const fn recorded(&self) -> u64 {
        self.recorded
    }

    fn number(&self, known: &Known) -> Option<u64> {
        let age = low_bits(self.recorded).wrapping_sub(known.number);
        (known.number != 0).then(|| self.recorded - u64::from(age & 0x7fff_ffff))
    }

    /// A wanted id is not wanted any more, and was not received either.
    pub(super) fn forget_missing(&mut self, digest: IdDigest) {
        if let Entry::Occupied(known) = self.lookup(digest) {
            known.remove();
        }
    }

    /// Remembers an id as met: [`IdState::Resolved`] or [`IdState::Lost`]. Returns its number, and
    /// that of the id that was forgotten for it.
    pub(super) fn remember_resolved(
        &mut self,
        digest: IdDigest,
        state: IdState,
    ) -> (u64, Option<u64>) {
        let number = self.resolved.back().map_or(0, |(newest, _)| *newest) + 1;
        (number, self.restore_resolved(digest, state, number))
    }

    /// Puts back an id that was remembered as met before a restart. Returns the number of the one
    /// that was forgotten for it.
    pub(super) fn restore_resolved(
        &mut self,
        digest: IdDigest,
        state: IdState,
        number: u64,
    ) -> Option<u64> {
        self.set(digest, state);
        self.resolved.push_back((number, digest));
        if self.resolved.len() <= self.max_resolved {
            return None;
        }
        let (number, oldest) = self.resolved.pop_front()?;
        self.forget_resolved(oldest);
        Some(number)
    }

    /// Remembers the id of a sync, which counts as met.
    pub(super) fn remember_sync(&mut self, digest: IdDigest) {
        self.set(digest, IdState::Sync);
        self.syncs.push_back(digest);
        if self.syncs.len() > self.max_resolved
            && let Some(oldest) = self.syncs.pop_front()
        {
            self.forget_resolved(oldest);
        }
    }

    fn forget_resolved(&mut self, digest: IdDigest) {
        let Entry::Occupied(known) = self.lookup(digest) else { return };
        if matches!(known.get().state, IdState::Resolved | IdState::Lost | IdState::Sync) {
            known.remove();
        }
    }

    pub(super) const fn floor(&self) -> Option<u64> {
        self.floor
    }

    pub(super) fn raise_floor(&mut self, lamport: u64) {
        self.floor = Some(self.floor.map_or(lamport, |floor| floor.max(lamport)));
    }

    fn entry(&mut self, digest: IdDigest, state: IdState) -> &mut Known {
        self.lookup(digest)
            .or_insert_with(|| Known { digest, state, number: 0, is_named: false })
            .into_mut()
    }

    fn lookup(&mut self, digest: IdDigest) -> Entry<'_, Known> {
        self.table.entry(
            table_hash(digest),
            |known| known.digest == digest,
            |known| table_hash(known.digest),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(max_ids: usize, max_resolved: usize) -> IdTable {
        IdTable::new([1, 2], max_ids, max_resolved)
    }

    #[test]
    fn forgets_the_oldest_evicted_id_and_raises_the_floor() {
        let mut ids = table(2, 1);
        for digest in 1..=3_u64 {
            let recorded = ids.record(u128::from(digest), digest * 10);
            ids.set(u128::from(digest), IdState::Evicted);
            assert_eq!(recorded, (Some(digest), (digest == 3).then_some(1)));
        }
        assert_eq!(ids.state(1), None);
        assert_eq!(ids.state(2), Some(IdState::Evicted));
        assert_eq!(ids.floor(), Some(10));
    }

    #[test]
    fn an_id_that_leaves_the_ring_while_logged_is_forgotten_on_eviction() {
        let mut ids = table(1, 1);
        for (digest, lamport) in [(1, 10), (2, 20)] {
            ids.record(digest, lamport);
            ids.set(digest, IdState::Logged(Slot::default()));
        }
        assert_eq!((ids.state(1), ids.floor()), (Some(IdState::Logged(Slot::default())), None));
        ids.evicted(1, 10);
        assert_eq!((ids.state(1), ids.floor()), (None, Some(10)));
    }

    #[test]
    fn met_ids_are_bounded_and_do_not_take_logged_ones_along() {
        let mut ids = table(8, 1);
        assert_eq!(ids.remember_resolved(1, IdState::Lost), (1, None));
        ids.record(1, 5);
        ids.set(1, IdState::Logged(Slot::default()));
        assert_eq!(ids.remember_resolved(2, IdState::Resolved), (2, Some(1)));
        assert_eq!(ids.remember_resolved(3, IdState::Resolved), (3, Some(2)));
        assert_eq!(ids.state(1), Some(IdState::Logged(Slot::default())));
        assert_eq!((ids.state(2), ids.state(3)), (None, Some(IdState::Resolved)));
    }

    #[test]
    fn a_dropped_id_counts_as_never_received_and_may_come_again() {
        let mut ids = table(2, 1);
        assert_eq!(ids.record(1, 10), (Some(1), None));
        assert_eq!(ids.record(1, 10), (None, None));
        assert_eq!(ids.dropped(1), Some(1));
        assert_eq!((ids.state(1), ids.dropped(1)), (None, None));
        assert_eq!(ids.record(1, 10), (Some(2), None));
        ids.set(1, IdState::Evicted);
        assert_eq!(ids.record(2, 20), (Some(3), Some(1)));
        assert_eq!((ids.state(1), ids.floor()), (Some(IdState::Evicted), None));
    }
}
