//! The loops that are timed. Every one checks that each message arrived exactly once.

use core::time::Duration;
use std::time::Instant;

use anyhow::{bail, ensure};

use super::channel::{
    AsyncChannel, AsyncRecv, AsyncSend, BATCH, BatchChannel, Channel, Message, RecvBatch,
    SendBatch, SharedAsyncChannel, TryRecv, TrySend,
};
use super::executor;
use crate::cores::Cores;
use crate::wait::wait_for;

/// Messages in a burst.
const BURST: u64 = 32;

/// Room in the channels of rows that do not say otherwise.
const CAPACITY: usize = 1024;

/// One thread: send one, receive one.
pub(crate) fn pairs<C: Channel<T>, T: Message>(
    _: &Cores,
    messages: u64,
) -> anyhow::Result<Duration> {
    let (mut sender, mut receiver) = C::open::<CAPACITY>();
    let mut sum = 0_u64;
    let start = Instant::now();
    for number in 0..messages {
        ensure!(sender.try_send(T::numbered(number)), "refused a message while empty");
        let Some(message) = receiver.try_recv() else { bail!("lost a message") };
        sum = sum.wrapping_add(message.digest());
    }
    let elapsed = start.elapsed();
    verify::<T>(sum, messages)?;
    Ok(elapsed)
}

/// One thread: send 32, receive 32.
pub(crate) fn bursts<C: Channel<T>, T: Message>(
    _: &Cores,
    messages: u64,
) -> anyhow::Result<Duration> {
    let (mut sender, mut receiver) = C::open::<CAPACITY>();
    let mut sum = 0_u64;
    let start = Instant::now();
    for first in (0..messages).step_by(BURST as usize) {
        for number in first..first + BURST {
            ensure!(sender.try_send(T::numbered(number)), "refused a message while there was room");
        }
        for _ in 0..BURST {
            let Some(message) = receiver.try_recv() else { bail!("lost a message") };
            sum = sum.wrapping_add(message.digest());
        }
    }
    let elapsed = start.elapsed();
    verify::<T>(sum, messages)?;
    Ok(elapsed)
}

/// Two threads: one sends as fast as it can, the other receives.
pub(crate) fn stream<C: Channel<T>, T: Message, const CAPACITY: usize>(
    cores: &Cores,
    messages: u64,
) -> anyhow::Result<Duration> {
    let (mut sender, mut receiver) = C::open::<CAPACITY>();
    cores.together(
        move || {
            let start = Instant::now();
            let mut sum = 0_u64;
            for _ in 0..messages {
                sum = sum.wrapping_add(recv(&mut receiver)?);
            }
            let elapsed = start.elapsed();
            verify::<T>(sum, messages)?;
            Ok(elapsed)
        },
        move || (0..messages).try_for_each(|number| send(&mut sender, T::numbered(number))),
    )
}

/// Two threads, two channels: each number is sent back before the next one goes.
pub(crate) fn round_trips<C: Channel<u64>>(
    cores: &Cores,
    messages: u64,
) -> anyhow::Result<Duration> {
    let (mut there, mut far_receiver) = C::open::<CAPACITY>();
    let (mut far_sender, mut back) = C::open::<CAPACITY>();
    cores.together(
        move || {
            let start = Instant::now();
            for number in 0..messages {
                send(&mut there, number)?;
                let answer = recv(&mut back)?;
                ensure!(answer == number, "sent {number} and got {answer} back");
            }
            Ok(start.elapsed())
        },
        move || (0..messages).try_for_each(|_| send(&mut far_sender, recv(&mut far_receiver)?)),
    )
}

/// Two threads: 64 messages are sent at once and received at once.
pub(crate) fn batches<C: BatchChannel>(cores: &Cores, messages: u64) -> anyhow::Result<Duration> {
    let (mut sender, mut receiver) = C::open::<CAPACITY>();
    let some = |count: u64| (count > 0).then_some(count);
    cores.together(
        move || {
            let start = Instant::now();
            let mut sum = 0_u64;
            let mut received = 0;
            while received < messages {
                received += match receiver.try_recv_batch(&mut sum) {
                    0 => wait_for(|| some(receiver.try_recv_batch(&mut sum)))?,
                    count => count,
                };
            }
            let elapsed = start.elapsed();
            ensure!(received == messages, "received {received} messages");
            verify::<u64>(sum, messages)?;
            Ok(elapsed)
        },
        move || {
            let mut next = 0;
            while next < messages {
                let batch = next..messages.min(next + BATCH);
                next += match sender.try_send_batch(batch.clone()) {
                    0 => wait_for(|| some(sender.try_send_batch(batch.clone())))?,
                    count => count,
                };
            }
            Ok(())
        },
    )
}

/// One thread, two tasks on one executor: one sends, the other receives.
pub(crate) fn async_one_thread<C: AsyncChannel>(
    _: &Cores,
    messages: u64,
) -> anyhow::Result<Duration> {
    let (sender, receiver, end_of_turn) = C::open_local::<CAPACITY>();
    let start = Instant::now();
    let (sent, sum) =
        executor::run_both(send_all(sender, messages), recv_all(receiver, messages), end_of_turn)?;
    let elapsed = start.elapsed();
    sent?;
    verify::<u64>(sum?, messages)?;
    Ok(elapsed)
}

/// Two threads with one task each.
pub(crate) fn async_two_threads<C: SharedAsyncChannel>(
    cores: &Cores,
    messages: u64,
) -> anyhow::Result<Duration> {
    let (sender, receiver) = C::open::<CAPACITY>();
    cores.together(
        move || {
            let start = Instant::now();
            let sum = executor::run(recv_all(receiver, messages))??;
            let elapsed = start.elapsed();
            verify::<u64>(sum, messages)?;
            Ok(elapsed)
        },
        move || executor::run(send_all(sender, messages))?,
    )
}

#[inline]
fn send<T: Message>(sender: &mut impl TrySend<T>, message: T) -> anyhow::Result<()> {
    if sender.try_send(message) {
        return Ok(());
    }
    wait_for(|| sender.try_send(message).then_some(()))
}

/// Gives the digest: as a result, a large message would be laid out across the error and copied in
/// odd pieces.
#[inline]
fn recv<T: Message>(receiver: &mut impl TryRecv<T>) -> anyhow::Result<u64> {
    match receiver.try_recv() {
        Some(message) => Ok(message.digest()),
        None => wait_for(|| receiver.try_recv().map(T::digest)),
    }
}

async fn send_all(mut sender: impl AsyncSend, messages: u64) -> anyhow::Result<()> {
    for number in 0..messages {
        sender.send(number).await?;
    }
    Ok(())
}

/// Gives the sum of what came.
async fn recv_all(mut receiver: impl AsyncRecv, messages: u64) -> anyhow::Result<u64> {
    let mut sum = 0_u64;
    for _ in 0..messages {
        sum = sum.wrapping_add(receiver.recv().await?);
    }
    Ok(sum)
}

fn verify<T: Message>(sum: u64, messages: u64) -> anyhow::Result<()> {
    let expected = T::checksum(messages);
    ensure!(
        sum == expected,
        "{messages} messages add up to {sum} instead of {expected}: some were lost or changed"
    );
    Ok(())
}
