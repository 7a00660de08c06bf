//! The task of a driver, for any runtime.

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::time::Instant;

use async_channel::Receiver;
use futures_core::Stream;
use sds_proto::{Config, Durability};

use crate::clock::Clock;
use crate::command::Command;
use crate::driver::{Bounds, Driver};
use crate::error::StartError;
use crate::event::{self, Events};
use crate::handle::Handle;
use crate::keeper::Keeper;
use crate::options::Options;
use crate::port::{self, Inlet, Outlet};
use crate::store::Store;
use crate::timer::Timer;
use crate::trace::{Span, event, span};
use crate::transport::Transport;

/// Most effects routed in one turn.
const EFFECT_BUDGET: usize = 256;
/// Most datagrams taken in in one turn.
const DATAGRAM_BUDGET: usize = 32;
/// Most commands carried out in one turn.
const COMMAND_BUDGET: usize = 16;
/// Most questions answered in one turn.
const QUESTION_BUDGET: usize = 16;
/// Pause after a failed attempt to receive, lest a broken socket keeps the driver busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// The driver itself: a future that ends once the driver was shut down and has flushed.
///
/// It must be polled for anything to happen; spawn it. Dropping it stops the driver at once,
/// without flushing: then what is not stored is lost, which under
/// [`Strict`](Durability::Strict) is nothing that was reported as delivered, or sent.
#[must_use = "a driver does nothing unless it is polled"]
pub struct Run<T, C> {
    running: Option<Running<T, C>>,
    span: Span,
}

impl<T: Transport, C: Timer> Run<T, C> {
    /// A driver of a new node with `config` on `transport`, woken by `timer`, and the two ends
    /// for the application.
    ///
    /// # Errors
    ///
    /// [`StartError::NeedsStore`] or [`StartError::UnusedStore`] if the durability that `config`
    /// asks for and the store do not go together; [`StartError::RecordTooLong`];
    /// [`StartError::Store`].
    pub fn new(
        config: Config,
        transport: T,
        timer: C,
        options: Options,
    ) -> Result<(Handle, Events, Self), StartError> {
        let port = port::shared(options.commands.max(1));
        Self::with_port(config, transport, timer, options, port)
    }

    /// The same, and commands come through `port`.
    pub(crate) fn with_port(
        config: Config,
        transport: T,
        timer: C,
        options: Options,
        port: (Outlet, Inlet),
    ) -> Result<(Handle, Events, Self), StartError> {
        let keeper = keeper(&config, options.store)?;
        let (outlet, commands) = port;
        let (asking, questions) = async_channel::bounded(options.commands.max(1));
        let (stop_sender, stop) = async_channel::bounded(1);
        let (stopping, stopped) = async_channel::bounded(1);
        let (sink, events) = event::queue(options.events.max(1));
        let config = within(config, transport.max_datagram_len());
        let limit = config.max_datagram_len();
        let span = span!(info_span, "driver", participant = %config.participant_id());
        span.within(|| {
            event!(info, durability = ?config.durability(), max_datagram_len = limit, "started");
        });
        let clock = options.clock.unwrap_or_else(Clock::start);
        let bounds = Bounds {
            sends: options.sends.max(1),
            held: options.commands.max(1),
            max_stall: options.max_stall,
            max_datagram_len: limit,
        };
        let running = Running {
            driver: Driver::new(config, clock, keeper, sink, bounds),
            transport,
            timer,
            timer_at: None,
            receive_after: None,
            commands,
            questions: Box::pin(questions),
            asked: Vec::new(),
            stop: Box::pin(stop),
            flush: options.flush,
            flush_until: None,
            _stopped_when_dropped: stopping,
        };
        let handle = Handle::new(outlet, asking, stop_sender, stopped);
        Ok((handle, events, Self { running: Some(running), span }))
    }
}

/// The configuration with a transport's limit.
fn within(config: Config, limit: usize) -> Config {
    if config.max_datagram_len() <= limit {
        return config;
    }
    config.to_builder().max_datagram_len(limit).build().expect("it was valid, and any limit is")
}

/// The store, told what is expected of it, if there is one and it is wanted.
fn keeper(config: &Config, store: Option<Box<dyn Store>>) -> Result<Option<Keeper>, StartError> {
    match (config.durability(), store) {
        (Durability::None, None) => Ok(None),
        (Durability::None, Some(_)) => Err(StartError::UnusedStore),
        (durability, None) => Err(StartError::NeedsStore { durability }),
        (durability, Some(mut store)) => {
            let (len, limit) = (config.max_record_len(), store.max_record_len());
            if len > limit {
                return Err(StartError::RecordTooLong { len, limit });
            }
            store.start(durability).map_err(StartError::Store)?;
            Ok(Some(Keeper::new(store)))
        }
    }
}

/// Nothing in it is ever pinned.
impl<T, C> Unpin for Run<T, C> {}

impl<T: Transport, C: Timer> Future for Run<T, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { running, span } = &mut *self;
        let Some(turning) = running else {
            return Poll::Ready(());
        };
        match span.within(|| turning.turn(cx)) {
            Turn::Again => cx.waker().wake_by_ref(),
            Turn::Asleep => {}
            Turn::Finished => {
                *running = None;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl<T, C> Drop for Running<T, C> {
    /// Waiting callers learn that there will be no answer. A closed channel would keep the
    /// commands, and their
    // callers waiting.
    fn drop(&mut self) {
        self.commands.close();
        while self.commands.try_next().is_some() {}
        self.questions.close();
        while self.questions.try_recv().is_ok() {}
    }
}

impl<T, C> fmt::Debug for Run<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("finished", &self.running.is_none()).finish_non_exhaustive()
    }
}

struct Running<T, C> {
    /// First, so that it is closed when the events end.
    transport: T,
    driver: Driver,
    timer: C,
    timer_at: Option<Instant>,
    receive_after: Option<Instant>,
    commands: Inlet,
    /// Commands that can be carried out whatever else has to wait.
    questions: Pin<Box<Receiver<Command>>>,
    /// Those that were taken, and are answered in this turn.
    asked: Vec<Command>,
    /// Closed by a shutdown or with the last handle.
    stop: Pin<Box<Receiver<Infallible>>>,
    flush: Duration,
    /// Set once shutting down.
    flush_until: Option<Instant>,
    /// Last, so that everything else is gone when a shutdown resolves.
    _stopped_when_dropped: async_channel::Sender<Infallible>,
}

/// Whether the error is about a datagram that was sent before and reached no process, as Windows
/// says when it is asked for the next one: the socket is sound, and others may have sent to it.
fn is_of_a_send(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// The step that follows a turn.
enum Turn {
    /// There is more to do; others first.
    Again,
    /// Nothing to do until woken.
    Asleep,
    /// Shut down.
    Finished,
}

/// The end of a part of a turn.
#[derive(PartialEq, Eq)]
enum Part {
    /// There was no more to do.
    Done,
    /// The budget was used up.
    Budget,
    /// The transport takes no more.
    Blocked,
}

impl<T: Transport, C: Timer> Running<T, C> {
    fn turn(&mut self, cx: &mut Context<'_>) -> Turn {
        self.driver.begin_turn();
        if self.flush_until.is_none() && self.stop.as_mut().poll_next(cx).is_ready() {
            self.flush_until = Some(Instant::now() + self.flush);
            self.commands.close();
            self.questions.close();
            self.driver.stop_publishing();
            event!(info, "shutting down");
        }
        if let Some(flush_until) = self.flush_until {
            return self.shut_down(flush_until, cx);
        }
        match self.settle(cx) {
            // Nothing else is done, but whoever only asks need not wait for the transport.
            Some(Turn::Asleep) => {
                let asked = self.take_questions(cx) == Part::Budget || !self.asked.is_empty();
                self.answer();
                return if asked { Turn::Again } else { Turn::Asleep };
            }
            Some(end) => return end,
            None => {}
        }
        // Taken before commands and answered after them, so that a question is no sooner than what
        // its handle ordered before it.
        let mut again = self.take_questions(cx) == Part::Budget;
        if self.driver.wants_datagrams(cx) {
            again |= self.receive(cx) == Part::Budget;
        }
        self.driver.publish_waiting(COMMAND_BUDGET);
        again |= self.carry_out(cx) == Part::Budget;
        self.answer();
        self.driver.tick();
        match self.settle(cx) {
            // Questions that may still be there are looked for in the next turn.
            Some(_) if again => Turn::Again,
            Some(end) => end,
            None if again || self.driver.may_publish() => Turn::Again,
            None => self.sleep(self.driver.deadline(), cx),
        }
    }

    /// Carries out effects, then hears the store, which may let more of them go and waits for no
    /// transport. What the turn ends with, unless there is nothing more to do for either.
    fn settle(&mut self, cx: &mut Context<'_>) -> Option<Turn> {
        let end = match self.drain(cx) {
            Part::Budget => return Some(Turn::Again),
            Part::Blocked => Some(Turn::Asleep),
            Part::Done => None,
        };
        if self.driver.poll_store(cx).is_ready() { Some(Turn::Again) } else { end }
    }

    /// Effects to the transport, to the store and to the events.
    fn drain(&mut self, cx: &mut Context<'_>) -> Part {
        for _ in 0..EFFECT_BUDGET {
            if !self.driver.can_queue_send() && self.send(cx) == Part::Blocked {
                return Part::Blocked;
            }
            if !self.driver.route_effect() {
                // Datagrams that the transport does not take now wait in the queue.
                self.send(cx);
                return Part::Done;
            }
        }
        Part::Budget
    }

    /// Queued datagrams to the transport.
    fn send(&mut self, cx: &mut Context<'_>) -> Part {
        while let Some(datagram) = self.driver.next_send() {
            let Poll::Ready(result) = self.transport.poll_send(cx, datagram) else {
                return Part::Blocked;
            };
            self.driver.sent(result);
        }
        Part::Done
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Part {
        if self.receive_after.is_some_and(|after| Instant::now() < after) {
            return Part::Done;
        }
        self.receive_after = None;
        let mut received_any = false;
        for _ in 0..DATAGRAM_BUDGET {
            match self.transport.poll_recv(cx) {
                Poll::Ready(Ok(received)) => {
                    received_any = true;
                    self.driver.receive(received);
                }
                Poll::Ready(Err(error)) => {
                    let is_of_a_send = is_of_a_send(&error);
                    self.driver.receive_failed(error);
                    if !is_of_a_send {
                        return self.pause_receiving();
                    }
                }
                Poll::Pending => return Part::Done,
            }
        }
        if received_any { Part::Budget } else { self.pause_receiving() }
    }

    fn pause_receiving(&mut self) -> Part {
        self.receive_after = Some(Instant::now() + RECEIVE_PAUSE);
        Part::Done
    }

    fn carry_out(&mut self, cx: &mut Context<'_>) -> Part {
        for _ in 0..COMMAND_BUDGET {
            if !self.driver.wants_commands() {
                return Part::Done;
            }
            match self.commands.poll_next(cx) {
                Poll::Ready(Some(command)) => self.driver.carry_out(command),
                // The end of the commands shows as the order to stop, which is looked at first.
                Poll::Ready(None) | Poll::Pending => return Part::Done,
            }
        }
        Part::Budget
    }

    /// Takes questions that are there.
    fn take_questions(&mut self, cx: &mut Context<'_>) -> Part {
        while self.asked.len() < QUESTION_BUDGET {
            match self.questions.as_mut().poll_next(cx) {
                Poll::Ready(Some(question)) => self.asked.push(question),
                Poll::Ready(None) | Poll::Pending => return Part::Done,
            }
        }
        Part::Budget
    }

    /// Answers the questions that were taken.
    fn answer(&mut self) {
        for question in self.asked.drain(..) {
            self.driver.carry_out(question);
        }
    }

    /// Sleeps until the node's deadline, until a pause ends, or until something else wakes.
    fn sleep(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Turn {
        let stalled_until = self.driver.stalled_until();
        let at = deadline.into_iter().chain(self.receive_after).chain(self.flush_until);
        let at = at.chain(stalled_until).min();
        if at != self.timer_at {
            self.timer.set(at);
            self.timer_at = at;
        }
        if self.timer.poll(cx).is_pending() {
            return Turn::Asleep;
        }
        self.timer_at = None;
        Turn::Again
    }

    /// Commands that were taken, effects, writes and queued datagrams; nothing new.
    fn shut_down(&mut self, flush_until: Instant, cx: &mut Context<'_>) -> Turn {
        while let Some(command) = self.commands.try_next() {
            self.driver.carry_out(command);
        }
        while let Ok(question) = self.questions.try_recv() {
            self.driver.carry_out(question);
        }
        self.driver.stop_publishing();
        if Instant::now() >= flush_until {
            while self.driver.route_effect() {}
            event!(warn, stored = self.driver.is_stored(), "stopped before all was flushed");
            return Turn::Finished;
        }
        self.driver.retry();
        match self.settle(cx) {
            Some(Turn::Again) => Turn::Again,
            None if self.driver.is_stored() && self.driver.next_send().is_none() => {
                event!(info, "stopped");
                Turn::Finished
            }
            None | Some(Turn::Asleep | Turn::Finished) => self.sleep(self.driver.retry_at(), cx),
        }
    }
}
