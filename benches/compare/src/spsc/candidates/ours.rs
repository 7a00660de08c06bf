//! Ours, `sds-spsc`: core A shares indices and has chunks; core B marks the slots and takes small
//! messages only.

use core::ops::Range;

use sds_spsc::{Deferred, InSlot, Index, Mode, Polled, Receiver, Sender, Wakes, Waking};

use super::{Named, add_up, fill, opaque};
use crate::spsc::channel::{
    AsyncChannel, AsyncRecv, AsyncSend, BATCH, BatchChannel, Channel, Message, RecvBatch,
    SendBatch, SharedAsyncChannel, TryRecv, TrySend,
};

/// Core A, polled.
pub(crate) struct OursIndex;

impl Named for OursIndex {
    const NAME: &'static str = "sds-spsc A";
}

impl<T: Message> Channel<T> for OursIndex {
    type Sender = Sender<T, Polled, Index>;
    type Receiver = Receiver<T, Polled, Index>;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver) {
        opaque(sds_spsc::polled_channel(CAPACITY))
    }
}

/// Core B, polled.
pub(crate) struct OursInSlot;

impl Named for OursInSlot {
    const NAME: &'static str = "sds-spsc B";
}

impl Channel<u64> for OursInSlot {
    type Sender = Sender<u64, Polled, InSlot>;
    type Receiver = Receiver<u64, Polled, InSlot>;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver) {
        opaque(sds_spsc::polled_stream(CAPACITY))
    }
}

impl<T: Message, C: sds_spsc::Core> TrySend<T> for Sender<T, Polled, C>
where
    Self: Send,
{
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        Self::try_send(self, message).is_ok()
    }
}

impl<T: Message, C: sds_spsc::Core> TryRecv<T> for Receiver<T, Polled, C>
where
    Self: Send,
{
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        Self::try_recv(self).ok()
    }
}

impl BatchChannel for OursIndex {
    type Sender = Sender<u64, Polled, Index>;
    type Receiver = Receiver<u64, Polled, Index>;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver) {
        <Self as Channel<u64>>::open::<CAPACITY>()
    }
}

impl<M: Mode> SendBatch for Sender<u64, M, Index>
where
    Self: Send,
{
    #[inline]
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64 {
        let Ok(mut chunk) = self.write_chunk((numbers.end - numbers.start) as usize) else {
            return 0;
        };
        let count = chunk.len();
        let (first, second) = chunk.uninit();
        let middle = numbers.start + first.len() as u64;
        fill(first, numbers.start..middle);
        fill(second, middle..numbers.end);
        // SAFETY: the two slices are the whole chunk, and `fill` wrote every slot of them.
        unsafe { chunk.commit(count) };
        count as u64
    }
}

impl<M: Mode> RecvBatch for Receiver<u64, M, Index>
where
    Self: Send,
{
    #[inline]
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64 {
        let Ok(chunk) = self.read_chunk(BATCH as usize) else { return 0 };
        let (first, second) = chunk.as_slices();
        *sum = sum.wrapping_add(add_up(first)).wrapping_add(add_up(second));
        let count = chunk.len();
        chunk.commit(count);
        count as u64
    }
}

/// Core B whose ends wake each other once per turn of the loop that runs both.
pub(crate) struct OursDeferred;

impl Named for OursDeferred {
    const NAME: &'static str = "sds-spsc B deferred";
}

impl AsyncChannel for OursDeferred {
    type Sender = Sender<u64, Deferred, InSlot>;
    type Receiver = Receiver<u64, Deferred, InSlot>;

    fn open_local<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver, impl FnMut()) {
        let (sender, receiver) = opaque(sds_spsc::stream(CAPACITY));
        let wakes = Wakes::new();
        (sender.deferred(&wakes), receiver.deferred(&wakes), move || wakes.flush())
    }
}

/// Core B whose ends wake each other at once.
pub(crate) struct OursWaking;

impl Named for OursWaking {
    const NAME: &'static str = "sds-spsc B";
}

impl SharedAsyncChannel for OursWaking {
    type Sender = Sender<u64, Waking, InSlot>;
    type Receiver = Receiver<u64, Waking, InSlot>;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver) {
        opaque(sds_spsc::stream(CAPACITY))
    }
}

impl<M: sds_spsc::CanWait> AsyncSend for Sender<u64, M, InSlot> {
    #[inline]
    async fn send(&mut self, number: u64) -> anyhow::Result<()> {
        Self::send(self, number).await.map_err(|_| anyhow::anyhow!("the channel is closed"))
    }
}

impl<M: sds_spsc::CanWait> AsyncRecv for Receiver<u64, M, InSlot> {
    #[inline]
    async fn recv(&mut self) -> anyhow::Result<u64> {
        Ok(Self::recv(self).await?)
    }
}
