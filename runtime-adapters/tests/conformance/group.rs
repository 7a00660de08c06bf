//! Groups in memory: what goes in comes out, and nothing else does.

use core::time::Duration;
use std::collections::BTreeSet;

use sds_proto::{ChannelId, Event};
use sds_runtime::transport::{Faults, Lossy, MemoryGroup, Peer};
use sds_runtime::{DriverEvent, Options};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::{Driver, join};
use crate::gate::Gate;

pub(crate) fn messages_go_both_ways<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut alice_events) = join::<D>(&group, "alice").await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;

        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        let delivery = next_delivery(&mut bob_events).await;
        assert_eq!(delivery.entry.content(), b"hello");
        assert_eq!(delivery.entry.sender_id(), *"alice");
        assert!(!delivery.own);

        bob.publish(CHANNEL, "m2", "hello yourself").await.unwrap();
        assert!(next_delivery(&mut alice_events).await.own);
        assert_eq!(next_delivery(&mut alice_events).await.entry.content(), b"hello yourself");
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
            DriverEvent::Node(Event::Acked { message_id, .. }) => Some(message_id),
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
            DriverEvent::Node(Event::DeliverEphemeral { content, .. }) => Some(content),
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

pub(crate) fn a_thousand_channels_at_once<D: Driver>() {
    const CHANNELS: usize = 1_000;
    run(async {
        let group = MemoryGroup::new(4 * CHANNELS);
        let quiet = |name| config(name).to_builder().bloom_capacity(100).sync(false).build();
        let (alice, _alice_events) = D::spawn(quiet("alice").unwrap(), group.join()).unwrap();
        let (bob, mut bob_events) = D::spawn(quiet("bob").unwrap(), group.join()).unwrap();
        for number in 0..CHANNELS {
            alice.open(format!("c{number}")).await.unwrap();
            bob.open(format!("c{number}")).await.unwrap();
        }
        let mut open: Vec<_> = (0..CHANNELS).map(|n| ChannelId::from(format!("c{n}"))).collect();
        open.sort();
        assert_eq!(alice.channels().await.unwrap(), open);
        for channel in &open {
            alice.publish(channel.clone(), "m1", "content").await.unwrap();
        }
        let mut delivered = BTreeSet::new();
        for _ in 0..CHANNELS {
            let delivery = next_delivery(&mut bob_events).await;
            assert_eq!(delivery.seq.0, 1);
            delivered.insert(delivery.channel);
        }
        assert!(delivered.iter().eq(&open));
    });
}

pub(crate) fn a_transport_that_fails_is_reported_and_survived<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let gate = Gate::new(group.join());
        let (alice, mut events) = D::spawn(config("alice"), gate.transport()).unwrap();
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        alice.open(CHANNEL).await.unwrap();
        gate.set_broken(true);
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        bob.publish(CHANNEL, "m2", "content").await.unwrap();
        let (mut sends, mut receives) = (0, 0);
        while sends == 0 || receives == 0 {
            match events.next().await.unwrap() {
                DriverEvent::SendFailed(error) => {
                    assert_eq!(error.destination, Peer::Unknown);
                    sends += 1;
                }
                DriverEvent::ReceiveFailed(_) => receives += 1,
                _ => {}
            }
        }
        let metrics = alice.metrics().await.unwrap();
        assert!(metrics.send_failures >= sends && metrics.receive_failures >= receives);

        gate.set_broken(false);
        assert!(next_delivery(&mut bob_events).await.own);
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m1");
        let delivered = |event| match event {
            DriverEvent::Node(Event::Deliver(delivery)) if !delivery.own => Some(delivery),
            _ => None,
        };
        assert_eq!(next(&mut events, delivered).await.entry.message_id(), *"m2");
        assert_eq!(alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
    });
}
