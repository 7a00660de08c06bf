//! One member talks and the others listen: their acknowledgements keep up with what they hear.

mod common;

use bytes::Bytes;
use common::{Faults, Group, Rng, channel};
use sds_proto::{Config, ConfigBuilder, Dialect, FilterPolicy, Input, MessageId, PublishKind};

/// The rhythm of the talker.
#[derive(Clone, Copy, Debug)]
struct Talk {
    members: usize,
    /// Messages published at once, and the milliseconds to the next such burst.
    burst: u64,
    gap_ms: u64,
    seconds: u64,
}

/// The outcome of a talk.
#[derive(Debug)]
struct Outcome {
    published: u64,
    refused: u64,
    resent: u64,
    sync_bytes: u64,
}

fn talk(talk: Talk, settings: impl Fn() -> ConfigBuilder) -> Outcome {
    let names = (0..talk.members).map(|n| format!("member-{n}"));
    let configs = names.enumerate().map(|(n, name)| {
        let config = settings().participant_id(name.as_str().into()).seed(n as u64);
        config.build().expect("valid settings")
    });
    let faults = Faults { loss: 0, dup: 0, delay_ms: 50 };
    let mut group = Group::new(configs.collect(), 1, faults);
    let mut ids = Rng(1);
    let (mut published, mut refused) = (0, 0);
    for start in (0..talk.seconds * 1_000).step_by(talk.gap_ms as usize) {
        group.run_until(start, |_| false);
        for _ in 0..talk.burst {
            let id = format!("{:016x}{:016x}", ids.next(), ids.next());
            let input = Input::Publish {
                channel: channel(),
                message_id: MessageId::from(id),
                content: Bytes::from_static(&[b'x'; 64]),
                kind: PublishKind::Content,
            };
            published += 1;
            refused += u64::from(group.handle(0, input).is_err());
        }
        group.told.iter_mut().for_each(Vec::clear);
    }
    let sent = |reason: &str| group.sends.get(reason).copied().unwrap_or_default();
    let bytes = |reason: &str| group.bytes.get(reason).copied().unwrap_or_default();
    Outcome { published, refused, resent: sent("Resend"), sync_bytes: bytes("Sync") }
}

fn lip109() -> ConfigBuilder {
    Config::chat()
}

fn nim() -> ConfigBuilder {
    Config::chat().dialect(Dialect::NimSds).sync_to_nim(true)
}

/// Bytes of syncs for each message that they acknowledge: its name of some 60, a share of the
/// filter, and what several listeners tell at the same time.
const SYNC_BYTES: u64 = 300;

#[track_caller]
fn is_expedited_for_acks(how: Talk, settings: impl Fn() -> ConfigBuilder) {
    let outcome = talk(how, settings);
    assert_eq!((outcome.refused, outcome.resent), (0, 0), "{how:?} {outcome:?}");
    assert!(outcome.sync_bytes < SYNC_BYTES * outcome.published, "{how:?} {outcome:?}");
}

/// One message each 10 ms.
const FAST: Talk = Talk { members: 2, burst: 1, gap_ms: 10, seconds: 40 };

/// Filters that are soon full, and prove nothing by themselves then. Content messages carry none.
fn full(settings: ConfigBuilder) -> ConfigBuilder {
    settings.bloom_capacity(1_000).filter_policy(FilterPolicy::SyncOnly)
}

#[test]
fn one_listener_keeps_up_with_a_hundred_messages_a_second() {
    // So long that the filters of the defaults are full, too.
    is_expedited_for_acks(Talk { seconds: 150, ..FAST }, lip109);
    is_expedited_for_acks(Talk { seconds: 150, ..FAST }, || {
        nim().filter_policy(FilterPolicy::SyncOnly)
    });
}

#[test]
fn several_listeners_share_what_there_is_to_acknowledge() {
    for members in [5, 20] {
        is_expedited_for_acks(Talk { members, ..FAST }, || full(lip109()));
        is_expedited_for_acks(Talk { members, ..FAST }, || full(nim()));
    }
}

#[test]
fn listeners_keep_up_with_bursts() {
    for (members, burst, gap_ms) in [(2, 500, 20_000), (5, 500, 20_000), (2, 20, 200)] {
        let seconds = 4_000 / burst * gap_ms / 1_000;
        is_expedited_for_acks(Talk { members, burst, gap_ms, seconds }, || full(lip109()));
        is_expedited_for_acks(Talk { members, burst, gap_ms, seconds }, || full(nim()));
    }
}

#[test]
fn a_talker_of_twenty_messages_a_second_is_never_refused() {
    let how = Talk { members: 2, burst: 1, gap_ms: 50, seconds: 200 };
    is_expedited_for_acks(how, || full(lip109()));
    is_expedited_for_acks(how, || full(nim()));
}
