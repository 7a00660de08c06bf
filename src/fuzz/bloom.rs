//! Filters of our own and of others.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::Source;
use crate::bloom::{Filter, Geometry, MAX_K, Probe, ReceivedFilter, Rolling, RollingFilter};
use crate::hash::HashKind;
use crate::wire::{self, FilterField, Limits, Outgoing, WireDialect};

/// A filter holds what was put into it, also when a peer reads it; and any bytes are refused or are
/// a filter that can be looked into.
pub fn bloom(data: &[u8]) {
    let mut source = Source(data);
    let (capacity, rate) = (source.number(2) % 2_000, source.number(2));
    let Ok(geometry) = Geometry::new(capacity, rate as f64 / 65_536.0) else { return };
    let (hash, rolling) = match source.byte() % 3 {
        0 => (HashKind::Lip109, Rolling::Fixed),
        1 => (HashKind::NimFarm, Rolling::NimClass),
        _ => (HashKind::NimMurmur, Rolling::Sized),
    };
    foreign(&geometry, source.short());
    let mut rolled = RollingFilter::new(geometry, rolling);
    let mut filter = Filter::new(geometry);
    let mut probes = Vec::new();
    while !source.is_empty() {
        let probe = hash.probe(source.short());
        filter.insert(probe);
        rolled.insert(probe);
        probes.push(probe);
    }
    assert!(probes.iter().all(|probe| filter.contains(*probe)));
    let newest = rolled.len().min(probes.len());
    let newest = &probes[probes.len() - newest..];
    assert!(newest.iter().all(|probe| rolled.contains(*probe)));
    assert!(rolled.len() <= rolled.max_capacity());
    sent(&geometry, filter.lip109_field(), WireDialect::Lip109, &probes);
    sent(rolled.filter().geometry(), rolled.filter().nim_field(), WireDialect::NimSds, newest);
}

fn foreign(geometry: &Geometry, bytes: &[u8]) {
    let filters =
        [ReceivedFilter::from_lip109(bytes, geometry), ReceivedFilter::from_nim(bytes, MAX_K)];
    for filter in filters.into_iter().flatten() {
        let _may_be = filter.contains(Probe::new(u64::MAX, u64::MAX));
        assert!(filter.false_positive_ln() <= 0.0);
        assert!(filter.ones() <= filter.word_count() as u64 * 64);
    }
}

/// What a peer finds in a message that carries the filter.
fn sent(geometry: &Geometry, filter: FilterField<'_>, dialect: WireDialect, held: &[Probe]) {
    let message = Outgoing {
        message_id: b"m",
        channel_id: b"c",
        lamport: Some(1),
        content: Some(b"x"),
        filter,
        ..Outgoing::default()
    };
    let mut buffer = BytesMut::new();
    message.encode(dialect, &mut buffer);
    let limits = Limits { max_filter_len: usize::MAX, ..Limits::default() };
    let (_, message) = wire::decode(&buffer.freeze(), &limits).expect("our own");
    let Some(bytes) = message.bloom_filter else { return };
    let filter = match dialect {
        WireDialect::Lip109 => ReceivedFilter::from_lip109(&bytes, geometry),
        WireDialect::NimSds => ReceivedFilter::from_nim(&bytes, MAX_K),
    };
    // A geometry that asks for more hash functions than peers accept is not sent to them.
    let Ok(filter) = filter else { return assert!(geometry.k() > MAX_K) };
    assert!(held.iter().all(|probe| filter.contains(*probe)));
}
