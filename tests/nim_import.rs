//! A channel goes on with us where nim-sds has left it.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use bytes::{Bytes, BytesMut};
use common::peer::{entry, nim};
use common::store::{Store, start, strict};
use common::{EPOCH_MS, at, channel, delivered, publish};
use sds_proto::snapshot::Snapshot;
use sds_proto::stored;
use sds_proto::wire::nim_snapshot::{
    ChannelData, IncomingMessage, IncomingRepair, OutgoingRepair, UnacknowledgedMessage,
};
use sds_proto::wire::{HistoryEntry, Limits, Message, NimForm};
use sds_proto::{
    ConfigBuilder, Dialect, Effect, Event, Input, MessageId, Node, RejectReason, SendReason,
};

fn config() -> ConfigBuilder {
    strict().dialect(Dialect::NimSds)
}

/// Returns the state that nim-sds would have stored, after a trip through its bytes.
fn data(messages: impl IntoIterator<Item = Message>) -> ChannelData {
    let mut data = ChannelData::default();
    data.messages.extend(messages);
    data
}

fn unacked(message: Message) -> UnacknowledgedMessage {
    let mut unacked = UnacknowledgedMessage::default();
    unacked.message = message;
    unacked.resend_attempts = 4;
    unacked
}

fn waiting(message: Message, missing: &[&str]) -> IncomingMessage {
    let mut waiting = IncomingMessage::default();
    waiting.message = message;
    waiting.missing_dependencies = missing.iter().map(|id| MessageId::from(*id)).collect();
    waiting
}

/// Stores what `data` says, and opens the channel.
fn import(data: &ChannelData, config: impl Fn() -> ConfigBuilder) -> (Node, Store, Vec<Effect>) {
    let mut blob = BytesMut::new();
    data.encode(&mut blob);
    let data = ChannelData::decode(&blob.freeze(), &Limits::default()).expect("just encoded");
    let settings = config().build().expect("valid settings");
    let state = Snapshot::from_nim_sds(&data, &channel(), &settings, at(100));
    assert_eq!(state.check(), Ok(()));
    let mut store = Store::default();
    for write in stored::import(&channel(), &state) {
        store.disk.carry_out(write);
    }
    store.disk.states.insert(channel(), Some(state));
    let (node, effects) = start(config(), &mut store, 100);
    (node, store, effects)
}

fn logged(node: &Node) -> Vec<&str> {
    let log = node.log(&channel()).expect("open");
    log.iter().map(|entry| entry.message_id().as_str().expect("text")).collect()
}

fn take(node: &mut Node, store: &mut Store, input: Input) -> Vec<Effect> {
    node.handle(at(100), input).expect("taken");
    store.serve(node, at(100))
}

#[test]
fn the_log_is_ordered_without_repeats_syncs_and_what_has_no_id_and_is_not_told_again() {
    let empty = nim("", 3).message;
    let nonsense = nim("n9", 4).lamport(u64::MAX).message;
    let ahead = nim("n8", 4).lamport(EPOCH_MS * 2).message;
    let messages = [
        nim("n2", 2).after(["n1"]).message,
        nim("n1", 1).message,
        nim("n2", 9).content("another").message,
        nim("s1", 2).sync().message,
        nim("m1", 3).by("alice").after(["s1"]).message,
        empty,
        nonsense,
        ahead,
    ];
    let (mut node, mut store, effects) = import(&data(messages), config);
    assert_eq!(effects, []);
    assert_eq!(logged(&node), ["n1", "n2", "m1"]);
    let status = node.status(&channel()).expect("open");
    assert_eq!((status.lamport, status.outgoing), (EPOCH_MS + 3, 0));

    let refused = node.handle(at(100), publish("n2")).expect_err("it is known");
    assert_eq!(refused.reason, RejectReason::IdKnown);
    let again = take(&mut node, &mut store, nim("n1", 1).input());
    assert_eq!(delivered(&again), []);
    let told = take(&mut node, &mut store, nim("n3", 5).after(["s1", "n2"]).input());
    assert_eq!(delivered(&told), ["n3".into()], "a sync is no gap");
}

#[test]
fn what_0_4_stored_is_imported_with_an_empty_message_in_its_log() {
    let named = |id: &str| {
        let mut named = entry(id, "bob");
        named.retrieval_hint = Some(Bytes::from("there"));
        named
    };
    let in_log = [nim("n1", 1), nim("n2", 2).naming(named("n1"))];
    let mut blob = BytesMut::from(&b"\x0a\x02\x08\x01\x12\x00"[..]);
    for said in in_log {
        let bytes = said.in_form(NimForm::V04).bytes();
        blob.extend([0x12, u8::try_from(bytes.len()).expect("short")]);
        blob.extend(bytes);
    }
    let data = ChannelData::decode(&blob.freeze(), &Limits::default()).expect("of 0.4");
    let settings = config().build().expect("valid settings");
    let state = Snapshot::from_nim_sds(&data, &channel(), &settings, at(100));
    assert_eq!(state.check(), Ok(()));
    let entries: Vec<_> = state.log.values().map(|stored| &stored.entry).collect();
    let ids: Vec<_> = entries.iter().map(|entry| entry.message_id().as_bytes()).collect();
    assert_eq!(ids, [b"n1", b"n2"]);
    let history: Vec<_> = entries[1].causal_history().map(HistoryEntry::from).collect();
    assert_eq!(history, [named("n1")]);
}

#[test]
fn the_clock_goes_on_unless_nobody_would_believe_it() {
    for (stored, expected) in
        [(EPOCH_MS + 50, EPOCH_MS + 50), (u64::MAX, EPOCH_MS + 1), (i64::MAX as u64, EPOCH_MS + 1)]
    {
        let mut data = data([nim("n1", 1).message]);
        data.meta.lamport = stored;
        let (node, ..) = import(&data, config);
        assert_eq!(node.status(&channel()).expect("open").lamport, expected);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn unacknowledged_messages_are_resent_even_those_of_a_participant_without_an_id() {
    for sender in ["alice", ""] {
        let own = |id: &str, millis| nim(id, millis).by(sender).message;
        let mut data = data([own("m1", 1), nim("n1", 2).message]);
        data.meta.outgoing_buffer = vec![unacked(own("m1", 1)), unacked(own("m0", 0))];
        let (mut node, mut store, _) = import(&data, || config().participant_id(sender.into()));
        assert_eq!(logged(&node), ["m0", "m1", "n1"]);
        let mut resent = Vec::new();
        while let Some(deadline) = node.next_deadline() {
            let now = deadline.at.as_micros().div_ceil(1_000);
            node.handle(at(now), Input::Tick).expect("a tick is always taken");
            for effect in store.serve(&mut node, at(now)) {
                if let Effect::Send { reason: SendReason::Resend, message_id, .. } = effect {
                    resent.push(message_id);
                }
            }
        }
        resent.sort_unstable();
        let times = |id: &str| resent.iter().filter(|resent| resent.as_str() == Some(id)).count();
        assert_eq!((times("m0"), times("m1")), (8, 8), "as if never resent");
        let named = nim("n2", 200).naming(entry("m1", sender)).naming(entry("m0", sender));
        let told = take(&mut node, &mut store, named.input());
        let acked = told
            .iter()
            .filter(|effect| matches!(effect, Effect::Event(Event::Acked { .. })))
            .count();
        assert_eq!(acked, 2);
    }
}

#[test]
fn what_waits_is_delivered_when_what_it_lacks_comes_and_only_then() {
    let mut data = data([nim("n1", 1).message]);
    // n0 was delivered and evicted long ago; n4 waits for n3, which waits itself.
    let third = nim("n3", 3).after(["n0", "n1", "n2"]).message;
    let fourth = nim("n4", 4).after(["n3"]).message;
    data.meta.incoming_buffer = vec![waiting(fourth, &["n3"]), waiting(third, &["n2"])];
    let (mut node, mut store, effects) = import(&data, config);
    assert_eq!(delivered(&effects), []);
    let status = node.status(&channel()).expect("open");
    assert_eq!((status.logged, status.incoming, status.missing), (1, 2, 1));
    let told = take(&mut node, &mut store, nim("n2", 2).input());
    assert_eq!(delivered(&told), ["n2", "n3", "n4"].map(MessageId::from));
}

#[test]
fn a_message_that_waited_for_nothing_is_told_after_the_import() {
    let mut data = data([nim("n1", 1).message]);
    data.meta.incoming_buffer = vec![waiting(nim("n2", 2).after(["n1"]).message, &[])];
    let (_, _, effects) = import(&data, config);
    assert_eq!(delivered(&effects), ["n2".into()]);
}

#[test]
fn repairs_go_on_in_both_directions() {
    let mut data = data([nim("n1", 1).message]);
    let mut wanted = OutgoingRepair::default();
    (wanted.message_id, wanted.entry) = ("n7".into(), entry("n7", "bob"));
    let mut asked = IncomingRepair::default();
    (asked.message_id, asked.entry) = ("n1".into(), entry("n1", "bob"));
    let mut gone = IncomingRepair::default();
    (gone.message_id, gone.entry) = ("n0".into(), entry("n0", "bob"));
    data.meta.outgoing_repair_buffer = vec![wanted];
    data.meta.incoming_repair_buffer = vec![asked, gone];
    let (mut node, mut store, _) = import(&data, || config().sync_to_nim(true));
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let now = node.next_deadline().expect("a request").at.as_micros().div_ceil(1_000);
        node.handle(at(now), Input::Tick).expect("a tick is always taken");
        for effect in store.serve(&mut node, at(now)) {
            let Effect::Send { bytes, reason, message_id, .. } = effect else { continue };
            answered.extend((reason == SendReason::Repair).then_some(message_id));
            let (_, message) = sds_proto::wire::decode(&bytes, &Limits::default()).expect("ours");
            asked.extend(message.repair_request);
        }
    }
    assert_eq!(answered, ["n1".into()]);
    assert_eq!(asked.first(), Some(&entry("n7", "bob")));
}

#[test]
fn what_is_here_is_not_asked_for_nor_what_the_repair_does_not_name() {
    let repair = |id: &str, named: &str| {
        let mut repair = OutgoingRepair::default();
        (repair.message_id, repair.entry) = (id.into(), entry(named, "bob"));
        repair
    };
    let mut data = data([nim("n1", 1).message]);
    data.meta.outgoing_repair_buffer =
        vec![repair("n1", "n1"), repair("n7", "n8"), repair("", ""), repair("n9", "n9")];
    let (node, ..) = import(&data, config);
    assert_eq!(node.status(&channel()).expect("open").missing, 1);
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn more_than_the_settings_allow_is_evicted_as_ever() {
    let messages = (0..50).map(|n| nim(&format!("n{n:02}"), n).message);
    let small = || config().max_log_messages(5).max_outgoing(5).max_ids(20).bloom_capacity(10);
    let (mut node, mut store, _) = import(&data(messages), small);
    assert_eq!(logged(&node), ["n45", "n46", "n47", "n48", "n49"]);
    let forgotten = node.handle(at(100), nim("n03", 3).input()).expect_err("long ago");
    assert!(matches!(forgotten.reason, RejectReason::Stale { .. }));
    assert_eq!(delivered(&take(&mut node, &mut store, nim("n44", 44).input())), []);
}

#[test]
fn the_key_of_the_digests_is_the_nodes_own() {
    let state = |seed, name: &str| {
        let config = config().seed(seed).participant_id(name.into()).build().expect("valid");
        Snapshot::from_nim_sds(&data([nim("n1", 1).message]), &channel(), &config, at(0))
    };
    assert_eq!(state(1, "alice"), state(1, "alice"));
    let keys =
        [state(1, "alice"), state(2, "alice"), state(1, "bob")].map(|state| state.record_key);
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && !keys.contains(&[0, 0]));
}

#[test]
fn a_state_does_not_keep_the_blob_alive() {
    let mut blob = BytesMut::new();
    data([nim("n1", 1).message]).encode(&mut blob);
    let blob: Bytes = blob.freeze();
    let data = ChannelData::decode(&blob, &Limits::default()).expect("just encoded");
    let settings = config().build().expect("valid settings");
    let state = Snapshot::from_nim_sds(&data, &channel(), &settings, at(0));
    drop(data);
    assert!(blob.is_unique());
    assert_eq!(state.log.len(), 1);
}
