//! Core B: whether a slot holds a message is written in the slot.
//!
//! The receiver watches the slot that it will read next, so in the steady state no line is shared
//! but the slots themselves. The sender learns of free slots from the head, which the receiver
//! publishes once in a while.

use core::mem::{ManuallyDrop, MaybeUninit};

use crate::{
    TryRecvError,
    cores::{Consume, Produce, close_and_empty},
    shared::{Header, Room, Shared, Slot},
    sync::{AtomicUsize, Fault, Ordering, UnsafeCell, broken, release_unless},
};

/// A message, or none, and which.
pub(crate) struct Stamped<T> {
    /// One more than the position of the message that is here, or was last. Stored by the sender
    /// only.
    sequence: AtomicUsize,
    room: Room<T>,
}

/// Messages after which the sender makes its tail known.
const REPORT: usize = 32;
/// Distance in messages at which the receiver prefetches lines.
const AHEAD: usize = 64;

impl<T> Stamped<T> {
    /// Slots in a cache line.
    const IN_LINE: usize = 64 / size_of::<Self>();
}

impl<T> Slot for Stamped<T> {
    type Item = T;

    fn vacant(first: usize) -> Self {
        // Not one more than any position of the first lap.
        Self { sequence: AtomicUsize::new(first), room: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    fn is_full(&self, position: usize, _: usize) -> bool {
        self.sequence.load(Ordering::Relaxed) == position.wrapping_add(1)
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
    /// Given up by `abandon`.
    shared: ManuallyDrop<Shared<Stamped<T>>>,
    /// Position of the next message; ahead of the shared one by less than a batch.
    head: usize,
    /// A tail that there was.
    known: usize,
}

pub(crate) fn pair<T>(
    shared: (Shared<Stamped<T>>, Shared<Stamped<T>>),
) -> (Producer<T>, Consumer<T>) {
    let first = shared.0.first();
    let limit = first.wrapping_add(shared.0.header().capacity());
    let consumer = Consumer { shared: ManuallyDrop::new(shared.1), head: first, known: first };
    (Producer { shared: shared.0, tail: first, limit }, consumer)
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
        if self.tail.is_multiple_of(REPORT) {
            self.header().tail.store(self.tail, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Every slot says so itself.
    #[inline(always)]
    fn publish(&mut self) {}

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
    /// The position of a message further on whose line to ask for now, for lines come slowly one by
    /// one. Only of one that the sender has filled: it would have to get it back.
    #[inline(always)]
    fn line_ahead(&mut self) -> Option<usize> {
        const { assert!(REPORT.is_multiple_of(Stamped::<T>::IN_LINE)) }
        if !self.head.is_multiple_of(Stamped::<T>::IN_LINE) {
            return None;
        }
        let next = self.head.wrapping_add(AHEAD);
        if next.wrapping_sub(self.known) > isize::MAX as usize {
            return Some(next);
        }
        if self.head.is_multiple_of(REPORT) {
            self.known = self.header().tail.load(Ordering::Relaxed);
        }
        None
    }

    #[inline(always)]
    fn is_ready(&self, position: usize) -> bool {
        // Acquire: the message was written before.
        let sequence = self.shared.slot(position).sequence.load(Ordering::Acquire);
        sequence == position.wrapping_add(1)
    }
}

impl<T> Consume<T> for Consumer<T> {
    const LAZY: bool = true;

    #[inline(always)]
    fn look(&mut self) -> Result<(), TryRecvError> {
        if self.is_ready(self.head) {
            return Ok(());
        }
        if !self.header().is_closed_for_good() {
            return Err(TryRecvError::Empty);
        }
        // Once more, for a message sent between the first look and the close.
        let missed = !broken(Fault::LateLookAtClose) && self.is_ready(self.head);
        if missed { Ok(()) } else { Err(TryRecvError::Closed) }
    }

    #[inline(always)]
    unsafe fn take(&mut self) -> T {
        if let Some(position) = self.line_ahead() {
            self.shared.prefetch(position);
        }
        let slot = self.shared.slot(self.head);
        // SAFETY: the caller knows that the sequence says that the message of this position is
        // there, and the producer does not touch the slot before the head passes it.
        let value = unsafe { slot.take() };
        self.head = self.head.wrapping_add(1);
        value
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

    /// The slots that are ready are the first ones.
    fn len(&self) -> usize {
        let (mut ready, mut end) = (0, self.header().capacity());
        while ready < end {
            let middle = ready + (end - ready) / 2;
            if self.is_ready(self.head.wrapping_add(middle)) {
                ready = middle + 1;
            } else {
                end = middle;
            }
        }
        ready
    }

    #[inline(always)]
    fn peek(&mut self) -> Option<&T> {
        self.look().ok()?;
        // SAFETY: as in `take`; the borrow of `self` keeps the head where it is.
        Some(self.shared.slot(self.head).room.with(|room| unsafe { (*room).assume_init_ref() }))
    }
}

impl<T> Drop for Consumer<T> {
    #[inline(always)]
    fn drop(&mut self) {
        abandon(self.shared.alias(), self.head);
    }
}

/// Closes the channel, drops what is in it and gives up the share. By value, lest an end's address
/// be taken.
#[cold]
#[inline(never)]
fn abandon<T>(shared: ManuallyDrop<Shared<Stamped<T>>>, head: usize) {
    let _share = ManuallyDrop::into_inner(shared.alias());
    let mut consumer = ManuallyDrop::new(Consumer { shared, head, known: head });
    close_and_empty(&mut *consumer);
}

#[cfg(all(test, not(sds_loom)))]
mod tests {
    use super::*;

    /// Takes `count` messages, and says at how many of them a line was asked for, none of them
    /// beyond what was sent.
    fn lines_asked_for(
        consumer: &mut Consumer<u64>,
        producer: &Producer<u64>,
        count: usize,
    ) -> usize {
        let mut asked = 0;
        for _ in 0..count {
            if let Some(position) = consumer.line_ahead() {
                let sent = position.wrapping_sub(producer.tail) > isize::MAX as usize;
                assert!(sent, "the sender is still to write there");
                asked += 1;
            }
            assert_eq!(consumer.look(), Ok(()));
            // SAFETY: there is one, as we just saw.
            unsafe { consumer.take() };
        }
        asked
    }

    #[test]
    fn lines_are_fetched_ahead_only_where_messages_are() {
        let (mut producer, mut consumer) = pair(Shared::pair(512, None));
        assert!((0..512).all(|i| producer.put(i).is_ok()));
        // All but the first ones, at the first of which it looked how far the sender is.
        let lines = (512 - AHEAD) / Stamped::<u64>::IN_LINE - 1;
        assert_eq!(lines_asked_for(&mut consumer, &producer, 512), lines);
        consumer.publish();
        for _ in 0..10 {
            assert!((0..AHEAD as u64).all(|i| producer.put(i).is_ok()));
            assert_eq!(lines_asked_for(&mut consumer, &producer, AHEAD), 0);
            consumer.publish();
        }
    }
}
