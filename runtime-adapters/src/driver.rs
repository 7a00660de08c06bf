//! The turn logic that all drivers share: a node, its clock, and what waits to go out. It sleeps
//! on nothing and knows no runtime.

use core::task::Context;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use bytes::Bytes;
use sds_proto::{Config, Effect, Input, Node};

use crate::clock::Clock;
use crate::command::{Command, LogSnapshot};
use crate::event::{Event, EventSink};
use crate::metrics::Metrics;
use crate::transport::{Received, SendError};

/// A node and everything about driving it that needs no runtime.
#[derive(Debug)]
pub(crate) struct Driver {
    node: Node,
    clock: Clock,
    events: EventSink,
    sends: VecDeque<Bytes>,
    max_sends: usize,
    max_datagram_len: usize,
    metrics: Metrics,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        events: EventSink,
        max_sends: usize,
        max_datagram_len: usize,
    ) -> Self {
        Self {
            node: Node::new(config),
            clock,
            events,
            sends: VecDeque::new(),
            max_sends,
            max_datagram_len,
            metrics: Metrics::default(),
        }
    }

    /// Counts a turn.
    pub(crate) const fn begin_turn(&mut self) {
        self.metrics.turns += 1;
    }

    /// Whether another datagram may be queued for sending.
    pub(crate) fn can_queue_send(&self) -> bool {
        self.sends.len() < self.max_sends
    }

    /// Routes one effect of the node; `false` if there is none.
    pub(crate) fn route_effect(&mut self) -> bool {
        let Some(effect) = self.node.poll_effect() else {
            return false;
        };
        let Effect::Send { channel, bytes, message_id, why, .. } = effect else {
            self.report(Event::Node(effect));
            return true;
        };
        let (len, limit) = (bytes.len(), self.max_datagram_len);
        if len > limit {
            self.metrics.too_large += 1;
            self.report(Event::TooLarge { channel, message_id, why, len, limit });
            return true;
        }
        self.metrics.count_sent(why);
        self.sends.push_back(bytes);
        true
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
            self.report(Event::SendFailed(error));
        }
    }

    /// Whether input may be taken in; if the application has too much to read, `cx` is woken
    /// when it has read some.
    pub(crate) fn wants_input(&self, cx: &Context<'_>) -> bool {
        self.events.has_room(cx)
    }

    pub(crate) fn receive(&mut self, received: Received) {
        let Received { bytes, source } = received;
        let len = bytes.len();
        self.metrics.received += 1;
        if let Err(rejected) = self.node.handle(self.clock.now(), Input::Datagram(bytes)) {
            self.metrics.rejected += 1;
            self.report(Event::DatagramRejected { reason: rejected.reason, source, len });
        }
    }

    pub(crate) fn receive_failed(&mut self, error: io::Error) {
        self.metrics.receive_failures += 1;
        self.report(Event::ReceiveFailed(error));
    }

    pub(crate) fn carry_out(&mut self, command: Command) {
        match command {
            Command::Input { input, reply } => {
                reply.send(self.node.handle(self.clock.now(), input));
            }
            Command::Log { channel, reply } => {
                reply.send(self.node.log(&channel).map(|log| {
                    let entries = log.iter().cloned().collect();
                    LogSnapshot::new(entries, log.digest(), log.content_digest())
                }));
            }
            Command::Status { channel, reply } => reply.send(self.node.status(&channel)),
            Command::Channels { reply } => reply.send(self.node.channels().cloned().collect()),
            Command::Metrics { reply } => reply.send(self.metrics),
        }
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

    fn report(&mut self, event: Event) {
        if !self.events.push(event) {
            self.metrics.skipped_events += 1;
        }
    }
}
