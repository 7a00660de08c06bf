//! Both cores: messages, closing, waiting, cancelling.
#![cfg(sds_loom)]

use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use loom::{future::block_on, sync::Arc, thread};
use loom_tests::check;
use sds_spsc::{Fault, RecvError, SendError, TryRecvError, Wakes};

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

macro_rules! models {
    ($channel:ident, $polled:ident: $($name:ident [$($fault:ident)*] $body:block)*) => {$(
        #[test]
        fn $name() {
            let name = concat!(module_path!(), "::", stringify!($name));
            let (_crate, name) = name.split_once("::").unwrap_or(("", name));
            check(name, &[$(Fault::$fault),*], || $body);
        }
    )*};
}

macro_rules! both {
    ($channel:ident, $polled:ident) => {
        use super::*;
        use sds_spsc::{$channel, $polled};

        models! { $channel, $polled:
            messages_wrap_around [UnorderedPublish UnorderedRelease] {
                let (mut sender, mut receiver) = $polled::<Box<u32>>(2);
                let sending = thread::spawn(move || {
                    for i in 0..3 {
                        let mut value = Box::new(i);
                        while let Err(full) = sender.try_send(value) {
                            value = full.into_inner();
                            thread::yield_now();
                        }
                    }
                });
                for i in 0..3 {
                    let value = loop {
                        match receiver.try_recv() {
                            Ok(value) => break value,
                            Err(_) => thread::yield_now(),
                        }
                    };
                    assert_eq!(*value, i);
                }
                sending.join().expect("no panic");
            }

            a_full_channel_gives_back [UnorderedPublish UnorderedRelease] {
                let (mut sender, mut receiver) = $polled::<Box<u32>>(1);
                let receiving = thread::spawn(move || {
                    let mut seen = 0;
                    for _ in 0..3 {
                        seen += usize::from(receiver.try_recv().is_ok());
                    }
                    (seen, receiver)
                });
                let mut sent = 0;
                for i in 0..3 {
                    match sender.try_send(Box::new(i)) {
                        Ok(()) => sent += 1,
                        Err(refused) => {
                            assert!(refused.is_full());
                            assert_eq!(*refused.into_inner(), i);
                        }
                    }
                }
                let (seen, mut receiver) = receiving.join().expect("no panic");
                assert_eq!(seen + receiver.drain(3).count(), sent);
            }

            slices_and_drains [UnorderedPublish UnorderedRelease] {
                let (mut sender, mut receiver) = $polled::<u32>(2);
                let receiving = thread::spawn(move || {
                    let mut seen: Vec<_> = receiver.drain(2).collect();
                    seen.extend(receiver.drain(2));
                    (seen, receiver)
                });
                let sent = sender.send_slice(&[1, 2, 3]);
                let sent = sent + sender.send_slice(&[1, 2, 3][sent..]);
                let (mut seen, mut receiver) = receiving.join().expect("no panic");
                seen.extend(receiver.drain(2));
                assert_eq!(seen, [1, 2, 3][..sent]);
            }

            a_closing_sender_loses_nothing [LateLookAtClose] {
                let (mut sender, mut receiver) = $polled::<u32>(2);
                let sending = thread::spawn(move || {
                    sender.try_send(1).expect("room");
                    sender.close();
                    assert!(sender.try_send(2).is_err());
                });
                loop {
                    match receiver.try_recv() {
                        Ok(value) => break assert_eq!(value, 1),
                        Err(TryRecvError::Closed) => panic!("the message is lost"),
                        Err(TryRecvError::Empty) => thread::yield_now(),
                    }
                }
                sending.join().expect("no panic");
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
            }

            what_is_there_is_dropped_once [UnorderedFree] {
                let (mut sender, mut receiver) = $polled::<Arc<u32>>(2);
                let value = Arc::new(7);
                let sent = Arc::clone(&value);
                sender.try_send(Arc::clone(&sent)).expect("room");
                let sending = thread::spawn(move || {
                    drop(sender.try_send(Arc::clone(&sent)));
                    drop(sender.try_send(sent));
                });
                drop(receiver.try_recv());
                drop(receiver);
                sending.join().expect("no panic");
                assert_eq!(Arc::strong_count(&value), 1);
            }

            a_receiver_is_woken [NoPublisherFence NoWaiterFence] {
                let (mut sender, mut receiver) = $channel::<u32>(2);
                let sending = thread::spawn(move || {
                    sender.try_send(1).expect("room");
                    sender.try_send(2).expect("room");
                    sender // a drop would wake, too
                });
                assert_eq!(block_on(receiver.recv()), Ok(1));
                assert_eq!(block_on(receiver.recv()), Ok(2));
                drop(sending.join());
            }

            a_sender_is_woken [NoPublisherFence NoWaiterFence] {
                let (mut sender, mut receiver) = $channel::<u32>(1);
                sender.try_send(1).expect("room");
                let receiving = thread::spawn(move || {
                    assert_eq!(receiver.try_recv(), Ok(1));
                    receiver // a drop would wake, too
                });
                assert_eq!(block_on(sender.send(2)), Ok(()));
                drop(receiving.join());
            }

            both_ends_wait [NoPublisherFence NoWaiterFence SilentClose UnorderedPublish UnorderedRelease] {
                let (mut sender, mut receiver) = $channel::<u32>(1);
                let sending = thread::spawn(move || {
                    for i in 0..3 {
                        assert_eq!(block_on(sender.send(i)), Ok(()));
                    }
                });
                for i in 0..3 {
                    assert_eq!(block_on(receiver.recv()), Ok(i));
                }
                assert_eq!(block_on(receiver.recv()), Err(RecvError));
                sending.join().expect("no panic");
            }

            a_waiting_receiver_sees_the_close [SilentClose] {
                let (mut sender, mut receiver) = $channel::<u32>(1);
                let sending = thread::spawn(move || sender.close());
                assert_eq!(block_on(receiver.recv()), Err(RecvError));
                sending.join().expect("no panic");
            }

            a_waiting_sender_sees_the_close [SilentClose] {
                let (mut sender, mut receiver) = $channel::<u32>(1);
                sender.try_send(1).expect("room");
                let receiving = thread::spawn(move || {
                    receiver.close();
                    receiver
                });
                assert_eq!(block_on(sender.send(2)), Err(SendError(2)));
                drop(receiving.join());
            }

            a_deferred_sender_wakes_at_its_flush [NoFlush NoFlushFence NoWaiterFence] {
                let (sender, mut receiver) = $channel::<u32>(2);
                let (mut answers, mut answered) = $channel::<()>(1);
                let sending = thread::spawn(move || {
                    let wakes = Wakes::new();
                    let mut sender = sender.deferred(&wakes);
                    sender.try_send(1).expect("room");
                    wakes.flush();
                    assert_eq!(block_on(answered.recv()), Ok(()));
                });
                assert_eq!(block_on(receiver.recv()), Ok(1));
                answers.try_send(()).expect("room");
                sending.join().expect("no panic");
            }

            a_deferred_receiver_wakes_at_its_flush [NoFlush NoFlushFence NoWaiterFence] {
                let (mut sender, receiver) = $channel::<u32>(1);
                sender.try_send(1).expect("room");
                let receiving = thread::spawn(move || {
                    let wakes = Wakes::new();
                    let mut receiver = receiver.deferred(&wakes);
                    assert_eq!(receiver.try_recv(), Ok(1));
                    wakes.flush();
                    assert_eq!(block_on(receiver.recv()), Ok(2));
                });
                assert_eq!(block_on(sender.send(2)), Ok(()));
                receiving.join().expect("no panic");
            }

            a_cancelled_receive_takes_nothing [UnlockedWithdraw] {
                let (mut sender, mut receiver) = $channel::<u32>(2);
                let sending = thread::spawn(move || {
                    sender.try_send(1).expect("room");
                    sender
                });
                let first = poll_once(receiver.recv());
                if first.is_pending() {
                    assert_eq!(block_on(receiver.recv()), Ok(1));
                }
                drop(sending.join());
                assert!(receiver.try_recv().is_err());
            }

            a_cancelled_send_sends_nothing [UnlockedWithdraw] {
                let (mut sender, mut receiver) = $channel::<Arc<u32>>(1);
                sender.try_send(Arc::new(1)).expect("room");
                let receiving = thread::spawn(move || {
                    drop(receiver.try_recv().expect("it is there"));
                    receiver
                });
                let sent = poll_once(sender.send(Arc::new(2))).is_ready();
                let mut receiver = receiving.join().expect("no panic");
                assert_eq!(receiver.try_recv().is_ok(), sent);
            }
        }
    };
}

mod index {
    both!(channel, polled_channel);

    models! { channel, polled_channel:
        chunks [UnorderedPublish UnorderedRelease] {
            let (mut sender, mut receiver) = polled_channel::<Box<u32>>(2);
            let receiving = thread::spawn(move || {
                let mut seen = 0;
                for _ in 0..2 {
                    if let Ok(chunk) = receiver.read_chunk(2) {
                        seen += chunk.len();
                        let last = chunk.len();
                        chunk.commit(last);
                    }
                }
                (seen, receiver)
            });
            let mut sent = 0;
            for _ in 0..2 {
                if let Ok(chunk) = sender.write_chunk(2) {
                    sent += chunk.fill([Box::new(1), Box::new(2)]);
                }
            }
            let (seen, mut receiver) = receiving.join().expect("no panic");
            assert_eq!(seen + receiver.drain(2).count(), sent);
        }
    }
}

mod in_slot {
    both!(stream, polled_stream);
}
