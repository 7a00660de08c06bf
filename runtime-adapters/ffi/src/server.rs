//! The thread of a context: an event loop around its worker.

use core::panic::AssertUnwindSafe;
use core::task::{Context as TaskContext, Poll};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

use sds_runtime::event_loop::EventLoop;
use sds_runtime::{Clock, Timer};
use sds_spsc::Receiver;

use crate::abi::{Callback, Callbacks, RET_ERR, RET_OK};
use crate::failure::Code;
use crate::request::Request;
use crate::signal::Done;
use crate::text::Text;
use crate::worker::Worker;
use crate::{kept, waits};

/// Most jobs done before the time is looked at.
const BUDGET: usize = 16;

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
    /// When to free the last answer, if no other comes: that would do it.
    sweep: Option<Instant>,
    clock: Clock,
}

impl Server {
    pub(crate) fn new(context: usize, worker: Worker, callbacks: Arc<Callbacks>) -> Self {
        Self { context, worker: Some(worker), callbacks, sweep: None, clock: Clock::start() }
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
            let deadline = deadline.and_then(|at| self.clock.to_std(at));
            timer.set([deadline, self.sweep].into_iter().flatten().min());
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
            Ok(()) => (RET_OK, Text::from(answer)),
            Err(failure) => (RET_ERR, Request::failure(name, failure)),
        };
        if text.len() == 0 {
            callback.call_static(ret, c"");
        } else {
            callback.call(ret, &text);
            self.sweep = Some(kept::keep(text));
        }
        done.answered();
    }

    fn tick(&mut self) {
        if self.sweep.is_some_and(|at| at <= Instant::now()) {
            self.sweep = None;
            kept::sweep();
        }
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
