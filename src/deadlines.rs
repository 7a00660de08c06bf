//! When each channel of a node wants to be woken.

use alloc::collections::BTreeMap;

use crate::id::ChannelId;
use crate::time::Instant;
use crate::timer::{Deadline, DeadlineReason};

/// The deadlines of those channels that have one. The first is at hand: a look at it costs the same
/// however many channels wait.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BTreeMap<(Instant, ChannelId), DeadlineReason>,
    /// Of `queue`.
    first: Option<Deadline>,
}

impl Deadlines {
    /// The earliest.
    pub(crate) const fn first(&self) -> Option<Deadline> {
        self.first
    }

    /// The channel that is the first to be woken, if its time has come.
    pub(crate) fn due(&self, now: Instant) -> Option<&ChannelId> {
        self.first.filter(|first| first.at <= now)?;
        self.queue.first_key_value().map(|((_, channel), _)| channel)
    }

    /// A channel's deadline was `from` and is `to`.
    pub(crate) fn replace(
        &mut self,
        channel: &ChannelId,
        from: Option<Deadline>,
        to: Option<Deadline>,
    ) {
        if let Some(from) = from {
            self.queue.remove(&(from.at, channel.clone()));
        }
        if let Some(to) = to {
            self.queue.insert((to.at, channel.clone()), to.reason);
        }
        let first = self.queue.first_key_value();
        self.first = first.map(|((at, _), reason)| Deadline { at: *at, reason: *reason });
    }

    /// No channel wants to be woken.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_the_earliest_through_every_change() {
        let deadline = |ms, reason| Some(Deadline { at: Instant::from_millis(ms), reason });
        let (a, b) = (ChannelId::from("a"), ChannelId::from("b"));
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.first(), None);
        deadlines.replace(&a, None, deadline(5, DeadlineReason::Sync));
        deadlines.replace(&b, None, deadline(7, DeadlineReason::Resend));
        assert_eq!(deadlines.first(), deadline(5, DeadlineReason::Sync));
        assert_eq!(deadlines.due(Instant::from_millis(4)), None);
        assert_eq!(deadlines.due(Instant::from_millis(5)), Some(&a));

        deadlines.replace(&a, deadline(5, DeadlineReason::Sync), deadline(9, DeadlineReason::Sync));
        assert_eq!(deadlines.first(), deadline(7, DeadlineReason::Resend));
        deadlines.replace(
            &b,
            deadline(7, DeadlineReason::Resend),
            deadline(7, DeadlineReason::GiveUp),
        );
        assert_eq!(deadlines.first(), deadline(7, DeadlineReason::GiveUp));
        deadlines.replace(&b, deadline(7, DeadlineReason::GiveUp), None);
        assert_eq!(deadlines.due(Instant::from_millis(9)), Some(&a));
        deadlines.clear();
        assert_eq!((deadlines.first(), deadlines.due(Instant::from_millis(9))), (None, None));
    }
}
