//! Slow parts: what waits for them, and that all of it arrives in the end.

use core::time::Duration;
use std::thread;

use futures_lite::future::{or, poll_once, zip};
use sds_proto::{Config, DeliverySeq, Event, RejectReason, RetrievalId, RetrievalOutcome};
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, Events, Handle, HandleError, Options, Wait};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::{Driver, join, join_with};
use crate::gate::Gate;

/// A node behind a shut gate that has had as many messages as it takes in.
fn held_back<D: Driver>(options: Options) -> (Handle, Events, Gate, usize) {
    let gate = Gate::new(MemoryGroup::new(1).join());
    let (handle, events) = D::new().spawn_with(config("alice"), gate.transport(), options).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    gate.shut();
    let mut taken = 0;
    loop {
        let waited_for = gate.is_waited_for();
        match handle.try_publish(CHANNEL, format!("m{taken}"), "content") {
            Ok(_) => taken += 1,
            Err(error) if waited_for => {
                assert_eq!(error.reason, HandleError::Full);
                assert_eq!(error.content, "content");
                return (handle, events, gate, taken);
            }
            // It fills and empties until the transport is in the way.
            Err(_) => thread::yield_now(),
        }
    }
}

pub(crate) fn back_pressure_is_visible_and_a_publish_waits_until_it_is_over<D: Driver>() {
    let options = Options::default().commands(4).sends(2);
    let (handle, events, gate, taken) = held_back::<D>(options);
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
    assert!(gate.sent() >= taken + 2, "{} sent of {}", gate.sent(), taken + 2);
}

pub(crate) fn questions_are_answered_while_the_transport_takes_nothing<D: Driver>() {
    let options = Options::default().commands(4).sends(2);
    let (handle, mut events, gate, taken) = held_back::<D>(options);
    // Calls that wait for room, too.
    let waiting = [0, 1, 2, 3, 4].map(|number| {
        let handle = handle.clone();
        let id = format!("waits{number}");
        thread::spawn(move || handle.publish(CHANNEL, id, "content").wait())
    });
    let asks = async {
        // More often than queues are long.
        for _ in 0..100 {
            assert!(handle.metrics().await.unwrap().sends_waiting >= 2);
            assert!(handle.status(CHANNEL).await.unwrap().logged >= 2);
            assert_eq!(handle.channels().await.unwrap(), [CHANNEL.into()]);
            assert!(handle.stored_channels().await.unwrap().is_empty());
            assert!(handle.log(CHANNEL).await.unwrap().entries.len() >= 2);
            assert!(handle.outgoing(CHANNEL).await.unwrap().len() >= 2);
            assert!(handle.missing(CHANNEL).await.unwrap().is_empty());
            assert!(handle.missing_dependencies(CHANNEL, "m0").await.unwrap().is_empty());
            handle.consumed(CHANNEL, DeliverySeq(1)).await.unwrap();
        }
        true
    };
    let gives_up = async {
        smol::Timer::after(Duration::from_secs(30)).await;
        false
    };
    assert!(run(or(asks, gives_up)), "a question waits for the transport");
    assert_eq!(gate.sent(), 0);
    gate.open();
    for call in waiting {
        call.join().unwrap().unwrap();
    }
    for _ in 0..taken + 5 {
        run(next_delivery(&mut events));
    }

    // So is a shutdown.
    gate.shut();
    drop(handle.try_publish(CHANNEL, "last", "content"));
    handle.shutdown().wait();
    assert_eq!(handle.metrics().wait(), Err(HandleError::Stopped));
}

pub(crate) fn questions_are_answered_while_publications_wait_for_a_reader<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let options =
            Options::default().events(1).commands(2).max_stall(Duration::from_secs(3_600));
        let (alice, mut events) = join_with::<D>(config("alice"), group.join(), options).await;
        let mut publications = Vec::new();
        let asks = async {
            // Beyond what is held there is no room for a command.
            loop {
                let id = format!("m{}", publications.len());
                match alice.try_publish(CHANNEL, id, "content") {
                    Ok(publication) => publications.push(publication),
                    Err(_) if alice.metrics().await.unwrap().publishes_waiting > 0 => break,
                    Err(_) => {}
                }
            }
            assert!(alice.status(CHANNEL).await.unwrap().logged > 0);
            alice.consumed(CHANNEL, DeliverySeq(1)).await.is_ok()
        };
        let gives_up = async {
            smol::Timer::after(Duration::from_secs(30)).await;
            false
        };
        assert!(or(asks, gives_up).await, "a question waits for events to be read");
        let read = async { read_all::<()>(&mut events).await.is_some() };
        let published = async {
            for publication in publications {
                publication.await.unwrap();
            }
            true
        };
        assert!(or(published, read).await);
    });
}

pub(crate) fn a_publication_says_what_became_of_it<D: Driver>() {
    run(async {
        let (handle, _events) = join::<D>(&MemoryGroup::new(1), "alice").await;
        let accepted = handle.try_publish(CHANNEL, "m1", "content").unwrap();
        let repeated = handle.try_publish(CHANNEL, "m1", "again").unwrap();
        let dropped = handle.try_publish(CHANNEL, "m2", "content").unwrap();
        drop(dropped);
        assert_eq!(accepted.await, Ok(()));
        let error = repeated.await.unwrap_err();
        let known = RejectReason::IdKnown;
        assert_eq!((error.reason, error.content), (HandleError::Rejected(known), "again".into()));
        assert_eq!(handle.log(CHANNEL).await.unwrap().entries.len(), 2);
        handle.shutdown().await;
        let error = handle.try_publish(CHANNEL, "m3", "late").unwrap_err();
        assert_eq!((error.reason, error.content), (HandleError::Stopped, "late".into()));
    });
}

pub(crate) fn events_that_are_read_late_are_all_there_in_order<D: Driver>() {
    const MESSAGES: usize = 500;
    run(async {
        let group = MemoryGroup::new(2 * MESSAGES);
        let options = Options::default().events(8).commands(4);
        let (alice, mut events) = join_with::<D>(config("alice"), group.join(), options).await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        let publishing = thread::spawn(move || {
            for number in 0..MESSAGES {
                alice.publish(CHANNEL, format!("m{number}"), "content").wait().unwrap();
            }
            alice
        });
        // Alice's events fill and hold her back; bob's are read, so that he hears all she said.
        let early = next_delivery(&mut bob_events).await.entry;
        assert_eq!(early.message_id(), *"m0");
        assert!(!publishing.is_finished(), "nobody reads her events, and she is not held back");
        for number in 0..MESSAGES {
            let delivery = next_delivery(&mut events).await;
            assert_eq!(delivery.entry.message_id(), *format!("m{number}"));
            assert_eq!(delivery.seq.0, number as u64 + 1);
        }
        let alice = publishing.join().unwrap();
        for _ in 1..MESSAGES {
            next_delivery(&mut bob_events).await;
        }
        drop(events);
        assert_eq!(alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
    });
}

pub(crate) fn unread_events_that_repeat_are_skipped_and_counted<D: Driver>() {
    run(async {
        let gate = Gate::new(MemoryGroup::new(1).join());
        let options = Options::default().events(4);
        let config = config("alice").to_builder().resend_after(Duration::from_millis(1));
        let (handle, mut events) =
            D::new().spawn_with(config.build().unwrap(), gate.transport(), options).unwrap();
        handle.open(CHANNEL).await.unwrap();
        gate.set_broken(true);
        handle.publish(CHANNEL, "m1", "content").await.unwrap();
        // Resends and syncs go on failing although nobody reads that they do.
        while gate.failed() < 20 {
            thread::yield_now();
        }
        let delivered = |event| match event {
            DriverEvent::Node(Event::Deliver(delivery)) => Some(delivery),
            _ => None,
        };
        assert!(next(&mut events, delivered).await.own);
        let skipped = |event| match event {
            DriverEvent::Skipped { count } => Some(count),
            _ => None,
        };
        let skipped = next(&mut events, skipped).await;
        assert!(skipped > 0);
        assert!(handle.metrics().await.unwrap().skipped_events >= skipped);
    });
}

/// May have so many messages unacknowledged, and gives none of them up.
fn patient(max_outgoing: usize) -> Config {
    let ms = Duration::from_millis;
    let config = config("alice").to_builder().max_outgoing(max_outgoing).max_resends(u32::MAX);
    config.resend_after(ms(20)).resend_max(ms(100)).build().unwrap()
}

pub(crate) fn every_call_is_answered_while_nobody_reads_the_events<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        // From twice as many on, messages to publish wait as well.
        let options = Options::default().events(4);
        let (alice, _unread) = join_with::<D>(config("alice"), group.join(), options).await;
        let (bob, _unread_either) = join::<D>(&group, "bob").await;
        for number in 0..5 {
            bob.publish(CHANNEL, format!("b{number}"), "content").await.unwrap();
        }
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        while alice.metrics().await.unwrap().events_unread < 4 {
            thread::yield_now();
        }
        alice.publish_ephemeral(CHANNEL, "e1", "content").await.unwrap();
        alice.consumed(CHANNEL, DeliverySeq(1)).await.unwrap();
        alice.hint(CHANNEL, "m1", "where").await.unwrap();
        alice.dependencies_met(CHANNEL, vec!["m0".into()]).await.unwrap();
        alice.retrieved(RetrievalId(1), RetrievalOutcome::NotFound).await.unwrap();
        alice.resend(CHANNEL, "m1").await.unwrap();
        assert_eq!(alice.outgoing(CHANNEL).await.unwrap().len(), 1);
        alice.missing(CHANNEL).await.unwrap();
        alice.missing_dependencies(CHANNEL, "m1").await.unwrap();
        alice.open("another").await.unwrap();
        alice.close("another").await.unwrap();
        assert!(!alice.log(CHANNEL).await.unwrap().entries.is_empty());
        assert!(alice.status(CHANNEL).await.unwrap().logged >= 1);
        assert_eq!(alice.channels().await.unwrap().len(), 1);
        assert_eq!(alice.stored_channels().await.unwrap().len(), 0);
        alice.reset().await.unwrap();
        alice.drop_channel(CHANNEL).await.unwrap();
        alice.shutdown().await;
    });
}

pub(crate) fn a_publish_waits_for_room_in_the_order_of_the_calls<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let (alice, mut events) =
            join_with::<D>(patient(2), group.join(), Options::default()).await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        alice.publish(CHANNEL, "m2", "content").await.unwrap();
        let full = HandleError::Rejected(RejectReason::OutgoingFull { limit: 2 });
        let refused = alice.try_publish(CHANNEL, "m3", "content").unwrap().await.unwrap_err();
        assert_eq!((refused.reason, refused.content), (full, "content".into()));
        // Another channel has room of its own.
        alice.open("another").await.unwrap();

        let ids = ["m3", "m4", "m5", "m6"];
        let mut calls: Vec<_> =
            ids.iter().map(|id| Box::pin(alice.publish(CHANNEL, *id, "content"))).collect();
        for call in &mut calls {
            assert_eq!(poll_once(call).await, None);
        }
        while alice.metrics().await.unwrap().publishes_waiting < 4 {
            thread::yield_now();
        }
        alice.publish("another", "m1", "content").await.unwrap();
        // Cancelled while it waits, it is never published.
        drop(calls.remove(1));
        assert_eq!(alice.status(CHANNEL).await.unwrap().logged, 2);

        // Somebody who acknowledges.
        let (bob, _events) = join::<D>(&group, "bob").await;
        let says = async {
            for number in 0.. {
                if poll_once(&mut calls[2]).await.is_some_and(|done| done.is_ok()) {
                    break;
                }
                bob.publish(CHANNEL, format!("b{number}"), "content").await.unwrap();
                smol::Timer::after(Duration::from_millis(5)).await;
            }
        };
        let mut own = Vec::new();
        let reads = async {
            while own.last().is_none_or(|id| id != "m6") {
                let delivery = next_delivery(&mut events).await;
                if delivery.own && delivery.channel.as_bytes() == CHANNEL.as_bytes() {
                    own.push(delivery.entry.message_id().to_string());
                }
            }
        };
        zip(says, reads).await;
        assert_eq!(own, ["m1", "m2", "m3", "m5", "m6"]);
    });
}

pub(crate) fn a_publish_that_waits_for_room_hears_that_there_will_be_none<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let (alice, _events) = join_with::<D>(patient(1), group.join(), Options::default()).await;
        let closed = HandleError::Rejected(RejectReason::ChannelNotOpen);
        for (end, expected) in
            [(End::Close, closed), (End::Drop, closed), (End::Shutdown, HandleError::Stopped)]
        {
            alice.publish(CHANNEL, "first", "content").await.unwrap();
            let call = async { alice.publish(CHANNEL, "second", "content").await.unwrap_err() };
            let ending = async {
                while alice.metrics().await.unwrap().publishes_waiting == 0 {
                    thread::yield_now();
                }
                match end {
                    End::Close => alice.close(CHANNEL).await.unwrap(),
                    End::Drop => alice.drop_channel(CHANNEL).await.unwrap(),
                    End::Shutdown => return alice.shutdown().await,
                }
                alice.open(CHANNEL).await.unwrap();
            };
            let error = zip(call, ending).await.0;
            assert_eq!((error.reason, error.content), (expected, "content".into()));
        }
    });
}

/// The reason why a channel takes nothing more.
enum End {
    Close,
    Drop,
    Shutdown,
}

pub(crate) fn a_reset_makes_room_for_a_publish_that_waits<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let (alice, _events) = join_with::<D>(patient(1), group.join(), Options::default()).await;
        alice.publish(CHANNEL, "first", "content").await.unwrap();
        let call = async { alice.publish(CHANNEL, "second", "content").await };
        let ending = async {
            while alice.metrics().await.unwrap().publishes_waiting == 0 {
                thread::yield_now();
            }
            alice.reset().await.unwrap();
        };
        assert_eq!(zip(call, ending).await.0, Ok(()));
    });
}

pub(crate) fn who_publishes_and_reads_no_events_is_refused_at_last<D: Driver>() {
    run(async {
        let options = || Options::default().events(4).max_stall(Duration::from_millis(300));
        // For want of acknowledgements, which are not heard any more.
        let group = MemoryGroup::new(256);
        let (alice, mut events) = join_with::<D>(patient(5), group.join(), options()).await;
        for number in 0..5 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        let error = alice.publish(CHANNEL, "m5", "content").await.unwrap_err();
        let full = RejectReason::OutgoingFull { limit: 5 };
        assert_eq!((error.reason, error.content), (HandleError::Rejected(full), "content".into()));
        assert_eq!(alice.status(CHANNEL).await.unwrap().logged, 5);

        // For want of room for events.
        let (bob, mut bob_events) = join_with::<D>(config("bob"), group.join(), options()).await;
        let error = loop {
            let id = format!("b{}", bob.status(CHANNEL).await.unwrap().delivered.0);
            if let Err(error) = bob.publish(CHANNEL, id, "content").await {
                break error;
            }
        };
        assert_eq!(error.reason, HandleError::Full);
        let unread = bob.metrics().await.unwrap().events_unread;
        assert!(unread >= 8, "{unread} events are unread");
        assert!(unread < 100, "{unread} events are unread");

        // Both go on once they read.
        events.next().await;
        bob_events.next().await;
        let calls =
            zip(alice.publish(CHANNEL, "m5", "content"), bob.publish(CHANNEL, "last", "content"));
        let reads = zip(read_all(&mut events), read_all::<()>(&mut bob_events));
        let done = async { Some(calls.await) };
        let (one, other) = or(done, async { reads.await.0 }).await.expect("the drivers run");
        assert_eq!((one, other), (Ok(()), Ok(())));
    });
}

/// Reads until the driver ends.
async fn read_all<T>(events: &mut Events) -> Option<T> {
    while events.next().await.is_some() {}
    None
}
