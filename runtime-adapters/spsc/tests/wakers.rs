//! Wakers that do more than wake: they drop ends, change their mode, panic.

use core::{
    any::Any,
    cell::RefCell,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};
use std::{panic::catch_unwind, sync::Arc, task::Wake};

use sds_spsc::{Core, Receiver, Sender, Wakes, Waking, channel, stream};

std::thread_local! {
    /// A waker is `Send` and a deferred end is not, so the waker finds the ends of its thread here.
    static ENDS: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Drops what is in `ENDS`.
struct DropEnds;

impl Wake for DropEnds {
    fn wake(self: Arc<Self>) {
        drop(ENDS.take().expect("the ends are there"));
    }
}

/// Panics.
struct Panic;

impl Wake for Panic {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

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

fn waker(wake: impl Wake + Send + Sync + 'static) -> Waker {
    Arc::new(wake).into()
}

type Ends<C> = (Sender<Arc<u32>, Waking, C>, Receiver<Arc<u32>, Waking, C>);

/// A test body for each core.
macro_rules! both_cores {
    ($($name:ident($first:pat, $second:pat) $body:block)*) => {$(
        mod $name {
            use super::*;
            fn check<C: Core + 'static>($first: Ends<C>, $second: Ends<C>) $body
            #[test]
            fn index() { check(channel(4), channel(4)); }
            #[test]
            fn in_slot() { check(stream(4), stream(4)); }
        }
    )*};
}

both_cores! {
    both_ends_go_while_a_flush_wakes_the_receiver((sender, mut receiver), _) {
        let (wakes, message) = (Wakes::new(), Arc::new(1));
        let mut sender = sender.deferred(&wakes);
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker(DropEnds))).is_pending());
        sender.try_send(Arc::clone(&message)).expect("room");
        ENDS.set(Some(Box::new((sender, receiver.deferred(&wakes)))));
        wakes.flush();
        assert_eq!(Arc::strong_count(&message), 1);
    }

    both_ends_go_while_a_flush_wakes_the_sender((mut sender, receiver), _) {
        let (wakes, message) = (Wakes::new(), Arc::new(1));
        let mut receiver = receiver.deferred(&wakes);
        fill(&mut sender, &message);
        assert!(sender.poll_ready(&mut Context::from_waker(&waker(DropEnds))).is_pending());
        assert_eq!(receiver.drain(3).count(), 3);
        ENDS.set(Some(Box::new((sender.deferred(&wakes), receiver))));
        wakes.flush();
        assert_eq!(Arc::strong_count(&message), 1);
    }

    a_panic_in_a_flush_leaves_nobody_asleep((sender, mut receiver), (other, mut others)) {
        let (wakes, bell) = (Wakes::new(), Arc::new(Bell::default()));
        let (mut sender, mut other) = (sender.deferred(&wakes), other.deferred(&wakes));
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker(Panic))).is_pending());
        assert!(others.poll_recv(&mut Context::from_waker(&bell.clone().into())).is_pending());
        sender.try_send(Arc::new(1)).expect("room");
        other.try_send(Arc::new(2)).expect("room");
        assert!(catch_unwind(AssertUnwindSafe(|| wakes.flush())).is_err());
        assert_eq!((bell.rings(), wakes.is_clean()), (1, true));
    }

    a_panic_at_a_close_leaves_nobody_asleep((mut sender, receiver), _) {
        let (wakes, bell) = (Wakes::new(), Arc::new(Bell::default()));
        let mut receiver = receiver.deferred(&wakes);
        fill(&mut sender, &Arc::new(1));
        assert!(sender.poll_ready(&mut Context::from_waker(&bell.clone().into())).is_pending());
        assert_eq!(receiver.drain(4).count(), 4); // the sender is not woken before the flush
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker(Panic))).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| sender.close())).is_err());
        assert_eq!(bell.rings(), 1);
    }

    a_panic_as_the_receiver_goes_leaks_nothing((mut sender, receiver), _) {
        let message = Arc::new(1);
        fill(&mut sender, &message);
        assert!(sender.poll_ready(&mut Context::from_waker(&waker(Panic))).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
        drop(sender);
        assert_eq!(Arc::strong_count(&message), 1);
    }

    a_panic_as_the_sender_goes_leaks_nothing((mut sender, mut receiver), _) {
        let (message, present) = (Arc::new(1), waker(Panic));
        assert!(receiver.poll_recv(&mut Context::from_waker(&present)).is_pending());
        let send = AssertUnwindSafe(|| sender.try_send(Arc::clone(&message)));
        assert!(catch_unwind(send).is_err());
        receiver.peek().expect("it was sent");
        drop(receiver.try_recv());
        assert!(receiver.poll_recv(&mut Context::from_waker(&present)).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(sender))).is_err());
        assert!(matches!(receiver.poll_recv(&mut Context::from_waker(&present)), Poll::Ready(Err(_))));
        drop(receiver);
        assert_eq!(Arc::strong_count(&message), 1);
    }

    a_sender_that_is_waking_again_has_woken((sender, mut receiver), _) {
        let (wakes, bell) = (Wakes::new(), Arc::new(Bell::default()));
        let present = Waker::from(bell.clone());
        let mut sender = sender.deferred(&wakes);
        assert!(receiver.poll_recv(&mut Context::from_waker(&present)).is_pending());
        sender.try_send(Arc::new(1)).expect("room");
        assert_eq!(bell.rings(), 0);
        let _sender = sender.waking();
        assert_eq!(bell.rings(), 1);
        drop(receiver.try_recv().expect("it was sent"));
        assert!(receiver.poll_recv(&mut Context::from_waker(&present)).is_pending());
        wakes.flush();
        assert_eq!(bell.rings(), 1, "what is paid is not paid again");
    }

    a_receiver_that_is_waking_again_has_woken((mut sender, receiver), _) {
        let (wakes, bell) = (Wakes::new(), Arc::new(Bell::default()));
        let present = Waker::from(bell.clone());
        let message = Arc::new(1);
        let mut receiver = receiver.deferred(&wakes);
        fill(&mut sender, &message);
        assert!(sender.poll_ready(&mut Context::from_waker(&present)).is_pending());
        assert_eq!(receiver.drain(2).count(), 2);
        assert_eq!(bell.rings(), 0);
        let _receiver = receiver.waking();
        assert_eq!(bell.rings(), 1);
        assert!(sender.poll_ready(&mut Context::from_waker(&present)).is_ready());
    }

    // The flush under way has it in its list, where the end no longer is when its turn comes.
    an_end_that_is_waking_again_within_a_flush_has_woken((sender, mut receiver), (other, mut others)) {
        struct MakeWaking<C: Core>(core::marker::PhantomData<fn(C)>);
        impl<C: Core + 'static> Wake for MakeWaking<C> {
            fn wake(self: Arc<Self>) {
                let ends = ENDS.take().expect("the end is there");
                let deferred = ends.downcast::<Sender<Arc<u32>, sds_spsc::Deferred, C>>();
                let waking = deferred.expect("a deferred sender").waking();
                ENDS.set(Some(Box::new(waking)));
            }
        }
        let (wakes, bell) = (Wakes::new(), Arc::new(Bell::default()));
        let (mut sender, mut other) = (sender.deferred(&wakes), other.deferred(&wakes));
        let make_waking = waker(MakeWaking::<C>(core::marker::PhantomData));
        assert!(receiver.poll_recv(&mut Context::from_waker(&make_waking)).is_pending());
        assert!(others.poll_recv(&mut Context::from_waker(&bell.clone().into())).is_pending());
        sender.try_send(Arc::new(1)).expect("room");
        other.try_send(Arc::new(2)).expect("room");
        ENDS.set(Some(Box::new(other)));
        wakes.flush();
        assert_eq!(bell.rings(), 1);
        drop(ENDS.take());
    }
}

fn fill<C: Core>(sender: &mut Sender<Arc<u32>, Waking, C>, message: &Arc<u32>) {
    while sender.try_send(Arc::clone(message)).is_ok() {}
}

#[cfg(feature = "std")]
#[test]
fn a_panic_as_lanes_close_leaves_no_sender_asleep() {
    let (connector, mut receiver) = sds_spsc::lanes(1);
    let mut lanes = [0, 1, 2].map(|_| connector.connect().expect("the receiver is alive"));
    let bell = Arc::new(Bell::default());
    for (i, lane) in lanes.iter_mut().enumerate() {
        lane.try_send(i).expect("room");
        let present = if i == 0 { waker(Panic) } else { bell.clone().into() };
        assert!(lane.poll_ready(&mut Context::from_waker(&present)).is_pending());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| receiver.close())).is_err());
    assert_eq!(bell.rings(), 2);
    assert!(lanes.iter().all(Sender::is_closed));
}

#[test]
fn a_receiver_that_is_waking_again_has_told_what_is_free() {
    let wakes = Wakes::new();
    let (mut sender, receiver) = stream::<u64>(64);
    let mut receiver = receiver.deferred(&wakes);
    assert_eq!(sender.send_slice(&[7; 10]), 10);
    (0..10).for_each(|_| assert_eq!(receiver.try_recv(), Ok(7)));
    assert_eq!(sender.len(), 10); // core B tells once in a batch
    let _receiver = receiver.waking();
    assert!(sender.is_empty());
}
