//! The smol driver on in-memory transports: what goes in comes out, and nothing else does.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{CHANNEL, config, next, next_delivery, run};
use futures_lite::StreamExt;
use sds_proto::{Config, Durability, Effect, RejectReason};
use sds_runtime::smol::{self as driver, Timer};
use sds_runtime::transport::{Faults, Lossy, MemoryGroup, Peer};
use sds_runtime::{Event, Events, Handle, HandleError, StartError, Transport};

/// A participant that has joined the group and opened the channel.
async fn join(group: &MemoryGroup, name: &str) -> (Handle, Events) {
    let (handle, events) = driver::spawn(config(name), group.join()).unwrap();
    handle.open(CHANNEL).await.unwrap();
    (handle, events)
}

#[test]
fn messages_go_both_ways() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut alice_events) = join(&group, "alice").await;
        let (bob, mut bob_events) = join(&group, "bob").await;

        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        let delivery = next_delivery(&mut bob_events).await;
        assert_eq!(delivery.entry.content, "hello");
        assert_eq!(delivery.entry.sender_id, "alice".into());
        assert!(!delivery.own);

        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content, "hello yourself");
    });
}

#[test]
fn logs_and_digests_agree_once_all_is_delivered() {
    run(async {
        let group = MemoryGroup::new(1_024);
        let (alice, _alice_events) = join(&group, "alice").await;
        let (bob, mut bob_events) = join(&group, "bob").await;
        for number in 0..100 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        for _ in 0..100 {
            next_delivery(&mut bob_events).await;
        }
        let (ours, theirs) = (alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
        assert_eq!(ours, theirs);
        assert_eq!(ours.entries.len(), 100);
        assert_eq!(bob.status(CHANNEL).await.unwrap().logged, 100);
        assert_eq!(bob.channels().await.unwrap(), [CHANNEL.into()]);
        assert_eq!(alice.metrics().await.unwrap().sent_new, 100);
        assert!(bob.metrics().await.unwrap().received >= 100);
    });
}

#[test]
fn an_acknowledgement_is_reported() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join(&group, "alice").await;
        let (_bob, _events) = join(&group, "bob").await;
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        let acked = |event| match event {
            Event::Node(Effect::Acked { message_id, .. }) => Some(message_id),
            _ => None,
        };
        assert_eq!(next(&mut events, acked).await, "m1".into());
    });
}

#[test]
fn an_ephemeral_message_is_heard_and_not_logged() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, _alice_events) = join(&group, "alice").await;
        let (bob, mut events) = join(&group, "bob").await;
        alice.publish_ephemeral(CHANNEL, "e1", "typing").await.unwrap();
        let ephemeral = |event| match event {
            Event::Node(Effect::DeliverEphemeral { content, .. }) => Some(content),
            _ => None,
        };
        assert_eq!(next(&mut events, ephemeral).await, "typing");
        assert!(bob.log(CHANNEL).await.unwrap().entries.is_empty());
    });
}

#[test]
fn a_bad_network_only_delays() {
    run(async {
        let group = MemoryGroup::new(1_024);
        let lossy = |name: &str, seed| {
            let faults = Faults::seeded(seed).loss(0.4).duplication(0.2);
            let faults = faults.reordering(core::time::Duration::from_millis(50));
            let transport = Lossy::new(group.join(), Timer::default(), faults);
            driver::spawn(config(name), transport).unwrap()
        };
        let (alice, _alice_events) = lossy("alice", 1);
        let (bob, mut bob_events) = lossy("bob", 2);
        alice.open(CHANNEL).await.unwrap();
        bob.open(CHANNEL).await.unwrap();
        for number in 0..50 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        for _ in 0..50 {
            next_delivery(&mut bob_events).await;
        }
        assert_eq!(alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
    });
}

#[test]
fn a_refused_publish_says_why_and_gives_the_content_back() {
    run(async {
        let (alice, _events) = join(&MemoryGroup::new(64), "alice").await;
        let content = Bytes::from_static(b"precious");

        let error = alice.publish("elsewhere", "m1", content.clone()).await.unwrap_err();
        assert_eq!(error.reason, HandleError::Rejected(RejectReason::ChannelNotOpen));
        assert_eq!(error.content, content);

        alice.publish(CHANNEL, "m1", error.content).await.unwrap();
        let error = alice.publish(CHANNEL, "m1", content.clone()).await.unwrap_err();
        assert_eq!(error.reason, HandleError::Rejected(RejectReason::IdKnown));
        assert_eq!(error.content, content);
        assert_eq!(error.to_string(), format!("not published: {}", RejectReason::IdKnown));
    });
}

#[test]
fn other_refusals_say_why() {
    run(async {
        let (alice, _events) = join(&MemoryGroup::new(64), "alice").await;
        let rejected = |reason| Err(HandleError::Rejected(reason));
        assert_eq!(alice.open(CHANNEL).await, rejected(RejectReason::ChannelAlreadyOpen));
        assert_eq!(alice.close("elsewhere").await, rejected(RejectReason::ChannelNotOpen));
        assert_eq!(alice.log("elsewhere").await, rejected_log());
        assert!(alice.status("elsewhere").await.is_err());
        assert_eq!(alice.close(CHANNEL).await, Ok(()));
        assert_eq!(alice.log(CHANNEL).await, rejected_log());
        alice.open_with(CHANNEL, Arc::new(config("alice"))).await.unwrap();
    });
}

fn rejected_log() -> Result<sds_runtime::LogSnapshot, HandleError> {
    Err(HandleError::Rejected(RejectReason::ChannelNotOpen))
}

#[test]
fn a_datagram_too_large_for_the_transport_is_reported_with_its_limit() {
    run(async {
        let group = MemoryGroup::with_max_datagram_len(64, 100);
        let (alice, mut events) = join(&group, "alice").await;
        alice.publish(CHANNEL, "m1", vec![7; 200]).await.unwrap();
        let too_large = |event| match event {
            Event::TooLarge { message_id, len, limit, .. } => Some((message_id, len, limit)),
            _ => None,
        };
        let (message_id, len, limit) = next(&mut events, too_large).await;
        assert_eq!((message_id, limit), ("m1".into(), 100));
        assert!(len > 200, "{len}");
        assert_eq!(alice.metrics().await.unwrap().sent_new, 0);
    });
}

#[test]
fn a_refused_datagram_is_reported_with_its_source() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join(&group, "alice").await;
        let mut stranger = group.join();
        let junk = Bytes::from_static(b"\xff\xff\xff");
        core::future::poll_fn(|cx| stranger.poll_send(cx, &junk)).await.unwrap();
        let refused = |event| match event {
            Event::DatagramRejected { reason, source, len } => Some((reason, source, len)),
            _ => None,
        };
        let (reason, source, len) = next(&mut events, refused).await;
        assert!(matches!(reason, RejectReason::Decode(_)), "{reason:?}");
        assert_eq!((source, len), (Peer::Member(1), 3));
        assert_eq!(alice.metrics().await.unwrap().rejected, 1);
    });
}

#[test]
fn a_driver_without_a_store_refuses_durability() {
    let durable = Config::builder().durability(Durability::Strict).build().unwrap();
    let error = driver::spawn(durable, MemoryGroup::new(1).join()).unwrap_err();
    assert_eq!(error, StartError::NeedsStore { durability: Durability::Strict });
    assert!(error.to_string().contains("needs a store"), "{error}");
}

#[test]
fn a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped() {
    run(async {
        let group = MemoryGroup::new(4_096);
        let (alice, events) = join(&group, "alice").await;
        drop(events);
        for number in 0..3_000 {
            let published = alice.publish(CHANNEL, format!("m{number}"), "content").await;
            if published.is_err() {
                // As many as may be unacknowledged, and nobody acknowledges.
                assert_eq!(number, 1_000);
                break;
            }
        }
        assert_eq!(alice.status(CHANNEL).await.unwrap().logged, 1_000);
    });
}

#[test]
fn shutdown_closes_the_transport_and_ends_the_events_after_the_last() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, events) = join(&group, "alice").await;
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(group.present(), 1);

        alice.clone().shutdown().await;
        assert_eq!(group.present(), 0);
        let unread: Vec<_> = events.collect().await;
        let delivered = |event: &Event| matches!(event, Event::Node(Effect::Deliver(_)));
        assert_eq!(unread.iter().filter(|event| delivered(event)).count(), 1);

        let error = alice.publish(CHANNEL, "m2", "too late").await.unwrap_err();
        assert_eq!((error.reason, error.content), (HandleError::Stopped, "too late".into()));
        assert_eq!(alice.open("another").await, Err(HandleError::Stopped));
        alice.shutdown().await;
    });
}

#[test]
fn dropping_the_last_handle_shuts_down() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join(&group, "alice").await;
        let clone = alice.clone();
        drop(alice);
        clone.publish(CHANNEL, "m1", "hello").await.unwrap();
        drop(clone);
        assert!(next_delivery(&mut events).await.own);
        while events.next().await.is_some() {}
        assert_eq!(group.present(), 0);
    });
}

#[test]
fn handles_work_from_many_threads() {
    const fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    run(async {
        let (alice, _events) = join(&MemoryGroup::new(64), "alice").await;
        shared(&alice);
        let threads = ["a", "b", "c", "d"].map(|name| {
            let alice = alice.clone();
            std::thread::spawn(move || {
                for number in 0..25 {
                    let id = format!("{name}{number}");
                    smol::block_on(alice.publish(CHANNEL, id, "content")).unwrap();
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(alice.log(CHANNEL).await.unwrap().entries.len(), 100);
    });
}
