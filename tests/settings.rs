//! Whatever a node can send under its settings, a node with these settings takes in, and so do a
//! desktop and the board for which its settings are made.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

mod common;

use core::time::Duration;

use std::sync::Arc;

use bytes::Bytes;
use common::peer::{Said, lip109};
use common::store::{Store, start, strict};
use common::{EPOCH_MS, Faults, Group, Rng, at, channel, drain, ids, open, publish, sent, status};
use sds_proto::snapshot::Snapshot;
use sds_proto::wire::nim_snapshot::ChannelData;
use sds_proto::wire::{HistoryEntry, WireDialect};
use sds_proto::{
    ChannelId, Config, ConfigBuilder, Dialect, Durability, Effect, Event, FilterPolicy, Input,
    MessageId, NimFilterSize, Node, PublishKind, RejectReason,
};

/// Settings of which each length and count may be at odds with another.
fn any_settings(rng: &mut Rng) -> ConfigBuilder {
    let mut up_to = |most: u64| rng.below(most + 1) as usize;
    let dialect = match up_to(4) {
        0 => Dialect::Lip109,
        1 => Dialect::NimSds,
        2 => Dialect::Bridge,
        3 => Dialect::Mirror { initial: WireDialect::Lip109 },
        _ => Dialect::Mirror { initial: WireDialect::NimSds },
    };
    let capacity = 1 + up_to(100);
    let burst = 1 + up_to(20);
    Config::builder()
        .dialect(dialect)
        .sync_to_nim(up_to(1) == 0)
        .sync(up_to(7) > 0)
        .repair(up_to(5) > 0)
        .bloom_capacity(capacity as u32)
        .bloom_error_rate([0.5, 0.01, 0.001, 1e-9][up_to(3)])
        .nim_filter_size([NimFilterSize::SizedToContent, NimFilterSize::FullSize][up_to(1)])
        .filter_policy([FilterPolicy::EveryMessage, FilterPolicy::EveryNth(3)][up_to(1)])
        .keep_lip109_filters(up_to(1) == 0)
        .causal_history_len(1 + up_to(12))
        .max_heads(1 + up_to(12))
        .max_history_entries(1 + up_to(20))
        .max_repair_requests_burst(burst)
        .max_repair_requests(1 + up_to(burst as u64 - 1))
        .max_request_entries(up_to(30))
        .max_id_len([1, 8, 31, 32, 40, 64][up_to(5)])
        .max_hint_len(up_to(20))
        .max_content_len(1 + up_to(300))
        .max_filter_len([64, 400, 1_400, 4_000][up_to(3)])
        .repair_t_min(Duration::from_secs(1))
        .repair_t_max(Some(Duration::from_secs(4)))
        .lost_after(Duration::from_secs(600))
        .sync_min(Duration::from_secs(2))
        .sync_max(Duration::from_secs(4))
}

/// Of `max` bytes: as long as may be.
fn longest(letter: char, n: usize, max: usize) -> String {
    let mut name = format!("{letter}{n:x}");
    name.truncate(max);
    while name.len() < max {
        name.push('.');
    }
    name
}

/// A node and what it has sent, which another node has to take in.
struct Pair {
    sender: Node,
    receiver: Node,
    channel: ChannelId,
    now: u64,
    sent: [usize; 6],
}

impl Pair {
    fn new(sender: Config, receiver: Config, channel: ChannelId) -> Self {
        let mut pair = Self {
            sender: Node::new(sender),
            receiver: Node::new(receiver),
            channel: channel.clone(),
            now: 0,
            sent: [0; 6],
        };
        for node in [&mut pair.sender, &mut pair.receiver] {
            let open = Input::Open { channel: channel.clone(), config: None };
            node.handle(at(0), open).expect("opens");
        }
        pair
    }

    /// Hands on what the one sent, and sees that the other takes it in, its filter included.
    fn hand_on(&mut self) {
        for effect in drain(&mut self.sender) {
            let Effect::Send { bytes, reason, dialect, .. } = effect else { continue };
            self.sent[reason as usize] += 1;
            let taken = self.receiver.handle(at(self.now), Input::Datagram(bytes.clone()));
            let config = self.receiver.config().clone();
            assert!(taken.is_ok(), "{reason:?} in {dialect}: {taken:?} under {config:?}");
            for effect in drain(&mut self.receiver) {
                assert!(
                    !matches!(effect, Effect::Event(Event::FilterIgnored { .. })),
                    "{effect:?} {config:?}"
                );
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.now += 10;
        let taken = self.sender.handle(at(self.now), input);
        let spent =
            |reason| matches!(reason, RejectReason::IdKnown | RejectReason::OutgoingFull { .. });
        assert!(
            taken.as_ref().map_or_else(|refused| spent(refused.reason), |()| true),
            "{taken:?}"
        );
        self.hand_on();
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(deadline) = self.sender.next_deadline() {
            let due = deadline.at.as_micros().div_ceil(1_000);
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.sender.handle(at(self.now), Input::Tick).expect("a tick is always taken");
            self.hand_on();
        }
        self.now = end;
    }

    /// Hears a message of somebody else who keeps to the same settings, as large as they allow.
    fn hear_the_largest(&mut self, n: usize, ids: usize) {
        let config = self.sender.config().clone();
        let (id_len, hint_len) = (config.max_id_len(), config.max_hint_len());
        let named = |n: usize| {
            let mut entry = HistoryEntry::default();
            entry.message_id = longest('i', n % ids, id_len).as_str().into();
            entry.sender_id = longest('s', 0, id_len).as_str().into();
            entry.retrieval_hint = Some(vec![b'h'; hint_len].into());
            entry
        };
        let speaks_nim = matches!(config.dialect(), Dialect::NimSds) || n.is_multiple_of(3);
        let nim = speaks_nim && !matches!(config.dialect(), Dialect::Lip109);
        let dialect = if nim { WireDialect::NimSds } else { WireDialect::Lip109 };
        let mut said = Said::new(dialect, named(n).message_id, EPOCH_MS + self.now);
        said.message.channel_id = self.channel.clone();
        said.message.sender_id = named(n).sender_id;
        said.message.content = Some(vec![b'c'; config.max_content_len()].into());
        // Some name nothing and are heads, some as much as there may be, half of it never seen.
        if n.is_multiple_of(4) {
            let history = (0..config.max_history_entries()).map(|back| named(n * 7 + back));
            said.message.causal_history.extend(history);
        }
        let asked = (0..config.max_request_entries()).map(|back| named(n.saturating_sub(back)));
        said.message.repair_request.extend(asked.filter(|_| n.is_multiple_of(2)));
        self.now += 10;
        let taken = self.sender.handle(at(self.now), said.input());
        assert!(taken.is_ok(), "{taken:?} under {config:?}");
        self.hand_on();
    }

    /// Everything by which it comes to send the largest messages that it can.
    fn say_the_largest(&mut self) {
        let config = self.sender.config().clone();
        let id_len = config.max_id_len();
        let content = Bytes::from(vec![b'c'; config.max_content_len()]);
        // As many as can be told apart.
        let ids = 16_usize.pow(id_len.saturating_sub(1).min(3) as u32).clamp(8, 300);
        for n in 0..ids.min(140) {
            self.hear_the_largest(n, ids);
            if n % 5 == 4 {
                let id = longest('o', n, id_len);
                let message_id = MessageId::from(id.as_str());
                let (channel, content) = (self.channel.clone(), content.clone());
                let kind = PublishKind::Content;
                self.handle(Input::Publish {
                    channel,
                    message_id: message_id.clone(),
                    content,
                    kind,
                });
                let hint = Bytes::from(vec![b'h'; config.max_hint_len()]);
                let channel = self.channel.clone();
                // Ids of a byte or two repeat, and a full log lets go.
                let _may_be_gone =
                    self.sender.handle(at(self.now), Input::Hint { channel, message_id, hint });
            }
            if n % 40 == 39 {
                self.run(6_000);
            }
        }
        if config.dialect() != Dialect::NimSds {
            let (channel, message_id) =
                (self.channel.clone(), longest('e', 0, id_len).as_str().into());
            let kind = PublishKind::Ephemeral;
            self.handle(Input::Publish { channel, message_id, content, kind });
        }
        self.run(60_000);
    }
}

fn named_longest(config: ConfigBuilder, max_id_len: usize, letter: char) -> ConfigBuilder {
    config.participant_id(longest(letter, 0, max_id_len).as_str().into()).max_outgoing(60)
}

#[test]
fn what_is_sent_under_settings_is_taken_in_under_them() {
    let (mut rng, mut built, mut sent) = (Rng(1), 0, [0; 6]);
    while built < 40 {
        let Ok(config) = any_settings(&mut rng).build() else { continue };
        built += 1;
        let len = config.max_id_len();
        let [sender, receiver] = ['a', 'b'].map(|letter| {
            named_longest(config.to_builder(), len, letter).build().expect("valid settings")
        });
        let channel = ChannelId::from(longest('c', 0, len).as_str());
        let mut pair = Pair::new(sender, receiver, channel);
        pair.say_the_largest();
        for (all, these) in sent.iter_mut().zip(pair.sent) {
            *all += these;
        }
    }
    assert!(sent.iter().all(|sent| *sent >= 20), "{sent:?}");
}

#[test]
fn what_a_desktop_sends_is_taken_in_by_its_board_and_back() {
    let (mut rng, mut built) = (Rng(2), 0);
    while built < 20 {
        let Ok(board) = any_settings(&mut rng).build() else { continue };
        let len = board.max_id_len();
        let board = named_longest(board.to_builder(), len, 'b').build().expect("valid settings");
        let mut larger = Config::chat().max_outgoing(60);
        if rng.percent(50) {
            larger = any_settings(&mut rng).max_outgoing(60);
        }
        let desktop = named_longest(larger, len, 'a').compatible_with(&board).build();
        let desktop = desktop.unwrap_or_else(|error| panic!("{error} for {board:?}"));
        built += 1;
        let channel = ChannelId::from(longest('c', 0, len).as_str());
        Pair::new(desktop.clone(), board.clone(), channel.clone()).say_the_largest();
        Pair::new(board, desktop, channel).say_the_largest();
    }
}

/// With four lengths alone its filter outgrew the board's limit at message 2,049.
#[test]
fn a_desktop_is_heard_by_its_board_after_3000_messages() {
    let board = Config::firmware().participant_id("board".into()).build().expect("valid settings");
    let desktop = Config::chat().participant_id("desk".into()).seed(1).compatible_with(&board);
    let desktop = desktop.build().expect("valid settings");
    let faults = Faults { loss: 0, dup: 0, delay_ms: 20 };
    let mut group = Group::new(vec![desktop, board], 3, faults);
    for n in 0..3_000 {
        let published = group.handle(0, publish(&format!("m{n}")));
        published.expect("what the board has acknowledged makes room");
        group.run_until(group.now / 1_000 + 1_000, |_| false);
        if n % 10 == 0 {
            group.handle(1, publish(&format!("b{n}"))).expect("published");
        }
    }
    group.run_until(group.now / 1_000 + 120_000, |_| false);
    for node in &group.nodes {
        assert_eq!(status(node).delivered.0, 3_300);
    }
}

/// A message that is received is held to the node's limits, whatever those of the channel are.
#[test]
fn a_channel_that_may_send_more_than_the_node_takes_in_is_refused() {
    let config = Config::builder().max_content_len(100).build().expect("valid settings");
    let mut node = Node::new(config.clone());
    let larger = config.to_builder().max_content_len(101).build().expect("valid settings");
    let open = |config| Input::Open { channel: "c".into(), config: Some(Arc::new(config)) };
    let refused = node.handle(at(0), open(larger)).expect_err("its members refuse it");
    let reason =
        RejectReason::ChannelExceedsNode { field: "max_content_len", value: 101, bound: 100 };
    assert_eq!(refused.reason, reason);
    assert_eq!((node.channels().count(), node.poll_effect()), (0, None));
    let smaller = config.to_builder().max_content_len(99).build().expect("valid settings");
    node.handle(at(0), open(smaller)).expect("within the node's");
}

#[test]
fn what_a_channel_took_in_is_named_after_a_restart_too() {
    let smaller = strict().max_content_len(10).build().expect("valid settings");
    let open = Input::Open { channel: channel(), config: Some(Arc::new(smaller)) };
    let mut store = Store::default();
    for life in 0..2 {
        let mut node = Node::new(strict().build().expect("valid settings"));
        node.handle(at(life), open.clone()).expect("within the node's limits");
        store.serve(&mut node, at(life));
        if life == 0 {
            node.handle(at(1), lip109("b1", 2).input()).expect("within the node's limits");
            store.serve(&mut node, at(1));
        }
        let named: Vec<_> = node.next_causal_history(&channel()).map(MessageId::from).collect();
        assert_eq!(named, ids(&["b1"]), "life {life}");
    }
}

/// A board's transport takes as much of the messages of others, and passes them on.
#[test]
fn a_desktop_sends_no_longer_datagrams_than_its_board_can() {
    let board = Config::firmware().participant_id("board".into()).max_datagram_len(600);
    let board = board.build().expect("valid settings");
    let desktop = |limit| Config::chat().max_datagram_len(limit).compatible_with(&board).build();
    for (limit, both) in [(usize::MAX, 600), (601, 600), (500, 500)] {
        let desktop = desktop(limit).expect("valid settings");
        assert_eq!(desktop.max_datagram_len(), both);
    }
}

/// Members would refuse the name of it, or the message itself.
#[test]
fn what_a_log_holds_beyond_lowered_limits_is_not_named() {
    let long = "x".repeat(100);
    let mut large = Said::new(WireDialect::Lip109, "large", EPOCH_MS + 2).content(&long);
    large.message.sender_id = "bob".into();
    let lengthy = Said::new(WireDialect::Lip109, long.as_str(), EPOCH_MS + 1);
    let short = Said::new(WireDialect::Lip109, "short", EPOCH_MS + 3);
    let mut store = Store::default();
    let (mut node, _) = start(strict(), &mut store, 10);
    for said in [&lengthy, &large, &short] {
        node.handle(at(10), said.input()).expect("taken");
    }
    let hint = Bytes::from(long.clone());
    let hint = Input::Hint { channel: channel(), message_id: "short".into(), hint };
    node.handle(at(10), hint).expect("logged");
    store.serve(&mut node, at(10));
    let named: Vec<_> = node.next_causal_history(&channel()).map(|id| id.len()).collect();
    assert_eq!(named, [100, 5, 5]);

    let lowered = strict().max_id_len(64).max_content_len(64).max_hint_len(64);
    let (mut node, _) = start(lowered.clone(), &mut store, 20);
    node.handle(at(20), publish("m1")).expect("published");
    let config = lowered.participant_id("carol".into()).durability(Durability::None);
    let mut peer = Node::new(config.build().expect("valid settings"));
    peer.handle(at(20), open()).expect("opens");
    let effects = store.serve(&mut node, at(20));
    for bytes in sent(&effects) {
        peer.handle(at(20), Input::Datagram(bytes)).expect("within the limits");
    }
    assert_eq!(status(&peer).missing, 1, "short alone is named");
}

#[test]
fn what_nim_sds_stored_beyond_the_limits_is_left_out() {
    let message = |id: &str, len: usize| {
        let said = Said::new(WireDialect::NimSds, id, 7).content(&"x".repeat(len));
        said.message
    };
    let mut data = ChannelData::default();
    data.messages = vec![message("m1", 10), message("m2", 11), message(&"x".repeat(41), 1)];
    let mut odd = message("m3", 1);
    odd.causal_history.push(common::peer::entry(&[0xff][..], "bob"));
    data.messages.push(odd);
    let imported = |dialect| {
        let config = Config::builder().max_content_len(10).max_id_len(40).dialect(dialect);
        let config = config.build().expect("valid settings");
        let state = Snapshot::from_nim_sds(&data, &channel(), &config, at(0));
        state.log.values().map(|stored| MessageId::from(stored.entry.message_id())).collect()
    };
    let ids = |dialect| -> Vec<MessageId> { imported(dialect) };
    assert_eq!(ids(Dialect::NimSds), common::ids(&["m1", "m3"]));
    assert_eq!(ids(Dialect::Bridge), common::ids(&["m1"]));
}
