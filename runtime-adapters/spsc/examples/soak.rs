//! Two threads send and receive for N seconds (10, or the argument) in each mode and on each core,
//! and compare checksums. A difference ends the program with an error.

use core::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{env, process::ExitCode, thread, time::Instant};

use sds_spsc::{
    Core, Polled, Receiver, Sender, TryRecvError, TrySendError, Waking, channel, polled_channel,
    polled_stream, stream,
};

/// Messages between two looks at the clock.
const ROUND: u64 = 1 << 16;

/// Depends on each message and on their order.
fn mix(sum: u64, message: u64) -> u64 {
    (sum ^ message).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// The observations of one side.
#[derive(Default, PartialEq)]
struct Tally {
    messages: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, message: u64) {
        self.messages += 1;
        self.sum = mix(self.sum, message);
    }
}

fn soak(
    name: &str,
    time: Duration,
    mut send: impl FnMut(u64) + Send,
    mut receive: impl FnMut() -> Option<u64> + Send,
) -> Result<(), Box<dyn Error>> {
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let (sent, received) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = Tally::default();
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..ROUND {
                    let message = sent.messages;
                    send(message);
                    sent.add(message);
                }
            }
            drop(send);
            sent
        });
        let receiving = scope.spawn(|| {
            let mut received = Tally::default();
            while let Some(message) = receive() {
                received.add(message);
                if received.messages % ROUND == 0 && start.elapsed() >= time {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            received
        });
        Ok::<_, Box<dyn Error>>((
            sending.join().map_err(|_| "the sender panicked")?,
            receiving.join().map_err(|_| "the receiver panicked")?,
        ))
    })?;
    if sent != received {
        return Err(format!("{name}: sent and received differ").into());
    }
    let rate = received.messages as f64 / start.elapsed().as_secs_f64() / 1e6;
    eprintln!("{name}: {} messages, {rate:.1} M/s, checksums agree", received.messages);
    Ok(())
}

fn polled<C: Core>(
    name: &str,
    time: Duration,
    (mut sender, mut receiver): (Sender<u64, Polled, C>, Receiver<u64, Polled, C>),
) -> Result<(), Box<dyn Error>>
where
    Sender<u64, Polled, C>: Send,
    Receiver<u64, Polled, C>: Send,
{
    let send = move |message| {
        while let Err(TrySendError::Full(_)) = sender.try_send(message) {
            core::hint::spin_loop();
        }
    };
    let receive = move || loop {
        match receiver.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Empty) => core::hint::spin_loop(),
            Err(TryRecvError::Closed) => return None,
        }
    };
    soak(name, time, send, receive)
}

fn waking<C: Core>(
    name: &str,
    time: Duration,
    (mut sender, mut receiver): (Sender<u64, Waking, C>, Receiver<u64, Waking, C>),
) -> Result<(), Box<dyn Error>>
where
    Sender<u64, Waking, C>: Send,
    Receiver<u64, Waking, C>: Send,
{
    let send = move |message| sender.send_blocking(message).expect("the receiver takes all");
    let receive = move || receiver.recv_blocking().ok();
    soak(name, time, send, receive)
}

fn main() -> ExitCode {
    let seconds = env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(10.0);
    let time = Duration::from_secs_f64(seconds / 6.0);
    let soaked = polled("channel, polled", time, polled_channel(1024))
        .and_then(|()| polled("stream, polled", time, polled_stream(1024)))
        .and_then(|()| waking("channel, waking", time, channel(1024)))
        .and_then(|()| waking("stream, waking", time, stream(1024)))
        .and_then(|()| waking("channel of 1, waking", time, channel(1)))
        .and_then(|()| waking("stream of 7, waking", time, stream(7)));
    match soaked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
