//! Which context's thread waits for which other, so that none waits for itself.
//!
//! A callback runs on its context's thread and may call other contexts; their callbacks may call
//! further ones. A call that would close such a chain to a ring would never return.

use core::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

static WAITS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// The context whose thread this is.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// This thread is that of `context` from now on.
pub(crate) fn serve(context: usize) {
    OWN.set(Some(context));
}

/// Says that this thread waits for `context` until the guard is dropped. `None`: it must not, for
/// that context waits for this thread's.
pub(crate) fn wait_for(context: usize) -> Option<Guard> {
    let Some(own) = OWN.get() else { return Some(Guard(None)) };
    let mut waits = lock();
    let mut next = Some(context);
    while let Some(waited_for) = next {
        if waited_for == own {
            return None;
        }
        // Each waits for one at most and there is no ring yet, so this ends.
        next = waits.get(&waited_for).copied();
    }
    waits.insert(own, context);
    Some(Guard(Some(own)))
}

/// Ends the wait when dropped.
#[derive(Debug)]
pub(crate) struct Guard(Option<usize>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(own) = self.0 {
            lock().remove(&own);
        }
    }
}

/// Nothing panics while the lock is held, so that a poisoned lock guards a sound map.
fn lock() -> MutexGuard<'static, BTreeMap<usize, usize>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    // Addresses that no context has.
    const A: usize = 1;
    const B: usize = 2;
    const C: usize = 3;

    fn on_thread_of<T: Send + 'static>(
        context: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let thread = thread::spawn(move || {
            serve(context);
            work()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_ring_of_waits_is_refused_and_a_chain_is_not() {
        let a = on_thread_of(A, || wait_for(B)).unwrap();
        let b = on_thread_of(B, || wait_for(C)).unwrap();
        assert!(on_thread_of(C, || wait_for(C)).is_none());
        assert!(on_thread_of(C, || wait_for(B)).is_none());
        assert!(on_thread_of(C, || wait_for(A)).is_none());
        drop(a);
        assert!(on_thread_of(C, || wait_for(A)).is_some());
        drop(b);
        assert!(on_thread_of(C, || wait_for(B)).is_some());
    }

    #[test]
    fn a_thread_of_no_context_may_wait_for_any() {
        assert!(wait_for(A).is_some());
    }
}
