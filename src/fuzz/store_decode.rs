//! Records, or a blob, as a store might give them back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::config::{Config, Durability};
use crate::effect::Effect;
use crate::input::{Input, PublishKind};
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::stored;
use crate::time::{Instant, Now, UnixMillis};

/// Any records are refused or add up to a state that can be written down again, and in which a node
/// can go on. `data`: of each record the length of its key (1 byte), the key, the length of its
/// value (2 bytes, most significant first), the value.
pub fn store_decode(data: &[u8]) {
    let _refused = Snapshot::decode(data);
    let mut records = Vec::new();
    let mut rest = data;
    while let Some((record, more)) = split_record(rest) {
        records.push(record);
        rest = more;
    }
    let Ok(Some(state)) = stored::snapshot(records) else { return };
    assert_eq!(Snapshot::decode(&state.encode()).as_ref(), Ok(&state));
    go_on(state);
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn split_record(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (len, rest) = data.split_first()?;
    let (key, rest) = rest.split_at_checked((*len).into())?;
    let (len, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    Some(((key, value), rest))
}

/// Restores a channel in this state, publishes, and lets some time pass.
fn go_on(state: Box<Snapshot>) {
    let small = Config::builder().participant_id("p".into()).durability(Durability::Strict);
    let small = small.bloom_capacity(10).max_log_messages(4).max_outgoing(4).max_ids(16);
    let mut node = Node::new(small.max_met_ids(4).build().expect("valid settings"));
    let at =
        |seconds: u64| Now::new(Instant::from_millis(seconds * 1_000), UnixMillis(seconds * 1_000));
    node.handle(at(1), Input::Open { channel: "c".into(), config: None }).expect("a new channel");
    let loaded = Input::Loaded { channel: "c".into(), result: Ok(Some(state)) };
    let load = node.poll_effect();
    assert!(matches!(load, Some(Effect::Load { .. })), "{load:?}");
    node.handle(at(1), loaded).expect("a state that was checked");
    let publish = Input::Publish {
        channel: "c".into(),
        message_id: "new".into(),
        content: "x".into(),
        kind: PublishKind::Content,
    };
    let _refused = node.handle(at(2), publish);
    for seconds in [2, 60, 600, 86_400] {
        node.handle(at(seconds), Input::Tick).expect("a tick is always taken");
        while let Some(effect) = node.poll_effect() {
            if let Effect::Persist { id, .. } = effect {
                let answer = Input::Persisted { id, result: Ok(()) };
                node.handle(at(seconds), answer).expect("asked for");
            }
        }
    }
}
