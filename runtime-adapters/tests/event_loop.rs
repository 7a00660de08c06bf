//! What is particular to the event loop: threads, back-pressure, idleness, and the end.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use common::{CHANNEL, config};
use sds_proto::{Config, Effect, RejectReason};
use sds_runtime::event_loop::{self, EventLoop};
use sds_runtime::transport::{MemoryGroup, Received, SendError};
use sds_runtime::{Event, Events, Handle, HandleError, Options, Transport, Wait};

/// A node alone, with the channel open.
fn alone(options: Options) -> (Handle, Events) {
    let transport = MemoryGroup::new(1).join();
    let event_loop = EventLoop::new().unwrap();
    let (handle, events) = event_loop.spawn(config("alice"), transport, options).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    (handle, events)
}

/// Application threads.
const THREADS: usize = 8;
/// Messages of each: 100,000 in all.
const EACH: usize = 12_500;

/// Room for all messages, though nobody acknowledges them, and filters of little more than
/// nothing, which would take most of the time.
fn roomy() -> Config {
    let all = THREADS * EACH;
    config("alice")
        .to_builder()
        .max_outgoing(all)
        .max_log_messages(all)
        .max_log_bytes(1 << 30)
        .max_ids(2 * all)
        .bloom_capacity(10)
        .resend(false)
        .sync(false)
        .repair(false)
        .build()
        .unwrap()
}

/// Every other thread waits for each answer, the others have many requests in flight.
fn publish_all(handle: &Handle, name: usize) {
    let mut in_flight = Vec::new();
    for number in 0..EACH {
        let id = format!("{name}-{number}");
        if name.is_multiple_of(2) {
            handle.publish(CHANNEL, id, "content").wait().unwrap();
            continue;
        }
        match handle.try_publish(CHANNEL, id.as_str(), "content") {
            Ok(publication) => in_flight.push(publication),
            Err(full) => {
                assert_eq!(full.reason, HandleError::Full);
                handle.publish(CHANNEL, id, full.content).wait().unwrap();
            }
        }
    }
    in_flight.into_iter().for_each(|publication| publication.wait().unwrap());
}

#[test]
fn many_threads_publish_through_one_event_loop_and_nothing_is_lost_or_overtaken() {
    let transport = MemoryGroup::new(1).join();
    let (handle, mut events) = event_loop::spawn(roomy(), transport).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|name| {
            let handle = handle.clone();
            thread::spawn(move || publish_all(&handle, name))
        })
        .collect();

    let mut next = BTreeMap::new();
    let delivered = events.iter().filter_map(|event| match event {
        Event::Node(Effect::Deliver(delivery)) => Some(delivery.entry.message_id.to_string()),
        _ => None,
    });
    for id in delivered.take(THREADS * EACH) {
        let (name, number) = id.split_once('-').unwrap();
        let next = next.entry(name.to_owned()).or_insert(0);
        assert_eq!(number.parse(), Ok(*next), "thread {name}");
        *next += 1;
    }
    assert!(next.values().all(|count| *count == EACH), "{next:?}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(handle.status(CHANNEL).wait().unwrap().logged, THREADS * EACH);
    assert_eq!(handle.metrics().wait().unwrap().sent_new, (THREADS * EACH) as u64);
}

#[test]
fn an_idle_event_loop_makes_no_turns() {
    let transport = MemoryGroup::new(1).join();
    let (handle, _events) = event_loop::spawn(config("alice"), transport).unwrap();
    let before = handle.metrics().wait().unwrap().turns;
    // The one test that waits for time: it is what it measures.
    thread::sleep(Duration::from_secs(1));
    let turns = handle.metrics().wait().unwrap().turns - before;
    // The first answer is sent within a turn, so that one may end it; one is the second question.
    assert!(turns <= 3, "{turns} turns in a second with nothing to do");
}

#[test]
fn an_event_loop_turns_for_its_deadlines_and_for_little_else() {
    let (handle, mut events) = alone(Options::default());
    handle.publish(CHANNEL, "m1", "content").wait().unwrap();
    let before = handle.metrics().wait().unwrap();
    let resends = |handle: &Handle| handle.metrics().wait().unwrap().sent_resends;
    let mut asked = 0;
    while resends(&handle) < 3 {
        asked += 1;
        thread::sleep(Duration::from_millis(20));
    }
    let after = handle.metrics().wait().unwrap();
    let due = after.sent_resends + after.sent_syncs - before.sent_resends - before.sent_syncs;
    // A deadline may be due for other reasons than to send; a question may come amid a turn.
    let (turns, most) = (after.turns - before.turns, 2 * (due + asked + 2));
    assert!(turns <= most, "{turns} turns for {due} datagrams and {asked} questions");
    drop(handle);
    assert!(events.iter().count() > 0);
}

/// A transport that takes nothing until it is let go.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Bar>>);

#[derive(Default)]
struct Bar {
    open: bool,
    waiting: Option<Waker>,
    sent: usize,
}

impl Gate {
    fn open(&self) {
        let mut bar = self.0.lock().unwrap();
        bar.open = true;
        let waiting = bar.waiting.take();
        drop(bar);
        waiting.unwrap().wake();
    }

    fn sent(&self) -> usize {
        self.0.lock().unwrap().sent
    }
}

impl Transport for Gate {
    fn max_datagram_len(&self) -> usize {
        usize::MAX
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, _: &Bytes) -> Poll<Result<(), SendError>> {
        let mut bar = self.0.lock().unwrap();
        if bar.open {
            bar.sent += 1;
            return Poll::Ready(Ok(()));
        }
        bar.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Received>> {
        Poll::Pending
    }
}

/// A node that is held back: its transport takes nothing, and it has had as many messages as it
/// takes in.
fn held_back(options: Options) -> (Handle, Events, Gate, usize) {
    let gate = Gate::default();
    let event_loop = EventLoop::new().unwrap();
    let (handle, events) = event_loop.spawn(config("alice"), gate.clone(), options).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    let mut taken = 0;
    loop {
        match handle.try_publish(CHANNEL, format!("m{taken}"), "content") {
            Ok(_) => taken += 1,
            Err(error) if gate.0.lock().unwrap().waiting.is_some() => {
                assert_eq!(error.reason, HandleError::Full);
                assert_eq!(error.content, "content");
                return (handle, events, gate, taken);
            }
            // It fills and empties until the transport is in the way.
            Err(_) => thread::yield_now(),
        }
    }
}

#[test]
fn back_pressure_is_visible_and_a_publish_waits_until_it_is_over() {
    let options = Options::default().commands(4).sends(2);
    let (handle, events, gate, taken) = held_back(options);
    drop(events);
    let waiting = {
        let handle = handle.clone();
        thread::spawn(move || handle.publish(CHANNEL, "waits", "content").wait())
    };
    assert_eq!(gate.sent(), 0);
    gate.open();
    waiting.join().unwrap().unwrap();
    handle.publish(CHANNEL, "last", "content").wait().unwrap();
    assert_eq!(handle.log(CHANNEL).wait().unwrap().entries.len(), taken + 2);
    handle.shutdown().wait();
    assert_eq!(gate.sent(), taken + 2);
}

#[test]
fn a_publication_says_what_became_of_it() {
    let (handle, _events) = alone(Options::default());
    let accepted = handle.try_publish(CHANNEL, "m1", "content").unwrap();
    let repeated = handle.try_publish(CHANNEL, "m1", "again").unwrap();
    let dropped = handle.try_publish(CHANNEL, "m2", "content").unwrap();
    drop(dropped);
    assert_eq!(accepted.wait(), Ok(()));
    let error = repeated.wait().unwrap_err();
    assert_eq!(error.reason, HandleError::Rejected(RejectReason::IdKnown));
    assert_eq!(error.content, "again");
    assert_eq!(handle.log(CHANNEL).wait().unwrap().entries.len(), 2);
    handle.shutdown().wait();
    let error = handle.try_publish(CHANNEL, "m3", "late").unwrap_err();
    assert_eq!((error.reason, error.content), (HandleError::Stopped, "late".into()));
}

#[test]
fn a_shutdown_amid_work_answers_every_call_and_keeps_what_it_accepted() {
    for _ in 0..20 {
        let (handle, mut events) = alone(Options::default().commands(4).events(usize::MAX));
        let threads: Vec<_> = (0..4)
            .map(|name| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let publish =
                        |number| handle.publish(CHANNEL, format!("{name}-{number}"), "content");
                    let stopped = (0..).find_map(|number| {
                        let error = publish(number).wait().err()?;
                        Some((number, error.reason))
                    });
                    stopped.unwrap()
                })
            })
            .collect();
        while handle.status(CHANNEL).wait().unwrap().logged < 10 {}
        handle.shutdown().wait();
        let mut accepted = 0;
        for thread in threads {
            let (count, reason) = thread.join().unwrap();
            assert!(
                matches!(
                    reason,
                    HandleError::Stopped | HandleError::Rejected(RejectReason::OutgoingFull { .. })
                ),
                "{reason}"
            );
            accepted += count;
        }
        let delivered = |event: &Event| matches!(event, Event::Node(Effect::Deliver(_)));
        assert_eq!(events.iter().filter(delivered).count(), accepted);
    }
}

#[test]
fn dropping_the_last_handle_sends_what_is_to_be_sent_and_ends_the_thread() {
    let gate = Gate::default();
    let (handle, mut events) = event_loop::spawn(config("alice"), gate.clone()).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    handle.publish(CHANNEL, "m1", "content").wait().unwrap();
    let clone = handle.clone();
    drop(handle);
    clone.publish(CHANNEL, "m2", "content").wait().unwrap();
    let releaser = {
        let gate = gate.clone();
        thread::spawn(move || {
            while gate.0.lock().unwrap().waiting.is_none() {
                thread::yield_now();
            }
            gate.open();
        })
    };
    drop(clone);
    releaser.join().unwrap();
    assert_eq!(gate.sent(), 2);
    assert_eq!(Arc::strong_count(&gate.0), 1, "the thread holds the transport no more");
    assert!(events.iter().count() >= 2);
}

#[test]
fn a_panic_of_the_transport_stops_the_driver_and_hangs_nobody() {
    struct Broken;

    impl Transport for Broken {
        fn max_datagram_len(&self) -> usize {
            usize::MAX
        }

        fn poll_send(&mut self, _: &mut Context<'_>, _: &Bytes) -> Poll<Result<(), SendError>> {
            panic!("as the test wants it")
        }

        fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Received>> {
            Poll::Pending
        }
    }

    let (handle, mut events) = event_loop::spawn(config("alice"), Broken).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    // It is accepted before it is sent.
    drop(handle.publish(CHANNEL, "m1", "content").wait());
    while handle.channels().wait().is_ok() {}
    handle.shutdown().wait();
    while events.iter().next().is_some() {}
}

#[test]
fn the_last_handle_may_be_dropped_on_the_thread_itself() {
    /// Holds a handle to drop when it is to send something.
    struct Keeper(Arc<Mutex<Option<Handle>>>);

    impl Transport for Keeper {
        fn max_datagram_len(&self) -> usize {
            usize::MAX
        }

        fn poll_send(&mut self, _: &mut Context<'_>, _: &Bytes) -> Poll<Result<(), SendError>> {
            let handle = self.0.lock().unwrap().take();
            drop(handle);
            Poll::Ready(Ok(()))
        }

        fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Received>> {
            Poll::Pending
        }
    }

    let kept = Arc::new(Mutex::new(None));
    let keeper = Keeper(Arc::clone(&kept));
    let (handle, mut events) = event_loop::spawn(config("alice"), keeper).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    let mut place = kept.lock().unwrap();
    let publication = handle.try_publish(CHANNEL, "m1", "content").unwrap();
    *place = Some(handle);
    drop(place);
    assert_eq!(publication.wait(), Ok(()));
    assert!(events.iter().count() > 0);
}
