//! Reading a log: by range, by id, its heads, its digests.

#![allow(clippy::reversed_empty_ranges, reason = "an empty range is what is asked for")]

mod common;

use common::peer::{Said, lip109, nim};
use common::{at, channel, drain, node};
use sds_proto::wire::{self, Limits, WireDialect};
use sds_proto::{Config, Dialect, IdRef, Input, LogEntry, Node};

/// A node that has taken in messages of these Lamport times and ids.
fn with_log(entries: &[(u64, &str)]) -> Node {
    let mut node = node("alice", Config::builder());
    for (lamport, id) in entries {
        let message: Said = lip109(id, 0).lamport(*lamport);
        node.handle(at(0), message.input()).expect("taken");
    }
    drain(&mut node);
    node
}

#[test]
fn a_range_of_lamport_times_has_both_its_ends_and_every_id_of_them() {
    let node = with_log(&[(1, "a"), (2, "z"), (2, "b"), (3, "c"), (9, "d")]);
    let log = node.log(&channel()).expect("open");
    let ids = |range| {
        let ids = log.range(range).filter_map(|entry| entry.message_id().as_str());
        ids.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids(0..=u64::MAX), "a b z c d");
    assert_eq!(ids(2..=3), "b z c");
    assert_eq!(ids(4..=8), "");
    assert_eq!(ids(9..=9), "d");
    assert_eq!(ids(3..=2), "");
    assert_eq!(ids(u64::MAX..=0), "");
    let backwards = log.range(1..=2).rev().filter_map(|entry| entry.message_id().as_str());
    assert_eq!(backwards.collect::<Vec<_>>(), ["z", "b", "a"]);
}

#[test]
fn an_entry_is_found_by_its_id_and_heads_are_those_that_nobody_names() {
    let mut node = with_log(&[(1, "a"), (2, "b")]);
    node.handle(at(0), lip109("c", 0).lamport(3).after(["a"]).input()).expect("taken");
    let log = node.log(&channel()).expect("open");
    assert_eq!(log.get("b").map(LogEntry::lamport), Some(2));
    assert_eq!(log.get("x"), None);
    let heads: Vec<_> = log.heads().filter_map(IdRef::as_str).collect();
    assert_eq!(heads, ["b", "c"]);
}

#[test]
fn a_log_is_empty_until_something_is_delivered() {
    for (entries, len) in [(&[][..], 0), (&[(1, "a")], 1), (&[(1, "a"), (2, "b")], 2)] {
        let node = with_log(entries);
        let log = node.log(&channel()).expect("open");
        assert_eq!((log.len(), log.iter().count(), log.is_empty()), (len, len, len == 0));
    }
}

#[test]
fn the_content_digest_tells_contents_apart_that_the_log_digest_does_not() {
    let digests = |content: &str| {
        let mut node = node("alice", Config::builder());
        node.handle(at(0), lip109("a", 0).content(content).input()).expect("taken");
        let log = node.log(&channel()).expect("open");
        (log.digest(), log.content_digest())
    };
    let (one, other) = (digests("one"), digests("other"));
    assert_eq!(one.0, other.0);
    assert_ne!(one.1, other.1);
}

#[test]
fn a_logged_message_is_encoded_as_it_is_in_the_log() {
    let mut alice = node("alice", Config::builder());
    let mut bob = node("bob", Config::builder().dialect(Dialect::NimSds));
    let both = [(1, "a"), (2, "z")];
    for (lamport, id) in both {
        let message = lip109(id, 0).lamport(lamport).after(["x"]).content(id);
        alice.handle(at(0), message.input()).expect("taken");
        let message = nim(id, 0).lamport(lamport).content(id);
        bob.handle(at(0), message.input()).expect("taken");
    }
    // A buffered message is not in the log.
    assert_eq!(alice.logged_datagram(&channel(), &"a".into()), None);
    let met = Input::DependenciesMet { channel: channel(), ids: vec!["x".into()] };
    alice.handle(at(0), met).expect("taken");
    for (node, dialect) in [(&mut alice, WireDialect::Lip109), (&mut bob, WireDialect::NimSds)] {
        for (_, id) in both {
            let datagram = node.logged_datagram(&channel(), &id.into()).expect("logged");
            let (found, message) = wire::decode(&datagram, &Limits::default()).expect("sound");
            let log = node.log(&channel()).expect("open");
            let entry = log.get(id).expect("logged");
            assert_eq!((found, message.message_id), (dialect, id.into()));
            assert_eq!(message.lamport, Some(entry.lamport()));
            assert_eq!(message.content.as_deref(), Some(entry.content()));
            assert_eq!(message.causal_history.len(), entry.causal_history().count());
            assert_eq!(message.bloom_filter.as_deref().unwrap_or_default(), b"");
        }
    }
    assert_eq!(alice.logged_datagram(&channel(), &"y".into()), None);
}
