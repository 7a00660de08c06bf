//! Events for the application, and the queue in which they wait.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::Stream;
use sds_proto::wire::HistoryEntry;
use sds_proto::{ChannelId, Event, MessageId, RejectReason, RetrievalId, SendReason, StoreError};

use crate::transport::{Peer, SendError};
use crate::wait::Wait;

/// An event of a driver or its node.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverEvent {
    /// An event of the node.
    Node(Event),
    /// The node asks the application to fetch messages from an archive, if there is one, and to
    /// answer with [`Handle::retrieved`](crate::Handle::retrieved).
    Retrieve {
        /// Number of the request.
        id: RetrievalId,
        /// The channel.
        channel: ChannelId,
        /// The missing messages, with hints where known.
        missing: Vec<HistoryEntry>,
    },
    /// The node refused a datagram.
    DatagramRejected {
        /// Why.
        reason: RejectReason,
        /// Its source.
        source: Peer,
        /// Its length in bytes.
        len: usize,
    },
    /// A message was not sent, because it is longer than the transport takes: one of somebody
    /// else's, which was asked for or is to be told in the other dialect, or an own one from a time
    /// with other settings. Those that are published now are refused instead, as
    /// [`DatagramTooLong`](RejectReason::DatagramTooLong). Others can get it only from who has a
    /// transport that takes it.
    TooLarge {
        /// Its channel.
        channel: ChannelId,
        /// Its id.
        message_id: MessageId,
        /// The reason for which it was to be sent.
        reason: SendReason,
        /// Its length in bytes, encoded.
        len: usize,
        /// Maximum length that the transport takes, in bytes.
        limit: usize,
    },
    /// The transport did not take a datagram for some destination. Others may have got it, and
    /// what matters is resent when it is due.
    SendFailed(SendError),
    /// The transport could not receive. It is tried again after a pause; at once if the error is
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset) or
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), with which some systems say that a
    /// datagram that was sent reached no process.
    ReceiveFailed(io::Error),
    /// The store could not give the state of a channel, which is not open now.
    /// [`Handle::open`](crate::Handle::open) says so too, if it was called.
    LoadFailed {
        /// The channel.
        channel: ChannelId,
        /// The error that the store returned.
        error: StoreError,
    },
    /// So many events were unread that some were left out here. Only such are that repeat by
    /// themselves while their cause lasts: [`TooLarge`](Self::TooLarge),
    /// [`SendFailed`](Self::SendFailed), [`ReceiveFailed`](Self::ReceiveFailed),
    /// [`LoadFailed`](Self::LoadFailed) and [`Retrieve`](Self::Retrieve); and those that any
    /// stranger can have told without end, which take half of the room at most:
    /// [`DatagramRejected`](Self::DatagramRejected), [`Event::FilterIgnored`], [`Event::Conflict`]
    /// and [`Event::LimitReached`]. The [`Metrics`](crate::Metrics) count them all.
    Skipped {
        /// Their number.
        count: u64,
    },
}

impl DriverEvent {
    /// Unread events with which this one is skipped; `None` if it never is.
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other event is ever lost")]
    const fn skipped_at(&self, capacity: usize) -> Option<usize> {
        match self {
            Self::TooLarge { .. }
            | Self::SendFailed(_)
            | Self::ReceiveFailed(_)
            | Self::LoadFailed { .. }
            | Self::Retrieve { .. } => Some(capacity),
            // A sender that floods the node keeps nobody else's datagrams out.
            Self::DatagramRejected { .. }
            | Self::Node(
                Event::FilterIgnored { .. } | Event::Conflict { .. } | Event::LimitReached { .. },
            ) => Some(capacity.div_ceil(2)),
            _ => None,
        }
    }
}

/// The events of a driver, in the order in which they happened.
///
/// The stream ends when the driver has stopped, its transport is closed, and everything before
/// has been read. Dropping it
/// means that nobody is interested: the driver goes on, and events are discarded.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

impl Events {
    /// The next event; `None` once the driver has stopped and everything has been read.
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<DriverEvent> {
        core::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The events as they come, for a thread that has nothing else to do: it sleeps until the
    /// next, and ends with the driver.
    pub fn iter(&mut self) -> impl Iterator<Item = DriverEvent> {
        core::iter::from_fn(|| self.next().wait())
    }

    fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<DriverEvent>> {
        let mut reader = Some(cx.waker().clone());
        let mut state = self.0.lock();
        if let Some(event) = state.events.pop_front() {
            state.read += 1;
            let room = state.events.len() < self.0.capacity;
            let driver = if room { state.driver.take() } else { None };
            drop(state);
            wake(driver);
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        core::mem::swap(&mut state.reader, &mut reader);
        Poll::Pending
    }
}

impl Stream for Events {
    type Item = DriverEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DriverEvent>> {
        self.poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        let unread = core::mem::take(&mut state.events);
        let driver = state.driver.take();
        drop(state);
        drop(unread);
        wake(driver);
    }
}

/// The driver's end of the queue. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct EventSink {
    queue: Arc<Queue>,
}

/// A queue that holds `capacity` events before it says that it has no room.
pub(crate) fn queue(capacity: usize) -> (EventSink, Events) {
    let queue = Arc::new(Queue { capacity, state: Mutex::default() });
    (EventSink { queue: Arc::clone(&queue) }, Events(queue))
}

impl EventSink {
    /// Whether there is room; if not, `cx` is woken once there is.
    pub(crate) fn has_room(&self, cx: &Context<'_>) -> bool {
        let driver = cx.waker().clone();
        let mut state = self.queue.lock();
        let room = state.events.len() < self.queue.capacity;
        let before = if room { state.driver.take() } else { state.driver.replace(driver) };
        drop(state);
        drop(before);
        room
    }

    /// Whether twice as many wait to be read as there is room for.
    pub(crate) fn is_overfull(&self) -> bool {
        self.queue.lock().events.len() >= self.queue.capacity.saturating_mul(2)
    }

    /// Events that have been read so far.
    pub(crate) fn read(&self) -> u64 {
        self.queue.lock().read
    }

    /// Events that wait to be read.
    pub(crate) fn unread(&self) -> usize {
        self.queue.lock().events.len()
    }

    /// Queues an event, beyond the capacity if need be. Returns `false` if it was skipped.
    pub(crate) fn push(&self, event: DriverEvent) -> bool {
        let mut state = self.queue.lock();
        if state.abandoned {
            return true;
        }
        let (unread, capacity) = (state.events.len(), self.queue.capacity);
        if event.skipped_at(capacity).is_some_and(|most| unread >= most) {
            state.skipped += 1;
            return false;
        }
        if unread < capacity && state.skipped > 0 {
            let count = core::mem::take(&mut state.skipped);
            state.events.push_back(DriverEvent::Skipped { count });
        }
        state.events.push_back(event);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        true
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

#[derive(Debug)]
struct Queue {
    capacity: usize,
    state: Mutex<State>,
}

impl Queue {
    /// No waker is cloned, called or dropped while the lock is held, for it may run any code. So
    /// nothing panics meanwhile, and a poisoned lock guards a sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<DriverEvent>,
    read: u64,
    skipped: u64,
    reader: Option<Waker>,
    driver: Option<Waker>,
    abandoned: bool,
    ended: bool,
}

/// Called without the lock, because a waker may poll at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::watched_waker;

    fn failure() -> DriverEvent {
        DriverEvent::ReceiveFailed(io::ErrorKind::Other.into())
    }

    fn synced() -> DriverEvent {
        DriverEvent::Node(Event::Synced { channel: "c".into(), lost: 0 })
    }

    #[test]
    fn beyond_the_capacity_only_what_repeats_is_skipped_and_counted() {
        let (sink, mut events) = queue(2);
        let cx = Context::from_waker(Waker::noop());
        assert!(sink.push(failure()));
        assert!(sink.has_room(&cx));
        assert!(sink.push(failure()));
        assert!(!sink.has_room(&cx));
        assert!(!sink.push(failure()));
        assert!(sink.push(synced()));
        let mut read = || smol::block_on(events.next()).unwrap();
        assert!(matches!(read(), DriverEvent::ReceiveFailed(_)));
        assert!(matches!(read(), DriverEvent::ReceiveFailed(_)));
        assert!(sink.push(failure()));
        drop(sink);
        assert!(matches!(read(), DriverEvent::Node(_)));
        assert!(matches!(read(), DriverEvent::Skipped { count: 1 }));
        assert!(matches!(read(), DriverEvent::ReceiveFailed(_)));
        assert!(smol::block_on(events.next()).is_none());
    }

    #[test]
    fn wakers_are_dropped_without_the_lock() {
        let (sink, events) = queue(1);
        let shared = Arc::clone(&sink.queue);
        let is_free = move || shared.state.try_lock().is_ok();
        let noop = Context::from_waker(Waker::noop());

        let (waker, was_free) = watched_waker(is_free.clone());
        assert!(events.poll_event(&Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(events.poll_event(&noop).is_pending());
        assert_eq!(was_free.try_recv(), Ok(true));

        sink.push(synced());
        let (waker, was_free) = watched_waker(is_free);
        assert!(!sink.has_room(&Context::from_waker(&waker)));
        drop(waker);
        assert!(!sink.has_room(&noop));
        assert_eq!(was_free.try_recv(), Ok(true));
    }

    #[test]
    fn an_abandoned_queue_always_has_room_and_keeps_nothing() {
        let (sink, events) = queue(1);
        let cx = Context::from_waker(Waker::noop());
        sink.push(synced());
        assert!(!sink.has_room(&cx));
        drop(events);
        assert!(sink.has_room(&cx));
        sink.push(synced());
        assert!(sink.has_room(&cx));
    }
}
