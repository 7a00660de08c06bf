//! Devices that sleep, and programs that are started again and again: what is missing is given up
//! for want of an answer and not for the time that passed, and what is due goes out while somebody
//! is awake.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use core::time::Duration;

use common::peer::lip109;
use common::store::{Store, start, strict};
use common::{at, channel, delivered, drain, ids, node, publish, run, sends, sent, status};
use sds_proto::wire::{self, Limits};
use sds_proto::{
    Config, ConfigBuilder, Effect, Event, Input, MessageId, Node, Now, SendReason, StoreError,
};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Counts the requests for `id` in `effects`.
fn requests(effects: &[Effect], id: &str) -> usize {
    let messages = sent(effects).into_iter().map(|bytes| {
        let (_, message) = wire::decode(&bytes, &Limits::default()).expect("our own message");
        message.repair_request
    });
    messages
        .filter(|asked| asked.iter().any(|entry| entry.message_id == MessageId::from(id)))
        .count()
}

/// Ids of what `effects` give up.
fn lost(effects: &[Effect]) -> Vec<MessageId> {
    let lost = effects.iter().filter_map(|effect| match effect {
        Effect::Event(Event::Lost { message_ids, .. }) => Some(message_ids.clone()),
        _ => None,
    });
    lost.flatten().collect()
}

fn unconfirmed(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Event(Event::Unconfirmed { .. })))
        .count()
}

fn tick(node: &mut Node, now: u64) -> Vec<Effect> {
    node.handle(at(now), Input::Tick).expect("a tick is always taken");
    drain(node)
}

fn tick_stored(node: &mut Node, store: &mut Store, now: u64) -> Vec<Effect> {
    node.handle(at(now), Input::Tick).expect("a tick is always taken");
    store.serve(node, at(now))
}

/// A node that misses m1, which m2 names.
fn misses_m1(config: ConfigBuilder) -> Node {
    let mut node = node("alice", config);
    node.handle(at(0), lip109("m2", 2).after(["m1"]).input()).expect("taken");
    drain(&mut node);
    node
}

#[test]
fn a_pause_of_a_day_gives_up_nothing_that_was_not_asked_for() {
    let quiet = || Config::builder().retrieval_interval(None);
    for config in [quiet(), quiet().repair(false), Config::builder().repair(false)] {
        let mut node = misses_m1(config);
        let effects = tick(&mut node, DAY);
        assert_eq!(lost(&effects), [], "{effects:?}");
        let effects = run(&mut node, DAY + 10 * MINUTE);
        assert_eq!(lost(&effects), [], "{effects:?}");
        node.handle(at(DAY + 10 * MINUTE), lip109("m1", 1).input()).expect("taken");
        assert_eq!(delivered(&drain(&mut node)), ids(&["m1", "m2"]));
    }
}

#[test]
fn after_a_pause_of_a_day_the_rest_of_the_hour_is_waited() {
    for repair in [true, false] {
        let mut node = misses_m1(Config::builder().repair(repair));
        run(&mut node, 20 * MINUTE);
        tick(&mut node, 20 * MINUTE);
        let mut effects = tick(&mut node, DAY);
        effects.extend(run(&mut node, DAY + 39 * MINUTE));
        assert_eq!(lost(&effects), []);
        assert_eq!(lost(&run(&mut node, DAY + 41 * MINUTE)), ids(&["m1"]));
        assert_eq!(status(&node).incoming, 0);
    }
}

#[test]
fn a_pause_at_the_end_of_the_hour_leaves_time_to_ask_thrice() {
    let mut node = misses_m1(Config::builder());
    assert!(requests(&run(&mut node, 59 * MINUTE), "m1") > 10);
    let mut effects = tick(&mut node, DAY);
    while lost(&effects).is_empty() {
        let due = node.next_deadline().expect("it waits").at.as_micros().div_ceil(1_000);
        assert!(due < DAY + 20 * MINUTE, "never given up");
        effects.extend(tick(&mut node, due));
    }
    assert!(requests(&effects, "m1") >= 3, "{}", requests(&effects, "m1"));
}

#[test]
fn a_late_tick_only_delays_giving_up() {
    let given_up = |late: u64| {
        let mut node = misses_m1(Config::builder());
        let (mut now, mut effects) = (0, Vec::new());
        while lost(&effects).is_empty() {
            let due = node.next_deadline().expect("it waits").at.as_micros().div_ceil(1_000);
            now = now.max(due) + late;
            assert!(now < 30 * DAY, "never given up with ticks {late} ms late");
            effects.extend(tick(&mut node, now));
        }
        assert!(requests(&effects, "m1") >= 3, "{late}");
        now
    };
    let in_time = given_up(0);
    assert_eq!(in_time, HOUR);
    for late in [SECOND, 59 * SECOND, 5 * MINUTE, HOUR] {
        assert!(given_up(late) >= in_time, "{late}");
    }
}

#[test]
fn a_device_awake_for_20_s_in_15_min_gives_up_in_the_end() {
    let mut node = misses_m1(Config::builder());
    let (mut effects, mut now) = (Vec::new(), 0);
    while lost(&effects).is_empty() {
        assert!(now < 7 * DAY, "never given up");
        effects.extend(run(&mut node, now + 20 * SECOND));
        node.handle(at(now + 20 * SECOND), Input::Tick).expect("a tick is always taken");
        now += 15 * MINUTE;
        effects.extend(tick(&mut node, now));
    }
    assert!(now > 2 * HOUR, "given up after {now} ms");
    assert!(requests(&effects, "m1") > 10);
}

#[test]
fn of_many_missing_none_is_given_up_before_it_was_asked_for_thrice() {
    let t_max = Duration::from_secs(120);
    let mut node = node("alice", Config::builder().lost_after(3 * t_max).retrieval_interval(None));
    let all: Vec<String> = (0..100).map(|n| format!("m{n}")).collect();
    for (n, id) in all.iter().enumerate() {
        let named = lip109(&format!("b{n}"), 1_000 + n as u64).after([id.as_str()]);
        node.handle(at(0), named.input()).expect("taken");
    }
    let (mut effects, mut given_up) = (drain(&mut node), 0);
    while let Some(due) =
        node.next_deadline().map(|deadline| deadline.at.as_micros().div_ceil(1_000))
        && due < HOUR
    {
        effects.extend(tick(&mut node, due));
        for id in lost(&effects[..]).into_iter().skip(given_up) {
            let asked = requests(&effects, id.as_str().expect("text"));
            assert!(asked >= 3, "{id} was given up at {due} ms and asked for {asked} times");
            given_up += 1;
        }
    }
    assert_eq!(given_up, 100);
}

/// Timers stand still while no more may be held back for the store.
#[test]
fn a_store_that_hangs_for_hours_gives_up_nothing() {
    let mut store = Store::default();
    let (mut node, _) = start(strict().max_held_effects(20), &mut store, 0);
    node.handle(at(0), lip109("m2", 2).after(["m1"]).input()).expect("taken");
    let (mut told, mut now) = (Vec::new(), 0);
    while now < 4 * HOUR {
        now += SECOND;
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Persist { id, changes } => store.write(id, changes),
                other => told.push(other),
            }
        }
    }
    while let Some(answer) = store.answer() {
        node.handle(at(now), answer).expect("an answer that was asked for");
    }
    node.handle(at(now), Input::Tick).expect("a tick is always taken");
    told.extend(store.serve(&mut node, at(now)));
    assert!(requests(&told, "m1") > 0, "they were held back");
    assert_eq!(lost(&told), []);
}

/// A request is held back until the state that it depends on is persisted.
#[test]
fn a_store_that_fails_for_hours_gives_up_nothing() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    store.failing = Some(StoreError::Full);
    node.handle(at(0), lip109("m2", 2).after(["m1"]).input()).expect("taken");
    let mut told = store.serve(&mut node, at(0));
    for second in 1..=4 * 3_600 {
        if second == 4 * 3_600 {
            store.failing = None;
        }
        node.handle(at(second * SECOND), Input::Tick).expect("a tick is always taken");
        told.extend(store.serve(&mut node, at(second * SECOND)));
    }
    told.extend(tick_stored(&mut node, &mut store, 4 * HOUR + MINUTE));
    assert!(requests(&told, "m1") > 0, "they were held back");
    assert_eq!(lost(&told), []);
}

#[test]
fn datagrams_without_ticks_for_hours_give_up_nothing() {
    let mut node = misses_m1(Config::builder().retrieval_interval(None));
    for second in 1..=4 * 3_600 {
        let said = lip109(&format!("b{second}"), second * SECOND);
        node.handle(at(second * SECOND), said.input()).expect("taken");
        drain(&mut node);
    }
    assert_eq!(lost(&tick(&mut node, 4 * HOUR)), []);
}

#[test]
fn the_age_of_what_is_missing_counts_from_the_last_progress() {
    for repair in [false, true] {
        let mut node = node("alice", Config::builder().repair(repair).sync(false));
        node.handle(at(0), lip109("m2", 2).after(["m0", "m1"]).input()).expect("taken");
        run(&mut node, 20 * MINUTE);
        node.handle(at(20 * MINUTE), lip109("m0", 1).input()).expect("taken");
        run(&mut node, 21 * MINUTE);
        node.handle(at(21 * MINUTE), Input::Tick).expect("a tick is always taken");
        let ages: Vec<_> = node.missing(&channel()).map(|missing| missing.age).collect();
        assert_eq!(ages, [Duration::from_secs(60)], "repair: {repair}");
    }
}

/// Lives of `awake` each, one after the other with a restart after `every`. What all of them told.
fn lives(
    config: &dyn Fn() -> ConfigBuilder,
    now: fn(u64) -> Now,
    store: &mut Store,
    (awake, every): (u64, u64),
    count: u64,
) -> Vec<Effect> {
    let mut told = Vec::new();
    for life in 1..=count {
        let (begin, mut node) =
            (life * every, Node::new(config().build().expect("valid settings")));
        // The monotonic clock starts anew, the wall clock goes on.
        let now = |millis: u64| Now { mono: at(millis - begin).mono, ..now(millis) };
        node.handle(now(begin), common::open()).expect("opens");
        told.extend(store.serve(&mut node, now(begin)));
        while let Some(deadline) = node.next_deadline() {
            let due = begin + deadline.at.as_micros().div_ceil(1_000);
            if due > begin + awake {
                break;
            }
            node.handle(now(due), Input::Tick).expect("a tick is always taken");
            told.extend(store.serve(&mut node, now(due)));
        }
    }
    told
}

fn without_wall(millis: u64) -> Now {
    Now::without_wall(at(millis).mono)
}

#[test]
fn restarts_more_often_than_lost_after_give_up_in_the_end() {
    let config = || strict().auto_consume(true);
    for now in [at, without_wall] {
        for (minutes, count) in [(1, 400), (15, 96), (30, 96), (59, 96)] {
            let mut store = Store::default();
            let (mut node, _) = start(config(), &mut store, 0);
            node.handle(at(0), lip109("m2", 2).after(["m1"]).input()).expect("taken");
            store.serve(&mut node, at(0));
            let life = minutes * MINUTE;
            let told = lives(&config, now, &mut store, (life, life), count);
            assert_eq!(lost(&told), ids(&["m1"]), "lives of {minutes} min");
            assert_eq!(delivered(&told), ids(&["m2"]), "lives of {minutes} min");
            assert!(requests(&told, "m1") >= 3, "lives of {minutes} min");
            let told = lives(&config, now, &mut store, (life, life), 3);
            assert_eq!(lost(&told), [], "it is told once");
        }
    }
}

/// Without repair, or where no sync takes a request along, nothing is asked for.
#[test]
fn restarts_give_up_what_is_never_asked_for_too() {
    let settings: [&dyn Fn() -> ConfigBuilder; 2] =
        [&|| strict().repair(false), &|| strict().sync(false)];
    for config in settings {
        for now in [at, without_wall] {
            for (awake, every, count) in [(20, 900, 600), (900, 900, 12), (3_540, 3_540, 4)] {
                let mut store = Store::default();
                let (mut node, _) = start(config(), &mut store, 0);
                node.handle(at(0), lip109("m2", 2).after(["m1"]).input()).expect("taken");
                store.serve(&mut node, at(0));
                let life = (awake * SECOND, every * SECOND);
                let told = lives(config, now, &mut store, life, count);
                assert_eq!(lost(&told), ids(&["m1"]), "awake {awake} s of {every}");
            }
        }
    }
}

#[test]
fn a_restart_does_not_hasten_giving_up() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(0), lip109("m2", 2).after(["m1"]).input()).expect("taken");
    store.serve(&mut node, at(0));
    let (life, pause) = (20 * MINUTE, DAY);
    let told = lives(&strict, at, &mut store, (life, pause), 2);
    assert_eq!(lost(&told), [], "forty minutes of an hour");
}

/// A store with m1 published and unheard, and the channel closed since.
fn unheard() -> Store {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(0), publish("m1")).expect("published");
    store.serve(&mut node, at(0));
    store
}

#[test]
fn a_phone_awake_for_20_s_in_15_min_resends_until_unconfirmed() {
    for now in [at, without_wall] {
        let mut store = unheard();
        let told = lives(&strict, now, &mut store, (20 * SECOND, 15 * MINUTE), 96);
        assert_eq!(sends(&told, SendReason::Resend), 8);
        assert_eq!(unconfirmed(&told), 1);
        assert!(sends(&told, SendReason::Sync) > 20, "{}", sends(&told, SendReason::Sync));
    }
}

#[test]
fn a_restart_does_not_hasten_resends_where_there_is_a_wall_clock() {
    let mut store = unheard();
    // Every 2 s for two minutes: 30 s, 60 s, and half of each at most for jitter.
    let told = lives(&strict, at, &mut store, (2 * SECOND, 2 * SECOND), 60);
    assert!((1..=3).contains(&sends(&told, SendReason::Resend)), "{told:?}");
}

#[test]
fn many_unheard_messages_are_not_resent_all_at_once_after_a_restart() {
    let config = || strict().sync(false).bloom_capacity(1_000);
    for now in [at, without_wall] {
        let mut store = Store::default();
        let (mut node, _) = start(config(), &mut store, 0);
        for n in 0..200 {
            node.handle(at(0), publish(&format!("m{n}"))).expect("published");
            store.serve(&mut node, at(0));
        }
        let mut told = Vec::new();
        for life in 1..=8 {
            let mut resent: Vec<u64> = Vec::new();
            let begin = life * HOUR;
            let mut node = Node::new(config().build().expect("valid settings"));
            node.handle(now(begin), common::open()).expect("opens");
            store.serve(&mut node, now(begin));
            while let Some(deadline) = node.next_deadline() {
                let due = deadline.at.as_micros().div_ceil(1_000);
                if due > begin + 10 * SECOND {
                    break;
                }
                node.handle(now(due), Input::Tick).expect("a tick is always taken");
                let effects = store.serve(&mut node, now(due));
                resent.extend((0..sends(&effects, SendReason::Resend)).map(|_| due));
                told.extend(effects);
            }
            assert!(resent.len() >= 50, "{} in life {life}", resent.len());
            let most = resent.iter().map(|first| {
                resent.iter().filter(|at| (*first..first + SECOND).contains(at)).count()
            });
            assert!(most.max() <= Some(15), "in one second of life {life}");
        }
        // Each has its turn: none waits behind those that were published before it.
        for n in 0..200 {
            let id = MessageId::from(format!("m{n}"));
            let was_sent = told.iter().any(
                |effect| matches!(effect, Effect::Send { message_id, .. } if *message_id == id),
            );
            assert!(was_sent, "{id}");
        }
    }
}
