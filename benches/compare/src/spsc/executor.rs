//! The least that futures need: the same for every candidate, and nothing in it that costs more
//! than a flag.

use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::task::Wake;

use anyhow::ensure;

use crate::wait::wait_for;

/// Runs one future on this thread; waits for its waker as all threads here wait, without sleeping.
///
/// # Errors
///
/// The future was not woken for too long.
pub(crate) fn run<F: Future>(future: F) -> anyhow::Result<F::Output> {
    let mut future = pin!(future);
    let mut task = Task::new();
    loop {
        if task.is_woken() {
            if let Poll::Ready(output) = task.poll(future.as_mut()) {
                return Ok(output);
            }
        } else {
            wait_for(|| task.is_woken().then_some(()))?;
        }
    }
}

/// Runs two futures on this thread, by turns: each turn polls those that were woken and then calls
/// `end_of_turn`.
///
/// # Errors
///
/// Neither is woken after a turn: nothing can wake them any more.
pub(crate) fn run_both<A: Future, B: Future>(
    first: A,
    second: B,
    mut end_of_turn: impl FnMut(),
) -> anyhow::Result<(A::Output, B::Output)> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_task, mut second_task) = (Task::new(), Task::new());
    let (mut first_output, mut second_output) = (None, None);
    loop {
        if first_output.is_none() && first_task.is_woken() {
            first_output = ready(first_task.poll(first.as_mut()));
        }
        if second_output.is_none() && second_task.is_woken() {
            second_output = ready(second_task.poll(second.as_mut()));
        }
        end_of_turn();
        match (first_output.take(), second_output.take()) {
            (Some(first), Some(second)) => return Ok((first, second)),
            unfinished => (first_output, second_output) = unfinished,
        }
        let first_runs = first_output.is_none() && first_task.is_woken();
        let second_runs = second_output.is_none() && second_task.is_woken();
        ensure!(first_runs || second_runs, "a wake-up was lost: both tasks wait");
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

struct Task {
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken(AtomicBool);

impl Task {
    fn new() -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { waker: Waker::from(Arc::clone(&woken)), woken }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Acquire)
    }

    /// Forgets that it was woken, then polls: what wakes it meanwhile counts for the next time.
    fn poll<F: Future>(&mut self, future: core::pin::Pin<&mut F>) -> Poll<F::Output> {
        self.woken.0.swap(false, Ordering::AcqRel);
        future.poll(&mut Context::from_waker(&self.waker))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use core::future::{pending, poll_fn, ready};

    use super::*;

    /// Wakes itself once.
    async fn yield_once() {
        let mut yielded = false;
        poll_fn(|context| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn futures_run_to_their_end() {
        assert_eq!(
            run(async {
                yield_once().await;
                3
            })
            .unwrap(),
            3
        );
        let mut turns = 0;
        assert_eq!(
            run_both(
                async {
                    yield_once().await;
                    1
                },
                ready(2),
                || turns += 1
            )
            .unwrap(),
            (1, 2)
        );
        assert_eq!(turns, 2);
    }

    #[test]
    fn tasks_that_nobody_wakes_are_an_error() {
        let error = run_both(pending::<()>(), ready(()), || ()).unwrap_err();
        assert_eq!(error.to_string(), "a wake-up was lost: both tasks wait");
    }
}
