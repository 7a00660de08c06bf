//! Behaviour visible to one thread, for both cores.

use core::{
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};
use std::{sync::Arc, task::Wake};

use sds_spsc::{
    Core, Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, Wakes, Waking,
    channel, polled_channel, polled_stream, stream,
};

/// Counts its wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A test body for each core.
macro_rules! both_cores {
    ($($name:ident($sender:ident, $receiver:ident, $capacity:expr) $body:block)*) => {$(
        mod $name {
            use super::*;
            #[allow(unused_mut, reason = "some bodies use one end only")]
            fn check<C: Core>(
                (mut $sender, mut $receiver): (Sender<u64, Waking, C>, Receiver<u64, Waking, C>),
            ) $body
            #[test]
            fn index() { check(channel($capacity)); }
            #[test]
            fn in_slot() { check(stream($capacity)); }
        }
    )*};
}

both_cores! {
    gives_messages_in_order_and_values_back(sender, receiver, 3) {
        for lap in 0..10 {
            for i in 0..3 {
                sender.try_send(lap * 3 + i).expect("room for three");
            }
            assert!(sender.is_full() && receiver.is_full());
            assert_eq!(sender.try_send(99), Err(TrySendError::Full(99)));
            assert_eq!(receiver.peek(), Some(&(lap * 3)));
            for i in 0..3 {
                assert_eq!(receiver.try_recv(), Ok(lap * 3 + i));
            }
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert!(sender.is_empty() && receiver.is_empty());
        }
        assert_eq!((sender.capacity(), receiver.capacity()), (3, 3));
    }

    capacity_one_works(sender, receiver, 1) {
        for i in 0..10 {
            assert_eq!(sender.try_send(i), Ok(()));
            assert_eq!(sender.try_send(i), Err(TrySendError::Full(i)));
            assert_eq!(receiver.try_recv(), Ok(i));
        }
    }

    closing_the_sender_lets_the_rest_be_received(sender, receiver, 4) {
        sender.try_send(1).expect("room");
        sender.close();
        assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
        assert!(receiver.is_closed());
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    closing_the_receiver_lets_the_rest_be_received(sender, receiver, 4) {
        sender.try_send(1).expect("room");
        receiver.close();
        assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    a_dropped_end_closes(sender, receiver, 4) {
        sender.try_send(1).expect("room");
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
    }

    slices_and_drains(sender, receiver, 5) {
        assert_eq!(sender.send_slice(&[1, 2, 3, 4, 5, 6, 7]), 5);
        assert_eq!(sender.send_slice(&[6]), 0);
        assert_eq!(receiver.drain(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(sender.send_slice(&[6, 7, 8]), 2);
        assert_eq!(receiver.drain(9).next(), Some(3)); // what is not asked for stays
        assert_eq!(receiver.drain(9).collect::<Vec<_>>(), [4, 5, 6, 7]);
        assert_eq!(receiver.drain(9).next(), None);
    }

    a_waiting_receiver_is_woken_once_by_a_send(sender, receiver, 4) {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let mut future = pin!(receiver.recv());
        assert!(future.as_mut().poll_once(&waker).is_pending());
        sender.try_send(1).expect("room");
        sender.try_send(2).expect("room");
        assert_eq!(bell.rings(), 1);
        assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Ok(1)));
    }

    a_waiting_receiver_is_woken_by_a_close(sender, receiver, 4) {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let mut future = pin!(receiver.recv());
        assert!(future.as_mut().poll_once(&waker).is_pending());
        sender.close();
        assert_eq!(bell.rings(), 1);
        assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Err(RecvError)));
    }

    a_waiting_sender_is_woken_when_half_is_free(sender, receiver, 4) {
        assert_eq!(sender.send_slice(&[1, 2, 3, 4]), 4);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let mut future = pin!(sender.send(5));
        assert!(future.as_mut().poll_once(&waker).is_pending());
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(bell.rings(), 0);
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(bell.rings(), 1);
        assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Ok(())));
    }

    a_flush_wakes_a_waiting_sender_for_less(sender, receiver, 64) {
        assert_eq!(sender.send_slice(&[7; 64]), 64);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        let mut future = pin!(sender.send(5));
        assert!(future.as_mut().poll_once(&waker).is_pending());
        assert_eq!(receiver.try_recv(), Ok(7));
        assert_eq!(bell.rings(), 0);
        receiver.flush();
        assert_eq!(bell.rings(), 1);
        assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Ok(())));
    }

    a_waiting_sender_gets_its_value_back(sender, receiver, 1) {
        sender.try_send(1).expect("room");
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        {
            let mut future = sender.send(2);
            assert!(pin!(&mut future).poll_once(&waker).is_pending());
            assert_eq!(future.cancel(), Some(2));
        }
        let mut future = pin!(sender.send(3));
        assert!(future.as_mut().poll_once(&waker).is_pending());
        drop(receiver);
        assert_eq!(bell.rings(), 1);
        assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Err(SendError(3))));
    }

    a_dropped_future_takes_its_waker_back(sender, receiver, 1) {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        assert!(pin!(receiver.recv()).poll_once(&waker).is_pending());
        assert_eq!(Arc::strong_count(&bell), 2);
        sender.try_send(1).expect("room");
        assert!(pin!(sender.send(2)).poll_once(&waker).is_pending());
        assert_eq!((bell.rings(), Arc::strong_count(&bell)), (0, 2));
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    deferred_ends_wake_at_the_flush(sender, receiver, 4) {
        let wakes = Wakes::new();
        let (mut sender, mut receiver) = (sender.deferred(&wakes), receiver.deferred(&wakes));
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        {
            let mut future = pin!(receiver.recv());
            assert!(future.as_mut().poll_once(&waker).is_pending());
            sender.try_send(1).expect("room");
            assert_eq!((bell.rings(), wakes.is_clean()), (0, false));
            wakes.flush();
            assert_eq!((bell.rings(), wakes.is_clean()), (1, true));
            assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Ok(1)));
        }
        wakes.flush();
        assert_eq!(sender.send_slice(&[1, 2, 3, 4]), 4);
        {
            let mut future = pin!(sender.send(5));
            assert!(future.as_mut().poll_once(&waker).is_pending());
            assert_eq!(receiver.drain(2).count(), 2);
            assert_eq!(bell.rings(), 1);
            wakes.flush();
            assert_eq!(bell.rings(), 2);
            assert_eq!(future.as_mut().poll_once(&waker), Poll::Ready(Ok(())));
        }
        let (mut sender, receiver) = (sender.waking(), receiver.waking());
        assert!(receiver.len() == 3 && sender.try_send(6).is_ok());
    }

    a_flush_does_not_take_back_what_was_made_known_since(sender, receiver, 4) {
        let wakes = Wakes::new();
        let mut receiver = receiver.deferred(&wakes);
        assert_eq!(sender.send_slice(&[1, 2, 3, 4]), 4);
        assert_eq!(receiver.try_recv(), Ok(1));
        let mut drain = receiver.drain(2);
        assert_eq!((drain.next(), drain.next()), (Some(2), Some(3)));
        core::mem::forget(drain); // so the list does not hear of it
        receiver.flush();
        assert_eq!(sender.send_slice(&[5, 6, 7, 8]), 3);
        wakes.flush();
        assert_eq!(sender.try_send(8), Err(TrySendError::Full(8)));
        assert_eq!(receiver.drain(9).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }

    a_deferred_end_may_go_before_the_flush(sender, receiver, 4) {
        let wakes = Wakes::new();
        let mut sender = sender.deferred(&wakes);
        sender.try_send(1).expect("room");
        drop(sender);
        assert_eq!(receiver.try_recv(), Ok(1));
        drop(receiver);
        wakes.flush();
    }

    a_turn_flushes(sender, receiver, 4) {
        let wakes = Wakes::new();
        let mut sender = sender.deferred(&wakes);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        let turn = async { sender.try_send(1) };
        assert_eq!(pin!(wakes.turns(turn)).poll_once(&waker), Poll::Ready(Ok(())));
        assert_eq!(bell.rings(), 1);
    }
}

#[test]
fn polled_ends_only_try() {
    let (mut sender, mut receiver) = polled_channel(2);
    assert_eq!((sender.try_send("a"), receiver.try_recv()), (Ok(()), Ok("a")));
    let (mut sender, mut receiver) = polled_stream(2);
    assert_eq!((sender.try_send(1), receiver.try_recv()), (Ok(()), Ok(1)));
}

#[test]
fn chunks_are_written_and_read_in_place() {
    let (mut sender, mut receiver) = channel::<u32>(6);
    assert_eq!(receiver.read_chunk(3).map(drop), Err(TryRecvError::Empty));
    for lap in 0..8 {
        let chunk = sender.write_chunk(4).expect("room");
        assert_eq!(chunk.len(), 4);
        assert_eq!(chunk.fill([lap, lap + 1, lap + 2, lap + 3, 77]), 4);
        let mut chunk = sender.write_chunk(9).expect("room");
        assert_eq!(chunk.len(), 2);
        let (first, second) = chunk.uninit();
        for (room, value) in first.iter_mut().chain(second).zip([lap + 4, lap + 5]) {
            room.write(value);
        }
        // SAFETY: both were written.
        unsafe { chunk.commit(2) };
        assert_eq!(sender.write_chunk(1).map(drop), Err(TrySendError::Full(())));

        let mut chunk = receiver.read_chunk(4).expect("six are there");
        let (first, second) = chunk.as_mut_slices();
        first.iter_mut().chain(second).for_each(|value| *value += 1);
        let (first, second) = chunk.as_slices();
        assert_eq!([first, second].concat(), [lap + 1, lap + 2, lap + 3, lap + 4]);
        chunk.commit(3);
        assert_eq!(receiver.len(), 3);
        let chunk = receiver.read_chunk(9).expect("three are there");
        assert_eq!(chunk.drain().collect::<Vec<_>>(), [lap + 4, lap + 4, lap + 5]);
    }
    drop(sender);
    assert_eq!(receiver.read_chunk(3).map(drop), Err(TryRecvError::Closed));
}

#[test]
#[should_panic(expected = "at least one")]
fn no_capacity_is_refused() {
    drop(channel::<u8>(0));
}

#[test]
fn a_capacity_beyond_memory_panics() {
    // The last one is refused by the allocator; that of Miri ends the program.
    let capacities = [usize::MAX, usize::MAX / 2, usize::MAX / 32];
    for capacity in capacities.into_iter().take(if cfg!(miri) { 2 } else { 3 }) {
        let made = [
            std::panic::catch_unwind(|| drop(channel::<u64>(capacity))),
            std::panic::catch_unwind(|| drop(stream::<u64>(capacity))),
        ];
        assert!(made.iter().all(Result::is_err), "{capacity}");
    }
}

trait PollOnce: Future {
    fn poll_once(self: Pin<&mut Self>, waker: &Waker) -> Poll<Self::Output> {
        self.poll(&mut Context::from_waker(waker))
    }
}

impl<F: Future + ?Sized> PollOnce for F {}
