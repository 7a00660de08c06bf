//! A participant on the host.

use bytes::Bytes;
use sds_firmware::frame::TURN_MS;
use sds_proto::{
    ChannelId, Config, Effect, Input, Instant, LogDigest, LogEntry, MessageId, Node, Now,
    PublishKind, UnixMillis,
};

use crate::group::LogLine;

/// When the runs begin, in milliseconds since 1970.
pub(crate) const START: u64 = 1_767_225_600_000;

const GROUP: ChannelId = ChannelId::from_static("group");

pub(crate) struct Participant {
    node: Node,
    name: &'static str,
    published: u32,
}

impl Participant {
    pub(crate) fn new(name: &'static str, seed: u64) -> Self {
        let config = Config::firmware().participant_id(name.into()).seed(seed).build();
        let mut node = Node::new(config.expect("the settings are constants"));
        let opened = node.handle(now(0), Input::Open { channel: GROUP, config: None });
        opened.expect("no channel is open yet");
        Self { node, name, published: 0 }
    }

    pub(crate) fn hear(&mut self, turn: u64, datagram: Bytes) {
        // A refusal is the fault of others, and has no effect.
        let _refused = self.node.handle(now(turn), Input::Datagram(datagram));
    }

    /// Publishes a message, unless too many are unacknowledged.
    pub(crate) fn publish(&mut self, turn: u64) {
        let text = format!("{}, message {}", self.name, self.published);
        let input = Input::Publish {
            channel: GROUP,
            message_id: MessageId::from(text.as_str()),
            content: Bytes::from(text),
            kind: PublishKind::Content,
        };
        self.published += u32::from(self.node.handle(now(turn), input).is_ok());
    }

    pub(crate) const fn published(&self) -> u32 {
        self.published
    }

    /// Does what is due. Gives the datagrams to be sent.
    pub(crate) fn tick(&mut self, turn: u64) -> Vec<Bytes> {
        self.node.handle(now(turn), Input::Tick).expect("a tick is never refused");
        let mut datagrams = Vec::new();
        while let Some(effect) = self.node.poll_effect() {
            if let Effect::Send { bytes, .. } = effect {
                datagrams.push(bytes);
            }
        }
        datagrams
    }

    pub(crate) fn digest(&self) -> [u8; 16] {
        self.node.log(&GROUP).map_or([0; 16], |log| LogDigest::to_bytes(log.digest()))
    }

    pub(crate) fn log(&self) -> Vec<LogLine> {
        let entries = self.node.log(&GROUP).into_iter().flat_map(|log| log.iter());
        let line = |entry: &LogEntry| LogLine {
            message_id: entry.message_id().as_bytes().to_vec(),
            sender_id: entry.sender_id().as_bytes().to_vec(),
            lamport: entry.lamport(),
            content: entry.content().to_vec(),
        };
        entries.map(line).collect()
    }
}

fn now(turn: u64) -> Now {
    let millis = turn * u64::from(TURN_MS);
    Now::new(Instant::from_millis(millis), UnixMillis(START + millis))
}
