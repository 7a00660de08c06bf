//! Zero-copy access to the room and to the messages of core A.

use core::fmt;
#[cfg(not(sds_loom))]
use core::{mem::MaybeUninit, slice};

use crate::{Index, Mode, Receiver, Sender, TryRecvError, TrySendError, Waking, cores::Produce};

impl<T, M: Mode> Sender<T, M, Index> {
    /// Room for up to `max` messages, to be filled in place and sent with one store.
    ///
    /// # Errors
    /// If there is no room at all, or the channel is closed.
    #[inline]
    pub fn write_chunk(&mut self, max: usize) -> Result<WriteChunk<'_, T, M>, TrySendError<()>> {
        if self.producer.header().is_closed() {
            return Err(TrySendError::Closed(()));
        }
        match self.producer.vacant(max).min(max) {
            0 if max > 0 => Err(TrySendError::Full(())),
            room => Ok(WriteChunk { sender: self, room }),
        }
    }
}

/// Made by [`Sender::write_chunk`]. Dropping it sends nothing.
pub struct WriteChunk<'a, T, M: Mode = Waking> {
    sender: &'a mut Sender<T, M, Index>,
    room: usize,
}

impl<T, M: Mode> WriteChunk<'_, T, M> {
    /// Messages that fit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room
    }

    /// Whether none was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room == 0
    }

    /// Sends from `values` what fits, all of it with one store, and says how many. Takes no more
    /// from the iterator than fit; if it panics, what it gave before is sent.
    #[inline]
    pub fn fill(self, values: impl IntoIterator<Item = T>) -> usize {
        let room = self.room;
        let mut filling = Filling { sender: self.sender, count: 0 };
        for value in values.into_iter().take(room) {
            if filling.sender.producer.put(value).is_err() {
                break; // not reached: the room was there and nobody else sends
            }
            filling.count += 1;
        }
        filling.count
    }

    /// The room, in two runs of which the second may be empty. Write the messages in order, then
    /// [`commit`](Self::commit).
    #[cfg(not(sds_loom))]
    #[inline]
    pub fn uninit(&mut self) -> (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]) {
        let [first, second] = self.sender.producer.room(self.room);
        // SAFETY: vacant slots, which are nobody else's until the tail passes them, in two runs
        // that do not overlap; the borrow of `self` keeps the tail where it is.
        unsafe {
            (
                slice::from_raw_parts_mut(first.0.as_ptr(), first.1),
                slice::from_raw_parts_mut(second.0.as_ptr(), second.1),
            )
        }
    }

    /// Sends the first `count` messages of the room.
    ///
    /// # Safety
    /// They were written through [`uninit`](Self::uninit).
    ///
    /// # Panics
    /// If `count` is more than [`len`](Self::len).
    #[cfg(not(sds_loom))]
    #[inline]
    pub unsafe fn commit(self, count: usize) {
        assert!(count <= self.room, "no more than the chunk");
        self.sender.producer.skip(count);
        drop(Filling { sender: self.sender, count });
    }
}

/// Sends what was put, also if the iterator panics.
struct Filling<'a, T, M: Mode> {
    sender: &'a mut Sender<T, M, Index>,
    count: usize,
}

impl<T, M: Mode> Drop for Filling<'_, T, M> {
    #[inline]
    fn drop(&mut self) {
        if self.count > 0 {
            self.sender.producer.publish();
            self.sender.mode.sent(self.sender.producer.header());
        }
    }
}

impl<T, M: Mode> fmt::Debug for WriteChunk<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteChunk").field("room", &self.room).finish_non_exhaustive()
    }
}

impl<T, M: Mode> Receiver<T, M, Index> {
    /// Up to `max` of the oldest messages, to be read in place.
    ///
    /// # Errors
    /// `Empty` if there are none yet, `Closed` if there will be none.
    #[inline]
    pub fn read_chunk(&mut self, max: usize) -> Result<ReadChunk<'_, T, M>, TryRecvError> {
        match self.consumer.present(max) {
            Ok(present) => Ok(ReadChunk { receiver: self, len: present.min(max) }),
            Err(none) => Err(self.found(none)),
        }
    }
}

/// Made by [`Receiver::read_chunk`]. Dropping it leaves the messages in the channel.
pub struct ReadChunk<'a, T, M: Mode = Waking> {
    receiver: &'a mut Receiver<T, M, Index>,
    len: usize,
}

impl<'a, T, M: Mode> ReadChunk<'a, T, M> {
    /// Messages in the chunk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The messages, in two runs of which the second may be empty.
    #[cfg(not(sds_loom))]
    #[inline]
    #[must_use]
    pub fn as_slices(&self) -> (&[T], &[T]) {
        let [first, second] = self.receiver.consumer.messages(self.len);
        // SAFETY: messages below the tail, which the sender does not touch before the head passes
        // them; the borrow of `self` keeps the head where it is.
        unsafe {
            (
                slice::from_raw_parts(first.0.as_ptr(), first.1),
                slice::from_raw_parts(second.0.as_ptr(), second.1),
            )
        }
    }

    /// As [`as_slices`](Self::as_slices), to be changed in place.
    #[cfg(not(sds_loom))]
    #[inline]
    #[must_use]
    pub fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        let [first, second] = self.receiver.consumer.messages(self.len);
        // SAFETY: as in `as_slices`, and the borrow is exclusive; the runs do not overlap.
        unsafe {
            (
                slice::from_raw_parts_mut(first.0.as_ptr(), first.1),
                slice::from_raw_parts_mut(second.0.as_ptr(), second.1),
            )
        }
    }

    /// Takes the first `count` messages out of the channel and drops them; their room is free with
    /// one store.
    ///
    /// # Panics
    /// If `count` is more than [`len`](Self::len).
    #[inline]
    pub fn commit(self, count: usize) {
        assert!(count <= self.len, "no more than the chunk");
        if core::mem::needs_drop::<T>() || cfg!(sds_loom) {
            self.receiver.drain(count).for_each(drop);
            return;
        }
        self.receiver.consumer.skip(count);
        self.receiver.took();
    }

    /// Takes the messages out of the channel one by one. Those not asked for stay in it; the room
    /// of the others is free, with one store, when the iterator is dropped.
    #[inline]
    pub fn drain(self) -> crate::Drain<'a, T, M> {
        self.receiver.drain(self.len)
    }
}

impl<T, M: Mode> fmt::Debug for ReadChunk<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadChunk").field("len", &self.len).finish_non_exhaustive()
    }
}
