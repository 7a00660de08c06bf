//! A bounded, lock-free channel for one sender and one receiver, which never polls by timer and
//! never loses a wake-up.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! let (mut sender, mut receiver) = sds_spsc::channel(2);
//! sender.send("one").await?;
//! sender.try_send("two")?;
//! assert_eq!(sender.try_send("three").map_err(|full| full.into_inner()), Err("three"));
//! assert_eq!(receiver.recv().await, Ok("one"));
//! drop(sender);
//! assert_eq!(receiver.recv().await, Ok("two"));
//! assert!(receiver.recv().await.is_err());
//! # Ok::<(), Box<dyn core::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Two cores
//!
//! | | [`channel`] (A) | [`stream()`] (B) |
//! | --- | --- | --- |
//! | a message is there when | the shared tail says so | its slot says so |
//! | messages | of any type and size | of at most 16 bytes |
//! | chunks in place | yes | no: the sequences lie between the messages |
//! | the sender sees free room | at once | after `min(capacity / 4, 32)` messages at the latest, or when the receiver finds nothing |
//! | memory | 384 bytes and the slots | 384 bytes and the slots, with 8 bytes more in each (16 in all for a `u64`) |
//! | best at | one thread, batches, large messages | single messages from thread to thread |
//!
//! Each is one allocation, made with the channel; storage is the next power of two, the capacity is
//! exact. Nothing else allocates.
//!
//! # Three modes
//!
//! To wake a peer that waits, an end must store, fence, and look. The fence costs more than all the
//! rest, so the type of an end says when it is paid:
//!
//! | mode | a send | a receive | can wait |
//! | --- | --- | --- | --- |
//! | [`Polled`] | no fence | no fence | no: there is nothing to call |
//! | [`Waking`] (default) | one fence for each message, slice or chunk | one in `min(capacity / 4, 32)` messages | yes |
//! | [`Deferred`] | no fence | no fence | yes; one fence for all channels at each flush of [`Wakes`] |
//!
//! An end that can wait therefore always has a peer that looks. What is left to the user is to
//! flush [`Wakes`] before its thread sleeps, and [`Wakes::turns`] does that. A [`Deferred`] end is
//! not `Send`, so that it cannot leave the thread whose loop flushes. Each end has its own mode,
//! for instance `Deferred` in a loop and `Waking` in the thread that talks to it.
//!
//! `cargo run --release -p sds-spsc --example soak` prints messages per second for each mode and
//! core on the machine at hand.
//!
//! A loop that sleeps in the poller of the operating system is woken like any task: make a
//! [`Waker`](core::task::Waker) that notifies the poller and pass it to
//! [`poll_recv`](Receiver::poll_recv) before sleeping.
//!
//! # When a waiting end is woken
//!
//! A receiver: by the next message, or the close. A sender: when half of the channel is free, by
//! [`Receiver::flush`] if anything is, or by the close. With 8 messages of capacity and more a
//! receiver looks once in a batch, so up to a batch more than half may be free before the sender
//! is woken. A receiver that takes a few messages and then turns to something else that depends on
//! this sender calls `flush` first.
//!
//! A waker may do anything at once: use other channels, flush, drop the ends that its thread has.
//! The panic of one comes out of the call that woke it, after everybody else who was to be woken
//! has been: what was sent is sent, what was closed is closed, but a message that was being
//! received is dropped.
//!
//! # Cancelling
//!
//! | method | if its future is dropped |
//! | --- | --- |
//! | [`Sender::send`] | the message was not sent and is dropped with it; [`SendFuture::cancel`] gives it back |
//! | [`Receiver::recv`], `LaneReceiver::recv` | nothing was taken |
//! | [`Wakes::turns`] | what was sent is flushed |
//!
//! Waiting futures take their wakers back. The `poll_` methods leave them until they are woken,
//! replaced or taken back with `stop_waiting`. All others do not wait; the blocking ones cannot be
//! cancelled.
//!
//! # Why it is correct
//!
//! **Messages.** The tail is written by the sender alone, the head by the receiver alone. Core A:
//! the sender writes slots, then stores the tail with release; the receiver loads it with acquire
//! before it reads them. Core B: the same with the sequence of each slot in place of the tail. The
//! way back is the same for both: the receiver reads slots, then stores the head with release; the
//! sender loads it with acquire before it writes them again. Each end keeps what it last saw of the
//! other's counter and looks again only when that is used up: an old value is only too careful. The
//! tail of core B is a hint, by which the receiver fetches lines that the sender is done with.
//!
//! **Waking.** The end that waits leaves its waker, fences, and looks once more; the other stores,
//! fences, and looks for a waker. Whichever fence is first, the other end's look comes after it and
//! sees the store. `Release` and `Acquire` alone do not order a store before a later load, and
//! neither does a sequentially consistent load. A deferred end has stored long before, and its
//! fence is that of the flush. A receiver publishes its head before its fence, so the sender that
//! tries again sees the room. The waker itself is moved under a three-state lock that is tried and
//! never waited for: who finds it taken leaves the waking to who has it, or wakes itself. A flush
//! has no end of its own that would keep the channel, so it takes the waker out and lets go of the
//! channel before it wakes: the waker may free it.
//!
//! **Closing.** Stores a flag with release, fences, and wakes both ends. What was sent before the
//! flag is visible with it: a receiver says that it is closed only if it looked at the flag first
//! and then found nothing. A sender may see the flag late; its message then counts as sent before
//! the close, and is dropped with the channel if nobody receives it. Of *closed, fenced, looked for
//! messages* and *sent, fenced, looked whether closed* one sees the other, so a sender in waking
//! mode can know.
//!
//! **Freeing.** The sender has always published what it sent; the receiver publishes how far it
//! got. Then each gives up its share, with acquire and release, even if a waker panics; the second
//! drops the messages that are still there and frees the allocation.
//!
//! Every step named here is left out in turn by the models under loom, which must then fail.
//!
//! # Features
//!
//! `std`: blocking variants, and `lanes` for many senders. `futures`: `Stream` and `Sink`. None is
//! on by default; without them the crate needs `alloc` only.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(feature = "std", sds_loom)), no_std)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

extern crate alloc;

#[cfg(feature = "std")]
mod blocking;
mod chunk;
mod cores;
mod error;
#[cfg(feature = "futures")]
mod futures;
#[cfg(all(feature = "fuzz", not(sds_loom)))]
#[doc(hidden)]
pub mod fuzz;
mod index;
#[cfg(feature = "std")]
mod lanes;
mod modes;
mod park;
mod receiver;
mod sender;
mod shared;
mod stream;
mod sync;

pub use chunk::{ReadChunk, WriteChunk};
pub use cores::{Core, InSlot, Index};
pub use error::{RecvError, SendError, TryRecvError, TrySendError};
#[cfg(feature = "std")]
pub use lanes::{Connector, DEFAULT_BUDGET, LaneReceiver, LaneRecvFuture, lanes};
pub use modes::{CanWait, Deferred, Mode, Polled, Turns, Wakes, Waking};
pub use receiver::{Drain, Receiver, RecvFuture};
pub use sender::{SendFuture, Sender};
#[cfg(sds_loom)]
#[doc(hidden)]
pub use sync::{Fault, inject};

/// A channel of exactly `capacity` messages of any type, on core A.
///
/// Takes 384 bytes and `capacity.next_power_of_two()` slots of the size of a message.
///
/// # Panics
/// If `capacity` is 0, or more than fits into memory.
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    make(capacity, Waking, Waking)
}

/// [`channel`] whose ends cannot wait, and therefore never fence.
///
/// # Panics
/// If `capacity` is 0, or more than fits into memory.
#[must_use]
pub fn polled_channel<T>(capacity: usize) -> (Sender<T, Polled>, Receiver<T, Polled>) {
    make(capacity, Polled, Polled)
}

/// A channel of exactly `capacity` messages of at most 16 bytes, on core B.
///
/// A larger message does not compile. The receiver makes free room known once in
/// `min(capacity / 4, 32)` messages, and whenever it finds none: until then the sender may see the
/// channel fuller than it is.
///
/// # Panics
/// If `capacity` is 0, or more than fits into memory.
#[must_use]
pub fn stream<T>(capacity: usize) -> (Sender<T, Waking, InSlot>, Receiver<T, Waking, InSlot>) {
    make(capacity, Waking, Waking)
}

/// [`stream()`] whose ends cannot wait, and therefore never fence.
///
/// # Panics
/// If `capacity` is 0, or more than fits into memory.
#[must_use]
pub fn polled_stream<T>(
    capacity: usize,
) -> (Sender<T, Polled, InSlot>, Receiver<T, Polled, InSlot>) {
    make(capacity, Polled, Polled)
}

fn make<T, M: Mode, C: Core>(
    capacity: usize,
    sending: M,
    receiving: M,
) -> (Sender<T, M, C>, Receiver<T, M, C>) {
    let (producer, consumer) = C::pair(capacity, None);
    (Sender { mode: sending, producer }, Receiver::new(receiving, consumer))
}

/// The README's code is compiled with the documentation tests.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
