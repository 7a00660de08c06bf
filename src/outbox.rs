//! Effects on their way out, and the ledger that says which of them waits for which write.
//!
//! Every `handle` stages its effects and its changes. When it ends, the effects are *sealed*:
//! under [`Durability::Strict`] those that depend on changes join a queue behind the number of
//! the write that will carry the newest change so far, and leave in order as writes complete.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use crate::broken::{self, Break};
use crate::config::{Config, Durability};
use crate::effect::{Effect, Event, LoadId, PersistId, RetrievalId};
use crate::error::{RejectReason, StoreError};
use crate::id::ChannelId;
use crate::snapshot::{Change, ChangeKind};
use crate::stored;
use crate::time::Instant;

/// First wait before a failed write is handed out again; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Changes that may wait for the store for each effect that may.
const CHANGES_PER_EFFECT: usize = 8;
/// Effects that an empty queue keeps memory for: what a burst took is given back.
const KEPT: usize = 64;
/// Requests to store nodes remembered.
pub(crate) const MAX_RETRIEVALS: usize = 256;

#[derive(Debug)]
pub(crate) struct Outbox {
    durability: Durability,
    bounds: Bounds,
    /// Effects of the input being handled that depend on changes, under `Strict`.
    staged: Vec<Effect>,
    /// Effects that may be polled.
    ready: VecDeque<Effect>,
    /// Effects that wait for a write, in order.
    held: VecDeque<(PersistId, Effect)>,
    /// Changes not yet handed out.
    pending: Vec<Change>,
    /// Writes handed out and not yet answered.
    outstanding: VecDeque<(PersistId, Arc<[Change]>)>,
    /// Changes in `pending` and `outstanding`.
    unpersisted_changes: usize,
    /// Bytes of those changes and of `held`, with what they keep alive.
    unpersisted_bytes: usize,
    held_bytes: usize,
    /// Bytes of the effects that the input being handled has made.
    made: usize,
    next_persist: u64,
    /// Answers to writes before this one are void: they were handed out again.
    void_before: u64,
    retry: Option<Retry>,
    next_load: u64,
    next_retrieval: u64,
    /// The channels of the newest requests to store nodes.
    retrievals: VecDeque<(RetrievalId, ChannelId)>,
}

/// Limits on unpersisted state and on the effects of one tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    effects: usize,
    bytes: usize,
    made: usize,
}

impl Bounds {
    pub(crate) const fn of(config: &Config) -> Self {
        Self {
            effects: config.max_held_effects,
            bytes: config.max_held_bytes,
            made: config.max_content_len,
        }
    }

    /// For an outbox that is emptied at once.
    pub(crate) const NONE: Self = Self { effects: usize::MAX, bytes: usize::MAX, made: usize::MAX };

    /// Changes that may wait for the store.
    pub(crate) const fn changes(self) -> usize {
        self.effects.saturating_mul(CHANGES_PER_EFFECT)
    }
}

/// A write failed.
#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
    /// Whether it was handed out again and no answer has come.
    handed_out: bool,
}

impl Outbox {
    pub(crate) const fn new(durability: Durability, bounds: Bounds) -> Self {
        Self {
            durability,
            bounds,
            staged: Vec::new(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
            pending: Vec::new(),
            outstanding: VecDeque::new(),
            unpersisted_changes: 0,
            unpersisted_bytes: 0,
            held_bytes: 0,
            made: 0,
            next_persist: 1,
            void_before: 0,
            retry: None,
            next_load: 1,
            next_retrieval: 1,
            retrievals: VecDeque::new(),
        }
    }

    /// Whether changes are wanted at all.
    pub(crate) const fn persists(&self) -> bool {
        !matches!(self.durability, Durability::None)
    }

    /// Notes a change. Call it before the effects that depend on it.
    pub(crate) fn change(&mut self, channel: &ChannelId, kind: impl FnOnce() -> ChangeKind) {
        if self.persists() {
            let change = Change { channel: channel.clone(), kind: kind() };
            self.unpersisted_changes += 1;
            self.unpersisted_bytes += change.kept_bytes();
            self.pending.push(change);
        }
    }

    /// Stages an effect that must not leave before the changes made so far are safe.
    pub(crate) fn emit_after_write(&mut self, effect: impl Into<Effect>) {
        let effect = effect.into();
        self.made += effect.kept_bytes();
        match self.durability {
            Durability::Strict if !broken::is(Break::Durability) => self.staged.push(effect),
            Durability::None | Durability::Relaxed | Durability::Strict => {
                self.ready.push_back(effect);
            }
        }
    }

    /// Queues an effect that depends on nothing durable.
    pub(crate) fn emit_now(&mut self, effect: impl Into<Effect>) {
        self.made += size_of::<Effect>();
        self.ready.push_back(effect.into());
    }

    /// Whether the input being handled has made so many effects that what is due by time had better
    /// wait for the next: whoever was away for a while need not have memory for all of it at once.
    pub(crate) const fn tick_budget_spent(&self) -> bool {
        self.made >= self.bounds.made
    }

    /// Numbers a request to a store node and notes which channel it is for.
    pub(crate) fn next_retrieval(&mut self, channel: &ChannelId) -> RetrievalId {
        let id = RetrievalId(self.next_retrieval);
        self.next_retrieval += 1;
        self.retrievals.push_back((id, channel.clone()));
        if self.retrievals.len() > MAX_RETRIEVALS {
            self.retrievals.pop_front();
        }
        id
    }

    /// The channel that a request to a store node is for, if it is not long ago.
    pub(crate) fn retrieval_channel(&self, id: RetrievalId) -> Option<&ChannelId> {
        let at = self.retrievals.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.retrievals.get(at).map(|(_, channel)| channel)
    }

    /// Ends the handling of one input.
    pub(crate) fn seal(&mut self) {
        self.made = 0;
        if self.staged.is_empty() {
            return;
        }
        let mut staged = mem::take(&mut self.staged);
        match self.newest_write() {
            Some(id) => staged.drain(..).for_each(|effect| self.hold(id, effect)),
            None => self.ready.extend(staged.drain(..)),
        }
        staged.shrink_to(KEPT);
        self.staged = staged;
    }

    fn hold(&mut self, id: PersistId, effect: Effect) {
        self.held_bytes += effect.kept_bytes();
        self.held.push_back((id, effect));
    }

    /// The write that will carry, or carries, the newest change not yet safe.
    fn newest_write(&self) -> Option<PersistId> {
        if self.pending.is_empty() {
            return self.outstanding.back().map(|(id, _)| *id);
        }
        Some(PersistId(self.next_persist))
    }

    /// Why inputs that make effects are refused, if they are. What is due by time waits then, too,
    /// or a store that never answers would take all memory.
    pub(crate) fn refuses(&self) -> Option<RejectReason> {
        let Bounds { effects, bytes, .. } = self.bounds;
        if self.held.len() >= effects || self.unpersisted_changes >= self.bounds.changes() {
            return Some(RejectReason::StoreTooSlow { limit: effects });
        }
        let full = self.held_bytes + self.unpersisted_bytes >= bytes;
        full.then_some(RejectReason::StoreTooSlow { limit: bytes })
    }

    /// Queues a read of the store, behind all writes made so far: it must see them.
    pub(crate) fn load(&mut self, channel: ChannelId) -> LoadId {
        let load = LoadId(self.next_load);
        self.next_load += 1;
        let effect = Effect::Load { id: load, channel };
        match self.newest_write() {
            Some(id) => self.hold(id, effect),
            None => self.ready.push_back(effect),
        }
        load
    }

    pub(crate) const fn is_degraded(&self) -> bool {
        self.retry.is_some()
    }

    /// When a failed write is handed out again, if one waits for that.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry.as_ref().filter(|retry| !retry.handed_out).map(|retry| retry.at)
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        if let Some(retry) = self.retry.as_mut().filter(|retry| retry.at <= now) {
            retry.handed_out = true;
        }
    }

    pub(crate) fn has_effects(&self) -> bool {
        !self.ready.is_empty() || self.has_write()
    }

    fn has_write(&self) -> bool {
        !self.pending.is_empty() && self.retry_at().is_none()
    }

    /// The next effect. A write comes last in a drain, so that a drain makes one write.
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        if let Some(effect) = self.ready.pop_front() {
            if self.ready.is_empty() {
                self.ready.shrink_to(KEPT);
            }
            return Some(effect);
        }
        if !self.has_write() {
            return None;
        }
        let id = PersistId(self.next_persist);
        self.next_persist += 1;
        let all = mem::take(&mut self.pending);
        let (count, bytes) = (all.len(), kept_bytes(&all));
        let changes: Arc<[Change]> = stored::coalesce(all).into();
        self.unpersisted_changes -= count - changes.len();
        self.unpersisted_bytes -= bytes - kept_bytes(&changes);
        self.outstanding.push_back((id, Arc::clone(&changes)));
        Some(Effect::Persist { id, changes })
    }

    /// Takes the store's answer to write `id`.
    pub(crate) fn persisted(
        &mut self,
        id: PersistId,
        result: Result<(), StoreError>,
        now: Instant,
    ) -> Result<(), RejectReason> {
        if id.0 < self.void_before {
            return Ok(()); // an answer to a write that was handed out again since
        }
        if !self.outstanding.iter().any(|(outstanding, _)| *outstanding == id) {
            return Err(RejectReason::UnknownPersist);
        }
        match result {
            Ok(()) => self.complete(id),
            Err(error) => self.fail(error, now),
        }
        Ok(())
    }

    fn complete(&mut self, id: PersistId) {
        while let Some((_, changes)) = self.outstanding.front().filter(|(first, _)| *first <= id) {
            self.unpersisted_changes -= changes.len();
            self.unpersisted_bytes -= kept_bytes(changes);
            self.outstanding.pop_front();
        }
        if self.retry.take().is_some() {
            self.emit_now(Event::Recovered);
        }
        while self.held.front().is_some_and(|(needs, _)| *needs <= id) {
            let Some((_, effect)) = self.held.pop_front() else { break };
            self.held_bytes -= effect.kept_bytes();
            self.ready.push_back(effect);
        }
        if self.held.is_empty() {
            self.held.shrink_to(KEPT);
        }
    }

    /// Takes every unanswered write back, to hand all of it out again in order as one.
    fn fail(&mut self, error: StoreError, now: Instant) {
        let mut changes = Vec::new();
        for (_, write) in self.outstanding.drain(..) {
            changes.extend_from_slice(&write);
        }
        changes.append(&mut self.pending);
        self.pending = changes;
        self.void_before = self.next_persist;
        let wait = self.retry.as_ref().map_or(RETRY_MIN, |retry| (retry.wait * 2).min(RETRY_MAX));
        let at = now + wait;
        self.retry = Some(Retry { at, wait, handed_out: false });
        self.emit_now(Event::Degraded { error, retry_at: at });
    }
}

fn kept_bytes(changes: &[Change]) -> usize {
    changes.iter().map(Change::kept_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Limit;
    use crate::entry::LogEntry;
    use crate::snapshot::{StoredAnswer, StoredIncoming};

    fn waiting(id: &str) -> StoredIncoming {
        let entry = LogEntry::new(id, "bob", 1, [], "x");
        StoredIncoming { entry, heard: None }
    }

    fn outbox() -> Outbox {
        Outbox::new(Durability::Strict, Bounds { effects: 100, ..Bounds::NONE })
    }

    fn effect(id: &'static str) -> Effect {
        let (channel, message_id, sender_id) = ("c".into(), id.into(), "bob".into());
        Effect::Event(Event::LimitReached {
            channel,
            limit: Limit::Incoming,
            message_id,
            sender_id,
        })
    }

    fn write(outbox: &mut Outbox, lamport: u64, id: &'static str) {
        outbox.change(&"c".into(), || ChangeKind::Clock(lamport));
        outbox.emit_after_write(effect(id));
        outbox.seal();
    }

    fn polled_write(outbox: &mut Outbox) -> (PersistId, usize) {
        match outbox.poll() {
            Some(Effect::Persist { id, changes }) => (id, changes.len()),
            other => panic!("not a write: {other:?}"),
        }
    }

    #[test]
    fn completing_a_write_releases_what_waits_for_it_and_before() {
        let mut outbox = outbox();
        write(&mut outbox, 1, "a");
        let (first, _) = polled_write(&mut outbox);
        write(&mut outbox, 2, "b");
        let (second, _) = polled_write(&mut outbox);
        assert!(first < second && outbox.poll().is_none());
        assert_eq!(outbox.persisted(second, Ok(()), Instant::ZERO), Ok(()));
        assert_eq!(outbox.poll(), Some(effect("a")));
        assert_eq!(outbox.poll(), Some(effect("b")));
        assert_eq!(outbox.poll(), None);
    }

    #[test]
    fn a_failure_holds_everything_until_one_retry_in_order_succeeds() {
        let mut outbox = outbox();
        write(&mut outbox, 1, "a");
        let (first, _) = polled_write(&mut outbox);
        write(&mut outbox, 2, "b");
        let (second, _) = polled_write(&mut outbox);
        write(&mut outbox, 3, "c");
        assert_eq!(outbox.persisted(first, Err(StoreError::Full), Instant::ZERO), Ok(()));
        assert!(outbox.is_degraded());
        let retry_at = outbox.retry_at().unwrap();
        assert_eq!(
            outbox.poll(),
            Some(Effect::Event(Event::Degraded { error: StoreError::Full, retry_at }))
        );
        // The answer to the second write came from before the failure was known: void.
        assert_eq!(outbox.persisted(second, Ok(()), Instant::ZERO), Ok(()));
        assert_eq!(outbox.poll(), None);
        outbox.tick(retry_at);
        let (third, changes) = polled_write(&mut outbox);
        assert_eq!(changes, 1, "the newest clock is all that is left");
        assert_eq!(outbox.unpersisted_changes, 1);
        assert_eq!(outbox.persisted(third, Ok(()), Instant::ZERO), Ok(()));
        let released: Vec<_> = core::iter::from_fn(|| outbox.poll()).collect();
        assert_eq!(
            released,
            [Effect::Event(Event::Recovered), effect("a"), effect("b"), effect("c")]
        );
        assert_eq!(outbox.unpersisted_changes, 0);
    }

    #[test]
    fn what_later_changes_make_void_is_not_handed_out() {
        let mut outbox = outbox();
        let (here, there) = (ChannelId::from("here"), ChannelId::from("there"));
        let answer =
            |lip109| StoredAnswer { message_id: "a".into(), lip109, nim_sds: true, due: None };
        outbox.change(&here, || ChangeKind::Clock(1));
        outbox.change(&there, || ChangeKind::Clock(2));
        outbox.change(&here, || ChangeKind::AnswerSet(answer(false)));
        outbox.change(&here, || ChangeKind::IncomingSet(waiting("m")));
        outbox.change(&here, || ChangeKind::AnswerSet(answer(true)));
        outbox.change(&here, || ChangeKind::IncomingRemoved("m".into()));
        outbox.change(&here, || ChangeKind::Clock(3));
        assert_eq!(outbox.unpersisted_changes, 7);
        let Some(Effect::Persist { id, changes }) = outbox.poll() else { panic!("not a write") };
        let kinds: Vec<_> = changes.iter().map(|change| (&change.channel, &change.kind)).collect();
        let expected = [
            (&there, &ChangeKind::Clock(2)),
            (&here, &ChangeKind::AnswerSet(answer(true))),
            (&here, &ChangeKind::IncomingRemoved("m".into())),
            (&here, &ChangeKind::Clock(3)),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(outbox.unpersisted_changes, 4);
        assert_eq!(outbox.persisted(id, Ok(()), Instant::ZERO), Ok(()));
        assert_eq!(outbox.unpersisted_changes, 0);
    }

    #[test]
    fn an_effect_without_changes_does_not_overtake_one_that_waits() {
        let mut outbox = outbox();
        write(&mut outbox, 1, "a");
        outbox.emit_after_write(effect("b"));
        outbox.seal();
        let (id, _) = polled_write(&mut outbox);
        assert_eq!(outbox.poll(), None);
        assert_eq!(outbox.persisted(id, Ok(()), Instant::ZERO), Ok(()));
        assert_eq!(outbox.poll(), Some(effect("a")));
        assert_eq!(outbox.poll(), Some(effect("b")));
    }

    #[test]
    fn an_unknown_write_is_refused() {
        let answer = outbox().persisted(PersistId(9), Ok(()), Instant::ZERO);
        assert_eq!(answer, Err(RejectReason::UnknownPersist));
    }
}
