//! The standard library's bounded channel.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Named, opaque};
use crate::spsc::channel::{Channel, Message, TryRecv, TrySend};

pub(crate) struct StdMpsc;

impl Named for StdMpsc {
    const NAME: &'static str = "std mpsc";
}

impl<T: Message> Channel<T> for StdMpsc {
    type Sender = SyncSender<T>;
    type Receiver = Receiver<T>;

    fn open<const CAPACITY: usize>() -> (SyncSender<T>, Receiver<T>) {
        opaque(sync_channel(CAPACITY))
    }
}

impl<T: Message> TrySend<T> for SyncSender<T> {
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
