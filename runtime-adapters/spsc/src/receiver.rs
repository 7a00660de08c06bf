//! The receiving end.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    CanWait, Core, Deferred, Index, Mode, RecvError, TryRecvError, Wakes, Waking,
    cores::{Consume, Pair},
    modes::Notify,
};

/// The receiving end of a channel. Dropping it closes the channel and drops what is there.
///
/// `M` says when it looks whether the sender waits, `C` which core the channel has.
pub struct Receiver<T, M: Mode = Waking, C: Core = Index> {
    /// First, for a deferred mode must let go of the channel before the core does.
    pub(crate) mode: M,
    pub(crate) consumer: <C as Pair>::Consumer<T>,
    /// The head at which the sender is to know again what is free.
    settle_at: usize,
}

impl<T, M: Mode, C: Core> Receiver<T, M, C> {
    /// Whether the sender gets to know of free room later than the receiver takes a message.
    const SETTLES: bool = <C as Pair>::Consumer::<T>::LAZY || M::IN_BATCHES;

    pub(crate) fn new(mode: M, consumer: <C as Pair>::Consumer<T>) -> Self {
        let settle_at = consumer.head().wrapping_add(consumer.header().batch());
        Self { mode, consumer, settle_at }
    }

    /// Takes the oldest message.
    ///
    /// # Errors
    /// `Empty` if there is none yet, `Closed` if there will be none.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut none = TryRecvError::Empty;
        match self.take(&mut none) {
            Some(value) => Ok(value),
            None => Err(self.found(none)),
        }
    }

    #[inline(always)]
    fn take(&mut self, none: &mut TryRecvError) -> Option<T> {
        if let Err(error) = self.consumer.look() {
            *none = error;
            return None;
        }
        // SAFETY: there is one, as we just saw.
        let value = unsafe { self.consumer.take() };
        self.took();
        Some(value)
    }

    /// After one or more messages were taken.
    #[inline(always)]
    pub(crate) fn took(&mut self) {
        if !<C as Pair>::Consumer::<T>::LAZY {
            self.consumer.publish();
        }
        let head = self.consumer.head();
        self.mode.took(head);
        if Self::SETTLES && head.wrapping_sub(self.settle_at) <= isize::MAX as usize {
            self.settle();
        }
    }

    /// Makes known to the sender what is free, and wakes it if that is half.
    #[inline(always)]
    fn settle(&mut self) {
        if !Self::SETTLES {
            return; // every message was settled as it was taken
        }
        let (head, batch) = (self.consumer.head(), self.consumer.header().batch());
        if head.wrapping_add(batch) != self.settle_at {
            self.settle_at = head.wrapping_add(batch);
            self.consumer.publish();
            self.mode.settled(self.consumer.header(), head);
        }
    }

    /// No message was found. Inlined, so that an end that is used in one place only can stay in
    /// registers.
    #[inline(always)]
    pub(crate) fn found(&mut self, none: TryRecvError) -> TryRecvError {
        self.settle();
        none
    }

    /// The oldest message, which stays where it is.
    #[inline]
    pub fn peek(&mut self) -> Option<&T> {
        self.consumer.peek()
    }

    /// Takes up to `max` messages, each when the iterator is asked for it. The sender gets to know
    /// once, when the iterator is dropped. What was not asked for stays in the channel.
    pub fn drain(&mut self, max: usize) -> Drain<'_, T, M, C> {
        Drain { receiver: self, left: max }
    }

    /// Makes known to the sender everything that is free, and wakes it if it waits, even if that is
    /// less than half. Worth a call before turning to something else for long.
    pub fn flush(&mut self)
    where
        M: CanWait,
    {
        self.settle_at = self.consumer.head().wrapping_add(self.consumer.header().batch());
        self.consumer.publish();
        self.consumer.header().wake_sender_now();
    }

    /// Messages in the channel, from a look at the sender's tail: there may be more by now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.consumer.len()
    }

    /// Whether the next [`try_recv`](Self::try_recv) would find nothing, but for what is sent
    /// meanwhile.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many messages as the capacity are there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// The number of messages that the channel was made for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.consumer.header().capacity()
    }

    /// Whether either end has closed the channel, or the sender is gone. There may still be
    /// messages.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.consumer.header().is_closed_for_good()
    }

    /// Closes the channel: nothing more can be sent, what was sent can still be received. Wakes a
    /// sender that waits, in any mode.
    pub fn close(&mut self) {
        self.consumer.header().close();
    }
}

impl<T, M: CanWait, C: Core> Receiver<T, M, C> {
    /// Takes the oldest message, after waiting for one if there is none.
    ///
    /// Cancel-safe: a message is taken only when the future is ready with it.
    ///
    /// # Errors
    /// If the channel is closed and empty.
    pub fn recv(&mut self) -> RecvFuture<'_, T, M, C> {
        RecvFuture { receiver: self, waits: false }
    }

    /// [`recv`](Self::recv) for hand-written loops: until it is ready the waker of `context` is
    /// kept, the last one only, and woken once.
    ///
    /// # Errors
    /// If the channel is closed and empty.
    #[inline]
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        match self.try_recv() {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => self.poll_again(context),
        }
    }

    fn poll_again(&mut self, context: &Context<'_>) -> Poll<Result<T, RecvError>> {
        // Once more before the waker is left, which costs more than a look.
        for registered in [false, true] {
            match self.try_recv() {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError)),
                Err(TryRecvError::Empty) => {}
            }
            if !registered {
                self.consumer.header().register_receiver(context.waker());
            }
        }
        Poll::Pending
    }

    /// Takes back the waker that [`poll_recv`](Self::poll_recv) left. Futures do it themselves.
    pub fn stop_waiting(&mut self) {
        self.consumer.header().withdraw_receiver();
    }
}

impl<T, C: Core> Receiver<T, Waking, C> {
    /// The same end in deferred mode: what it takes wakes the sender at the next flush of `wakes`,
    /// and costs no fence.
    pub fn deferred(mut self, wakes: &Wakes) -> Receiver<T, Deferred, C> {
        self.settle();
        let Self { consumer, mode: Waking, .. } = self;
        let mode = Deferred::receiver(consumer.header(), consumer.head(), wakes);
        Receiver::new(mode, consumer)
    }

    /// [`recv`](Self::recv) that blocks the thread.
    ///
    /// # Errors
    /// If the channel is closed and empty.
    #[cfg(feature = "std")]
    pub fn recv_blocking(&mut self) -> Result<T, RecvError> {
        crate::blocking::block_on(self.recv())
    }
}

impl<T, C: Core> Receiver<T, Deferred, C> {
    /// The same end in the mode that wakes at once: the sender first of all, if it waits and half
    /// of the channel is free.
    pub fn waking(self) -> Receiver<T, Waking, C> {
        let Self { consumer, mode, .. } = self;
        drop(mode); // first, as when the end is dropped
        let mut receiver: Receiver<T, Waking, C> = Receiver::new(Waking, consumer);
        receiver.consumer.publish();
        receiver.mode.settled(receiver.consumer.header(), receiver.consumer.head());
        receiver
    }
}

impl<T, M: Mode, C: Core> fmt::Debug for Receiver<T, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Made by [`Receiver::drain`].
pub struct Drain<'a, T, M: Mode = Waking, C: Core = Index> {
    receiver: &'a mut Receiver<T, M, C>,
    left: usize,
}

impl<T, M: Mode, C: Core> Iterator for Drain<'_, T, M, C> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        self.receiver.consumer.look().ok()?;
        // SAFETY: there is one, as we just saw.
        Some(unsafe { self.receiver.consumer.take() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl<T, M: Mode, C: Core> Drop for Drain<'_, T, M, C> {
    fn drop(&mut self) {
        self.receiver.took();
        self.receiver.settle();
    }
}

impl<T, M: Mode, C: Core> fmt::Debug for Drain<'_, T, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Made by [`Receiver::recv`].
#[must_use = "futures do nothing unless polled"]
pub struct RecvFuture<'a, T, M: CanWait = Waking, C: Core = Index> {
    receiver: &'a mut Receiver<T, M, C>,
    /// Whether a waker may be with the channel.
    waits: bool,
}

/// Nothing in it is pinned.
impl<T, M: CanWait, C: Core> Unpin for RecvFuture<'_, T, M, C> {}

impl<T, M: CanWait, C: Core> Future for RecvFuture<'_, T, M, C> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = self.receiver.poll_recv(context);
        self.waits |= result.is_pending();
        result
    }
}

impl<T, M: CanWait, C: Core> Drop for RecvFuture<'_, T, M, C> {
    fn drop(&mut self) {
        if self.waits {
            self.receiver.consumer.header().withdraw_receiver();
        }
    }
}

impl<T, M: CanWait, C: Core> fmt::Debug for RecvFuture<'_, T, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").field("waits", &self.waits).finish_non_exhaustive()
    }
}
