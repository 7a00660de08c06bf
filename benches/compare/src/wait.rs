//! The way in which a thread waits for the other one, the same for every candidate.

use core::hint::spin_loop;
use core::time::Duration;
use std::thread::yield_now;
use std::time::Instant;

use anyhow::bail;

/// Attempts, each after a spin hint, before the thread yields between attempts: some microseconds.
const SPINS: u32 = 128;

/// Nothing that is measured here makes the other side wait that long, so it never comes.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Repeats `attempt` until it gives something, spinning at first and yielding later.
///
/// # Errors
///
/// Nothing came for ten seconds: a message, a slot or a wake-up was lost.
#[inline]
pub(crate) fn wait_for<T>(mut attempt: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    for _ in 0..SPINS {
        spin_loop();
        if let Some(value) = attempt() {
            return Ok(value);
        }
    }
    let since = Instant::now();
    while since.elapsed() < STALLED_AFTER {
        yield_now();
        if let Some(value) = attempt() {
            return Ok(value);
        }
    }
    bail!(
        "no progress for {} s: a message, a free slot or a wake-up was lost",
        STALLED_AFTER.as_secs()
    )
}
