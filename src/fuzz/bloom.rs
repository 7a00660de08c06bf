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
    let (capacity, rate) = (1 + source.number(2) % 2_000, 1 + source.number(2));
    let geometry = Geometry::new(capacity, rate as f64 / 65_537.0).expect("a rate within 0 and 1");
    let (hash, rolling) = match source.byte() % 3 {
        0 => (HashKind::Lip109, Rolling::Fixed),
        1 => (HashKind::NimFarm, Rolling::NimClass),
        _ => (HashKind::NimMurmur, Rolling::Sized),
    };
    foreign(&geometry, &mut source);
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

fn foreign(geometry: &Geometry, source: &mut Source<'_>) {
    let bytes = source.short();
    let refused_or_not =
        [ReceivedFilter::from_lip109(bytes, geometry), ReceivedFilter::from_nim(bytes, MAX_K)];
    refused_or_not.into_iter().flatten().for_each(look_into);
    if bytes.is_empty() {
        return;
    }
    let words: Vec<u8> = bytes.iter().copied().cycle().take(geometry.word_count() * 8).collect();
    look_into(ReceivedFilter::from_lip109(&words, geometry).expect("as many as agreed on"));

    let words: Vec<u64> =
        bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let (capacity, k, m_bits) = (source.any_number(), source.any_number(), source.any_number());
    let error_rate_millionths = source.any_number();
    let mut container = BytesMut::new();
    FilterField::Nim { words: &words, capacity, error_rate_millionths, k, m_bits }
        .encode(&mut container);
    let filter = ReceivedFilter::from_nim(&container, MAX_K);
    let is_possible = capacity < 1 << 63
        && (1..=u64::from(MAX_K)).contains(&k)
        && (1..=64 * words.len() as u64).contains(&m_bits);
    assert_eq!(filter.is_ok(), is_possible, "{filter:?}");
    filter.into_iter().for_each(look_into);
}

fn look_into(filter: ReceivedFilter<'_>) {
    let _may_be = filter.contains(Probe::new(u64::MAX, u64::MAX));
    assert!(filter.false_positive_ln() <= 0.0);
    assert!(filter.ones() <= filter.m_bits());
}

/// Returns the ids that a peer finds in a message with the filter.
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
