//! State that a restart keeps: the log, buffered messages, the evidence for each own message, and
//! pending answers. Invariant I3 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use core::time::Duration;

use std::sync::Arc;

use common::peer::{entry, lip109, nim};
use common::store::{Store, start, strict};
use common::{EPOCH_MS, Faults, Group, at, channel, delivered, drain, ids, open, publish};
use sds_proto::bloom::Geometry;
use sds_proto::snapshot::{Change, ChangeKind};
use sds_proto::wire::{self, HistoryEntry, Limits, WireDialect};
use sds_proto::{
    ConfigBuilder, ContentDigest, DeliverySeq, Dialect, Effect, Event, Input, Instant, LoadId,
    LogDigest, MessageId, Node, Now, PersistId, RejectReason, SendReason, Status, StoreError,
    UnixMillis,
};

/// Ids of the messages that `effects` acknowledge, and of those that they possibly do.
fn acks(effects: &[Effect]) -> [Vec<&str>; 2] {
    let (mut acked, mut possibly) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Event(Event::Acked { message_id, .. }) => {
                acked.push(message_id.as_str().expect("text"))
            }
            Effect::Event(Event::PossiblyAcked { message_id, .. }) => {
                possibly.push(message_id.as_str().expect("text"));
            }
            _ => {}
        }
    }
    [acked, possibly]
}

/// Ticks whenever something is due, up to `end`. What was told, with the time of each.
fn run(node: &mut Node, store: &mut Store, end: u64) -> Vec<(u64, Effect)> {
    let mut told = Vec::new();
    while let Some(deadline) = node.next_deadline() {
        let due = deadline.at.as_micros().div_ceil(1_000);
        if due > end {
            break;
        }
        node.handle(at(due), Input::Tick).expect("a tick is always taken");
        told.extend(store.serve(node, at(due)).into_iter().map(|effect| (due, effect)));
    }
    told
}

fn take(node: &mut Node, store: &mut Store, now: u64, input: Input) -> Vec<Effect> {
    node.handle(at(now), input).expect("taken");
    store.serve(node, at(now))
}

/// Returns time, dialect and id of the messages sent for `reason`.
fn sends(told: &[(u64, Effect)], reason: SendReason) -> Vec<(u64, WireDialect, &str)> {
    let sends = told.iter().filter_map(|(now, effect)| match effect {
        Effect::Send { message_id, dialect, reason: sent, .. } if *sent == reason => {
            Some((*now, *dialect, message_id.as_str().expect("text")))
        }
        _ => None,
    });
    sends.collect()
}

/// Everything that can be read of a node but its timers, and what others named in syncs, which is
/// not kept.
fn state(node: &Node) -> (Status, LogDigest, ContentDigest, Vec<MessageId>) {
    let log = node.log(&channel()).expect("open");
    let mut status = node.status(&channel()).expect("open");
    // A body that was a slice of its datagram comes back as an allocation of its own.
    status.logged_bytes = 0;
    let heads = log.heads().map(Into::into).collect();
    (status, log.digest(), log.content_digest(), heads)
}

#[test]
fn a_restart_keeps_the_state() {
    let config = || strict().max_log_messages(6).max_outgoing(3);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    for n in 0..9 {
        let named = if n % 3 == 2 { "missing" } else { "b0" };
        let said = lip109(&format!("b{n}"), n).after([named]);
        node.handle(at(n), said.input()).expect("taken");
        node.handle(at(n), publish(&format!("m{n}"))).ok();
        store.serve(&mut node, at(n));
    }
    node.handle(at(9), lip109("s1", 500).sync().input()).expect("taken");
    let log = node.log(&channel()).expect("open");
    let message_id = log.iter().next_back().expect("an entry").message_id().into();
    let hint = Input::Hint { channel: channel(), message_id, hint: "shelf".into() };
    node.handle(at(9), hint).expect("a logged message");
    store.serve(&mut node, at(9));
    assert!(node.status(&channel()).is_some_and(|status| status.incoming > 0));

    let (restarted, _) = start(config(), &mut store, 10);
    assert_eq!(state(&restarted), state(&node));
    let (again, _) = start(config(), &mut store, 11);
    assert_eq!(state(&again), state(&node));
}

#[test]
fn own_messages_that_the_store_forgot_are_taken_in_like_anyones() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), publish("m1")).expect("published");
    store.serve(&mut node, at(1));
    let older = store.disk.clone();
    node.handle(at(2), publish("m2")).expect("published");
    let sent = common::sent(&store.serve(&mut node, at(2)));

    store.disk = older;
    let (mut node, _) = start(strict(), &mut store, 3);
    assert_eq!(node.status(&channel()).map(|status| status.outgoing), Some(1));
    node.handle(at(4), Input::Datagram(sent[0].clone())).expect("taken");
    let effects = store.serve(&mut node, at(4));
    assert_eq!(delivered(&effects), ids(&["m2"]));
    assert_eq!(acks(&effects), [vec![], Vec::<&str>::new()], "our own word is no acknowledgement");
    assert_eq!(node.status(&channel()).map(|status| status.outgoing), Some(1));
}

#[test]
fn what_was_consumed_is_not_delivered_again_and_the_rest_is_in_order_and_marked() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    for n in [5, 3, 4, 1, 2] {
        node.handle(at(1), lip109(&format!("b{n}"), n).input()).expect("taken");
    }
    let told = store.serve(&mut node, at(1));
    let consumed = Input::Consumed { channel: channel(), up_to: DeliverySeq(2) };
    node.handle(at(1), consumed).expect("the channel is open");
    store.serve(&mut node, at(1));
    let (_, again) = start(strict(), &mut store, 2);
    assert_eq!(delivered(&told), ids(&["b5", "b3", "b4", "b1", "b2"]));
    assert_eq!(delivered(&again), ids(&["b4", "b1", "b2"]));
    for effect in &again {
        let Effect::Event(Event::Deliver(delivery)) = effect else { panic!("{effect:?}") };
        assert!(delivery.redelivery);
    }
}

#[test]
fn with_auto_consume_nothing_is_delivered_twice() {
    let mut store = Store::default();
    let (mut node, _) = start(strict().auto_consume(true), &mut store, 0);
    node.handle(at(1), lip109("b1", 1).input()).expect("taken");
    assert_eq!(delivered(&store.serve(&mut node, at(1))), ids(&["b1"]));
    let (_, again) = start(strict().auto_consume(true), &mut store, 2);
    assert_eq!(again, []);
}

#[test]
fn unacknowledged_messages_are_resent_and_wanted_ones_asked_for_after_a_restart() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), publish("m1")).expect("published");
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    store.serve(&mut node, at(1));
    let (mut node, _) = start(strict(), &mut store, 2);
    let (mut resent, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let now = node.next_deadline().expect("a resend").at.as_micros().div_ceil(1_000);
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        for effect in store.serve(&mut node, at(now)) {
            let Effect::Send { bytes, reason, message_id, .. } = effect else { continue };
            let (_, message) = wire::decode(&bytes, &Limits::default()).expect("ours");
            asked.extend(message.repair_request.into_iter().map(|entry| entry.message_id));
            resent.extend((reason == SendReason::Resend).then_some(message_id));
        }
    }
    assert_eq!(resent[0], "m1".into());
    assert_eq!(asked[0], "b1".into());
}

#[test]
fn a_message_dropped_for_want_of_room_is_as_new_after_a_restart() {
    let config = || strict().max_incoming_messages(1);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    let furthest = lip109("b9", 9).after(["b8"]);
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    node.handle(at(1), furthest.input()).expect("taken");
    let effects = store.serve(&mut node, at(1));
    assert!(
        effects.iter().any(|told| matches!(told, Effect::Event(Event::LimitReached { .. }))),
        "{effects:?}"
    );

    let (mut node, _) = start(config(), &mut store, 2);
    node.handle(at(3), lip109("b8", 8).input()).expect("taken");
    node.handle(at(3), furthest.input()).expect("taken");
    assert_eq!(delivered(&store.serve(&mut node, at(3))), ids(&["b8", "b9"]));
}

#[test]
fn a_message_that_was_lost_came_and_was_evicted_is_a_duplicate_after_a_restart() {
    let config = || strict().max_log_messages(1).max_outgoing(1);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    run(&mut node, &mut store, 4_000_000);
    assert_eq!(node.status(&channel()).map(|status| status.lost), Some(1));
    node.handle(at(4_000_000), lip109("b1", 1).input()).expect("taken");
    node.handle(at(4_000_000), lip109("b3", 3).input()).expect("taken");
    store.serve(&mut node, at(4_000_000));

    let before = state(&node);
    let (mut node, _) = start(config(), &mut store, 4_000_001);
    node.handle(at(4_000_002), lip109("b1", 1).input()).expect("a duplicate");
    assert_eq!(delivered(&store.serve(&mut node, at(4_000_002))), []);
    assert_eq!(state(&node).1, before.1);
}

#[test]
fn the_embedder_is_asked_again_after_a_restart_to_fetch_what_is_missing() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    node.handle(at(1), lip109("b2", 2).after(["b1"]).input()).expect("taken");
    store.serve(&mut node, at(1));
    let (mut node, _) = start(strict(), &mut store, 2);
    node.handle(at(60_000), Input::Tick).expect("a tick is always taken");
    let effects = store.serve(&mut node, at(60_000));
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Retrieve { missing, .. } => Some(&missing[..]),
        _ => None,
    });
    assert_eq!(asked, Some(&[entry("b1", "bob")][..]));
}

#[test]
fn a_store_keeps_no_more_than_the_settings_allow_after_a_restart_either() {
    let config = |ids: usize, met: usize| {
        let config = strict().max_log_messages(2).max_outgoing(2).bloom_capacity(1);
        config.max_ids(ids).max_resolved_ids(met)
    };
    let mut store = Store::default();
    let (mut node, _) = start(config(20, 20), &mut store, 0);
    for n in 1..=12 {
        take(&mut node, &mut store, n, lip109(&format!("b{n}"), n).input());
    }
    let met = (0..12).map(|n| MessageId::from(format!("met{n}"))).collect();
    let met = Input::DependenciesMet { channel: channel(), ids: met };
    take(&mut node, &mut store, 20, met.clone());
    let kept = |store: &Store| {
        let state = store.disk.load(&channel()).expect("created");
        (state.record.len(), state.resolved.len())
    };
    assert_eq!(kept(&store), (12, 12));

    start(config(5, 4), &mut store, 21);
    assert_eq!(kept(&store), (5, 4));
    // Ids that were forgotten then do not count as new with more room.
    let (mut node, _) = start(config(20, 20), &mut store, 22);
    let refused = node.handle(at(23), lip109("b3", 3).input()).expect_err("long ago");
    assert!(matches!(refused.reason, RejectReason::Stale { .. }), "{refused}");
    assert_eq!(delivered(&take(&mut node, &mut store, 23, lip109("b9", 9).input())), []);

    let (mut node, _) = start(config(20, 3), &mut store, 24);
    for _ in 0..3 {
        take(&mut node, &mut store, 25, met.clone());
    }
    assert_eq!(kept(&store), (5, 3));
}

#[test]
fn a_state_that_cannot_be_is_refused_and_another_may_be_given() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    let mut state = store.disk.load(&channel()).expect("created");
    state.lamport = 0;
    let mut node = Node::new(strict().build().expect("valid settings"));
    node.handle(at(2), open()).expect("opens");
    let id = LoadId(1);
    let loaded = |state| Input::Loaded { id, channel: channel(), result: Ok(Some(state)) };
    let refused = node.handle(at(2), loaded(state)).expect_err("it would use a Lamport time again");
    assert_eq!(refused.reason, RejectReason::LoadFailed(StoreError::Corrupt));
    store.serve(&mut node, at(2));
    assert_eq!(node.log(&channel()).expect("open").len(), 1);
}

#[test]
fn an_unconfirmed_message_is_acknowledged_after_a_restart_too_and_only_once() {
    let config = || strict().resend_after(Duration::from_secs(1)).max_resends(1).sync(false);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    let told = run(&mut node, &mut store, 60_000);
    assert!(
        told.iter().any(|(_, effect)| matches!(effect, Effect::Event(Event::Unconfirmed { .. })))
    );

    let (mut node, _) = start(config(), &mut store, 61_000);
    let told = run(&mut node, &mut store, 200_000);
    assert_eq!(sends(&told, SendReason::Resend), [], "its resends are over");
    let named = lip109("b1", 200_001).naming(entry("m1", "alice"));
    let told = take(&mut node, &mut store, 200_001, named.input());
    assert_eq!(acks(&told), [vec!["m1"], vec![]]);

    let (mut node, _) = start(config(), &mut store, 200_002);
    let named = lip109("b2", 200_003).naming(entry("m1", "alice"));
    let told = take(&mut node, &mut store, 200_003, named.input());
    assert_eq!(acks(&told), [vec![], Vec::<&str>::new()]);
}

#[test]
fn an_unconfirmed_message_can_be_sent_again_after_a_restart() {
    let config = || strict().resend_after(Duration::from_secs(1)).max_resends(1).sync(false);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    run(&mut node, &mut store, 60_000);

    let (mut node, _) = start(config(), &mut store, 61_000);
    let resend = Input::Resend { channel: channel(), message_id: "m1".into() };
    let told = take(&mut node, &mut store, 61_000, resend.clone());
    assert_eq!(common::sent(&told).len(), 1);
    assert_eq!(node.status(&channel()).map(|status| status.outgoing), Some(1));
    // That it waits again is kept, too: it is resent in the next life.
    let (mut node, _) = start(config(), &mut store, 62_000);
    let told = run(&mut node, &mut store, 200_000);
    assert_eq!(sends(&told, SendReason::Resend).len(), 1);
    let unconfirmed =
        told.iter().filter(|(_, told)| matches!(told, Effect::Event(Event::Unconfirmed { .. })));
    assert_eq!(unconfirmed.count(), 1);

    take(&mut node, &mut store, 200_000, resend.clone());
    let named = lip109("b1", 200_001).naming(entry("m1", "alice"));
    let told = take(&mut node, &mut store, 200_001, named.input());
    assert_eq!(acks(&told), [vec!["m1"], vec![]]);
    let refused = node.handle(at(200_002), resend).expect_err("it is acknowledged");
    assert_eq!(refused.reason, RejectReason::NotUnacknowledged);
}

#[test]
fn nothing_is_kept_of_an_unconfirmed_message_that_left_the_log() {
    let config = || {
        let short = strict().resend_after(Duration::from_secs(1)).max_resends(0).sync(false);
        short.max_log_messages(2).max_outgoing(2)
    };
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    run(&mut node, &mut store, 60_000);
    assert_eq!(store.disk.load(&channel()).expect("created").outgoing.len(), 1);
    for n in 0..3 {
        take(&mut node, &mut store, 60_001, lip109(&format!("b{n}"), 60_000 + n).input());
    }
    assert_eq!(store.disk.load(&channel()).expect("created").outgoing.len(), 0);
}

/// It names what names it, so neither would be named by anybody who does not know it already.
#[test]
fn a_message_published_after_it_was_lost_is_a_head() {
    let config = || strict().causal_history_len(1).repair(false).sync(false);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 0, lip109("b2", 2).after(["m1"]).input());
    run(&mut node, &mut store, 4_000_000);
    take(&mut node, &mut store, 4_000_000, publish("m1"));
    take(&mut node, &mut store, 4_000_001, lip109("b3", 4_000_001).input());
    let named =
        |node: &Node| node.next_causal_history(&channel()).map(MessageId::from).collect::<Vec<_>>();
    assert_eq!(named(&node), ids(&["m1", "b3"]));
    let (restarted, _) = start(config(), &mut store, 4_000_002);
    assert_eq!(named(&restarted), ids(&["m1", "b3"]));
}

#[test]
fn a_message_that_names_itself_is_a_head_after_a_restart_too() {
    let heads = |node: &Node| -> Vec<MessageId> {
        node.log(&channel()).expect("open").heads().map(Into::into).collect()
    };
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    take(&mut node, &mut store, 1, lip109("b1", 1).after(["b1"]).input());
    assert_eq!(heads(&node), ["b1".into()]);

    let (mut node, _) = start(strict(), &mut store, 2);
    assert_eq!(heads(&node), ["b1".into()], "nobody else names it");
    take(&mut node, &mut store, 3, lip109("b2", 2).after(["b1", "b2"]).input());
    let (node, _) = start(strict(), &mut store, 4);
    assert_eq!(heads(&node), ["b2".into()]);
}

/// A sync of `sender` whose filter holds "m1".
fn holding(sender: &str, millis: u64) -> Input {
    let geometry = Geometry::new(100, 0.001).expect("a geometry");
    lip109(&format!("sync of {sender}"), millis).by(sender).sync().having(geometry, ["m1"]).input()
}

#[test]
fn evidence_for_an_own_message_goes_on_where_it_stood() {
    // One of these filters of 1,500 bits is wrong with a chance of 1 / 1,500².
    let config = || strict().ack_confidence(1e-19).sync(false);
    for restarts in 0..8 {
        let mut store = Store::default();
        let (mut node, _) = start(config(), &mut store, 0);
        take(&mut node, &mut store, 1, publish("m1"));
        let mut told = Vec::new();
        for (n, sender) in ["bob", "bob", "carol", "carol", "bob", "dave"].iter().enumerate() {
            if restarts & 1 << (n / 2) != 0 {
                (node, _) = start(config(), &mut store, 2);
            }
            let effects = take(&mut node, &mut store, 3, holding(sender, 3));
            told.push(acks(&effects).map(|ids| ids.len()));
        }
        assert_eq!(told, [[0, 1], [0, 0], [0, 0], [0, 0], [0, 0], [1, 0]], "{restarts:b}");
    }
}

#[test]
fn possibly_acknowledged_messages_stay_so_and_are_resent_slowly() {
    let config = || {
        let config = strict().ack_confidence(1e-50).sync(false);
        config.resend_after(Duration::from_secs(10)).possibly_acked_slowdown(10)
    };
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    take(&mut node, &mut store, 2, holding("bob", 2));
    let (mut node, _) = start(config(), &mut store, 3);
    let told = run(&mut node, &mut store, 40_000);
    assert_eq!(sends(&told, SendReason::Resend), []);
}

fn bridge() -> ConfigBuilder {
    strict().dialect(Dialect::Bridge).bridge_delay(Duration::from_secs(10)).sync(false)
}

#[test]
fn a_pending_bridge_copy_is_sent_after_a_restart_when_it_was_due_and_once() {
    let config = bridge;
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, lip109("b1", 1).input());
    take(&mut node, &mut store, 1, nim("n1", 2).input());
    let mut untouched = store.disk.clone();
    let expected = run(&mut node, &mut store, 20_000);
    let expected = sends(&expected, SendReason::Bridge);
    assert_eq!(expected.len(), 2);

    core::mem::swap(&mut store.disk, &mut untouched);
    let (mut node, _) = start(config(), &mut store, 100);
    let told = run(&mut node, &mut store, 20_000);
    assert_eq!(sends(&told, SendReason::Bridge), expected);

    let (mut node, _) = start(config(), &mut store, 20_001);
    let told = run(&mut node, &mut store, 60_000);
    assert_eq!(sends(&told, SendReason::Bridge), []);
}

#[test]
fn a_bridge_copy_is_not_sent_after_a_restart_if_it_was_heard_evicted_or_is_no_longer_wanted() {
    let pending = |store: &Store| store.disk.load(&channel()).expect("created").bridges.len();
    let config = || bridge().max_log_messages(3).max_outgoing(3);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, lip109("b1", 1).input());
    assert_eq!(pending(&store), 1);
    take(&mut node, &mut store, 1, nim("b1", 1).input());
    assert_eq!(pending(&store), 0);

    for n in 2..6 {
        take(&mut node, &mut store, 2, lip109(&format!("b{n}"), n).input());
    }
    assert_eq!(pending(&store), 3, "as many as are logged");
    let (mut node, _) = start(strict().sync(false), &mut store, 3);
    let told = run(&mut node, &mut store, 60_000);
    assert_eq!(sends(&told, SendReason::Bridge), []);
    assert_eq!(pending(&store), 0);
}

#[test]
fn a_message_that_waited_across_a_restart_is_bridged_when_it_is_delivered() {
    for heard_in_both in [false, true] {
        let mut store = Store::default();
        let (mut node, _) = start(bridge(), &mut store, 0);
        take(&mut node, &mut store, 1, lip109("b2", 2).after(["b1"]).input());
        if heard_in_both {
            take(&mut node, &mut store, 1, nim("b2", 2).after(["b1"]).input());
        }
        let (mut node, _) = start(bridge(), &mut store, 3);
        take(&mut node, &mut store, 4, lip109("b1", 1).input());
        let told = run(&mut node, &mut store, 20_000);
        let mut ids: Vec<_> =
            sends(&told, SendReason::Bridge).into_iter().map(|(_, _, id)| id).collect();
        ids.sort_unstable();
        let expected: &[_] = if heard_in_both { &["b1"] } else { &["b1", "b2"] };
        assert_eq!(ids, expected);
    }
}

#[test]
fn an_answer_goes_out_after_a_restart_in_each_dialect_it_was_asked_for_in() {
    let config = || bridge().dialect(Dialect::Bridge);
    let mut store = Store::default();
    let (mut node, _) = start(config(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    let wanted = || entry("m1", "alice");
    take(&mut node, &mut store, 2, lip109("s1", 2).sync().asking(wanted()).input());
    take(&mut node, &mut store, 2, nim("b1", 2).asking(wanted()).input());
    let (mut node, _) = start(config(), &mut store, 3);
    let told = run(&mut node, &mut store, 400_000);
    let answers = sends(&told, SendReason::Repair);
    let dialects: Vec<_> = answers.iter().map(|(_, dialect, _)| *dialect).collect();
    assert_eq!(dialects, [WireDialect::Lip109, WireDialect::NimSds]);
}

/// The wall clock was put back by a day while the node was down. Its monotonic clock begins anew.
#[test]
fn a_wall_clock_that_was_put_back_does_not_put_off_requests_answers_and_bridge_copies() {
    const DAY: u64 = 24 * 3_600 * 1_000;
    let back = |millis| Now::new(Instant::from_millis(millis), UnixMillis(EPOCH_MS + millis - DAY));
    let mut store = Store::default();
    let (mut node, _) = start(bridge(), &mut store, 0);
    take(&mut node, &mut store, 1, nim("b2", 2).after(["b1"]).input());
    take(&mut node, &mut store, 2, publish("m1"));
    take(&mut node, &mut store, 3, lip109("a1", 3).asking(entry("m1", "alice")).input());

    let mut node = Node::new(bridge().sync(true).build().expect("valid settings"));
    node.handle(back(0), open()).expect("opens");
    let mut effects = store.serve(&mut node, back(0));
    while let Some(deadline) = node.next_deadline() {
        let now = deadline.at.as_micros().div_ceil(1_000);
        if now > 600_000 {
            break;
        }
        node.handle(back(now), Input::Tick).expect("a tick is always taken");
        effects.extend(store.serve(&mut node, back(now)));
    }
    let sent = |id: &str, reason| {
        effects.iter().any(|effect| match effect {
            Effect::Send { message_id, reason: sent, .. } => {
                *message_id == id.into() && *sent == reason
            }
            _ => false,
        })
    };
    assert!(sent("m1", SendReason::Repair), "the answer");
    assert!(sent("a1", SendReason::Bridge), "the copy");
    let asks = |effect: &Effect| match effect {
        Effect::Send { bytes, .. } => {
            let (_, message) = wire::decode(bytes, &Limits::default()).expect("ours");
            message.repair_request.iter().any(|wanted| wanted.message_id == "b1".into())
        }
        _ => false,
    };
    assert!(effects.iter().any(asks), "the request");
}

#[test]
fn what_was_learnt_of_a_wanted_message_later_is_not_forgotten() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    take(&mut node, &mut store, 1, lip109("b2", 2).naming(entry("b1", "")).input());
    let mut named = entry("b1", "bob");
    named.retrieval_hint = Some("shelf".into());
    take(&mut node, &mut store, 2, lip109("s1", 3).sync().naming(named.clone()).input());
    let (mut node, _) = start(strict(), &mut store, 3);
    let told = run(&mut node, &mut store, 400_000);
    let asked = told.iter().find_map(|(_, effect)| match effect {
        Effect::Send { bytes, .. } => {
            let (_, message) = wire::decode(bytes, &Limits::default()).expect("ours");
            message.repair_request.into_iter().next()
        }
        _ => None,
    });
    assert_eq!(asked, Some(named));
    let state = store.disk.load(&channel()).expect("created");
    assert!(state.missing[&MessageId::from("b1")].background, "a sync names it, too");
}

#[test]
fn what_a_sync_adds_to_a_wanted_message_is_not_forgotten_either() {
    let (plain, mut hinted) = (entry("b1", "bob"), entry("b1", "bob"));
    hinted.retrieval_hint = Some("shelf".into());
    let sync = |id: &str, named: &HistoryEntry| lip109(id, 3).sync().naming(named.clone());
    let waiting = lip109("b2", 2).naming(plain.clone());
    // That it is wanted in the background; a hint of what is so already.
    for (first, named, known) in [(waiting, &plain, &plain), (sync("s0", &plain), &hinted, &hinted)]
    {
        let mut store = Store::default();
        let (mut node, _) = start(strict(), &mut store, 0);
        take(&mut node, &mut store, 1, first.input());
        take(&mut node, &mut store, 2, sync("s1", named).input());
        let state = store.disk.load(&channel()).expect("created");
        let wanted = &state.missing[&MessageId::from("b1")];
        assert_eq!((&wanted.entry, wanted.background), (known, true));
    }
}

#[test]
fn a_group_whose_members_restart_at_any_time_converges_as_if_they_had_not() {
    let millis = Duration::from_millis;
    for seed in 1..=4 {
        let dialects = [Dialect::Lip109, Dialect::Bridge, Dialect::NimSds, Dialect::Lip109];
        let configs = dialects.iter().enumerate().map(|(index, dialect)| {
            let config = strict().participant_id(format!("p{index}").into()).dialect(*dialect);
            let config = config.auto_consume(true).seed(seed * 10 + index as u64);
            let config = config.sync_to_nim(true).repair_t_min(millis(100));
            let config = config.repair_t_max(Some(millis(1_000))).repair_sync_min(millis(20));
            let config = config.sync_min(millis(200)).sync_max(millis(800));
            config.resend_after(millis(500)).resend_max(millis(5_000)).build().expect("valid")
        });
        let faults = Faults { loss: 30, dup: 10, delay_ms: 200 };
        let mut group = Group::new(configs.collect(), seed, faults);
        let (messages, mut restarts) = (20, 0);
        for round in 0..messages {
            for index in 0..dialects.len() {
                group.handle(index, publish(&format!("m-{index}-{round}"))).expect("published");
                let end = group.now + group.rng.below(20_000);
                while group.step(end) {
                    if group.rng.percent(10) {
                        let unlucky = group.rng.below(dialects.len() as u64) as usize;
                        let before = state(&group.nodes[unlucky]);
                        group.restart(unlucky);
                        assert_eq!(state(&group.nodes[unlucky]), before, "seed {seed}");
                        restarts += 1;
                    }
                }
            }
        }
        let all = dialects.len() * messages;
        let done = group.run_until(120_000, |group| {
            (0..dialects.len()).all(|index| group.logged(index) == all)
        });
        let counts: Vec<_> = (0..dialects.len()).map(|index| group.logged(index)).collect();
        assert!(done, "seed {seed}: {counts:?}");
        assert!(restarts > 20, "{restarts}");
        group.check_converged();
    }
}

/// Returns the reason why the channel is refused when it is opened on the contents of `store`.
fn refusal(config: ConfigBuilder, store: &Store) -> Option<RejectReason> {
    let mut node = Node::new(config.build().expect("valid settings"));
    node.handle(at(5), open()).expect("opens");
    let load = drain(&mut node).into_iter().find_map(|effect| match effect {
        Effect::Load { id, .. } => Some(id),
        _ => None,
    });
    let load = load.expect("its state is asked for");
    let refused = node.handle(at(5), store.load(load, &channel())).err()?;
    assert!(node.log(&channel()).is_none());
    Some(refused.reason)
}

#[test]
fn a_store_of_another_participant_is_refused() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    assert_eq!(refusal(strict(), &store), None);
    let other = RejectReason::LoadFailed(StoreError::OtherParticipant);
    let as_bob = || strict().participant_id("bob".into());
    assert_eq!(refusal(as_bob(), &store), Some(other));
    assert_eq!(refusal(strict().participant_id("".into()), &store), Some(other));
    assert_eq!(refusal(as_bob().adopt_store(true), &store), None);
}

#[test]
fn an_adopted_store_is_kept_under_the_new_id() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    let as_bob = || strict().participant_id("bob".into());
    let (mut node, told) = start(as_bob().adopt_store(true), &mut store, 5);
    assert_eq!(delivered(&told), ids(&["m1"]));
    assert!(
        told.iter()
            .all(|effect| !matches!(effect, Effect::Event(Event::ParticipantIdInUse { .. })))
    );
    take(&mut node, &mut store, 6, publish("m2"));
    let log = node.log(&channel()).expect("open");
    let senders: Vec<_> = log.iter().map(|entry| entry.sender_id().to_string()).collect();
    assert_eq!(senders, ["alice", "bob"], "what alice has said stays hers");
    assert_eq!(refusal(as_bob(), &store), None);
    let other = RejectReason::LoadFailed(StoreError::OtherParticipant);
    assert_eq!(refusal(strict(), &store), Some(other));

    // An anonymous participant leaves it to whoever comes next.
    start(strict().participant_id("".into()).adopt_store(true), &mut store, 7);
    assert_eq!(refusal(strict(), &store), None);
}

#[test]
fn a_store_that_does_not_say_whose_it_is_is_adopted() {
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 0);
    take(&mut node, &mut store, 1, publish("m1"));
    let id = |store: &Store| store.disk.load(&channel()).expect("created").participant_id;
    assert_eq!(id(&store), "alice".into());
    store.write(
        PersistId(99),
        Arc::new([Change { channel: channel(), kind: ChangeKind::Participant("".into()) }]),
    );
    let _unasked = store.answer();
    assert_eq!(id(&store), "".into());
    start(strict().participant_id("bob".into()), &mut store, 2);
    assert_eq!(id(&store), "bob".into());
}
