//! rtrb: a ring with cached indices; batches through its chunks.

use core::ops::Range;

use ::rtrb::{Consumer, Producer, RingBuffer};

use super::{Named, add_up, fill, opaque};
use crate::spsc::channel::{
    BATCH, BatchChannel, Channel, Message, RecvBatch, SendBatch, TryRecv, TrySend,
};

pub(crate) struct Rtrb;

impl Named for Rtrb {
    const NAME: &'static str = "rtrb";
}

impl<T: Message> Channel<T> for Rtrb {
    type Sender = Producer<T>;
    type Receiver = Consumer<T>;

    fn open<const CAPACITY: usize>() -> (Producer<T>, Consumer<T>) {
        opaque(RingBuffer::new(CAPACITY))
    }
}

impl<T: Message> TrySend<T> for Producer<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        self.push(message).is_ok()
    }
}

impl<T: Message> TryRecv<T> for Consumer<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        self.pop().ok()
    }
}

impl BatchChannel for Rtrb {
    type Sender = Producer<u64>;
    type Receiver = Consumer<u64>;

    fn open<const CAPACITY: usize>() -> (Producer<u64>, Consumer<u64>) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl SendBatch for Producer<u64> {
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        let count = numbers.end - numbers.start;
        let Ok(mut chunk) = self.write_chunk_uninit(count as usize) else { return 0 };
        let (first, second) = chunk.as_mut_slices();
        let middle = numbers.start + first.len() as u64;
        fill(first, numbers.start..middle);
        fill(second, middle..numbers.end);
        // SAFETY: the two slices are the whole chunk, and `fill` wrote every slot of them.
        unsafe { chunk.commit_all() };
        count
    }
}

impl RecvBatch for Consumer<u64> {
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        let Ok(chunk) = self.read_chunk(BATCH as usize) else { return 0 };
        let (first, second) = chunk.as_slices();
        *sum = sum.wrapping_add(add_up(first)).wrapping_add(add_up(second));
        chunk.commit_all();
        BATCH
    }
}
