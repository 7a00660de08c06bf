//! The driver turn by turn: polled by hand, on a transport that does as it is told.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Wake;

use bytes::Bytes;
use common::{CHANNEL, config};
use futures_lite::future;
use sds_proto::Effect;
use sds_runtime::smol::{Timer, new};
use sds_runtime::transport::{Peer, Received, SendError, Transport};
use sds_runtime::{Clock, Event, Events, Handle, HandleError, Jumps, Options, Run};

/// What a [`Puppet`] does, and what was done to it.
#[derive(Default)]
struct Strings {
    sent: Vec<Bytes>,
    blocked: bool,
    send_error: bool,
    receive_error: bool,
    /// Datagrams to receive.
    inbox: Vec<Bytes>,
    closed: bool,
}

/// A transport that does as it is told.
struct Puppet(Arc<Mutex<Strings>>);

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
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A driver that runs only when it is told to.
struct Rig {
    strings: Arc<Mutex<Strings>>,
    handle: Option<Handle>,
    events: Events,
    run: Run<Puppet, Timer>,
    wakes: Arc<Wakes>,
}

impl Rig {
    fn new(options: Options) -> Self {
        let strings = Arc::new(Mutex::default());
        let transport = Puppet(Arc::clone(&strings));
        let (handle, events, run) = new(config("alice"), transport, options).unwrap();
        let handle = Some(handle);
        let mut rig = Self { strings, handle, events, run, wakes: Arc::default() };
        let handle = rig.handle();
        let mut open = Box::pin(handle.open(CHANNEL));
        assert!(poll(&mut open).is_pending());
        rig.until_idle();
        assert_eq!(poll(&mut open), Poll::Ready(Ok(())));
        rig
    }

    fn handle(&self) -> Handle {
        self.handle.clone().unwrap()
    }

    fn strings<T>(&self, pull: impl FnOnce(&mut Strings) -> T) -> T {
        pull(&mut self.strings.lock().unwrap())
    }

    /// Polls the driver until it no longer wakes itself; whether it has ended.
    fn until_idle(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.wakes));
        loop {
            let before = self.wakes.0.load(Ordering::SeqCst);
            if Pin::new(&mut self.run).poll(&mut Context::from_waker(&waker)).is_ready() {
                return true;
            }
            if self.wakes.0.load(Ordering::SeqCst) == before {
                return false;
            }
        }
    }

    fn unread(&mut self) -> Vec<Event> {
        let mut unread = Vec::new();
        while let Poll::Ready(Some(event)) = poll(&mut Box::pin(self.events.next())) {
            unread.push(event);
        }
        unread
    }

    fn logged(&mut self) -> usize {
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

fn poll<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn delivered(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Node(Effect::Deliver(_)))).count()
}

#[test]
fn a_publish_dropped_before_it_was_taken_was_never_made() {
    let mut rig = Rig::new(Options::default().commands(1));
    let handle = rig.handle();
    let mut taken = Box::pin(handle.publish(CHANNEL, "taken", "content"));
    let mut waiting = Box::pin(handle.publish(CHANNEL, "waiting", "content"));
    assert!(poll(&mut taken).is_pending());
    assert!(poll(&mut waiting).is_pending());
    drop(waiting);
    rig.until_idle();
    assert_eq!(poll(&mut taken), Poll::Ready(Ok(())));
    assert_eq!(rig.logged(), 1);
}

#[test]
fn a_publish_dropped_after_it_was_taken_is_carried_out() {
    let mut rig = Rig::new(Options::default());
    let handle = rig.handle();
    let mut taken = Box::pin(handle.publish(CHANNEL, "taken", "content"));
    assert!(poll(&mut taken).is_pending());
    drop(taken);
    rig.until_idle();
    assert_eq!(rig.logged(), 1);
    assert_eq!(rig.strings(|strings| strings.sent.len()), 1);
}

#[test]
fn a_dropped_wait_for_an_event_loses_none() {
    let mut rig = Rig::new(Options::default());
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(rig.events.next())).is_pending());
    assert!(poll(&mut Box::pin(handle.publish(CHANNEL, "m1", "content"))).is_pending());
    rig.until_idle();
    assert_eq!(delivered(&rig.unread()), 1);
}

#[test]
fn unread_events_hold_back_commands_and_datagrams_until_one_is_read() {
    let mut rig = Rig::new(Options::default().events(1));
    let handle = rig.handle();
    let mut first = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut first).is_pending());
    rig.until_idle();
    assert_eq!(poll(&mut first), Poll::Ready(Ok(())));

    let mut second = Box::pin(handle.publish(CHANNEL, "m2", "content"));
    assert!(poll(&mut second).is_pending());
    rig.strings(|strings| strings.inbox.push(Bytes::from_static(b"junk")));
    rig.until_idle();
    assert!(poll(&mut second).is_pending());
    assert_eq!(rig.strings(|strings| strings.inbox.len()), 1);

    let before = rig.wakes.0.load(Ordering::SeqCst);
    assert!(poll(&mut Box::pin(rig.events.next())).is_ready());
    assert_eq!(rig.wakes.0.load(Ordering::SeqCst), before + 1, "reading wakes the driver");
    rig.until_idle();
    assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
    assert_eq!(rig.strings(|strings| strings.inbox.len()), 0);
}

#[test]
fn a_blocked_transport_holds_back_the_driver_and_loses_nothing() {
    let mut rig = Rig::new(Options::default().sends(2));
    let handle = rig.handle();
    rig.strings(|strings| strings.blocked = true);
    let ids: Vec<_> = (0..20).map(|number| format!("m{number}")).collect();
    let mut publishes: Vec<_> =
        ids.iter().map(|id| Box::pin(handle.publish(CHANNEL, id.as_str(), "content"))).collect();
    publishes.iter_mut().for_each(|publish| assert!(poll(publish).is_pending()));
    assert!(!rig.until_idle());
    let answered = |publish| poll(publish) == Poll::Ready(Ok(()));
    let before = publishes.iter_mut().filter_map(|publish| answered(publish).then_some(())).count();
    assert!(before < 20, "input is taken in though nothing can be sent");
    assert_eq!(rig.strings(|strings| strings.sent.len()), 0);

    rig.strings(|strings| strings.blocked = false);
    rig.until_idle();
    assert_eq!(rig.strings(|strings| strings.sent.len()), 20);
    assert_eq!(delivered(&rig.unread()), 20);
}

#[test]
fn transport_errors_are_reported_and_survived() {
    let mut rig = Rig::new(Options::default());
    let handle = rig.handle();
    rig.strings(|strings| (strings.send_error, strings.receive_error) = (true, true));
    let mut publish = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut publish).is_pending());
    assert!(!rig.until_idle(), "a broken socket keeps the driver neither busy nor dead");
    assert_eq!(poll(&mut publish), Poll::Ready(Ok(())));
    let unread = rig.unread();
    assert_eq!(unread.iter().filter(|event| matches!(event, Event::SendFailed(_))).count(), 1);
    assert_eq!(unread.iter().filter(|event| matches!(event, Event::ReceiveFailed(_))).count(), 1);
}

#[test]
fn receiving_is_tried_again_after_an_error() {
    let mut rig = Rig::new(Options::default());
    rig.strings(|strings| strings.receive_error = true);
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(handle.channels())).is_pending());
    rig.until_idle();
    assert!(matches!(rig.unread()[..], [Event::ReceiveFailed(_)]));

    rig.strings(|strings| {
        strings.receive_error = false;
        strings.inbox.push(Bytes::from_static(b"junk"));
    });
    let received = async {
        let refused = |event| matches!(event, Event::DatagramRejected { .. }).then_some(());
        common::next(&mut rig.events, refused).await;
    };
    common::run(future::or(received, &mut rig.run));
}

#[test]
fn a_clock_that_goes_back_keeps_the_driver_not_busy() {
    let jumps = Jumps::default();
    let mut rig = Rig::new(Options::default().clock(Clock::jumping(&jumps)));
    jumps.mono(7_200_000_000);
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(handle.publish(CHANNEL, "m1", "content"))).is_pending());
    rig.until_idle();
    jumps.mono(-3_600_000_000);
    assert_eq!(rig.logged(), 1);
    assert!(!rig.until_idle());
}

#[test]
fn a_flood_of_datagrams_starves_no_command() {
    let mut rig = Rig::new(Options::default());
    let handle = rig.handle();
    rig.strings(|strings| strings.inbox = vec![Bytes::from_static(b"junk"); 500]);
    let mut publish = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut publish).is_pending());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut rig.run).poll(cx).is_pending());
    assert_eq!(poll(&mut publish), Poll::Ready(Ok(())));
    assert!(rig.strings(|strings| strings.inbox.len()) > 400);
}

#[test]
fn shutdown_carries_out_what_was_taken_and_sends_it() {
    let mut rig = Rig::new(Options::default());
    let handle = rig.handle();
    let mut publish = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut publish).is_pending());
    let mut shutdown = Box::pin(handle.shutdown());
    assert!(poll(&mut shutdown).is_pending());
    assert!(rig.until_idle());
    assert_eq!(poll(&mut publish), Poll::Ready(Ok(())));
    assert!(poll(&mut shutdown).is_ready());
    assert!(rig.strings(|strings| strings.closed));
    assert_eq!(rig.strings(|strings| strings.sent.len()), 1);
    assert_eq!(delivered(&rig.unread()), 1);
    assert!(matches!(poll(&mut Box::pin(rig.events.next())), Poll::Ready(None)));
}

#[test]
fn a_cancelled_shutdown_still_shuts_down() {
    let mut rig = Rig::new(Options::default());
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(handle.shutdown())).is_pending());
    assert!(rig.until_idle());
}

#[test]
fn a_shutdown_does_not_wait_for_unread_events() {
    let mut rig = Rig::new(Options::default().events(1));
    let handle = rig.handle();
    for id in ["m1", "m2"] {
        assert!(poll(&mut Box::pin(handle.publish(CHANNEL, id, "content"))).is_pending());
        rig.until_idle();
    }
    assert!(poll(&mut Box::pin(handle.shutdown())).is_pending());
    assert!(rig.until_idle());
    assert_eq!(delivered(&rig.unread()), 2);
}

#[test]
fn a_transport_that_takes_nothing_delays_a_shutdown_no_longer_than_allowed() {
    let mut rig = Rig::new(Options::default().flush(Duration::from_millis(20)));
    let handle = rig.handle();
    rig.strings(|strings| strings.blocked = true);
    assert!(poll(&mut Box::pin(handle.publish(CHANNEL, "m1", "content"))).is_pending());
    rig.until_idle();
    assert!(poll(&mut Box::pin(handle.shutdown())).is_pending());
    common::run(&mut rig.run);
    assert!(rig.strings(|strings| strings.closed && strings.sent.is_empty()));
    assert_eq!(delivered(&rig.unread()), 1);
}

#[test]
fn a_dropped_driver_answers_that_it_has_stopped() {
    let rig = Rig::new(Options::default());
    let handle = rig.handle();
    let mut publish = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut publish).is_pending());
    let Rig { run, mut events, strings, .. } = rig;
    drop(run);
    let Poll::Ready(Err(error)) = poll(&mut publish) else {
        panic!("a dropped driver answers nothing");
    };
    assert_eq!((error.reason, error.content), (HandleError::Stopped, "content".into()));
    assert!(poll(&mut Box::pin(handle.shutdown())).is_ready());
    assert!(strings.lock().unwrap().closed);
    assert!(matches!(poll(&mut Box::pin(events.next())), Poll::Ready(None)));
}

#[test]
fn without_handles_the_driver_ends() {
    let mut rig = Rig::new(Options::default());
    assert!(!rig.until_idle());
    rig.handle = None;
    assert!(rig.until_idle());
}
