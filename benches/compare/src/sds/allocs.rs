//! Counts the allocations of this thread, and their bytes.
//!
//! Counting costs about a nanosecond an allocation, in every row alike.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use super::ours::Meter;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Adds up allocations and reallocations.
#[derive(Default)]
pub(crate) struct Allocations(u64);

impl Allocations {
    /// Of each of so many messages.
    pub(crate) fn per(&self, messages: usize) -> f64 {
        self.0 as f64 / messages as f64
    }
}

impl Meter for Allocations {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = ALLOCATIONS.get();
        let result = work();
        self.0 += ALLOCATIONS.get() - before;
        result
    }
}

/// Bytes that this thread has allocated and nobody on it has freed.
pub(crate) fn live_bytes() -> i64 {
    LIVE_BYTES.get()
}

struct Counting;

/// Layouts never have more than `isize::MAX` bytes.
fn count(allocations: u64, allocated: usize, freed: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    LIVE_BYTES.set(LIVE_BYTES.get() + allocated as i64 - freed as i64);
}

// SAFETY: everything is done by the system's allocator; counting allocates nothing, because the
// counters are constants that need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use core::hint::black_box;

    use super::*;

    #[test]
    fn allocations_and_what_is_left_of_them_are_counted() {
        let before = live_bytes();
        let mut allocations = Allocations::default();
        let kept = allocations.measure(|| {
            drop(black_box(Box::new([0_u8; 10])));
            black_box(vec![0_u8; 100])
        });
        assert_eq!(allocations.per(1), 2.0);
        assert_eq!(live_bytes() - before, 100);
        drop(kept);
        assert_eq!(live_bytes(), before);
    }
}
