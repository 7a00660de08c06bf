//! Properties of the event loop alone: idleness, and its thread.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use common::{CHANNEL, config};
use sds_runtime::event_loop::{self, EventLoop};
use sds_runtime::transport::{MemoryGroup, Received, SendError};
use sds_runtime::{Events, Handle, Options, Transport, Wait};

/// A node alone, with the channel open.
fn alone(options: Options) -> (Handle, Events) {
    let transport = MemoryGroup::new(1).join();
    let event_loop = EventLoop::new().unwrap();
    let (handle, events) = event_loop.spawn(config("alice"), transport, options).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    (handle, events)
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

#[test]
fn dropping_the_last_handle_returns_when_the_thread_has_ended() {
    let group = MemoryGroup::new(1);
    let (handle, mut events) = event_loop::spawn(config("alice"), group.join()).unwrap();
    let clone = handle.clone();
    drop(handle);
    assert_eq!(group.present(), 1);
    drop(clone);
    assert_eq!(group.present(), 0);
    assert!(events.iter().next().is_none());
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
