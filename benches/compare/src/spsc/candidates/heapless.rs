//! heapless: its single-producer single-consumer queue of a size fixed at compile time.

use ::heapless::spsc::{Consumer, Producer, Queue};

use super::{Named, opaque};
use crate::spsc::channel::{Channel, Message, TryRecv, TrySend};

pub(crate) struct Heapless;

impl Named for Heapless {
    const NAME: &'static str = "heapless";
}

impl<T: Message> Channel<T> for Heapless {
    type Sender = Producer<'static, T>;
    type Receiver = Consumer<'static, T>;

    /// One message less than `CAPACITY` fits: the documentation asks for powers of two, and one
    /// slot stays empty.
    ///
    /// The queue is leaked, for its ends can only borrow it. Its memory is hidden, but not its
    /// size: that the size is known to the compiler is what this queue is built for.
    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver) {
        let queue: &'static mut Queue<T, CAPACITY> = Box::leak(opaque(Box::default()));
        queue.split()
    }
}

impl<T: Message> TrySend<T> for Producer<'_, T> {
    #[inline]
    fn try_send(&mut self, message: T) -> bool {
        self.enqueue(message).is_ok()
    }
}

impl<T: Message> TryRecv<T> for Consumer<'_, T> {
    #[inline]
    fn try_recv(&mut self) -> Option<T> {
        self.dequeue()
    }
}
