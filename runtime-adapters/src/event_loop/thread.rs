//! The thread that an event loop runs on.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Waits for the thread when dropped.
#[derive(Debug)]
pub(crate) struct LoopThread(Mutex<Option<JoinHandle<()>>>);

impl LoopThread {
    pub(super) const fn new(thread: JoinHandle<()>) -> Self {
        Self(Mutex::new(Some(thread)))
    }

    /// Returns when the thread has ended; whoever comes while another waits, waits as well.
    ///
    /// A panic on the thread has been reported there, and all that is left of it is that it has
    /// ended.
    pub(crate) fn join(&self) {
        // Nothing panics while the lock is held, so that a poisoned lock guards a sound handle.
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A handle may be dropped on the very thread, by a waker for example.
        if let Some(thread) = slot.take_if(|thread| thread.thread().id() != thread::current().id())
        {
            drop(thread.join());
        }
    }
}

impl Drop for LoopThread {
    fn drop(&mut self) {
        self.join();
    }
}
