//! Memory of an idle channel, measured on separate nodes before the application starts.

use bytes::Bytes;
use sds_firmware::frame::Status;
use sds_proto::{ChannelId, Config, ConfigBuilder, Dialect, Input, Node, Now, PublishKind};

use crate::heap;

const CHANNELS: [&str; 2] = ["first", "second"];
/// The channel before them, with which the node gets what all channels share.
const SHARED: &str = "shared";

/// Fills in what an idle channel takes.
pub(crate) fn idle_channels(status: &mut Status) {
    (status.idle, status.idle_nim) = idle(Config::firmware());
    // The least that peers which speak LIP-109 put up with.
    let lip109 = Config::firmware()
        .dialect(Dialect::Lip109)
        .bloom_capacity(10_000)
        .bloom_error_rate(0.001)
        .max_filter_len(24 << 10)
        .max_ids(12_000);
    (_, status.idle_lip109) = idle(lip109);
    heap::forget_peak();
}

/// Bytes that a channel takes: empty, and with one message of our own.
fn idle(config: ConfigBuilder) -> (u32, u32) {
    let mut node = Node::new(config.build().expect("the settings are constants"));
    open(&mut node, SHARED);
    publish(&mut node, SHARED);
    let (before, _) = heap::used_and_peak();
    CHANNELS.iter().for_each(|channel| open(&mut node, channel));
    let (empty, _) = heap::used_and_peak();
    CHANNELS.iter().for_each(|channel| publish(&mut node, channel));
    let (with_message, _) = heap::used_and_peak();
    let each = |bytes: u32| (bytes - before) / CHANNELS.len() as u32;
    (each(empty), each(with_message))
}

fn open(node: &mut Node, channel: &'static str) {
    handle(node, Input::Open { channel: ChannelId::from_static(channel), config: None });
}

fn publish(node: &mut Node, channel: &'static str) {
    let publish = Input::Publish {
        channel: ChannelId::from_static(channel),
        message_id: "a message".into(),
        content: Bytes::from_static(b"some content"),
        kind: PublishKind::Content,
    };
    handle(node, publish);
}

fn handle(node: &mut Node, input: Input) {
    node.handle(Now::default(), input).expect("nothing is in the way");
    while node.poll_effect().is_some() {}
}
