//! The one place that knows whether the loom model checker is watching, and where its models break
//! the crate on purpose.

#[cfg(sds_loom)]
pub(crate) use loom::{
    alloc::{alloc, dealloc},
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(not(sds_loom))]
pub(crate) use {
    alloc::alloc::{alloc, dealloc},
    core::hint::spin_loop,
    core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

#[cfg(all(feature = "std", sds_loom))]
pub(crate) use loom::{
    sync::{Mutex, MutexGuard},
    thread,
};
#[cfg(all(feature = "std", not(sds_loom)))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard},
    thread,
};

#[cfg(sds_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// `core::cell::UnsafeCell` with the closures of loom's, which sees each access through them.
#[cfg(not(sds_loom))]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(sds_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// One step that the crate's correctness rests on. A model under loom leaves it out and must then
/// fail, which shows that the model would see the step missing. In any other build no step is ever
/// missing, and the compiler sees that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(sds_loom), allow(dead_code, reason = "only models construct most of them"))]
#[allow(unreachable_pub, reason = "public to the models only")]
#[allow(missing_docs, clippy::exhaustive_enums, reason = "each is named by what is left out")]
pub enum Fault {
    /// The producer's counter or sequence is stored relaxed.
    UnorderedPublish,
    /// The consumer's counter is stored relaxed.
    UnorderedRelease,
    /// The last end frees the channel without having acquired what the other did.
    UnorderedFree,
    /// A publisher looks for a waiting peer without a fence.
    NoPublisherFence,
    /// A waiting end tries again without a fence.
    NoWaiterFence,
    /// A flush does nothing.
    NoFlush,
    /// A flush wakes without a fence.
    NoFlushFence,
    /// Closing wakes nobody.
    SilentClose,
    /// Closing wakes, and the closer then looks, without a fence.
    NoCloseFence,
    /// A receiver that finds nothing, and then sees the channel closed, does not look again.
    LateLookAtClose,
    /// A future that is dropped takes back its waker without the cell's lock.
    UnlockedWithdraw,
    /// A new lane is not announced.
    SilentLane,
}

#[cfg(not(sds_loom))]
#[inline(always)]
pub(crate) const fn broken(_: Fault) -> bool {
    false
}

#[cfg(sds_loom)]
std::thread_local! {
    static FAULT: core::cell::Cell<Option<Fault>> = const { core::cell::Cell::new(None) };
}

/// Leaves `fault` out, or nothing, in the models that this thread runs from now on.
#[cfg(sds_loom)]
pub fn inject(fault: Option<Fault>) {
    FAULT.set(fault);
}

#[cfg(sds_loom)]
pub(crate) fn broken(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// `Release`, but for the model that shows why.
#[inline(always)]
pub(crate) fn release_unless(fault: Fault) -> Ordering {
    if broken(fault) { Ordering::Relaxed } else { Ordering::Release }
}

/// The fence that orders a store before the load that follows it, but for the model that shows why.
#[inline(always)]
pub(crate) fn full_fence_unless(fault: Fault) {
    if !broken(fault) {
        fence(Ordering::SeqCst);
    }
}
