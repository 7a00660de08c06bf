//! crossbeam-channel: the bounded flavour. Its batches are loops over single receives, so it has
//! none here.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Named, opaque};
use crate::spsc::channel::{Channel, Message, TryRecv, TrySend};

pub(crate) struct Crossbeam;

impl Named for Crossbeam {
    const NAME: &'static str = "crossbeam-channel";
}

impl<T: Message> Channel<T> for Crossbeam {
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
