//! The reactor of an event loop: the operating system's poller, and the alarms that are set.

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::Wake;
use std::time::Instant;

use mio::event::{Event, Source};
use mio::{Events, Interest, Poll as Poller, Registry, Token};

use super::sleep::Sleep;
use crate::spin::Spin;

/// Readiness of sockets taken note of at a time.
const EVENTS: usize = 64;
/// Stands for the reactor's own wake-ups; sockets count from 0.
const WOKEN: Token = Token(usize::MAX);

/// Sleeps. There is one to each [`Reactor`].
#[derive(Debug)]
pub(super) struct Sleeper {
    poller: Poller,
    events: Events,
    reactor: Arc<Reactor>,
    spin: Spin,
}

impl Sleeper {
    pub(super) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let reactor = Reactor {
            registry: poller.registry().try_clone()?,
            rouser: mio::Waker::new(poller.registry(), WOKEN)?,
            sleep: Sleep::new(Waiting::default()),
        };
        let (events, reactor) = (Events::with_capacity(EVENTS), Arc::new(reactor));
        Ok(Self { poller, events, reactor, spin: Spin::default() })
    }

    pub(super) const fn set_spin(&mut self, spin: Duration) {
        self.spin = Spin::new(spin);
    }

    pub(super) const fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Runs `future` to its end on this thread, asleep whenever there is nothing to do.
    pub(super) fn run<F: Future + Unpin>(mut self, mut future: F) -> F::Output {
        let waker = Waker::from(Arc::clone(&self.reactor));
        let mut cx = Context::from_waker(&waker);
        loop {
            // Whatever woke it, it looks at now.
            self.reactor.sleep.begin();
            if let Poll::Ready(output) = core::pin::Pin::new(&mut future).poll(&mut cx) {
                return output;
            }
            self.sleep();
        }
    }

    /// Returns after a wake-up, when a socket became ready, or when an alarm is due; at once if
    /// there was a wake-up since the future began to run.
    fn sleep(&mut self) {
        let sleep = &self.reactor.sleep;
        self.spin.until(|| sleep.is_woken());
        let timeout = match sleep.fall_asleep(|waiting| waiting.first_alarm()) {
            Some(first) => first.map(|(at, _)| at.saturating_duration_since(Instant::now())),
            None => Some(Duration::ZERO),
        };
        match self.poller.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            // It fails for descriptors that are none, and ours stay open as long as we are here.
            Err(error) => panic!("the poller of an event loop is broken: {error}"),
        }
        // First, so that wake-ups from here cost no system call.
        self.reactor.sleep.begin();
        self.reactor.wake_for(&self.events);
    }
}

/// The wakers of an event loop's sockets and timers.
#[derive(Debug)]
pub(super) struct Reactor {
    registry: Registry,
    rouser: mio::Waker,
    sleep: Sleep<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    sockets: BTreeMap<usize, Readiness>,
    alarms: BTreeMap<Alarm, Waker>,
    next_id: usize,
}

/// When, and whose: the id of a timer.
pub(super) type Alarm = (Instant, usize);

/// Readiness of a socket. Readiness without a waiter is kept until the next poll.
#[derive(Debug, Default)]
struct Readiness {
    readable: Direction,
    writable: Direction,
}

#[derive(Debug, Default)]
struct Direction {
    ready: bool,
    waiting: Option<Waker>,
}

/// The direction in which a socket is to be ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    Receiving,
    Sending,
}

impl Reactor {
    /// An id for a timer.
    pub(super) fn next_id(&self) -> usize {
        self.sleep.waiting(Waiting::next_id)
    }

    /// Watches a socket; its readiness is asked for by the id.
    pub(super) fn register(&self, socket: &mut impl Source) -> io::Result<usize> {
        let id = self.sleep.waiting(|waiting| {
            let id = waiting.next_id();
            waiting.sockets.insert(id, Readiness::default());
            id
        });
        let registered =
            self.registry.register(socket, Token(id), Interest::READABLE | Interest::WRITABLE);
        if registered.is_err() {
            self.sleep.waiting(|waiting| waiting.sockets.remove(&id));
        }
        registered.map(|()| id)
    }

    pub(super) fn deregister(&self, id: usize, socket: &mut impl Source) {
        // A socket that cannot be deregistered is closed now, which has the same effect.
        drop(self.registry.deregister(socket));
        let socket = self.sleep.waiting(|waiting| waiting.sockets.remove(&id));
        drop(socket);
    }

    /// Ready if there was news of the socket since it was last asked; else `cx` is woken when
    /// there is. Ask only after an attempt that would have blocked: news come once.
    pub(super) fn poll_ready(&self, id: usize, what: For, cx: &Context<'_>) -> Poll<()> {
        let mut waker = Some(cx.waker().clone());
        self.sleep.waiting(|waiting| {
            let Some(socket) = waiting.sockets.get_mut(&id) else {
                return Poll::Ready(());
            };
            let direction = match what {
                For::Receiving => &mut socket.readable,
                For::Sending => &mut socket.writable,
            };
            if core::mem::take(&mut direction.ready) {
                return Poll::Ready(());
            }
            core::mem::swap(&mut direction.waiting, &mut waker);
            Poll::Pending
        })
    }

    /// Wakes `waker` once the alarm is due.
    pub(super) fn set_alarm(&self, alarm: Alarm, waker: &Waker) {
        let waker = waker.clone();
        let mut before = None;
        let rouse = self.sleep.change(|waiting| {
            before = waiting.alarms.insert(alarm, waker);
            waiting.first_alarm() == Some(alarm)
        });
        if rouse {
            self.rouse();
        }
    }

    pub(super) fn clear_alarm(&self, alarm: Alarm) {
        let waker = self.sleep.waiting(|waiting| waiting.alarms.remove(&alarm));
        drop(waker);
    }

    /// Ends the sleep.
    fn rouse(&self) {
        // It fails if the poller is full of wake-ups, which does as well.
        drop(self.rouser.wake());
    }

    /// Wakes those for whom there is news.
    fn wake_for(&self, events: &Events) {
        let mut wakers = Vec::new();
        self.sleep.waiting(|waiting| {
            for event in events {
                waiting.take_note(event, &mut wakers);
            }
            waiting.take_due(Instant::now(), &mut wakers);
        });
        wake_all(wakers);
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.sleep.wake() {
            self.rouse();
        }
    }
}

impl Waiting {
    const fn next_id(&mut self) -> usize {
        self.next_id += 1;
        self.next_id
    }

    fn first_alarm(&self) -> Option<Alarm> {
        self.alarms.first_key_value().map(|(first, _)| *first)
    }

    fn take_due(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while let Some(alarm) = self.alarms.first_entry().filter(|alarm| alarm.key().0 <= now) {
            wakers.push(alarm.remove());
        }
    }

    fn take_note(&mut self, event: &Event, wakers: &mut Vec<Waker>) {
        let Some(socket) = self.sockets.get_mut(&event.token().0) else {
            return;
        };
        // An error is news for both: the next attempt says what it is.
        for (news, direction) in [
            (event.is_readable() || event.is_error(), &mut socket.readable),
            (event.is_writable() || event.is_error(), &mut socket.writable),
        ] {
            if news {
                direction.ready = true;
                wakers.extend(direction.waiting.take());
            }
        }
    }
}

/// Wakes all of them, also those after one that panics.
fn wake_all(wakers: Vec<Waker>) {
    struct Rest(std::vec::IntoIter<Waker>);

    impl Drop for Rest {
        fn drop(&mut self) {
            self.0.by_ref().for_each(Waker::wake);
        }
    }

    let mut rest = Rest(wakers.into_iter());
    for waker in rest.0.by_ref() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use core::panic::AssertUnwindSafe;
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::panic::catch_unwind;
    use std::thread;

    use super::super::timer::Timer;
    use super::*;
    use crate::Timer as _;
    use crate::wait::watched_waker;

    /// Far longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(3_600);

    #[test]
    fn wake_ups_while_running_end_in_one_more_run() {
        let sleeper = Sleeper::new().unwrap();
        let mut runs = 0;
        sleeper.run(core::future::poll_fn(|cx| {
            runs += 1;
            if runs == 1 {
                cx.waker().wake_by_ref();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        assert_eq!(runs, 2);
    }

    #[test]
    fn a_wake_up_ends_a_spin_and_none_is_lost_in_it() {
        let mut sleeper = Sleeper::new().unwrap();
        sleeper.set_spin(PATIENCE);
        let waker = Waker::from(Arc::clone(sleeper.reactor()));
        let waiting = Arc::new(AtomicBool::new(false));
        let rouser = {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || {
                for _ in 0..3 {
                    while !waiting.swap(false, Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    waker.wake_by_ref();
                }
            })
        };
        let mut runs = 0;
        sleeper.run(core::future::poll_fn(|_| {
            runs += 1;
            waiting.store(runs <= 3, Ordering::SeqCst);
            if runs <= 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        rouser.join().unwrap();
    }

    #[test]
    fn an_alarm_ends_in_one_run() {
        let sleeper = Sleeper::new().unwrap();
        let mut timer = Timer::new(sleeper.reactor());
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        timer.set(soon());
        let (mut runs, mut alarms) = (0, 0);
        sleeper.run(core::future::poll_fn(|cx| {
            runs += 1;
            while timer.poll(cx).is_ready() {
                alarms += 1;
                timer.set(soon());
            }
            if alarms < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        assert!(runs <= 1 + alarms, "{runs} runs for {alarms} alarms");
    }

    #[test]
    fn no_wake_up_of_another_thread_is_lost() {
        let sleeper = Sleeper::new().unwrap();
        let waker = Waker::from(Arc::clone(sleeper.reactor()));
        let token = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    // The next only once the last was noticed: none can stand in for another.
                    while token.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                    token.store(true, Ordering::Relaxed);
                    waker.wake_by_ref();
                }
            });
            let mut noticed = 0;
            sleeper.run(core::future::poll_fn(|_| {
                noticed += usize::from(token.swap(false, Ordering::Relaxed));
                if noticed == 10_000 { Poll::Ready(()) } else { Poll::Pending }
            }));
        });
    }

    #[test]
    fn an_alarm_set_on_another_thread_shortens_the_sleep() {
        let sleeper = Sleeper::new().unwrap();
        let reactor = Arc::clone(sleeper.reactor());
        let mut late = Timer::new(&reactor);
        late.set(Some(Instant::now() + PATIENCE));
        let done = Arc::new(AtomicBool::new(false));
        let setter = {
            let done = Arc::clone(&done);
            thread::spawn(move || {
                while !reactor.sleep.is_asleep() {
                    thread::yield_now();
                }
                let mut timer = Timer::new(&reactor);
                timer.set(Some(Instant::now() + Duration::from_millis(1)));
                crate::Wait::wait(core::future::poll_fn(|cx| timer.poll(cx)));
                done.store(true, Ordering::SeqCst);
                Waker::from(reactor).wake();
            })
        };
        sleeper.run(core::future::poll_fn(|cx| {
            assert!(late.poll(cx).is_pending());
            if done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        }));
        setter.join().unwrap();
    }

    #[test]
    fn a_timer_goes_off_once_and_not_early_and_leaves_nothing_behind() {
        let sleeper = Sleeper::new().unwrap();
        let reactor = Arc::clone(sleeper.reactor());
        let mut timer = Timer::new(&reactor);
        let at = Instant::now() + Duration::from_millis(5);
        timer.set(Some(at));
        sleeper.run(core::future::poll_fn(|cx| timer.poll(cx)));
        assert!(Instant::now() >= at);
        assert!(timer.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        timer.set(Some(Instant::now() + PATIENCE));
        assert!(timer.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let alarms = || reactor.sleep.waiting(|waiting| waiting.alarms.len());
        assert_eq!(alarms(), 1);
        drop(timer);
        assert_eq!(alarms(), 0);
    }

    #[test]
    fn a_waker_that_panics_leaves_nobody_asleep() {
        struct Panic;
        impl Wake for Panic {
            fn wake(self: Arc<Self>) {
                panic!("a waker that panics");
            }
        }
        let sleeper = Sleeper::new().unwrap();
        let other = Sleeper::new().unwrap();
        let reactor = sleeper.reactor();
        let due = Instant::now();
        reactor.set_alarm((due, 1), &Arc::new(Panic).into());
        reactor.set_alarm((due, 2), &Arc::clone(other.reactor()).into());
        let wake = AssertUnwindSafe(|| reactor.wake_for(&Events::with_capacity(1)));
        assert!(catch_unwind(wake).is_err());
        assert!(other.reactor().sleep.is_woken());
    }

    #[test]
    fn wakers_are_dropped_without_the_lock() {
        let sleeper = Sleeper::new().unwrap();
        let reactor = sleeper.reactor();
        let is_free = {
            let reactor = Arc::clone(reactor);
            move || reactor.sleep.waiting.try_lock().is_ok()
        };
        let id = reactor.sleep.waiting(|waiting| {
            let id = waiting.next_id();
            waiting.sockets.insert(id, Readiness::default());
            id
        });
        let (waker, was_free) = watched_waker(is_free.clone());
        assert!(reactor.poll_ready(id, For::Sending, &Context::from_waker(&waker)).is_pending());
        drop(waker);
        let cx = Context::from_waker(Waker::noop());
        assert!(reactor.poll_ready(id, For::Sending, &cx).is_pending());
        assert_eq!(was_free.try_recv(), Ok(true));

        let (waker, was_free) = watched_waker(is_free);
        let alarm = (Instant::now() + PATIENCE, id);
        reactor.set_alarm(alarm, &waker);
        drop(waker);
        reactor.set_alarm(alarm, Waker::noop());
        assert_eq!(was_free.try_recv(), Ok(true));
    }
}
