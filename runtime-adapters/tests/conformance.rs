//! Every driver on in-memory transports: what goes in comes out, and nothing else does.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{CHANNEL, config, next, next_delivery, run};
use futures_lite::StreamExt;
use sds_proto::{Config, Durability, Effect, RejectReason};
use sds_runtime::event_loop::EventLoop;
use sds_runtime::transport::{Faults, Lossy, MemoryGroup, Peer};
use sds_runtime::{Event, Events, Handle, HandleError, Options, StartError, Transport};

type Started = Result<(Handle, Events), StartError>;

/// A driver, as an application chooses it.
trait Driver {
    fn spawn(config: Config, transport: impl Transport) -> Started;

    /// The same, and the transport suffers from `faults`.
    fn spawn_lossy(config: Config, transport: impl Transport, faults: Faults) -> Started;
}

struct OnSmol;

impl Driver for OnSmol {
    fn spawn(config: Config, transport: impl Transport) -> Started {
        sds_runtime::smol::spawn(config, transport)
    }

    fn spawn_lossy(config: Config, transport: impl Transport, faults: Faults) -> Started {
        let timer = sds_runtime::smol::Timer::default();
        Self::spawn(config, Lossy::new(transport, timer, faults))
    }
}

struct OnEventLoop;

impl Driver for OnEventLoop {
    fn spawn(config: Config, transport: impl Transport) -> Started {
        sds_runtime::event_loop::spawn(config, transport)
    }

    fn spawn_lossy(config: Config, transport: impl Transport, faults: Faults) -> Started {
        let event_loop = EventLoop::new().unwrap();
        let timer = event_loop.timer();
        event_loop.spawn(config, Lossy::new(transport, timer, faults), Options::default())
    }
}

/// Each of these on each driver.
macro_rules! conformance {
    ($($name:ident,)*) => {
        mod smol_driver {
            $(#[test] fn $name() { super::$name::<super::OnSmol>(); })*
        }
        mod event_loop {
            $(#[test] fn $name() { super::$name::<super::OnEventLoop>(); })*
        }
    };
}

conformance! {
    messages_go_both_ways,
    logs_and_digests_agree_once_all_is_delivered,
    an_acknowledgement_is_reported,
    an_ephemeral_message_is_heard_and_not_logged,
    a_bad_network_only_delays,
    a_refused_publish_says_why_and_gives_the_content_back,
    other_refusals_say_why,
    a_datagram_too_large_for_the_transport_is_reported_with_its_limit,
    a_refused_datagram_is_reported_with_its_source,
    a_driver_without_a_store_refuses_durability,
    a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped,
    shutdown_closes_the_transport_and_ends_the_events_after_the_last,
    dropping_the_last_handle_shuts_down,
    handles_work_from_many_threads,
}

/// A participant that has joined the group and opened the channel.
async fn join<D: Driver>(group: &MemoryGroup, name: &str) -> (Handle, Events) {
    let (handle, events) = D::spawn(config(name), group.join()).unwrap();
    handle.open(CHANNEL).await.unwrap();
    (handle, events)
}

fn messages_go_both_ways<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut alice_events) = join::<D>(&group, "alice").await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;

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

fn logs_and_digests_agree_once_all_is_delivered<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(1_024);
        let (alice, _alice_events) = join::<D>(&group, "alice").await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
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

fn an_acknowledgement_is_reported<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join::<D>(&group, "alice").await;
        let (_bob, _events) = join::<D>(&group, "bob").await;
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        let acked = |event| match event {
            Event::Node(Effect::Acked { message_id, .. }) => Some(message_id),
            _ => None,
        };
        assert_eq!(next(&mut events, acked).await, "m1".into());
    });
}

fn an_ephemeral_message_is_heard_and_not_logged<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, _alice_events) = join::<D>(&group, "alice").await;
        let (bob, mut events) = join::<D>(&group, "bob").await;
        alice.publish_ephemeral(CHANNEL, "e1", "typing").await.unwrap();
        let ephemeral = |event| match event {
            Event::Node(Effect::DeliverEphemeral { content, .. }) => Some(content),
            _ => None,
        };
        assert_eq!(next(&mut events, ephemeral).await, "typing");
        assert!(bob.log(CHANNEL).await.unwrap().entries.is_empty());
    });
}

fn a_bad_network_only_delays<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(1_024);
        let lossy = |name: &str, seed| {
            let faults = Faults::seeded(seed).loss(0.4).duplication(0.2);
            let faults = faults.reordering(core::time::Duration::from_millis(50));
            D::spawn_lossy(config(name), group.join(), faults).unwrap()
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

fn a_refused_publish_says_why_and_gives_the_content_back<D: Driver>() {
    run(async {
        let (alice, _events) = join::<D>(&MemoryGroup::new(64), "alice").await;
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

fn other_refusals_say_why<D: Driver>() {
    run(async {
        let (alice, _events) = join::<D>(&MemoryGroup::new(64), "alice").await;
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

fn a_datagram_too_large_for_the_transport_is_reported_with_its_limit<D: Driver>() {
    run(async {
        let group = MemoryGroup::with_max_datagram_len(64, 100);
        let (alice, mut events) = join::<D>(&group, "alice").await;
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

fn a_refused_datagram_is_reported_with_its_source<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join::<D>(&group, "alice").await;
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

fn a_driver_without_a_store_refuses_durability<D: Driver>() {
    let durable = Config::builder().durability(Durability::Strict).build().unwrap();
    let error = D::spawn(durable, MemoryGroup::new(1).join()).unwrap_err();
    assert_eq!(error, StartError::NeedsStore { durability: Durability::Strict });
    assert!(error.to_string().contains("needs a store"), "{error}");
}

fn a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(4_096);
        let (alice, events) = join::<D>(&group, "alice").await;
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

fn shutdown_closes_the_transport_and_ends_the_events_after_the_last<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, events) = join::<D>(&group, "alice").await;
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

fn dropping_the_last_handle_shuts_down<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join::<D>(&group, "alice").await;
        let clone = alice.clone();
        drop(alice);
        clone.publish(CHANNEL, "m1", "hello").await.unwrap();
        drop(clone);
        assert!(next_delivery(&mut events).await.own);
        while events.next().await.is_some() {}
        assert_eq!(group.present(), 0);
    });
}

fn handles_work_from_many_threads<D: Driver>() {
    const fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    run(async {
        let (alice, _events) = join::<D>(&MemoryGroup::new(64), "alice").await;
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
