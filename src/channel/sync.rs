//! Sync messages, and copies for those who speak the other dialect.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::log::{Dialects, Logged, Naming};
use super::record::IdDigest;
use super::repair::arithmetic;
use super::slots::Slot;
use super::{Channel, Cx, Timer};
use crate::bloom::ReceivedFilter;
use crate::config::Config;
use crate::effect::SendReason;
use crate::entry::{DeliverySeq, LogEntry};
use crate::id::{IdRef, MessageId};
use crate::snapshot::{ChangeKind, StoredBridge};
use crate::time::{Instant, UnixMillis};
use crate::timer::TimerKey;
use crate::wire::{HistoryEntry, HistoryEntryRef, Outgoing as Encoding, WireDialect};

/// Own sync ids remembered.
pub(super) const RECENT_SYNCS: usize = 8;
/// Heads looked for in somebody else's sync, at most.
const MAX_HEADS_COMPARED: usize = 256;
/// Most entries that a sync names.
pub(crate) const MAX_NAMED: usize = 256;
/// Times that the wait before a hastened sync doubles, at most.
const MAX_DOUBLINGS: u32 = 8;

/// When the next sync message goes out.
#[derive(Debug, Default)]
pub(super) struct SyncState {
    timer: Option<TimerKey>,
    armed_at: Instant,
    /// Whether somebody lacks a head of ours and is to hear of it soon. Until the timer runs out,
    /// nobody else makes it sooner: of the many messages that a group repairs each brings a new
    /// head.
    is_expedited: bool,
    /// Whether the timer was set for the sake of the many entries that nobody but their senders has
    /// named.
    is_expedited_for_acks: bool,
    /// The newest delivery, and the turns since that were taken for such a reason, whether we told
    /// its heads then or somebody else had.
    expedite_backoff: (DeliverySeq, u32),
    /// When something was last sent or heard in each dialect, LIP-109 first, that tells as much as
    /// a sync of ours in it would.
    traffic_at: [Option<Instant>; 2],
    /// When we last sent one.
    sent_at: Option<Instant>,
    /// Ids of the newest that we sent.
    sent: VecDeque<IdDigest>,
}

impl SyncState {
    /// Whether we sent this sync: some transports echo, and an anonymous sender id does not tell.
    pub(super) fn is_own(&self, digest: IdDigest) -> bool {
        self.sent.contains(&digest)
    }

    /// Something was sent or heard that tells as much as a sync of ours in `dialect` would.
    pub(super) const fn note_traffic(&mut self, dialect: WireDialect, now: Instant) {
        // The timer is not moved for every message: when it runs out, it looks here.
        self.traffic_at[dialect as usize] = Some(now);
    }
}

impl Channel {
    /// Starts the quiet period if none runs.
    pub(super) fn arm_sync(&mut self, cx: &mut Cx<'_>) {
        if self.sync.timer.is_none() && self.may_sync_at_all() {
            let at = cx.now.mono + cx.rng.duration(self.config.sync_min, self.config.sync_max);
            self.schedule_sync(cx, at);
        }
    }

    /// Nobody knows what was sent while we were not there: a sync is due soon, unless others send
    /// one.
    pub(super) fn sync_soon(&mut self, cx: &mut Cx<'_>) {
        let at = cx.now.mono + self.short_delay(cx);
        self.schedule_sync(cx, at);
    }

    /// A fraction of the quiet period, jittered so that not all send a sync who could.
    fn short_delay(&self, cx: &mut Cx<'_>) -> Duration {
        cx.rng.duration(self.config.sync_min / 16, self.config.sync_min / 2)
    }

    fn schedule_sync(&mut self, cx: &Cx<'_>, at: Instant) {
        if !self.may_sync_at_all() {
            return;
        }
        if let Some(key) = self.sync.timer.take() {
            self.timers.cancel(key);
        }
        self.sync.armed_at = cx.now.mono;
        self.sync.timer = Some(self.timers.schedule(at, Timer::Sync));
    }

    /// Brings the next sync forward to `at`, though not closer than `repair_sync_min` to the last.
    pub(super) fn expedite_sync(&mut self, cx: &Cx<'_>, at: Instant) {
        let earliest = self.sync.sent_at.map(|sent_at| sent_at + self.config.repair_sync_min);
        let at = earliest.map_or(at, |earliest| at.max(earliest));
        if self.sync.timer.is_none_or(|timer| timer.at() > at) {
            self.schedule_sync(cx, at);
        }
    }

    /// Brings the next sync forward if there is much to acknowledge. A talker must not wait until
    /// the quiet time is over, and who syncs first does so for all.
    pub(super) fn expedite_for_acks(&mut self, cx: &mut Cx<'_>) {
        if self.sync.is_expedited_for_acks
            || !self.has_many_pending_acks()
            || !self.may_sync_at_all()
        {
            return;
        }
        self.sync.is_expedited_for_acks = true;
        let shortest = self.config.repair_sync_min;
        let delay = cx.rng.duration(shortest / 2, shortest * 4);
        self.expedite_sync(cx, cx.now.mono + delay);
    }

    /// Whether what nobody but its sender has named would fill half of a sync, and more than a
    /// content message has room for.
    fn has_many_pending_acks(&self) -> bool {
        let much = self.max_named().div_ceil(2).max(self.config.max_heads + 1);
        self.log.pending_acks_len() >= much
    }

    /// Most entries that a sync names: what everybody takes in who has the same settings.
    fn max_named(&self) -> usize {
        self.config.max_history_entries.min(MAX_NAMED).max(self.config.max_heads)
    }

    /// Returns the bounds on the causal history of the next sync.
    pub(super) fn sync_naming(&self) -> Naming {
        let naming = self.naming();
        let many = self.log.pending_acks_len() > naming.max_heads;
        if many { Naming { max_named: self.max_named(), ..naming } } else { naming }
    }

    fn may_sync_at_all(&self) -> bool {
        self.config.sync && self.own_dialects().iter().any(|dialect| self.may_sync(*dialect))
    }

    /// nim-sds shows a sync to its users as an empty message.
    fn may_sync(&self, dialect: WireDialect) -> bool {
        dialect == WireDialect::Lip109 || self.config.sync_to_nim
    }

    /// Somebody else's sync was heard, naming `deps`.
    pub(super) fn note_sync(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        sender: IdRef<'_>,
        filter: Option<&ReceivedFilter<'_>>,
        deps: &[IdDigest],
    ) {
        // Only a filter can contain more heads than fit into a message. One with fewer bytes than
        // heads does not, and is not looked at for each of them.
        let compared = self.log.head_count().min(MAX_HEADS_COMPARED) as u64;
        let filter = filter.filter(|filter| filter.m_bits() / 8 >= compared);
        let has = |head: &Logged| {
            let id = head.entry.message_id();
            deps.contains(&head.digest)
                || filter.is_some_and(|filter| self.filters.finds(dialect, filter, id))
        };
        if self.log.logged_heads().take(MAX_HEADS_COMPARED).all(has) {
            self.sync.note_traffic(dialect, cx.now.mono);
            let names = |head: &Logged| deps.contains(&head.digest);
            if deps.len() < self.config.max_heads && self.log.logged_heads().all(names) {
                // Its sender has delivered all that we have, and had room to name what it knew
                // nobody to have named. What only its filter holds may still wait there.
                self.log.acknowledge_all_from(sender);
            }
            return;
        }
        // Its sender lacks a head of ours: it should hear of it soon. Whoever hears of it and asks
        // lacks it until it is answered, so the same heads are told less and less soon.
        if mem::replace(&mut self.sync.is_expedited, true) {
            return;
        }
        let newest = self.log.delivered();
        if self.sync.expedite_backoff.0 != newest {
            self.sync.expedite_backoff = (newest, 0);
        }
        let delay = self.short_delay(cx);
        let doubled = 1 << self.sync.expedite_backoff.1.min(MAX_DOUBLINGS);
        self.expedite_sync(cx, cx.now.mono + delay * doubled);
        self.sync.armed_at = cx.now.mono;
    }

    /// The quiet period is over.
    pub(super) fn sync_due(&mut self, cx: &mut Cx<'_>) {
        self.sync.timer = None;
        if mem::take(&mut self.sync.is_expedited) {
            self.sync.expedite_backoff.1 = self.sync.expedite_backoff.1.saturating_add(1);
        }
        self.sync.is_expedited_for_acks = false;
        let max_heads = self.config.max_heads;
        let needed = self.missing.has_due()
            || self.log.rotation_left > 0
            || self.has_many_pending_acks()
            || self.has_late_pending_acks(cx, max_heads);
        // A node that mirrors its peers may have come to speak the nim dialect since.
        if (!needed && self.log.len() == 0) || !self.may_sync_at_all() {
            return;
        }
        if let (false, Some(traffic_at)) = (needed, self.traffic_since_armed()) {
            let quiet = cx.rng.duration(self.config.sync_min, self.config.sync_max);
            let at = (traffic_at + quiet).max(cx.now.mono + self.config.sync_min / 2);
            // Steady traffic of somebody else shall not keep us from telling that it arrives.
            let waiting_since = self.log.pending_acks_since(max_heads);
            self.schedule_sync(cx, waiting_since.map_or(at, |since| at.min(since + quiet)));
            return;
        }
        self.send_sync(cx);
        let more = self.missing.has_due()
            || self.log.rotation_left > 0
            || self.has_many_pending_acks()
            // If the next one has room for many.
            || self.has_late_pending_acks(cx, max_heads / 2 + 1);
        if more {
            self.schedule_sync(cx, cx.now.mono + self.config.repair_sync_min);
        } else {
            self.arm_sync(cx);
        }
    }

    /// Whether it is time to name what nobody but its sender has named, and there are fewer heads
    /// than these, so that there is room for it.
    fn has_late_pending_acks(&self, cx: &Cx<'_>, max_heads: usize) -> bool {
        let since = self.log.pending_acks_since(max_heads);
        since.is_some_and(|since| cx.now.mono.since(since) >= self.config.sync_min)
    }

    /// When the last dialect that we would sync in had traffic, if all of them had since the quiet
    /// period began.
    fn traffic_since_armed(&self) -> Option<Instant> {
        let dialects = self.own_dialects().iter().filter(|dialect| self.may_sync(**dialect));
        let traffic = dialects.map(|dialect| self.sync.traffic_at[*dialect as usize]);
        // `None` orders before any time: a dialect without traffic is the minimum.
        traffic.min().flatten().filter(|at| *at > self.sync.armed_at)
    }

    fn send_sync(&mut self, cx: &mut Cx<'_>) {
        let Some(lamport) = self.clock.next(cx.now.wall) else { return };
        self.clock.observe(lamport);
        cx.outbox.change(&self.id, || ChangeKind::Clock(lamport));
        // Unique for anybody who looks; nobody refers to it.
        let id = format!("{:016x}{:016x}", cx.rng.next_u64(), cx.rng.next_u64());
        let message_id = MessageId::from(id);
        let shares = self.sync_shares(cx, message_id.as_bytes(), lamport);
        let requests = self.take_due_requests(cx, shares.requests, true);
        let requests: Vec<_> = requests.iter().map(HistoryEntry::borrowed).collect();
        for dialect in self.own_dialects() {
            if self.may_sync(*dialect) {
                self.encode_sync(cx, *dialect, &message_id, lamport, &requests, shares.naming);
            }
        }
        self.log.on_history_sent(shares.naming);
        self.sync.sent_at = Some(cx.now.mono);
        let digest = self.ids.digest(message_id.as_bytes());
        self.ids.remember_sync(digest);
        if self.sync.sent.len() == RECENT_SYNCS {
            self.sync.sent.pop_front();
        }
        self.sync.sent.push_back(digest);
    }

    fn encode_sync(
        &self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message_id: &MessageId,
        lamport: u64,
        requests: &[HistoryEntryRef<'_>],
        naming: Naming,
    ) {
        let send = self.filters.with_field(dialect, |filter| {
            let message = Encoding {
                sender_id: self.config.participant_id.as_bytes(),
                message_id: message_id.as_bytes(),
                channel_id: self.id.as_bytes(),
                lamport: Some(lamport),
                causal_history: &self.next_history(naming).0,
                filter,
                repair_request: requests,
                content: None,
                nim_form: self.own_form(),
            };
            self.encoded(cx, dialect, &message, SendReason::Sync)
        });
        cx.outbox.emit_after_write(send);
    }

    /// Re-encodes a logged message into the other dialect than the one it was `heard` in after a
    /// while, or when that was `due` before a restart, unless it is heard there first.
    pub(super) fn schedule_bridge(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
        heard: WireDialect,
        due: Option<UnixMillis>,
    ) {
        let Some(logged) = self.log.get_mut(slot) else { return };
        let delay = cx
            .until(due, self.config.bridge_delay)
            .unwrap_or_else(|| bridge_delay(&self.config, &logged.entry));
        let at = cx.now.mono + delay;
        logged.heard = Dialects::of(heard);
        logged.bridge = Some(self.timers.schedule(at, Timer::Bridge(slot)));
        let (seq, due) = (logged.seq, cx.wall_at(at));
        cx.outbox.change(&self.id, || ChangeKind::BridgeSet(StoredBridge { seq, heard, due }));
    }

    /// Re-encodes a logged message into the dialect it was not heard in.
    pub(super) fn bridge(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(logged) = self.log.get_mut(slot) else { return };
        logged.bridge = None;
        let seq = logged.seq;
        cx.outbox.change(&self.id, || ChangeKind::BridgeRemoved(seq));
        let heard = logged.heard;
        logged.heard = Dialects::BOTH;
        let entry = logged.entry.clone();
        for dialect in [WireDialect::Lip109, WireDialect::NimSds] {
            if !heard.has(dialect) {
                self.sync.note_traffic(dialect, cx.now.mono);
                self.send_entry(cx, dialect, &entry, SendReason::Bridge);
            }
        }
    }
}

/// Returns the delay before a bridge encodes `entry` in the other dialect. It is spread over
/// `bridge_delay` as repair answers are over T_max, so that one of several bridges is first.
fn bridge_delay(config: &Config, entry: &LogEntry) -> Duration {
    let longest = i64::try_from(config.bridge_delay.as_millis()).unwrap_or(i64::MAX);
    let (me, sender) = (config.participant_id.as_bytes(), entry.sender_id().as_bytes());
    let arithmetic = arithmetic(config, WireDialect::Lip109);
    Duration::from_millis(arithmetic.t_resp(me, sender, entry.message_id().as_bytes(), longest))
}
