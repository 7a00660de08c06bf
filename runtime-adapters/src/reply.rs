//! The one answer to a command.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place for an answer, and where it arrives.
pub(crate) fn pair<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(State::Awaited(None)));
    (Reply(Arc::clone(&slot)), Answer(slot))
}

/// Takes the answer. Dropping it says that there will be none.
#[derive(Debug)]
pub(crate) struct Reply<T>(Slot<T>);

impl<T> Reply<T> {
    /// Answers, unless whoever asked has stopped waiting.
    pub(crate) fn send(self, answer: T) {
        settle(&self.0, State::Given(answer));
    }

    /// Whether whoever asked has stopped waiting.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if matches!(*lock(&self.0), State::Awaited(_)) {
            settle(&self.0, State::Over);
        }
    }
}

/// The answer to come; `None` if there will be none.
#[derive(Debug)]
pub(crate) struct Answer<T>(Slot<T>);

impl<T> Answer<T> {
    /// The answer if it is there already.
    pub(crate) fn take(&self) -> Option<T> {
        let before = core::mem::replace(&mut *lock(&self.0), State::Over);
        match before {
            State::Given(answer) => Some(answer),
            State::Awaited(_) | State::Over => None,
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut waker = Some(cx.waker().clone());
        if let State::Awaited(before) = &mut *lock(&self.0) {
            core::mem::swap(before, &mut waker);
            return Poll::Pending;
        }
        Poll::Ready(self.take())
    }
}

type Slot<T> = Arc<Mutex<State<T>>>;

#[derive(Debug)]
enum State<T> {
    Awaited(Option<Waker>),
    Given(T),
    /// Taken, or never to come.
    Over,
}

fn settle<T>(slot: &Slot<T>, state: State<T>) {
    // The waker is called, and an answer that nobody wants dropped, without the lock.
    let before = core::mem::replace(&mut *lock(slot), state);
    if let State::Awaited(Some(waker)) = before {
        waker.wake();
    }
}

/// No waker is cloned, called or dropped while the lock is held, for it may run any code. So
/// nothing panics meanwhile, and a poisoned lock guards a sound state.
fn lock<T>(slot: &Slot<T>) -> MutexGuard<'_, State<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{Wait, watched_waker};

    #[test]
    fn an_answer_arrives_whether_it_is_early_or_late() {
        let (reply, answer) = pair();
        reply.send(1);
        assert_eq!(answer.wait(), Some(1));

        let (reply, answer) = pair();
        let waiting = std::thread::spawn(move || answer.wait());
        reply.send(2);
        assert_eq!(waiting.join().unwrap(), Some(2));
    }

    #[test]
    fn wakers_are_dropped_without_the_lock() {
        let (_reply, mut answer) = pair::<()>();
        let slot = Arc::clone(&answer.0);
        let is_free = move || slot.try_lock().is_ok();
        let (waker, was_free) = watched_waker(is_free.clone());
        assert!(Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let (waker, was_free_again) = watched_waker(is_free);
        assert!(Pin::new(&mut answer).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(was_free.try_recv(), Ok(true));
        drop(waker);
        assert_eq!(answer.take(), None);
        assert_eq!(was_free_again.try_recv(), Ok(true));
    }

    #[test]
    fn a_dropped_reply_ends_the_wait() {
        let (reply, answer) = pair::<()>();
        let waiting = std::thread::spawn(move || answer.wait());
        drop(reply);
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn an_answer_nobody_waits_for_is_dropped_with_both_ends() {
        let token = Arc::new(());
        let (reply, answer) = pair();
        drop(answer);
        reply.send(Arc::clone(&token));
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
