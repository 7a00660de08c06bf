//! The channels that take part, each used the way its documentation recommends for the purpose.

mod async_channel;
mod crossbeam;
mod flume;
mod gil;
mod heapless;
mod kanal;
mod ours;
mod ringbuf;
mod rtrb;
mod std_mpsc;
mod tokio;

use core::hint::black_box;
use core::mem::MaybeUninit;
use core::ops::Range;

pub(crate) use self::async_channel::AsyncChannelCrate;
pub(crate) use self::crossbeam::Crossbeam;
pub(crate) use self::flume::Flume;
pub(crate) use self::gil::{Gil, GilAsync};
pub(crate) use self::heapless::Heapless;
pub(crate) use self::kanal::Kanal;
pub(crate) use self::ours::{OursDeferred, OursInSlot, OursIndex, OursWaking};
pub(crate) use self::ringbuf::Ringbuf;
pub(crate) use self::rtrb::Rtrb;
pub(crate) use self::std_mpsc::StdMpsc;
pub(crate) use self::tokio::Tokio;

/// Name of the candidate in the tables.
pub(crate) trait Named {
    const NAME: &'static str;
}

/// Hides from the optimiser what it could know of a new channel, above all that no other thread has
/// its memory.
fn opaque<E>(ends: E) -> E {
    black_box(ends)
}

/// Writes the numbers into free slots of the same count.
#[inline]
fn fill(slots: &mut [MaybeUninit<u64>], numbers: Range<u64>) {
    for (slot, number) in slots.iter_mut().zip(numbers) {
        slot.write(number);
    }
}

#[inline]
fn add_up(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, &number| sum.wrapping_add(number))
}
