//! A channel's own bloom filters: one for each dialect it speaks.

use super::outgoing::Probes;
use super::record::IdDigest;
use crate::bloom::{Geometry, Probe, ProbeFilter, ReceivedFilter, Rolling, RollingFilter};
use crate::config::{Config, FilterPolicy, NimFilterSize, NimHash};
use crate::hash::HashKind;
use crate::id::IdRef;
use crate::snapshot::{ChangeKind, IdRecord};
use crate::wire::{FilterField, WireDialect};

#[derive(Debug)]
pub(super) struct Filters {
    lip109: OwnFilter,
    nim_sds: OwnFilter,
    /// Natural logarithm of `ack_confidence`.
    pub(super) ack_confidence_ln: f64,
    policy: FilterPolicy,
    /// Own messages without a filter since one that had one, with [`FilterPolicy::EveryNth`].
    without: u32,
}

/// The filter of one dialect.
#[derive(Debug)]
struct OwnFilter {
    hash: HashKind,
    rolling: Rolling,
    geometry: Geometry,
    /// Whether we send filters of this dialect.
    spoken: bool,
    /// Whether we read filters of this dialect.
    heard: bool,
    held: Held,
}

/// The form in which an own filter is kept.
#[derive(Debug)]
enum Held {
    /// All of it; nothing until it holds something: an idle channel has no use for 18 KB.
    Bits(Option<RollingFilter>),
    /// The hashes that it is made of when it is sent.
    Hashes(ProbeFilter),
}

impl OwnFilter {
    fn new(config: &Config, dialect: WireDialect, hash: HashKind, rolling: Rolling) -> Self {
        Self {
            hash,
            rolling,
            geometry: config.geometry,
            spoken: config.writes_dialect(dialect),
            heard: config.accepts(dialect),
            held: Held::Bits(None),
        }
    }

    fn is_empty(&self) -> bool {
        match &self.held {
            Held::Bits(filter) => filter.is_none(),
            Held::Hashes(hashes) => hashes.is_empty(),
        }
    }

    fn insert(&mut self, probe: Option<Probe>) {
        let Some(probe) = probe.filter(|_| self.spoken) else { return };
        match &mut self.held {
            Held::Bits(filter) => filter
                .get_or_insert_with(|| RollingFilter::new(self.geometry, self.rolling))
                .insert(probe),
            Held::Hashes(filter) => filter.insert(probe),
        }
    }
}

impl Filters {
    pub(super) fn new(config: &Config) -> Self {
        let nim_hash = match config.nim_hash {
            NimHash::Farm => HashKind::NimFarm,
            NimHash::Murmur => HashKind::NimMurmur,
        };
        let nim_rolling = match config.nim_filter_size {
            NimFilterSize::SizedToContent => Rolling::Sized,
            NimFilterSize::FullSize => Rolling::NimClass,
        };
        let (lip109, nim_sds) = (WireDialect::Lip109, WireDialect::NimSds);
        let mut lip109 = OwnFilter::new(config, lip109, HashKind::Lip109, Rolling::Fixed);
        if !config.keep_lip109_filters {
            lip109.held = Held::Hashes(ProbeFilter::new(config.geometry));
        }
        Self {
            lip109,
            nim_sds: OwnFilter::new(config, nim_sds, nim_hash, nim_rolling),
            ack_confidence_ln: libm::log(config.ack_confidence),
            policy: config.filter_policy,
            // The first has one.
            without: u32::MAX,
        }
    }

    /// Whether the own message that goes out now carries a filter, in each dialect it is sent in.
    pub(super) fn take_turn(&mut self) -> bool {
        match self.policy {
            FilterPolicy::EveryMessage => true,
            FilterPolicy::EveryNth(_) if self.lip109.is_empty() && self.nim_sds.is_empty() => false,
            FilterPolicy::EveryNth(messages) => {
                self.without = self.without.saturating_add(1);
                let due = self.without >= messages;
                if due {
                    self.without = 0;
                }
                due
            }
            FilterPolicy::SyncOnly => false,
        }
    }

    /// The hashes of a received id for the filters it joins.
    pub(super) fn probes(&self, id: IdRef<'_>) -> Probes {
        self.hash(id, |filter| filter.spoken)
    }

    /// The hashes of an own id: for the filters it joins, and for those of others, in which it
    /// is looked up.
    pub(super) fn own_probes(&self, id: IdRef<'_>) -> Probes {
        self.hash(id, |filter| filter.spoken || filter.heard)
    }

    fn hash(&self, id: IdRef<'_>, wanted: impl Fn(&OwnFilter) -> bool) -> Probes {
        let probe = |filter: &OwnFilter| wanted(filter).then(|| filter.hash.probe(id.as_bytes()));
        Probes { lip109: probe(&self.lip109), nim_sds: probe(&self.nim_sds) }
    }

    /// Whether a received filter of `dialect` holds an id.
    pub(super) fn finds(
        &self,
        dialect: WireDialect,
        filter: &ReceivedFilter<'_>,
        id: IdRef<'_>,
    ) -> bool {
        let hash = match dialect {
            WireDialect::Lip109 => self.lip109.hash,
            WireDialect::NimSds => self.nim_sds.hash,
        };
        filter.contains(hash.probe(id.as_bytes()))
    }

    pub(super) fn insert(&mut self, probes: &Probes) {
        self.lip109.insert(probes.lip109);
        self.nim_sds.insert(probes.nim_sds);
    }

    /// Hands the filter on as it goes into a message of `dialect`.
    pub(super) fn with_field<R>(
        &self,
        dialect: WireDialect,
        encode: impl FnOnce(FilterField<'_>) -> R,
    ) -> R {
        let own = match dialect {
            WireDialect::Lip109 => &self.lip109,
            WireDialect::NimSds => &self.nim_sds,
        };
        encode(match (&own.held, dialect) {
            (Held::Bits(None), _) => FilterField::Absent,
            (Held::Hashes(hashes), _) if hashes.is_empty() => FilterField::Absent,
            (Held::Hashes(hashes), _) => hashes.lip109_field(),
            (Held::Bits(Some(filter)), WireDialect::Lip109) => filter.filter().lip109_field(),
            (Held::Bits(Some(filter)), WireDialect::NimSds) => filter.filter().nim_field(),
        })
    }

    /// Returns the stored record of an id, which suffices to insert it into the filters again.
    pub(super) fn id_record(
        &self,
        number: u64,
        digest: IdDigest,
        lamport: u64,
        probes: &Probes,
    ) -> ChangeKind {
        ChangeKind::Recorded(IdRecord {
            number,
            digest,
            lamport,
            lip109: probes.lip109.filter(|_| self.lip109.spoken),
            nim_sds: probes.nim_sds.filter(|_| self.nim_sds.spoken),
        })
    }
}
