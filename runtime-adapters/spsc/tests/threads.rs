//! Two threads and more, with checksums. The work is bounded; nobody sleeps.
#![cfg(feature = "std")]

use std::thread;

use sds_spsc::{
    Core, LaneReceiver, Mode, Receiver, Sender, TryRecvError, TrySendError, Wakes, Waking, channel,
    lanes, polled_channel, polled_stream, stream,
};

/// Miri takes a thousand times as long.
const MESSAGES: u64 = if cfg!(miri) { 100 } else { 40_000 };

/// Depends on each message and on their order.
fn mix(sum: u64, message: u64) -> u64 {
    (sum ^ message).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

fn expected() -> u64 {
    (0..MESSAGES).fold(0, mix)
}

fn by_trying<M: Mode + Send, C: Core>(
    (mut sender, mut receiver): (Sender<u64, M, C>, Receiver<u64, M, C>),
) where
    Sender<u64, M, C>: Send,
{
    let sum = thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..MESSAGES {
                while let Err(TrySendError::Full(_)) = sender.try_send(i) {
                    thread::yield_now();
                }
            }
        });
        let mut sum = 0;
        loop {
            match receiver.try_recv() {
                Ok(message) => sum = mix(sum, message),
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(TryRecvError::Closed) => return sum,
            }
        }
    });
    assert_eq!(sum, expected());
}

fn by_waiting<C: Core>(
    (mut sender, mut receiver): (Sender<u64, Waking, C>, Receiver<u64, Waking, C>),
) where
    Sender<u64, Waking, C>: Send,
{
    let sum = thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..MESSAGES {
                sender.send_blocking(i).expect("the receiver takes all");
            }
        });
        let mut sum = 0;
        while let Ok(message) = receiver.recv_blocking() {
            sum = mix(sum, message);
        }
        sum
    });
    assert_eq!(sum, expected());
}

#[test]
fn index_by_trying() {
    by_trying(polled_channel(64));
    by_trying(polled_channel(1));
}

#[test]
fn in_slot_by_trying() {
    by_trying(polled_stream(64));
    by_trying(polled_stream(1));
}

#[test]
fn index_by_waiting() {
    by_waiting(channel(64));
    by_waiting(channel(3));
}

#[test]
fn in_slot_by_waiting() {
    by_waiting(stream(64));
    by_waiting(stream(3));
}

#[test]
fn index_in_chunks() {
    let (mut sender, mut receiver) = channel::<u64>(48);
    let sum = thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < MESSAGES {
                match sender.write_chunk(20) {
                    Ok(chunk) => next += chunk.fill(next..MESSAGES) as u64,
                    Err(_) => thread::yield_now(),
                }
            }
        });
        let mut sum = 0;
        loop {
            match receiver.read_chunk(16) {
                Ok(chunk) => {
                    let (first, second) = chunk.as_slices();
                    sum = first.iter().chain(second).copied().fold(sum, mix);
                    let all = chunk.len();
                    chunk.commit(all);
                }
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(TryRecvError::Closed) => return sum,
            }
        }
    });
    assert_eq!(sum, expected());
}

#[test]
fn deferred_ends_on_one_thread_and_a_waiting_one() {
    let (mut requests, at_loop) = stream::<u64>(16);
    let (from_loop, mut answers) = channel::<u64>(16);
    let sum = thread::scope(|scope| {
        scope.spawn(move || {
            let wakes = Wakes::new();
            let (mut at_loop, mut from_loop) =
                (at_loop.deferred(&wakes), from_loop.deferred(&wakes));
            let serve = async {
                while let Ok(request) = at_loop.recv().await {
                    from_loop.send(request).await.expect("answers are taken");
                }
            };
            futures_lite::future::block_on(wakes.turns(serve));
        });
        scope.spawn(move || {
            for i in 0..MESSAGES {
                requests.send_blocking(i).expect("the loop takes all");
            }
        });
        let mut sum = 0;
        while let Ok(answer) = answers.recv_blocking() {
            sum = mix(sum, answer);
        }
        sum
    });
    assert_eq!(sum, expected());
}

/// Each lane sends `thread << 32 | i`, and its messages come in order.
fn check_lanes(mut receive: impl FnMut() -> Option<u64>, senders: u64) {
    let mut next = vec![0; senders as usize];
    while let Some(message) = receive() {
        let (lane, i) = ((message >> 32) as usize, message & 0xffff_ffff);
        assert_eq!(next[lane], i);
        next[lane] += 1;
    }
    assert!(next.iter().all(|count| *count == MESSAGES / 8));
}

fn with_lanes(senders: u64, check: impl FnOnce(LaneReceiver<u64>)) {
    let (connector, receiver) = lanes(8);
    thread::scope(|scope| {
        for id in 0..senders {
            let connector = connector.clone();
            scope.spawn(move || {
                let mut lane = connector.connect().expect("the receiver is alive");
                for i in 0..MESSAGES / 8 {
                    lane.send_blocking(id << 32 | i).expect("the receiver takes all");
                }
            });
        }
        drop(connector);
        check(receiver);
    });
}

#[test]
fn lanes_keep_their_order() {
    with_lanes(4, |mut receiver| check_lanes(|| receiver.recv_blocking().ok(), 4));
}

#[test]
fn a_deferred_receiver_of_lanes_wakes_their_senders() {
    with_lanes(3, |receiver| {
        let wakes = Wakes::new();
        let mut receiver = receiver.deferred(&wakes);
        let receive = || futures_lite::future::block_on(wakes.turns(receiver.recv())).ok();
        check_lanes(receive, 3);
    });
}
