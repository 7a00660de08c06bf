//! A transport that does as it is told.

use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sds_runtime::Transport;
use sds_runtime::transport::{Memory, Peer, Received, SendError};

/// In front of a member of a group in memory: shut, broken, or as if it were not there. Clones
/// are the test's hands on it.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<Bar>>);

struct Bar {
    member: Option<Memory>,
    shut: bool,
    broken: bool,
    sent: usize,
    refused: usize,
    failed: usize,
    /// The driver, if it has something to send.
    waiting: Option<Waker>,
}

impl Gate {
    pub(crate) fn new(member: Memory) -> Self {
        let (member, waiting) = (Some(member), None);
        let bar =
            Bar { member, shut: false, broken: false, sent: 0, refused: 0, failed: 0, waiting };
        Self(Arc::new(Mutex::new(bar)))
    }

    /// From now on it takes nothing.
    pub(crate) fn shut(&self) {
        self.0.lock().unwrap().shut = true;
    }

    pub(crate) fn open(&self) {
        let mut bar = self.0.lock().unwrap();
        bar.shut = false;
        let waiting = bar.waiting.take();
        drop(bar);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Whether from now on everything fails.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.0.lock().unwrap().broken = broken;
    }

    /// Whether the driver has something to send and waits for it to open.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.lock().unwrap().waiting.is_some()
    }

    pub(crate) fn sent(&self) -> usize {
        self.0.lock().unwrap().sent
    }

    /// Attempts to send while it was shut.
    pub(crate) fn refused(&self) -> usize {
        self.0.lock().unwrap().refused
    }

    pub(crate) fn failed(&self) -> usize {
        self.0.lock().unwrap().failed
    }

    /// Whether the driver's end of it was dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap().member.is_none()
    }

    /// The driver's end.
    pub(crate) fn transport(&self) -> impl Transport {
        End(self.clone())
    }
}

struct End(Gate);

impl Transport for End {
    fn max_datagram_len(&self) -> usize {
        usize::MAX
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        let mut bar = self.0.0.lock().unwrap();
        if bar.shut {
            bar.refused += 1;
            bar.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if bar.broken {
            bar.failed += 1;
            let error = io::ErrorKind::NetworkUnreachable.into();
            return Poll::Ready(Err(SendError { destination: Peer::Unknown, error }));
        }
        bar.sent += 1;
        bar.member.as_mut().unwrap().poll_send(cx, datagram)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        let mut bar = self.0.0.lock().unwrap();
        if bar.broken {
            bar.failed += 1;
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        bar.member.as_mut().unwrap().poll_recv(cx)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().member = None;
    }
}
