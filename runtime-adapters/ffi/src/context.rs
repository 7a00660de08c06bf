//! One context: the thread that works for it, and the way there.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::{io, process};

use sds_proto::wire::Limits;
use sds_runtime::event_loop::EventLoop;
use sds_spsc::Sender;

use crate::abi::{Callback, Callbacks};
use crate::request::Request;
use crate::server::{Job, Server};
use crate::settings::Settings;
use crate::worker::{self, Worker};
use crate::{signal, waits};

/// Jobs that may wait for the thread. Each caller has one at a time.
const JOBS: usize = 64;

/// The target of the interface's pointers.
#[derive(Debug)]
pub(crate) struct Context {
    address: usize,
    /// The process whose thread works for it; the child of a fork has none.
    process: u32,
    pub(crate) callbacks: Arc<Callbacks>,
    /// Locked to put a job into the queue, never while it is done. `None` once it is stopped.
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    spin: Duration,
    /// The limits of a message that is unwrapped.
    pub(crate) limits: Limits,
}

/// Why a call was not carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// The context has been cleaned up meanwhile.
    Stopped,
    /// The context waits for this very thread.
    WaitsForCaller(Callback),
}

impl Context {
    /// A context whose thread has started.
    pub(crate) fn start(address: usize, settings: Settings) -> io::Result<Self> {
        let spin = settings.spin;
        let callbacks = Arc::<Callbacks>::default();
        let event_loop = EventLoop::new()?.spin(spin);
        let limits = worker::limits(&settings.config);
        let worker = Worker::new(settings);
        let server = Server::new(address, worker, Arc::clone(&callbacks));
        let (sender, receiver) = sds_spsc::channel(JOBS);
        let thread =
            Builder::new().name("libsds".into()).spawn(move || server.run(event_loop, receiver))?;
        Ok(Self {
            address,
            process: process::id(),
            callbacks,
            jobs: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            spin,
            limits,
        })
    }

    /// Whether this process has made it.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process == process::id()
    }

    /// Has a request carried out; the callback has been called when it returns.
    pub(crate) fn call(&self, request: Request, callback: Callback) -> Result<(), Refusal> {
        let Some(_waiting) = waits::wait_for(self.address) else {
            return Err(Refusal::WaitsForCaller(callback));
        };
        let (done, answered) = signal::pair();
        let job = Job { request, callback, done };
        let sent = match &mut *lock(&self.jobs) {
            Some(jobs) => jobs.send_blocking(job).is_ok(),
            None => false,
        };
        if sent && answered.wait(self.spin) { Ok(()) } else { Err(Refusal::Stopped) }
    }

    /// Ends the thread, after what was asked before.
    ///
    /// Not from a callback that the thread waits for: see [`waits`].
    pub(crate) fn stop(&self) {
        drop(lock(&self.jobs).take());
        if let Some(thread) = lock(&self.thread).take() {
            // It catches panics, and one more would have been reported there.
            drop(thread.join());
        }
    }
}

/// Nothing panics while one of the locks is held, so that a poisoned one guards a sound state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use core::ffi::{c_char, c_int, c_void};
    use core::ptr;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::abi::{RET_ERR, RET_OK};

    static OK: AtomicUsize = AtomicUsize::new(0);
    static FAILED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(ret: c_int, _: *const c_char, _: usize, _: *mut c_void) {
        let counter = match ret {
            RET_OK => &OK,
            RET_ERR => &FAILED,
            other => panic!("{other}"),
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn a_panic_is_an_error_and_breaks_its_context_only() {
        let start = |address| Context::start(address, Settings::of_nim_sds().unwrap()).unwrap();
        let (broken, sound) = (start(1_001), start(1_002));
        let callback = Callback::new(Some(count), ptr::null_mut()).unwrap();
        let called = |context: &Context, request| {
            context.call(request, callback).unwrap();
            (OK.swap(0, Ordering::SeqCst), FAILED.swap(0, Ordering::SeqCst))
        };
        assert_eq!(called(&broken, Request::Reset), (1, 0));
        assert_eq!(called(&broken, Request::Panic), (0, 1));
        assert_eq!(called(&broken, Request::Reset), (0, 1));
        assert_eq!(called(&sound, Request::Reset), (1, 0));
        for context in [broken, sound] {
            context.stop();
            assert!(matches!(context.call(Request::Reset, callback), Err(Refusal::Stopped)));
        }
    }
}
