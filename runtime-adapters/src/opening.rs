//! Channels whose state is being loaded, and whoever waits for them to be open.

use std::collections::BTreeMap;

use sds_proto::{ChannelId, RejectReason};

use crate::reply::Reply;

/// Where it is said what became of an input.
pub(crate) type Verdict = Reply<Result<(), RejectReason>>;

#[derive(Debug, Default)]
pub(crate) struct Opening {
    waiting: BTreeMap<ChannelId, Verdict>,
    /// Loads that were asked for and not yet answered of channels that were closed or emptied
    /// since: their answers are of the past. Answers come in order, so that these come first.
    void: BTreeMap<ChannelId, usize>,
}

impl Opening {
    /// A channel is to be loaded, and `verdict` waits for that.
    pub(crate) fn begin(&mut self, channel: ChannelId, verdict: Verdict) {
        self.waiting.insert(channel, verdict);
    }

    /// A channel that is being loaded is closed or emptied: what the store will say of it counts
    /// no more.
    pub(crate) fn abandon(&mut self, channel: &ChannelId, verdict: Result<(), RejectReason>) {
        *self.void.entry(channel.clone()).or_default() += 1;
        self.settle(channel, verdict);
    }

    /// Whether the store's next answer about a channel is of the past.
    pub(crate) fn is_void(&mut self, channel: &ChannelId) -> bool {
        let Some(count) = self.void.get_mut(channel) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.void.remove(channel);
        }
        true
    }

    /// Tells whoever waits for a channel what became of it.
    pub(crate) fn settle(&mut self, channel: &ChannelId, verdict: Result<(), RejectReason>) {
        if let Some(waiting) = self.waiting.remove(channel) {
            waiting.send(verdict);
        }
    }
}
