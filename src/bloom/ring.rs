//! The newest probes, oldest first.

use alloc::collections::VecDeque;

use super::Probe;

/// A queue of probes that takes 8 bytes for each while all fit, as those of 32-bit hashes do, and
/// 16 from the first that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeRing {
    Narrow(VecDeque<(u32, u32)>),
    Wide(VecDeque<(u64, u64)>),
}

impl ProbeRing {
    pub(super) const fn new() -> Self {
        Self::Narrow(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Narrow(ring) => ring.len(),
            Self::Wide(ring) => ring.len(),
        }
    }

    /// Appends a probe. There are never more than `most`, so no memory is kept for more.
    pub(super) fn push(&mut self, probe: Probe, most: usize) {
        match self {
            Self::Narrow(ring) => {
                if let (Ok(a), Ok(b)) = (probe.a.try_into(), probe.b.try_into()) {
                    reserve_one(ring, most);
                    ring.push_back((a, b));
                } else {
                    let wide = ring.iter().map(|&(a, b)| (a.into(), b.into())).collect();
                    *self = Self::Wide(wide);
                    self.push(probe, most);
                }
            }
            Self::Wide(ring) => {
                reserve_one(ring, most);
                ring.push_back((probe.a, probe.b));
            }
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Probe> {
        match self {
            Self::Narrow(ring) => ring.get(index).map(|&(a, b)| Probe::new(a.into(), b.into())),
            Self::Wide(ring) => ring.get(index).map(|&(a, b)| Probe::new(a, b)),
        }
    }

    /// Removes the `count` oldest.
    pub(super) fn drop_oldest(&mut self, count: usize) {
        let count = count.min(self.len());
        match self {
            Self::Narrow(ring) => drop(ring.drain(..count)),
            Self::Wide(ring) => drop(ring.drain(..count)),
        }
    }
}

/// Doubles like `VecDeque` itself, but not past `most`.
fn reserve_one<T>(ring: &mut VecDeque<T>, most: usize) {
    if ring.len() == ring.capacity() {
        let doubled = ring.len().saturating_mul(2).max(16);
        ring.reserve_exact(doubled.min(most).saturating_sub(ring.len()).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widens_once_a_probe_needs_it_and_keeps_the_rest() {
        let mut ring = ProbeRing::new();
        let probes = [Probe::new(1, 2), Probe::new(u32::MAX.into(), 3), Probe::new(4, 1 << 32)];
        for (n, probe) in probes.into_iter().enumerate() {
            assert!(matches!(ring, ProbeRing::Narrow(_)));
            ring.push(probe, 10);
            assert_eq!(ring.len(), n + 1);
        }
        assert!(matches!(ring, ProbeRing::Wide(_)));
        ring.drop_oldest(1);
        assert_eq!(
            [ring.get(0), ring.get(1), ring.get(2)],
            [Some(probes[1]), Some(probes[2]), None]
        );
    }

    #[test]
    fn keeps_no_memory_beyond_the_most() {
        let mut ring = ProbeRing::new();
        for n in 0..121 {
            ring.push(Probe::new(n, n), 121);
        }
        let ProbeRing::Narrow(narrow) = &ring else { panic!("all fit 32 bits") };
        assert_eq!(narrow.capacity(), 121);
    }
}
