//! The memory that the two ends share: one allocation with a header of three padded lines, then the
//! slots.

use alloc::sync::Arc;
use core::{
    alloc::Layout,
    marker::PhantomData,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Deref,
    ptr::NonNull,
    task::Waker,
};

use crate::{
    park::{WaitCell, wake_all},
    sync::{
        AtomicBool, AtomicUsize, Fault, Ordering, alloc, broken, dealloc, fence, full_fence_unless,
    },
};

/// A line of its own: 128 bytes, for adjacent lines are fetched in pairs.
#[repr(align(128))]
pub(crate) struct Padded<T>(T);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The shared state that does not depend on the type of the messages.
#[repr(C)]
pub(crate) struct Header {
    /// Position of the next message to be written. Stored by the sender only, in core A.
    pub(crate) tail: Padded<AtomicUsize>,
    /// Position of the next message to be read, as far as the receiver has made it known. Stored
    /// by the receiver only.
    pub(crate) head: Padded<AtomicUsize>,
    rare: Padded<Rare>,
}

/// Read often, written when something rare happens.
struct Rare {
    capacity: usize,
    /// Ends that are not dropped yet.
    ends: AtomicUsize,
    closed: AtomicBool,
    /// The head at which a waiting sender wants to be woken.
    wake_sender_at: AtomicUsize,
    sender: WaitCell,
    receiver: WaitCell,
    /// The cell on which a receiver of many channels waits instead.
    receiver_elsewhere: Option<Arc<WaitCell>>,
}

impl Header {
    fn new(capacity: usize, first: usize, receiver_elsewhere: Option<Arc<WaitCell>>) -> Self {
        Self {
            tail: Padded(AtomicUsize::new(first)),
            head: Padded(AtomicUsize::new(first)),
            rare: Padded(Rare {
                capacity,
                ends: AtomicUsize::new(2),
                closed: AtomicBool::new(false),
                wake_sender_at: AtomicUsize::new(first),
                sender: WaitCell::new(),
                receiver: WaitCell::new(),
                receiver_elsewhere,
            }),
        }
    }

    #[inline(always)]
    pub(crate) fn capacity(&self) -> usize {
        self.rare.capacity
    }

    /// Returns the number of positions that the receiver may withhold. They cost the sender
    /// nothing, because it looks at the head only when it runs out of room.
    pub(crate) fn batch(&self) -> usize {
        (self.capacity() / 4).clamp(1, 32)
    }

    /// Messages between two counters, at most the capacity: the counters are read one by one.
    pub(crate) fn distance(&self, head: usize, tail: usize) -> usize {
        let len = tail.wrapping_sub(head);
        if len > isize::MAX as usize { 0 } else { len.min(self.capacity()) }
    }

    /// Publishes `head` unless the receiver, on whose thread this is, has published one after it:
    /// a head that goes back would let the sender write to slots that are in use. Returns the last.
    pub(crate) fn advance_head(&self, head: usize) -> usize {
        let published = self.head.load(Ordering::Relaxed);
        if head.wrapping_sub(published) > self.capacity() {
            return published;
        }
        self.head.store(head, Ordering::Release);
        head
    }

    /// Relaxed: a sender that sees it late has sent before the close.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.rare.closed.load(Ordering::Relaxed)
    }

    /// With acquire: who sees it sees every message that was sent before.
    pub(crate) fn is_closed_for_good(&self) -> bool {
        self.rare.closed.load(Ordering::Acquire)
    }

    /// Closes both directions and wakes whoever waits.
    pub(crate) fn close(&self) {
        wake_all(self.shut());
    }

    /// Closes both directions, and gives whoever waits to be woken.
    pub(crate) fn shut(&self) -> impl Iterator<Item = Waker> + use<> {
        self.rare.closed.store(true, Ordering::Release);
        let waiting = if broken(Fault::SilentClose) {
            [None, None]
        } else {
            full_fence_unless(Fault::NoCloseFence);
            [self.receiver().take(), self.rare.sender.take()]
        };
        waiting.into_iter().flatten()
    }

    #[inline(always)]
    fn receiver(&self) -> &WaitCell {
        match &self.rare.receiver_elsewhere {
            Some(elsewhere) => elsewhere,
            None => &self.rare.receiver,
        }
    }

    /// The waker of the receiver if it waits; after a fence that follows the store of what it
    /// waits for.
    #[inline(always)]
    pub(crate) fn waiting_receiver(&self) -> Option<Waker> {
        let receiver = self.receiver();
        if receiver.is_armed() { receiver.take() } else { None }
    }

    /// The waker of the sender if it waits and `head` frees half of the channel; after a fence that
    /// follows the store of `head`.
    #[inline(always)]
    pub(crate) fn waiting_sender(&self, head: usize) -> Option<Waker> {
        if !self.rare.sender.is_armed() {
            return None;
        }
        // The fence before this load pairs with the one after the sender's registration, whose
        // target is stored before it.
        let target = self.rare.wake_sender_at.load(Ordering::Relaxed);
        let is_due = head.wrapping_sub(target) <= isize::MAX as usize;
        if is_due { self.rare.sender.take() } else { None }
    }

    /// Wakes the sender if it waits, whatever is free.
    pub(crate) fn wake_sender_now(&self) {
        fence(Ordering::SeqCst);
        self.rare.sender.wake();
    }

    /// Lets the sender wait until half of the channel before `tail` is read. It must look again.
    pub(crate) fn register_sender(&self, waker: &Waker, tail: usize) {
        let target = tail.wrapping_sub(self.capacity() / 2);
        self.rare.wake_sender_at.store(target, Ordering::Relaxed);
        self.rare.sender.register(waker);
        full_fence_unless(Fault::NoWaiterFence);
    }

    /// Lets the receiver wait. It must look again.
    pub(crate) fn register_receiver(&self, waker: &Waker) {
        self.receiver().register(waker);
        full_fence_unless(Fault::NoWaiterFence);
    }

    pub(crate) fn withdraw_sender(&self) {
        self.rare.sender.withdraw();
    }

    pub(crate) fn withdraw_receiver(&self) {
        self.receiver().withdraw();
    }
}

/// A slot of either core.
pub(crate) trait Slot {
    type Item;

    /// A slot without a message, in a channel whose first position is `first`.
    fn vacant(first: usize) -> Self;

    /// Whether this, the slot of `position`, holds a message, when everything up to `position` was
    /// taken and nobody sends any more. `tail` is the shared one.
    fn is_full(&self, position: usize, tail: usize) -> bool;

    /// Takes the message out.
    ///
    /// # Safety
    /// There is one, and nobody else is at the slot.
    unsafe fn take(&self) -> Self::Item;
}

/// One end's share of the allocation. Closes the channel when dropped; the second to be dropped
/// drops the messages between head and tail and frees the memory.
pub(crate) struct Shared<S: Slot> {
    /// The slots follow at [`OFFSET`](Self::OFFSET): one pointer leads to all.
    header: NonNull<Header>,
    /// Of the power of two that holds the capacity.
    mask: usize,
    owned: PhantomData<S>,
}

// SAFETY: the header is `Sync`, the slots are handed over by its counters, and the last end may
// drop messages on its thread, which `Item: Send` allows.
unsafe impl<S: Slot<Item: Send>> Send for Shared<S> {}

impl<S: Slot> Shared<S> {
    /// Bytes from the header to the slots.
    const OFFSET: usize = size_of::<Header>().next_multiple_of(align_of::<S>());

    /// Two shares of a new channel.
    ///
    /// # Panics
    /// If `capacity` is 0, or more bytes are needed than the allocator gives.
    pub(crate) fn pair(capacity: usize, elsewhere: Option<Arc<WaitCell>>) -> (Self, Self) {
        assert!(capacity > 0, "a channel holds at least one message");
        let storage = capacity.checked_next_power_of_two().filter(|n| *n <= isize::MAX as usize);
        let storage = storage.expect("the capacity is within the address space");
        // One lap short of overflow, so that every program passes it at once and not one after
        // years.
        let first = 0_usize.wrapping_sub(storage);
        let layout = Self::layout(storage);
        // SAFETY: the layout has the size of a header at least.
        let memory = unsafe { alloc(layout) };
        let memory = NonNull::new(memory).expect("the capacity fits into memory");
        let header = memory.cast::<Header>();
        // SAFETY: the memory is ours alone, laid out for a header and `storage` slots.
        unsafe {
            header.write(Header::new(capacity, first, elsewhere));
            let slots = memory.add(Self::OFFSET).cast::<S>();
            for index in 0..storage {
                slots.add(index).write(S::vacant(first));
            }
        }
        let share = || Self { header, mask: storage - 1, owned: PhantomData };
        (share(), share())
    }

    fn layout(storage: usize) -> Layout {
        let slots = Layout::array::<S>(storage).ok();
        let (layout, offset) = slots
            .and_then(|slots| Layout::new::<Header>().extend(slots).ok())
            .expect("the capacity is within the address space");
        debug_assert_eq!(offset, Self::OFFSET, "two ways to say where the slots are");
        layout
    }

    /// Position of the first message of a channel that nothing was sent on yet.
    pub(crate) fn first(&self) -> usize {
        0_usize.wrapping_sub(self.mask + 1)
    }

    /// The same share once more, which gives up nothing when it goes. It must not outlive the
    /// share.
    #[inline(always)]
    pub(crate) fn alias(&self) -> ManuallyDrop<Self> {
        let Self { header, mask, .. } = *self;
        ManuallyDrop::new(Self { header, mask, owned: PhantomData })
    }

    #[inline(always)]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: freed by the last share only, and this one is alive.
        unsafe { self.header.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn slot(&self, position: usize) -> &S {
        // SAFETY: masked, it is within the storage; slots live as long as the shares, and a
        // shared reference to one gives access to nothing but cells and atomics.
        unsafe { self.slots().add(position & self.mask).as_ref() }
    }

    /// Asks for the line of a slot, where the processor can be asked.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: usize) {
        #[cfg(all(target_arch = "x86_64", not(sds_loom), not(miri)))]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: every x86-64 has the instruction, and it reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(self.slot(position)).cast()) }
        }
        let _ = position;
    }

    #[inline(always)]
    fn slots(&self) -> NonNull<S> {
        // SAFETY: within the allocation, as it was laid out.
        unsafe { self.header.cast::<u8>().add(Self::OFFSET) }.cast()
    }

    /// The slots from `position` on as they lie in memory: up to the end of the storage, then from
    /// its start, `count` in all.
    #[cfg(not(sds_loom))]
    pub(crate) fn runs(&self, position: usize, count: usize) -> [(NonNull<S>, usize); 2] {
        let start = position & self.mask;
        let first = count.min(self.mask + 1 - start);
        // SAFETY: `start` is within the storage.
        [(unsafe { self.slots().add(start) }, first), (self.slots(), count - first)]
    }
}

impl<S: Slot> Drop for Shared<S> {
    /// Inlined, so that no end's address is ever taken for it and the counters of an end can live
    /// in registers.
    #[inline(always)]
    fn drop(&mut self) {
        give_up(self.alias());
    }
}

/// Gives up the share that `shared` is an alias of.
#[cold]
#[inline(never)]
fn give_up<S: Slot>(shared: ManuallyDrop<Shared<S>>) {
    let share = Share(shared);
    share.0.header().close();
}

/// Goes when the channel was closed, even if a waker panicked in that.
struct Share<S: Slot>(ManuallyDrop<Shared<S>>);

impl<S: Slot> Drop for Share<S> {
    fn drop(&mut self) {
        let order = if broken(Fault::UnorderedFree) { Ordering::Relaxed } else { Ordering::AcqRel };
        if self.0.header().rare.ends.fetch_sub(1, order) == 2 {
            return; // `header` may dangle from here on
        }
        let last = Last(self.0.alias());
        let mut head = last.0.header().head.load(Ordering::Relaxed);
        let tail = last.0.header().tail.load(Ordering::Relaxed);
        while last.0.slot(head).is_full(head, tail) {
            // SAFETY: the other end is gone and we acquired what it did; both left true what tells
            // that this message was written and not taken.
            drop(unsafe { last.0.slot(head).take() });
            head = head.wrapping_add(1);
        }
    }
}

/// Frees the allocation, even if dropping a message panics.
struct Last<S: Slot>(ManuallyDrop<Shared<S>>);

impl<S: Slot> Drop for Last<S> {
    fn drop(&mut self) {
        let Shared { header, mask, .. } = *self.0;
        let layout = Shared::<S>::layout(mask + 1);
        // SAFETY: no share is left; this is the layout of the allocation, whose start is the
        // header; slots hold their messages as `MaybeUninit`, so none is dropped twice.
        unsafe {
            for index in 0..=mask {
                self.0.slots().add(index).drop_in_place();
            }
            header.drop_in_place();
            dealloc(header.cast().as_ptr(), layout);
        }
    }
}

/// Room for a message that the counters or the slot itself know to be there or not.
pub(crate) type Room<T> = crate::sync::UnsafeCell<MaybeUninit<T>>;
