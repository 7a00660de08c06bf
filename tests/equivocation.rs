//! Copies of one message that differ, and repeats of ephemeral messages among many others.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use common::peer::{Said, lip109, nim};
use common::{at, drain, node};
use sds_proto::wire::NimForm;
use sds_proto::{Config, Dialect, Effect, Event, MessageId, Node};

fn conflicts(effects: &[Effect]) -> Vec<MessageId> {
    let conflict = |effect: &Effect| match effect {
        Effect::Event(Event::Conflict { message_id, .. }) => Some(message_id.clone()),
        _ => None,
    };
    effects.iter().filter_map(conflict).collect()
}

/// Has a node hear these messages, and returns the conflicts that it reports.
fn heard(mut node: Node, said: impl IntoIterator<Item = Said>) -> Vec<MessageId> {
    for said in said {
        node.handle(at(1), said.input()).expect("taken");
    }
    conflicts(&drain(&mut node))
}

fn alice() -> Node {
    node("alice", Config::builder())
}

#[test]
fn a_copy_with_another_history_is_a_conflict_logged_or_buffered() {
    let first = || [lip109("b1", 1), lip109("b2", 2).after(["b1"])];
    let forged = lip109("b2", 2).after(["b1", "invented"]);
    assert_eq!(heard(alice(), first().into_iter().chain([forged.clone()])), ["b2".into()]);
    // The forged copy came first and waits for the invented dependency.
    let [b1, b2] = first();
    assert_eq!(heard(alice(), [forged, b1, b2]), ["b2".into()]);
}

#[test]
fn the_same_message_again_is_no_conflict_in_any_dialect_and_form() {
    let said = |said: Said| said.after(["b1"]);
    let mut copies = vec![said(lip109("b2", 2)), said(lip109("b2", 2)), said(nim("b2", 2))];
    for form in NimForm::ALL {
        copies.push(said(nim("b2", 2)).in_form(form));
    }
    let bridge = node("alice", Config::builder().dialect(Dialect::Bridge));
    assert_eq!(heard(bridge, [lip109("b1", 1)].into_iter().chain(copies)), []);
}

#[test]
fn repeats_of_ephemeral_messages_are_known_among_a_thousand_others() {
    let mut node = alice();
    let mut told = 0;
    for round in 0..2 {
        for number in 0..1_000 {
            let said = lip109(&format!("e{number}"), round).ephemeral();
            node.handle(at(1), said.input()).expect("taken");
        }
        let ephemeral =
            |effect: &Effect| matches!(effect, Effect::Event(Event::DeliverEphemeral { .. }));
        told += drain(&mut node).iter().filter(|effect| ephemeral(effect)).count();
    }
    assert_eq!(told, 1_000);
}
