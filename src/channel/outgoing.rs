//! The outgoing buffer: own messages nobody has acknowledged, and the evidence that somebody has
//! them.

use alloc::vec::Vec;
use core::time::Duration;

use smallvec::SmallVec;

use super::record::{DigestMap, IdDigest};
use super::slots::{Slot, Slots};
use super::view::OutgoingState;
use crate::bloom::{NO_EVIDENCE_LN, Probe, ReceivedFilter};
use crate::broken::{self, Break};
use crate::config::Config;
use crate::entry::{DeliverySeq, LogEntry};
use crate::rng::Rng;
use crate::snapshot::StoredOutgoing;
use crate::sorted::{Position, Sorted};
use crate::time::UnixMillis;
use crate::timer::TimerKey;
use crate::wire::WireDialect;

/// Senders remembered for one message, beyond which more filters add nothing.
pub(super) const MAX_WITNESSES: usize = 64;

/// The hashes of one id for the filters of each dialect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Probes {
    pub(super) lip109: Option<Probe>,
    pub(super) nim_sds: Option<Probe>,
}

impl Probes {
    pub(super) const fn get(&self, dialect: WireDialect) -> Option<Probe> {
        match dialect {
            WireDialect::Lip109 => self.lip109,
            WireDialect::NimSds => self.nim_sds,
        }
    }
}

/// An own message that is not acknowledged.
#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) entry: LogEntry,
    pub(super) digest: IdDigest,
    pub(super) probes: Probes,
    pub(super) resends: u32,
    pub(super) timer: Option<TimerKey>,
    /// Distinct senders whose filters hold it. If there is one, it is possibly acknowledged.
    pub(super) witnesses: SmallVec<[u64; 2]>,
    /// Natural logarithm of the chance that all of those filters are wrong.
    pub(super) doubt_ln: f64,
}

/// The result of looking up an own message in a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It holds the message, the first that does.
    Possibly(DeliverySeq),
    /// It holds the message as others do, and all of them may be wrong.
    Likelier(DeliverySeq),
    /// So many hold it that some peer has it.
    Acked(DeliverySeq),
}

/// Own unacknowledged messages in the order they were sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    unacked: Slots<Unacked>,
    order: Sorted<(DeliverySeq, Slot)>,
    by_digest: DigestMap<DeliverySeq>,
    first_bits: FirstBits,
    /// Bytes of the messages.
    bytes: usize,
}

/// Position of the first bit of each own message in filters of one size, the most frequent case.
#[derive(Debug, Default)]
struct FirstBits {
    /// Dialect of the hashes, and number of bits of such a filter. `None`: the set of messages has
    /// changed.
    filters: Option<(WireDialect, u64)>,
    indices: Vec<FirstBit>,
}

/// The index of the first bit, the hashes it comes from, and whose they are.
pub(super) type FirstBit = (u64, Probe, DeliverySeq, Slot);

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.unacked.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unacked.is_empty()
    }

    pub(super) fn add(
        &mut self,
        seq: DeliverySeq,
        entry: LogEntry,
        digest: IdDigest,
        probes: Probes,
    ) -> &mut Unacked {
        self.by_digest.insert(digest, seq);
        self.bytes += entry.size();
        self.first_bits.filters = None;
        let slot = self.unacked.insert(Unacked {
            entry,
            digest,
            probes,
            resends: 0,
            timer: None,
            witnesses: SmallVec::new(),
            doubt_ln: 0.0,
        });
        self.order.insert(self.place(seq), (seq, slot));
        self.unacked.get_mut(slot).expect("just inserted")
    }

    pub(super) fn remove(&mut self, seq: DeliverySeq) -> Option<Unacked> {
        let slot = self.slot(seq)?;
        self.order.remove(self.place(seq));
        let unacked = self.unacked.remove(slot)?;
        self.by_digest.remove(&unacked.digest);
        self.bytes -= unacked.entry.size();
        self.first_bits.filters = None;
        Some(unacked)
    }

    pub(super) fn get(&self, seq: DeliverySeq) -> Option<&Unacked> {
        self.unacked.get(self.slot(seq)?)
    }

    /// In the order they were sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeliverySeq, &Unacked)> {
        self.order.iter().filter_map(|(seq, slot)| Some((*seq, self.unacked.get(*slot)?)))
    }

    pub(super) fn oldest(&self) -> Option<DeliverySeq> {
        self.order.first().map(|(seq, _)| *seq)
    }

    fn place(&self, seq: DeliverySeq) -> Position {
        self.order.partition_point(|(other, _)| *other < seq)
    }

    fn slot(&self, seq: DeliverySeq) -> Option<Slot> {
        self.order.get(self.place(seq)).filter(|(found, _)| *found == seq).map(|(_, slot)| *slot)
    }

    pub(super) fn get_mut(&mut self, seq: DeliverySeq) -> Option<&mut Unacked> {
        self.unacked.get_mut(self.slot(seq)?)
    }

    pub(super) fn seq_of(&self, digest: IdDigest) -> Option<DeliverySeq> {
        self.by_digest.get(&digest).copied()
    }

    /// Looks up each own message in the filter of `witness`, in the order of publication.
    pub(super) fn review(
        &mut self,
        dialect: WireDialect,
        filter: &ReceivedFilter<'_>,
        witness: u64,
        confidence_ln: f64,
    ) -> Vec<Verdict> {
        self.prepare_first_bits(dialect, filter);
        let believed = broken::is(Break::Evidence);
        let mut verdicts = Vec::new();
        let (mut computed_ln, mut measured_ln) = (None, None);
        // Collected without a branch: one on the bits of a filter is often wrong, and waits for
        // memory.
        let mut candidates = [0; 64];
        let Self { unacked, first_bits, .. } = self;
        for chunk in first_bits.indices.chunks(candidates.len()) {
            let mut count = 0;
            for (at, (first, ..)) in chunk.iter().enumerate() {
                candidates[count] = at;
                count += usize::from(filter.bit(*first) | u8::from(believed));
            }
            let found = candidates[..count].iter().filter_map(|at| chunk.get(*at));
            for (_, _, seq, slot) in found.filter(|found| believed || filter.contains(found.1)) {
                let Some(unacked) =
                    unacked.get_mut(*slot).filter(|u| !u.witnesses.contains(&witness))
                else {
                    continue;
                };
                if unacked.witnesses.len() >= MAX_WITNESSES {
                    continue;
                }
                // Counting a filter's bits costs more than a look-up, so it waits for a hit.
                // Measuring it costs more still, and waits until it would acknowledge something,
                // but for filters so small that false positives would be many events.
                let computed = if believed {
                    -1e3
                } else {
                    *computed_ln.get_or_insert_with(|| filter.computed_ln())
                };
                let measures =
                    unacked.doubt_ln + computed <= confidence_ln || filter.m_bits() < 256;
                let chance_ln = if believed || computed > NO_EVIDENCE_LN || !measures {
                    computed
                } else {
                    *measured_ln.get_or_insert_with(|| filter.measured_ln(witness, computed))
                };
                if chance_ln > NO_EVIDENCE_LN {
                    return verdicts;
                }
                unacked.witnesses.push(witness);
                unacked.doubt_ln += chance_ln;
                verdicts.push(if unacked.doubt_ln <= confidence_ln {
                    Verdict::Acked(*seq)
                } else if unacked.witnesses.len() == 1 {
                    Verdict::Possibly(*seq)
                } else {
                    Verdict::Likelier(*seq)
                });
            }
        }
        verdicts
    }

    fn prepare_first_bits(&mut self, dialect: WireDialect, filter: &ReceivedFilter<'_>) {
        let filters = Some((dialect, filter.m_bits()));
        if self.first_bits.filters == filters {
            return;
        }
        let probes = self.order.iter().filter_map(|(seq, slot)| {
            Some((self.unacked.get(*slot)?.probes.get(dialect)?, *seq, *slot))
        });
        self.first_bits.indices.clear();
        self.first_bits
            .indices
            .extend(probes.map(|(probe, seq, slot)| (filter.first_index(probe), probe, seq, slot)));
        self.first_bits.filters = filters;
    }
}

impl Unacked {
    /// Time to the next resend: doubled with each, slower when possibly acknowledged. It is
    /// jittered by a quarter.
    fn resend_delay(&self, config: &Config) -> Duration {
        let doubled = config.resend_after.saturating_mul(1 << self.resends.min(20));
        let possibly_acked = !self.witnesses.is_empty();
        let slowdown = if possibly_acked { config.possibly_acked_slowdown } else { 1 };
        doubled.saturating_mul(slowdown).min(config.resend_max)
    }

    pub(super) fn jittered_delay(&self, config: &Config, rng: &mut Rng) -> Duration {
        rng.jitter(self.resend_delay(config))
    }

    /// Returns the time that is left of that delay after a restart. `None`: it is over.
    pub(super) fn delay_left(
        &self,
        left: Option<Duration>,
        config: &Config,
        rng: &mut Rng,
    ) -> Option<Duration> {
        let delay = self.resend_delay(config);
        let left = left.filter(|left| !left.is_zero())?;
        // The wall clock was put back: it begins anew.
        Some(if left <= delay + delay / 4 { left } else { rng.jitter(delay) })
    }

    /// Returns what is known of who has it.
    pub(super) fn state(&self) -> OutgoingState {
        let (resends, witnesses) = (self.resends, self.witnesses.len());
        if witnesses == 0 {
            OutgoingState::Unacknowledged { resends }
        } else {
            OutgoingState::PossiblyAcknowledged { resends, witnesses }
        }
    }

    /// As the store keeps it.
    pub(super) fn stored(
        &self,
        seq: DeliverySeq,
        unconfirmed: bool,
        due: Option<UnixMillis>,
    ) -> StoredOutgoing {
        StoredOutgoing {
            seq,
            resends: self.resends,
            witnesses: self.witnesses.clone(),
            doubt_ln: self.doubt_ln,
            unconfirmed,
            due,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::bloom::MAX_K;
    use crate::wire::FilterField;

    const SEQ: DeliverySeq = DeliverySeq(1);

    /// One message, of which the first bit of a filter tells.
    fn outgoing() -> Outgoing {
        let probes = Probes { lip109: None, nim_sds: Some(Probe::new(0, 0)) };
        let mut outgoing = Outgoing::default();
        outgoing.add(SEQ, LogEntry::new("m", "alice", 1, [], "x"), 7, probes);
        outgoing
    }

    /// Looks it up in a filter of 64 bits of which the first `set` ones are set.
    fn review(
        outgoing: &mut Outgoing,
        ones: u32,
        witness: u64,
        confidence_ln: f64,
    ) -> Vec<Verdict> {
        let words = &[u64::MAX >> (64 - ones)];
        let mut bytes = BytesMut::new();
        FilterField::Nim { words, capacity: 1, error_rate_millionths: 0, k: 1, m_bits: 64 }
            .encode(&mut bytes);
        let filter = ReceivedFilter::from_nim(&bytes, MAX_K).expect("sound");
        outgoing.review(WireDialect::NimSds, &filter, witness, confidence_ln)
    }

    #[test]
    fn a_filter_more_than_an_eighth_full_is_no_evidence_with_one_hash() {
        let outgoing = &mut outgoing();
        assert_eq!(review(outgoing, 64, 1, -9.0), []);
        assert_eq!(review(outgoing, 9, 1, -9.0), []);
        assert_eq!(review(outgoing, 4, 1, -9.0), [Verdict::Possibly(SEQ)]);
    }

    #[test]
    fn distinct_witnesses_add_up_until_their_doubt_is_as_small_as_asked_for() {
        // Of 64 bits 4 are set, as measured too: two witnesses do not reach so small a chance,
        // three do.
        let (outgoing, enough) = (&mut outgoing(), -6.0);
        assert_eq!(review(outgoing, 4, 1, enough), [Verdict::Possibly(SEQ)]);
        assert_eq!(review(outgoing, 4, 1, enough), [], "it said so before");
        assert_eq!(review(outgoing, 4, 2, enough), [Verdict::Likelier(SEQ)]);
        assert_eq!(review(outgoing, 4, 3, enough), [Verdict::Acked(SEQ)]);
    }

    #[test]
    fn no_more_witnesses_are_kept_than_a_store_is_told_of() {
        let outgoing = &mut outgoing();
        let heard = |witness| review(outgoing, 4, witness, -1e9).len();
        assert_eq!((0..100).map(heard).sum::<usize>(), MAX_WITNESSES);
        assert_eq!(outgoing.get(SEQ).map(|unacked| unacked.witnesses.len()), Some(MAX_WITNESSES));
    }
}
