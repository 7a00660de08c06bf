//! The thread that an event loop runs on.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

/// Waits for the thread when dropped.
#[derive(Debug)]
pub(crate) struct LoopThread {
    id: ThreadId,
    /// Until somebody waits for it.
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl LoopThread {
    pub(super) fn new(thread: JoinHandle<()>) -> Self {
        Self { id: thread.thread().id(), handle: Mutex::new(Some(thread)) }
    }

    /// Returns when the thread has ended; whoever comes while another waits, waits as well.
    ///
    /// A panic on the thread has been reported there, and all that is left of it is that it has
    /// ended.
    pub(crate) fn join(&self) {
        // On the very thread, by a waker for example, it would wait for itself.
        if thread::current().id() == self.id {
            return;
        }
        // Nothing panics while the lock is held, so that a poisoned lock guards a sound handle.
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = handle.take() {
            drop(thread.join());
        }
    }
}

impl Drop for LoopThread {
    fn drop(&mut self) {
        self.join();
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::sync::{Arc, OnceLock, mpsc};

    use super::*;

    #[test]
    fn the_thread_itself_does_not_wait_for_who_waits_for_it() {
        let place = Arc::new(OnceLock::<LoopThread>::new());
        let its_place = Arc::clone(&place);
        let thread = thread::spawn(move || {
            let this = its_place.wait();
            // Another thread waits for this one.
            while this.handle.try_lock().is_ok() {
                thread::yield_now();
            }
            this.join();
        });
        place.set(LoopThread::new(thread)).unwrap();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            place.wait().join();
            sender.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
