//! What waits when something is slower than the rest, and that all of it comes in the end.

use core::time::Duration;
use std::thread;

use sds_proto::Effect;
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{Event, Events, Handle, HandleError, Options, Wait};

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

pub(crate) fn a_publication_says_what_became_of_it<D: Driver>() {
    run(async {
        let (handle, _events) = join::<D>(&MemoryGroup::new(1), "alice").await;
        let accepted = handle.try_publish(CHANNEL, "m1", "content").unwrap();
        let repeated = handle.try_publish(CHANNEL, "m1", "again").unwrap();
        let dropped = handle.try_publish(CHANNEL, "m2", "content").unwrap();
        drop(dropped);
        assert_eq!(accepted.await, Ok(()));
        let error = repeated.await.unwrap_err();
        let known = sds_proto::RejectReason::IdKnown;
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
            Event::Node(Effect::Deliver(delivery)) => Some(delivery),
            _ => None,
        };
        assert!(next(&mut events, delivered).await.own);
        let skipped = |event| match event {
            Event::Skipped { count } => Some(count),
            _ => None,
        };
        let skipped = next(&mut events, skipped).await;
        assert!(skipped > 0);
        assert!(handle.metrics().await.unwrap().skipped_events >= skipped);
    });
}
