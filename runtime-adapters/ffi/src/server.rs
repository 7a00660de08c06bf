//! The thread of a context: an event loop around its worker.

use core::panic::AssertUnwindSafe;
use core::task::{Context as TaskContext, Poll};
use std::collections::VecDeque;
use std::panic::catch_unwind;
use std::sync::Arc;

use sds_runtime::event_loop::EventLoop;
use sds_runtime::{Clock, Timer};
use sds_spsc::Receiver;

use crate::abi::{Callback, Callbacks, RET_ERR, RET_OK};
use crate::failure::Code;
use crate::request::Request;
use crate::signal::Done;
use crate::text::Text;
use crate::waits;
use crate::worker::Worker;

/// Most jobs done before the time is looked at.
const BUDGET: usize = 16;
/// Fewest and most answers kept for callers that read them after their call has returned.
const KEPT: core::ops::RangeInclusive<usize> = 32..=1_024;
/// Most bytes of answers kept beyond the fewest.
const KEPT_BYTES: usize = 8 << 20;

/// A request, whom to tell what came of it, and whom to wake then.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) callback: Callback,
    pub(crate) done: Done,
}

/// Everything the thread owns.
#[derive(Debug)]
pub(crate) struct Server {
    /// The context's address.
    context: usize,
    /// Gone after a panic: nobody knows what state it is in.
    worker: Option<Worker>,
    callbacks: Arc<Callbacks>,
    answers: Answers,
    clock: Clock,
}

impl Server {
    pub(crate) fn new(context: usize, worker: Worker, callbacks: Arc<Callbacks>) -> Self {
        let (answers, clock) = (Answers::default(), Clock::start());
        Self { context, worker: Some(worker), callbacks, answers, clock }
    }

    /// Does jobs until there will be no more.
    pub(crate) fn run(mut self, event_loop: EventLoop, mut jobs: Receiver<Job>) {
        waits::serve(self.context);
        let mut timer = event_loop.timer();
        event_loop.run(core::future::poll_fn(|cx| self.poll(cx, &mut jobs, &mut timer)));
    }

    fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        jobs: &mut Receiver<Job>,
        timer: &mut impl Timer,
    ) -> Poll<()> {
        loop {
            let mut idle = false;
            for _ in 0..BUDGET {
                match jobs.poll_recv(cx) {
                    Poll::Ready(Ok(job)) => self.carry_out(job),
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {
                        idle = true;
                        break;
                    }
                }
            }
            self.tick();
            let deadline = self.worker.as_ref().and_then(Worker::deadline);
            timer.set(deadline.and_then(|at| self.clock.to_std(at)));
            if idle && timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn carry_out(&mut self, job: Job) {
        let Job { request, callback, done } = job;
        let name = request.name();
        let mut answer = Vec::new();
        let result = self.guarded(|worker, callbacks, clock| {
            worker.carry_out(clock.now(), request, callbacks, &mut answer)
        });
        let (ret, text) = match result.unwrap_or_else(|| Err(Code::InternalError.into())) {
            Ok(()) => (RET_OK, answer.into()),
            Err(failure) => (RET_ERR, Request::failure(name, failure)),
        };
        callback.call(ret, self.answers.keep(text));
        done.answered();
    }

    fn tick(&mut self) {
        self.guarded(|worker, callbacks, clock| worker.tick(clock.now(), callbacks));
    }

    /// `None` if there is no worker any more.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Worker, &Callbacks, &Clock) -> T) -> Option<T> {
        let worker = self.worker.as_mut()?;
        let (callbacks, clock) = (&*self.callbacks, &self.clock);
        let result = catch_unwind(AssertUnwindSafe(|| work(worker, callbacks, clock)));
        if result.is_err() {
            let broken = AssertUnwindSafe(self.worker.take());
            drop(catch_unwind(|| drop({ broken }.0.take())));
        }
        result.ok()
    }
}

/// The last answers. Programs that wait in another language read them after the call has returned.
#[derive(Debug, Default)]
struct Answers {
    kept: VecDeque<Text>,
    bytes: usize,
}

impl Answers {
    fn keep(&mut self, text: Text) -> &Text {
        while self.kept.len() >= *KEPT.end()
            || (self.kept.len() >= *KEPT.start() && self.bytes + text.len() > KEPT_BYTES)
        {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.len();
        }
        self.bytes += text.len();
        self.kept.push_back(text);
        self.kept.back().expect("it was put there just now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> Text {
        vec![b'x'; len].into()
    }

    #[test]
    fn answers_are_kept_for_a_while_and_not_for_ever() {
        let mut answers = Answers::default();
        for _ in 0..10_000 {
            answers.keep(text(10));
        }
        assert_eq!(answers.kept.len(), *KEPT.end());
        for _ in 0..100 {
            answers.keep(text(KEPT_BYTES));
        }
        assert_eq!(answers.kept.len(), *KEPT.start());
        assert_eq!(answers.bytes, KEPT.start() * KEPT_BYTES);
    }
}
