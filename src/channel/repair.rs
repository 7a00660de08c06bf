//! The repair extension (SDS-R): what we ask for, and what we answer.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashMap;

use super::incoming::Waiters;
use super::log::Dialects;
use super::record::{IdDigest, Place};
use super::slots::{Slot, Slots};
use super::{Channel, Cx, Timer};
use crate::config::{Config, Dialect, NimHash};
use crate::effect::{Bound, Effect, SendReason};
use crate::entry::detach;
use crate::hash::HashKind;
use crate::id::MessageId;
use crate::keyed::KeyedState;
use crate::repair::Arithmetic;
use crate::snapshot::{ChangeKind, StoredAnswer, StoredWanted};
use crate::time::Instant;
use crate::timer::{TimerKey, Timers};
use crate::wire::{HistoryEntry, WireDialect};

/// A dependency that is not here.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) entry: HistoryEntry,
    pub(super) digest: IdDigest,
    /// Messages that wait for it; none if it is wanted in the background.
    pub(super) waiters: Waiters,
    /// Times it was asked for, by us or by others.
    pub(super) rounds: u32,
    /// When it was first missed.
    pub(super) since: Instant,
    /// When it was last asked for, by us or by others.
    asked: Option<Instant>,
    request: Request,
    /// When it is given up, unless there is progress.
    pub(super) lost_at: Instant,
    /// Runs out when something happens to it: its request becomes due, or it is given up.
    timer: TimerKey,
    /// Whether it stays wanted although nothing waits for it.
    pub(super) background: bool,
    /// Whether the embedder was asked to fetch it.
    retrieved: bool,
}

/// Where the request for a dependency stands.
#[derive(Clone, Copy, Debug)]
enum Request {
    /// It becomes due then.
    Scheduled(Instant),
    /// It goes out with the next message; since when.
    Due(Instant),
    /// Repair is switched off.
    Off,
}

/// The outgoing repair requests.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    wants: Slots<Want>,
    /// Requests for the next message, earliest first.
    due: BTreeSet<(Instant, Slot)>,
}

impl Wanted {
    pub(super) fn len(&self) -> usize {
        self.wants.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Want> {
        self.wants.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Want> {
        self.wants.get_mut(slot)
    }

    /// The next `limit` dependencies behind `passed`, in a circle, and the last of them.
    pub(super) fn after(
        &self,
        passed: Option<Slot>,
        limit: usize,
    ) -> (Vec<HistoryEntry>, Option<Slot>) {
        let (before, after): (Vec<_>, Vec<_>) =
            self.wants.iter().partition(|(slot, _)| passed.is_some_and(|passed| *slot <= passed));
        let next: Vec<_> = after.into_iter().chain(before).take(limit).collect();
        let last = next.last().map(|(slot, _)| *slot);
        (next.into_iter().map(|(_, want)| want.entry.clone()).collect(), last)
    }

    /// Up to `limit` dependencies that the embedder was not asked to fetch, as if it were now.
    pub(super) fn take_unretrieved(&mut self, limit: usize) -> Vec<HistoryEntry> {
        let new = self.wants.iter_mut().filter(|want| !want.retrieved).take(limit);
        new.map(|want| {
            want.retrieved = true;
            want.entry.clone()
        })
        .collect()
    }

    /// Takes note of a hint or sender that was not known when a dependency was first missed.
    pub(super) fn learn(&mut self, slot: Slot, named: &HistoryEntry) {
        let Some(want) = self.wants.get_mut(slot) else { return };
        let known = &want.entry;
        if (known.retrieval_hint.is_none() && named.retrieval_hint.is_some())
            || (known.sender_id.is_empty() && !named.sender_id.is_empty())
        {
            let entry = HistoryEntry {
                message_id: known.message_id.clone(),
                retrieval_hint: known.retrieval_hint.clone().or(named.retrieval_hint.clone()),
                sender_id: if known.sender_id.is_empty() {
                    &named.sender_id
                } else {
                    &known.sender_id
                }
                .clone(),
            };
            want.entry = detach(&entry);
        }
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes a request out of those that go out next.
    fn withdraw(&mut self, slot: Slot) {
        let Some(want) = self.wants.get_mut(slot) else { return };
        if let Request::Due(at) = want.request {
            self.due.remove(&(at, slot));
        }
        want.request = Request::Off;
    }
}

impl Want {
    /// Sets the timer to what comes first.
    pub(super) fn set_timer(&mut self, timers: &mut Timers<Timer>, slot: Slot) {
        timers.cancel(self.timer);
        self.timer = match self.request {
            Request::Scheduled(at) if at < self.lost_at => {
                timers.schedule(at, Timer::Request(slot))
            }
            Request::Scheduled(_) | Request::Due(_) | Request::Off => {
                timers.schedule(self.lost_at, Timer::GiveUp(slot))
            }
        };
    }
}

/// A request of others that we answer, or have just answered.
#[derive(Debug)]
struct Answer {
    digest: IdDigest,
    message_id: MessageId,
    /// Dialects it was asked for in.
    dialects: Dialects,
    timer: TimerKey,
    /// Whether the log keeps the entry for it.
    pinned: bool,
    /// Whether it was given; until the timer runs out further requests are taken to have crossed
    /// it on the way.
    given: bool,
}

/// The incoming repair requests.
#[derive(Debug)]
pub(super) struct Answers {
    answers: Slots<Answer>,
    by_digest: HashMap<IdDigest, Slot, KeyedState>,
}

impl Answers {
    pub(super) fn new(key: [u64; 2]) -> Self {
        Self { answers: Slots::default(), by_digest: HashMap::with_hasher(KeyedState::new(key)) }
    }
}

/// The arithmetic of `dialect`.
pub(super) const fn arithmetic(config: &Config, dialect: WireDialect) -> Arithmetic {
    Arithmetic::new(match (dialect, config.nim_hash) {
        (WireDialect::Lip109, _) => HashKind::Lip109,
        (WireDialect::NimSds, NimHash::Farm) => HashKind::NimFarm,
        (WireDialect::NimSds, NimHash::Murmur) => HashKind::NimMurmur,
    })
}

/// The dialect whose arithmetic and periods our own requests follow.
const fn native(config: &Config) -> WireDialect {
    match config.dialect {
        Dialect::Lip109 | Dialect::Bridge => WireDialect::Lip109,
        Dialect::NimSds => WireDialect::NimSds,
        Dialect::Mirror { initial } => initial,
    }
}

fn signed_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Channel {
    /// Wants a dependency that is not here. `None`: there is no room.
    ///
    /// `chained`: it was noticed in a repair answer, so its request is not delayed by the whole
    /// of T_req again.
    pub(super) fn want(
        &mut self,
        cx: &mut Cx<'_>,
        named: &HistoryEntry,
        digest: IdDigest,
        chained: bool,
        background: bool,
    ) -> Option<Slot> {
        if self.wanted.len() >= self.config.max_wanted {
            return None;
        }
        let delay = if chained { self.chain_delay(named) } else { self.t_req(&named.message_id) };
        // What waits for it keeps the allocation its name is in; in the background nothing does.
        let entry = if background { detach(named) } else { named.clone() };
        let stored = StoredWanted { entry, rounds: 0, due: None, background };
        Some(self.insert_want(cx, stored, digest, delay))
    }

    pub(super) fn insert_want(
        &mut self,
        cx: &mut Cx<'_>,
        stored: StoredWanted,
        digest: IdDigest,
        delay: Duration,
    ) -> Slot {
        let now = cx.now.mono;
        let slot = self.wanted.wants.insert(Want {
            entry: stored.entry,
            digest,
            waiters: Waiters::new(),
            rounds: stored.rounds,
            since: now,
            asked: None,
            request: Request::Off,
            lost_at: now + self.config.lost_after,
            timer: TimerKey::default(),
            background: stored.background,
            retrieved: false,
        });
        self.ids.set(digest, Place::Wanted(slot));
        self.schedule_request(cx, slot, now + delay);
        slot
    }

    fn schedule_request(&mut self, cx: &mut Cx<'_>, slot: Slot, at: Instant) {
        let Some(want) = self.wanted.wants.get_mut(slot) else { return };
        if self.config.repair {
            want.request = Request::Scheduled(at);
        }
        want.set_timer(&mut self.timers, slot);
        let due = cx.wall_at(at);
        cx.outbox.change(&self.id, || {
            ChangeKind::WantedSet(StoredWanted {
                entry: want.entry.clone(),
                rounds: want.rounds,
                due,
                background: want.background,
            })
        });
    }

    fn t_req(&self, id: &MessageId) -> Duration {
        let dialect = native(&self.config);
        let t_min = signed_millis(self.config.repair_t_min);
        let t_max = signed_millis(self.config.t_max(dialect));
        let me = self.config.participant_id.as_bytes();
        let millis = arithmetic(&self.config, dialect).t_req(me, id.as_bytes(), t_min, t_max);
        Duration::from_millis(millis)
    }

    fn chain_delay(&self, named: &HistoryEntry) -> Duration {
        let t_min = signed_millis(self.config.repair_t_min);
        let me = self.config.participant_id.as_bytes();
        let arithmetic = arithmetic(&self.config, native(&self.config));
        Duration::from_millis(arithmetic.chain_delay(me, named.message_id.as_bytes(), t_min))
    }

    /// T_req ran out: the request goes out with the next message, or with a sync of its own.
    pub(super) fn request_due(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(want) = self.wanted.wants.get_mut(slot) else { return };
        let Request::Scheduled(at) = want.request else { return };
        want.request = Request::Due(at);
        want.set_timer(&mut self.timers, slot);
        self.wanted.due.insert((at, slot));
        self.hasten_sync(cx, cx.now.mono + self.config.repair_sync_min);
    }

    /// The requests for a message that goes out now, earliest first; they are re-armed.
    pub(super) fn take_due_requests(&mut self, cx: &mut Cx<'_>) -> Vec<HistoryEntry> {
        let backlog = self.wanted.due.len().div_ceil(2);
        let limit = self.config.max_repair_requests_burst.min(backlog);
        let limit = limit.max(self.config.max_repair_requests);
        let slots: Vec<Slot> = self.wanted.due.iter().take(limit).map(|(_, slot)| *slot).collect();
        let mut requests = Vec::with_capacity(slots.len());
        for slot in slots {
            let want = self.wanted.get(slot).filter(|want| self.can_say(&want.entry));
            requests.extend(want.map(|want| want.entry.clone()));
            self.rearm(cx, slot);
        }
        requests
    }

    /// A request went out, ours or somebody else's: ask again if it is not answered in time.
    fn rearm(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        self.wanted.withdraw(slot);
        let Some(want) = self.wanted.get_mut(slot) else { return };
        want.rounds = want.rounds.saturating_add(1);
        want.asked = Some(cx.now.mono);
        let (id, rounds) = (want.entry.message_id.clone(), want.rounds);
        let t_max = self.config.t_max(native(&self.config));
        // The first repeat comes after one T_req, each further one after twice the last.
        let delay = self.t_req(&id).saturating_mul(1 << (rounds - 1).min(16)).min(t_max);
        self.schedule_request(cx, slot, cx.now.mono + delay);
    }

    /// A dependency is not wanted any more, for whatever reason.
    pub(super) fn unwant(&mut self, cx: &mut Cx<'_>, slot: Slot) -> Option<Want> {
        self.wanted.withdraw(slot);
        let want = self.wanted.wants.remove(slot)?;
        self.timers.cancel(want.timer);
        let message_id = &want.entry.message_id;
        cx.outbox.change(&self.id, || ChangeKind::WantedRemoved(message_id.clone()));
        Some(want)
    }

    /// Takes in the repair requests of somebody else's message.
    pub(super) fn take_requests(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        requests: &[HistoryEntry],
    ) {
        if !self.config.repair {
            return;
        }
        for request in requests {
            let digest = self.ids.digest(request.message_id.as_bytes());
            match self.ids.place(digest) {
                // Somebody asks for what we miss too: theirs counts for this round.
                Some(Place::Wanted(slot)) if self.counts_as_ours(cx, slot, request) => {
                    self.rearm(cx, slot);
                }
                Some(Place::Wanted(_)) => {}
                Some(Place::Logged(_) | Place::Incoming(_)) => {
                    self.consider_answer(cx, dialect, request, digest);
                }
                Some(Place::Evicted | Place::Met | Place::Lost | Place::Sync | Place::Received)
                | None => {}
            }
        }
    }

    /// Whether somebody else's request makes ours superfluous in this round. It does not if it
    /// names another sender, by which others judge whether to answer, and no more than once.
    fn counts_as_ours(&self, cx: &Cx<'_>, slot: Slot, request: &HistoryEntry) -> bool {
        self.wanted.get(slot).is_some_and(|want| {
            want.entry.sender_id == request.sender_id
                && want.asked.is_none_or(|at| cx.now.mono.since(at) >= self.config.repair_t_min)
        })
    }

    fn consider_answer(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        request: &HistoryEntry,
        digest: IdDigest,
    ) {
        if let Some(slot) = self.answers.by_digest.get(&digest) {
            if let Some(answer) = self.answers.answers.get_mut(*slot).filter(|answer| !answer.given)
            {
                answer.dialects = answer.dialects.with(Dialects::of(dialect));
            }
            return;
        }
        let arithmetic = arithmetic(&self.config, dialect);
        let me = self.config.participant_id.as_bytes();
        let (sender, id) = (request.sender_id.as_bytes(), request.message_id.as_bytes());
        let groups = i64::from(self.config.response_groups);
        if !arithmetic.in_response_group(me, sender, id, groups) {
            return;
        }
        let t_max = signed_millis(self.config.t_max(dialect));
        let delay = Duration::from_millis(arithmetic.t_resp(me, sender, id, t_max));
        self.schedule_answer(cx, dialect, &request.message_id, digest, delay);
    }

    pub(super) fn schedule_answer(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        message_id: &MessageId,
        digest: IdDigest,
        delay: Duration,
    ) {
        let message_id = MessageId::from(message_id.as_bytes());
        if self.answers.answers.len() >= self.config.max_answers {
            let channel = self.id.clone();
            cx.outbox.report(Effect::Bounded { channel, bound: Bound::Answers, message_id });
            return;
        }
        let at = cx.now.mono + delay;
        let pinned = match self.ids.place(digest) {
            Some(Place::Logged(slot)) => {
                self.log.pin(slot);
                true
            }
            _ => false,
        };
        let due = cx.wall_at(at);
        cx.outbox.change(&self.id, || {
            ChangeKind::AnswerSet(StoredAnswer { message_id: message_id.clone(), dialect, due })
        });
        let slot = self.answers.answers.insert(Answer {
            digest,
            message_id,
            dialects: Dialects::of(dialect),
            timer: TimerKey::default(),
            pinned,
            given: false,
        });
        let timer = self.timers.schedule(at, Timer::Answer(slot));
        if let Some(answer) = self.answers.answers.get_mut(slot) {
            answer.timer = timer;
        }
        self.answers.by_digest.insert(digest, slot);
    }

    /// The message was heard: whoever asked has it now as well.
    pub(super) fn cancel_answer(&mut self, cx: &mut Cx<'_>, digest: IdDigest) {
        let Some(slot) = self.answers.by_digest.get(&digest).copied() else { return };
        if self.answers.answers.get(slot).is_some_and(|answer| !answer.given) {
            self.end_answer(cx, slot);
        }
    }

    fn end_answer(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(answer) = self.answers.answers.remove(slot) else { return };
        self.answers.by_digest.remove(&answer.digest);
        self.timers.cancel(answer.timer);
        if !answer.given {
            self.release_answered(cx, &answer);
        }
    }

    fn release_answered(&mut self, cx: &mut Cx<'_>, answer: &Answer) {
        if let (true, Some(Place::Logged(slot))) = (answer.pinned, self.ids.place(answer.digest)) {
            self.log.unpin(slot);
        }
        cx.outbox.change(&self.id, || ChangeKind::AnswerRemoved(answer.message_id.clone()));
    }

    /// T_resp ran out, or the quiet time after an answer did.
    pub(super) fn answer_due(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(answer) = self.answers.answers.get_mut(slot) else { return };
        if answer.given {
            self.end_answer(cx, slot);
            return;
        }
        answer.given = true;
        // Whoever misses this answer asks again after T_min at the earliest.
        answer.timer =
            self.timers.schedule(cx.now.mono + self.config.repair_t_min / 2, Timer::Answer(slot));
        let (digest, dialects) = (answer.digest, answer.dialects);
        let answer = Answer { message_id: answer.message_id.clone(), ..*answer };
        self.release_answered(cx, &answer);
        let entry = match self.ids.place(digest) {
            Some(Place::Logged(slot)) => self.log.get(slot).map(|logged| logged.entry.clone()),
            Some(Place::Incoming(slot)) => {
                self.incoming.get(slot).map(|waiting| waiting.arrived.entry.clone())
            }
            _ => None,
        };
        let Some(entry) = entry else { return };
        for dialect in [WireDialect::Lip109, WireDialect::NimSds] {
            if dialects.has(dialect) {
                self.send_entry(cx, dialect, &entry, SendReason::Repair);
            }
        }
    }
}
