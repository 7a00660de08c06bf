//! kanal: the bounded flavour; for batches it can take out all there is, but sends one by one.

use core::ops::Range;

use ::kanal::{AsyncReceiver, AsyncSender, Receiver, Sender, bounded, bounded_async};

use super::{Named, add_up, opaque};
use crate::spsc::channel::{
    AsyncRecv, AsyncSend, BatchChannel, Channel, Message, RecvBatch, SendBatch, SharedAsyncChannel,
    TryRecv, TrySend,
};

pub(crate) struct Kanal;

impl Named for Kanal {
    const NAME: &'static str = "kanal";
}

impl<T: Message> Channel<T> for Kanal {
    type Sender = Sender<T>;
    type Receiver = Receiver<T>;

    fn open<const CAPACITY: usize>() -> (Sender<T>, Receiver<T>) {
        opaque(bounded(CAPACITY))
    }
}

impl<T: Message> TrySend<T> for Sender<T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        matches!(Self::try_send(self, message), Ok(true))
    }
}

impl<T: Message> TryRecv<T> for Receiver<T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        Self::try_recv(self).ok().flatten()
    }
}

/// The receiver with the buffer that it drains into.
pub(crate) struct DrainReceiver {
    receiver: Receiver<u64>,
    buffer: Vec<u64>,
}

impl BatchChannel for Kanal {
    type Sender = Sender<u64>;
    type Receiver = DrainReceiver;

    fn open<const CAPACITY: usize>() -> (Sender<u64>, DrainReceiver) {
        let (sender, receiver) = <Self as Channel<u64>>::open::<CAPACITY>();
        (sender, DrainReceiver { receiver, buffer: Vec::with_capacity(CAPACITY) })
    }
}

impl SendBatch for Sender<u64> {
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        numbers.take_while(|&number| TrySend::try_send(self, number)).count() as u64
    }
}

impl RecvBatch for DrainReceiver {
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        self.buffer.clear();
        // An error means that the sender has gone; what it left is in the buffer all the same.
        let _ = self.receiver.drain_into(&mut self.buffer);
        *sum = sum.wrapping_add(add_up(&self.buffer));
        self.buffer.len() as u64
    }
}

impl SharedAsyncChannel for Kanal {
    type Sender = AsyncSender<u64>;
    type Receiver = AsyncReceiver<u64>;

    fn open<const CAPACITY: usize>() -> (AsyncSender<u64>, AsyncReceiver<u64>) {
        opaque(bounded_async(CAPACITY))
    }
}

impl AsyncSend for AsyncSender<u64> {
    #[inline]
    async fn send(&mut self, number: u64) -> anyhow::Result<()> {
        Ok(Self::send(self, number).await?)
    }
}

impl AsyncRecv for AsyncReceiver<u64> {
    #[inline]
    async fn recv(&mut self) -> anyhow::Result<u64> {
        Ok(Self::recv(self).await?)
    }
}
