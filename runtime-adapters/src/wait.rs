//! For threads that run no executor.

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};

/// `.wait()` where an async function would say `.await`.
///
/// ```
/// use sds_runtime::Wait;
///
/// assert_eq!(async { 42 }.wait(), 42);
/// ```
pub trait Wait: Future {
    /// Runs the future on this thread, which sleeps while there is nothing to do.
    ///
    /// Not for threads of an executor, whose other tasks would wait as well, and not for the
    /// thread of an event loop, which would wait for itself.
    fn wait(self) -> Self::Output;
}

impl<F: Future> Wait for F {
    fn wait(self) -> F::Output {
        thread_local! {
            static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
        }
        let mut future = pin!(self);
        WAKER.with(|waker| {
            let mut cx = Context::from_waker(waker);
            loop {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
                // A wake-up since the poll began, or one meant for somebody else, ends it at once.
                thread::park();
            }
        })
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker, and whether `is_free` held when it was dropped: a waker may run any code then, too.
#[cfg(test)]
pub(crate) fn watched_waker(
    is_free: impl Fn() -> bool + Send + Sync + 'static,
) -> (Waker, std::sync::mpsc::Receiver<bool>) {
    use std::sync::mpsc;

    struct Watched<F: Fn() -> bool>(F, mpsc::Sender<bool>);

    impl<F: Fn() -> bool + Send + Sync + 'static> Wake for Watched<F> {
        fn wake(self: Arc<Self>) {}
    }

    impl<F: Fn() -> bool> Drop for Watched<F> {
        fn drop(&mut self) {
            self.1.send((self.0)()).unwrap();
        }
    }

    let (sender, was_free) = mpsc::channel();
    (Arc::new(Watched(is_free, sender)).into(), was_free)
}
