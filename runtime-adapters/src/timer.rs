//! The one thing a driver asks of a runtime: to be woken at a time.

use core::task::{Context, Poll};
use std::time::Instant;

/// An alarm that can be set again and again.
///
/// Runtimes implement it; `smol::Timer` is one.
pub trait Timer: Send + Unpin + 'static {
    /// Goes off at `at` instead of whenever it would have; `None`: never.
    fn set(&mut self, at: Option<Instant>);

    /// `Ready` once the time has passed, whether or not it was polled before; pending again
    /// after that until it is set anew. Wakes the last `cx` it was polled with.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
