//! The sending end.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    CanWait, Core, Deferred, Index, Mode, SendError, TrySendError, Wakes, Waking,
    cores::{Pair, Produce},
    modes::Notify,
};

/// The sending end of a channel. Dropping it closes the channel; what was sent can still be
/// received.
///
/// `M` says when it looks whether the receiver waits, `C` which core the channel has.
pub struct Sender<T, M: Mode = Waking, C: Core = Index> {
    /// First, for a deferred mode must let go of the channel before the core does.
    pub(crate) mode: M,
    pub(crate) producer: <C as Pair>::Producer<T>,
}

impl<T, M: Mode, C: Core> Sender<T, M, C> {
    /// Sends `value` if there is room.
    ///
    /// # Errors
    /// Gives `value` back if the channel is full or closed.
    #[inline]
    pub fn try_send(&mut self, value: T) -> Result<(), TrySendError<T>> {
        if self.producer.header().is_closed() {
            return Err(TrySendError::Closed(value));
        }
        if let Err(value) = self.producer.put(value) {
            return Err(TrySendError::Full(value));
        }
        self.producer.publish();
        self.mode.sent(self.producer.header());
        Ok(())
    }

    /// Sends as many of the first `values` as there is room for, visible all at once or a part at a
    /// time, and says how many. 0 if the channel is full or [closed](Self::is_closed).
    pub fn send_slice(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        if self.producer.header().is_closed() {
            return 0;
        }
        let sent = self.producer.put_slice(values);
        if sent > 0 {
            self.producer.publish();
            self.mode.sent(self.producer.header());
        }
        sent
    }

    /// Messages in the channel, from a look at the receiver's head: there may be fewer by now.
    #[must_use]
    pub fn len(&self) -> usize {
        let header = self.producer.header();
        header.distance(header.head.load(crate::sync::Ordering::Acquire), self.producer.tail())
    }

    /// Whether the receiver has made known that it took everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the next [`try_send`](Self::try_send) would find no room, but for what is received
    /// meanwhile.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// The number of messages that the channel was made for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.producer.header().capacity()
    }

    /// Whether either end has closed the channel, or the receiver is gone.
    ///
    /// `false` after a send in [`Waking`] mode also says that the message is not too late: a
    /// receiver that closes the channel, or all of its lanes, and looks after that finds it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.producer.header().is_closed_for_good()
    }

    /// Closes the channel: nothing more can be sent, what was sent can still be received. Wakes a
    /// receiver that waits, in any mode.
    pub fn close(&mut self) {
        self.producer.header().close();
    }
}

impl<T, M: CanWait, C: Core> Sender<T, M, C> {
    /// Sends `value`, after waiting for room if there is none. A waiting sender is woken when half
    /// of the channel is free, or when the receiver [flushes](crate::Receiver::flush) or closes.
    ///
    /// Cancel-safe: the message is either sent, and then the future was ready, or still in the
    /// future, where [`SendFuture::cancel`] finds it.
    ///
    /// # Errors
    /// Gives `value` back if the channel is closed.
    pub fn send(&mut self, value: T) -> SendFuture<'_, T, M, C> {
        SendFuture { sender: self, value: Some(value), waits: false }
    }

    /// Ready when there is room for a message, which stays until it is used: nobody else sends.
    /// Until then the waker of `context` is kept, the last one only.
    ///
    /// # Errors
    /// If the channel is closed.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError<()>>> {
        for registered in [false, true] {
            if self.producer.header().is_closed() {
                return Poll::Ready(Err(SendError(())));
            }
            if self.producer.has_room() {
                return Poll::Ready(Ok(()));
            }
            if !registered {
                self.register(context);
            }
        }
        Poll::Pending
    }

    /// The caller must try once more before it returns.
    fn register(&self, context: &Context<'_>) {
        self.producer.header().register_sender(context.waker(), self.producer.tail());
    }

    /// Takes back the waker that [`poll_ready`](Self::poll_ready) left. Futures do it themselves.
    pub fn stop_waiting(&mut self) {
        self.producer.header().withdraw_sender();
    }
}

impl<T, C: Core> Sender<T, Waking, C> {
    /// The same end in deferred mode: what it sends wakes the receiver at the next flush of
    /// `wakes`, and costs no fence.
    pub fn deferred(self, wakes: &Wakes) -> Sender<T, Deferred, C> {
        let Self { producer, mode: Waking } = self;
        Sender { mode: Deferred::sender(producer.header(), wakes), producer }
    }

    /// [`send`](Self::send) that blocks the thread.
    ///
    /// # Errors
    /// Gives `value` back if the channel is closed.
    #[cfg(feature = "std")]
    pub fn send_blocking(&mut self, value: T) -> Result<(), SendError<T>> {
        crate::blocking::block_on(self.send(value))
    }
}

impl<T, C: Core> Sender<T, Deferred, C> {
    /// The same end in the mode that wakes at once: the receiver first of all, if it waits.
    pub fn waking(self) -> Sender<T, Waking, C> {
        let Self { producer, mode } = self;
        drop(mode); // first, as when the end is dropped
        let sender: Sender<T, Waking, C> = Sender { mode: Waking, producer };
        sender.mode.sent(sender.producer.header());
        sender
    }
}

impl<T, M: Mode, C: Core> fmt::Debug for Sender<T, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Made by [`Sender::send`].
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a, T, M: CanWait = Waking, C: Core = Index> {
    sender: &'a mut Sender<T, M, C>,
    /// Until it is sent.
    value: Option<T>,
    /// Whether a waker may be with the channel.
    waits: bool,
}

impl<T, M: CanWait, C: Core> SendFuture<'_, T, M, C> {
    /// Gives up, and gives the message back unless it was sent.
    #[must_use]
    pub fn cancel(mut self) -> Option<T> {
        self.value.take()
    }
}

/// The message is never pinned.
impl<T, M: CanWait, C: Core> Unpin for SendFuture<'_, T, M, C> {}

impl<T, M: CanWait, C: Core> Future for SendFuture<'_, T, M, C> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    /// If it was ready before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        for registered in [false, true] {
            let value = this.value.take().expect("a future is not polled after it was ready");
            match this.sender.try_send(value) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(TrySendError::Closed(value)) => return Poll::Ready(Err(SendError(value))),
                Err(TrySendError::Full(value)) => this.value = Some(value),
            }
            if !registered {
                this.waits = true;
                this.sender.register(context);
            }
        }
        Poll::Pending
    }
}

impl<T, M: CanWait, C: Core> Drop for SendFuture<'_, T, M, C> {
    fn drop(&mut self) {
        if self.waits {
            self.sender.producer.header().withdraw_sender();
        }
    }
}

impl<T, M: CanWait, C: Core> fmt::Debug for SendFuture<'_, T, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").field("sent", &self.value.is_none()).finish_non_exhaustive()
    }
}
