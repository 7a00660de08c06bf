//! The alarms of an event loop.

use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Instant;

use super::reactor::{Alarm, Reactor};

/// A [`Timer`](crate::Timer) of an event loop's, from
/// [`EventLoop::timer`](super::EventLoop::timer).
///
/// It goes off only while the event loop runs.
#[derive(Debug)]
pub struct Timer {
    reactor: Arc<Reactor>,
    id: usize,
    at: Option<Instant>,
    alarm: Option<Alarm>,
}

impl Timer {
    pub(super) fn new(reactor: &Arc<Reactor>) -> Self {
        Self { reactor: Arc::clone(reactor), id: reactor.next_id(), at: None, alarm: None }
    }

    fn clear(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            self.reactor.clear_alarm(alarm);
        }
    }
}

impl crate::Timer for Timer {
    fn set(&mut self, at: Option<Instant>) {
        if self.at != at {
            self.clear();
            self.at = at;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if at <= Instant::now() {
            self.clear();
            self.at = None;
            return Poll::Ready(());
        }
        let alarm = (at, self.id);
        self.alarm = Some(alarm);
        self.reactor.set_alarm(alarm, cx.waker());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
    }
}
