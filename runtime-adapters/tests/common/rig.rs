//! A driver that is polled by hand, on a transport that does as it is told.

use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Wake;

use bytes::Bytes;
use sds_proto::{Config, Event};
use sds_runtime::smol::{Timer, new};
use sds_runtime::transport::{Peer, Received, SendError, Transport};
use sds_runtime::{DriverEvent, Events, Handle, Options, Run};

use super::CHANNEL;

/// Instructions for a [`Puppet`], and calls that it has received.
#[derive(Default)]
pub(crate) struct Strings {
    pub(crate) sent: Vec<Bytes>,
    pub(crate) blocked: bool,
    pub(crate) send_error: bool,
    pub(crate) receive_error: bool,
    /// Number of receives that fail because a sent datagram reached nobody.
    pub(crate) resets: usize,
    /// Datagrams to receive.
    pub(crate) inbox: Vec<Bytes>,
    pub(crate) closed: bool,
}

/// A transport that does as it is told.
pub(crate) struct Puppet(pub(crate) Arc<Mutex<Strings>>);

impl Transport for Puppet {
    fn max_datagram_len(&self) -> usize {
        65_507
    }

    fn poll_send(&mut self, _: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        let mut strings = self.0.lock().unwrap();
        if strings.blocked {
            return Poll::Pending;
        }
        if strings.send_error {
            let error = io::ErrorKind::NetworkUnreachable.into();
            return Poll::Ready(Err(SendError { destination: Peer::Unknown, error }));
        }
        strings.sent.push(datagram.clone());
        Poll::Ready(Ok(()))
    }

    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Received>> {
        let mut strings = self.0.lock().unwrap();
        if strings.receive_error {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        if let Some(resets) = strings.resets.checked_sub(1) {
            strings.resets = resets;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        match strings.inbox.pop() {
            Some(bytes) => Poll::Ready(Ok(Received { bytes, source: Peer::Unknown })),
            None => Poll::Pending,
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.0.lock().unwrap().closed = true;
    }
}

/// Counts wake-ups.
#[derive(Default)]
pub(crate) struct Wakes(pub(crate) AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// End of a driver's turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turns {
    /// Nothing to do after so many.
    Idle(usize),
    /// There were no more.
    Busy,
    /// It has shut down.
    Ended,
}

/// A driver that runs only when it is told to.
pub(crate) struct Rig {
    pub(crate) strings: Arc<Mutex<Strings>>,
    pub(crate) handle: Option<Handle>,
    pub(crate) events: Events,
    pub(crate) run: Run<Puppet, Timer>,
    pub(crate) wakes: Arc<Wakes>,
}

impl Rig {
    /// With the channel open.
    pub(crate) fn new(config: Config, options: Options) -> Self {
        let mut rig = Self::closed(config, options);
        let handle = rig.handle();
        let mut open = Box::pin(handle.open(CHANNEL));
        assert!(poll(&mut open).is_pending());
        rig.until_idle();
        assert_eq!(poll(&mut open), Poll::Ready(Ok(())));
        rig
    }

    /// That has not made a turn yet.
    pub(crate) fn closed(config: Config, options: Options) -> Self {
        let strings = Arc::new(Mutex::default());
        let transport = Puppet(Arc::clone(&strings));
        let (handle, events, run) = new(config, transport, options).unwrap();
        Self { strings, handle: Some(handle), events, run, wakes: Arc::default() }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone().unwrap()
    }

    pub(crate) fn strings<T>(&self, pull: impl FnOnce(&mut Strings) -> T) -> T {
        pull(&mut self.strings.lock().unwrap())
    }

    /// Polls the driver until it no longer wakes itself; whether it has ended.
    pub(crate) fn until_idle(&mut self) -> bool {
        self.until_idle_or(usize::MAX) == Turns::Ended
    }

    /// The same, but no more than `most` times.
    pub(crate) fn until_idle_or(&mut self, most: usize) -> Turns {
        let waker = Waker::from(Arc::clone(&self.wakes));
        for turns in 0..most {
            let before = self.wakes.0.load(Ordering::SeqCst);
            if Pin::new(&mut self.run).poll(&mut Context::from_waker(&waker)).is_ready() {
                return Turns::Ended;
            }
            if self.wakes.0.load(Ordering::SeqCst) == before {
                return Turns::Idle(turns + 1);
            }
        }
        Turns::Busy
    }

    pub(crate) fn unread(&mut self) -> Vec<DriverEvent> {
        let mut unread = Vec::new();
        while let Poll::Ready(Some(event)) = poll(&mut Box::pin(self.events.next())) {
            unread.push(event);
        }
        unread
    }

    pub(crate) fn logged(&mut self) -> usize {
        let handle = self.handle();
        let mut log = Box::pin(handle.log(CHANNEL));
        assert!(poll(&mut log).is_pending());
        self.until_idle();
        match poll(&mut log) {
            Poll::Ready(log) => log.unwrap().entries.len(),
            Poll::Pending => panic!("the driver does not answer"),
        }
    }
}

pub(crate) fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn delivered(events: &[DriverEvent]) -> usize {
    events.iter().filter(|event| matches!(event, DriverEvent::Node(Event::Deliver(_)))).count()
}
