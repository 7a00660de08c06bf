//! A keyed hasher for look-up tables, so that a peer cannot aim collisions at them.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// Makes SipHash-1-3 hashers with one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedState([u64; 2]);

impl KeyedState {
    pub(crate) const fn new(key: [u64; 2]) -> Self {
        Self(key)
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}
