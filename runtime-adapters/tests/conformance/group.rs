//! Groups in memory: what goes in comes out, and nothing else does.

use core::time::Duration;

use sds_proto::Effect;
use sds_runtime::transport::{Faults, Lossy, MemoryGroup};
use sds_runtime::{Event, Options};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::{Driver, join};

pub(crate) fn messages_go_both_ways<D: Driver>() {
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

pub(crate) fn logs_and_digests_agree_once_all_is_delivered<D: Driver>() {
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

pub(crate) fn an_acknowledgement_is_reported<D: Driver>() {
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

pub(crate) fn an_ephemeral_message_is_heard_and_not_logged<D: Driver>() {
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

pub(crate) fn a_bad_network_only_delays<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(1_024);
        let lossy = |name: &str, seed| {
            let faults = Faults::seeded(seed).loss(0.4).duplication(0.2);
            let faults = faults.reordering(Duration::from_millis(50));
            let driver = D::new();
            let transport = Lossy::new(group.join(), driver.timer(), faults);
            driver.spawn_with(config(name), transport, Options::default()).unwrap()
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
