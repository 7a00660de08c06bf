//! When an end looks whether the other one waits, and what that costs.

use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};

use crate::{
    park::wake_all,
    shared::Header,
    sync::{Fault, broken, full_fence_unless},
};

/// When an end looks whether the other one waits: [`Polled`], [`Waking`] or [`Deferred`].
#[expect(private_bounds, reason = "sealed: a mode that forgets to look loses wake-ups")]
pub trait Mode: Notify {}

impl<M: Notify> Mode for M {}

/// The modes whose ends can wait: [`Waking`] and [`Deferred`].
pub trait CanWait: Mode {}

impl CanWait for Waking {}
impl CanWait for Deferred {}

pub(crate) trait Notify {
    /// Whether a receiver looks only once in a while, so that it must be told to before it stops.
    const IN_BATCHES: bool;

    /// The sender has published.
    fn sent(&self, header: &Header);

    /// The receiver has taken a message, and comes past this position.
    fn took(&self, head: usize);

    /// The receiver has published `head`.
    fn settled(&self, header: &Header, head: usize);
}

/// Never: neither end of such a channel can wait, which the types know. No fence at all.
#[derive(Debug)]
#[non_exhaustive]
pub struct Polled;

impl Notify for Polled {
    const IN_BATCHES: bool = false;

    #[inline(always)]
    fn sent(&self, _: &Header) {}

    #[inline(always)]
    fn took(&self, _: usize) {}

    #[inline(always)]
    fn settled(&self, _: &Header, _: usize) {}
}

/// At once: a sender fences with each message or batch, a receiver once in many messages.
#[derive(Debug)]
#[non_exhaustive]
pub struct Waking;

impl Notify for Waking {
    const IN_BATCHES: bool = true;

    #[inline(always)]
    fn sent(&self, header: &Header) {
        full_fence_unless(Fault::NoPublisherFence);
        if let Some(waker) = header.waiting_receiver() {
            waker.wake();
        }
    }

    #[inline(always)]
    fn took(&self, _: usize) {}

    #[inline(always)]
    fn settled(&self, header: &Header, head: usize) {
        full_fence_unless(Fault::NoPublisherFence);
        if let Some(waker) = header.waiting_sender(head) {
            waker.wake();
        }
    }
}

/// At the next flush of the [`Wakes`] that the end was made with. Not `Send`, as they are not.
#[derive(Debug)]
pub struct Deferred {
    entry: Rc<Entry>,
    wakes: Wakes,
}

impl Deferred {
    pub(crate) fn sender(header: &Header, wakes: &Wakes) -> Self {
        Self::new(header, Side::Sender, wakes)
    }

    pub(crate) fn receiver(header: &Header, head: usize, wakes: &Wakes) -> Self {
        let this = Self::new(header, Side::Receiver, wakes);
        this.entry.head.set(head);
        this
    }

    /// The mode without an end, for one that has many.
    #[cfg(feature = "std")]
    pub(crate) fn of(wakes: &Wakes) -> Self {
        Self::with(None, Side::Receiver, wakes)
    }

    fn new(header: &Header, side: Side, wakes: &Wakes) -> Self {
        Self::with(Some(NonNull::from(header)), side, wakes)
    }

    fn with(header: Option<NonNull<Header>>, side: Side, wakes: &Wakes) -> Self {
        let header = Cell::new(header);
        let entry = Entry { header, dirty: Cell::new(false), head: Cell::new(0), side };
        Self { entry: Rc::new(entry), wakes: wakes.clone() }
    }

    #[inline(always)]
    fn mark(&self) {
        if !self.entry.dirty.replace(true) {
            self.wakes.inner.dirty.borrow_mut().push(Rc::clone(&self.entry));
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn wakes(&self) -> &Wakes {
        &self.wakes
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        // The end goes, or changes its mode, and pays by itself what it owes.
        self.entry.header.set(None);
    }
}

impl Notify for Deferred {
    const IN_BATCHES: bool = false;

    #[inline(always)]
    fn sent(&self, _: &Header) {
        self.mark();
    }

    #[inline(always)]
    fn took(&self, head: usize) {
        self.entry.head.set(head);
        self.mark();
    }

    #[inline(always)]
    fn settled(&self, _: &Header, _: usize) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sender,
    Receiver,
}

/// The wake-ups that an end in deferred mode owes to the other.
#[derive(Debug)]
struct Entry {
    /// As long as the end is alive and deferred.
    header: Cell<Option<NonNull<Header>>>,
    dirty: Cell<bool>,
    /// Of a receiver.
    head: Cell<usize>,
    side: Side,
}

impl Entry {
    /// The header, while the end is alive. `act` calls nothing that may drop the end.
    fn with<R>(&self, act: impl FnOnce(&Header) -> R) -> Option<R> {
        // SAFETY: the end clears this before it lets go of the channel, on this very thread, for
        // neither the end nor the list that we come from is `Send`.
        self.header.get().map(|header| act(unsafe { header.as_ref() }))
    }

    /// The waker of the other end, if it waits for what this one owes.
    fn waiting(&self) -> Option<Waker> {
        self.with(|header| match self.side {
            Side::Sender => header.waiting_receiver(),
            Side::Receiver => header.waiting_sender(self.head.get()),
        })?
    }
}

/// The wake-ups that the ends in [`Deferred`] mode of one thread owe.
///
/// Sends and receives only note that their channel is dirty. [`flush`](Self::flush) then issues one
/// fence for all of them and wakes whoever waits. It must run before the thread sleeps: call it
/// once per turn of the loop, or let [`turns`](Self::turns) do it. Clones share their list. An end
/// that is dropped, or made [waking](crate::Sender::waking), pays what it owes at once.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    dirty: RefCell<Vec<Rc<Entry>>>,
    /// The other half of a pair of buffers, so that a flush does not allocate.
    spare: RefCell<Vec<Rc<Entry>>>,
}

impl Wakes {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a flush would have anything to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.inner.dirty.borrow().is_empty()
    }

    /// Publishes what receivers have freed, fences once, and wakes whoever waits at the other end
    /// of a dirty channel. Without dirty channels it costs one load.
    ///
    /// If a waker panics the others are woken all the same.
    #[inline]
    pub fn flush(&self) {
        if !broken(Fault::NoFlush) {
            self.inner.flush();
        }
    }

    /// A future that polls `future` and flushes after each time: one poll is one turn. Wrapped
    /// around what a thread blocks on, it makes a forgotten flush impossible.
    pub fn turns<F: Future>(&self, future: F) -> Turns<F> {
        Turns { future, flush: FlushOnDrop(self.clone()) }
    }
}

impl Inner {
    fn flush(&self) {
        // A waker may run a task here and now, which sends: its channels are dirty again.
        while !self.dirty.borrow().is_empty() {
            let mut owed = self.dirty.replace(self.spare.take());
            for entry in &owed {
                entry.dirty.set(false);
                if entry.side == Side::Receiver {
                    entry.with(|header| entry.head.set(header.advance_head(entry.head.get())));
                }
            }
            full_fence_unless(Fault::NoFlushFence);
            wake_all(owed.drain(..).filter_map(|entry| entry.waiting()));
            self.spare.replace(owed);
        }
    }
}

/// Flushes also when the poll panics or the future is dropped.
struct FlushOnDrop(Wakes);

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Made by [`Wakes::turns`].
#[must_use = "futures do nothing unless polled"]
pub struct Turns<F> {
    future: F,
    flush: FlushOnDrop,
}

impl<F> fmt::Debug for Turns<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("wakes", &self.flush.0).finish_non_exhaustive()
    }
}

impl<F: Future> Future for Turns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is never moved out of its place, and neither `Turns` nor the field
        // after it has a drop or a method that would.
        let this = unsafe { self.get_unchecked_mut() };
        let _flush = FlushOnDrop(this.flush.0.clone());
        // SAFETY: as above.
        unsafe { Pin::new_unchecked(&mut this.future) }.poll(context)
    }
}
