//! The repair extension (SDS-R), what we ask for: when, how often, and what others' requests mean
//! for ours.

use alloc::vec::Vec;
use core::time::Duration;

use super::fit::most_request_len;
use super::incoming::Waiters;
use super::record::{IdDigest, IdState};
use super::slots::Slot;
use super::wanted::{MissingDependency, Request};
use super::{Channel, Cx};
use crate::broken::{self, Break};
use crate::config::{Config, Dialect, LAST_ROUNDS, NimHash};
use crate::hash::HashKind;
use crate::id::IdRef;
use crate::repair::RepairTiming;
use crate::snapshot::{ChangeKind, StoredMissing};
use crate::time::Instant;
use crate::timer::TimerKey;
use crate::wire::{HistoryEntry, HistoryEntryRef, WireDialect};

/// The arithmetic of `dialect`.
pub(super) const fn arithmetic(config: &Config, dialect: WireDialect) -> RepairTiming {
    RepairTiming::new(match (dialect, config.nim_hash) {
        (WireDialect::Lip109, _) => HashKind::Lip109,
        (WireDialect::NimSds, NimHash::Farm) => HashKind::NimFarm,
        (WireDialect::NimSds, NimHash::Murmur) => HashKind::NimMurmur,
    })
}

/// The dialect whose arithmetic and periods our own requests follow.
pub(super) const fn native(config: &Config) -> WireDialect {
    match config.dialect {
        Dialect::Lip109 | Dialect::Bridge => WireDialect::Lip109,
        Dialect::NimSds => WireDialect::NimSds,
        Dialect::Mirror { initial } => initial,
    }
}

/// Most waiting messages looked at to find out what is stored of a chain's progress.
const MAX_CHAIN_STORED: usize = 64;

/// Shortest time after which the store is told again how long a dependency was waited for.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// When a dependency may be given up as things stand: after `lost_after` awake without progress,
/// once it was asked for as often as it takes and nobody has answered.
pub(super) fn give_up_at(config: &Config, cx: &Cx<'_>, dependency: &MissingDependency) -> Instant {
    if broken::is(Break::Patience) {
        return cx.now.mono;
    }
    let (lost_after, waited) = (config.lost_after, cx.awake.since(dependency.since));
    if waited < lost_after {
        return cx.now.mono + (lost_after - waited);
    }
    let rounds = dependency.rounds_since(cx.woke);
    if !config.repair || rounds > LAST_ROUNDS {
        return cx.now.mono;
    }
    // When nobody has answered the newest request.
    let unanswered = match dependency.request {
        Request::Scheduled(at) => at,
        Request::Due(_) | Request::Off => cx.now.mono,
    };
    if rounds == LAST_ROUNDS {
        return unanswered;
    }
    // A node that is never awake for so many rounds, or cannot ask at all, waits for as long as
    // they would take.
    let longest = lost_after.saturating_add(config.t_max(native(config)) * LAST_ROUNDS);
    unanswered.max(cx.now.mono + longest.saturating_sub(waited))
}

/// When to look at a dependency again, at the latest: when it may be given up, or when the store is
/// to hear how long it was waited for. Its request is told of when it goes out; but it may never do
/// so, and lives may be short, so the times between grow with that since it was missed.
pub(super) fn look_at(config: &Config, cx: &Cx<'_>, dependency: &MissingDependency) -> Instant {
    let at = give_up_at(config, cx, dependency);
    if !cx.outbox.persists() {
        return at;
    }
    let from = match dependency.request {
        Request::Scheduled(at) => at,
        Request::Due(_) | Request::Off => cx.now.mono,
    };
    let waited = cx.awake.since(dependency.progress);
    at.min(from + waited.min(config.t_max(native(config))).max(TOLD_AFTER))
}

pub(super) fn signed_millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Channel {
    /// Wants a dependency that is not here. `None`: there is no room.
    ///
    /// `chained`: it was noticed in a repair answer, so its request is not delayed by the whole
    /// of T_req again.
    pub(super) fn add_missing(
        &mut self,
        cx: &mut Cx<'_>,
        named: HistoryEntryRef<'_>,
        digest: IdDigest,
        named_by: u64,
        chained: bool,
        background: bool,
    ) -> Option<Slot> {
        if self.missing.len() >= self.config.max_missing {
            return None;
        }
        let delay = if chained { self.chain_delay(named) } else { self.t_req(named.message_id) };
        let stored =
            StoredMissing { entry: named.into(), rounds: 0, due: None, background, waited_ms: 0 };
        Some(self.insert_missing(cx, stored, digest, named_by, delay))
    }

    pub(super) fn insert_missing(
        &mut self,
        cx: &mut Cx<'_>,
        stored: StoredMissing,
        digest: IdDigest,
        named_by: u64,
        delay: Duration,
    ) -> Slot {
        let slot = self.missing.insert(MissingDependency {
            entry: stored.entry,
            digest,
            named_by,
            waiters: Waiters::new(),
            rounds: stored.rounds,
            rounds_awake: 0,
            since: cx.awake.before(Duration::from_millis(stored.waited_ms)),
            progress: cx.awake,
            asked: None,
            request: Request::Off,
            look_at: cx.now.mono,
            timer: TimerKey::default(),
            background: stored.background,
            retrieved: false,
        });
        self.ids.set(digest, IdState::Missing(slot));
        self.schedule_request(cx, slot, cx.now.mono + delay);
        slot
    }

    fn schedule_request(&mut self, cx: &mut Cx<'_>, slot: Slot, at: Instant) {
        let Some(dependency) = self.missing.get_mut(slot) else { return };
        if self.config.repair {
            dependency.request = Request::Scheduled(at);
        }
        dependency.look_at = look_at(&self.config, cx, dependency);
        dependency.set_timer(&mut self.timers, slot);
        self.persist_missing(cx, slot);
    }

    pub(super) fn persist_missing(&self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(dependency) = self.missing.get(slot) else { return };
        let due = match dependency.request {
            Request::Scheduled(at) | Request::Due(at) => cx.wall_at(at),
            Request::Off => None,
        };
        let waited = self.waited(slot, dependency, cx.awake).as_millis();
        cx.outbox.change(&self.id, || {
            ChangeKind::MissingSet(StoredMissing {
                entry: dependency.entry.clone(),
                rounds: dependency.rounds,
                due,
                background: dependency.background,
                waited_ms: u64::try_from(waited).unwrap_or(u64::MAX),
            })
        });
    }

    /// Time awake for which a dependency is wanted without progress, `awake` being now.
    pub(super) fn waited(
        &self,
        slot: Slot,
        dependency: &MissingDependency,
        awake: Instant,
    ) -> Duration {
        let progress = self.last_progress(slot, MAX_CHAIN_STORED);
        awake.since(if progress > dependency.progress { progress } else { dependency.since })
    }

    fn t_req(&self, id: IdRef<'_>) -> Duration {
        let dialect = native(&self.config);
        let t_min = signed_millis(self.config.repair_t_min);
        let t_max = signed_millis(self.config.t_max(dialect));
        let me = self.config.participant_id.as_bytes();
        let millis = arithmetic(&self.config, dialect).t_req(me, id.as_bytes(), t_min, t_max);
        Duration::from_millis(millis)
    }

    fn chain_delay(&self, named: HistoryEntryRef<'_>) -> Duration {
        let t_min = signed_millis(self.config.repair_t_min);
        let me = self.config.participant_id.as_bytes();
        let arithmetic = arithmetic(&self.config, native(&self.config));
        Duration::from_millis(arithmetic.chain_delay(me, named.message_id.as_bytes(), t_min))
    }

    /// T_req ran out: the request goes out with the next message, or with a sync of its own.
    pub(super) fn request_due(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let Some(dependency) = self.missing.get_mut(slot) else { return };
        let Request::Scheduled(at) = dependency.request else { return };
        dependency.request = Request::Due(at);
        dependency.set_timer(&mut self.timers, slot);
        self.missing.due.insert((at, slot));
        self.expedite_sync(cx, cx.now.mono + self.config.repair_sync_min);
        self.tell_incomplete(cx);
    }

    /// The first request that goes out next.
    pub(super) fn first_due(&self) -> Option<&HistoryEntry> {
        let (_, slot) = self.missing.due.first()?;
        self.missing.get(*slot).map(|dependency| &dependency.entry)
    }

    /// The requests for a message that goes out now and has `room` bytes for them, earliest first;
    /// they are re-armed. Where there is no room for any, the filter of the message has to tell
    /// what is missing. `most`: no message has more, so that one that does not fit alone never
    /// does.
    pub(super) fn take_due_requests(
        &mut self,
        cx: &mut Cx<'_>,
        mut room: usize,
        most: bool,
    ) -> Vec<HistoryEntry> {
        let backlog = self.missing.due.len().div_ceil(2);
        let limit = self.config.max_repair_requests_burst.min(backlog);
        let limit = limit.max(self.config.max_repair_requests);
        let can_ask = self.can_ask();
        let limit = if can_ask { limit } else { usize::MAX };
        let slots: Vec<Slot> = self.missing.due.iter().take(limit).map(|(_, slot)| *slot).collect();
        let mut requests = Vec::with_capacity(slots.len());
        for slot in slots {
            let dependency = self.missing.get(slot).filter(|_| can_ask);
            let dependency =
                dependency.filter(|dependency| self.can_reference(dependency.entry.borrowed()));
            if let Some(dependency) = dependency {
                let len = most_request_len(dependency.entry.borrowed());
                if len <= room {
                    room -= len;
                    requests.push(dependency.entry.clone());
                } else if !most || !requests.is_empty() {
                    break;
                }
            }
            self.rearm(cx, slot);
        }
        requests
    }

    /// A request went out, ours or somebody else's: ask again if it is not answered in time.
    fn rearm(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        self.missing.withdraw(slot);
        let progress = self.last_progress(slot, MAX_CHAIN_STORED);
        let Some(dependency) = self.missing.get_mut(slot) else { return };
        if !dependency.take_progress(progress) && dependency.rounds > 0 {
            // Nobody answered the last. However little of the time since was spent awake, it
            // counts, or whoever is never awake for long would wait for ever.
            let since = cx.awake.since(dependency.asked.unwrap_or(dependency.progress));
            dependency.since =
                dependency.since.before(self.config.repair_t_min.saturating_sub(since));
        }
        dependency.rounds = dependency.rounds.saturating_add(1);
        dependency.rounds_awake = dependency.rounds_since(cx.woke).saturating_add(1);
        dependency.asked = Some(cx.awake);
        let (id, rounds) = (dependency.entry.message_id.clone(), dependency.rounds);
        let t_max = self.config.t_max(native(&self.config));
        if broken::is(Break::Wanted) {
            dependency.set_timer(&mut self.timers, slot);
            return;
        }
        // The first repeat comes after one T_req, each further one after twice the last.
        let delay = self.t_req(id.borrowed()).saturating_mul(1 << (rounds - 1).min(16)).min(t_max);
        self.schedule_request(cx, slot, cx.now.mono + delay);
    }

    /// A dependency is not wanted any more, for whatever reason.
    pub(super) fn take_missing(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
    ) -> Option<MissingDependency> {
        self.missing.withdraw(slot);
        let dependency = self.missing.remove(slot)?;
        self.timers.cancel(dependency.timer);
        cx.outbox
            .change(&self.id, || ChangeKind::MissingRemoved(dependency.entry.message_id.clone()));
        Some(dependency)
    }

    /// Takes in the repair requests of somebody else's message.
    pub(super) fn take_requests(
        &mut self,
        cx: &mut Cx<'_>,
        dialect: WireDialect,
        requests: &[HistoryEntryRef<'_>],
    ) {
        if !self.config.repair {
            return;
        }
        for request in requests {
            let digest = self.ids.digest(request.message_id.as_bytes());
            match self.ids.state(digest) {
                // Somebody asks for what we miss too: theirs counts for this round.
                Some(IdState::Missing(slot)) if self.counts_as_ours(cx, slot, request) => {
                    self.rearm(cx, slot);
                }
                Some(IdState::Missing(_)) => {}
                Some(IdState::Logged(_) | IdState::Incoming(_)) => {
                    self.consider_answer(cx, dialect, *request, digest);
                }
                Some(
                    IdState::Evicted
                    | IdState::Resolved
                    | IdState::Lost
                    | IdState::Sync
                    | IdState::Processing,
                )
                | None => {}
            }
        }
    }

    /// Whether somebody else's request makes ours superfluous in this round. It does not if it
    /// names another sender, by which others judge whether to answer, and no more than once.
    fn counts_as_ours(&self, cx: &Cx<'_>, slot: Slot, request: &HistoryEntryRef<'_>) -> bool {
        self.missing.get(slot).is_some_and(|dependency| {
            request.sender_id == dependency.entry.sender_id
                && dependency.asked.is_none_or(|at| cx.awake.since(at) >= self.config.repair_t_min)
        })
    }
}
