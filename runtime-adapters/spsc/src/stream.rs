//! Core B: whether a slot holds a message is written in the slot.
//!
//! The receiver watches the slot that it will read next, so in the steady state no line is shared
//! but the slots themselves. The sender learns of free slots from the head, which the receiver
//! publishes once in a while.

use core::mem::{ManuallyDrop, MaybeUninit};

use crate::{
    cores::{Consume, Produce, drop_what_is_there},
    shared::{Header, Room, Shared, Slot},
    sync::{AtomicUsize, Fault, Ordering, UnsafeCell, release_unless},
};

/// A message, or none, and which.
pub(crate) struct Stamped<T> {
    /// One more than the position of the message that is here, or was last. Stored by the sender
    /// only.
    sequence: AtomicUsize,
    room: Room<T>,
}

impl<T> Slot for Stamped<T> {
    type Item = T;

    fn vacant(first: usize) -> Self {
        // Not one more than any position of the first lap.
        Self { sequence: AtomicUsize::new(first), room: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    #[inline(always)]
    unsafe fn take(&self) -> T {
        // SAFETY: the caller knows that a message is here and nobody else.
        self.room.with(|room| unsafe { (*room).assume_init_read() })
    }
}

/// The sender's side.
pub(crate) struct Producer<T> {
    shared: Shared<Stamped<T>>,
    /// Position of the next message.
    tail: usize,
    /// The tail at which the channel is full, as far as the head is known.
    limit: usize,
}

/// The receiver's side.
pub(crate) struct Consumer<T> {
    shared: Shared<Stamped<T>>,
    /// Position of the next message; ahead of the shared one by less than a batch.
    head: usize,
}

pub(crate) fn pair<T>(
    shared: (Shared<Stamped<T>>, Shared<Stamped<T>>),
) -> (Producer<T>, Consumer<T>) {
    let first = shared.0.first();
    let limit = first.wrapping_add(shared.0.header().capacity());
    (Producer { shared: shared.0, tail: first, limit }, Consumer { shared: shared.1, head: first })
}

impl<T> Producer<T> {
    #[inline(always)]
    fn refresh(&mut self) -> bool {
        let header = self.shared.header();
        // Acquire: what the consumer read is out of the slots before they are written again.
        self.limit = header.head.load(Ordering::Acquire).wrapping_add(header.capacity());
        self.tail != self.limit
    }
}

impl<T> Produce<T> for Producer<T> {
    #[inline(always)]
    fn put(&mut self, value: T) -> Result<(), T> {
        if self.tail == self.limit && !self.refresh() {
            return Err(value);
        }
        let slot = self.shared.slot(self.tail);
        // SAFETY: the position is below the limit, so its slot is vacant and the consumer does not
        // touch it before the sequence says so.
        slot.room.with_mut(|room| unsafe {
            (*room).write(value);
        });
        self.tail = self.tail.wrapping_add(1);
        slot.sequence.store(self.tail, release_unless(Fault::UnorderedPublish));
        Ok(())
    }

    /// The receiver has seen the messages in their slots; this is for who asks how many there are.
    #[inline(always)]
    fn publish(&mut self) {
        self.header().tail.store(self.tail, Ordering::Release);
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        self.shared.header()
    }

    fn tail(&self) -> usize {
        self.tail
    }

    fn has_room(&mut self) -> bool {
        self.tail != self.limit || self.refresh()
    }
}

impl<T> Consumer<T> {
    #[inline(always)]
    fn is_ready(&self) -> bool {
        // Acquire: the message was written before.
        let sequence = self.shared.slot(self.head).sequence.load(Ordering::Acquire);
        sequence == self.head.wrapping_add(1)
    }
}

impl<T> Consume<T> for Consumer<T> {
    const LAZY: bool = true;

    #[inline(always)]
    fn take(&mut self) -> Option<T> {
        if !self.is_ready() {
            return None;
        }
        // SAFETY: the sequence says that the message of this position is there, and the producer
        // does not touch the slot before the head passes it.
        let value = unsafe { self.shared.slot(self.head).take() };
        self.head = self.head.wrapping_add(1);
        Some(value)
    }

    #[inline(always)]
    fn publish(&mut self) {
        self.header().head.store(self.head, release_unless(Fault::UnorderedRelease));
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        self.shared.header()
    }

    #[inline(always)]
    fn head(&self) -> usize {
        self.head
    }

    #[inline(always)]
    fn peek(&mut self) -> Option<&T> {
        if !self.is_ready() {
            return None;
        }
        // SAFETY: as in `take`; the borrow of `self` keeps the head where it is.
        Some(self.shared.slot(self.head).room.with(|room| unsafe { (*room).assume_init_ref() }))
    }
}

impl<T> Drop for Producer<T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.publish();
    }
}

impl<T> Drop for Consumer<T> {
    #[inline(always)]
    fn drop(&mut self) {
        abandon(self.shared.alias(), self.head);
    }
}

/// Closes the channel and drops what is in it. By value, lest an end's address be taken.
#[cold]
#[inline(never)]
fn abandon<T>(shared: ManuallyDrop<Shared<Stamped<T>>>, head: usize) {
    shared.header().close();
    let shared = ManuallyDrop::into_inner(shared);
    // The share is given up by the end whose alias this is.
    let mut consumer = ManuallyDrop::new(Consumer { shared, head });
    drop_what_is_there(&mut *consumer);
}
