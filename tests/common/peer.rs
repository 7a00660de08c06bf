//! Messages of peers that are not nodes of ours: any field may say anything.

use bytes::{Bytes, BytesMut};
use sds_proto::bloom::{Filter, Geometry};
use sds_proto::hash::HashKind;
use sds_proto::wire::{HistoryEntry, Message, NimForm, WireDialect};
use sds_proto::{Input, MessageId, ParticipantId};

use super::{EPOCH_MS, channel};

/// A message in the making: content of participant "bob" unless something else is said.
#[derive(Clone, Debug)]
pub struct Said {
    pub dialect: WireDialect,
    pub message: Message,
}

/// A LIP-109 message of bob with this id, published `millis` milliseconds into the test.
pub fn lip109(id: &str, millis: u64) -> Said {
    Said::new(WireDialect::Lip109, id, EPOCH_MS + millis)
}

/// The same in the nim dialect.
pub fn nim(id: &str, millis: u64) -> Said {
    Said::new(WireDialect::NimSds, id, EPOCH_MS + millis)
}

pub fn entry(id: impl Into<MessageId>, sender: &str) -> HistoryEntry {
    let mut entry = HistoryEntry::default();
    entry.message_id = id.into();
    entry.sender_id = sender.into();
    entry
}

impl Said {
    pub fn new(dialect: WireDialect, id: impl Into<MessageId>, lamport: u64) -> Self {
        let mut message = Message::default();
        message.channel_id = channel();
        message.message_id = id.into();
        message.content = Some(Bytes::from(format!("content of {}", message.message_id)));
        message.sender_id = "bob".into();
        message.lamport = Some(lamport);
        Self { dialect, message }
    }

    pub fn by(mut self, sender: &str) -> Self {
        self.message.sender_id = sender.into();
        self
    }

    pub fn in_channel(mut self, channel: &str) -> Self {
        self.message.channel_id = channel.into();
        self
    }

    pub fn lamport(mut self, lamport: u64) -> Self {
        self.message.lamport = Some(lamport);
        self
    }

    pub fn content(mut self, content: &str) -> Self {
        self.message.content = Some(Bytes::from(content.to_owned()));
        self
    }

    pub fn sync(mut self) -> Self {
        self.message.content = None;
        if self.dialect == WireDialect::NimSds {
            self.message.content = Some(Bytes::new());
        }
        self
    }

    pub fn ephemeral(mut self) -> Self {
        self.message.lamport = None;
        self
    }

    /// Names entries of bob's in the causal history.
    pub fn after<'a>(mut self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.message.causal_history.extend(ids.into_iter().map(|id| entry(id, "bob")));
        self
    }

    pub fn naming(mut self, named: HistoryEntry) -> Self {
        self.message.causal_history.push(named);
        self
    }

    pub fn asking(mut self, wanted: HistoryEntry) -> Self {
        self.message.repair_request.push(wanted);
        self
    }

    pub fn filter(mut self, container: impl Into<Bytes>) -> Self {
        self.message.bloom_filter = Some(container.into());
        self
    }

    /// Attaches a filter that holds `ids`.
    pub fn having<'a>(self, geometry: Geometry, ids: impl IntoIterator<Item = &'a str>) -> Self {
        let hash = match self.dialect {
            WireDialect::Lip109 => HashKind::Lip109,
            WireDialect::NimSds => HashKind::NimFarm,
        };
        let mut filter = Filter::new(geometry);
        ids.into_iter().for_each(|id| filter.insert(hash.probe(id.as_bytes())));
        let mut container = BytesMut::new();
        match self.dialect {
            WireDialect::Lip109 => filter.lip109_field().encode(&mut container),
            WireDialect::NimSds => filter.nim_field().encode(&mut container),
        }
        self.filter(container.freeze())
    }

    /// In this form of the nim dialect, without what that cannot say.
    pub fn in_form(mut self, form: NimForm) -> Self {
        self.message.nim_form = Some(form);
        if !form.is_complete() {
            self.message.sender_id = ParticipantId::default();
        }
        self
    }

    pub fn bytes(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        self.message.borrowed().as_outgoing().encode(self.dialect, &mut buffer);
        buffer.freeze()
    }

    pub fn input(&self) -> Input {
        Input::Datagram(self.bytes())
    }
}
