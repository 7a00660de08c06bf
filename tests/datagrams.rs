//! Messages and a transport that takes no more than so many bytes.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test picks the effects it looks at")]

mod common;

use core::time::Duration;

use common::channel;
use sds_proto::wire::{self, HistoryEntryRef, Limits, Outgoing, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, Dialect, Effect, FilterPolicy, Input, NimFilterSize, Node, Now,
    PublishKind, RejectReason, SendReason,
};

/// The longest datagram that UDP carries, in bytes.
const UDP: usize = 65_507;

fn at(seconds: u64) -> Now {
    common::at(seconds * 1_000)
}

fn alice(limit: usize) -> ConfigBuilder {
    Config::builder().participant_id("alice".into()).seed(1).max_datagram_len(limit)
}

fn open(config: ConfigBuilder) -> Node {
    let mut node = Node::new(config.build().expect("valid"));
    let open = Input::Open { channel: channel(), config: None };
    node.handle(at(0), open).expect("opens");
    node
}

fn publish_as(
    node: &mut Node,
    seconds: u64,
    id: &str,
    len: usize,
    kind: PublishKind,
) -> Result<(), RejectReason> {
    let content = vec![b'x'; len].into();
    let input = Input::Publish { channel: channel(), message_id: id.into(), content, kind };
    node.handle(at(seconds), input).map_err(|rejected| rejected.reason)
}

fn publish(node: &mut Node, seconds: u64, id: &str, len: usize) -> Result<(), RejectReason> {
    publish_as(node, seconds, id, len, PublishKind::Content)
}

fn largest(refused: Result<(), RejectReason>) -> usize {
    match refused {
        Err(RejectReason::DatagramTooLong { max_content, .. }) => max_content,
        other => panic!("{other:?}"),
    }
}

/// Returns the datagrams that go out: why, and how long they are.
fn sends(node: &mut Node) -> Vec<(SendReason, usize)> {
    let effects = core::iter::from_fn(|| node.poll_effect());
    effects
        .filter_map(|effect| match effect {
            Effect::Send { reason, bytes, .. } => Some((reason, bytes.len())),
            _ => None,
        })
        .collect()
}

/// A message of somebody else's.
fn heard(node: &mut Node, seconds: u64, id: &str, history: &[HistoryEntryRef<'_>]) {
    let mut message = Outgoing::default();
    message.sender_id = b"bob";
    message.message_id = id.as_bytes();
    let channel = channel();
    message.channel_id = channel.as_bytes();
    message.lamport = Some(1);
    message.causal_history = history;
    message.content = Some(b"content");
    let mut bytes = bytes::BytesMut::new();
    message.encode(WireDialect::Lip109, &mut bytes);
    node.handle(at(seconds), Input::Datagram(bytes.freeze())).expect("acceptable");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let mut node = open(alice(UDP));
    let refused = publish(&mut node, 1, "m1", 200_000).expect_err("200 KB");
    let RejectReason::DatagramTooLong { content_len: 200_000, limit: UDP, max_content } = refused
    else {
        panic!("{refused:?}");
    };
    // The filter has 18,752 bytes.
    assert!((46_600..46_755).contains(&max_content), "{max_content}");
    let said = refused.to_string();
    assert!(said.contains(&max_content.to_string()) && said.contains("65507"), "{said}");
    assert!(node.log(&channel()).expect("open").is_empty());
    assert_eq!(largest(publish(&mut node, 1, "m1", max_content + 1)), max_content);
    assert_eq!(publish(&mut node, 1, "m1", max_content), Ok(()));
}

#[test]
fn what_nothing_fits_into_says_what_makes_room() {
    let mut node = open(alice(1_200));
    let refused = publish(&mut node, 1, "m1", 1).expect_err("a filter is longer");
    assert_eq!(largest(Err(refused)), 0);
    assert!(refused.to_string().contains("FilterPolicy::SyncOnly"), "{refused}");
    let mut node = open(alice(1_200).filter_policy(FilterPolicy::SyncOnly));
    let most = largest(publish(&mut node, 1, "m1", 2_000));
    assert!(most > 1_100, "{most}");
    assert_eq!(publish(&mut node, 1, "m1", most), Ok(()));
    assert!(sends(&mut node)[0].1 <= 1_200);
}

#[test]
fn an_ephemeral_message_has_room_for_all_but_its_ids() {
    let mut node = open(alice(1_200));
    let publish = |node: &mut Node, len| publish_as(node, 1, "e", len, PublishKind::Ephemeral);
    let most = largest(publish(&mut node, 2_000));
    assert_eq!(largest(publish(&mut node, most + 1)), most);
    assert_eq!(publish(&mut node, most), Ok(()));
    assert_eq!(sends(&mut node), [(SendReason::Ephemeral, 1_200)]);
}

/// Whatever dialect and filter: it goes out now, and again when the filter has grown.
#[test]
fn the_largest_content_is_resent_however_large_the_filter() {
    let settings: [fn(ConfigBuilder) -> ConfigBuilder; 6] = [
        |config| config,
        |config| config.dialect(Dialect::NimSds),
        |config| config.dialect(Dialect::NimSds).nim_filter_size(NimFilterSize::FullSize),
        |config| config.dialect(Dialect::Bridge),
        |config| config.dialect(Dialect::Mirror { initial: WireDialect::NimSds }),
        |config| config.filter_policy(FilterPolicy::EveryNth(3)),
    ];
    for (number, set) in settings.into_iter().enumerate() {
        let small = alice(4_000).bloom_capacity(400).resend_max(Duration::from_secs(60));
        let mut node = open(set(small).sync_to_nim(true));
        let most = largest(publish(&mut node, 1, "large", 10_000));
        assert_eq!(publish(&mut node, 1, "large", most), Ok(()));
        let mut sent = sends(&mut node);
        for other in 0..600 {
            heard(&mut node, 1, &format!("b{other}"), &[]);
        }
        for minute in 1..20 {
            node.handle(at(minute * 60), Input::Tick).expect("a tick");
            sent.extend(sends(&mut node));
        }
        let resent = sent.iter().filter(|(reason, _)| *reason == SendReason::Resend).count();
        assert!(resent >= 8, "{number}: {sent:?}");
        assert!(sent.iter().any(|(reason, _)| *reason == SendReason::Sync), "{number}: {sent:?}");
        let longest = sent.iter().map(|(_, len)| *len).max();
        assert!(longest <= Some(4_000), "{number}: {longest:?}");
        assert!(longest > Some(3_800), "{number}: {longest:?}");
    }
}

/// Heads and requests with the longest ids and hints there are.
#[test]
fn heads_and_requests_that_find_no_room_wait_for_the_next() {
    let long = |name: &str, number: usize| format!("{name}{number}-{}", "x".repeat(240));
    let mut node = open(
        alice(3_000)
            .filter_policy(FilterPolicy::SyncOnly)
            .repair_t_max(Some(Duration::from_secs(60))),
    );
    for number in 0..40 {
        heard(&mut node, 1, &long("head", number), &[]);
    }
    // The largest content stays about what it is without heads.
    let most = largest(publish(&mut node, 1, "m1", 10_000));
    assert!(most > 2_000, "{most}");
    assert_eq!(publish(&mut node, 1, "m1", most), Ok(()));
    let hint = "h".repeat(250);
    for number in 0..20 {
        let (id, sender) = (long("missing", number), long("sender", 0));
        let mut missing = HistoryEntryRef::default();
        missing.message_id = id.as_str().into();
        missing.retrieval_hint = Some(hint.as_bytes());
        missing.sender_id = sender.as_str().into();
        heard(&mut node, 2, &format!("names{number}"), &[missing]);
    }
    let limits = Limits::default();
    let (mut named, mut asked) = (0, std::collections::BTreeSet::new());
    for second in 3..600 {
        node.handle(at(second), Input::Tick).expect("a tick");
        while let Some(effect) = node.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                assert!(bytes.len() <= 3_000, "{}", bytes.len());
                let (_, message) = wire::decode_ref(&bytes, &limits).expect("our own");
                named += message.causal_history.len();
                asked.extend(
                    message.repair_request.iter().map(|asked| asked.message_id.to_string()),
                );
            }
        }
    }
    assert_eq!(asked.len(), 20);
    assert!(named > 40, "{named}");
}

#[test]
fn a_request_that_fits_into_no_message_is_in_nobodys_way() {
    let mut node = open(alice(700).filter_policy(FilterPolicy::SyncOnly));
    let (id, hint) = ("i".repeat(256), "h".repeat(256));
    let mut too_long = HistoryEntryRef::default();
    too_long.message_id = id.as_str().into();
    too_long.retrieval_hint = Some(hint.as_bytes());
    too_long.sender_id = id.as_str().into();
    heard(&mut node, 1, "m1", &[too_long]);
    let mut short = HistoryEntryRef::default();
    short.message_id = "short".into();
    heard(&mut node, 1, "m2", &[short]);
    let mut syncs = 0;
    let mut asked = false;
    for second in 2..600 {
        node.handle(at(second), Input::Tick).expect("a tick");
        while let Some(effect) = node.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                assert!(bytes.len() <= 700, "{}", bytes.len());
                let (_, message) = wire::decode_ref(&bytes, &Limits::default()).expect("our own");
                asked |= message.repair_request.iter().any(|asked| asked.message_id == *"short");
                syncs += 1;
            }
        }
    }
    assert!(asked);
    assert!(syncs < 60, "{syncs} syncs in ten minutes");
}

/// Entries that a causal history is filled up with give way before heads do.
#[test]
fn what_a_history_is_filled_up_with_gives_way_to_content() {
    for dialect in [Dialect::Lip109, Dialect::NimSds, Dialect::Bridge] {
        let limit = 1_200;
        let config = alice(limit).dialect(dialect).sync_to_nim(true).causal_history_len(64);
        let mut alice = open(config.filter_policy(FilterPolicy::SyncOnly));
        for n in 1..=64 {
            let before = format!("{:040}", n - 1);
            let mut named = HistoryEntryRef::default();
            named.message_id = before.as_str().into();
            let named = if n > 1 { &[named][..] } else { &[] };
            heard(&mut alice, 1, &format!("{n:040}"), named);
        }
        sends(&mut alice);
        publish(&mut alice, 2, "m1", 400).expect("with fewer entries it fits");
        for seconds in 3..200 {
            alice.handle(at(seconds), Input::Tick).expect("a tick is always taken");
        }
        let sent = sends(&mut alice);
        assert!(sent.iter().any(|(reason, _)| *reason == SendReason::Sync));
        assert!(sent.iter().all(|(_, len)| *len <= limit), "{dialect:?}: {sent:?}");
    }
}
