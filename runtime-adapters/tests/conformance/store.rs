//! Stores: restarts, and the delays that slowness and failures cause.

use core::slice::from_ref;
use core::time::Duration;

use bytes::BytesMut;
use sds_proto::wire::{HistoryEntryRef, Outgoing, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, DeliverySeq, Durability, Event, MessageId, OutgoingState, RejectReason,
    StoreError,
};
use sds_runtime::store::{self, Faulty, Memory, Switch};
use sds_runtime::transport::{Faults, Lossy, MemoryGroup};
use sds_runtime::{DriverEvent, Events, Handle, HandleError, Options, Transport};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::{Driver, join, join_with};
use crate::gate::Gate;

pub(crate) fn durable(name: &str, durability: Durability) -> ConfigBuilder {
    config(name).to_builder().durability(durability)
}

pub(crate) fn strict(name: &str) -> Config {
    durable(name, Durability::Strict).build().unwrap()
}

/// A store that does as it is told, in front of `records`.
pub(crate) fn switched(records: &Memory) -> (Options, Switch) {
    let store = Faulty::new(records.clone(), store::Faults::seeded(0));
    let switch = store.switch();
    (Options::default().flush(Duration::from_secs(60)).store(store), switch)
}

/// The event that is there already, if any.
async fn unread(events: &mut Events) -> Option<DriverEvent> {
    futures_lite::future::poll_once(events.next()).await.flatten()
}

pub(crate) async fn logged(handle: &Handle) -> Vec<MessageId> {
    let log = handle.log(CHANNEL).await.unwrap();
    log.entries.iter().map(|entry| entry.message_id().into()).collect()
}

async fn next_of_node<T>(events: &mut Events, pick: impl Fn(Event) -> Option<T>) -> T {
    let pick = |event| match event {
        DriverEvent::Node(event) => pick(event),
        _ => None,
    };
    next(events, pick).await
}

pub(crate) fn after_a_restart_all_is_as_it_was<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let records = Memory::default();
        let start = || {
            let options = Options::default().store(records.clone());
            join_with::<D>(strict("alice"), group.join(), options)
        };
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        let (alice, mut events) = start().await;
        for number in 0..5 {
            alice.publish(CHANNEL, format!("a{number}"), "content").await.unwrap();
            next_delivery(&mut bob_events).await;
            bob.publish(CHANNEL, format!("b{number}"), "content").await.unwrap();
            next_delivery(&mut bob_events).await;
            assert_eq!(next_delivery(&mut events).await.seq, DeliverySeq(2 * number + 1));
            assert_eq!(next_delivery(&mut events).await.seq, DeliverySeq(2 * number + 2));
        }
        alice.consumed(CHANNEL, DeliverySeq(7)).await.unwrap();
        bob.shutdown().await;
        // Nobody acknowledges this one.
        alice.publish(CHANNEL, "last", "content").await.unwrap();
        assert!(!next_delivery(&mut events).await.redelivery);
        let log = alice.log(CHANNEL).await.unwrap();
        alice.shutdown().await;
        assert!(!records.records(&CHANNEL.into()).is_empty());

        let (alice, mut events) = start().await;
        assert_eq!(alice.log(CHANNEL).await.unwrap(), log);
        for seq in 8..=11 {
            let delivery = next_delivery(&mut events).await;
            assert_eq!(delivery.seq, DeliverySeq(seq));
            assert!(delivery.redelivery);
        }
        // Her messages are still on their way, and those of others still welcome.
        let (carol, mut carol_events) = join::<D>(&group, "carol").await;
        for _ in 0..11 {
            assert!(!next_delivery(&mut carol_events).await.redelivery);
        }
        assert_eq!(carol.log(CHANNEL).await.unwrap(), log);
        carol.publish(CHANNEL, "c0", "content").await.unwrap();
        let (mut heard, mut acked) = (false, false);
        while !(heard && acked) {
            match events.next().await.unwrap() {
                DriverEvent::Node(Event::Deliver(delivery)) => {
                    assert_eq!((delivery.seq, delivery.redelivery), (DeliverySeq(12), false));
                    heard = true;
                }
                DriverEvent::Node(Event::Acked { message_id, .. }) => {
                    acked |= message_id == "last".into();
                }
                _ => {}
            }
        }
        alice.shutdown().await;

        let (alice, mut events) = start().await;
        assert_eq!(logged(&alice).await.last(), Some(&"c0".into()));
        // Nothing was consumed meanwhile.
        assert_eq!(next_delivery(&mut events).await.seq, DeliverySeq(8));
    });
}

pub(crate) fn nothing_leaves_before_a_slow_store_has_answered<D: Driver>() {
    run(async {
        let gate = Gate::new(MemoryGroup::new(1).join());
        let (options, switch) = switched(&Memory::default());
        let config = durable("alice", Durability::Strict).sync(false).resend(false);
        let (alice, mut events) =
            D::new().spawn_with(config.build().unwrap(), gate.transport(), options).unwrap();
        alice.open(CHANNEL).await.unwrap();
        // The load, and the write of the new channel.
        while switch.calls() < 2 {
            alice.status(CHANNEL).await.unwrap();
        }
        switch.hold();
        for number in 0..20 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        while !switch.is_waited_for() {
            alice.status(CHANNEL).await.unwrap();
        }
        assert_eq!(alice.status(CHANNEL).await.unwrap().logged, 20);
        assert_eq!(gate.sent(), 0);
        assert!(unread(&mut events).await.is_none());

        switch.release();
        for number in 0..20 {
            let delivery = next_delivery(&mut events).await;
            assert_eq!(delivery.entry.message_id(), *format!("m{number}"));
        }
        while gate.sent() < 20 {
            alice.status(CHANNEL).await.unwrap();
        }
        // The changes that came while the first write was held were written at once.
        assert!(switch.calls() <= 4, "{} calls", switch.calls());
    });
}

pub(crate) fn a_relaxed_node_does_not_wait_for_its_store<D: Driver>() {
    run(async {
        let gate = Gate::new(MemoryGroup::new(1).join());
        let records = Memory::default();
        let (options, switch) = switched(&records);
        let config = durable("alice", Durability::Relaxed).build().unwrap();
        let (alice, mut events) = D::new().spawn_with(config, gate.transport(), options).unwrap();
        alice.open(CHANNEL).await.unwrap();
        switch.hold();
        for number in 0..20 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
            next_delivery(&mut events).await;
        }
        while gate.sent() < 20 {
            alice.status(CHANNEL).await.unwrap();
        }
        switch.release();
        let log = alice.log(CHANNEL).await.unwrap();
        alice.shutdown().await;
        let options = Options::default().store(records);
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        assert_eq!(alice.log(CHANNEL).await.unwrap(), log);
    });
}

pub(crate) fn a_failing_store_refuses_and_then_lets_everything_go_in_order<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let (options, switch) = switched(&Memory::default());
        let (alice, mut events) = join_with::<D>(strict("alice"), group.join(), options).await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        switch.hold();
        for number in 0..5 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        switch.fail(Some(StoreError::Full));
        switch.release();
        let degraded = |effect| match effect {
            Event::Degraded { error, .. } => Some(error),
            _ => None,
        };
        assert_eq!(next_of_node(&mut events, degraded).await, StoreError::Full);
        let refused = alice.publish(CHANNEL, "m5", "content").await.unwrap_err();
        assert_eq!(refused.reason, HandleError::Rejected(RejectReason::Degraded));
        // It is tried again, and fails again.
        assert_eq!(next_of_node(&mut events, degraded).await, StoreError::Full);
        assert!(!alice.log(CHANNEL).await.unwrap().entries.is_empty());

        switch.fail(None);
        let told = |effect| match effect {
            Event::Deliver(_) => Some(false),
            Event::Recovered => Some(true),
            _ => None,
        };
        assert!(next_of_node(&mut events, told).await, "nothing is told before it has recovered");
        alice.publish(CHANNEL, "m5", refused.content).await.unwrap();
        for number in 0..6 {
            let id = MessageId::from(format!("m{number}"));
            assert_eq!(next_delivery(&mut events).await.entry.message_id(), id);
            assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), id);
        }
        assert_eq!(alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
    });
}

pub(crate) fn a_store_that_never_answers_bounds_what_waits_for_it<D: Driver>() {
    run(async {
        let (options, switch) = switched(&Memory::default());
        let config = durable("alice", Durability::Strict).max_held_effects(20).build().unwrap();
        let (alice, mut events) = join_with::<D>(config, MemoryGroup::new(1).join(), options).await;
        switch.hold();
        let mut accepted = 0;
        let error = loop {
            match alice.publish(CHANNEL, format!("m{accepted}"), "content").await {
                Ok(()) => accepted += 1,
                Err(error) => break error.reason,
            }
        };
        assert_eq!(error, HandleError::Rejected(RejectReason::StoreTooSlow { limit: 20 }));
        assert!((2..40).contains(&accepted), "{accepted} accepted");
        switch.release();
        for _ in 0..accepted {
            next_delivery(&mut events).await;
        }
        alice.publish(CHANNEL, "next", "content").await.unwrap();
    });
}

pub(crate) fn a_shutdown_stores_and_sends_what_is_in_flight<D: Driver>() {
    run(async {
        let gate = Gate::new(MemoryGroup::new(1).join());
        let records = Memory::default();
        let (options, switch) = switched(&records);
        let (alice, mut events) =
            D::new().spawn_with(strict("alice"), gate.transport(), options).unwrap();
        alice.open(CHANNEL).await.unwrap();
        switch.hold();
        for number in 0..10 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        while !switch.is_waited_for() {
            alice.status(CHANNEL).await.unwrap();
        }
        let shutdown = async { alice.shutdown().await };
        let release = async {
            // The first attempt in the shutdown fails; there is time for another.
            switch.fail(Some(StoreError::Unavailable));
            switch.release();
            let degraded = |event| matches!(event, Event::Degraded { .. }).then_some(());
            next_of_node(&mut events, degraded).await;
            switch.fail(None);
        };
        futures_lite::future::zip(shutdown, release).await;
        assert!(gate.is_closed());
        assert!(gate.sent() >= 10, "{} sent", gate.sent());
        let mut told = 0;
        while let Some(event) = events.next().await {
            told += usize::from(matches!(event, DriverEvent::Node(Event::Deliver(_))));
        }
        assert_eq!(told, 10);
        let options = Options::default().store(records);
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        assert_eq!(logged(&alice).await.len(), 10);
    });
}

pub(crate) fn a_store_that_never_answers_delays_a_shutdown_no_longer_than_allowed<D: Driver>() {
    run(async {
        let records = Memory::default();
        let (options, switch) = switched(&records);
        let options = options.flush(Duration::from_millis(20));
        let (alice, mut events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        next_delivery(&mut events).await;
        switch.hold();
        alice.publish(CHANNEL, "m2", "content").await.unwrap();
        // Not the one that waits for the store, and the driver does not wait for it either.
        let opening = alice.clone();
        let (opened, ()) = futures_lite::future::zip(opening.open("other"), alice.shutdown()).await;
        assert_eq!(opened, Err(HandleError::Stopped));
        let mut told: Vec<MessageId> = Vec::new();
        while let Some(event) = events.next().await {
            if let DriverEvent::Node(Event::Deliver(delivery)) = event {
                told.push(delivery.entry.message_id().into());
            }
        }
        assert_eq!(told, []);
        let options = Options::default().store(records);
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        assert_eq!(logged(&alice).await, ["m1".into()]);
    });
}

pub(crate) fn dropping_the_last_handle_stores_what_was_accepted<D: Driver>() {
    run(async {
        let records = Memory::default();
        let (options, switch) = switched(&records);
        let (alice, mut events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        switch.hold();
        for number in 0..10 {
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
        }
        let dropping = std::thread::spawn(move || drop(alice));
        switch.release();
        while events.next().await.is_some() {}
        dropping.join().unwrap();
        let options = Options::default().store(records);
        let (alice, _events) =
            join_with::<D>(strict("alice"), MemoryGroup::new(1).join(), options).await;
        assert_eq!(logged(&alice).await.len(), 10);
    });
}

pub(crate) fn stores_that_fail_tear_and_dawdle_only_delay<D: Driver>() {
    const MESSAGES: usize = 20;
    run(async {
        for seed in 0..5 {
            let group = MemoryGroup::new(1_024);
            let (mut handles, mut streams, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            for name in ["alice", "bob"] {
                let records = Memory::default();
                let faults = store::Faults::seeded(seed).failure(0.1).tearing(0.1).slowness(10);
                let options = Options::default().store(Faulty::new(records.clone(), faults));
                let driver = D::new();
                let losses = Faults::seeded(seed).loss(0.2).duplication(0.1);
                let transport = Lossy::new(group.join(), driver.timer(), losses);
                let (handle, events) = driver.spawn_with(strict(name), transport, options).unwrap();
                while handle.open(CHANNEL).await.is_err() {}
                handles.push(handle);
                streams.push(events);
                kept.push(records);
            }
            for number in 0..MESSAGES {
                for (sender, handle) in handles.iter().enumerate() {
                    let id = format!("{sender}-{number}");
                    while handle.publish(CHANNEL, id.as_str(), "content").await.is_err() {}
                }
            }
            for events in &mut streams {
                let mut last = 0;
                while last < 2 * MESSAGES as u64 {
                    last += 1;
                    let delivery = next_delivery(events).await;
                    assert_eq!((delivery.seq.0, delivery.gap), (last, false));
                }
            }
            let log = handles[0].log(CHANNEL).await.unwrap();
            assert_eq!(handles[1].log(CHANNEL).await.unwrap(), log);
            for handle in handles {
                handle.shutdown().await;
            }
            for (name, records) in ["alice", "bob"].into_iter().zip(kept) {
                let options = Options::default().store(records);
                let (handle, _events) =
                    join_with::<D>(strict(name), MemoryGroup::new(1).join(), options).await;
                assert_eq!(handle.log(CHANNEL).await.unwrap(), log, "seed {seed}");
            }
        }
    });
}

pub(crate) fn after_a_restart_it_is_told_which_messages_are_acknowledged<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let records = Memory::default();
        let life = |resend_after, max_resends| {
            let config = durable("alice", Durability::Strict).resend_after(resend_after);
            let config = config.resend_max(resend_after).max_resends(max_resends).build().unwrap();
            let options = Options::default().store(records.clone());
            join_with::<D>(config, group.join(), options)
        };
        let ids = async |alice: &Handle| -> Vec<_> {
            let outgoing = alice.outgoing(CHANNEL).await.unwrap();
            outgoing.iter().map(|own| (own.entry.message_id().to_string(), own.state)).collect()
        };
        let (alice, mut events) = life(Duration::from_millis(20), 1).await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        next_delivery(&mut bob_events).await;
        bob.publish(CHANNEL, "b1", "content").await.unwrap();
        let acked = |event| matches!(event, Event::Acked { .. }).then_some(());
        next_of_node(&mut events, acked).await;
        bob.shutdown().await;
        alice.publish(CHANNEL, "m2", "content").await.unwrap();
        let unconfirmed = |event| matches!(event, Event::Unconfirmed { .. }).then_some(());
        next_of_node(&mut events, unconfirmed).await;
        assert_eq!(ids(&alice).await, [("m2".into(), OutgoingState::Unconfirmed)]);
        alice.shutdown().await;

        let slow = Duration::from_secs(600);
        let (alice, _events) = life(slow, 8).await;
        alice.publish(CHANNEL, "m3", "content").await.unwrap();
        alice.shutdown().await;

        let (alice, mut events) = life(slow, 8).await;
        let waits = OutgoingState::Unacknowledged { resends: 0 };
        let expected = [("m2".into(), OutgoingState::Unconfirmed), ("m3".into(), waits)];
        assert_eq!(ids(&alice).await, expected);
        // One that was given up as well: it waits for an acknowledgement once more.
        alice.resend(CHANNEL, "m2").await.unwrap();
        alice.resend(CHANNEL, "m3").await.unwrap();
        while alice.metrics().await.unwrap().sent_resends < 2 {
            std::thread::yield_now();
        }
        let states: Vec<_> = ids(&alice).await.into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, [waits, waits]);
        let not_outgoing = Err(HandleError::Rejected(RejectReason::NotUnacknowledged));
        assert_eq!(alice.resend(CHANNEL, "m1").await, not_outgoing);
        let closed = HandleError::Rejected(RejectReason::ChannelNotOpen);
        assert_eq!(alice.outgoing("elsewhere").await, Err(closed));

        let (carol, mut carol_events) = join::<D>(&group, "carol").await;
        let mut heard = Vec::new();
        for id in ["m2", "m3"] {
            alice.resend(CHANNEL, id).await.unwrap();
        }
        while !["m2", "m3"].iter().all(|id| heard.contains(&(*id).into())) {
            heard.push(MessageId::from(next_delivery(&mut carol_events).await.entry.message_id()));
        }
        carol.publish(CHANNEL, "c1", "content").await.unwrap();
        next_of_node(&mut events, acked).await;
        while !ids(&alice).await.is_empty() {
            next_of_node(&mut events, acked).await;
        }
    });
}

pub(crate) fn after_a_restart_it_is_told_what_is_missing_and_who_waits<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let records = Memory::default();
        let life = || {
            let options = Options::default().store(records.clone());
            join_with::<D>(strict("alice"), group.join(), options)
        };
        let (alice, mut events) = life().await;
        // Names what nobody has.
        let mut named = HistoryEntryRef::default();
        (named.message_id, named.sender_id) = ("b1".into(), "bob".into());
        named.retrieval_hint = Some(b"where");
        let mut message = Outgoing::default();
        (message.sender_id, message.message_id) = (b"bob", b"b2");
        (message.channel_id, message.lamport) = (CHANNEL.as_bytes(), Some(2));
        let history = [named];
        (message.causal_history, message.content) = (&history, Some(&b"content"[..]));
        let mut bytes = BytesMut::new();
        message.encode(WireDialect::Lip109, &mut bytes);
        let (bytes, mut bob) = (bytes.freeze(), group.join());
        core::future::poll_fn(|cx| bob.poll_send(cx, &bytes)).await.unwrap();
        let told = |event| matches!(event, Event::Missing { .. }).then_some(());
        next_of_node(&mut events, told).await;
        alice.shutdown().await;

        let (alice, mut events) = life().await;
        let missing = alice.missing(CHANNEL).await.unwrap();
        let [missing] = &missing[..] else { panic!("{missing:?}") };
        assert_eq!(missing.named.borrowed(), named);
        assert_eq!(missing.waiters, ["b2".into()]);
        assert_eq!(
            alice.missing_dependencies(CHANNEL, "b2").await.unwrap()[..],
            *from_ref(&missing.named)
        );
        assert_eq!(alice.missing_dependencies(CHANNEL, "b1").await.unwrap(), []);
        alice.dependencies_met(CHANNEL, vec!["b1".into()]).await.unwrap();
        assert_eq!(next_delivery(&mut events).await.entry.message_id(), *"b2");
        assert_eq!(alice.missing(CHANNEL).await.unwrap(), []);
        assert_eq!(alice.missing_dependencies(CHANNEL, "b2").await.unwrap(), []);
        let closed = HandleError::Rejected(RejectReason::ChannelNotOpen);
        assert_eq!(alice.missing("elsewhere").await, Err(closed));
        assert_eq!(alice.missing_dependencies("elsewhere", "b2").await, Err(closed));
    });
}
