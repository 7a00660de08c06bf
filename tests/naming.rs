//! Entries that messages name: exactly those that the node announced, and nothing that their
//! dialects cannot pass on. Invariant I11 of ARCHITECTURE.md.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use common::peer::{Said, entry, lip109, nim};
use common::store::{Store, start};
use common::{at, channel, publish, run, status};
use proptest::prelude::*;
use sds_proto::wire::{self, HistoryEntry, Limits, Message, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, Dialect, Durability, Effect, IdRef, Input, MessageId, Node, SendReason,
};

const DIALECTS: [Dialect; 5] = [
    Dialect::Lip109,
    Dialect::NimSds,
    Dialect::Bridge,
    Dialect::Mirror { initial: WireDialect::Lip109 },
    Dialect::Mirror { initial: WireDialect::NimSds },
];

/// One message of somebody else, or one of our own.
#[derive(Clone, Debug)]
enum Step {
    Heard { id: u8, named: Vec<u8>, nim: bool, odd_sender: bool },
    Synced { named: Vec<u8>, nim: bool },
    Published { id: u8 },
    Waited { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let named = || prop::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        6 => (any::<u8>(), named(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(id, named, nim, odd_sender)| Step::Heard { id, named, nim, odd_sender }),
        1 => (named(), any::<bool>()).prop_map(|(named, nim)| Step::Synced { named, nim }),
        4 => any::<u8>().prop_map(|id| Step::Published { id }),
        1 => (0..90_000_u64).prop_map(|millis| Step::Waited { millis }),
    ]
}

/// One of a few ids, some of which are not UTF-8.
fn id(number: u8) -> MessageId {
    match number % 24 {
        odd @ 18.. => MessageId::from(&[0xff, odd][..]),
        text => MessageId::from(format!("m{text}")),
    }
}

fn said(step: &Step, now: u64) -> Option<Said> {
    let with = |mut said: Said, named: &[u8]| {
        let named = named.iter().map(|named| entry(id(*named), "bob"));
        said.message.causal_history.extend(named);
        said
    };
    let begun = |nim_sds| if nim_sds { nim("", now) } else { lip109("", now) };
    match step {
        Step::Heard { id: number, named, nim, odd_sender } => {
            let mut said = with(begun(*nim), named);
            said.message.message_id = id(*number);
            if *odd_sender {
                said.message.sender_id = [0xfe][..].into();
            }
            Some(said)
        }
        Step::Synced { named, nim } => {
            let mut said = with(begun(*nim), named).sync();
            said.message.message_id = MessageId::from(format!("sync at {now}"));
            Some(said)
        }
        Step::Published { .. } | Step::Waited { .. } => None,
    }
}

fn config(dialect: Dialect) -> ConfigBuilder {
    let config = Config::builder().participant_id("alice".into()).bloom_capacity(100);
    let config = config.durability(Durability::Strict).dialect(dialect).max_heads(3);
    config.causal_history_len(2).sync_to_nim(true).unconfirmed_when_full(true).max_outgoing(20)
}

/// New messages and syncs in `effects`, decoded.
fn messages(effects: &[Effect]) -> Vec<Message> {
    let bytes = effects.iter().filter_map(|effect| match effect {
        Effect::Send { bytes, reason: SendReason::New | SendReason::Sync, .. } => Some(bytes),
        _ => None,
    });
    let decode = |bytes| wire::decode(bytes, &Limits::default()).expect("whatever is sent decodes");
    bytes.map(|bytes| decode(bytes).1).collect()
}

fn is_text(named: &HistoryEntry) -> bool {
    named.message_id.as_str().is_some() && named.sender_id.as_str().is_some()
}

/// Carries steps out, checks what is published, and gives what was told in all.
fn carry_out(node: &mut Node, store: &mut Store, steps: &[Step], now: &mut u64) -> Vec<Effect> {
    let mut told = Vec::new();
    for step in steps {
        *now += 100;
        if let Step::Waited { millis } = step {
            *now += millis;
            node.handle(at(*now), Input::Tick).expect("a tick is always taken");
        }
        if let Some(said) = said(step, *now) {
            let _may_be_refused = node.handle(at(*now), said.input());
        }
        told.extend(store.serve(node, at(*now)));
        let Step::Published { id: number } = step else { continue };
        let announced: Vec<MessageId> =
            node.next_causal_history(&channel()).map(IdRef::into).collect();
        let mut input = publish("");
        if let Input::Publish { message_id, .. } = &mut input {
            *message_id = id(*number);
        }
        if node.handle(at(*now), input).is_err() {
            continue;
        }
        let effects = store.serve(node, at(*now));
        let news: Vec<Message> =
            messages(&effects).into_iter().filter(|sent| sent.message_id == id(*number)).collect();
        assert!(!news.is_empty());
        for message in news {
            let named: Vec<MessageId> =
                message.causal_history.iter().map(|named| named.message_id.clone()).collect();
            assert_eq!(named, announced);
        }
        told.extend(effects);
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Also in a log from a time when the node wrote nim-sds alone, and took any ids.
    #[test]
    fn what_is_announced_is_named_and_can_be_passed_on(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 1..60),
        dialect in prop::sample::select(DIALECTS.to_vec()),
    ) {
        let (mut store, mut now) = (Store::default(), 0);
        let (mut node, _) = start(config(Dialect::NimSds), &mut store, now);
        carry_out(&mut node, &mut store, &before, &mut now);
        let (mut node, mut told) = start(config(dialect), &mut store, now);
        told.extend(carry_out(&mut node, &mut store, &after, &mut now));
        if dialect == Dialect::NimSds {
            return Ok(());
        }
        let log = node.log(&channel()).expect("open");
        for message in messages(&told) {
            for named in message.causal_history.iter().chain(&message.repair_request) {
                prop_assert!(is_text(named), "{:?}", named);
                let entry = log.get(&named.message_id);
                let entries = entry.into_iter().flat_map(|entry| entry.causal_history());
                for named in entries.map(HistoryEntry::from) {
                    prop_assert!(is_text(&named), "{:?}", named);
                }
            }
        }
    }
}

/// Two hundred heads that cannot be named took their turns in the rotation, and most messages named
/// nothing.
#[test]
fn heads_that_cannot_be_named_take_no_turns() {
    for dialect in [Dialect::Lip109, Dialect::Bridge] {
        let (mut store, mut now) = (Store::default(), 0);
        let (mut node, _) = start(config(Dialect::NimSds), &mut store, now);
        for n in 0..200_u8 {
            now += 10;
            let mut odd = nim("", now);
            odd.message.message_id = [0xff, n][..].into();
            node.handle(at(now), odd.input()).expect("nim-sds takes any bytes");
        }
        store.serve(&mut node, at(now));
        assert_eq!(status(&node).heads, 200);

        let (mut node, _) = start(config(dialect), &mut store, now);
        assert_eq!((status(&node).logged, status(&node).heads), (200, 0));
        now += 10;
        node.handle(at(now), lip109("b1", now).input()).expect("taken");
        store.serve(&mut node, at(now));
        let mut last = MessageId::from("b1");
        for n in 0..100 {
            now += 10;
            let id = format!("m{n}");
            node.handle(at(now), publish(&id)).expect("published");
            let effects = store.serve(&mut node, at(now));
            let named = messages(&effects).remove(0).causal_history;
            assert!(named.iter().any(|named| named.message_id == last), "{id} names {named:?}");
            last = id.into();
        }
        let effects = run(&mut node, now + 200_000);
        assert!(messages(&effects).iter().all(|sent| sent.causal_history.iter().all(is_text)));
    }
}
