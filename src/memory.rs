//! Maximum memory of a node, as requested from the allocator.
//!
//! The sums below follow the collections field by field; `tests/memory.rs` holds them against an
//! allocator that counts.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::channel::{self, MAX_NAMED};
use crate::clock_watch::{Heard, MAX_SENDERS};
use crate::config::{Config, Durability, OnLost};
use crate::effect::{Effect, PersistId, RetrievalId};
use crate::id::ChannelId;
use crate::outbox::{Bounds, MAX_RETRIEVALS};
use crate::snapshot::Change;
use crate::sorted;
use crate::stored;
use crate::wire::HistoryEntry;

/// Bytes of the header of bytes that are shared.
pub(crate) const SHARED: usize = 5 * size_of::<usize>();
/// Bytes of a logged or waiting message beside what is in it: its counts, and the lengths.
pub(crate) const ENTRY: usize = 2 * size_of::<usize>() + 32;
/// Bytes of the lengths of an entry of its history.
const NAMED: usize = 12;
/// Entries of a causal history that need no allocation.
const INLINE_HISTORY: usize = 2;
/// Bytes for each dependency that a message waits for, in the list of what waits for that.
pub(crate) const WAITER: usize = 16;
/// Records that a change touches and others of its kind do not, at most.
const STEPS: usize = 2;
/// Bytes that surround the ids of an entry in a record, at most.
const RECORD_NAMED: u64 = 24;
/// Bytes of a record beside what grows with the configuration, at most: of an own message the
/// senders whose filters held it.
const RECORD: u64 = 2 << 10;
/// Bytes that surround the ids of an entry on the wire, at most.
pub(crate) const FRAMING: usize = 16;

/// Bytes for what a waiting message depends on: for each a digest, and its place among those that
/// wait for it.
pub(crate) const fn of_dependencies(len: usize) -> usize {
    if len <= INLINE_HISTORY {
        return 0;
    }
    len.next_power_of_two() * size_of::<u128>() + len * WAITER
}

/// The most memory that a [`Node`](crate::Node) takes, in bytes; see [`Config::max_memory`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MaxMemory {
    /// Whatever channels there are: for one input, for its effects, and for what waits for the
    /// store.
    pub node: usize,
    /// For each channel.
    pub channel: usize,
    /// Channels that messages of others may open.
    auto_channels: usize,
}

impl MaxMemory {
    /// With `channels` that the application opens, and as many as messages of others may open.
    ///
    /// `usize::MAX` if there are not so many bytes.
    #[must_use]
    pub const fn total(self, channels: usize) -> usize {
        let channels = channels.saturating_add(self.auto_channels);
        self.node.saturating_add(self.channel.saturating_mul(channels))
    }
}

impl Config {
    /// The most memory that a node with this configuration takes, whatever peers send and however
    /// long the store takes: what it has requested from the allocator at any time.
    ///
    /// Not counted are
    ///
    /// * effects of more than one input: poll them all after each;
    /// * what effects that were polled keep alive, and snapshots that are handed in;
    /// * the part of a datagram's allocation that the datagram does not fill, and datagrams longer
    ///   than the longest message that the configuration allows;
    /// * what an allocator adds to what it is asked for.
    ///
    /// Of channels that have a configuration of their own each takes the `channel` of that, with
    /// the lengths and counts of the node's that the decoder checks, and the node the largest
    /// `node`.
    ///
    /// ```
    /// let config = sds_proto::Config::firmware().build()?;
    /// assert!(config.max_memory().total(1) < 600_000);
    /// # Ok::<(), sds_proto::ConfigError>(())
    /// ```
    #[must_use]
    pub fn max_memory(&self) -> MaxMemory {
        MaxMemory {
            node: of_node(self),
            channel: channel::of_channel(self),
            auto_channels: if self.auto_open { self.max_auto_channels } else { 0 },
        }
    }
}

impl Config {
    /// The longest record, in bytes of key and value, that a node with this configuration has its
    /// store keep: a message that is logged or waits. See [`stored`].
    #[must_use]
    pub fn max_record_len(&self) -> u64 {
        let history = (self.max_history_entries as u64) * (named(self) as u64 + RECORD_NAMED);
        history + self.max_content_len as u64 + 2 * self.max_id_len as u64 + RECORD
    }
}

/// Bytes of ids and hints in one entry of a history.
pub(crate) const fn named(config: &Config) -> usize {
    2 * config.max_id_len + config.max_hint_len
}

/// Bytes of the largest message when it is kept.
pub(crate) fn largest_kept(config: &Config) -> usize {
    let history = config.max_history_entries.saturating_mul(named(config) + NAMED);
    let payload = history.saturating_add(config.max_content_len + 2 * config.max_id_len);
    payload.saturating_add(ENTRY + of_dependencies(config.max_history_entries))
}

/// Bytes of the largest own message.
pub(crate) fn largest_own(config: &Config) -> usize {
    let history = config.max_heads.max(config.causal_history_len);
    history * (named(config) + NAMED) + config.max_content_len + 2 * config.max_id_len + ENTRY
}

/// Bytes of the largest message that is heard.
const fn largest_heard(config: &Config) -> usize {
    let entries = config.max_history_entries + config.max_request_entries;
    on_the_wire(config, entries, config.max_filter_len)
}

/// Bytes of the largest message that is sent: an own one, somebody else's without a filter, or a
/// sync that names more than either.
fn largest_sent(config: &Config) -> usize {
    let history = config.max_heads.max(config.causal_history_len);
    let entries = history + config.max_repair_requests_burst;
    let content =
        on_the_wire(config, entries.max(config.max_history_entries), largest_filter(config));
    let named = history.max(config.max_history_entries.min(MAX_NAMED));
    let entries = named + config.max_repair_requests_burst;
    let sync = on_the_wire(config, entries, largest_filter(config)) - config.max_content_len;
    content.max(sync)
}

const fn on_the_wire(config: &Config, entries: usize, filter: usize) -> usize {
    let entries = entries.saturating_mul(named(config) + FRAMING);
    let rest = config.max_content_len.saturating_add(filter);
    entries.saturating_add(rest).saturating_add(3 * config.max_id_len + 8 * FRAMING)
}

/// Bytes of an own filter that has rolled.
pub(crate) const fn largest_filter(config: &Config) -> usize {
    (config.geometry.m_bits() / 64 * 6 / 5 + 2) as usize * 8
}

fn of_node(config: &Config) -> usize {
    let (history, requests) = (config.max_history_entries, config.max_request_entries);
    let incoming = config.max_incoming_messages + 1;
    let chain = channel::MAX_CHAIN.min(incoming);
    let sent = largest_sent(config);
    // A datagram delivers or drops what waits, acknowledges what is sent, and asks; a tick ends
    // once it has made much.
    let in_tick = config.max_content_len / size_of::<Effect>();
    let gave_way = config.max_missing.min(4 * history);
    let effects = incoming + config.max_outgoing + requests + gave_way + in_tick + 16;
    let persists = config.durability != Durability::None;
    let copied_id = if persists { config.max_id_len } else { 0 };

    let mut sum = Tally::default()
        .each(1, size_of::<Config>() + 2 * config.max_id_len)
        // The input: its bytes, decoded, and what is told of its dependencies.
        .each(1, largest_heard(config))
        .vec(4 * history + requests, size_of::<HistoryEntry>())
        .vec(3 * history, size_of::<u128>())
        .each(history, size_of::<HistoryEntry>() + SHARED + named(config))
        // The messages of a tick, the last ones in two dialects, in a buffer that doubles.
        .each(2, config.max_content_len.saturating_add(sent.saturating_mul(2)))
        .vec(effects, size_of::<Effect>() + copied_id)
        // Working through what waits, what is sent, and chains of dependencies.
        .vec(3 * incoming, size_of::<u32>())
        .vec(config.max_outgoing, 3 * size_of::<u64>())
        .vec(incoming + chain * history, size_of::<u32>())
        .tree::<u32, ()>(chain)
        .vec(MAX_RETRIEVALS + 1, size_of::<(RetrievalId, ChannelId)>())
        .vec(MAX_SENDERS, size_of::<Heard>())
        .each(MAX_RETRIEVALS + 1, config.max_id_len + SHARED);
    if config.on_lost == OnLost::Drop {
        sum = sum.vec(incoming, size_of::<Bytes>()).each(incoming, config.max_id_len);
    }
    if persists {
        sum = of_store(config, sum, effects);
    }
    sum.bytes()
}

/// The state that waits for the store: as much as the limits allow, and the additions of one input.
fn of_store(config: &Config, sum: Tally, effects: usize) -> Tally {
    let bounds = Bounds::of(config);
    let (incoming, log) = (config.max_incoming_messages + 1, config.max_log_messages + 1);
    let by_bytes = |size| config.max_held_bytes / size;
    let held = config.max_held_effects.min(by_bytes(size_of::<Effect>())) + effects;
    // For each message that is delivered or dropped, evicted, wanted or acknowledged.
    let made = 5 * incoming + 2 * log + config.max_missing + config.max_outgoing;
    let made = made + 8 * config.max_history_entries + 4 * config.max_request_entries;
    let changes = bounds.changes().min(by_bytes(size_of::<Change>())).saturating_add(made);
    let copied = config.max_id_len + SHARED;
    sum
        // Messages, ids, and ids as keys; a message may be half of its datagram.
        .each(3, config.max_held_bytes)
        .each(effects + 2 * made, copied)
        // Staged, held, and then ready.
        .vec(effects, size_of::<Effect>())
        .vec(held, size_of::<(PersistId, Effect)>())
        .vec(held, size_of::<Effect>())
        // Pending, and handed out.
        .vec(changes, size_of::<Change>())
        .each(changes, size_of::<Change>())
        .vec(changes, size_of::<(PersistId, usize, usize)>())
        .vec(changes, 1)
        .tree::<stored::Key, ()>(changes.saturating_mul(STEPS))
}

/// Adds up what collections take.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    bytes: usize,
    /// The most that one of them takes beside that while it moves to a larger allocation.
    moving: usize,
}

impl Tally {
    /// So many allocations of this size.
    pub(crate) const fn each(mut self, count: usize, size: usize) -> Self {
        self.bytes = self.bytes.saturating_add(count.saturating_mul(size));
        self
    }

    /// A `Vec`, a `VecDeque` or a slab of up to `len` elements of this size.
    pub(crate) fn vec(self, len: usize, size: usize) -> Self {
        let half = len.max(4).saturating_mul(size);
        self.each(2, half).moved(half)
    }

    /// A hash table of up to `len` elements of this size. One in which elements come and go doubles
    /// when more than half of its room is taken, an eighth of it being kept free.
    pub(crate) fn table(self, len: usize, size: usize) -> Self {
        let most = (len.saturating_mul(32) / 7).max(8);
        let half = ((most.next_power_of_two() / 4).saturating_mul(size + 1)).saturating_add(64);
        self.each(2, half).moved(half)
    }

    /// A B-tree of up to `len` elements: nodes have room for eleven and are never less than five
    /// elevenths full, but for the root.
    pub(crate) fn tree<K, V>(self, len: usize) -> Self {
        let nodes = len / 5 + 1;
        let edges = 12 * size_of::<usize>();
        self.each(nodes, node_of::<K, V>()).each(nodes / 6 + 1, edges)
    }

    /// A sorted list of up to `len` elements.
    pub(crate) fn sorted<T>(self, len: usize) -> Self {
        let runs = 1 + len.div_ceil(sorted::MERGED / 2);
        self.each(runs, sorted::RUN * size_of::<T>()).vec(runs, size_of::<VecDeque<T>>())
    }

    fn moved(mut self, bytes: usize) -> Self {
        self.moving = self.moving.max(bytes);
        self
    }

    pub(crate) const fn bytes(self) -> usize {
        self.bytes.saturating_add(self.moving)
    }
}

/// A leaf of a B-tree, with the pointer to its parent and two short numbers.
pub(crate) const fn node_of<K, V>() -> usize {
    11 * (size_of::<K>() + size_of::<V>()) + 2 * size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_others_count_where_they_may_be_opened() {
        let of = |auto_open| {
            let config = Config::firmware().max_auto_channels(3).auto_open(auto_open);
            config.build().unwrap().max_memory()
        };
        assert_eq!(of(false).total(5), of(true).total(2));
        assert_eq!(of(false).total(1), of(false).node + of(false).channel);
    }

    #[test]
    fn the_largest_settings_and_any_number_of_channels_saturate() {
        let bytes = usize::try_from(1_u64 << 40).unwrap_or(usize::MAX);
        let config = Config::builder()
            .durability(Durability::Strict)
            .on_lost(OnLost::Drop)
            .bloom_capacity(13 << 20)
            .max_log_messages(1 << 24)
            .max_log_bytes(bytes)
            .max_ids(1 << 24)
            .max_resolved_ids(1 << 24)
            .max_outgoing(1 << 24)
            .max_incoming_messages(1 << 24)
            .max_incoming_bytes(bytes)
            .max_missing(1 << 24)
            .max_answers(1 << 24)
            .max_held_effects(1 << 24)
            .max_held_bytes(bytes)
            .max_id_len(64 << 10)
            .max_hint_len(64 << 10)
            .max_history_entries(16_000)
            .max_request_entries(64 << 10)
            .max_content_len(1 << 30)
            .max_filter_len(1 << 30);
        let bound = config.build().unwrap_or_else(|error| panic!("{error}")).max_memory();
        assert!(bound.channel > 1 << 30 && bound.node > 1 << 30);
        assert_eq!(bound.total(usize::MAX), usize::MAX);
    }

    #[test]
    fn no_record_is_longer_than_the_configuration_says() {
        use crate::id::IdRef;
        use crate::snapshot::{ChangeKind, StoredIncoming};
        use crate::stored::Op;
        use crate::{LogEntry, wire::HistoryEntryRef};

        for (id, content, history) in [(1, 1, 1), (200, 70_000, 256), (20_000, 1, 1)] {
            let builder = Config::builder().max_id_len(id).max_hint_len(id).sync(false);
            let builder = builder.max_history_entries(history).max_heads(1).causal_history_len(1);
            let config = builder.max_content_len(content).build().unwrap();
            let long = alloc::vec![b'x'; id];
            let named = HistoryEntryRef {
                message_id: IdRef::new(&long),
                retrieval_hint: Some(&long),
                sender_id: IdRef::new(&long),
            };
            let named = core::iter::repeat_n(named, history);
            let entry = LogEntry::new(&long, &long, u64::MAX, named, alloc::vec![7; content]);
            let kind = ChangeKind::IncomingSet(StoredIncoming { entry, heard: None });
            let writes = stored::writes(&[Change { channel: "c".into(), kind }]);
            let [stored::Write { op: Op::Put { key, value }, .. }] = &writes[..] else {
                panic!("{writes:?}");
            };
            let (len, most) = ((key.len() + value.len()) as u64, config.max_record_len());
            assert!(len <= most, "{len} above {most}");
            // And it says little more than need be.
            assert!(most <= len + RECORD + history as u64 * RECORD_NAMED, "{len} below {most}");
        }
    }
}
