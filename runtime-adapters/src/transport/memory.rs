//! A group within one process, for tests.

use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::{Receiver, Sender, TrySendError};
use bytes::Bytes;
use futures_core::Stream;

use super::{Peer, Received, SendError, Transport};

/// A group of [`Memory`] transports that hear each other.
///
/// Nothing is lost, repeated or reordered, as long as members read what they are sent: each has
/// an inbox of bounded size, and like a UDP socket a full one drops what comes. Wrap members in
/// [`Lossy`](super::Lossy) for a worse group.
#[derive(Clone, Debug)]
pub struct MemoryGroup(Arc<Shared>);

impl MemoryGroup {
    /// An empty group whose members' inboxes hold `inbox` datagrams; 0 counts as 1.
    #[must_use]
    pub fn new(inbox: usize) -> Self {
        Self::with_max_datagram_len(inbox, usize::MAX)
    }

    /// The same, and a datagram may have `max_datagram_len` bytes at most.
    #[must_use]
    pub fn with_max_datagram_len(inbox: usize, max_datagram_len: usize) -> Self {
        let members = Mutex::default();
        let (inbox, dropped) = (inbox.max(1), AtomicU64::new(0));
        Self(Arc::new(Shared { members, inbox, max_datagram_len, dropped }))
    }

    /// A new member. It leaves when it is dropped.
    #[must_use]
    pub fn join(&self) -> Memory {
        let (sender, inbox) = async_channel::bounded(self.0.inbox);
        let mut members = self.0.members.lock().unwrap_or_else(PoisonError::into_inner);
        let index = members.len();
        Arc::make_mut(&mut members).push(sender);
        Memory { group: Arc::clone(&self.0), index, inbox: Box::pin(inbox) }
    }

    /// Members that have joined and not left.
    #[must_use]
    pub fn present(&self) -> usize {
        self.0.members().iter().filter(|member| !member.is_closed()).count()
    }

    /// Datagrams dropped at full inboxes so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

/// One member of a [`MemoryGroup`].
#[derive(Debug)]
pub struct Memory {
    group: Arc<Shared>,
    index: usize,
    inbox: Pin<Box<Receiver<Received>>>,
}

impl Transport for Memory {
    fn max_datagram_len(&self) -> usize {
        self.group.max_datagram_len
    }

    fn poll_send(&mut self, _: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        let source = Peer::Member(self.index);
        for (index, member) in self.group.members().iter().enumerate() {
            if index == self.index {
                continue;
            }
            let received = Received { bytes: datagram.clone(), source };
            if let Err(TrySendError::Full(_)) = member.try_send(received) {
                self.group.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        // The group holds the sending end, so that the inbox never ends.
        self.inbox.as_mut().poll_next(cx).map(|next| next.ok_or_else(gone))
    }
}

impl Drop for Memory {
    /// The group keeps the other end of the inbox, but need not keep what is in it.
    fn drop(&mut self) {
        self.inbox.close();
        while self.inbox.try_recv().is_ok() {}
    }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

#[derive(Debug)]
struct Shared {
    /// By index; one that left stays, closed.
    members: Mutex<Arc<Vec<Sender<Received>>>>,
    inbox: usize,
    max_datagram_len: usize,
    dropped: AtomicU64,
}

impl Shared {
    /// The members there are now: a datagram wakes who waits for it, which may run any code and
    /// finds the lock free.
    fn members(&self) -> Arc<Vec<Sender<Received>>> {
        Arc::clone(&self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use core::task::Waker;
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    /// Says whether the group was free when it was woken.
    struct Look(Arc<Shared>, mpsc::Sender<bool>);

    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            self.1.send(self.0.members.try_lock().is_ok()).unwrap();
        }
    }

    #[test]
    fn members_are_woken_without_the_lock() {
        let group = MemoryGroup::new(1);
        let (mut alice, mut bob) = (group.join(), group.join());
        let (sender, was_free) = mpsc::channel();
        let waker = Waker::from(Arc::new(Look(Arc::clone(&group.0), sender)));
        assert!(bob.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        let sent = alice.poll_send(&mut Context::from_waker(Waker::noop()), &Bytes::new());
        assert!(matches!(sent, Poll::Ready(Ok(()))));
        assert_eq!(was_free.try_recv(), Ok(true));
    }
}
