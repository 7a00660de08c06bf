//! The way in which an event loop falls asleep and is woken: the file of the event loop itself,
//! between a poller and threads of the model.
#![cfg(sds_loom)]

use core::sync::atomic::Ordering;

use loom::{
    sync::{Arc, Notify, atomic::AtomicUsize},
    thread,
};
use loom_tests::check_with;

use breakable::{Fault, inject, is_broken};
use sleep::Sleep;

#[path = "../../runtime-adapters/src/event_loop/sleep.rs"]
#[allow(dead_code, reason = "the models have no spin")]
mod sleep;

/// The primitives that the file is built on, with faults.
mod breakable {
    use core::{cell::Cell, sync::atomic::Ordering};

    pub(super) use loom::sync::Mutex;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Fault {
        /// A wake-up and a beginning order nothing.
        Unordered,
        /// Falling asleep is a look and then a store.
        SleepInTwoSteps,
        /// A wake-up is a look and then a store.
        WakeInTwoSteps,
        /// A thread that changes what the loop waits for does not see that the loop sleeps.
        UnseenSleep,
        /// It looks what it waits for and then falls asleep.
        EarlyLook,
        /// A thread that finds the loop asleep does not rouse it.
        NoRouse,
    }

    std::thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    pub(super) fn inject(fault: Option<Fault>) {
        FAULT.set(fault);
    }

    pub(super) fn is_broken(fault: Fault) -> bool {
        FAULT.get() == Some(fault)
    }

    #[derive(Debug)]
    pub(super) struct AtomicU8(loom::sync::atomic::AtomicU8);

    impl AtomicU8 {
        pub(super) fn new(value: u8) -> Self {
            Self(loom::sync::atomic::AtomicU8::new(value))
        }

        pub(super) fn load(&self, order: Ordering) -> u8 {
            if is_broken(Fault::UnseenSleep) { u8::MAX } else { self.0.load(order) }
        }

        pub(super) fn swap(&self, value: u8, order: Ordering) -> u8 {
            if is_broken(Fault::WakeInTwoSteps) {
                let before = self.0.load(Ordering::Acquire);
                self.0.store(value, Ordering::Release);
                return before;
            }
            self.0.swap(value, if is_broken(Fault::Unordered) { Ordering::Relaxed } else { order })
        }

        pub(super) fn compare_exchange(
            &self,
            from: u8,
            to: u8,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u8, u8> {
            if !is_broken(Fault::SleepInTwoSteps) {
                return self.0.compare_exchange(from, to, success, failure);
            }
            let before = self.0.load(Ordering::Acquire);
            if before != from {
                return Err(before);
            }
            self.0.store(to, Ordering::Release);
            Ok(before)
        }
    }
}

/// An event loop without its work.
#[derive(Default)]
struct Loop {
    sleep: Sleep<bool>,
    /// Stands for the poller of the operating system, which keeps a wake-up for the next sleep.
    poller: Notify,
}

impl Default for Sleep<bool> {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Loop {
    /// Runs until `is_done`, asleep meanwhile, or until the alarm goes off, which is at once if it
    /// is set.
    fn run(&self, is_done: impl Fn() -> bool) {
        loop {
            self.sleep.begin();
            if is_done() {
                return;
            }
            let early = is_broken(Fault::EarlyLook).then(|| self.sleep.waiting(|alarm| *alarm));
            match self.sleep.fall_asleep(|alarm| early.unwrap_or(*alarm)) {
                Some(true) => return,
                Some(false) => self.poller.wait(),
                None => {}
            }
            self.sleep.begin();
        }
    }

    fn rouse(&self) {
        if !is_broken(Fault::NoRouse) {
            self.poller.notify();
        }
    }
}

#[test]
fn news_are_not_slept_through() {
    let faults = [Fault::Unordered, Fault::SleepInTwoSteps, Fault::WakeInTwoSteps, Fault::NoRouse];
    check_with("news_are_not_slept_through", &faults, inject, || {
        let event_loop = Arc::new(Loop::default());
        let news = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let bringing = [0, 1].map(|which| {
            let (event_loop, news) = (Arc::clone(&event_loop), Arc::clone(&news));
            thread::spawn(move || {
                news[which].store(1, Ordering::Relaxed);
                if event_loop.sleep.wake() {
                    event_loop.rouse();
                }
            })
        });
        event_loop.run(|| news.iter().all(|news| news.load(Ordering::Relaxed) == 1));
        bringing.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

#[test]
fn an_alarm_that_is_set_is_not_slept_through() {
    let faults = [Fault::UnseenSleep, Fault::EarlyLook, Fault::NoRouse];
    check_with("an_alarm_that_is_set_is_not_slept_through", &faults, inject, || {
        let event_loop = Arc::new(Loop::default());
        let setting = {
            let event_loop = Arc::clone(&event_loop);
            thread::spawn(move || {
                let rouse = event_loop.sleep.change(|alarm| {
                    *alarm = true;
                    true
                });
                if rouse {
                    event_loop.rouse();
                }
            })
        };
        // Somebody else wakes it meanwhile.
        let waking = {
            let event_loop = Arc::clone(&event_loop);
            thread::spawn(move || {
                if event_loop.sleep.wake() {
                    event_loop.rouse();
                }
            })
        };
        event_loop.run(|| false);
        setting.join().expect("no panic");
        waking.join().expect("no panic");
    });
}
