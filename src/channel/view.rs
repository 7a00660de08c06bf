//! Reading a channel.

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use super::Channel;
use super::incoming::Arrived;
use super::record::{IdDigest, IdState};
use crate::digest::{ContentDigest, LogDigest};
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::{IdRef, MessageId};
use crate::time::Instant;
use crate::wire::{HistoryEntry, HistoryEntryRef, NimForm};

/// A channel's log, in its order: by (Lamport time, message id).
#[derive(Clone, Copy, Debug)]
pub struct LogView<'a>(&'a Channel);

/// Counts of a channel at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// The Lamport clock.
    pub lamport: u64,
    /// Number of bodies in the log.
    pub logged: usize,
    /// Bytes that they keep alive.
    pub logged_bytes: usize,
    /// Logged entries that no logged entry references.
    pub heads: usize,
    /// Number of deliveries so far, including those whose bodies were evicted.
    pub delivered: DeliverySeq,
    /// Number of outgoing messages: own ones that are not acknowledged.
    pub outgoing: usize,
    /// Number of buffered messages, which wait for dependencies.
    pub incoming: usize,
    /// Number of missing dependencies; 0 if the channel is synced as far as known.
    pub missing: usize,
    /// Number of dependencies given up since the channel was opened.
    pub lost: u64,
    /// The form of messages sent in the nim dialect. One that is not
    /// [complete](NimForm::is_complete) has no room for sender ids and repair requests.
    pub nim_form: NimForm,
    /// Whether no message requests missing dependencies, because of the settings or the form.
    pub never_asks: bool,
}

/// An own message without certain acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OutgoingEntry {
    /// Number of its delivery.
    pub seq: DeliverySeq,
    /// The message.
    pub entry: LogEntry,
    /// The evidence that other members have it.
    pub state: OutgoingState,
}

/// The evidence that other members have an own message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OutgoingState {
    /// None. It is resent until it is acknowledged.
    Unacknowledged {
        /// Number of resends.
        resends: u32,
    },
    /// Filters of peers contain it, which may be false positives. It is resent more slowly.
    PossiblyAcknowledged {
        /// Times it was sent again.
        resends: u32,
        /// Number of distinct senders whose filters contain it, up to 64.
        witnesses: usize,
    },
    /// None after all resends: it is not resent any more.
    Unconfirmed,
}

/// A missing dependency.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MissingEntry {
    /// Its id, and its hint and sender if known.
    pub named: HistoryEntry,
    /// Number of requests for it, by this node or others, including those before restarts.
    pub requests: u32,
    /// Time for which it has been missing without progress: time awake, including that before
    /// restarts.
    pub age: Duration,
    /// Messages that wait for it directly.
    pub waiters: Vec<MessageId>,
}

impl Channel {
    pub(crate) const fn view(&self) -> LogView<'_> {
        LogView(self)
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            lamport: self.clock.current(),
            logged: self.log.len(),
            logged_bytes: self.log.bytes(),
            heads: self.log.head_count(),
            delivered: self.log.delivered(),
            outgoing: self.outgoing.len(),
            incoming: self.incoming.len(),
            missing: self.missing.len(),
            lost: self.lost,
            nim_form: self.own_form(),
            never_asks: !self.config.repair || !self.can_ask(),
        }
    }

    /// Own messages without certain acknowledgement, in the order they were sent.
    pub(crate) fn outgoing(&self) -> Vec<OutgoingEntry> {
        let unacked = self.outgoing.iter().map(|(seq, unacked)| OutgoingEntry {
            seq,
            entry: unacked.entry.clone(),
            state: unacked.state(),
        });
        // Looked for in all of the log, if there may be any.
        let logged = self.log.logged().filter(|logged| self.has_unconfirmed && logged.unconfirmed);
        let unconfirmed = logged.map(|logged| OutgoingEntry {
            seq: logged.seq,
            entry: logged.entry.clone(),
            state: OutgoingState::Unconfirmed,
        });
        let mut all: Vec<_> = unacked.chain(unconfirmed).collect();
        all.sort_unstable_by_key(|message| message.seq);
        all
    }

    /// Returns the missing dependencies. `awake`: the time now on the clock of time awake.
    pub(crate) fn missing(&self, awake: Instant) -> impl Iterator<Item = MissingEntry> {
        self.missing.iter().map(move |(slot, dependency)| MissingEntry {
            named: dependency.entry.clone(),
            requests: dependency.rounds,
            age: self.waited(slot, dependency, awake),
            waiters: dependency
                .waiters
                .iter()
                .filter_map(|slot| self.incoming.get(*slot))
                .map(|waiting| waiting.arrived.entry.message_id().into())
                .collect(),
        })
    }

    pub(crate) fn next_causal_history(&self) -> impl Iterator<Item = IdRef<'_>> {
        self.next_history(self.naming()).0.into_iter().map(|named| named.message_id)
    }

    pub(crate) fn missing_dependencies(
        &self,
        message_id: &MessageId,
    ) -> impl Iterator<Item = HistoryEntryRef<'_>> {
        let waiting = match self.ids.state(self.ids.digest(message_id.as_bytes())) {
            Some(IdState::Incoming(slot)) => self.incoming.get(slot),
            _ => None,
        };
        waiting.into_iter().flat_map(|waiting| {
            let Arrived { entry, deps, .. } = &waiting.arrived;
            let named = entry.causal_history().zip(deps);
            named.filter(|(_, dep)| !self.is_resolved(**dep)).map(|(named, _)| named)
        })
    }

    /// Whether a dependency on this id is met.
    pub(super) fn is_resolved(&self, id: IdDigest) -> bool {
        self.ids.state(id).is_some_and(IdState::is_resolved)
    }
}

impl<'a> LogView<'a> {
    /// All entries whose bodies are here.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a LogEntry> {
        self.0.log.iter()
    }

    /// The entries whose Lamport times lie in `lamports`.
    pub fn range(
        self,
        lamports: RangeInclusive<u64>,
    ) -> impl DoubleEndedIterator<Item = &'a LogEntry> {
        self.0.log.range(*lamports.start(), *lamports.end())
    }

    /// The entry with this id, if its body is here.
    #[must_use]
    pub fn get(self, id: impl AsRef<[u8]>) -> Option<&'a LogEntry> {
        let digest = self.0.ids.digest(id.as_ref());
        match self.0.ids.state(digest) {
            Some(IdState::Logged(slot)) => self.0.log.get(slot).map(|logged| &logged.entry),
            _ => None,
        }
    }

    /// Entries that no logged entry names in its causal history.
    pub fn heads(self) -> impl Iterator<Item = IdRef<'a>> {
        self.0.log.heads()
    }

    /// Number of bodies.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.log.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Digest of all entries ever delivered, whether their bodies are here or not.
    #[must_use]
    pub const fn digest(self) -> LogDigest {
        self.0.log.digest()
    }

    /// Digest of the bodies that are here. Reads all of them.
    #[must_use]
    pub fn content_digest(self) -> ContentDigest {
        ContentDigest::of(self.iter())
    }
}
