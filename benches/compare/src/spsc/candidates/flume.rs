//! flume: the bounded flavour; for batches it can take out all there is, but sends one by one.

use core::ops::Range;

use ::flume::{Receiver, Sender, bounded};

use super::{Named, opaque};
use crate::spsc::channel::{
    AsyncRecv, AsyncSend, BatchChannel, Channel, Message, RecvBatch, SendBatch, SharedAsyncChannel,
    TryRecv, TrySend,
};

pub(crate) struct Flume;

impl Named for Flume {
    const NAME: &'static str = "flume";
}

impl<T: Message> Channel<T> for Flume {
    type Sender = Sender<T>;
    type Receiver = Receiver<T>;

    fn open<const CAPACITY: usize>() -> (Sender<T>, Receiver<T>) {
        opaque(bounded(CAPACITY))
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
        Self::try_recv(self).ok()
    }
}

impl BatchChannel for Flume {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn open<const CAPACITY: usize>() -> (Sender<u64>, Receiver<u64>) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl SendBatch for Sender<u64> {
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        numbers.take_while(|&number| TrySend::try_send(self, number)).count() as u64
    }
}

impl RecvBatch for Receiver<u64> {
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        let mut count = 0;
        for number in self.drain() {
            *sum = sum.wrapping_add(number);
            count += 1;
        }
        count
    }
}

impl SharedAsyncChannel for Flume {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn open<const CAPACITY: usize>() -> (Sender<u64>, Receiver<u64>) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl AsyncSend for Sender<u64> {
    #[inline]
    async fn send(&mut self, number: u64) -> anyhow::Result<()> {
        Ok(self.send_async(number).await?)
    }
}

impl AsyncRecv for Receiver<u64> {
    #[inline]
    async fn recv(&mut self) -> anyhow::Result<u64> {
        Ok(self.recv_async().await?)
    }
}
