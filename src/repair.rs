//! When to ask for a missing message, and when to answer.
//!
//! Every participant computes its own delays from ids alone, so that, without any agreement, few
//! ask or answer at the same time and the rest hear it and keep quiet.

use crate::hash::{HashKind, farm_hash64_concat, murmur3_32_concat, sha256_prefix};

/// The repair arithmetic that a group uses. All members must use the same.
///
/// All times are milliseconds. Times and numbers of groups are signed because nim-sds's are, and
/// every value gives a result: a delay never is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RepairTiming {
    hash: HashKind,
}

impl RepairTiming {
    /// The arithmetic that goes with these hash functions: LIP-109's as `@waku/sds` does it, or
    /// that of a 64-bit build of nim-sds.
    #[must_use]
    pub const fn new(hash: HashKind) -> Self {
        Self { hash }
    }

    /// Returns the delay before `me` requests message `id`: T_req.
    ///
    /// At least `t_min_ms`, and below `t_max_ms` if that is larger.
    #[must_use]
    pub fn t_req(self, me: &[u8], id: &[u8], t_min_ms: i64, t_max_ms: i64) -> u64 {
        let (min, max) = (i128::from(t_min_ms), i128::from(t_max_ms));
        let spread =
            if max > min { i128::from(self.magnitude(&[me, id])) % (max - min) } else { 0 };
        // Below i64::MAX, being below the larger of the two times.
        u64::try_from(min + spread).unwrap_or(0)
    }

    /// Returns the delay before `me` answers a request for message `id` of `sender`: T_resp.
    ///
    /// Zero for the sender itself, and below `t_max_ms` for others.
    #[must_use]
    pub fn t_resp(self, me: &[u8], sender: &[u8], id: &[u8], t_max_ms: i64) -> u64 {
        let Ok(max @ 1..) = u64::try_from(t_max_ms) else {
            return 0;
        };
        let distance = self.hash(&[me]) ^ self.hash(&[sender]);
        let product = match self.hash {
            HashKind::Lip109 => u128::from(distance) * u128::from(self.hash(&[id])),
            HashKind::NimFarm | HashKind::NimMurmur => {
                let distance = distance.cast_signed().unsigned_abs();
                u128::from(distance % max) * u128::from(self.magnitude(&[id]) % max)
            }
        };
        // Below `max`, which has 64 bits.
        (product % u128::from(max)) as u64
    }

    /// Whether `me` is among those that answer requests for message `id` of `sender`, if the
    /// participants divide into `groups`. One group or fewer takes in all.
    ///
    /// In the LIP-109 arithmetic nobody answers for an unknown sender, whose id is empty. In that
    /// of nim-sds an empty id is an id.
    #[must_use]
    pub fn in_response_group(self, me: &[u8], sender: &[u8], id: &[u8], groups: i64) -> bool {
        if self.hash == HashKind::Lip109 && sender.is_empty() {
            return false;
        }
        let Ok(groups @ 2..) = u64::try_from(groups) else {
            return true;
        };
        self.magnitude(&[me, id]) % groups == self.magnitude(&[sender, id]) % groups
    }

    /// Returns the delay before `me` requests message `id` when the answer to an earlier request
    /// referenced it. It is below `t_min_ms`, or each gap of a chain would take
    /// [`t_req`](Self::t_req).
    #[must_use]
    pub fn chain_delay(self, me: &[u8], id: &[u8], t_min_ms: i64) -> u64 {
        match u64::try_from(t_min_ms) {
            Ok(min @ 1..) => self.magnitude(&[me, id]) % min,
            _ => 0,
        }
    }

    /// The hash of the concatenated `parts`, bit for bit.
    fn hash(self, parts: &[&[u8]]) -> u64 {
        match self.hash {
            HashKind::Lip109 => sha256_prefix(parts),
            HashKind::NimFarm => farm_hash64_concat(parts),
            HashKind::NimMurmur => murmur3_32_concat(parts).into(),
        }
    }

    /// The hash as the number that delays and groups are computed from. In nim-sds it is signed,
    /// and the absolute value counts.
    fn magnitude(self, parts: &[&[u8]]) -> u64 {
        let hash = self.hash(parts);
        match self.hash {
            HashKind::Lip109 => hash,
            HashKind::NimFarm | HashKind::NimMurmur => hash.cast_signed().unsigned_abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [RepairTiming; 3] = [
        RepairTiming::new(HashKind::Lip109),
        RepairTiming::new(HashKind::NimFarm),
        RepairTiming::new(HashKind::NimMurmur),
    ];
    const TIMES: [i64; 9] = [i64::MIN, -5, -1, 0, 1, 2, 30_000, 300_000, i64::MAX];

    #[test]
    fn delays_keep_within_their_bounds() {
        for arithmetic in ALL {
            for (min, max) in TIMES.into_iter().flat_map(|min| TIMES.map(|max| (min, max))) {
                let delay = arithmetic.t_req(b"me", b"id", min, max);
                let lowest = u64::try_from(min).unwrap_or(0);
                assert!(delay >= lowest);
                assert!(delay <= lowest.max(u64::try_from(max).unwrap_or(0)), "{min} {max}");
            }
            for max in TIMES {
                let bound = u64::try_from(max).unwrap_or(0);
                let (answer, chained) = (
                    arithmetic.t_resp(b"me", b"you", b"id", max),
                    arithmetic.chain_delay(b"me", b"id", max),
                );
                assert!(answer < bound || answer == 0);
                assert!(chained < bound || chained == 0);
            }
        }
    }

    #[test]
    fn the_sender_answers_at_once_and_always() {
        for arithmetic in ALL {
            assert_eq!(arithmetic.t_resp(b"me", b"me", b"id", 300_000), 0);
            for groups in TIMES {
                assert!(arithmetic.in_response_group(b"me", b"me", b"id", groups));
            }
        }
    }

    #[test]
    fn an_unknown_sender_has_no_group_in_lip109() {
        let [lip109, nim, _] = ALL;
        for groups in TIMES {
            assert!(!lip109.in_response_group(b"me", b"", b"id", groups));
        }
        assert!(nim.in_response_group(b"me", b"", b"id", 1));
    }

    #[test]
    fn groups_divide_the_participants() {
        for arithmetic in ALL {
            let members = (0..1000_u32)
                .filter(|n| arithmetic.in_response_group(&n.to_le_bytes(), b"you", b"id", 4));
            assert!((180..320).contains(&members.count()));
        }
    }
}
