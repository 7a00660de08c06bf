//! The interface of the two cores, so that there is one way to wait and one vocabulary.

use alloc::sync::Arc;

use crate::{
    TryRecvError, index,
    park::WaitCell,
    shared::{Header, Shared},
    stream,
};

/// The way in which messages are handed over: [`Index`] or [`InSlot`].
#[expect(private_bounds, reason = "sealed: the proof covers two cores")]
pub trait Core: Pair {}

impl<C: Pair> Core for C {}

pub(crate) trait Pair: Sized {
    type Producer<T>: Produce<T>;
    type Consumer<T>: Consume<T>;

    fn pair<T>(
        capacity: usize,
        receiver_elsewhere: Option<Arc<WaitCell>>,
    ) -> (Self::Producer<T>, Self::Consumer<T>);
}

/// The core of [`channel`](crate::channel): shared counters, messages of any type side by side.
#[derive(Debug)]
#[non_exhaustive]
pub struct Index;

impl Pair for Index {
    type Producer<T> = index::Producer<T>;
    type Consumer<T> = index::Consumer<T>;

    fn pair<T>(
        capacity: usize,
        elsewhere: Option<Arc<WaitCell>>,
    ) -> (index::Producer<T>, index::Consumer<T>) {
        index::pair(Shared::pair(capacity, elsewhere))
    }
}

/// The core of [`stream`](crate::stream()): each slot says whether it holds a message, of at most
/// [`MAX_SIZE`](Self::MAX_SIZE) bytes.
#[derive(Debug)]
#[non_exhaustive]
pub struct InSlot;

impl InSlot {
    /// Bytes of the largest message. Above that [`Index`] is faster.
    pub const MAX_SIZE: usize = 16;
}

impl Pair for InSlot {
    type Producer<T> = stream::Producer<T>;
    type Consumer<T> = stream::Consumer<T>;

    fn pair<T>(
        capacity: usize,
        elsewhere: Option<Arc<WaitCell>>,
    ) -> (stream::Producer<T>, stream::Consumer<T>) {
        const { assert!(size_of::<T>() <= Self::MAX_SIZE, "`stream` is for small messages") }
        stream::pair(Shared::pair(capacity, elsewhere))
    }
}

/// The sender's side of a core.
pub(crate) trait Produce<T> {
    /// Writes a message, which the receiver sees at the next `publish` at the latest.
    fn put(&mut self, value: T) -> Result<(), T>;

    /// `put` for as many of the first `values` as there is room for.
    fn put_slice(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        values.iter().take_while(|value| self.put(**value).is_ok()).count()
    }

    /// Makes every message that was put visible.
    fn publish(&mut self);

    fn has_room(&mut self) -> bool;

    fn header(&self) -> &Header;

    /// Position of the next message.
    fn tail(&self) -> usize;
}

/// The receiver's side of a core.
pub(crate) trait Consume<T> {
    /// Whether the head is to be published once in a while rather than with each message.
    const LAZY: bool;

    /// Whether there is a message; if not, whether there may still come one.
    fn look(&mut self) -> Result<(), TryRecvError>;

    /// Takes a message; the sender may use its room after the next `publish`.
    ///
    /// # Safety
    /// There is one: `look` said so, and nothing was taken since.
    unsafe fn take(&mut self) -> T;

    /// Makes `header().head` true.
    fn publish(&mut self);

    fn peek(&mut self) -> Option<&T>;

    /// Messages that are there.
    fn len(&self) -> usize;

    fn header(&self) -> &Header;

    /// Position of the next message.
    fn head(&self) -> usize;
}

/// Closes the channel and drops what is in it, for the drop of a consumer. If a waker or the drop
/// of a message panics, the others are dropped with the channel.
pub(crate) fn close_and_empty<T>(consumer: &mut impl Consume<T>) {
    struct Publish<'a, T, C: Consume<T>>(&'a mut C, core::marker::PhantomData<T>);

    impl<T, C: Consume<T>> Drop for Publish<'_, T, C> {
        fn drop(&mut self) {
            self.0.publish();
        }
    }

    let rest = Publish(consumer, core::marker::PhantomData);
    rest.0.header().close();
    while rest.0.look().is_ok() {
        // SAFETY: there is one, as we just saw.
        drop(unsafe { rest.0.take() });
    }
}
