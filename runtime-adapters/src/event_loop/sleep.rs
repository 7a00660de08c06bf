//! Falling asleep without missing what there is to wake for.
//!
//! | an event loop | whoever wakes it | whoever changes what it waits for |
//! | --- | --- | --- |
//! | 1. begins: `RUNNING` | 1. stores the news | 1. changes it, under the lock |
//! | 2. looks for news | 2. `WOKEN` in place of what was | 2. wakes it if it is `ASLEEP` |
//! | 3. `ASLEEP` in place of `RUNNING`, or again from 1 | 3. rouses it if that was `ASLEEP` | |
//! | 4. looks what it waits for, under the lock | | |
//!
//! All of one atomic, and each step reads the last value of it or is ordered by the lock. The
//! models in `loom-tests` include this file.

#[cfg(not(sds_loom))]
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering;
#[cfg(not(sds_loom))]
use std::sync::Mutex;
use std::sync::PoisonError;

#[cfg(sds_loom)]
use super::breakable::{AtomicU8, Mutex};

/// Running, and nobody has woken it since it began.
const RUNNING: u8 = 0;
/// Running, and to run once more before it sleeps.
const WOKEN: u8 = 1;
/// Only one that sleeps costs whoever wakes it a system call.
const ASLEEP: u8 = 2;

/// The phase of an event loop, and the `W` that it waits for.
#[derive(Debug)]
pub(super) struct Sleep<W> {
    phase: AtomicU8,
    pub(super) waiting: Mutex<W>,
}

impl<W> Sleep<W> {
    pub(super) fn new(waiting: W) -> Self {
        Self { phase: AtomicU8::new(RUNNING), waiting: Mutex::new(waiting) }
    }

    /// Not asleep, and with all wake-ups so far noticed: what was done before them is seen from
    /// here on.
    pub(super) fn begin(&self) {
        self.phase.swap(RUNNING, Ordering::AcqRel);
    }

    /// Whether there was a wake-up since it began.
    pub(super) fn is_woken(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == WOKEN
    }

    /// Falls asleep, and then looks what it waits for. `None` if there was a wake-up since it
    /// began: then it must not sleep.
    pub(super) fn fall_asleep<R>(&self, look: impl FnOnce(&mut W) -> R) -> Option<R> {
        let (from, to) = (RUNNING, ASLEEP);
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        Some(self.waiting(look))
    }

    /// Wakes it. Whether it sleeps, and is to be roused.
    #[must_use]
    pub(super) fn wake(&self) -> bool {
        self.phase.swap(WOKEN, Ordering::AcqRel) == ASLEEP
    }

    /// Changes what it waits for; `change` says whether it may then have to wake sooner. Whether it
    /// sleeps, and is to be roused.
    #[must_use]
    pub(super) fn change(&self, change: impl FnOnce(&mut W) -> bool) -> bool {
        // Relaxed: if it fell asleep before the change, the lock says so. On the event loop's own
        // thread it is not asleep, and looks before it sleeps.
        let is_sooner = self.waiting(change);
        is_sooner && self.is_asleep() && self.wake()
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == ASLEEP
    }

    /// Hands `act` what it waits for. No waker is cloned, called or dropped in `act`, for a waker
    /// may do anything.
    ///
    /// So nothing panics while the lock is held, and a poisoned lock guards a sound state.
    pub(super) fn waiting<R>(&self, act: impl FnOnce(&mut W) -> R) -> R {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
