//! The measured memory of a channel, and that using it allocates nothing.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
};
use std::alloc::System;

use sds_spsc::{Wakes, channel, stream};

std::thread_local! {
    /// Bytes and calls of this thread: the test harness allocates on its own.
    static ALLOCATED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

// SAFETY: it only adds to counters what it hands through to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, calls) = ALLOCATED.get();
        ALLOCATED.set((bytes + layout.size(), calls + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes and calls that `make` allocates.
fn cost<R>(make: impl FnOnce() -> R) -> (usize, usize, R) {
    let before = ALLOCATED.get();
    let made = make();
    let after = ALLOCATED.get();
    (after.0 - before.0, after.1 - before.1, made)
}

#[test]
fn memory_is_what_the_documentation_says() {
    let (header, calls, _) = cost(|| channel::<()>(64));
    assert!(header <= 384 && calls == 1, "core A: a header of {header} bytes");
    let (bytes, calls, (mut sender, mut receiver)) = cost(|| channel::<u64>(64));
    assert_eq!((bytes, calls), (header + 64 * 8, 1));
    assert!(bytes < 1024);
    let (bytes, calls, _) = cost(|| stream::<u64>(64));
    assert!(bytes <= 384 + 64 * 16 && calls == 1, "core B: {bytes} bytes");
    let (bytes, _, _) = cost(|| channel::<u64>(33));
    assert_eq!(bytes, header + 64 * 8, "storage is a power of two");

    let (bytes, ..) = cost(|| {
        for i in 0..1000 {
            sender.try_send(i).expect("room");
            assert_eq!(receiver.try_recv(), Ok(i));
        }
    });
    assert_eq!(bytes, 0);

    let wakes = Wakes::new();
    let (mut sender, mut receiver) = (sender.deferred(&wakes), receiver.deferred(&wakes));
    let mut turn = || {
        sender.try_send(1).expect("room");
        assert_eq!(receiver.try_recv(), Ok(1));
        wakes.flush();
    };
    (0..3).for_each(|_| turn());
    let (bytes, ..) = cost(|| (0..1000).for_each(|_| turn()));
    assert_eq!(bytes, 0);
}
