//! gil: its single-producer single-consumer channel; batches through its buffer and read guard.

use core::num::NonZeroUsize;
use core::ops::Range;

use ::gil::spsc::{Receiver, Sender, channel};

use super::{Named, add_up, fill, opaque};
use crate::spsc::channel::{
    AsyncRecv, AsyncSend, BATCH, BatchChannel, Channel, Message, RecvBatch, SendBatch,
    SharedAsyncChannel, TryRecv, TrySend,
};

pub(crate) struct Gil;

impl Named for Gil {
    const NAME: &'static str = "gil";
}

const fn non_zero(capacity: usize) -> NonZeroUsize {
    NonZeroUsize::new(capacity).expect("channels have room for one message or more")
}

impl<T: Message> Channel<T> for Gil {
    type Sender = Sender<T>;
    type Receiver = Receiver<T>;

    fn open<const CAPACITY: usize>() -> (Sender<T>, Receiver<T>) {
        opaque(channel(const { non_zero(CAPACITY) }))
    }
}

impl<T: Message> TrySend<T> for Sender<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        self.try_send(message).is_ok()
    }
}

impl<T: Message> TryRecv<T> for Receiver<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        self.try_recv()
    }
}

impl BatchChannel for Gil {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn open<const CAPACITY: usize>() -> (Sender<u64>, Receiver<u64>) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl SendBatch for Sender<u64> {
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        let slots = self.write_buffer();
        let count = slots.len().min((numbers.end - numbers.start) as usize);
        if count > 0 {
            fill(&mut slots[..count], numbers);
            // SAFETY: the buffer has `count` slots or more, and `fill` wrote the first `count`.
            unsafe { self.commit(count) };
        }
        count as u64
    }
}

impl RecvBatch for Receiver<u64> {
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        let mut guard = self.read_guard();
        let count = guard.len().min(BATCH as usize);
        if count > 0 {
            *sum = sum.wrapping_add(add_up(&guard.as_slice()[..count]));
            guard.advance(count);
        }
        count as u64
    }
}

/// The same channel with its `async` feature.
pub(crate) struct GilAsync;

impl Named for GilAsync {
    const NAME: &'static str = "gil (async)";
}

impl SharedAsyncChannel for GilAsync {
    type Sender = gil_async::spsc::Sender<u64>;
    type Receiver = gil_async::spsc::Receiver<u64>;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver) {
        opaque(gil_async::spsc::channel(const { non_zero(CAPACITY) }))
    }
}

impl AsyncSend for gil_async::spsc::Sender<u64> {
    #[inline]
    async fn send(&mut self, number: u64) -> anyhow::Result<()> {
        self.send_async(number).await;
        Ok(())
    }
}

impl AsyncRecv for gil_async::spsc::Receiver<u64> {
    #[inline]
    async fn recv(&mut self) -> anyhow::Result<u64> {
        Ok(self.recv_async().await)
    }
}
