//! Effects for JavaScript: objects with a `kind`.

use sds_proto::{Effect as Core, Event};
use serde::Serialize;
use serde_bytes::ByteBuf;
use tsify::Tsify;

/// An action to carry out, or an event.
#[derive(Serialize, Tsify)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// Broadcast these bytes to the group.
    Send {
        channel: String,
        #[tsify(type = "Uint8Array")]
        bytes: ByteBuf,
    },
    /// A message joined the log, right after `follows`, or as the first.
    Deliver {
        channel: String,
        message_id: String,
        sender_id: String,
        #[tsify(type = "number")]
        lamport: u64,
        #[tsify(type = "Uint8Array")]
        content: ByteBuf,
        follows: Option<String>,
        /// Something it depends on is missing from the log.
        gap: bool,
        own: bool,
    },
    /// An ephemeral message.
    DeliverEphemeral {
        channel: String,
        message_id: String,
        sender_id: String,
        #[tsify(type = "Uint8Array")]
        content: ByteBuf,
    },
    /// Some peer has an own message.
    Acked { channel: String, message_id: String },
    /// Nobody acknowledged an own message, however often it was sent.
    Unconfirmed { channel: String, message_id: String },
    /// A message depends on others that are not here.
    Missing { channel: String, message_ids: Vec<String> },
    /// These were given up.
    Lost { channel: String, message_ids: Vec<String> },
}

impl Effect {
    /// `None` for what JavaScript is not told.
    pub(crate) fn from_core(effect: Core) -> Option<Self> {
        let bytes = |bytes: &[u8]| ByteBuf::from(bytes.to_vec());
        let event = match effect {
            Core::Event(event) => event,
            Core::Send { channel, bytes: message, .. } => {
                let channel = channel.to_string();
                return Some(Self::Send { channel, bytes: bytes(&message) });
            }
            // This node keeps nothing and has no archive.
            Core::Persist { .. } | Core::Load { .. } | Core::Retrieve { .. } => return None,
        };
        Some(match event {
            Event::Deliver(delivery) => Self::Deliver {
                channel: delivery.channel.to_string(),
                message_id: delivery.entry.message_id().to_string(),
                sender_id: delivery.entry.sender_id().to_string(),
                lamport: delivery.entry.lamport(),
                content: bytes(delivery.entry.content()),
                follows: delivery.follows.map(|entry| entry.message_id().to_string()),
                gap: delivery.gap,
                own: delivery.own,
            },
            Event::DeliverEphemeral { channel, message_id, sender_id, content } => {
                Self::DeliverEphemeral {
                    channel: channel.to_string(),
                    message_id: message_id.to_string(),
                    sender_id: sender_id.to_string(),
                    content: bytes(&content),
                }
            }
            Event::Acked { channel, message_id } => {
                Self::Acked { channel: channel.to_string(), message_id: message_id.to_string() }
            }
            Event::Unconfirmed { channel, message_id } => Self::Unconfirmed {
                channel: channel.to_string(),
                message_id: message_id.to_string(),
            },
            Event::Missing { channel, missing, .. } => Self::Missing {
                channel: channel.to_string(),
                message_ids: missing.iter().map(|entry| entry.message_id.to_string()).collect(),
            },
            Event::Lost { channel, message_ids } => Self::Lost {
                channel: channel.to_string(),
                message_ids: message_ids.iter().map(ToString::to_string).collect(),
            },
            _ => return None,
        })
    }
}
