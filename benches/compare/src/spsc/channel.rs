//! The interface of a candidate, one trait for each kind of row, resolved at compile time.

use core::hint::black_box;
use core::ops::Range;

/// Most messages in one batch; every measurement is of a multiple.
pub(crate) const BATCH: u64 = 64;

/// A message for the channels, made from a number, so that a sum shows whether each arrived exactly
/// once.
pub(crate) trait Message: Copy + Send + 'static {
    fn numbered(number: u64) -> Self;

    /// A number that depends on the message, the whole of which has been received.
    fn digest(self) -> u64;

    /// The digests of the first `messages` messages, added up; a multiple of [`BATCH`].
    fn checksum(messages: u64) -> u64;
}

impl Message for u64 {
    #[inline]
    fn numbered(number: u64) -> Self {
        number
    }

    #[inline]
    fn digest(self) -> u64 {
        self
    }

    fn checksum(messages: u64) -> u64 {
        let sum = u128::from(messages) * u128::from(messages.saturating_sub(1)) / 2;
        sum as Self // its low half, as in a wrapping sum
    }
}

/// A message of one cache line.
pub(crate) type Line = [u64; 8];

/// Messages are copied from here and moved out to memory, as a program's would be. Were they made
/// and read in registers, the compiler would write them in words and read them in vectors, and
/// every row would measure how slow processors are at that.
static LINES: [Line; BATCH as usize] = {
    let mut lines = [[0; 8]; BATCH as usize];
    let mut number = 0;
    while number < lines.len() {
        lines[number] = [number as u64; 8];
        number += 1;
    }
    lines
};

impl Message for Line {
    #[inline]
    fn numbered(number: u64) -> Self {
        LINES[(number % BATCH) as usize]
    }

    #[inline]
    fn digest(self) -> u64 {
        let line = black_box(&self);
        line[0].wrapping_add(line[7])
    }

    fn checksum(messages: u64) -> u64 {
        let one_batch = LINES.iter().map(|line| line.digest()).sum();
        (messages / BATCH).wrapping_mul(one_batch)
    }
}

/// A bounded channel that can be tried without waiting.
pub(crate) trait Channel<T: Message> {
    type Sender: TrySend<T>;
    type Receiver: TryRecv<T>;

    /// Opens one for `CAPACITY` messages, in memory that the optimiser knows nothing of.
    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver);
}

pub(crate) trait TrySend<T>: Send {
    /// False if it is full.
    fn try_send(&mut self, message: T) -> bool;
}

pub(crate) trait TryRecv<T>: Send {
    fn try_recv(&mut self) -> Option<T>;
}

/// A channel that moves several messages at once.
pub(crate) trait BatchChannel {
    type Sender: SendBatch;
    type Receiver: RecvBatch;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver);
}

pub(crate) trait SendBatch: Send {
    /// Sends the numbers from the start of `numbers` (at most [`BATCH`] of them) that fit; says how
    /// many.
    fn try_send_batch(&mut self, numbers: Range<u64>) -> u64;
}

pub(crate) trait RecvBatch: Send {
    /// Receives about [`BATCH`] numbers if there are any, adds them to `sum` and says how many they
    /// were.
    fn try_recv_batch(&mut self, sum: &mut u64) -> u64;
}

/// A channel whose ends wait as futures on one thread.
pub(crate) trait AsyncChannel {
    type Sender: AsyncSend;
    type Receiver: AsyncRecv;

    /// Opens one between two tasks of one thread, and gives what the thread's loop has to call at
    /// the end of each turn.
    fn open_local<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver, impl FnMut());
}

/// A channel whose ends wait as futures on two threads.
pub(crate) trait SharedAsyncChannel {
    type Sender: AsyncSend + Send;
    type Receiver: AsyncRecv + Send;

    fn open<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver);
}

/// Most channels are the same on one thread as on two, and need nothing of the loop.
impl<C: SharedAsyncChannel> AsyncChannel for C {
    type Sender = C::Sender;
    type Receiver = C::Receiver;

    fn open_local<const CAPACITY: usize>() -> (Self::Sender, Self::Receiver, impl FnMut()) {
        let (sender, receiver) = Self::open::<CAPACITY>();
        (sender, receiver, || ())
    }
}

pub(crate) trait AsyncSend {
    async fn send(&mut self, number: u64) -> anyhow::Result<()>;
}

pub(crate) trait AsyncRecv {
    async fn recv(&mut self) -> anyhow::Result<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added_up<T: Message>(messages: u64) -> u64 {
        (0..messages).map(|number| T::numbered(number).digest()).sum()
    }

    #[test]
    fn checksum_is_what_adding_up_gives() {
        for messages in [0, BATCH, 100 * BATCH] {
            assert_eq!(u64::checksum(messages), added_up::<u64>(messages));
            assert_eq!(Line::checksum(messages), added_up::<Line>(messages));
        }
    }
}
