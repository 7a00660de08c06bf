//! The local log: delivered messages by (Lamport time, id), its heads, and eviction by age.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;
use smallvec::SmallVec;

use super::record::IdDigest;
use super::slots::{Slot, Slots};
use crate::broken::{self, Break};
use crate::digest::LogDigest;
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::IdRef;
use crate::memory::FRAMING;
use crate::sorted::{Position, Sorted};
use crate::time::Instant;
use crate::timer::TimerKey;
use crate::wire::{NimForm, WireDialect};

/// An entry's Lamport time and where it is. Those of one time are in the order of their ids.
pub(super) type OrderKey = (u64, Slot);

/// Deliveries that are compared to before an id is hashed.
const NEWEST: usize = 2;

/// Entries of others remembered as pending acknowledgements, the newest ones: as many as a talker
/// may have unacknowledged by default.
pub(super) const MAX_PENDING_ACKS: usize = 1_024;
/// Most bytes that a message names beyond `max_heads` entries, so that it still fits into a
/// datagram.
const MAX_NAMED_BYTES: usize = 16 << 10;

/// Heads are walked by Lamport time, and may be in any order beyond that.
pub(super) type HeadKey = (u64, Slot);

/// Bounds on the number of entries in a causal history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming {
    /// At least so many, if there are.
    pub(super) len: usize,
    /// Heads, at most.
    pub(super) max_heads: usize,
    /// Heads and what nobody but its sender has named, at most. Not below `max_heads`.
    pub(super) max_named: usize,
}

impl Naming {
    /// About half as many: first of what nobody but its sender has named, then of what it is filled
    /// up with, then of the heads. `None`: it is one entry alone.
    pub(super) fn fewer(self) -> Option<Self> {
        let Self { len, max_heads, max_named } = self;
        if max_named > max_heads {
            return Some(Self { max_named: (max_named / 2).max(max_heads), ..self });
        }
        if len > max_heads {
            return Some(Self { len: (len / 2).max(max_heads), ..self });
        }
        let half = max_heads / 2;
        (half > 0).then_some(Self { len: len.min(half), max_heads: half, max_named: half })
    }
}

/// A set of dialects, and of forms of the nim dialect.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Dialects(u8);

impl Dialects {
    pub(super) const BOTH: Self = Self(3);

    pub(super) const fn of(dialect: WireDialect) -> Self {
        match dialect {
            WireDialect::Lip109 => Self(1),
            WireDialect::NimSds => Self(2),
        }
    }

    pub(super) const fn if_any(lip109: bool, nim_sds: bool) -> Self {
        Self(lip109 as u8 | (nim_sds as u8) << 1)
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The same, heard in a `form` of the nim dialect of which there are readers of nothing else.
    pub(super) const fn in_form(self, form: Option<NimForm>) -> Self {
        Self(self.0 | Self::form_bit(form))
    }

    const fn form_bit(form: Option<NimForm>) -> u8 {
        match form {
            Some(NimForm::V030) => 4,
            Some(NimForm::V033) => 8,
            Some(NimForm::V02 | NimForm::V04) | None => 0,
        }
    }

    /// That form, if it is one.
    pub(super) const fn form(self) -> Option<NimForm> {
        match self.0 & !Self::BOTH.0 {
            4 => Some(NimForm::V030),
            8 => Some(NimForm::V033),
            _ => None,
        }
    }

    pub(super) const fn are_both(self) -> bool {
        self.0 & Self::BOTH.0 == Self::BOTH.0
    }

    /// The one dialect, if it is one.
    pub(super) const fn only(self) -> Option<WireDialect> {
        match self.0 & Self::BOTH.0 {
            1 => Some(WireDialect::Lip109),
            2 => Some(WireDialect::NimSds),
            _ => None,
        }
    }

    pub(super) const fn has(self, dialect: WireDialect) -> bool {
        self.0 & Self::of(dialect).0 != 0
    }
}

/// An entry and what belongs to it.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) entry: LogEntry,
    pub(super) digest: IdDigest,
    pub(super) seq: DeliverySeq,
    /// Its retrieval hint.
    pub(super) hint: Option<Bytes>,
    pub(super) gap: bool,
    pub(super) own: bool,
    /// Dialects it was sent or heard in.
    pub(super) heard: Dialects,
    /// Set while it waits to be re-encoded into the other dialect.
    pub(super) bridge: Option<TimerKey>,
    /// Reasons to keep it: unacknowledged, or a repair answer pending.
    pins: u8,
    /// Whether its turn to be evicted came while it was pinned.
    overdue: bool,
    is_head: bool,
    /// Whether it may be named. Otherwise it is no head and awaits no witness.
    nameable: bool,
    /// Whether it is our own, or its sender can know that it came, as somebody else has named it.
    remove_pending_ack: bool,
    /// Whether it is an own message that nobody acknowledged in all its resends.
    pub(super) unconfirmed: bool,
    /// Number of times it was offered to members that cannot request it.
    pub(super) offers: u8,
}

impl Logged {
    /// Bytes that a message takes to name it, or some more.
    fn named_bytes(&self) -> usize {
        let ids = self.entry.message_id().len() + self.entry.sender_id().len();
        ids + self.hint.as_ref().map_or(0, Bytes::len) + FRAMING
    }
}

/// An entry to append, with its properties.
#[derive(Debug)]
pub(super) struct NewEntry {
    pub(super) entry: LogEntry,
    pub(super) digest: IdDigest,
    pub(super) gap: bool,
    pub(super) own: bool,
    pub(super) heard: Dialects,
    /// Whether it can be passed on, and so be named.
    pub(super) nameable: bool,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Slots<Logged>,
    /// The log's total order, the same at every participant.
    order: Sorted<OrderKey>,
    heads: BTreeSet<HeadKey>,
    /// Position in the rotation through more heads than fit into a message.
    rotation: Option<HeadKey>,
    /// Heads of this rotation that have not been told yet.
    pub(super) rotation_left: usize,
    /// Entries that are not remove_pending_ack, in the order in which they came.
    pending_acks: VecDeque<Slot>,
    /// Since when there are some, or since when somebody last named others of them in a sync.
    pending_acks_since: Instant,
    /// Entries by age of delivery.
    age: VecDeque<(DeliverySeq, Slot)>,
    /// Entries that were pinned when their turn came.
    overdue: BTreeMap<DeliverySeq, Slot>,
    bytes: usize,
    digest: LogDigest,
    delivered: DeliverySeq,
}

impl Log {
    /// Inserts an entry as the newest delivery. Returns where it is and the entry before it.
    pub(super) fn insert(
        &mut self,
        new: NewEntry,
        now: Instant,
    ) -> (Slot, DeliverySeq, Option<LogEntry>) {
        let seq = DeliverySeq(self.delivered.0 + 1);
        self.delivered = seq;
        self.digest.add(new.entry.lamport(), new.entry.message_id());
        let at = self.position(&new.entry);
        let follows = self.entry_before(at);
        (self.put(new, at, seq, now), seq, follows)
    }

    /// An entry came that is not our own: its sender does not know yet.
    fn push_pending_ack(&mut self, slot: Slot, now: Instant) {
        let Some(logged) = self.entries.get_mut(slot) else { return };
        logged.remove_pending_ack = false;
        if self.pending_acks.is_empty() {
            self.pending_acks_since = now;
        } else if self.pending_acks.len() == MAX_PENDING_ACKS
            && let Some(oldest) = self.pending_acks.pop_front()
            && let Some(oldest) = self.entries.get_mut(oldest)
        {
            // Not seen to be, but forgotten.
            oldest.remove_pending_ack = true;
        }
        self.pending_acks.push_back(slot);
    }

    /// An entry came again, so its sender does not know that it had come.
    pub(super) fn restore_pending_ack(&mut self, slot: Slot, now: Instant) {
        let waited = |logged: &Logged| logged.remove_pending_ack && !logged.own && logged.nameable;
        if self.get(slot).is_some_and(waited) {
            self.push_pending_ack(slot, now);
        }
    }

    /// Somebody other than its sender has named an entry, as far as one can tell.
    pub(super) fn remove_pending_ack(&mut self, slot: Slot) {
        let Some(logged) = self.entries.get_mut(slot).filter(|logged| !logged.remove_pending_ack)
        else {
            return;
        };
        logged.remove_pending_ack = true;
        self.list_no_more(slot);
    }

    /// Takes an entry out of the list of those that are not remove_pending_ack. It is looked for
    /// from both ends: messages name the newest, syncs and eviction the oldest.
    fn list_no_more(&mut self, slot: Slot) {
        let len = self.pending_acks.len();
        let is_here = |at: &usize| self.pending_acks.get(*at) == Some(&slot);
        let mut ends = (0..len.div_ceil(2)).flat_map(|at| [len - 1 - at, at]);
        if let Some(at) = ends.find(is_here) {
            self.pending_acks.remove(at);
        }
    }

    /// A message of `sender` names an entry. Who is anonymous may be anybody.
    pub(super) fn named_by(&mut self, slot: Slot, sender: IdRef<'_>) {
        let is_witness = |logged: &Logged| {
            !logged.remove_pending_ack && (sender.is_empty() || logged.entry.sender_id() != sender)
        };
        if self.get(slot).is_some_and(is_witness) {
            self.remove_pending_ack(slot);
        }
    }

    /// `sender` has all that is here, and has named what it knew nobody to have named.
    pub(super) fn acknowledge_all_from(&mut self, sender: IdRef<'_>) {
        // Backwards, as they leave the list.
        for at in (0..self.pending_acks.len()).rev() {
            self.named_by(self.pending_acks[at], sender);
        }
    }

    pub(super) fn pending_acks_len(&self) -> usize {
        self.pending_acks.len()
    }

    /// Somebody has named entries for the sake of their senders: we need not for a while.
    pub(super) const fn restart_ack_delay(&mut self, now: Instant) {
        self.pending_acks_since = now;
    }

    /// Since when there are entries that nobody but their senders has named, unless as many heads
    /// leave no room for them in a message.
    pub(super) fn pending_acks_since(&self, max_heads: usize) -> Option<Instant> {
        let would_be_named = !self.pending_acks.is_empty() && self.heads.len() < max_heads;
        would_be_named.then_some(self.pending_acks_since)
    }

    /// Puts back an entry that was delivered before a restart.
    pub(super) fn restore(&mut self, new: NewEntry, seq: DeliverySeq, now: Instant) -> Slot {
        let at = self.position(&new.entry);
        self.put(new, at, seq, now)
    }

    /// Takes over what outlives bodies.
    pub(super) fn restore_totals(&mut self, digest: LogDigest, delivered: DeliverySeq) {
        self.digest = digest;
        self.delivered = delivered;
    }

    fn put(&mut self, new: NewEntry, at: Position, seq: DeliverySeq, now: Instant) -> Slot {
        self.bytes += new.entry.size();
        let (lamport, time) = (new.entry.lamport(), time(&new.entry));
        let slot = self.entries.insert(Logged {
            entry: new.entry,
            digest: new.digest,
            seq,
            hint: None,
            gap: new.gap,
            own: new.own,
            heard: new.heard,
            bridge: None,
            pins: 0,
            overdue: false,
            is_head: new.nameable,
            nameable: new.nameable,
            remove_pending_ack: new.own || !new.nameable,
            unconfirmed: false,
            offers: 0,
        });
        if new.nameable {
            self.heads.insert((lamport, slot));
        }
        self.order.insert(at, (time, slot));
        self.age.push_back((seq, slot));
        if !new.own && new.nameable {
            self.push_pending_ack(slot, now);
        }
        slot
    }

    /// The entry's id is named by a logged entry: it is no head any more.
    pub(super) fn named(&mut self, slot: Slot) {
        if let Some(logged) = self.entries.get_mut(slot).filter(|logged| logged.is_head) {
            logged.is_head = false;
            self.heads.remove(&(logged.entry.lamport(), slot));
        }
    }

    /// Returns the position of an entry in the log's order, or the one where it belongs.
    fn position(&self, entry: &LogEntry) -> Position {
        let (time, id) = (time(entry), entry.message_id());
        let is_before = |(other, slot): &OrderKey| {
            let has_less = |logged: &Logged| logged.entry.message_id() < id;
            *other < time || *other == time && self.entries.get(*slot).is_some_and(has_less)
        };
        // Most entries are appended.
        if self.order.last().is_none_or(is_before) {
            return self.order.end();
        }
        self.order.partition_point(is_before)
    }

    fn entry_before(&self, at: Position) -> Option<LogEntry> {
        let (_, slot) = self.order.before(at)?;
        self.entries.get(*slot).map(|logged| logged.entry.clone())
    }

    /// The entry right before this one in the log.
    pub(super) fn predecessor(&self, entry: &LogEntry) -> Option<LogEntry> {
        self.entry_before(self.position(entry))
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Logged> {
        self.entries.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Logged> {
        self.entries.get_mut(slot)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn digest(&self) -> LogDigest {
        self.digest
    }

    pub(super) const fn delivered(&self) -> DeliverySeq {
        self.delivered
    }

    /// All entries, in the log's order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.logged().map(|logged| &logged.entry)
    }

    pub(super) fn logged(&self) -> impl DoubleEndedIterator<Item = &Logged> {
        self.order.iter().filter_map(|(_, slot)| self.entries.get(*slot))
    }

    /// Those of the Lamport times from `first` to `last`.
    pub(super) fn range(
        &self,
        first: u64,
        last: u64,
    ) -> impl DoubleEndedIterator<Item = &LogEntry> {
        let from = self.order.partition_point(|(lamport, _)| *lamport < first);
        let to = self.order.partition_point(|(lamport, _)| *lamport <= last);
        let slots = self.order.range(from, to);
        let logged = slots.filter_map(|(_, slot)| self.entries.get(*slot));
        logged.map(|logged| &logged.entry)
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = IdRef<'_>> {
        let heads = self.heads.iter().filter_map(|(_, slot)| self.entries.get(*slot));
        heads.map(|logged| logged.entry.message_id())
    }

    pub(super) fn logged_heads(&self) -> impl Iterator<Item = &Logged> {
        self.heads.iter().filter_map(|(_, slot)| self.entries.get(*slot))
    }

    pub(super) fn head_count(&self) -> usize {
        self.heads.len()
    }

    /// Entries delivered up to a number, the newest first.
    pub(super) fn delivered_until(
        &self,
        until: DeliverySeq,
    ) -> impl Iterator<Item = (Slot, &Logged)> {
        let end = self.age.partition_point(|(seq, _)| *seq <= until);
        let slots = self.age.range(..end).rev().map(|(_, slot)| *slot);
        slots.filter_map(|slot| Some((slot, self.entries.get(slot)?)))
    }

    /// Deliveries after `consumed`, oldest first.
    pub(super) fn delivered_after(&self, consumed: DeliverySeq) -> impl Iterator<Item = &Logged> {
        let first = self.age.partition_point(|(seq, _)| *seq <= consumed);
        self.age.range(first..).filter_map(|(_, slot)| self.entries.get(*slot))
    }

    /// The digest of an id, if it is among the newest deliveries, which most messages name.
    pub(super) fn newest_digest(&self, id: IdRef<'_>) -> Option<IdDigest> {
        for back in 1..=NEWEST {
            let (_, slot) = self.age.get(self.age.len().wrapping_sub(back))?;
            let Some(logged) = self.entries.get(*slot) else { continue };
            if logged.entry.message_id() == id {
                return Some(logged.digest);
            }
        }
        None
    }

    /// The entries to name next: up to `max_heads` heads, in rotation if there are more, and as far
    /// as `max_named` leaves room what nobody but its sender has named; filled up to `len` with the
    /// newest others; in the log's order.
    pub(super) fn next_history(&self, naming: Naming) -> SmallVec<[Slot; 16]> {
        let Naming { len, max_heads, max_named } = naming;
        let headless = broken::is(Break::Heads);
        let mut named: SmallVec<[Slot; 16]> = if headless {
            SmallVec::new()
        } else if self.heads.len() <= max_heads {
            self.heads.iter().map(|(_, slot)| *slot).collect()
        } else {
            self.rotated_heads().map(|(_, slot)| slot).take(max_heads).collect()
        };
        let logged = |slot: Slot| self.entries.get(slot);
        let is_head = |slot: Slot| !headless && logged(slot).is_some_and(|logged| logged.is_head);
        let nameable = |slot: Slot| logged(slot).is_some_and(|logged| logged.nameable);
        let mut bytes = 0;
        for slot in self.pending_acks.iter().copied().filter(|slot| !is_head(*slot)) {
            bytes += logged(slot).map_or(0, Logged::named_bytes);
            if named.len() >= max_named || (named.len() >= max_heads && bytes > MAX_NAMED_BYTES) {
                break;
            }
            named.push(slot);
        }
        for (_, slot) in self.order.iter().rev() {
            if named.len() >= len {
                break;
            }
            if nameable(*slot) && !is_head(*slot) && !named.contains(slot) {
                named.push(*slot);
            }
        }
        // No two keys are equal.
        named.sort_unstable_by(|a, b| self.key(*a).cmp(&self.key(*b)));
        named
    }

    fn rotated_heads(&self) -> impl Iterator<Item = HeadKey> {
        let after = self.rotation.map_or(Unbounded, Excluded);
        let rest = self.heads.range((after, Unbounded));
        rest.chain(&self.heads).copied().take(self.heads.len())
    }

    fn key(&self, slot: Slot) -> Option<(u64, IdRef<'_>)> {
        self.entries.get(slot).map(|logged| (logged.entry.lamport(), logged.entry.message_id()))
    }

    /// A message has just named what was to be named next, and the rotation moves on past its
    /// heads.
    pub(super) fn on_history_sent(&mut self, naming: Naming) {
        let max_heads = naming.max_heads;
        if !self.pending_acks.is_empty() {
            for slot in self.next_history(naming) {
                self.remove_pending_ack(slot);
            }
        }
        if self.heads.len() <= max_heads {
            self.rotation = None;
            self.rotation_left = 0;
            return;
        }
        self.rotation = self.rotated_heads().take(max_heads).last();
        let left = if self.rotation_left == 0 { self.heads.len() } else { self.rotation_left };
        self.rotation_left = left.saturating_sub(max_heads);
    }

    /// Keeps an entry from being evicted in its turn.
    pub(super) fn pin(&mut self, slot: Slot) {
        if let Some(logged) = self.entries.get_mut(slot) {
            logged.pins += 1;
        }
    }

    /// Ends one reason to keep an entry. If its turn to be evicted has come, it is next.
    pub(super) fn unpin(&mut self, slot: Slot) {
        let Some(logged) = self.entries.get_mut(slot) else { return };
        logged.pins = logged.pins.saturating_sub(1);
        if logged.pins == 0 && logged.overdue {
            logged.overdue = false;
            self.overdue.remove(&logged.seq);
            self.age.push_front((logged.seq, slot));
        }
    }

    /// Takes out the entry whose turn it is, if the log is above a bound and has more than one.
    pub(super) fn evict(&mut self, max_messages: usize, max_bytes: usize) -> Option<Logged> {
        if (self.len() <= max_messages && self.bytes <= max_bytes) || self.len() <= 1 {
            return None;
        }
        let slot = self.next_victim()?;
        let logged = self.entries.remove(slot)?;
        let at = match self.order.first() {
            Some((_, first)) if *first == slot => Position::START,
            _ => self.position(&logged.entry),
        };
        self.order.remove(at);
        if logged.is_head {
            self.heads.remove(&(logged.entry.lamport(), slot));
        }
        if !logged.remove_pending_ack {
            self.list_no_more(slot);
        }
        self.bytes -= logged.entry.size();
        Some(logged)
    }

    fn next_victim(&mut self) -> Option<Slot> {
        // The newest delivery is never the victim: it would go before anybody could ask for it.
        while self.age.len() > 1 {
            let (seq, slot) = self.age.pop_front()?;
            let Some(logged) = self.entries.get_mut(slot).filter(|logged| logged.seq == seq) else {
                continue;
            };
            if logged.pins == 0 {
                return Some(slot);
            }
            logged.overdue = true;
            self.overdue.insert(seq, slot);
        }
        self.overdue.pop_first().map(|(_, slot)| slot)
    }
}

/// Returns the first key of the log's order; the second is the id.
fn time(entry: &LogEntry) -> u64 {
    let unit = if broken::is(Break::Order) { 1_000 } else { 1 };
    entry.lamport() / unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use alloc::vec::Vec;

    fn put(log: &mut Log, lamport: u64, id: &str) -> (Slot, Option<String>) {
        let new = NewEntry {
            entry: LogEntry::new(id, "s", lamport, [], "x"),
            digest: u128::from(lamport),
            gap: false,
            own: false,
            heard: Dialects::default(),
            nameable: true,
        };
        let (slot, _, follows) = log.insert(new, Instant::from_millis(lamport));
        (slot, follows.as_ref().map(id_of))
    }

    fn id_of(entry: &LogEntry) -> String {
        entry.message_id().to_string()
    }

    fn ids(log: &Log) -> Vec<String> {
        log.iter().map(id_of).collect()
    }

    fn names(log: &Log, slots: &[Slot]) -> Vec<u64> {
        slots.iter().filter_map(|slot| log.key(*slot)).map(|(lamport, _)| lamport).collect()
    }

    #[test]
    fn orders_by_lamport_then_id_and_names_the_predecessor() {
        let mut log = Log::default();
        assert_eq!(put(&mut log, 5, "b").1, None);
        assert_eq!(put(&mut log, 5, "c").1, Some("b".into()));
        assert_eq!(put(&mut log, 5, "a").1, None);
        assert_eq!(put(&mut log, 4, "z").1, None);
        assert_eq!(put(&mut log, 6, "0").1, Some("c".into()));
        assert_eq!(ids(&log), ["z", "a", "b", "c", "0"]);
    }

    /// As a message names that makes no room for what only its sender has named.
    const fn naming(len: usize, max_heads: usize) -> Naming {
        Naming { len, max_heads, max_named: max_heads }
    }

    /// Entries of one sender, each of which names the one before it.
    fn chain(log: &mut Log, lamports: core::ops::RangeInclusive<u64>) -> Vec<Slot> {
        let mut slots = Vec::new();
        for lamport in lamports {
            let slot = put(log, lamport, "m").0;
            if let Some(before) = slots.last() {
                log.named(*before);
                log.named_by(*before, "s".into());
            }
            slots.push(slot);
        }
        slots
    }

    #[test]
    fn what_only_its_sender_has_named_is_named_once_and_first_come_first() {
        let (mut log, at) = (Log::default(), Instant::from_millis);
        let slots = chain(&mut log, 1..=6);
        assert_eq!(log.pending_acks_since(2), Some(at(1)));
        assert_eq!(log.pending_acks_since(1), None, "the head takes all the room");
        log.named_by(slots[1], "other".into());
        log.named_by(slots[2], "".into());
        let next = |log: &mut Log| {
            let named = log.next_history(naming(2, 3));
            log.on_history_sent(naming(2, 3));
            names(log, &named)
        };
        assert_eq!(next(&mut log), [1, 4, 6], "the head, and what there is room for");
        assert_eq!(log.pending_acks_since(3), Some(at(1)), "there is more");
        log.restart_ack_delay(at(8));
        assert_eq!(log.pending_acks_since(3), Some(at(8)));
        assert_eq!(next(&mut log), [5, 6]);
        assert_eq!((next(&mut log), log.pending_acks_since(3)), (vec![5, 6], None), "as ever");

        log.restore_pending_ack(slots[3], at(9));
        log.restore_pending_ack(slots[3], at(10));
        assert_eq!((log.pending_acks_since(3), log.pending_acks_len()), (Some(at(9)), 1));
        log.named_by(slots[3], "other".into());
        assert_eq!(log.pending_acks_since(3), None);
        log.restore_pending_ack(slots[3], at(11));
        assert_eq!(next(&mut log), [4, 6]);
    }

    #[test]
    fn a_message_with_more_room_names_what_waits_as_far_as_bytes_allow() {
        let mut log = Log::default();
        let slots = chain(&mut log, 1..=6);
        let roomy = Naming { max_named: 5, ..naming(2, 2) };
        assert_eq!(names(&log, &log.next_history(roomy)), [1, 2, 3, 4, 6]);
        if let Some(logged) = log.get_mut(slots[2]) {
            logged.hint = Some(Bytes::from(vec![0; MAX_NAMED_BYTES]));
        }
        assert_eq!(names(&log, &log.next_history(roomy)), [1, 2, 6]);
        log.on_history_sent(naming(2, 2));
        log.on_history_sent(naming(2, 2));
        assert_eq!(names(&log, &log.next_history(roomy)), [3, 6], "however many bytes");
        log.on_history_sent(roomy);
        assert_eq!(names(&log, &log.next_history(roomy)), [4, 5, 6]);
        log.on_history_sent(roomy);
        assert_eq!(log.pending_acks_len(), 0);
    }

    #[test]
    fn what_a_message_names_to_fill_up_is_told_too() {
        let mut log = Log::default();
        chain(&mut log, 1..=6);
        assert_eq!(names(&log, &log.next_history(naming(5, 2))), [1, 3, 4, 5, 6]);
        log.on_history_sent(naming(5, 2));
        assert_eq!(names(&log, &log.next_history(naming(0, 9))), [2, 6]);
    }

    #[test]
    fn what_has_left_the_log_waits_for_no_witness() {
        let mut log = Log::default();
        chain(&mut log, 1..=3);
        assert!(log.evict(1, usize::MAX).is_some() && log.evict(1, usize::MAX).is_some());
        assert_eq!(log.pending_acks_len(), 1);
        put(&mut log, 7, "in the place of another");
        assert_eq!(names(&log, &log.next_history(naming(0, 9))), [3, 7]);
        log.on_history_sent(naming(0, 9));
        assert_eq!(log.pending_acks_len(), 0);
    }

    #[test]
    fn no_more_than_the_newest_wait_for_a_witness() {
        let (mut log, at) = (Log::default(), Instant::from_millis);
        let slots = chain(&mut log, 1..=MAX_PENDING_ACKS as u64 + 2);
        assert_eq!(log.pending_acks_since(9), Some(at(1)), "however many follow");
        assert_eq!(names(&log, &log.next_history(naming(0, 2))), [3, MAX_PENDING_ACKS as u64 + 2]);
        // Unless their sender sends them again.
        log.restore_pending_ack(slots[0], at(99));
        assert_eq!(names(&log, &log.next_history(naming(0, 2))), [4, MAX_PENDING_ACKS as u64 + 2]);
        log.acknowledge_all_from("s".into());
        assert_eq!(log.pending_acks_len(), MAX_PENDING_ACKS, "not by another");
        log.acknowledge_all_from("other".into());
        assert_eq!((log.pending_acks_len(), log.pending_acks_since(9)), (0, None));
    }

    #[test]
    fn evicts_by_age_of_delivery_and_pinned_entries_last() {
        let mut log = Log::default();
        let pinned = put(&mut log, 9, "old").0;
        log.pin(pinned);
        put(&mut log, 1, "late repair");
        put(&mut log, 2, "next");
        let gone = |log: &mut Log| log.evict(1, 1_000).map(|logged| id_of(&logged.entry));
        assert_eq!(gone(&mut log), Some("late repair".into()));
        log.unpin(pinned);
        assert_eq!(gone(&mut log), Some("old".into()));
        assert_eq!(gone(&mut log), None);
        assert_eq!((log.len(), log.bytes()), (1, log.iter().map(LogEntry::size).sum()));
    }

    #[test]
    fn a_pinned_entry_goes_when_nothing_else_is_left() {
        let mut log = Log::default();
        let pinned = put(&mut log, 1, "pinned").0;
        log.pin(pinned);
        put(&mut log, 2, "newest");
        let gone = log.evict(10, 30).map(|logged| id_of(&logged.entry));
        assert_eq!(gone, Some("pinned".into()));
    }

    #[test]
    fn names_heads_first_and_fills_up_with_the_newest_others() {
        let mut log = Log::default();
        let first = put(&mut log, 1, "a").0;
        put(&mut log, 2, "b");
        put(&mut log, 3, "c");
        let fourth = put(&mut log, 4, "d").0;
        log.named(first);
        log.remove_pending_ack(first);
        log.named(fourth);
        log.remove_pending_ack(fourth);
        assert_eq!(names(&log, &log.next_history(naming(2, 16))), [2, 3]);
        assert_eq!(names(&log, &log.next_history(naming(3, 16))), [2, 3, 4]);
        assert_eq!(names(&log, &log.next_history(naming(9, 16))), [1, 2, 3, 4]);
    }

    #[test]
    fn rotates_through_more_heads_than_fit_until_all_were_told() {
        let mut log = Log::default();
        for (lamport, id) in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")] {
            put(&mut log, lamport, id);
        }
        let mut told = vec![];
        for left in [3, 1, 0] {
            told.push(names(&log, &log.next_history(naming(1, 2))));
            log.on_history_sent(naming(2, 2));
            assert_eq!(log.rotation_left, left);
        }
        assert_eq!(told, [vec![1, 2], vec![3, 4], vec![1, 5]]);
    }
}
