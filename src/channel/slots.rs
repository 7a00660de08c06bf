//! A slab with small, typed keys.

use slab::Slab;

/// Values that an empty collection keeps memory for: what a burst took is given back.
pub(super) const KEPT: usize = 64;

/// Key of something in a [`Slots`]. It may be used again once its value was removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Slot(u32);

#[derive(Debug)]
pub(super) struct Slots<T>(Slab<T>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Slab::new())
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> Slot {
        let key = self.0.insert(value);
        Slot(u32::try_from(key).expect("every collection is bounded by 2^24 in Config"))
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.0.get(slot.0 as usize)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.0.get_mut(slot.0 as usize)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let value = self.0.try_remove(slot.0 as usize);
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = Slab::new();
        }
        value
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Values by slot, which depends on nothing but the order of insertions and removals.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        #[expect(clippy::cast_possible_truncation, reason = "slots were made from u32")]
        self.0.iter().map(|(key, value)| (Slot(key as u32), value))
    }
}
