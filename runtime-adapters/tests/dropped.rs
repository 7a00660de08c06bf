//! Drivers that are dropped at any turn, and started again on what their store kept.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::rig::{Rig, Turns, delivered, poll};
use common::{CHANNEL, config};
use sds_proto::wire::{self, Limits};
use sds_proto::{
    Config, DeliverySeq, Durability, Effect, Event, Input, Instant, MessageId, Node, Now,
    PublishKind, UnixMillis,
};
use sds_runtime::store::{Faults, Faulty, Memory};
use sds_runtime::{DriverEvent, Options};

fn durable(durability: Durability) -> Config {
    config("alice").to_builder().durability(durability).build().unwrap()
}

/// Datagrams of bob: three messages that depend on each other.
fn from_bob() -> Vec<Bytes> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Now::new(Instant::ZERO, UnixMillis(now.as_millis() as u64));
    let mut bob = Node::new(config("bob"));
    bob.handle(now, Input::Open { channel: CHANNEL.into(), config: None }).unwrap();
    for id in ["b1", "b2", "b3"] {
        let (message_id, content, kind) = (id.into(), "content".into(), PublishKind::Content);
        let publish = Input::Publish { channel: CHANNEL.into(), message_id, content, kind };
        bob.handle(now, publish).unwrap();
    }
    let sent = core::iter::from_fn(|| bob.poll_effect()).filter_map(|effect| match effect {
        Effect::Send { bytes, .. } => Some(bytes),
        _ => None,
    });
    sent.collect()
}

/// A driver that dies after so many turns.
struct Mortal {
    rig: Rig,
    /// Turns left to live.
    left: usize,
}

impl Mortal {
    /// Runs until there is nothing to do; `None` if it died before.
    fn run(&mut self) -> Option<()> {
        match self.rig.until_idle_or(self.left) {
            Turns::Idle(turns) => self.left -= turns,
            Turns::Busy => return None,
            Turns::Ended => panic!("nobody told it to"),
        }
        Some(())
    }

    /// Lets it do something and hear the answer.
    fn call<T>(&mut self, future: impl Future<Output = T>) -> Option<()> {
        let mut future = Box::pin(future);
        assert!(poll(&mut future).is_pending());
        self.run()?;
        assert!(poll(&mut future).is_ready());
        Some(())
    }

    /// Own messages, and those of bob in and out of order.
    fn live(&mut self) -> Option<()> {
        let alice = self.rig.handle();
        let [b1, b2, b3] = &from_bob()[..] else { panic!("three messages") };
        self.call(alice.open(CHANNEL))?;
        self.call(alice.publish(CHANNEL, "a1", "content"))?;
        self.rig.strings(|strings| strings.inbox.push(b3.clone()));
        self.call(alice.publish(CHANNEL, "a2", "content"))?;
        self.rig.strings(|strings| strings.inbox.extend([b2.clone(), b1.clone()]));
        self.call(alice.consumed(CHANNEL, DeliverySeq(2)))?;
        self.call(alice.publish(CHANNEL, "a3", "content"))
    }
}

/// The output of a driver.
struct Left {
    delivered: BTreeSet<MessageId>,
    /// Own messages and their Lamport times.
    sent: BTreeSet<(u64, MessageId)>,
}

fn left(rig: &mut Rig) -> Left {
    let mut delivered = BTreeSet::new();
    for event in rig.unread() {
        if let DriverEvent::Node(Event::Deliver(delivery)) = event {
            delivered.insert(delivery.entry.message_id().into());
        }
    }
    let sent = rig.strings(|strings| core::mem::take(&mut strings.sent));
    let own = |bytes: Bytes| {
        let (_, message) = wire::decode(&bytes, &Limits::default()).unwrap();
        message.content?;
        Some((message.lamport.unwrap(), message.message_id))
    };
    let sent = sent.into_iter().filter_map(own).collect();
    Left { delivered, sent }
}

/// Lives for so many turns on a slow store; what left it, and whether it died.
fn live(turns: usize, durability: Durability, faults: Faults, records: &Memory) -> (Left, bool) {
    let store = Faulty::new(records.clone(), faults);
    let rig = Rig::closed(durable(durability), Options::default().store(store));
    let mut mortal = Mortal { rig, left: turns };
    let died = mortal.live().is_none();
    (left(&mut mortal.rig), died)
}

#[test]
fn dropped_at_any_turn_a_strict_driver_has_stored_what_it_reported_and_sent() {
    for seed in 0..5 {
        for turns in 0.. {
            let records = Memory::default();
            let faults = Faults::seeded(seed).slowness(3);
            let (before, died) = live(turns, Durability::Strict, faults, &records);

            let options = Options::default().store(records);
            let mut rig = Rig::new(durable(Durability::Strict), options);
            let alice = rig.handle();
            let mut log = Box::pin(alice.log(CHANNEL));
            assert!(poll(&mut log).is_pending());
            let mut publish = Box::pin(alice.publish(CHANNEL, "a9", "content"));
            assert!(poll(&mut publish).is_pending());
            rig.until_idle();
            let core::task::Poll::Ready(Ok(log)) = poll(&mut log) else { panic!("no log") };
            let logged: BTreeSet<_> = log.entries.iter().map(|e| e.message_id().into()).collect();
            assert!(before.delivered.is_subset(&logged), "seed {seed}, {turns} turns");

            let events = rig.unread();
            for event in &events {
                if let DriverEvent::Node(Event::Deliver(delivery)) = event {
                    let id = delivery.entry.message_id();
                    assert!(
                        delivery.redelivery || !before.delivered.contains(id.as_bytes()),
                        "{id}"
                    );
                }
            }
            assert!(delivered(&events) >= logged.len().saturating_sub(2), "seed {seed}, {turns}");
            let after = Left { delivered: BTreeSet::new(), ..left(&mut rig) };
            let (last, _) = after.sent.last().unwrap();
            for (lamport, id) in &before.sent {
                assert!(logged.contains(id), "{id} left and is forgotten");
                assert!(lamport < last, "seed {seed}, {turns} turns: a Lamport time used twice");
            }
            if !died {
                assert!(turns > 10 && before.delivered.len() == 6, "{turns}");
                break;
            }
        }
    }
}

#[test]
fn dropped_at_any_turn_a_relaxed_driver_forgets_the_end_at_most() {
    for seed in 0..5 {
        for turns in 0.. {
            let records = Memory::default();
            let faults = Faults::seeded(seed).slowness(3).forgetting(0.5);
            let (before, died) = live(turns, Durability::Relaxed, faults, &records);

            let options = Options::default().store(records);
            let mut rig = Rig::new(durable(Durability::Relaxed), options);
            let logged = rig.logged();
            assert!(logged <= 6);
            rig.strings(|strings| strings.inbox = from_bob());
            let alice = rig.handle();
            let mut publish = Box::pin(alice.publish(CHANNEL, "a9", "content"));
            assert!(poll(&mut publish).is_pending());
            rig.until_idle();
            assert!(rig.logged() > logged.min(6), "seed {seed}, {turns} turns");
            if !died {
                assert!(turns > 10 && before.delivered.len() == 6, "{turns}");
                break;
            }
        }
    }
}
