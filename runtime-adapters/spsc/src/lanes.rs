//! Many senders, one receiver: a channel for each sender, which the receiver visits in turn.
//!
//! Nothing here is a new lock-free algorithm. A lane is a [`channel`](crate::channel) whose
//! receiver waits in a place that all lanes share. New lanes are handed over under a mutex, away
//! from the messages.

use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    CanWait, Deferred, Index, Receiver, RecvError, SendError, Sender, TryRecvError, Wakes, Waking,
    cores::{Consume, Pair},
    park::{WaitCell, wake_all},
    sync::{AtomicBool, Fault, Mutex, MutexGuard, Ordering, broken, fence, full_fence_unless},
};

/// Messages taken from one lane before the next has its turn, unless
/// [`LaneReceiver::set_budget`] says otherwise.
pub const DEFAULT_BUDGET: usize = 32;

/// A receiver without lanes yet, and the [`Connector`] that makes lanes of exactly `capacity`
/// messages each.
///
/// ```
/// let (connector, mut receiver) = sds_spsc::lanes(64);
/// let senders = std::thread::scope(|scope| {
///     for id in 0..4 {
///         let connector = connector.clone();
///         scope.spawn(move || {
///             let mut lane = connector.connect().expect("the receiver is alive");
///             lane.send_blocking(id).expect("the receiver is alive");
///         });
///     }
/// });
/// drop(connector);
/// let mut sum = 0;
/// while let Ok(id) = receiver.recv_blocking() {
///     sum += id;
/// }
/// assert_eq!(sum, 0 + 1 + 2 + 3);
/// ```
///
/// # Panics
/// If `capacity` is 0.
#[must_use]
pub fn lanes<T>(capacity: usize) -> (Connector<T>, LaneReceiver<T>) {
    assert!(capacity > 0, "a lane holds at least one message");
    let registry = Registry { added: Vec::new(), connectors: 1, closed: false };
    let shared = Arc::new(Shared {
        waits: Arc::new(WaitCell::new()),
        changed: AtomicBool::new(false),
        registry: Mutex::new(registry),
        capacity,
    });
    let receiver = LaneReceiver {
        lanes: Vec::new(),
        turn: 0,
        taken: 0,
        budget: DEFAULT_BUDGET,
        no_more: false,
        mode: Waking,
        shared: Shares(Arc::clone(&shared)),
    };
    (Connector { shared }, receiver)
}

struct Shared<T> {
    /// The cell on which the receiver waits for any lane and for new ones.
    waits: Arc<WaitCell>,
    /// Whether the registry has something for the receiver.
    changed: AtomicBool,
    registry: Mutex<Registry<T>>,
    capacity: usize,
}

struct Registry<T> {
    /// Lanes that the receiver does not know yet.
    added: Vec<Receiver<T>>,
    connectors: usize,
    /// By the receiver.
    closed: bool,
}

impl<T> Shared<T> {
    /// A panic under this lock can only be one of the allocator, which leaves the registry whole.
    fn registry(&self) -> MutexGuard<'_, Registry<T>> {
        self.registry.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// After a change of the registry.
    fn announce(&self) {
        if broken(Fault::SilentLane) {
            return;
        }
        self.changed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.waits.wake();
    }

    fn close(&self) -> Vec<Receiver<T>> {
        let mut registry = self.registry();
        registry.closed = true;
        mem::take(&mut registry.added)
    }
}

/// Makes lanes. When the last clone and the last lane are gone the receiver finds the lanes closed.
pub struct Connector<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Connector<T> {
    /// A new lane. It takes a lock and allocates the lane; sending on it does neither.
    ///
    /// # Errors
    /// If the receiver has closed or is gone.
    ///
    /// # Panics
    /// If the capacity is more than fits into memory.
    pub fn connect(&self) -> Result<Sender<T>, SendError<()>> {
        let elsewhere = Arc::clone(&self.shared.waits);
        let (producer, consumer) = Index::pair(self.shared.capacity, Some(elsewhere));
        let (sender, receiver) =
            (Sender { mode: Waking, producer }, Receiver::new(Waking, consumer));
        {
            let mut registry = self.shared.registry();
            if registry.closed {
                return Err(SendError(()));
            }
            registry.added.push(receiver);
        }
        self.shared.announce();
        Ok(sender)
    }

    /// Whether the receiver has closed or is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.registry().closed
    }
}

impl<T> Clone for Connector<T> {
    fn clone(&self) -> Self {
        self.shared.registry().connectors += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Connector<T> {
    fn drop(&mut self) {
        let last = {
            let mut registry = self.shared.registry();
            registry.connectors -= 1;
            registry.connectors == 0
        };
        if last {
            self.shared.announce();
        }
    }
}

impl<T> fmt::Debug for Connector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

/// The receiving end of all lanes. Dropping it closes them and drops what is there.
///
/// Messages of one lane come in the order they were sent; each lane has its turn of at most a
/// budget of messages. A look that finds nothing visits every lane.
pub struct LaneReceiver<T, M: CanWait = Waking> {
    lanes: Vec<Receiver<T, M>>,
    /// The lane whose turn it is, unless it is past the end.
    turn: usize,
    /// Number of messages that it has given in this turn.
    taken: usize,
    budget: usize,
    /// Whether every connector is gone.
    no_more: bool,
    mode: M,
    shared: Shares<T>,
}

/// The receiver's share: without it no lane is made or kept.
struct Shares<T>(Arc<Shared<T>>);

impl<T> Drop for Shares<T> {
    fn drop(&mut self) {
        // First, for the waker of a sender may panic.
        self.0.waits.withdraw();
        drop(self.0.close());
    }
}

/// Conversion of a lane that was made to wake at once into another mode.
pub(crate) trait Adopt: CanWait + Sized {
    fn adopt<T>(&self, lane: Receiver<T>) -> Receiver<T, Self>;
}

impl Adopt for Waking {
    fn adopt<T>(&self, lane: Receiver<T>) -> Receiver<T> {
        lane
    }
}

impl Adopt for Deferred {
    fn adopt<T>(&self, lane: Receiver<T>) -> Receiver<T, Self> {
        lane.deferred(self.wakes())
    }
}

#[expect(private_bounds, reason = "both modes that can wait are in")]
impl<T, M: Adopt> LaneReceiver<T, M> {
    /// Takes the oldest message of the lane whose turn it is, or of the next that has one.
    ///
    /// # Errors
    /// `Empty` if no lane has a message, `Closed` if none will have one.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if self.taken < self.budget
            && let Some(lane) = self.lanes.get_mut(self.turn)
            && let Ok(value) = lane.try_recv()
        {
            self.taken += 1;
            return Ok(value);
        }
        self.next_lane()
    }

    /// The lane whose turn it was has had it, or has nothing.
    fn next_lane(&mut self) -> Result<T, TryRecvError> {
        // Once around, and new lanes too.
        self.adopt_lanes();
        let mut left = self.lanes.len();
        while left > 0 {
            left -= 1;
            self.turn = if self.turn + 1 < self.lanes.len() { self.turn + 1 } else { 0 };
            self.taken = 0;
            match self.lanes[self.turn].try_recv() {
                Ok(value) => {
                    self.taken = 1;
                    return Ok(value);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed) => {
                    let closed = self.lanes.remove(self.turn);
                    // The turn is that of the lane before, so that the next one is not passed over.
                    self.turn = self.turn.checked_sub(1).unwrap_or(self.lanes.len());
                    drop(closed);
                }
            }
        }
        let over = self.no_more && self.lanes.is_empty();
        Err(if over { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    fn adopt_lanes(&mut self) {
        if !self.shared.0.changed.load(Ordering::Acquire) {
            return;
        }
        let added = {
            let mut registry = self.shared.0.registry();
            // Under the lock: a change after it sets the flag again.
            self.shared.0.changed.store(false, Ordering::Relaxed);
            self.no_more = registry.connectors == 0 || registry.closed;
            mem::take(&mut registry.added)
        };
        self.extend(added);
    }

    fn extend(&mut self, added: Vec<Receiver<T>>) {
        self.lanes.extend(added.into_iter().map(|lane| self.mode.adopt(lane)));
    }

    /// Closes every lane and lets no new one be made. What was sent can still be received.
    ///
    /// If a waker panics the other lanes are closed all the same.
    pub fn close(&mut self) {
        let added = self.shared.0.close();
        self.extend(added);
        self.no_more = true;
        wake_all(self.lanes.iter().flat_map(|lane| lane.consumer.header().shut()));
    }

    /// Takes the next message, after waiting for one if no lane has any.
    ///
    /// Cancel-safe: a message is taken only when the future is ready with it.
    ///
    /// # Errors
    /// If no lane will have a message any more.
    pub fn recv(&mut self) -> LaneRecvFuture<'_, T, M> {
        LaneRecvFuture { receiver: self, waits: false }
    }

    /// [`recv`](Self::recv) for hand-written loops: until it is ready the waker of `context` is
    /// kept, the last one only, and woken once, by whichever lane comes first.
    ///
    /// # Errors
    /// If no lane will have a message any more.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        for registered in [false, true] {
            match self.try_recv() {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError)),
                Err(TryRecvError::Empty) => {}
            }
            if !registered {
                self.shared.0.waits.register(context.waker());
                full_fence_unless(Fault::NoWaiterFence);
            }
        }
        Poll::Pending
    }
}

impl<T, M: CanWait> LaneReceiver<T, M> {
    /// Takes back the waker that `poll_recv` left. Futures do it themselves.
    pub fn stop_waiting(&mut self) {
        self.shared.0.waits.withdraw();
    }

    /// Messages taken from one lane before the next has its turn: [`DEFAULT_BUDGET`], or what is
    /// set here, at least 1.
    pub fn set_budget(&mut self, messages: usize) {
        self.budget = messages.max(1);
    }

    /// Lanes known of that are not found closed yet.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Messages in the lanes known of: there may be more by now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(Receiver::len).sum()
    }

    /// Whether the lanes known of have no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(Receiver::is_empty)
    }
}

impl<T> LaneReceiver<T, Waking> {
    /// The same end in deferred mode: what it takes wakes senders at the next flush of `wakes`.
    pub fn deferred(mut self, wakes: &Wakes) -> LaneReceiver<T, Deferred> {
        let lanes = mem::take(&mut self.lanes);
        LaneReceiver {
            lanes: lanes.into_iter().map(|lane| lane.deferred(wakes)).collect(),
            turn: self.turn,
            taken: self.taken,
            budget: self.budget,
            no_more: self.no_more,
            mode: Deferred::of(wakes),
            shared: self.shared,
        }
    }

    /// [`recv`](Self::recv) that blocks the thread.
    ///
    /// # Errors
    /// If no lane will have a message any more.
    pub fn recv_blocking(&mut self) -> Result<T, RecvError> {
        crate::blocking::block_on(self.recv())
    }
}

impl<T, M: CanWait> fmt::Debug for LaneReceiver<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneReceiver")
            .field("lanes", &self.lanes)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// Made by [`LaneReceiver::recv`].
#[must_use = "futures do nothing unless polled"]
pub struct LaneRecvFuture<'a, T, M: CanWait = Waking> {
    receiver: &'a mut LaneReceiver<T, M>,
    /// Whether a waker may be with the lanes.
    waits: bool,
}

/// Nothing in it is pinned.
impl<T, M: CanWait> Unpin for LaneRecvFuture<'_, T, M> {}

impl<T, M: Adopt> Future for LaneRecvFuture<'_, T, M> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = self.receiver.poll_recv(context);
        self.waits |= result.is_pending();
        result
    }
}

impl<T, M: CanWait> Drop for LaneRecvFuture<'_, T, M> {
    fn drop(&mut self) {
        if self.waits {
            self.receiver.stop_waiting();
        }
    }
}

impl<T, M: CanWait> fmt::Debug for LaneRecvFuture<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneRecvFuture").field("waits", &self.waits).finish_non_exhaustive()
    }
}
