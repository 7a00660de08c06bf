//! Properties of any inputs in any order: invariants I1, I2, I3, I5 and I8 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::peer::{entry, lip109};
use common::store::Disk;
use common::{at, channel, delivered, drain, node, open, publish};
use proptest::prelude::*;
use proptest::sample::Index;
use sds_proto::wire::HistoryEntry;
use sds_proto::{
    Config, ContentDigest, DeliverySeq, Durability, Effect, Event, Input, Instant, LogDigest,
    MessageId, Node, Now, OnLost,
};

/// One input, with ids by number: what it names may be here, on its way, or invented.
#[derive(Clone, Debug)]
enum Step {
    Content { id: u8, named: Vec<u8>, asks: Vec<u8> },
    Sync { named: Vec<u8>, asks: Vec<u8> },
    Ephemeral { id: u8 },
    Publish { id: u8 },
    Resolved { id: u8 },
    Consumed { seq: u64 },
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let ids = || prop::collection::vec(0..24_u8, 0..4);
    prop_oneof![
        6 => (0..24_u8, ids(), ids()).prop_map(|(id, named, asks)| Step::Content { id, named, asks }),
        2 => (ids(), ids()).prop_map(|(named, asks)| Step::Sync { named, asks }),
        1 => (0..24_u8).prop_map(|id| Step::Ephemeral { id }),
        3 => (0..24_u8).prop_map(|id| Step::Publish { id }),
        1 => (0..24_u8).prop_map(|id| Step::Resolved { id }),
        1 => (0..30_u64).prop_map(|seq| Step::Consumed { seq }),
        4 => Just(Step::Tick),
    ]
}

fn name(id: u8) -> String {
    format!("m{id}")
}

fn entries(ids: &[u8]) -> Vec<HistoryEntry> {
    ids.iter().map(|id| entry(name(*id).as_str(), "bob")).collect()
}

fn input(step: &Step) -> Input {
    match step {
        Step::Content { id, named, asks } => {
            let mut said = lip109(&name(*id), u64::from(*id));
            said.message.causal_history.extend(entries(named));
            said.message.repair_request = entries(asks);
            said.input()
        }
        Step::Sync { named, asks } => {
            let mut said = lip109("s", 50).sync();
            said.message.causal_history.extend(entries(named));
            said.message.repair_request = entries(asks);
            said.input()
        }
        Step::Ephemeral { id } => lip109(&name(*id), 0).ephemeral().input(),
        Step::Publish { id } => publish(&name(*id)),
        Step::Resolved { id } => {
            Input::DependenciesMet { channel: channel(), ids: vec![MessageId::from(name(*id))] }
        }
        Step::Consumed { seq } => Input::Consumed { channel: channel(), up_to: DeliverySeq(*seq) },
        Step::Tick => Input::Tick,
    }
}

fn config() -> sds_proto::ConfigBuilder {
    Config::builder()
        .bloom_capacity(100)
        .max_log_messages(8)
        .max_outgoing(4)
        .max_incoming_messages(4)
}

/// The effects of a node, without the grouping of changes into writes.
#[derive(Default, PartialEq, Debug)]
struct Told {
    /// Effects that wait for the store, or may.
    ordered: Vec<Effect>,
    /// Effects that do not wait.
    at_once: Vec<Effect>,
    /// The state that the changes lead to: their grouping decides which of them need not be
    /// written.
    disk: Disk,
}

impl Told {
    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Persist { changes, .. } => self.disk.write(&changes),
            Effect::Retrieve { .. }
            | Effect::Event(Event::DeliverEphemeral { .. })
            | Effect::Event(Event::LimitReached { .. })
            | Effect::Event(Event::Conflict { .. })
            | Effect::Event(Event::FilterIgnored { .. })
            | Effect::Event(Event::ClockBehind { .. })
            | Effect::Event(Event::TimeBehind { .. })
            | Effect::Event(Event::WallClockOff { .. })
            | Effect::Event(Event::ParticipantIdInUse { .. })
            | Effect::Event(Event::FormIncomplete { .. }) => self.at_once.push(effect),
            other => self.ordered.push(other),
        }
    }

    /// Drains a node whose store answers whatever it is asked at once.
    fn drain(&mut self, node: &mut Node, now: Now) {
        while let Some(effect) = node.poll_effect() {
            match &effect {
                Effect::Persist { id, .. } => {
                    node.handle(now, Input::Persisted { id: *id, result: Ok(()) })
                        .expect("asked for");
                }
                Effect::Load { id, channel } => {
                    let (id, channel) = (*id, channel.clone());
                    let input = Input::Loaded { id, channel, result: Ok(None) };
                    node.handle(now, input).expect("asked for");
                    continue;
                }
                _ => {}
            }
            self.add(effect);
        }
    }
}

/// Feeds `steps` at their times; drains after each for which `drains` says so, and at the end.
fn told(durability: Durability, steps: &[(u64, Step)], drains: impl Fn(usize) -> bool) -> Told {
    let config = config().participant_id("alice".into()).durability(durability);
    let mut node = Node::new(config.build().expect("valid settings"));
    let mut told = Told::default();
    node.handle(at(0), open()).expect("opens");
    told.drain(&mut node, at(0));
    let mut now = 0;
    for (index, (pause, step)) in steps.iter().enumerate() {
        now += pause;
        let _refused = node.handle(at(now), input(step));
        if drains(index) {
            told.drain(&mut node, at(now));
        }
    }
    told.drain(&mut node, at(now));
    told
}

/// A causal order of messages by three senders, each naming some before it.
fn history() -> impl Strategy<Value = Vec<Vec<Index>>> {
    prop::collection::vec(prop::collection::vec(any::<Index>(), 0..3), 1..24)
}

fn datagrams(history: &[Vec<Index>]) -> Vec<Bytes> {
    let messages = history.iter().enumerate().map(|(n, named)| {
        let mut said = lip109(&format!("m{n}"), 10 + n as u64).by(["bob", "carol", "dave"][n % 3]);
        let named: BTreeSet<usize> =
            named.iter().filter(|_| n > 0).map(|index| index.index(n)).collect();
        for named in named {
            said = said
                .naming(entry(format!("m{named}").as_str(), ["bob", "carol", "dave"][named % 3]));
        }
        said.bytes()
    });
    messages.collect()
}

fn digests(node: &Node) -> (LogDigest, ContentDigest) {
    let log = node.log(&channel()).expect("open");
    (log.digest(), log.content_digest())
}

/// Checks that nothing is delivered twice, and nothing before what it names, itself aside, unless
/// the gap is marked.
fn check_causal(effects: &[Effect]) {
    let mut seen: BTreeSet<MessageId> = BTreeSet::new();
    for effect in effects {
        let Effect::Event(Event::Deliver(delivery)) = effect else { continue };
        assert!(seen.insert(delivery.entry.message_id().into()), "a repeat: {delivery:?}");
        let mut named = delivery.entry.causal_history();
        let all_seen = named.all(|named| seen.contains(named.message_id.as_bytes()));
        assert!(all_seen || delivery.gap, "{delivery:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_split_of_the_same_inputs_into_drains_gives_the_same_effects(
        steps in prop::collection::vec((0..20_000_u64, step()), 1..60),
        splits in prop::collection::vec(any::<bool>(), 60),
    ) {
        for durability in [Durability::None, Durability::Relaxed, Durability::Strict] {
            let whole = told(durability, &steps, |_| false);
            prop_assert_eq!(&told(durability, &steps, |_| true), &whole);
            prop_assert_eq!(&told(durability, &steps, |index| splits[index]), &whole);
        }
    }

    #[test]
    fn any_order_of_arrival_gives_the_same_log(
        history in history(),
        copies in prop::collection::vec(any::<Index>(), 0..10),
        seed in any::<u64>(),
    ) {
        let datagrams = datagrams(&history);
        let mut straight = node("alice", Config::builder());
        for datagram in &datagrams {
            straight.handle(at(100), Input::Datagram(datagram.clone())).expect("taken");
        }
        let expected = drain(&mut straight);
        prop_assert_eq!(delivered(&expected).len(), datagrams.len());

        let mut arrivals = datagrams.clone();
        arrivals.extend(copies.iter().map(|copy| copy.get(&datagrams).clone()));
        common::Rng(seed).shuffle(&mut arrivals);
        let mut shuffled = node("alice", Config::builder());
        for datagram in arrivals {
            shuffled.handle(at(100), Input::Datagram(datagram)).expect("taken");
        }
        let effects = drain(&mut shuffled);
        check_causal(&effects);
        let conflict = effects.iter().find(|effect| matches!(effect, Effect::Event(Event::Conflict { .. })));
        prop_assert_eq!(conflict, None);
        prop_assert_eq!(digests(&shuffled), digests(&straight));
        let status = shuffled.status(&channel()).expect("open");
        prop_assert_eq!((status.incoming, status.missing), (0, 0));
        prop_assert_eq!(status.heads, straight.status(&channel()).expect("open").heads);
    }

    #[test]
    fn publishing_what_others_named_gives_the_same_log(
        history in history(),
        own in prop::collection::vec(any::<bool>(), 24),
        wall in 0..60_u64,
        seed in any::<u64>(),
    ) {
        // The messages of alice are named by others before she has published them.
        let others: Vec<Bytes> = datagrams(&history)
            .into_iter()
            .zip(&own)
            .filter_map(|(datagram, own)| (!own).then_some(datagram))
            .collect();
        let mut rng = common::Rng(seed);
        let mut arrivals: Vec<Input> = others.iter().cloned().map(Input::Datagram).collect();
        let ids = (0..history.len()).filter(|n| own[*n]);
        arrivals.extend(ids.map(|n| publish(&format!("m{n}"))));
        rng.shuffle(&mut arrivals);
        let mut alice = node("alice", Config::builder());
        for input in arrivals {
            alice.handle(at(wall), input).expect("taken");
        }
        let effects = drain(&mut alice);
        check_causal(&effects);
        let status = alice.status(&channel()).expect("open");
        prop_assert_eq!((status.logged, status.incoming, status.missing), (history.len(), 0, 0));

        let sent = effects.iter().filter_map(|effect| match effect {
            Effect::Send { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        let mut heard: Vec<Bytes> = others.iter().cloned().chain(sent).collect();
        rng.shuffle(&mut heard);
        let mut bob = node("bob", Config::builder());
        for datagram in heard {
            bob.handle(at(100), Input::Datagram(datagram)).expect("taken");
        }
        check_causal(&drain(&mut bob));
        prop_assert_eq!(digests(&bob), digests(&alice));
        let status = bob.status(&channel()).expect("open");
        prop_assert_eq!((status.incoming, status.missing), (0, 0));
    }

    #[test]
    fn a_delivery_names_the_entry_before_it(history in history(), seed in any::<u64>()) {
        let mut datagrams = datagrams(&history);
        common::Rng(seed).shuffle(&mut datagrams);
        let mut node = node("alice", Config::builder());
        let mut list: Vec<MessageId> = Vec::new();
        for datagram in datagrams {
            node.handle(at(100), Input::Datagram(datagram)).expect("taken");
        }
        for effect in drain(&mut node) {
            let Effect::Event(Event::Deliver(delivery)) = effect else { continue };
            let place = delivery.follows.map_or(0, |follows| {
                list.iter().position(|id| follows.message_id() == *id).expect("told before") + 1
            });
            list.insert(place, delivery.entry.message_id().into());
        }
        let log = node.log(&channel()).expect("open");
        prop_assert!(log.iter().map(|entry| MessageId::from(entry.message_id())).eq(list.iter().cloned()));
    }

    #[test]
    fn deliveries_are_causal_whatever_is_claimed_and_lost(
        steps in prop::collection::vec((0..400_000_u64, step()), 1..80),
        drop in any::<bool>(),
    ) {
        let on_lost = if drop { OnLost::Drop } else { OnLost::DeliverWithGap };
        let config = Config::builder().bloom_capacity(100).on_lost(on_lost);
        let mut node = node("alice", config);
        let (mut effects, mut now) = (Vec::new(), 0);
        for (pause, step) in &steps {
            now += pause;
            // Ids that were declared resolved are not among the deliveries.
            if !matches!(step, Step::Resolved { .. }) {
                let _refused = node.handle(at(now), input(step));
                effects.extend(drain(&mut node));
            }
        }
        check_causal(&effects);
    }

    #[test]
    fn after_a_tick_the_next_deadline_is_later_or_effects_are_queued(
        steps in prop::collection::vec((0..100_000_u64, step()), 1..60),
    ) {
        let mut node = node("alice", config());
        let mut now = 0;
        for (pause, step) in &steps {
            let _refused = node.handle(at(now), input(step));
            let _polled = drain(&mut node);
            now += pause;
            node.handle(at(now), Input::Tick).expect("a tick is always taken");
            if let Some(deadline) = node.next_deadline() {
                let queued = node.poll_effect().is_some();
                prop_assert!(queued || deadline.at > Instant::from_millis(now), "{deadline:?}");
            }
            let _polled = drain(&mut node);
            if let Some(deadline) = node.next_deadline() {
                prop_assert!(deadline.at > Instant::from_millis(now), "{deadline:?}");
            }
        }
    }

    #[test]
    fn ticks_that_come_early_change_nothing(
        steps in prop::collection::vec((0..50_000_u64, step()), 1..40),
        early in prop::collection::vec(0..50_000_u64, 40),
    ) {
        let run = |early: Option<&[u64]>| {
            let mut node = node("alice", config());
            let (mut effects, mut now) = (Vec::new(), 0);
            for (index, (pause, step)) in steps.iter().enumerate() {
                let _refused = node.handle(at(now), input(step));
                effects.extend(drain(&mut node));
                let end = now + pause;
                while let Some(deadline) = node.next_deadline() {
                    let due = deadline.at.as_micros().div_ceil(1_000);
                    if let Some(early) = early {
                        let tick = now + early[index] % (due - now);
                        node.handle(at(tick.min(end)), Input::Tick).expect("taken");
                        assert_eq!(drain(&mut node), []);
                    }
                    if due > end {
                        break;
                    }
                    now = due;
                    node.handle(at(now), Input::Tick).expect("taken");
                    effects.extend(drain(&mut node));
                }
                now = end;
            }
            effects
        };
        prop_assert_eq!(run(Some(&early)), run(None));
    }

    #[test]
    fn a_clock_that_runs_backwards_stands_still(
        steps in prop::collection::vec((0..50_000_u64, step()), 1..40),
        back in prop::collection::vec(0..100_000_u64, 40),
    ) {
        let run = |back: Option<&[u64]>| {
            let mut node = node("alice", config());
            let (mut effects, mut now) = (Vec::new(), 0);
            for (index, (pause, step)) in steps.iter().enumerate() {
                now += pause;
                node.handle(at(now), Input::Tick).expect("taken");
                let back = back.map_or(0, |back| back[index]);
                let mono = Instant::from_millis(now.saturating_sub(back));
                let _refused = node.handle(Now { mono, ..at(now) }, input(step));
                effects.extend(drain(&mut node));
            }
            effects.retain(|effect| !matches!(effect, Effect::Event(Event::TimeBehind { .. })));
            (effects, node.clock_regressions())
        };
        let ((expected, none), (effects, counted)) = (run(None), run(Some(&back)));
        prop_assert_eq!(none, 0);
        let backwards = steps.iter().zip(&back).scan(0, |now, ((pause, _), back)| {
            *now += pause;
            Some(now.saturating_sub(*back) < *now)
        });
        prop_assert_eq!(counted, backwards.filter(|backwards| *backwards).count() as u64);
        prop_assert_eq!(effects, expected);
    }
}

#[test]
fn at_the_end_of_the_clock_a_tick_ends_too() {
    let mut node = node("alice", config());
    node.handle(at(0), publish("m1")).expect("published");
    let end = Now { mono: Instant::from_micros(u64::MAX), ..at(0) };
    for _ in 0..3 {
        node.handle(end, Input::Tick).expect("a tick is always taken");
        let _polled = drain(&mut node);
    }
}
