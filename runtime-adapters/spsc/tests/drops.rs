//! Every message is dropped once, whoever lets go of it.

use core::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::atomic::{AtomicIsize, Ordering},
    task::{Context, Waker},
};
use std::sync::Arc;

use sds_spsc::{Core, Receiver, Sender, Waking, channel, stream};

/// Counts those alive; a double drop makes it negative, a leak leaves it positive.
struct Tracked(Arc<AtomicIsize>);

impl Tracked {
    fn new(alive: &Arc<AtomicIsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(alive))
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Ends<C> = (Sender<Tracked, Waking, C>, Receiver<Tracked, Waking, C>);

fn check<C: Core>(ends: Ends<C>, scenario: fn(Ends<C>, &Arc<AtomicIsize>)) {
    let alive = Arc::new(AtomicIsize::new(0));
    scenario(ends, &alive);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

macro_rules! both_cores {
    ($($name:ident($sender:ident, $receiver:ident, $alive:ident) $body:block)*) => {$(
        #[test]
        fn $name() {
            fn scenario<C: Core>(ends: Ends<C>, $alive: &Arc<AtomicIsize>) {
                let (mut $sender, mut $receiver) = ends;
                $body
            }
            check(channel(5), scenario);
            check(stream(5), scenario);
        }
    )*};
}

both_cores! {
    messages_left_behind(sender, receiver, alive) {
        for _ in 0..4 {
            sender.try_send(Tracked::new(alive)).expect("room");
        }
        drop(receiver.try_recv());
        drop(sender);
        assert_eq!(alive.load(Ordering::Relaxed), 3);
    }

    messages_to_a_receiver_that_goes_first(sender, receiver, alive) {
        for _ in 0..7 {
            drop(sender.try_send(Tracked::new(alive)));
        }
        assert_eq!(receiver.drain(3).count(), 3);
        drop(receiver);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        assert!(sender.try_send(Tracked::new(alive)).is_err());
    }

    messages_in_a_future(sender, receiver, alive) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..7 {
            drop(pin!(sender.send(Tracked::new(alive))).poll(&mut context));
        }
        assert_eq!(alive.load(Ordering::Relaxed), 5);
        assert!(pin!(receiver.recv()).poll(&mut context).is_ready());
    }

    a_drain_that_leaks(sender, receiver, alive) {
        for _ in 0..5 {
            sender.try_send(Tracked::new(alive)).expect("room");
        }
        let mut drain = receiver.drain(4);
        drop(drain.next());
        drop(drain.next());
        core::mem::forget(drain);
        assert_eq!(alive.load(Ordering::Relaxed), 3);
    }
}

#[test]
fn chunks_drop_what_is_committed() {
    check(channel(5), |(mut sender, mut receiver), alive| {
        for _ in 0..3 {
            let chunk = sender.write_chunk(5).expect("room");
            assert_eq!(chunk.fill((0..4).map(|_| Tracked::new(alive))), 4);
            receiver.read_chunk(4).expect("four").commit(3);
            assert_eq!(alive.load(Ordering::Relaxed), 1);
            assert_eq!(receiver.read_chunk(9).expect("one").drain().count(), 1);
        }
        drop(sender.write_chunk(5));
        assert_eq!(sender.write_chunk(1).map(|chunk| chunk.fill([Tracked::new(alive)])), Ok(1));
    });
}

#[test]
fn an_iterator_that_panics_sends_what_it_gave() {
    check(channel(5), |(mut sender, mut receiver), alive| {
        let values = (0..4).map(|i| if i < 2 { Tracked::new(alive) } else { panic!("no more") });
        let chunk = sender.write_chunk(5).expect("room");
        let fill = AssertUnwindSafe(|| chunk.fill(values));
        assert!(std::panic::catch_unwind(fill).is_err());
        assert_eq!(receiver.drain(9).count(), 2);
    });
}

#[test]
fn a_message_whose_drop_panics_does_not_keep_the_others() {
    struct Bomb(bool, #[expect(dead_code, reason = "only its drop matters")] Tracked);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "a bomb");
        }
    }
    let alive = Arc::new(AtomicIsize::new(0));
    let (mut sender, receiver) = channel(4);
    for i in 0..4 {
        sender.try_send(Bomb(i == 1, Tracked::new(&alive))).map_err(drop).expect("room");
    }
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
    drop(sender);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn messages_without_size_are_counted() {
    struct Empty;
    let (mut sender, mut receiver) = channel(3);
    assert_eq!((0..5).filter(|_| sender.try_send(Empty).is_ok()).count(), 3);
    assert_eq!(receiver.read_chunk(9).map(|chunk| chunk.as_slices().0.len()), Ok(3));
    assert_eq!(receiver.drain(9).count(), 3);
    let (mut sender, mut receiver) = stream(3);
    assert_eq!((0..5).filter(|_| sender.try_send(Empty).is_ok()).count(), 3);
    assert_eq!(receiver.drain(9).count(), 3);
}
