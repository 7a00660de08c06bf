//! ringbuf: the shared ring on the heap, whose ends cache the indices; batches through its slices.

use core::ops::Range;

use ::ringbuf::traits::{Consumer as _, Producer as _, Raw as _, Split as _};
use ::ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Named, add_up, fill, opaque};
use crate::spsc::channel::{
    BATCH, BatchChannel, Channel, Message, RecvBatch, SendBatch, TryRecv, TrySend,
};

pub(crate) struct Ringbuf;

impl Named for Ringbuf {
    const NAME: &'static str = "ringbuf";
}

impl<T: Message> Channel<T> for Ringbuf {
    type Sender = HeapProd<T>;
    type Receiver = HeapCons<T>;

    fn open<const CAPACITY: usize>() -> (HeapProd<T>, HeapCons<T>) {
        opaque(HeapRb::new(CAPACITY).split())
    }
}

impl<T: Message> TrySend<T> for HeapProd<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        self.try_push(message).is_ok()
    }
}

impl<T: Message> TryRecv<T> for HeapCons<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        self.try_pop()
    }
}

impl BatchChannel for Ringbuf {
    type Sender = HeapProd<u64>;
    type Receiver = HeapCons<u64>;

    fn open<const CAPACITY: usize>() -> (HeapProd<u64>, HeapCons<u64>) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl SendBatch for HeapProd<u64> {
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        let (slots, _) = self.vacant_slices_mut();
        let count = slots.len().min((numbers.end - numbers.start) as usize);
        fill(&mut slots[..count], numbers);
        // SAFETY: `fill` wrote the first `count` vacant slots.
        unsafe { self.advance_write_index(count) };
        count as u64
    }
}

impl RecvBatch for HeapCons<u64> {
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        let (numbers, _) = self.as_slices();
        let count = numbers.len().min(BATCH as usize);
        *sum = sum.wrapping_add(add_up(&numbers[..count]));
        // SAFETY: the first `count` slots are occupied, and numbers need no drop.
        unsafe { self.advance_read_index(count) };
        count as u64
    }
}
