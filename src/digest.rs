//! Digests by which two participants compare their logs.

use core::fmt;
use core::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::entry::LogEntry;

/// Digest of the (Lamport time, id) of every entry a log ever held, in any order of arrival and
/// independent of eviction.
///
/// Two logs with equal digests held the same entries. It is a sum of 128-bit hashes under a fixed
/// key: it detects accidents, not collusion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct LogDigest(u128);

impl LogDigest {
    /// Adds one entry.
    pub fn add(&mut self, lamport: u64, message_id: impl AsRef<[u8]>) {
        let mut hasher = SipHasher13::new_with_keys(0x5344_5300, 0x6c6f_6700);
        hasher.write_u64(lamport.to_le());
        hasher.write(message_id.as_ref());
        self.0 = self.0.wrapping_add(hasher.finish128().as_u128());
    }

    /// The digest as bytes, most significant first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The digest of these bytes, as [`to_bytes`](Self::to_bytes) gave them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Thirty-two hexadecimal digits.
impl fmt::Display for LogDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// SHA-256 over the retained entries of a log in order: Lamport time, id, sender and content,
/// each byte string behind its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a LogEntry>) -> Self {
        let mut sha = Sha256::new();
        for entry in entries {
            sha.update(entry.lamport().to_be_bytes());
            let parts =
                [entry.message_id().as_bytes(), entry.sender_id().as_bytes(), entry.content()];
            for part in parts {
                sha.update((part.len() as u64).to_be_bytes());
                sha.update(part);
            }
        }
        Self(sha.finalize().into())
    }

    /// The digest as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Sixty-four hexadecimal digits.
impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_digest_does_not_depend_on_order_but_on_every_entry() {
        let digest = |entries: &[(u64, &str)]| {
            let mut digest = LogDigest::default();
            entries.iter().for_each(|(lamport, id)| digest.add(*lamport, id));
            digest
        };
        assert_eq!(digest(&[(1, "a"), (2, "b")]), digest(&[(2, "b"), (1, "a")]));
        assert_ne!(digest(&[(1, "a")]), digest(&[(2, "a")]));
        assert_ne!(digest(&[(1, "a")]), digest(&[(1, "b")]));
        assert_eq!(LogDigest::from_bytes(digest(&[(1, "a")]).to_bytes()), digest(&[(1, "a")]));
    }
}
