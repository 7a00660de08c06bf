//! One channel: the glue between log, buffers, filters and timers.
//!
//! | file | what happens there |
//! | --- | --- |
//! | `fit` | what goes into one datagram |
//! | `publish` | own messages: new, resent, acknowledged |
//! | `receive` | messages of others: checks, duplicates, acknowledgements |
//! | `deliver` | causal buffering and release, eviction |
//! | `missing` | what is reported, fetched and given up |
//! | `repair`, `answers` | SDS-R: what we ask for, what we answer |
//! | `sync` | sync messages, and bridging into the other dialect |
//! | `restore`, `import` | state from the store, and from that of nim-sds |
//! | `log`, `incoming`, `outgoing`, `record`, `filters`, `wanted`, `slots` | the data they work on |

mod answers;
mod deliver;
mod filters;
mod fit;
mod import;
mod incoming;
mod log;
mod memory;
mod missing;
mod outgoing;
mod publish;
mod receive;
mod record;
mod repair;
mod restore;
mod slots;
mod sync;
mod view;
mod wanted;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

pub(crate) use self::memory::of_channel;
pub(crate) use self::missing::MAX_CHAIN;
pub(crate) use self::receive::check;
pub(crate) use self::sync::MAX_NAMED;
pub use self::view::{LogView, MissingEntry, OutgoingEntry, OutgoingState, Status};

use self::answers::{Answers, Offers};
use self::filters::Filters;
use self::incoming::Incoming;
use self::log::Log;
use self::missing::Retrieval;
use self::outgoing::Outgoing;
use self::record::{IdDigest, IdState, IdTable};
use self::slots::Slot;
use self::sync::SyncState;
use self::wanted::MissingDependencies;
use crate::config::{Config, Dialect};
use crate::effect::Event;
use crate::entry::{DeliverySeq, LogEntry};
use crate::error::RejectReason;
use crate::id::{ChannelId, IdRef, MessageId, ParticipantId};
use crate::lamport::LamportClock;
use crate::outbox::Outbox;
use crate::rng::Rng;
use crate::snapshot::{ChangeKind, StoredResolved};
use crate::time::{Instant, Now, UnixMillis};
use crate::timer::{Deadline, DeadlineReason, Timers};
use crate::wire::{HistoryEntryRef, NimForm, WireDialect};

/// Number of ephemeral ids remembered, to tell a repeat from a new message.
fn recent_ephemerals(config: &Config) -> usize {
    config.max_ids.min(1_024)
}

/// The parts of the node that a channel needs while it handles one input.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    /// As the monotonic clock, but that it stands still while nobody does what is due.
    pub(crate) awake: Instant,
    /// When, on that clock, such a time last ended.
    pub(crate) woke: Instant,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) rng: &'a mut Rng,
    /// The buffer in which messages are encoded.
    pub(crate) buffer: &'a mut BytesMut,
    /// Settings of the node, which hold for all its channels where theirs differ.
    pub(crate) node: &'a Config,
}

impl Cx<'_> {
    /// The wall-clock time of a point on the monotonic clock.
    fn wall_at(&self, at: Instant) -> Option<UnixMillis> {
        let ahead = u64::try_from(at.since(self.now.mono).as_millis()).unwrap_or(u64::MAX);
        self.now.wall.map(|wall| UnixMillis(wall.0.saturating_add(ahead)))
    }

    /// The time left until a wall-clock time, if both are known, and at most `longest`: the wall
    /// clock may have been put back since.
    fn until(&self, at: Option<UnixMillis>, longest: Duration) -> Option<Duration> {
        let (at, wall) = (at?, self.now.wall?);
        Some(Duration::from_millis(at.0.saturating_sub(wall.0)).min(longest))
    }
}

/// The purpose of a channel's timer.
#[derive(Clone, Copy, Debug)]
enum Timer {
    Resend(DeliverySeq),
    Request(Slot),
    GiveUp(Slot),
    Answer(Slot),
    Bridge(Slot),
    Retrieval,
    Sync,
}

impl Timer {
    const fn reason(self) -> DeadlineReason {
        match self {
            Self::Resend(_) => DeadlineReason::Resend,
            Self::Request(_) => DeadlineReason::RepairRequest,
            Self::GiveUp(_) => DeadlineReason::GiveUp,
            Self::Answer(_) => DeadlineReason::RepairAnswer,
            Self::Bridge(_) => DeadlineReason::Bridge,
            Self::Retrieval => DeadlineReason::Retrieval,
            Self::Sync => DeadlineReason::Sync,
        }
    }
}

/// Whether we have just joined a channel that others have used before.
#[derive(Clone, Copy, Debug)]
enum Joining {
    /// Nothing was heard yet.
    NotYet,
    /// The first message was heard then.
    Since(Instant),
    /// The channel was restored.
    Over,
}

#[derive(Debug)]
pub(crate) struct Channel {
    id: ChannelId,
    config: Arc<Config>,
    clock: LamportClock,
    ids: IdTable,
    log: Log,
    incoming: Incoming,
    outgoing: Outgoing,
    missing: MissingDependencies,
    answers: Answers,
    filters: Filters,
    timers: Timers<Timer>,
    sync: SyncState,
    retrieval: Retrieval,
    /// The dialect of the newest delivered message of somebody else.
    mirrored: Option<WireDialect>,
    /// The form of the nim dialect that such messages have made ours.
    mirrored_form: Option<NimForm>,
    joining: Joining,
    /// Whether something is missing that `Synced` has to be told of.
    was_missing: bool,
    lost: u64,
    /// Whether the log may hold own messages that nobody acknowledged in all their resends.
    has_unconfirmed: bool,
    reported_clock_behind: bool,
    reported_id_in_use: bool,
    reported_incomplete: bool,
    offers: Offers,
    /// Number of an id, up to which evicted deliveries may be such that the application was never
    /// told of before a restart: nobody knows which.
    unreported_up_to: Option<u64>,
    ephemerals: VecDeque<IdDigest>,
    consumed: DeliverySeq,
}

impl Channel {
    /// An empty channel; the store is told that it begins.
    pub(crate) fn create(
        cx: &mut Cx<'_>,
        id: ChannelId,
        config: Arc<Config>,
        key: [u64; 2],
    ) -> Self {
        cx.outbox.change(&id, || ChangeKind::Created { record_key: key });
        let channel = Self::empty(id, config, key);
        channel.keep_participant(cx, &ParticipantId::default());
        channel
    }

    /// Has the store keep whose state it is, unless it says that it is ours.
    fn keep_participant(&self, cx: &mut Cx<'_>, stored: &ParticipantId) {
        let ours = &self.config.participant_id;
        if ours != stored {
            cx.outbox.change(&self.id, || ChangeKind::Participant(ours.clone()));
        }
    }

    fn empty(id: ChannelId, config: Arc<Config>, key: [u64; 2]) -> Self {
        Self {
            ids: IdTable::new(key, config.max_ids, config.max_resolved_ids),
            clock: LamportClock::default(),
            log: Log::default(),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            missing: MissingDependencies::default(),
            answers: Answers::default(),
            filters: Filters::new(&config),
            timers: Timers::default(),
            sync: SyncState::default(),
            retrieval: Retrieval::default(),
            mirrored: None,
            mirrored_form: None,
            joining: Joining::NotYet,
            was_missing: false,
            lost: 0,
            has_unconfirmed: false,
            reported_clock_behind: false,
            reported_id_in_use: false,
            reported_incomplete: false,
            offers: Offers::default(),
            unreported_up_to: None,
            ephemerals: VecDeque::new(),
            consumed: DeliverySeq::default(),
            id,
            config,
        }
    }

    pub(crate) const fn id(&self) -> &ChannelId {
        &self.id
    }

    pub(crate) const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        self.timers.next().map(|(at, timer)| Deadline { at, reason: timer.reason() })
    }

    /// Lets everything happen that is due.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        while !cx.outbox.tick_budget_spent()
            && let Some(timer) = self.timers.pop_due(cx.now.mono)
        {
            match timer {
                Timer::Resend(seq) => self.resend(cx, seq),
                Timer::Request(slot) => self.request_due(cx, slot),
                Timer::GiveUp(slot) => self.give_up(cx, slot),
                Timer::Answer(slot) => self.answer_due(cx, slot),
                Timer::Bridge(slot) => self.bridge(cx, slot),
                Timer::Retrieval => self.retrieval_due(cx),
                Timer::Sync => self.sync_due(cx),
            }
        }
        self.settle(cx);
    }

    /// Ends the handling of one input: tells when nothing is missing any more.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let missing = !self.missing.is_empty();
        if self.was_missing && !missing {
            cx.outbox.emit_after_write(Event::Synced { channel: self.id.clone(), lost: self.lost });
        }
        self.was_missing = missing;
    }

    /// The embedder has these messages by other means.
    pub(crate) fn dependencies_met(&mut self, cx: &mut Cx<'_>, ids: &[MessageId]) {
        for id in ids.iter().filter(|id| !id.is_empty()) {
            let digest = self.ids.digest(id.as_bytes());
            let waiters = match self.ids.state(digest) {
                Some(IdState::Logged(_) | IdState::Evicted | IdState::Resolved) => continue,
                Some(IdState::Missing(slot)) => {
                    let dependency = self.take_missing(cx, slot);
                    self.remember_resolved(cx, digest, IdState::Resolved);
                    dependency.map(|dependency| dependency.waiters)
                }
                // It is here and waits itself; what waits for it need not.
                Some(IdState::Incoming(slot)) => self
                    .incoming
                    .get_mut(slot)
                    .map(|waiting| core::mem::take(&mut waiting.arrived.waiters)),
                Some(IdState::Lost | IdState::Sync | IdState::Processing) | None => {
                    self.remember_resolved(cx, digest, IdState::Resolved);
                    None
                }
            };
            self.release(cx, &waiters.unwrap_or_default(), false);
        }
        self.settle(cx);
    }

    fn remember_resolved(&mut self, cx: &mut Cx<'_>, digest: IdDigest, place: IdState) {
        let (number, forgotten) = self.ids.remember_resolved(digest, place);
        let lost = place == IdState::Lost;
        cx.outbox.change(&self.id, || {
            ChangeKind::ResolvedAdded(StoredResolved { number, digest, lost })
        });
        if let Some(up_to) = forgotten {
            cx.outbox.change(&self.id, || ChangeKind::ResolvedForgotten { up_to });
        }
    }

    /// A hint where a logged message can be fetched from.
    pub(crate) fn hint(
        &mut self,
        cx: &mut Cx<'_>,
        message_id: &MessageId,
        hint: &Bytes,
    ) -> Result<(), RejectReason> {
        let limit = self.config.max_hint_len;
        if hint.len() > limit {
            return Err(RejectReason::HintTooLong { len: hint.len(), limit });
        }
        let digest = self.ids.digest(message_id.as_bytes());
        let Some(IdState::Logged(slot)) = self.ids.state(digest) else {
            return Err(RejectReason::NotLogged);
        };
        self.set_hint(cx, slot, hint);
        Ok(())
    }

    fn set_hint(&mut self, cx: &mut Cx<'_>, slot: Slot, hint: &[u8]) {
        let Some(logged) = self.log.get_mut(slot) else { return };
        let hint = Bytes::copy_from_slice(hint);
        logged.hint = Some(hint.clone());
        let seq = logged.seq;
        cx.outbox.change(&self.id, || ChangeKind::Hint { seq, hint });
    }

    pub(crate) fn consume(&mut self, cx: &mut Cx<'_>, up_to: DeliverySeq) {
        let up_to = up_to.min(self.log.delivered());
        if up_to > self.consumed {
            self.consumed = up_to;
            cx.outbox.change(&self.id, || ChangeKind::Consumed(up_to));
        }
    }

    /// The dialects that own messages go out in.
    fn own_dialects(&self) -> &'static [WireDialect] {
        const LIP109: &[WireDialect] = &[WireDialect::Lip109];
        const NIM_SDS: &[WireDialect] = &[WireDialect::NimSds];
        const BOTH: &[WireDialect] = &[WireDialect::Lip109, WireDialect::NimSds];
        match self.config.dialect {
            Dialect::Lip109 => LIP109,
            Dialect::NimSds => NIM_SDS,
            Dialect::Bridge => BOTH,
            Dialect::Mirror { initial } => match self.mirrored.unwrap_or(initial) {
                WireDialect::Lip109 => LIP109,
                WireDialect::NimSds => NIM_SDS,
            },
        }
    }

    /// The form of what goes out in the nim dialect.
    fn own_form(&self) -> NimForm {
        self.mirrored_form.unwrap_or(self.config.nim_form)
    }

    /// Whether every dialect that we write, or may come to write, can say these ids.
    fn can_reference(&self, named: HistoryEntryRef<'_>) -> bool {
        !self.config.writes_dialect(WireDialect::Lip109) || named.is_text()
    }

    /// Whether an entry from a store can be passed on, so that whoever hears its name can ask for
    /// it and be answered. No other entry is named. It may be from a time of other settings, and be
    /// what one of our dialects cannot say, or beyond the limits of these.
    fn can_pass_on(&self, cx: &Cx<'_>, entry: &LogEntry) -> bool {
        let history = entry.causal_history();
        let limits = cx.node.limits();
        (!self.config.writes_dialect(WireDialect::Lip109) || entry.is_text())
            && self.can_name(entry.message_id())
            && limits.admit(entry.message_id(), entry.sender_id(), history, entry.content())
    }

    /// Whether our form has a way to name an id. What none of our messages names is no head.
    fn can_name(&self, id: IdRef<'_>) -> bool {
        // Almost every id can be named in any.
        NimForm::V02.can_name(id.as_bytes())
            || !self.config.writes_dialect(WireDialect::NimSds)
            || self.own_form().is_complete()
    }

    /// Whether a dialect can say an entry and what it names.
    fn can_tell(&self, dialect: WireDialect, entry: &LogEntry) -> bool {
        let form = self.own_form();
        match dialect {
            WireDialect::Lip109 => entry.is_text(),
            WireDialect::NimSds if form.is_complete() => true,
            WireDialect::NimSds => {
                entry.causal_history().all(|named| form.can_name(named.message_id.as_bytes()))
            }
        }
    }

    /// Whether what we send can ask for what is missing.
    fn can_ask(&self) -> bool {
        self.own_dialects().iter().any(|dialect| match dialect {
            WireDialect::Lip109 => true,
            WireDialect::NimSds => self.own_form().is_complete(),
        })
    }

    /// Tells once that our form has no room for sender ids and repair requests.
    fn tell_incomplete(&mut self, cx: &mut Cx<'_>) {
        let form = self.own_form();
        if self.reported_incomplete
            || form.is_complete()
            || !self.own_dialects().contains(&WireDialect::NimSds)
        {
            return;
        }
        self.reported_incomplete = true;
        cx.outbox.emit_now(Event::FormIncomplete { channel: self.id.clone(), form });
    }

    /// Whether `sender` is us. An empty id never is.
    fn is_me(&self, sender: IdRef<'_>) -> bool {
        !sender.is_empty() && sender == self.config.participant_id
    }
}
