//! Properties of the filters that hold for all ids, sizes and bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use sds_proto::bloom::{Filter, Geometry, MAX_K, Probe, ReceivedFilter, Rolling, RollingFilter};
use sds_proto::hash::HashKind;

fn kinds() -> impl Strategy<Value = HashKind> {
    prop::sample::select(vec![HashKind::Lip109, HashKind::NimFarm, HashKind::NimMurmur])
}

fn rollings() -> impl Strategy<Value = Rolling> {
    prop::sample::select(vec![Rolling::NimClass, Rolling::Fixed, Rolling::Sized])
}

fn geometries() -> impl Strategy<Value = Geometry> {
    (1..500_u64, 1e-9..0.99)
        .prop_map(|(capacity, rate)| Geometry::new(capacity, rate).expect("in range"))
}

fn probes() -> impl Strategy<Value = Probe> {
    let edges = prop::sample::select(vec![0, 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX]);
    let hash = prop_oneof![any::<u64>(), edges];
    (hash.clone(), hash).prop_map(|(a, b)| Probe::new(a, b))
}

/// A container of nim-sds whose numbers are as wild as may be.
fn containers() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0..200_u64, any::<u64>()];
    (vec(any::<u8>(), 0..40), vec(number, 4)).prop_map(|(words, numbers)| {
        let mut bytes = vec![0x0a, words.len() as u8];
        bytes.extend(words);
        for (tag, mut number) in [0x10, 0x18, 0x20, 0x28].into_iter().zip(numbers) {
            bytes.push(tag);
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_was_inserted_is_found(
        geometry in geometries(),
        kind in kinds(),
        ids in vec(vec(any::<u8>(), 0..200), 0..100),
    ) {
        let mut filter = Filter::new(geometry);
        ids.iter().for_each(|id| filter.insert(kind.probe(id)));
        let bytes: Vec<u8> = filter.words().iter().flat_map(|word| word.to_be_bytes()).collect();
        let received = ReceivedFilter::from_lip109(&bytes, &geometry).expect("the same size");
        for id in &ids {
            prop_assert!(filter.contains(kind.probe(id)));
            prop_assert!(received.contains(kind.probe(id)));
        }
        prop_assert_eq!(received.ones(), filter.ones());
    }

    #[test]
    fn the_newest_are_found_however_it_rolls(
        geometry in geometries(),
        rolling in rollings(),
        all in vec(probes(), 0..1500),
    ) {
        let mut filter = RollingFilter::new(geometry, rolling);
        for (n, &probe) in all.iter().enumerate() {
            filter.insert(probe);
            prop_assert!(filter.len() <= filter.max_capacity());
            prop_assert!(filter.len() >= filter.min_capacity().min(n + 1));
        }
        let newest = &all[all.len() - filter.len()..];
        prop_assert!(newest.iter().all(|&probe| filter.contains(probe)));
        let restored = RollingFilter::from_probes(geometry, rolling, all);
        prop_assert_eq!(restored.filter(), filter.filter());
    }

    #[test]
    fn received_filters_have_no_claim_to_panic_with(
        container in prop_oneof![containers(), vec(any::<u8>(), 0..100)],
        probes in vec(probes(), 1..20),
    ) {
        let Ok(filter) = ReceivedFilter::from_nim(&container, MAX_K) else {
            return Ok(());
        };
        let hits = probes.iter().filter(|&&probe| filter.contains(probe)).count();
        prop_assert!(filter.ones() <= filter.m_bits());
        let chance = filter.false_positive_ln();
        prop_assert!(chance <= 0.0);
        prop_assert!(hits == 0 || chance > f64::NEG_INFINITY);
        prop_assert!(hits == probes.len() || chance < 0.0);
    }

    #[test]
    fn received_words_of_any_content_are_looked_up(
        words in vec(any::<u8>(), 8..80),
        m_bits in 1..127_u8,
        probe in probes(),
    ) {
        let words = &words[..words.len() / 8 * 8];
        let mut container = vec![0x0a, words.len() as u8];
        container.extend_from_slice(words);
        container.extend_from_slice(&[0x10, 1, 0x18, 1, 0x20, 10, 0x28, m_bits]);
        let received = ReceivedFilter::from_nim(&container, MAX_K);
        prop_assert_eq!(received.is_ok(), usize::from(m_bits) <= words.len() * 8);
        if let Ok(filter) = received {
            let m = core::num::NonZeroU64::new(m_bits.into()).expect("at least 1");
            let mut bits = probe.indices(m).take(10);
            let expected = bits.all(|bit| words[bit as usize / 8] >> (bit % 8) & 1 == 1);
            prop_assert_eq!(filter.contains(probe), expected);
        }
    }
}
