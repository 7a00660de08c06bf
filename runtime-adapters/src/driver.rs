//! The turn logic that all drivers share: a node, its clock, and what waits to go out. It sleeps
//! on nothing and knows no runtime.

use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use sds_proto::{
    ChannelId, Config, Effect, Event, Input, Node, PublishKind, RejectReason, Rejected,
};

use crate::clock::Clock;
use crate::command::{Command, LogSnapshot};
use crate::error::HandleError;
use crate::event::{DriverEvent, EventSink};
use crate::keeper::{Answer, Keeper};
use crate::metrics::Metrics;
use crate::opening::{Opening, Verdict};
use crate::reply::Reply;
use crate::trace::event;
use crate::transport::{Received, SendError};
use crate::waiting::{Publish, Waiting};

/// A node and everything about driving it that needs no runtime.
#[derive(Debug)]
pub(crate) struct Driver {
    /// First, so that the store is closed when the events end.
    keeper: Option<Keeper>,
    node: Node,
    clock: Clock,
    events: EventSink,
    opening: Opening,
    /// When a write that failed is made again.
    retry_at: Option<sds_proto::Instant>,
    sends: VecDeque<Bytes>,
    bounds: Bounds,
    waiting: Waiting,
    /// Whether some of them wait for events to be read.
    events_held_back: bool,
    /// While too many events are unread.
    stall: Option<Stall>,
    stopping: bool,
    metrics: Metrics,
}

/// Bounds of a driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most datagrams that wait for the transport.
    pub(crate) sends: usize,
    /// Most messages that are held until events have been read, but for those whose calls wait.
    pub(crate) held: usize,
    /// Longest time that a message waits for room while no event is read.
    pub(crate) max_stall: Duration,
    /// Longest datagram that the transport takes, or that the configuration allows.
    pub(crate) max_datagram_len: usize,
}

/// Events are unread, and nobody reads them.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// Events that had been read when it began.
    read: u64,
    /// When nothing waits for it any longer; `None`: never.
    until: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        keeper: Option<Keeper>,
        events: EventSink,
        bounds: Bounds,
    ) -> Self {
        Self {
            keeper,
            node: Node::new(config),
            clock,
            events,
            opening: Opening::default(),
            retry_at: None,
            sends: VecDeque::new(),
            bounds,
            waiting: Waiting::default(),
            events_held_back: false,
            stall: None,
            stopping: false,
            metrics: Metrics::default(),
        }
    }

    /// Counts a turn.
    pub(crate) const fn begin_turn(&mut self) {
        self.metrics.turns += 1;
    }

    /// Whether another datagram may be queued for sending.
    pub(crate) fn can_queue_send(&self) -> bool {
        self.sends.len() < self.bounds.sends
    }

    /// Routes one effect of the node; `false` if there is none.
    pub(crate) fn route_effect(&mut self) -> bool {
        let Some(effect) = self.node.poll_effect() else {
            return false;
        };
        match (effect, &mut self.keeper) {
            (Effect::Send { channel, bytes, message_id, reason, .. }, _) => {
                let (len, limit) = (bytes.len(), self.bounds.max_datagram_len);
                if len > limit {
                    self.metrics.too_large += 1;
                    event!(warn, %channel, %message_id, len, limit, "message too large to send");
                    self.report(DriverEvent::TooLarge { channel, message_id, reason, len, limit });
                } else {
                    self.metrics.count_sent(reason, len);
                    self.sends.push_back(bytes);
                }
            }
            (Effect::Persist { id, changes }, Some(keeper)) => keeper.persist(id, &changes),
            (Effect::Load { id, channel }, Some(keeper)) => keeper.load(id, channel),
            (Effect::Retrieve { id, channel, missing }, _) => {
                self.metrics.retrievals += 1;
                self.report(DriverEvent::Retrieve { id, channel, missing });
            }
            (Effect::Event(event), _) => {
                self.note(&event);
                self.metrics.count(&event);
                self.report(DriverEvent::Node(event));
            }
            // A node that persists has a store: the driver does not start without.
            (Effect::Persist { .. } | Effect::Load { .. }, None) => {}
        }
        true
    }

    /// Updates the state of the driver for an event.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for the application alone")]
    fn note(&mut self, event: &Event) {
        match event {
            Event::Degraded { retry_at, .. } => {
                self.retry_at = Some(*retry_at);
                event!(warn, ?event, "a write failed");
            }
            Event::Recovered => {
                self.retry_at = None;
                event!(info, "recovered");
            }
            Event::Acked { channel, .. } | Event::Unconfirmed { channel, .. } => {
                self.waiting.make_ready(channel);
            }
            Event::WallClockOff { .. } => {
                event!(warn, ?event, "the wall clock seems to be off");
            }
            Event::TimeBehind { .. } => {
                event!(warn, ?event, "the monotonic clock fell back");
            }
            Event::ParticipantIdInUse { .. } => {
                event!(warn, ?event, "somebody else has the participant id");
            }
            _ => {}
        }
    }

    /// The datagram to send next.
    pub(crate) fn next_send(&self) -> Option<&Bytes> {
        self.sends.front()
    }

    /// Takes note of what became of [`next_send`](Self::next_send).
    pub(crate) fn sent(&mut self, result: Result<(), SendError>) {
        self.sends.pop_front();
        if let Err(error) = result {
            self.metrics.send_failures += 1;
            event!(debug, %error, "not sent");
            self.report(DriverEvent::SendFailed(error));
        }
    }

    /// Whether datagrams may be taken in; if the application has too much to read, `cx` is woken
    /// when it has read some.
    pub(crate) fn wants_datagrams(&mut self, cx: &Context<'_>) -> bool {
        if self.events.has_room(cx) {
            self.stall = None;
            if core::mem::take(&mut self.events_held_back) {
                self.waiting.make_all_ready();
            }
            return true;
        }
        let (now, read) = (Instant::now(), self.events.read());
        match self.stall {
            Some(stall) if stall.read == read => {
                if stall.until.is_some_and(|until| until <= now) {
                    self.refuse_waiting();
                }
            }
            Some(_) | None => {
                let until = now.checked_add(self.bounds.max_stall);
                self.stall = Some(Stall { read, until });
            }
        }
        false
    }

    /// Whether another command may be carried out, whatever it is.
    pub(crate) const fn wants_commands(&self) -> bool {
        self.waiting.held() < self.bounds.held
    }

    /// When those that wait for room are refused, unless an event is read before.
    pub(crate) fn stalled_until(&self) -> Option<Instant> {
        self.stall.filter(|_| self.waiting.len() > 0).and_then(|stall| stall.until)
    }

    pub(crate) fn receive(&mut self, received: Received) {
        let Received { bytes, source } = received;
        let len = bytes.len();
        self.metrics.received += 1;
        self.metrics.received_bytes += len as u64;
        if let Err(rejected) = self.node.handle(self.clock.now(), Input::Datagram(bytes)) {
            let reason = rejected.reason;
            self.metrics.rejected += 1;
            event!(debug, %source, len, %reason, "datagram rejected");
            self.report(DriverEvent::DatagramRejected { reason, source, len });
        }
    }

    pub(crate) fn receive_failed(&mut self, error: io::Error) {
        self.metrics.receive_failures += 1;
        event!(warn, %error, "nothing could be received");
        self.report(DriverEvent::ReceiveFailed(error));
    }

    pub(crate) fn carry_out(&mut self, command: Command) {
        match command {
            Command::Input { input, verdict } => self.input(input, verdict),
            Command::Publish(publish) => self.publish(publish),
            Command::Log { channel, reply } => {
                reply.send(self.node.log(&channel).map(|log| {
                    let entries = log.iter().cloned().collect();
                    LogSnapshot::new(entries, log.digest(), log.content_digest())
                }));
            }
            Command::Status { channel, reply } => reply.send(self.node.status(&channel)),
            Command::Outgoing { channel, reply } => reply.send(self.node.outgoing(&channel)),
            Command::Missing { channel, reply } => {
                let missing = || self.node.missing(&channel).collect();
                reply.send(self.node.log(&channel).map(|_| missing()));
            }
            Command::Unmet { channel, message_id, reply } => {
                let missing_dependencies = || {
                    self.node.missing_dependencies(&channel, &message_id).map(Into::into).collect()
                };
                reply.send(self.node.log(&channel).map(|_| missing_dependencies()));
            }
            Command::Channels { reply } => reply.send(self.node.channels().cloned().collect()),
            Command::StoredChannels { reply } => match &mut self.keeper {
                Some(keeper) => keeper.list(reply),
                None => reply.send(Ok(Vec::new())),
            },
            Command::Metrics { reply } => reply.send(self.metrics()),
        }
    }

    /// Publishes a message, or lets it wait.
    fn publish(&mut self, publish: Publish) {
        let no_room = HandleError::Full;
        if publish.waits && self.waiting.is_waited_in(&publish.channel) {
            self.waiting.push(publish, no_room);
        } else if let Some((publish, reason)) = self.try_publish(publish) {
            self.waiting.push(publish, reason);
        }
    }

    /// Whether there may be room for a message that waits.
    pub(crate) fn may_publish(&self) -> bool {
        self.waiting.is_ready()
    }

    /// Publishes messages that waited, at most so many.
    pub(crate) fn publish_waiting(&mut self, most: usize) {
        for _ in 0..most {
            let Some(publish) = self.waiting.next_ready() else { return };
            if let Some((publish, reason)) = self.try_publish(publish) {
                self.waiting.push_back_first(publish, reason);
            }
        }
    }

    /// Publishes a message. It comes back if it is to wait for room, and why.
    fn try_publish(&mut self, publish: Publish) -> Option<(Publish, HandleError)> {
        let makes_events = publish.kind == PublishKind::Content && !self.stopping;
        if makes_events && self.events.is_overfull() {
            self.events_held_back = true;
            return Some((publish, HandleError::Full));
        }
        let Publish { channel, message_id, content, kind, waits, verdict } = publish;
        let input = Input::Publish { channel, message_id, content, kind };
        let Err(Rejected { reason, input }) = self.node.handle(self.clock.now(), input) else {
            verdict.send(Ok(()));
            return None;
        };
        let refusal = HandleError::Rejected(reason);
        match (reason, *input) {
            (
                RejectReason::OutgoingFull { .. },
                Input::Publish { channel, message_id, content, kind },
            ) if waits => {
                let publish = Publish { channel, message_id, content, kind, waits, verdict };
                Some((publish, refusal))
            }
            _ => {
                self.refuse(verdict, refusal);
                None
            }
        }
    }

    fn refuse(&mut self, verdict: Reply<Result<(), HandleError>>, reason: HandleError) {
        self.metrics.refused += 1;
        verdict.send(Err(reason));
    }

    /// Nobody reads events, so that there will be no room.
    fn refuse_waiting(&mut self) {
        for (publish, reason) in self.waiting.take_all() {
            self.refuse(publish.verdict, reason);
        }
    }

    /// Ends all waiting. A message that waits for events to be read waits no more. One that waits
    /// for acknowledgements is not published: its caller hears that the driver stops.
    pub(crate) fn stop_publishing(&mut self) {
        self.stopping = true;
        self.waiting.make_all_ready();
        while let Some(publish) = self.waiting.next_ready() {
            drop(self.try_publish(publish));
        }
    }

    /// Hands an input to the node, and says what became of it as soon as that is known.
    fn input(&mut self, input: Input, verdict: Verdict) {
        let opened =
            if let Input::Open { channel, .. } = &input { Some(channel.clone()) } else { None };
        let closed = if let Input::Close { channel } | Input::Drop { channel } = &input {
            Some(channel.clone())
        } else {
            None
        };
        let empties = input == Input::Reset;
        let (abandoned, instead) = self.abandoned_by(&input);
        if let Err(rejected) = self.node.handle(self.clock.now(), input) {
            self.metrics.refused += 1;
            return verdict.send(Err(rejected.reason));
        }
        for channel in abandoned {
            self.opening.settle(&channel, instead);
        }
        for publish in closed.iter().flat_map(|channel| self.waiting.take_channel(channel)) {
            self.metrics.refused += 1;
            publish.verdict.send(Err(HandleError::Rejected(RejectReason::ChannelNotOpen)));
        }
        if empties {
            self.waiting.make_all_ready();
        }
        if let Some(channel) = opened {
            event!(debug, %channel, "opening");
            if self.node.log(&channel).is_none() {
                return self.opening.begin(channel, verdict);
            }
        }
        verdict.send(Ok(()));
    }

    /// The channels that an input keeps from being loaded, and what those who wait for them hear.
    fn abandoned_by(&self, input: &Input) -> (Vec<ChannelId>, Result<(), RejectReason>) {
        let is_loading = |channel: &&ChannelId| self.node.log(channel).is_none();
        if let Input::Close { channel } | Input::Drop { channel } = input {
            let channel = Some(channel).filter(is_loading);
            (channel.into_iter().cloned().collect(), Err(RejectReason::ChannelNotOpen))
        } else if *input == Input::Reset {
            (self.node.channels().filter(is_loading).cloned().collect(), Ok(()))
        } else {
            (Vec::new(), Ok(()))
        }
    }

    /// Ready when the node has heard an answer of the store.
    pub(crate) fn poll_store(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(keeper) = &mut self.keeper else {
            return Poll::Pending;
        };
        match ready!(keeper.poll(cx)) {
            Answer::Persisted { id, operations, took, result } => {
                self.metrics.count_write(operations, took, result);
                let answer = Input::Persisted { id, result };
                // Never refused: the node asked for it.
                drop(self.node.handle(self.clock.now(), answer));
            }
            Answer::Loaded { id, channel, result } => {
                let answer = Input::Loaded { id, channel: channel.clone(), result };
                let loaded = self.node.handle(self.clock.now(), answer);
                self.loaded(&channel, loaded.map_err(|rejected| rejected.reason));
            }
            Answer::Listed => {}
        }
        Poll::Ready(())
    }

    /// A channel that was to be loaded is open, or else closed.
    fn loaded(&mut self, channel: &ChannelId, result: Result<(), RejectReason>) {
        match result {
            Ok(()) => {
                self.metrics.store_loads += 1;
                event!(debug, %channel, "loaded");
            }
            Err(RejectReason::LoadFailed(error)) => {
                self.metrics.store_load_failures += 1;
                event!(warn, %channel, %error, "not loaded");
                let close = Input::Close { channel: channel.clone() };
                // Never refused: the channel waits for its state.
                drop(self.node.handle(self.clock.now(), close));
                self.report(DriverEvent::LoadFailed { channel: channel.clone(), error });
            }
            // The channel was closed or emptied since it was asked for.
            Err(_) => return,
        }
        self.opening.settle(channel, result);
    }

    /// Whether everything that was to be stored is.
    pub(crate) fn is_stored(&self) -> bool {
        self.retry_at.is_none() && self.keeper.as_ref().is_none_or(Keeper::is_idle)
    }

    /// Lets a write that failed be made again if it is time.
    pub(crate) fn retry(&mut self) {
        let now = self.clock.now();
        if self.retry_at.take_if(|at| *at <= now.mono).is_some() {
            // As in `tick`.
            drop(self.node.handle(now, Input::Tick));
        }
    }

    /// When a write that failed is made again, if one is to be.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at.and_then(|at| self.clock.to_std(at))
    }

    /// Returns the counters and the current gauges. Looks at every channel.
    fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics;
        for channel in self.node.channels() {
            metrics.channels += 1;
            match self.node.status(channel) {
                Some(status) => metrics.add(&status),
                None => metrics.channels_loading += 1,
            }
        }
        metrics.clock_regressions = self.node.clock_regressions();
        metrics.publishes_waiting = self.waiting.len() as u64;
        metrics.sends_waiting = self.sends.len() as u64;
        metrics.events_unread = self.events.unread() as u64;
        metrics.store_waiting = self.keeper.as_ref().map_or(0, Keeper::waiting) as u64;
        metrics
    }

    /// Tells the node the time if it asked for that.
    pub(crate) fn tick(&mut self) {
        let now = self.clock.now();
        if self.node.next_deadline().is_some_and(|deadline| deadline.at <= now.mono) {
            // A tick is never refused; were it, the deadline would stand and it be told again.
            drop(self.node.handle(now, Input::Tick));
        }
    }

    /// When the node wants to be told the time next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.node.next_deadline().and_then(|deadline| self.clock.to_std(deadline.at))
    }

    fn report(&mut self, event: DriverEvent) {
        if !self.events.push(event) {
            self.metrics.skipped_events += 1;
        }
    }
}
