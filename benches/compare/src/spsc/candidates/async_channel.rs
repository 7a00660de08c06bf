//! async-channel: the bounded flavour. It moves messages one by one only.

use ::async_channel::{Receiver, Sender, bounded};

use super::{Named, opaque};
use crate::spsc::channel::{
    AsyncRecv, AsyncSend, Channel, Message, SharedAsyncChannel, TryRecv, TrySend,
};

pub(crate) struct AsyncChannelCrate;

impl Named for AsyncChannelCrate {
    const NAME: &'static str = "async-channel";
}

impl<T: Message> Channel<T> for AsyncChannelCrate {
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

impl SharedAsyncChannel for AsyncChannelCrate {
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
        Ok(Self::recv(self).await?)
    }
}
