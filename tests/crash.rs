//! A process that dies at any point of a run: invariants I3, I9 and I10 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use std::collections::BTreeSet;

use common::peer::{entry, lip109};
use common::store::{Store, start, strict};
use common::{at, channel, delivered, ids, publish};
use sds_proto::wire::{self, Limits};
use sds_proto::{DeliverySeq, Effect, Event, Input, MessageId, Node};

/// A participant whose process dies at one point of a run: after so many effects were carried out.
struct Mortal {
    node: Node,
    store: Store,
    /// Effects left to live.
    left: usize,
    crashed: bool,
    /// The effects of the node in all its lives.
    effects: Vec<Effect>,
}

impl Mortal {
    fn new(left: usize) -> Self {
        let mut store = Store::default();
        let (node, _) = start(strict(), &mut store, 0);
        Self { node, store, left, crashed: false, effects: Vec::new() }
    }

    fn handle(&mut self, now: u64, input: Input) {
        let _refused = self.node.handle(at(now), input);
        while let Some(effect) = self.node.poll_effect() {
            if self.left == 0 && !self.crashed {
                self.crash(now, &effect);
                return;
            }
            self.left = self.left.saturating_sub(1);
            self.carry_out(now, effect);
        }
    }

    fn carry_out(&mut self, now: u64, effect: Effect) {
        let answer = match effect {
            Effect::Persist { id, changes } => {
                self.store.write(id, changes);
                self.store.answer().expect("just queued")
            }
            Effect::Load { id, channel } => self.store.load(id, &channel),
            other => {
                self.effects.push(other);
                return;
            }
        };
        self.node.handle(at(now), answer).expect("asked for");
    }

    /// Dies with `effect` in hand: a write still reaches the store, whose answer is never heard.
    fn crash(&mut self, now: u64, effect: &Effect) {
        self.crashed = true;
        if let Effect::Persist { id, changes } = effect {
            self.store.write(*id, changes.clone());
            let _unheard = self.store.answer();
        }
        let (node, effects) = start(strict(), &mut self.store, now);
        self.node = node;
        self.effects.extend(effects);
    }
}

/// Own messages, foreign ones in and out of order, acknowledgements, requests.
fn run_and_crash_after(effects: usize) -> Mortal {
    let mut mortal = Mortal::new(effects);
    mortal.handle(1, publish("m1"));
    mortal.handle(2, lip109("b2", 12).after(["b1"]).input());
    mortal.handle(3, publish("m2"));
    mortal.handle(4, lip109("b1", 11).naming(entry("m1", "alice")).input());
    mortal.handle(5, lip109("b4", 14).after(["b3"]).asking(entry("m2", "alice")).input());
    mortal.handle(6, publish("m3"));
    let consumed = Input::Consumed { channel: channel(), up_to: DeliverySeq(2) };
    mortal.handle(7, consumed);
    mortal.handle(8, Input::Tick);
    mortal
}

/// Has bob repeat his messages until the node has all.
fn let_bob_repeat(mortal: &mut Mortal) {
    mortal.handle(100, lip109("b1", 11).naming(entry("m1", "alice")).input());
    mortal.handle(101, lip109("b2", 12).after(["b1"]).input());
    mortal.handle(102, lip109("b3", 13).input());
    mortal.handle(103, lip109("b4", 14).after(["b3"]).asking(entry("m2", "alice")).input());
}

#[test]
fn a_crash_at_any_point_loses_nothing_that_left_and_reuses_no_lamport_time() {
    let mut crashes = 0;
    for effects in 0.. {
        let mut mortal = run_and_crash_after(effects);
        if !mortal.crashed {
            break;
        }
        crashes += 1;
        let_bob_repeat(&mut mortal);
        mortal.handle(104, publish("m4"));

        let mut times = BTreeSet::new();
        let mut own = BTreeSet::new();
        for effect in &mortal.effects {
            let Effect::Send { bytes, .. } = effect else { continue };
            let (_, message) = wire::decode(bytes, &Limits::default()).expect("ours");
            own.insert(message.message_id.clone());
            times.insert((message.lamport, message.message_id.clone()));
        }
        let distinct: BTreeSet<_> = times.iter().map(|(lamport, _)| lamport).collect();
        assert_eq!(distinct.len(), times.len(), "crash after {effects}: a Lamport time reused");
        assert_eq!(own.len(), times.len(), "crash after {effects}: an id with two times");

        let log = mortal.node.log(&channel()).expect("open");
        for id in &own {
            assert!(log.get(id).is_some(), "crash after {effects}: {id} left and is forgotten");
        }
        for id in ids(&["b1", "b2", "b3", "b4"]) {
            assert!(log.get(&id).is_some(), "crash after {effects}: {id} is not here");
        }
        let told: BTreeSet<_> = delivered(&mortal.effects).into_iter().collect();
        assert_eq!(told.len(), log.len(), "crash after {effects}: logged and never told");
    }
    assert!(crashes > 20, "{crashes}");
}

#[test]
fn a_crash_at_any_point_repeats_deliveries_only_marked_and_in_order() {
    for effects in 0.. {
        let mortal = run_and_crash_after(effects);
        if !mortal.crashed {
            break;
        }
        let mut told: BTreeSet<MessageId> = BTreeSet::new();
        let mut last = DeliverySeq(0);
        for effect in &mortal.effects {
            let Effect::Event(Event::Deliver(delivery)) = effect else { continue };
            let new = told.insert(delivery.entry.message_id().into());
            assert!(new || delivery.redelivery, "crash after {effects}: {delivery:?}");
            let expected = if delivery.redelivery && delivery.seq <= last {
                DeliverySeq(1)..=last
            } else {
                DeliverySeq(last.0 + 1)..=DeliverySeq(last.0 + 1)
            };
            assert!(expected.contains(&delivery.seq), "crash after {effects}: {delivery:?}");
            last = delivery.seq;
        }
    }
}
