//! Maximum memory of a channel.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use super::answers::Answer;
use super::incoming::Waiting;
use super::log::{HeadKey, Logged, MAX_PENDING_ACKS, OrderKey};
use super::outgoing::{FirstBit, MAX_WITNESSES, Unacked};
use super::record::{IdDigest, Known, Recorded};
use super::slots::Slot;
use super::sync::RECENT_SYNCS;
use super::wanted::MissingDependency;
use super::{Channel, Timer, recent_ephemerals};
use crate::config::{Config, Dialect, NimHash};
use crate::entry::DeliverySeq;
use crate::id::ChannelId;
use crate::memory::{
    ENTRY, SHARED, Tally, WAITER, largest_filter, largest_kept, largest_own, named, node_of,
};
use crate::stored::Key;
use crate::time::Instant;
use crate::timer::TimerKey;
use crate::wire::WireDialect;

/// Maximum overhead of a slab for an element.
const VACANCY: usize = size_of::<usize>();

/// The most bytes that a channel with this configuration takes.
pub(crate) fn of_channel(config: &Config) -> usize {
    let sum = Tally::default()
        .each(1, size_of::<Channel>() + config.max_id_len + SHARED)
        // Its places in the maps of the node, of which a quarter of a node each is more than
        // enough.
        .each(1, node_of::<ChannelId, [usize; 6]>() / 4 + node_of::<(Instant, ChannelId), ()>() / 4)
        // The changes that are assembled when they are handed out.
        .each(1, node_of::<Key, ()>() + 64 * size_of::<usize>())
        .vec(RECENT_SYNCS, size_of::<IdDigest>())
        .vec(recent_ephemerals(config), size_of::<IdDigest>());
    let parts = [ids, log, incoming, outgoing, wanted, answers, filters, timers];
    parts.into_iter().fold(sum, |sum, part| part(config, sum)).bytes()
}

fn ids(config: &Config, sum: Tally) -> Tally {
    let (ids, met) = (config.max_ids + 1, config.max_resolved_ids + 1);
    let here = config.max_log_messages + 1 + config.max_incoming_messages + 1 + config.max_missing;
    sum.table(ids + here + 2 * met, size_of::<Known>())
        .vec(ids, size_of::<Recorded>())
        .vec(met, size_of::<(u64, IdDigest)>())
        .vec(met, size_of::<IdDigest>())
}

fn log(config: &Config, sum: Tally) -> Tally {
    let count = config.max_log_messages + 1;
    let largest = largest_kept(config);
    // One body stays, however large, until the next has come.
    sum.each(1, config.max_log_bytes.max(largest))
        .each(1, largest)
        .each(count, ENTRY + config.max_hint_len + SHARED)
        .vec(count, size_of::<Logged>() + VACANCY)
        .sorted::<OrderKey>(count)
        .tree::<HeadKey, ()>(count)
        .vec(count, size_of::<(DeliverySeq, Slot)>())
        .vec(count.min(MAX_PENDING_ACKS), size_of::<Slot>())
        .tree::<DeliverySeq, Slot>(count.min(config.max_outgoing + config.max_answers))
}

fn incoming(config: &Config, sum: Tally) -> Tally {
    let count = config.max_incoming_messages + 1;
    sum.each(1, config.max_incoming_bytes)
        .each(1, largest_kept(config))
        .each(count, ENTRY + size_of::<Waiting>() + 2 * WAITER)
        .vec(count, size_of::<Box<Waiting>>() + VACANCY)
        .vec(2 * count + 65, size_of::<(u64, Slot)>())
}

/// Own messages that the log had to let go of are still here.
fn outgoing(config: &Config, sum: Tally) -> Tally {
    let count = config.max_outgoing;
    sum.each(1, config.max_log_bytes)
        .each(1, largest_own(config))
        .each(count, ENTRY + MAX_WITNESSES * size_of::<u64>())
        .vec(count, size_of::<Unacked>() + VACANCY)
        .sorted::<(DeliverySeq, Slot)>(count)
        .table(count, size_of::<(IdDigest, DeliverySeq)>())
        .vec(count, size_of::<FirstBit>())
}

fn wanted(config: &Config, sum: Tally) -> Tally {
    let count = config.max_missing;
    sum.vec(count, size_of::<MissingDependency>() + VACANCY)
        .each(count, named(config) + SHARED)
        .tree::<(Instant, Slot), ()>(count)
        // At worst each was named by somebody else.
        .tree::<u64, BTreeSet<Slot>>(count)
        .each(count, node_of::<Slot, ()>())
        .tree::<(usize, u64), ()>(count)
}

fn answers(config: &Config, sum: Tally) -> Tally {
    let count = config.max_answers;
    sum.vec(count, size_of::<Answer>() + VACANCY)
        .each(count, config.max_id_len + SHARED)
        .table(count, size_of::<(IdDigest, Slot)>())
}

/// Of each dialect spoken, the hashes of what is in the filter; if it is kept, it and the next one.
fn filters(config: &Config, sum: Tally) -> Tally {
    let nim = match config.nim_hash {
        NimHash::Farm => size_of::<u128>(),
        NimHash::Murmur => size_of::<u64>(),
    };
    let probes = config.bloom_capacity as usize * 6 / 5 + 1;
    let dialects = [(WireDialect::Lip109, size_of::<u64>()), (WireDialect::NimSds, nim)];
    let spoken = dialects.into_iter().filter(|(dialect, _)| config.writes_dialect(*dialect));
    spoken.fold(sum, |sum, (dialect, probe)| {
        let is_kept = dialect == WireDialect::NimSds || config.keep_lip109_filters;
        sum.each(if is_kept { 2 } else { 0 }, largest_filter(config)).vec(probes, probe)
    })
}

fn timers(config: &Config, sum: Tally) -> Tally {
    let bridged = match config.dialect {
        Dialect::Bridge => config.max_log_messages + 1,
        Dialect::Lip109 | Dialect::NimSds | Dialect::Mirror { .. } => 0,
    };
    let count = config.max_missing + config.max_answers + config.max_outgoing + bridged + 2;
    sum.sorted::<(TimerKey, Timer)>(count)
}
