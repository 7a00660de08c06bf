//! The node: one entry, one exit, one deadline, and many channels.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::broken::{self, Break};
use crate::channel::{self, Channel, Cx, LogView, MissingEntry, OutgoingEntry, Status};
use crate::clock_watch::ClockWatch;
use crate::config::{Config, Durability, Excess};
use crate::deadlines::Deadlines;
use crate::effect::{Effect, Event, LoadId, RetrievalId};
use crate::error::{RejectReason, Rejected, StoreError};
use crate::id::{ChannelId, IdRef, MessageId};
use crate::input::{Input, PublishKind, RetrievalOutcome};
use crate::outbox::{Bounds, Outbox};
use crate::rng::Rng;
use crate::snapshot::{ChangeKind, Snapshot};
use crate::time::{Instant, Now};
use crate::timer::{Deadline, DeadlineReason};
use crate::wire::{self, HistoryEntryRef, MessageRef, WireDialect};

/// Delay beyond a deadline after which the node counts as having slept. Time asleep does not count
/// as time in which missing messages could have come.
const OVERSLEPT: Duration = Duration::from_secs(60);
/// Maximum part of a time asleep that counts, so that a node that is never in time gives up in the
/// end.
const COUNTED_ASLEEP: Duration = Duration::from_secs(10);
/// Time awake begins here, so that it has room for what was waited before a restart.
const AWAKE_START: Instant = Instant::from_micros(u64::MAX / 4);
/// Backward step of monotonic time beyond which it is a restart of the clock and no jitter.
const FAR_BEHIND: Duration = Duration::from_secs(60);

/// One participant: takes inputs, returns effects and the time of its next deadline.
///
/// Feed it with [`handle`](Self::handle), then drain [`poll_effect`](Self::poll_effect), then
/// sleep until [`next_deadline`](Self::next_deadline) or the next input. It does no I/O, reads no
/// clock and spawns nothing; the same inputs give the same effects on every platform.
#[derive(Debug)]
pub struct Node {
    config: Arc<Config>,
    channels: BTreeMap<ChannelId, Member>,
    /// Idle channels are not in it, so they cost nothing.
    deadlines: Deadlines,
    /// Channels opened by messages of others.
    auto_opened: usize,
    outbox: Outbox,
    rng: Rng,
    buffer: BytesMut,
    now: Now,
    /// Monotonic time without the time asleep.
    awake: Instant,
    /// End of the last time asleep, on that clock.
    woke: Instant,
    clock_regressions: u64,
    /// Whether it was reported that monotonic time is far behind.
    reported_time_behind: bool,
    clock_watch: ClockWatch,
}

/// A channel we take part in.
#[derive(Debug)]
struct Member {
    state: State,
    auto: bool,
    /// As `deadlines` has it.
    deadline: Option<Deadline>,
}

#[derive(Debug)]
enum State {
    /// Its state was asked for under this id.
    Loading(LoadId, Arc<Config>),
    Open(Box<Channel>),
}

/// The parts of a node that a channel works with.
macro_rules! cx {
    ($node:expr) => {
        Cx {
            now: $node.now,
            awake: $node.awake,
            woke: $node.woke,
            outbox: &mut $node.outbox,
            rng: &mut $node.rng,
            buffer: &mut $node.buffer,
            node: &$node.config,
        }
    };
}

impl Node {
    /// Creates a node without channels. A [`Config`] is valid by construction, so this cannot fail.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut hasher = SipHasher13::new_with_keys(config.seed, 0x7364_732d_6e6f_6465);
        hasher.write(config.participant_id.as_bytes());
        Self {
            outbox: Outbox::new(config.durability, Bounds::of(&config)),
            rng: Rng::new(hasher.finish128().h1),
            config: Arc::new(config),
            channels: BTreeMap::new(),
            deadlines: Deadlines::default(),
            auto_opened: 0,
            buffer: BytesMut::new(),
            now: Now::default(),
            awake: AWAKE_START,
            woke: AWAKE_START,
            clock_regressions: 0,
            reported_time_behind: false,
            clock_watch: ClockWatch::default(),
        }
    }

    /// Handles one input. Any number of inputs may be handled before effects are polled.
    ///
    /// Time that runs backwards stands still and is counted; more than a minute behind,
    /// [`Event::TimeBehind`] reports it.
    ///
    /// # Errors
    ///
    /// The input is refused: nothing has changed, and the input is returned with the reason.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), Rejected> {
        self.advance(now);
        if broken::is(Break::Drains) && self.outbox.has_effects() {
            self.rng.next_u64();
        }
        let result = self.apply(&input);
        self.outbox.seal();
        result.map_err(|reason| Rejected { reason, input: Box::new(input) })
    }

    /// Returns the next effect, if there is one. Poll until there is none.
    #[must_use = "an effect that is not carried out is lost"]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.outbox.poll()?;
        if let (true, Effect::Event(Event::Deliver(delivery))) = (self.config.auto_consume, &effect)
        {
            let (channel, seq) = (delivery.channel.clone(), delivery.seq);
            // A channel that was closed since has nothing to note.
            let _closed = self.with_channel(&channel, |channel, cx| {
                channel.consume(cx, seq);
                Ok(())
            });
            self.outbox.seal();
        }
        Some(effect)
    }

    /// Returns the time at which to handle a [`Tick`](Input::Tick), and the reason. Earlier is
    /// harmless, later only delays.
    ///
    /// While effects can be polled it is the time of the last input.
    #[must_use = "without ticks nothing is resent, retrieved or given up"]
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.outbox.has_effects() {
            return Some(Deadline { at: self.now.mono, reason: DeadlineReason::Effects });
        }
        let retry =
            self.outbox.retry_at().map(|at| Deadline { at, reason: DeadlineReason::PersistRetry });
        let channel = self.deadlines.first().filter(|_| self.outbox.refuses().is_none());
        let channel = channel.map(|deadline| match broken::is(Break::Progress) {
            true => Deadline { at: self.now.mono, ..deadline },
            false => deadline,
        });
        [retry, channel].into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    /// Returns the open and loading channels, in order of their ids.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelId> {
        self.channels.keys()
    }

    /// Returns the log of a channel. `None`: the channel is not open, or still loading.
    #[must_use]
    pub fn log(&self, channel: &ChannelId) -> Option<LogView<'_>> {
        self.open_channel(channel).map(Channel::view)
    }

    /// Encodes a logged message as a repair answer: in the dialect of the channel, without a
    /// filter. `None`: its body is not in the log, or the dialect cannot encode its ids.
    #[must_use]
    pub fn logged_datagram(
        &mut self,
        channel: &ChannelId,
        message_id: &MessageId,
    ) -> Option<Bytes> {
        let State::Open(channel) = &self.channels.get(channel)?.state else { return None };
        channel.logged_datagram(&mut cx!(self), message_id)
    }

    /// Returns the status of a channel. `None`: the channel is not open, or still loading.
    #[must_use]
    pub fn status(&self, channel: &ChannelId) -> Option<Status> {
        self.open_channel(channel).map(Channel::status)
    }

    /// Returns the own messages of a channel without certain acknowledgement, in the order of
    /// publication: those that are resent, and those in the log that were reported unconfirmed. Any
    /// other own message in the log is acknowledged. `None`: the channel is not open, or still
    /// loading. Looks at all of the log if a message was ever given up.
    #[must_use]
    pub fn outgoing(&self, channel: &ChannelId) -> Option<Vec<OutgoingEntry>> {
        self.open_channel(channel).map(Channel::outgoing)
    }

    /// Returns the missing dependencies of a channel, in no particular order. After a restart
    /// [`Event::Missing`] does not report them again. Empty if the channel is not open, or still
    /// loading.
    pub fn missing(&self, channel: &ChannelId) -> impl Iterator<Item = MissingEntry> {
        self.open_channel(channel).into_iter().flat_map(|channel| channel.missing(self.awake))
    }

    /// Returns the ids that the next message published in `channel` references, oldest first, for
    /// embedders that look up retrieval hints on demand. A message whose content takes nearly all
    /// of `max_datagram_len` may reference fewer.
    pub fn next_causal_history(&self, channel: &ChannelId) -> impl Iterator<Item = IdRef<'_>> {
        self.open_channel(channel).into_iter().flat_map(Channel::next_causal_history)
    }

    /// Returns the dependencies of a buffered message that are not in the log yet: buffered
    /// themselves, or missing. Empty if the message is not buffered.
    pub fn missing_dependencies(
        &self,
        channel: &ChannelId,
        message_id: &MessageId,
    ) -> impl Iterator<Item = HistoryEntryRef<'_>> {
        self.open_channel(channel)
            .into_iter()
            .flat_map(|channel| channel.missing_dependencies(message_id))
    }

    /// Returns the configuration of the node; channels may have their own.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Number of times that the monotonic clock ran backwards.
    #[must_use]
    pub const fn clock_regressions(&self) -> u64 {
        self.clock_regressions
    }

    fn advance(&mut self, now: Now) {
        if now.mono < self.now.mono {
            self.clock_regressions += 1;
            self.tell_time_behind(now.mono);
        } else {
            self.reported_time_behind = false;
        }
        // Timers need time ahead of now, or they would be due for ever.
        let mono = now.mono.min(Instant::from_micros(u64::MAX / 2)).max(self.now.mono);
        let passed = mono.since(self.now.mono);
        let due = self.deadlines.first().map_or(mono, |due| due.at);
        // While what asks is held back, nobody can answer either.
        let mute = self.outbox.is_degraded() && self.config.durability == Durability::Strict;
        let overslept = |now: Instant| mute || now.since(due) > OVERSLEPT;
        let counted = match (overslept(self.now.mono), overslept(mono)) {
            // Inputs alone, or ticks that the store lets do nothing.
            (true, _) => Duration::ZERO,
            (false, true) => passed.min(COUNTED_ASLEEP),
            (false, false) => passed,
        };
        self.awake = self.awake + counted;
        if overslept(mono) {
            self.woke = self.awake;
        }
        self.now = Now { mono, wall: now.wall };
    }

    /// Tells that timers stand still until monotonic time has caught up, once until it has.
    fn tell_time_behind(&mut self, told: Instant) {
        let newest = self.now.mono;
        if newest.since(told) > FAR_BEHIND && !self.reported_time_behind {
            self.reported_time_behind = true;
            self.outbox.emit_now(Event::TimeBehind { told, newest });
        }
    }

    fn apply(&mut self, input: &Input) -> Result<(), RejectReason> {
        match input {
            Input::Datagram(bytes) => self.heard(bytes),
            Input::Publish { channel, message_id, content, kind } => {
                self.publish(channel, message_id, content, *kind)
            }
            Input::Resend { channel, message_id } => self.resend(channel, message_id),
            Input::Tick => {
                self.tick();
                Ok(())
            }
            Input::Persisted { id, result } => self.outbox.persisted(*id, *result, self.now.mono),
            Input::Loaded { id, channel, result } => self.loaded(*id, channel, result),
            Input::Retrieved { id, outcome } => self.retrieved(*id, outcome),
            Input::Open { channel, config } => self.open(channel, config.as_ref(), false),
            Input::Close { channel } => self.close(channel),
            Input::Drop { channel } => {
                self.close(channel)?;
                self.outbox.change(channel, || ChangeKind::Erased);
                Ok(())
            }
            Input::Reset => {
                self.reset();
                Ok(())
            }
            Input::Hint { channel, message_id, hint } => {
                self.with_channel(channel, |channel, cx| channel.hint(cx, message_id, hint))
            }
            Input::DependenciesMet { channel, ids } => self.with_channel(channel, |channel, cx| {
                channel.dependencies_met(cx, ids);
                Ok(())
            }),
            Input::Consumed { channel, up_to } => self.with_channel(channel, |channel, cx| {
                channel.consume(cx, *up_to);
                Ok(())
            }),
        }
    }

    /// Takes in a message that was just sent, but for repeats and repair.
    fn heard(&mut self, bytes: &Bytes) -> Result<(), RejectReason> {
        let (dialect, message) = self.decode(bytes)?;
        let result = self.receive(dialect, &message, bytes);
        let refused = matches!(result, Err(RejectReason::ClockSkew { .. }));
        let me = &self.config.participant_id;
        if let Some(lamport) = message.lamport
            && (result.is_ok() || refused)
            && (message.sender_id.is_empty() || message.sender_id != *me)
        {
            let mut hasher = SipHasher13::new_with_keys(self.config.seed, 0x7364_732d_636c_6f63);
            hasher.write(message.sender_id.as_bytes());
            let (skew, sender) = (self.config.max_clock_skew, hasher.finish128().h1);
            let off = self.clock_watch.hears(self.now, skew, sender, lamport, refused);
            if let Some((ours, theirs)) = off {
                self.outbox.emit_now(Event::WallClockOff { ours, theirs });
            }
        }
        result
    }

    fn datagram(&mut self, bytes: &Bytes) -> Result<(), RejectReason> {
        let (dialect, message) = self.decode(bytes)?;
        self.receive(dialect, &message, bytes)
    }

    fn decode<'a>(&self, bytes: &'a Bytes) -> Result<(WireDialect, MessageRef<'a>), RejectReason> {
        if let Some(reason) = self.outbox.refuses() {
            return Err(reason);
        }
        wire::decode_ref(bytes, &self.config.limits()).map_err(RejectReason::Decode)
    }

    fn receive(
        &mut self,
        dialect: WireDialect,
        message: &MessageRef<'_>,
        bytes: &Bytes,
    ) -> Result<(), RejectReason> {
        let id = message.channel_id.as_bytes();
        if !self.channels.contains_key(id) {
            if self.config.auto_open {
                channel::check(&self.config, self.now, 0, dialect, message)?;
            }
            self.auto_open(id)?;
        }
        self.with_channel(id, |channel, cx| channel.receive(cx, dialect, message, bytes))
    }

    fn auto_open(&mut self, id: &[u8]) -> Result<(), RejectReason> {
        if !self.config.auto_open {
            return Err(RejectReason::ChannelNotOpen);
        }
        let limit = self.config.max_auto_channels;
        if self.auto_opened >= limit {
            return Err(RejectReason::TooManyChannels { limit });
        }
        self.open(&ChannelId::from(id), None, true)
    }

    fn publish(
        &mut self,
        channel: &ChannelId,
        message_id: &MessageId,
        content: &Bytes,
        kind: PublishKind,
    ) -> Result<(), RejectReason> {
        if kind == PublishKind::Content {
            if self.outbox.is_degraded() {
                return Err(RejectReason::Degraded);
            }
            if let Some(reason) = self.outbox.refuses() {
                return Err(reason);
            }
        }
        self.with_channel(channel, |channel, cx| match kind {
            PublishKind::Content => channel.publish(cx, message_id, content),
            PublishKind::Ephemeral => channel.publish_ephemeral(cx, message_id, content),
        })
    }

    fn resend(&mut self, channel: &ChannelId, message_id: &MessageId) -> Result<(), RejectReason> {
        if let Some(reason) = self.outbox.refuses() {
            return Err(reason);
        }
        self.with_channel(channel, |channel, cx| channel.resend_now(cx, message_id))
    }

    fn tick(&mut self) {
        self.outbox.tick(self.now.mono);
        // Each moves its channel's deadline past now or makes enough, so this ends.
        while let Some(id) = self.deadlines.due(self.now.mono)
            && self.outbox.refuses().is_none()
            && !self.outbox.tick_budget_spent()
        {
            let id = id.clone();
            let ticked = self.with_channel(&id, |channel, cx| {
                channel.tick(cx);
                Ok(())
            });
            debug_assert!(ticked.is_ok(), "only open channels have deadlines");
        }
    }

    fn open(
        &mut self,
        id: &ChannelId,
        config: Option<&Arc<Config>>,
        auto: bool,
    ) -> Result<(), RejectReason> {
        let (len, limit) = (id.len(), self.config.max_id_len);
        if id.is_empty() {
            return Err(RejectReason::EmptyId);
        }
        if len > limit {
            return Err(RejectReason::IdTooLong { len, limit });
        }
        if self.channels.contains_key(id) {
            return Err(RejectReason::ChannelAlreadyOpen);
        }
        let config = Arc::clone(config.unwrap_or(&self.config));
        if config.writes_dialect(WireDialect::Lip109) && id.as_str().is_none() {
            return Err(RejectReason::IdNotUtf8);
        }
        if let Some(Excess { field, value, bound, .. }) = config.excess_over(&self.config) {
            return Err(RejectReason::ChannelExceedsNode { field, value, bound });
        }
        // An allocation of its own, whatever the id came in.
        let id = ChannelId::from(id.as_bytes());
        let state = if self.outbox.persists() {
            State::Loading(self.outbox.load(id.clone()), config)
        } else {
            let key = self.config.record_key(&id);
            State::Open(Box::new(Channel::create(&mut cx!(self), id.clone(), config, key)))
        };
        self.auto_opened += usize::from(auto);
        self.channels.insert(id, Member { state, auto, deadline: None });
        Ok(())
    }

    fn loaded(
        &mut self,
        load: LoadId,
        id: &ChannelId,
        result: &Result<Option<Box<Snapshot>>, StoreError>,
    ) -> Result<(), RejectReason> {
        let key = self.config.record_key(id);
        let member = self.channels.get_mut(id).ok_or(RejectReason::ChannelNotOpen)?;
        let config = match &member.state {
            State::Loading(asked, config) if *asked == load => config,
            // An answer from before the channel was closed, or a second one.
            State::Loading(..) | State::Open(_) => return Err(RejectReason::NotLoading),
        };
        let failed = |error: StoreError| RejectReason::LoadFailed(error);
        let snapshot = result.as_ref().map_err(|error| failed(*error))?;
        if let Some(snapshot) = snapshot {
            snapshot.check().map_err(|error| failed(error.into()))?;
            let (stored, ours) = (&snapshot.participant_id, &config.participant_id);
            if !stored.is_empty() && stored != ours && !config.adopt_store {
                return Err(failed(StoreError::OtherParticipant));
            }
        }
        let (config, cx) = (Arc::clone(config), &mut cx!(self));
        let channel = match snapshot {
            Some(snapshot) => Channel::restore(cx, id.clone(), config, snapshot),
            None => Channel::create(cx, id.clone(), config, key),
        };
        member.state = State::Open(Box::new(channel));
        // Notes when it wants to be woken.
        self.with_channel(id, |_, _| Ok(()))
    }

    fn retrieved(
        &mut self,
        id: RetrievalId,
        outcome: &RetrievalOutcome,
    ) -> Result<(), RejectReason> {
        match outcome {
            RetrievalOutcome::Message(bytes) => self.datagram(bytes),
            RetrievalOutcome::NotFound => Ok(()),
            RetrievalOutcome::Failed => {
                let Some(channel) = self.outbox.retrieval_channel(id).cloned() else {
                    return Ok(());
                };
                self.with_channel(&channel, |channel, cx| {
                    channel.retrieval_failed(cx);
                    Ok(())
                })
            }
        }
    }

    fn close(&mut self, id: &ChannelId) -> Result<(), RejectReason> {
        let member = self.channels.remove(id).ok_or(RejectReason::ChannelNotOpen)?;
        self.auto_opened -= usize::from(member.auto);
        self.deadlines.replace(id, member.deadline, None);
        Ok(())
    }

    fn reset(&mut self) {
        self.deadlines.clear();
        let seed = self.config.seed;
        for (id, member) in &mut self.channels {
            member.deadline = None;
            let config = match &member.state {
                State::Loading(_, config) => config,
                State::Open(channel) => channel.config(),
            };
            let mut hasher = SipHasher13::new_with_keys(seed, self.rng.next_u64());
            hasher.write(id.as_bytes());
            let hash = hasher.finish128();
            let (config, cx) = (Arc::clone(config), &mut cx!(self));
            let channel = Channel::create(cx, id.clone(), config, [hash.h1, hash.h2]);
            member.state = State::Open(Box::new(channel));
        }
    }

    fn open_channel(&self, id: &ChannelId) -> Option<&Channel> {
        match &self.channels.get(id)?.state {
            State::Open(channel) => Some(channel),
            State::Loading(..) => None,
        }
    }

    /// Lets an open channel work, then notes when it wants to be woken.
    fn with_channel(
        &mut self,
        id: impl AsRef<[u8]>,
        work: impl FnOnce(&mut Channel, &mut Cx<'_>) -> Result<(), RejectReason>,
    ) -> Result<(), RejectReason> {
        let member = self.channels.get_mut(id.as_ref()).ok_or(RejectReason::ChannelNotOpen)?;
        let State::Open(channel) = &mut member.state else {
            return Err(RejectReason::ChannelLoading);
        };
        let result = work(channel, &mut cx!(self));
        let deadline = channel.next_deadline();
        if deadline != member.deadline {
            self.deadlines.replace(channel.id(), member.deadline, deadline);
            member.deadline = deadline;
        }
        result
    }
}
