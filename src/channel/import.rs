//! A channel's state from nim-sds.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use bytes::BytesMut;

use super::incoming::{Arrived, Waiters};
use super::log::Dialects;
use super::receive::latest_lamport;
use super::record::{IdDigest, IdState};
use super::{Channel, Cx};
use crate::config::{Config, Durability};
use crate::effect::Effect;
use crate::entry::LogEntry;
use crate::id::{ChannelId, MessageId};
use crate::outbox::{Bounds, Outbox};
use crate::rng::Rng;
use crate::snapshot::{ChangeKind, Snapshot};
use crate::time::Now;
use crate::wire::nim_snapshot::ChannelData;
use crate::wire::{HistoryEntry, Message, WireDialect};

impl Snapshot {
    /// The state of a channel that nim-sds has stored, for a node of the settings of `config`: of
    /// the same participant, that is.
    ///
    /// Put it into the store with [`stored::import`](crate::stored::import) before the channel is
    /// opened for the first time. The log counts as consumed: nim-sds has told the application.
    ///
    /// The rules of this library apply: of several messages with one id the first stays; syncs are
    /// not
    /// logged, but dependencies on them are resolved; messages without id are left out, and so are
    /// those that a node would refuse for their Lamport time, also negative ones, for a limit of
    /// `config`, or, if LIP-109 may be written, for ids that are not UTF-8. Outgoing messages are
    /// resent from the beginning, because nim-sds counts attempts without sending. Repairs are
    /// scheduled anew.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use sds_proto::snapshot::Snapshot;
    /// use sds_proto::wire::{Limits, nim_snapshot::ChannelData};
    /// use sds_proto::{ChannelId, Config, Instant, Now, UnixMillis, stored};
    ///
    /// let now = Now::new(Instant::ZERO, UnixMillis(1_767_225_600_000));
    /// let config = Config::chat().participant_id("alice".into()).seed(42).build()?;
    /// let channel = ChannelId::from("general");
    /// # let blob = Bytes::from_static(&[10, 4, 8, 1, 16, 5]);
    /// // `blob` is what the store of nim-sds had of the channel.
    /// let data = ChannelData::decode(&blob, &Limits::default())?;
    /// let state = Snapshot::from_nim_sds(&data, &channel, &config, now);
    /// for write in stored::import(&channel, &state) {
    ///     // … carry it out
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_nim_sds(
        data: &ChannelData,
        channel: &ChannelId,
        config: &Config,
        now: Now,
    ) -> Box<Self> {
        // A channel takes it all in, and its changes are the state.
        let mut outbox = Outbox::new(Durability::Relaxed, Bounds::NONE);
        let (mut rng, mut buffer) = (Rng::new(config.seed), BytesMut::new());
        let cx = &mut Cx {
            now,
            awake: now.mono,
            woke: now.mono,
            outbox: &mut outbox,
            rng: &mut rng,
            buffer: &mut buffer,
            node: config,
        };
        let key = config.record_key(channel);
        let config = Arc::new(config.clone());
        Channel::create(cx, channel.clone(), config, key).import(cx, data);
        let mut state = None;
        while let Some(effect) = outbox.poll() {
            if let Effect::Persist { changes, .. } = effect {
                changes.iter().for_each(|change| Self::apply(&mut state, &change.kind));
            }
        }
        state.expect("the first change creates it")
    }
}

impl Channel {
    fn import(&mut self, cx: &mut Cx<'_>, data: &ChannelData) {
        let meta = &data.meta;
        let limit =
            latest_lamport(&self.config, cx.now, self.clock.current()).min(i64::MAX.unsigned_abs());
        let limits = self.config.limits();
        let only_text = self.config.writes_dialect(WireDialect::Lip109);
        let can_pass_on = |message: &Message| {
            let message = message.borrowed();
            let history = message.causal_history.iter().copied();
            let content = message.content.unwrap_or_default();
            limits.admit(message.message_id, message.sender_id, history, content)
                && (!only_text || message.is_text())
        };
        let acceptable = |message: &Message| {
            let lamport = message.lamport.filter(|lamport| *lamport <= limit)?;
            (!message.message_id.is_empty() && can_pass_on(message)).then_some(lamport)
        };
        let unacked = || meta.outgoing_buffer.iter().map(|unacked| &unacked.message);
        let unacked_ids: BTreeSet<_> = unacked().map(|message| &message.message_id).collect();
        for message in data.messages.iter().chain(unacked()) {
            if let Some(lamport) = acceptable(message) {
                // A participant without an id is known by nothing else.
                let own = unacked_ids.contains(&message.message_id);
                self.import_logged(cx, message, lamport, own);
            }
        }
        unacked().for_each(|message| self.import_unacked(cx, message));
        // The dependencies of a logged message were in the log, or are still.
        for message in &data.messages {
            self.import_resolved(cx, message, &[]);
        }
        self.evict(cx);
        if meta.lamport <= limit && meta.lamport > self.clock.current() {
            self.clock.observe(meta.lamport);
            cx.outbox.change(&self.id, || ChangeKind::Clock(meta.lamport));
        }
        self.consume(cx, self.log.delivered());

        for waiting in &meta.incoming_buffer {
            if let Some(lamport) = acceptable(&waiting.message) {
                self.import_resolved(cx, &waiting.message, &waiting.missing_dependencies);
                self.import_waiting(cx, &waiting.message, lamport);
            }
        }
        for repair in &meta.outgoing_repair_buffer {
            let digest = self.ids.digest(repair.message_id.as_bytes());
            let named = &repair.entry;
            let is_named = named.message_id == repair.message_id && !named.message_id.is_empty();
            if is_named && self.can_reference(named.borrowed()) && self.ids.state(digest).is_none()
            {
                let named_by = self.sender_digest(named.sender_id.borrowed());
                self.add_missing(cx, named.borrowed(), digest, named_by, false, true);
            }
        }
        for repair in &meta.incoming_repair_buffer {
            let digest = self.ids.digest(repair.entry.message_id.as_bytes());
            if let Some(IdState::Logged(_) | IdState::Incoming(_)) = self.ids.state(digest) {
                self.consider_answer(cx, WireDialect::NimSds, repair.entry.borrowed(), digest);
            }
        }
    }

    fn import_logged(&mut self, cx: &mut Cx<'_>, message: &Message, lamport: u64, own: bool) {
        let digest = self.ids.digest(message.message_id.as_bytes());
        if self.ids.state(digest).is_some() {
            return;
        }
        if message.content.as_ref().is_none_or(|content| content.is_empty()) {
            self.remember_resolved(cx, digest, IdState::Resolved);
            return;
        }
        // It need not be bridged: whoever wanted it elsewhere has long asked.
        let arrived = self.arrived(cx, message, digest, lamport, Dialects::BOTH);
        self.append(cx, &arrived, own || self.is_me(message.sender_id.borrowed()));
    }

    fn import_unacked(&mut self, cx: &mut Cx<'_>, message: &Message) {
        let digest = self.ids.digest(message.message_id.as_bytes());
        let Some(IdState::Logged(slot)) = self.ids.state(digest) else { return };
        let Some(logged) = self.log.get(slot) else { return };
        let (seq, entry) = (logged.seq, logged.entry.clone());
        if self.outgoing.get_mut(seq).is_none() {
            self.log.pin(slot);
            let probes = self.filters.own_probes(entry.message_id());
            self.outgoing.add(seq, entry, digest, probes);
            self.persist_outgoing(cx, seq);
        }
    }

    /// Marks the dependencies of a message as resolved, except those in `missing`.
    fn import_resolved(&mut self, cx: &mut Cx<'_>, message: &Message, missing: &[MessageId]) {
        let ids = message.causal_history.iter().map(|named| &named.message_id);
        for id in ids.filter(|id| !id.is_empty() && !missing.contains(id)) {
            let digest = self.ids.digest(id.as_bytes());
            if self.ids.state(digest).is_none() {
                self.remember_resolved(cx, digest, IdState::Resolved);
            }
        }
    }

    fn import_waiting(&mut self, cx: &mut Cx<'_>, message: &Message, lamport: u64) {
        let digest = self.ids.digest(message.message_id.as_bytes());
        let is_sync = message.content.as_ref().is_none_or(|content| content.is_empty());
        let mut waiters = match self.ids.state(digest) {
            _ if is_sync => return,
            Some(IdState::Logged(_) | IdState::Evicted | IdState::Incoming(_)) => return,
            Some(IdState::Missing(slot)) => {
                self.take_missing(cx, slot).map(|dependency| dependency.waiters)
            }
            _ => None,
        }
        .unwrap_or_default();
        let arrived = self.arrived(cx, message, digest, lamport, Dialects::of(WireDialect::NimSds));
        self.release_cyclic(cx, &mut waiters, lamport);
        self.deliver_or_buffer(cx, Arrived { waiters, ..arrived }, false);
    }

    /// Records a message as received, with its own copy of everything.
    fn arrived(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message,
        digest: IdDigest,
        lamport: u64,
        heard: Dialects,
    ) -> Arrived {
        let probes = self.filters.probes(message.message_id.borrowed());
        self.record(cx, digest, &probes, lamport);
        let named = message.causal_history.iter().filter(|named| !named.message_id.is_empty());
        let entry = LogEntry::new(
            &message.message_id,
            &message.sender_id,
            lamport,
            named.map(HistoryEntry::borrowed),
            message.content.as_deref().unwrap_or_default(),
        );
        let deps = entry.causal_history();
        Arrived {
            deps: deps.map(|named| self.ids.digest(named.message_id.as_bytes())).collect(),
            entry,
            digest,
            heard,
            gap: false,
            nameable: self.can_name(message.message_id.borrowed()),
            waiters: Waiters::new(),
        }
    }
}
