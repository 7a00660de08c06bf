//! The signal by which a call learns that it has been answered.
//!
//! Not by parking: the handle that Rust keeps of a thread it did not start looks like a leak to
//! whoever searches a C program for them.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use sds_runtime::Spin;

const WAITING: u8 = 0;
/// It waits, and is to be woken.
const ASLEEP: u8 = 1;
const ANSWERED: u8 = 2;
const DROPPED: u8 = 3;

/// The signal of a thread. Each has one, because it makes one call at a time.
#[derive(Debug, Default)]
struct Signal {
    state: AtomicU8,
    lock: Mutex<()>,
    woken: Condvar,
}

thread_local! {
    static SIGNAL: RefCell<Option<Arc<Signal>>> = const { RefCell::new(None) };
    /// Whether this thread's waits are worth staying awake for, and how long it tried.
    static SPIN: RefCell<(Duration, Spin)> = RefCell::default();
}

/// Tells the waiting thread, at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Done(Option<Arc<Signal>>);

impl Done {
    pub(crate) fn answered(mut self) {
        self.settle(ANSWERED);
    }

    fn settle(&mut self, state: u8) {
        let Some(signal) = self.0.take() else { return };
        if signal.state.swap(state, Ordering::AcqRel) == ASLEEP {
            // It said so under the lock, and lets go of it only when it can be woken.
            drop(signal.lock.lock());
            signal.woken.notify_one();
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.settle(DROPPED);
    }
}

/// The waiting thread's end.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Signal>);

/// The two ends of one wait of this thread.
pub(crate) fn pair() -> (Done, Waiting) {
    // At the end of a thread, when its signal is gone, a call gets one of its own.
    let signal = SIGNAL
        .try_with(|signal| Arc::clone(signal.borrow_mut().get_or_insert_default()))
        .unwrap_or_default();
    signal.state.store(WAITING, Ordering::Relaxed);
    (Done(Some(Arc::clone(&signal))), Waiting(signal))
}

impl Waiting {
    /// Whether there was an answer. The thread stays awake for `spin` at most, then sleeps.
    pub(crate) fn wait(self, spin: Duration) -> bool {
        let Self(signal) = self;
        stay_awake(spin, &signal);
        // Nothing panics while the lock is held.
        let mut lock = signal.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        let mut state = match signal.state.compare_exchange(WAITING, ASLEEP, relaxed, acquire) {
            Ok(_) => ASLEEP,
            Err(state) => state,
        };
        while state == ASLEEP {
            lock = signal.woken.wait(lock).unwrap_or_else(PoisonError::into_inner);
            state = signal.state.load(acquire);
        }
        state == ANSWERED
    }
}

fn stay_awake(longest: Duration, signal: &Signal) {
    // At the end of a thread, when its hopes are gone, it sleeps at once.
    _ = SPIN.try_with(|spin| {
        let (tried, spin) = &mut *spin.borrow_mut();
        if *tried != longest {
            (*tried, *spin) = (longest, Spin::new(longest));
        }
        spin.until(|| signal.state.load(Ordering::Relaxed) != WAITING);
    });
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn an_answer_ends_a_wait_whether_it_spins_or_sleeps() {
        for spin in [Duration::ZERO, Duration::from_secs(3_600)] {
            let (done, waiting) = pair();
            let answering = thread::spawn(move || done.answered());
            assert!(waiting.wait(spin));
            answering.join().unwrap();
        }
    }

    #[test]
    fn so_does_the_news_that_there_will_be_none() {
        let (done, waiting) = pair();
        let dropping = thread::spawn(move || drop(done));
        assert!(!waiting.wait(Duration::ZERO));
        dropping.join().unwrap();
    }
}
