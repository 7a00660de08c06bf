//! Parts that fit together into a datagram of `max_datagram_len` bytes: content, heads, requests
//! and filter.

use bytes::Bytes;
use quick_protobuf::sizeofs::sizeof_varint;

use super::log::Naming;
use super::publish::History;
use super::{Channel, Cx};
use crate::config::{Dialect, FilterPolicy};
use crate::error::RejectReason;
use crate::id::MessageId;
use crate::wire::{HistoryEntryRef, NimForm, Outgoing as Encoding, WireDialect};

/// Bytes of a field's tag and length, at most.
const FIELD_HEAD: usize = 6;

/// The shares of a datagram.
pub(super) struct Shares {
    /// Number of entries in the causal history.
    pub(super) naming: Naming,
    /// Bytes for repair requests.
    pub(super) requests: usize,
}

impl Channel {
    /// The shares of a new message, such that it goes into a datagram now and whenever it is
    /// resent, with the largest filter that it can come to carry.
    pub(super) fn message_shares(
        &self,
        cx: &Cx<'_>,
        message_id: &MessageId,
        content: &Bytes,
    ) -> Result<Shares, RejectReason> {
        let (limit, mut naming) = (cx.node.max_datagram_len, self.naming());
        if limit == usize::MAX {
            return Ok(Shares { naming, requests: usize::MAX });
        }
        let lamport = self.clock.next(cx.now.wall);
        let has_filter = self.config.filter_policy != FilterPolicy::SyncOnly;
        loop {
            let len = self.longest(|dialect| {
                let filter = if has_filter { self.longest_filter(dialect) } else { 0 };
                let named = self.next_history(naming).0;
                filter + self.bare_len(dialect, message_id.as_bytes(), lamport, &named, content)
            });
            if len <= limit {
                return Ok(Shares { naming, requests: limit - len });
            }
            let Some(fewer) = naming.fewer() else {
                return Err(too_long(content.len(), len, limit));
            };
            naming = fewer;
        }
    }

    /// Whether an ephemeral message goes into a datagram, which is nothing but ids and content.
    pub(super) fn check_ephemeral_fits(
        &self,
        cx: &Cx<'_>,
        message_id: &MessageId,
        content: &Bytes,
    ) -> Result<(), RejectReason> {
        let dialect = WireDialect::Lip109;
        let len = self.bare_len(dialect, message_id.as_bytes(), None, &History::new(), content);
        let limit = cx.node.max_datagram_len;
        if len > limit { Err(too_long(content.len(), len, limit)) } else { Ok(()) }
    }

    /// The shares of a sync: as many entries named as leave room for the first repair request that
    /// is due, and requests in what the filter leaves, or else without it.
    pub(super) fn sync_shares(&self, cx: &Cx<'_>, message_id: &[u8], lamport: u64) -> Shares {
        let (limit, mut naming) = (cx.node.max_datagram_len, self.sync_naming());
        if limit == usize::MAX {
            return Shares { naming, requests: usize::MAX };
        }
        let first = self.first_due().map_or(0, |entry| most_request_len(entry.borrowed()));
        loop {
            let bare = self.longest(|dialect| {
                let named = self.next_history(naming).0;
                self.bare_len(dialect, message_id, Some(lamport), &named, &[])
            });
            let fewer = naming.fewer().filter(|_| bare.saturating_add(first) > limit);
            let Some(fewer) = fewer else {
                let filter = self.longest(|dialect| self.longest_filter(dialect));
                let beside = limit.saturating_sub(bare + filter);
                let requests = if beside < first { limit.saturating_sub(bare) } else { beside };
                return Shares { naming, requests };
            };
            naming = fewer;
        }
    }

    /// The most of what is said of each dialect that own messages go out in, or may come to.
    fn longest(&self, len: impl Fn(WireDialect) -> usize) -> usize {
        let dialects = [WireDialect::Lip109, WireDialect::NimSds].into_iter();
        dialects.filter(|dialect| self.config.writes_dialect(*dialect)).map(len).max().unwrap_or(0)
    }

    /// Bytes of the largest filter that messages of `dialect` can come to carry, as a field of
    /// them.
    fn longest_filter(&self, dialect: WireDialect) -> usize {
        FIELD_HEAD + self.config.longest_filter(dialect)
    }

    /// Bytes of a message of ours without filter and requests, in the longest form that it can come
    /// to go out in.
    fn bare_len(
        &self,
        dialect: WireDialect,
        message_id: &[u8],
        lamport: Option<u64>,
        named: &[HistoryEntryRef<'_>],
        content: &[u8],
    ) -> usize {
        let message = Encoding {
            sender_id: self.config.participant_id.as_bytes(),
            message_id,
            channel_id: self.id.as_bytes(),
            lamport,
            causal_history: named,
            content: Some(content),
            ..Encoding::default()
        };
        let forms = match self.config.dialect {
            Dialect::Mirror { .. } => &NimForm::ALL[..],
            Dialect::Lip109 | Dialect::NimSds | Dialect::Bridge => &[self.own_form()],
        };
        let len = |form: &NimForm| Encoding { nim_form: *form, ..message }.encoded_len(dialect);
        forms.iter().map(len).max().unwrap_or(0)
    }
}

/// The refusal of a message of `len` bytes, and how much content it may have.
fn too_long(content_len: usize, len: usize, limit: usize) -> RejectReason {
    let content = |len: usize| sizeof_varint(len as u64) + len;
    let room = limit.saturating_sub(len - content(content_len));
    // The length of the length depends on the length.
    let mut lengths = (1..=10).map(|most| room.saturating_sub(most));
    let max_content = lengths.find(|len| content(*len) <= room).unwrap_or(0);
    RejectReason::DatagramTooLong { content_len, limit, max_content }
}

/// Bytes of a repair request in a message, at most: lengths are below 2 MiB.
pub(super) fn most_request_len(entry: HistoryEntryRef<'_>) -> usize {
    // Tag and length of it, and of each of its three parts.
    entry.payload_len() + 4 * 4
}
