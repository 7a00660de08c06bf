//! The driver turn by turn: polled by hand, on a transport that does as it is told.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use common::rig::{Rig, Strings, Turns, delivered, poll};
use common::{CHANNEL, config};
use futures_lite::future;
use sds_proto::Durability;
use sds_proto::wire::{FilterField, Outgoing, WireDialect};
use sds_runtime::store::{Faults, Faulty, Memory};
use sds_runtime::{Clock, DriverEvent, HandleError, Jumps, Options};

#[test]
fn a_publish_dropped_before_it_was_taken_was_never_made() {
    let mut rig = Rig::new(config("alice"), Options::default().commands(1));
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
    let mut rig = Rig::new(config("alice"), Options::default());
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
    let mut rig = Rig::new(config("alice"), Options::default());
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(rig.events.next())).is_pending());
    assert!(poll(&mut Box::pin(handle.publish(CHANNEL, "m1", "content"))).is_pending());
    rig.until_idle();
    assert_eq!(delivered(&rig.unread()), 1);
}

#[test]
fn unread_events_hold_back_datagrams_and_no_command() {
    let mut rig = Rig::new(config("alice"), Options::default().events(1));
    let handle = rig.handle();
    let mut first = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut first).is_pending());
    rig.until_idle();
    assert_eq!(poll(&mut first), Poll::Ready(Ok(())));

    let mut second = Box::pin(handle.publish(CHANNEL, "m2", "content"));
    assert!(poll(&mut second).is_pending());
    rig.strings(|strings| strings.inbox.push(Bytes::from_static(b"junk")));
    rig.until_idle();
    assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
    assert_eq!(rig.strings(|strings| strings.inbox.len()), 1);

    // Twice as many as there is room for: a message waits, and any other call is answered.
    let mut third = Box::pin(handle.publish(CHANNEL, "m3", "content"));
    assert!(poll(&mut third).is_pending());
    rig.until_idle();
    assert!(poll(&mut third).is_pending());
    assert_eq!(rig.logged(), 2);

    assert!(poll(&mut Box::pin(rig.events.next())).is_ready());
    let before = rig.wakes.0.load(Ordering::SeqCst);
    assert!(poll(&mut Box::pin(rig.events.next())).is_ready());
    assert_eq!(rig.wakes.0.load(Ordering::SeqCst), before + 1, "reading wakes the driver");
    rig.until_idle();
    assert_eq!(poll(&mut third), Poll::Ready(Ok(())));
    assert_eq!(rig.strings(|strings| strings.inbox.len()), 0);
}

#[test]
fn a_blocked_transport_holds_back_the_driver_and_loses_nothing() {
    let mut rig = Rig::new(config("alice"), Options::default().sends(2));
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
fn a_blocked_transport_does_not_hold_back_the_store() {
    let store = Faulty::new(Memory::default(), Faults::seeded(0));
    let switch = store.switch();
    let strict = config("alice").to_builder().durability(Durability::Strict).build().unwrap();
    let mut rig = Rig::new(strict, Options::default().sends(1).store(store));
    let handle = rig.handle();
    let publish = |id: &'static str| handle.publish(CHANNEL, id, "content");
    switch.hold();
    for id in ["m1", "m2", "m3"] {
        assert!(poll(&mut Box::pin(publish(id))).is_pending());
        rig.until_idle();
    }
    let (calls, held) = (switch.calls(), switch.is_waited_for());
    assert!(held);
    rig.strings(|strings| strings.blocked = true);
    switch.release();
    rig.until_idle();
    // The write of the first, and that of the others; of the sends of these one is in the way.
    assert_eq!(switch.calls(), calls + 2);
    assert_eq!(delivered(&rig.unread()), 1);
    rig.strings(|strings| strings.blocked = false);
    rig.until_idle();
    assert_eq!(delivered(&rig.unread()), 2);
    assert_eq!(rig.strings(|strings| strings.sent.len()), 3);
}

#[test]
fn transport_errors_are_reported_and_survived() {
    let mut rig = Rig::new(config("alice"), Options::default());
    let handle = rig.handle();
    rig.strings(|strings| (strings.send_error, strings.receive_error) = (true, true));
    let mut publish = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut publish).is_pending());
    assert!(!rig.until_idle(), "a broken socket keeps the driver neither busy nor dead");
    assert_eq!(poll(&mut publish), Poll::Ready(Ok(())));
    let unread = rig.unread();
    assert_eq!(
        unread.iter().filter(|event| matches!(event, DriverEvent::SendFailed(_))).count(),
        1
    );
    assert_eq!(
        unread.iter().filter(|event| matches!(event, DriverEvent::ReceiveFailed(_))).count(),
        1
    );
}

#[test]
fn receiving_is_tried_again_after_an_error() {
    let mut rig = Rig::new(config("alice"), Options::default());
    rig.strings(|strings| strings.receive_error = true);
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(handle.channels())).is_pending());
    rig.until_idle();
    assert!(matches!(rig.unread()[..], [DriverEvent::ReceiveFailed(_)]));

    rig.strings(|strings| {
        strings.receive_error = false;
        strings.inbox.push(Bytes::from_static(b"junk"));
    });
    let received = async {
        let refused = |event| matches!(event, DriverEvent::DatagramRejected { .. }).then_some(());
        common::next(&mut rig.events, refused).await;
    };
    common::run(future::or(received, &mut rig.run));
}

#[test]
fn a_peer_that_is_not_there_delays_no_datagram() {
    let mut rig = Rig::new(config("alice"), Options::default());
    rig.strings(|strings| (strings.resets, strings.inbox) = (3, vec![JUNK]));
    rig.until_idle();
    let told = rig.unread();
    assert_eq!(rig.strings(|strings| strings.inbox.len()), 0);
    assert_eq!(
        told.iter().filter(|event| matches!(event, DriverEvent::ReceiveFailed(_))).count(),
        3
    );
    assert!(matches!(told.last(), Some(DriverEvent::DatagramRejected { .. })), "{told:?}");
}

#[test]
fn a_socket_that_only_resets_keeps_the_driver_not_busy() {
    let mut rig = Rig::new(config("alice"), Options::default());
    rig.strings(|strings| strings.resets = usize::MAX);
    assert!(matches!(rig.until_idle_or(10), Turns::Idle(_)));
}

#[test]
fn a_socket_that_only_fails_is_asked_ten_times_a_second_at_most() {
    type Break = fn(&mut Strings);
    let breaks: [Break; 2] = [|it| it.receive_error = true, |it| it.resets = usize::MAX];
    for broken in breaks {
        let mut rig = Rig::new(config("alice"), Options::default());
        let begin = Instant::now();
        rig.strings(broken);
        let is_failure = |event: &DriverEvent| matches!(event, DriverEvent::ReceiveFailed(_));
        let asked = (0..200).filter(|_| {
            assert_eq!(rig.logged(), 0);
            rig.unread().iter().any(is_failure)
        });
        let asked = asked.count() as u128;
        assert!(asked >= 1);
        assert!(asked <= 1 + begin.elapsed().as_millis() / 100, "{asked}");
    }
}

#[test]
fn a_clock_that_goes_back_keeps_the_driver_not_busy() {
    let jumps = Jumps::default();
    let mut rig = Rig::new(config("alice"), Options::default().clock(Clock::jumping(&jumps)));
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
    let mut rig = Rig::new(config("alice"), Options::default());
    let handle = rig.handle();
    rig.strings(|strings| strings.inbox = vec![Bytes::from_static(b"junk"); 500]);
    let mut publish = Box::pin(handle.publish(CHANNEL, "m1", "content"));
    assert!(poll(&mut publish).is_pending());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut rig.run).poll(cx).is_pending());
    assert_eq!(poll(&mut publish), Poll::Ready(Ok(())));
    assert!(rig.strings(|strings| strings.inbox.len()) > 400);
}

/// A datagram that no node takes.
const JUNK: Bytes = Bytes::from_static(b"junk");

/// The content message that a member with this name sends first.
fn message_of(name: &str, message_id: &str, content: &'static str) -> Bytes {
    let mut rig = Rig::new(config(name), Options::default());
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(handle.publish(CHANNEL, message_id, content))).is_pending());
    rig.until_idle();
    rig.strings(|strings| strings.sent.remove(0))
}

#[test]
fn a_flood_takes_no_room_from_a_slow_reader_that_publishes() {
    const ROUNDS: usize = 200;
    let mut rig = Rig::new(config("alice"), Options::default().events(8).commands(ROUNDS));
    let handle = rig.handle();
    let ids: Vec<_> = (0..ROUNDS).map(|number| format!("m{number}")).collect();
    let mut publishes: Vec<_> =
        ids.iter().map(|id| Box::pin(handle.publish(CHANNEL, id.as_str(), "content"))).collect();
    publishes.iter_mut().for_each(|publish| assert!(poll(publish).is_pending()));
    for _ in 0..ROUNDS {
        rig.strings(|strings| strings.inbox.resize(64, JUNK));
        assert_ne!(rig.until_idle_or(4), Turns::Ended);
        drop(poll(&mut Box::pin(rig.events.next())));
    }
    let published =
        publishes.iter_mut().filter_map(|publish| poll(publish).is_ready().then_some(()));
    let published = published.count();
    assert!(published >= ROUNDS * 9 / 10, "{published} of {ROUNDS} messages are published");
}

#[test]
fn a_flood_fills_no_queue_that_others_need() {
    let honest = message_of("bob", "honest", "content");
    let forged = message_of("bob", "honest", "forged");
    let mut sync = Outgoing::default();
    (sync.channel_id, sync.message_id, sync.sender_id) = (CHANNEL.as_bytes(), b"sync", b"eve");
    (sync.lamport, sync.filter) = (Some(1), FilterField::Bytes(b"junk"));
    let mut wrong_filter = BytesMut::new();
    sync.encode(WireDialect::Lip109, &mut wrong_filter);
    let wrong_filter = wrong_filter.freeze();
    for (flood, before) in [(JUNK, None), (wrong_filter, None), (forged, Some(honest.clone()))] {
        let mut rig = Rig::new(config("alice"), Options::default().events(8));
        let last =
            if before.is_some() { message_of("bob", "other", "content") } else { honest.clone() };
        let wanted = 1 + usize::from(before.is_some());
        // The last comes first.
        rig.strings(|strings| {
            strings.inbox.push(last);
            strings.inbox.resize(1_000, flood);
            strings.inbox.extend(before);
        });
        assert!(!rig.until_idle());
        assert_eq!(rig.strings(|strings| strings.inbox.len()), 0);
        let unread = rig.unread();
        assert_eq!(delivered(&unread), wanted, "{unread:?}");
        assert!(unread.len() <= 8, "{unread:?}");
        assert!(
            unread.iter().any(|event| matches!(event, DriverEvent::Skipped { .. })),
            "{unread:?}"
        );
    }
}

#[test]
fn shutdown_carries_out_what_was_taken_and_sends_it() {
    let mut rig = Rig::new(config("alice"), Options::default());
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
    let mut rig = Rig::new(config("alice"), Options::default());
    let handle = rig.handle();
    assert!(poll(&mut Box::pin(handle.shutdown())).is_pending());
    assert!(rig.until_idle());
}

#[test]
fn a_shutdown_does_not_wait_for_unread_events() {
    let mut rig = Rig::new(config("alice"), Options::default().events(1));
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
    let mut rig = Rig::new(config("alice"), Options::default().flush(Duration::from_millis(20)));
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
    let rig = Rig::new(config("alice"), Options::default());
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
    let mut rig = Rig::new(config("alice"), Options::default());
    assert!(!rig.until_idle());
    rig.handle = None;
    assert!(rig.until_idle());
}
