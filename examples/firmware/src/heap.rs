//! The heap, and how much of it was in use at most.

use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

use embedded_alloc::LlffHeap;

const SIZE: usize = 96 << 10;

#[global_allocator]
static HEAP: Watched = Watched { heap: LlffHeap::empty(), peak: AtomicUsize::new(0) };

struct Watched {
    heap: LlffHeap,
    peak: AtomicUsize,
}

/// Gives the heap its memory. To be called once, before anything is allocated.
pub(crate) fn init() {
    static mut MEMORY: MaybeUninit<[u8; SIZE]> = MaybeUninit::uninit();
    // SAFETY: nothing else names MEMORY, and this is the only call: from `board::init`, which a
    // second time would panic before it.
    unsafe { HEAP.heap.init(&raw mut MEMORY as usize, SIZE) }
}

/// Bytes in use now, and at most.
pub(crate) fn used_and_peak() -> (u32, u32) {
    (HEAP.heap.used() as u32, HEAP.peak.load(Ordering::Relaxed) as u32)
}

/// Begins anew to watch for the peak.
pub(crate) fn forget_peak() {
    HEAP.peak.store(HEAP.heap.used(), Ordering::Relaxed);
}

// SAFETY: all is done by `LlffHeap`, which keeps the contract.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is handed on.
        let place = unsafe { self.heap.alloc(layout) };
        self.peak.fetch_max(self.heap.used(), Ordering::Relaxed);
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { self.heap.dealloc(place, layout) }
    }
}
