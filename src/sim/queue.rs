//! Queue of events by time; those of one time in the order in which they were scheduled.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use core::cmp::{Ordering, Reverse};

use bytes::Bytes;

use super::fault::Fault;
use crate::effect::{LoadId, RetrievalId};
use crate::input::RetrievalOutcome;

/// Something that happens to a member. `boot` numbers its starts: what was meant for an earlier one
/// does not happen.
#[derive(Debug)]
pub(super) enum Occurrence {
    /// A datagram arrives. `message`: the number of the content message in it.
    Arrive { to: usize, message: Option<usize>, bytes: Bytes },
    /// A member's deadline comes.
    Wake { member: usize },
    /// The plan's next message is published.
    Publish { number: u64, member: usize },
    /// A store answers a write.
    Written { member: usize, boot: u32 },
    /// A store answers a read.
    Loaded { member: usize, boot: u32, id: LoadId },
    /// A store node answers.
    RetrievalOutcome { member: usize, boot: u32, answer: Box<(RetrievalId, RetrievalOutcome)> },
    /// A member starts.
    Start { member: usize },
    /// A fault begins.
    Begin(Fault),
    /// A fault ends.
    End(Fault),
}

#[derive(Debug)]
struct Scheduled {
    at: u64,
    number: u64,
    event: Occurrence,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
}

impl Queue {
    /// `at`: microseconds since the beginning.
    pub(super) fn schedule(&mut self, at: u64, event: Occurrence) {
        self.scheduled += 1;
        self.heap.push(Reverse(Scheduled { at, number: self.scheduled, event }));
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(next)| next.at)
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Occurrence)> {
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
