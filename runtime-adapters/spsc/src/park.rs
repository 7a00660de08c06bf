//! A place where one end leaves its waker and the other finds it.
//!
//! The race that loses wake-ups is between an end that waits and one that publishes:
//!
//! | waiting end | publishing end |
//! | --- | --- |
//! | 1. leave the waker, store `ARMED` | 1. store the counter |
//! | 2. `fence(SeqCst)` | 2. `fence(SeqCst)` |
//! | 3. load the counter once more | 3. load the state of the cell |
//!
//! Of the two fences one comes first. If it is the left one, the right load sees `ARMED`; if it is
//! the right one, the left load sees the counter. Without either fence both loads may miss.

use core::task::Waker;

use crate::sync::{AtomicUsize, Fault, Ordering, UnsafeCell, broken, spin_loop};

/// No waker in the cell.
const IDLE: usize = 0;
/// A waker in the cell, and nobody at it.
const ARMED: usize = 1;
/// Somebody is at the waker.
const LOCKED: usize = 2;

/// At most one waker. The fences are the callers'.
pub(crate) struct WaitCell {
    state: AtomicUsize,
    /// Touched only by who moved `state` to `LOCKED`.
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: `waker` is reached only between a compare-exchange to `LOCKED` (acquire) and the store
// that ends it (release), so by one thread at a time; a `Waker` is `Send`.
unsafe impl Sync for WaitCell {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for WaitCell {}

impl WaitCell {
    pub(crate) fn new() -> Self {
        Self { state: AtomicUsize::new(IDLE), waker: UnsafeCell::new(None) }
    }

    /// Whether a waker is left here; to be asked after the publisher's fence.
    #[inline(always)]
    pub(crate) fn is_armed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ARMED
    }

    /// Leaves a clone of `waker`, in place of what was here. The caller fences and looks again.
    ///
    /// If a wake-up is just under way, `waker` is woken at once instead: its task polls again.
    pub(crate) fn register(&self, waker: &Waker) {
        let found = [IDLE, ARMED].into_iter().find(|state| self.lock(*state).is_ok());
        let Some(from) = found else {
            spin_loop();
            waker.wake_by_ref();
            return;
        };
        let unlock = Unlock { cell: self, to: from };
        let replaced = self.waker.with_mut(|slot| {
            // SAFETY: the state is `LOCKED`, by us.
            let slot = unsafe { &mut *slot };
            match slot {
                Some(present) if present.will_wake(waker) => None,
                _ => slot.replace(waker.clone()),
            }
        });
        unlock.into(ARMED);
        drop(replaced);
    }

    /// Takes the waker back, if it is still here.
    pub(crate) fn withdraw(&self) {
        if broken(Fault::UnlockedWithdraw) {
            // SAFETY: none, that is the fault; loom reports the access.
            drop(self.waker.with_mut(|slot| unsafe { (*slot).take() }));
            self.state.store(IDLE, Ordering::Release);
            return;
        }
        drop(self.take());
    }

    /// Wakes who waits here, if anybody does.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.take() {
            waker.wake();
        }
    }

    /// Empties the cell. `None` if it is empty, or somebody else is at it: then they will wake.
    pub(crate) fn take(&self) -> Option<Waker> {
        self.lock(ARMED).ok()?;
        let unlock = Unlock { cell: self, to: IDLE };
        // SAFETY: the state is `LOCKED`, by us.
        let waker = self.waker.with_mut(|slot| unsafe { (*slot).take() });
        drop(unlock);
        waker
    }

    fn lock(&self, from: usize) -> Result<usize, usize> {
        self.state.compare_exchange(from, LOCKED, Ordering::Acquire, Ordering::Relaxed)
    }
}

/// Wakes all of them, also those after one that panics. One more panic meanwhile ends the program,
/// as any panic within a panic does.
///
/// A waker may run any code at once: it may drop both ends of the channel it was left in, unless
/// the caller is one of them. So wakers are taken out first, and called when nothing is borrowed.
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    struct Rest<I: Iterator<Item = Waker>>(I);

    impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
        fn drop(&mut self) {
            self.0.by_ref().for_each(Waker::wake);
        }
    }

    let mut rest = Rest(wakers);
    for waker in rest.0.by_ref() {
        waker.wake();
    }
}

/// Ends `LOCKED`, even if cloning a waker panics.
struct Unlock<'a> {
    cell: &'a WaitCell,
    to: usize,
}

impl Unlock<'_> {
    fn into(mut self, to: usize) {
        self.to = to;
    }
}

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.cell.state.store(self.to, Ordering::Release);
    }
}
