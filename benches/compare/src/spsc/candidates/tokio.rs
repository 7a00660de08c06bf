//! tokio's mpsc channel, outside its runtime; batches by reserving many places and receiving many.

use core::ops::Range;
use core::task::{Context, Poll, Waker};

use ::tokio::sync::mpsc::{Receiver, Sender, channel};
use anyhow::Context as _;

use super::{Named, add_up, opaque};
use crate::spsc::channel::{
    AsyncRecv, AsyncSend, BATCH, BatchChannel, Channel, Message, RecvBatch, SendBatch,
    SharedAsyncChannel, TryRecv, TrySend,
};

pub(crate) struct Tokio;

impl Named for Tokio {
    const NAME: &'static str = "tokio mpsc";
}

impl<T: Message> Channel<T> for Tokio {
    type Sender = Sender<T>;
    type Receiver = Receiver<T>;

    fn open<const CAPACITY: usize>() -> (Sender<T>, Receiver<T>) {
        opaque(channel(CAPACITY))
    }
}

impl<T: Message> TrySend<T> for Sender<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        Self::try_send(self, message).is_ok()
    }
}

impl<T: Message> TryRecv<T> for Receiver<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        self.try_recv().ok()
    }
}

/// The receiver with the buffer that it fills.
pub(crate) struct ManyReceiver {
    receiver: Receiver<u64>,
    buffer: Vec<u64>,
}

impl BatchChannel for Tokio {
    type Sender = Sender<u64>;
    type Receiver = ManyReceiver;

    fn open<const CAPACITY: usize>() -> (Sender<u64>, ManyReceiver) {
        let (sender, receiver) = <Self as Channel<u64>>::open::<CAPACITY>();
        (sender, ManyReceiver { receiver, buffer: Vec::with_capacity(BATCH as usize) })
    }
}

impl SendBatch for Sender<u64> {
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        let count = numbers.end - numbers.start;
        let Ok(permits) = self.try_reserve_many(count as usize) else { return 0 };
        for (permit, number) in permits.zip(numbers) {
            permit.send(number);
        }
        count
    }
}

impl RecvBatch for ManyReceiver {
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        self.buffer.clear();
        let mut nobody = Context::from_waker(Waker::noop());
        match self.receiver.poll_recv_many(&mut nobody, &mut self.buffer, BATCH as usize) {
            Poll::Ready(count) => {
                *sum = sum.wrapping_add(add_up(&self.buffer));
                count as u64
            }
            Poll::Pending => 0,
        }
    }
}

impl SharedAsyncChannel for Tokio {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn open<const CAPACITY: usize>() -> (Sender<u64>, Receiver<u64>) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl AsyncSend for Sender<u64> {
    #[inline]
    async fn send(&mut self, number: u64) -> anyhow::Result<()> {
        Ok(Self::send(self, number).await?)
    }
}

impl AsyncRecv for Receiver<u64> {
    #[inline]
    async fn recv(&mut self) -> anyhow::Result<u64> {
        self.recv().await.context("the channel is closed")
    }
}
