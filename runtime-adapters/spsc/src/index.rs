//! Core A: the counters are shared, the slots hold nothing but messages.
//!
//! Each side keeps its own counter and the last it saw of the other's, so that the shared ones are
//! stored at each operation but loaded only when the room or the messages known of run out.

use core::mem::{ManuallyDrop, MaybeUninit};
#[cfg(not(sds_loom))]
use core::ptr::NonNull;

use crate::{
    TryRecvError,
    cores::{Consume, Produce, close_and_empty},
    shared::{Header, Room, Shared, Slot},
    sync::{Fault, Ordering, UnsafeCell, broken, release_unless},
};

/// A message, or none: the counters tell.
#[repr(transparent)]
pub(crate) struct Cell<T>(Room<T>);

impl<T> Slot for Cell<T> {
    type Item = T;

    fn vacant(_: usize) -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    fn is_full(&self, position: usize, tail: usize) -> bool {
        position != tail
    }

    #[inline(always)]
    unsafe fn take(&self) -> T {
        // SAFETY: the caller knows that a message is here and nobody else.
        self.0.with(|room| unsafe { (*room).assume_init_read() })
    }
}

/// Two runs of slots: where, and how many.
#[cfg(not(sds_loom))]
type Runs<T> = [(NonNull<T>, usize); 2];

/// The sender's side.
pub(crate) struct Producer<T> {
    shared: Shared<Cell<T>>,
    /// Position of the next message; ahead of the shared one while a batch is being written.
    tail: usize,
    /// The tail at which the channel is full, as far as the head is known.
    limit: usize,
}

/// The receiver's side.
pub(crate) struct Consumer<T> {
    /// Given up by `abandon`.
    shared: ManuallyDrop<Shared<Cell<T>>>,
    /// Position of the next message; ahead of the shared one while a batch is being read.
    head: usize,
    /// The tail as far as it is known.
    limit: usize,
}

pub(crate) fn pair<T>(shared: (Shared<Cell<T>>, Shared<Cell<T>>)) -> (Producer<T>, Consumer<T>) {
    let first = shared.0.first();
    let limit = first.wrapping_add(shared.0.header().capacity());
    (
        Producer { shared: shared.0, tail: first, limit },
        Consumer { shared: ManuallyDrop::new(shared.1), head: first, limit: first },
    )
}

impl<T> Producer<T> {
    /// Free positions known of, after a look at the head if there are fewer than `wanted`.
    #[inline(always)]
    pub(crate) fn vacant(&mut self, wanted: usize) -> usize {
        if self.limit.wrapping_sub(self.tail) < wanted {
            self.refresh();
        }
        self.limit.wrapping_sub(self.tail)
    }

    /// The first `count` vacant slots, which the caller knows to be there.
    #[cfg(not(sds_loom))]
    pub(crate) fn room(&self, count: usize) -> Runs<MaybeUninit<T>> {
        self.shared.runs(self.tail, count).map(|(slot, len)| (slot.cast(), len))
    }

    /// Passes `count` slots that were written in place.
    #[cfg(not(sds_loom))]
    pub(crate) fn skip(&mut self, count: usize) {
        self.tail = self.tail.wrapping_add(count);
    }

    #[inline(always)]
    fn refresh(&mut self) {
        let header = self.shared.header();
        // Acquire: what the consumer read is out of the slots before they are written again.
        self.limit = header.head.load(Ordering::Acquire).wrapping_add(header.capacity());
    }
}

impl<T> Produce<T> for Producer<T> {
    #[inline(always)]
    fn put(&mut self, value: T) -> Result<(), T> {
        if self.tail == self.limit {
            self.refresh();
            if self.tail == self.limit {
                return Err(value);
            }
        }
        // SAFETY: the position is below the limit, so its slot is vacant and the consumer does not
        // touch it before the tail passes it.
        self.shared.slot(self.tail).0.with_mut(|room| unsafe {
            (*room).write(value);
        });
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    #[inline(always)]
    fn publish(&mut self) {
        let order = release_unless(Fault::UnorderedPublish);
        self.header().tail.store(self.tail, order);
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        self.shared.header()
    }

    fn tail(&self) -> usize {
        self.tail
    }

    fn put_slice(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        let count = self.vacant(values.len()).min(values.len());
        #[cfg(sds_loom)]
        values[..count].iter().for_each(|value| assert!(self.put(*value).is_ok()));
        #[cfg(not(sds_loom))]
        {
            let [first, second] = self.room(count);
            // SAFETY: vacant slots, which nobody else touches, as many as are copied.
            unsafe {
                first.0.as_ptr().cast::<T>().copy_from_nonoverlapping(values.as_ptr(), first.1);
                let rest = values.as_ptr().add(first.1);
                second.0.as_ptr().cast::<T>().copy_from_nonoverlapping(rest, second.1);
            }
            self.skip(count);
        }
        count
    }

    fn has_room(&mut self) -> bool {
        self.vacant(1) > 0
    }
}

impl<T> Consumer<T> {
    /// Messages known of, after a look at the tail if there are fewer than `wanted`. An error if
    /// that finds none.
    #[inline(always)]
    pub(crate) fn present(&mut self, wanted: usize) -> Result<usize, TryRecvError> {
        if self.limit.wrapping_sub(self.head) < wanted {
            self.refresh()?;
        }
        Ok(self.limit.wrapping_sub(self.head))
    }

    /// The first `count` messages, which the caller knows to be there.
    #[cfg(not(sds_loom))]
    pub(crate) fn messages(&self, count: usize) -> Runs<T> {
        self.shared.runs(self.head, count).map(|(slot, len)| (slot.cast(), len))
    }

    /// Passes `count` messages that need no drop.
    pub(crate) fn skip(&mut self, count: usize) {
        self.head = self.head.wrapping_add(count);
    }

    #[inline(always)]
    fn refresh(&mut self) -> Result<(), TryRecvError> {
        let header = self.shared.header();
        // Before the tail: whoever sees the close then sees what was sent before it.
        let mut closed = header.is_closed_for_good();
        // Acquire: the messages before the tail are written.
        self.limit = header.tail.load(Ordering::Acquire);
        if self.head != self.limit {
            return Ok(());
        }
        if broken(Fault::LateLookAtClose) {
            closed = header.is_closed_for_good();
        }
        Err(if closed { TryRecvError::Closed } else { TryRecvError::Empty })
    }
}

impl<T> Consume<T> for Consumer<T> {
    const LAZY: bool = false;

    #[inline(always)]
    fn look(&mut self) -> Result<(), TryRecvError> {
        if self.head == self.limit { self.refresh() } else { Ok(()) }
    }

    #[inline(always)]
    unsafe fn take(&mut self) -> T {
        // SAFETY: the caller knows that the position is below the tail, so a message is there, and
        // the producer does not touch it before the head passes it.
        let value = unsafe { self.shared.slot(self.head).take() };
        self.head = self.head.wrapping_add(1);
        value
    }

    #[inline(always)]
    fn publish(&mut self) {
        let order = release_unless(Fault::UnorderedRelease);
        self.header().head.store(self.head, order);
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        self.shared.header()
    }

    #[inline(always)]
    fn head(&self) -> usize {
        self.head
    }

    fn len(&self) -> usize {
        let header = self.header();
        header.distance(self.head, header.tail.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn peek(&mut self) -> Option<&T> {
        self.look().ok()?;
        // SAFETY: as in `take`; the borrow of `self` keeps the head where it is.
        Some(self.shared.slot(self.head).0.with(|room| unsafe { (*room).assume_init_ref() }))
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
fn abandon<T>(shared: ManuallyDrop<Shared<Cell<T>>>, head: usize) {
    let _share = ManuallyDrop::into_inner(shared.alias());
    let mut consumer = ManuallyDrop::new(Consumer { shared, head, limit: head });
    close_and_empty(&mut *consumer);
}
