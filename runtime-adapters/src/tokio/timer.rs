//! The alarm of a driver on tokio.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::time::Instant;

use ::tokio::time::{Sleep, sleep_until};

/// A [`Timer`](crate::Timer) of tokio's.
///
/// It may be made and set anywhere, and must be polled on a tokio runtime with time enabled:
/// tokio panics elsewhere.
#[derive(Debug, Default)]
pub struct Timer {
    at: Option<Instant>,
    /// Kept to be set again; made at the first poll, because tokio wants to know the runtime.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl crate::Timer for Timer {
    fn set(&mut self, at: Option<Instant>) {
        self.at = at;
        if let (Some(at), Some(sleep)) = (at, &mut self.sleep) {
            sleep.as_mut().reset(at.into());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        let over = sleep.as_mut().poll(cx);
        if over.is_ready() {
            self.at = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::task::Waker;
    use core::time::Duration;

    use super::*;
    use crate::Timer as _;

    #[test]
    fn it_goes_off_once_each_time_it_is_set_and_not_early() {
        let mut timer = Timer::default();
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let cx = &mut Context::from_waker(Waker::noop());
            timer.set(Some(Instant::now() + Duration::from_secs(3_600)));
            assert!(timer.poll(cx).is_pending());
            for _ in 0..3 {
                let at = Instant::now() + Duration::from_millis(5);
                timer.set(Some(at));
                poll_fn(|cx| timer.poll(cx)).await;
                assert!(Instant::now() >= at);
                assert!(timer.poll(cx).is_pending());
            }
        });
    }
}
