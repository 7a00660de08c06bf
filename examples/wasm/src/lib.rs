//! `sds-proto` for JavaScript: one class that takes inputs and gives effects, like the node in it.
//!
//! JavaScript moves the bytes and tells the time. Nothing is imported but what `wasm-bindgen`
//! needs: no clock, no randomness, no I/O.

#![forbid(unsafe_code)]

mod effect;

use sds_proto::{Config, Input, Instant, PublishKind, Rejected, UnixMillis};
use serde::{Deserialize, Serialize};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

pub use effect::Effect;

/// The current time.
#[derive(Clone, Copy, Deserialize, Tsify)]
pub struct Now {
    /// Milliseconds on a clock that never goes back: `performance.now()`.
    pub mono: f64,
    /// Milliseconds since 1970: `Date.now()`.
    pub wall: f64,
}

/// One entry of a log.
#[derive(Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    pub message_id: String,
    pub sender_id: String,
    /// Milliseconds since 1970, as far as clocks are right.
    #[tsify(type = "number")]
    pub lamport: u64,
    #[tsify(type = "Uint8Array")]
    pub content: serde_bytes::ByteBuf,
}

/// A channel's log, ordered by Lamport time and message id: the same at every participant.
#[derive(Serialize, Tsify)]
pub struct Log {
    pub entries: Vec<LogEntry>,
    /// Equal digests: equal logs, evicted entries included.
    pub digest: String,
}

/// One participant. After each call, poll effects until there are none, and call `tick` when
/// `nextDeadline` says so.
#[wasm_bindgen]
pub struct SdsNode(sds_proto::Node);

#[wasm_bindgen]
impl SdsNode {
    /// A participant without channels. Give each a seed of its own, drawn at random.
    ///
    /// Throws if the id is longer than 256 bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(js_name = participantId)] participant_id: &str,
        seed: u64,
    ) -> Result<Self, JsError> {
        let config = Config::chat().participant_id(participant_id.into()).seed(seed).build()?;
        Ok(Self(sds_proto::Node::new(config)))
    }

    /// Takes part in a channel. Throws if it is open already.
    pub fn open(&mut self, now: Ts<Now>, channel: &str) -> Result<(), JsError> {
        self.handle(now, Input::Open { channel: channel.into(), config: None })
    }

    /// Publishes a message, whose id must be unique in the channel for ever. Throws if the content
    /// is empty, the id known, or too much is unacknowledged.
    pub fn publish(
        &mut self,
        now: Ts<Now>,
        channel: &str,
        #[wasm_bindgen(js_name = messageId)] message_id: &str,
        content: Vec<u8>,
    ) -> Result<(), JsError> {
        self.handle(now, publication(channel, message_id, content, PublishKind::Content))
    }

    /// Publishes a message that is delivered at once to whoever hears it, and not logged.
    #[wasm_bindgen(js_name = publishEphemeral)]
    pub fn publish_ephemeral(
        &mut self,
        now: Ts<Now>,
        channel: &str,
        #[wasm_bindgen(js_name = messageId)] message_id: &str,
        content: Vec<u8>,
    ) -> Result<(), JsError> {
        self.handle(now, publication(channel, message_id, content, PublishKind::Ephemeral))
    }

    /// Takes in what the transport brought. Throws if it is no message, or not acceptable: nothing
    /// has changed then, and the error says why.
    pub fn datagram(&mut self, now: Ts<Now>, bytes: Vec<u8>) -> Result<(), JsError> {
        self.handle(now, Input::Datagram(bytes.into()))
    }

    /// Lets happen what is due.
    pub fn tick(&mut self, now: Ts<Now>) -> Result<(), JsError> {
        self.handle(now, Input::Tick)
    }

    /// The next thing to do or to know, if there is one.
    #[wasm_bindgen(js_name = pollEffect)]
    pub fn poll_effect(&mut self) -> Result<Option<Ts<Effect>>, JsError> {
        // Some effects are for stores and statistics, which this API leaves out.
        let effect = core::iter::from_fn(|| self.0.poll_effect()).find_map(Effect::from_core);
        Ok(effect.map(|effect| effect.into_ts()).transpose()?)
    }

    /// When to tick, on the clock of `Now.mono`, rounded up to whole milliseconds.
    #[wasm_bindgen(getter, js_name = nextDeadline)]
    pub fn next_deadline(&self) -> Option<f64> {
        self.0.next_deadline().map(|deadline| deadline.at.as_micros().div_ceil(1_000) as f64)
    }

    /// A channel's log; `undefined` if it is not open.
    pub fn log(&self, channel: &str) -> Result<Option<Ts<Log>>, JsError> {
        let Some(log) = self.0.log(&channel.into()) else { return Ok(None) };
        let entries = log.iter().map(|entry| LogEntry {
            message_id: entry.message_id().to_string(),
            sender_id: entry.sender_id().to_string(),
            lamport: entry.lamport(),
            content: serde_bytes::ByteBuf::from(entry.content().to_vec()),
        });
        let log = Log { entries: entries.collect(), digest: log.digest().to_string() };
        Ok(Some(log.into_ts()?))
    }

    fn handle(&mut self, now: Ts<Now>, input: Input) -> Result<(), JsError> {
        let now = now.to_rust()?;
        // Negative numbers and NaN become zero; a node copes with clocks that go back.
        let mono = Instant::from_micros((now.mono * 1_000.0) as u64);
        let now = sds_proto::Now::new(mono, UnixMillis(now.wall as u64));
        self.0.handle(now, input).map_err(|Rejected { reason, .. }| reason.into())
    }
}

fn publication(channel: &str, message_id: &str, content: Vec<u8>, kind: PublishKind) -> Input {
    let (channel, message_id) = (channel.into(), message_id.into());
    Input::Publish { channel, message_id, content: content.into(), kind }
}
