//! Channels whose state is being loaded, and whoever waits for them to be open.

use std::collections::BTreeMap;

use sds_proto::{ChannelId, RejectReason};

use crate::reply::Reply;

/// The reply that gets the result of an input.
pub(crate) type Verdict = Reply<Result<(), RejectReason>>;

#[derive(Debug, Default)]
pub(crate) struct Opening {
    waiting: BTreeMap<ChannelId, Verdict>,
}

impl Opening {
    /// A channel is to be loaded, and `verdict` waits for that.
    pub(crate) fn begin(&mut self, channel: ChannelId, verdict: Verdict) {
        self.waiting.insert(channel, verdict);
    }

    /// Tells whoever waits for a channel what became of it.
    pub(crate) fn settle(&mut self, channel: &ChannelId, verdict: Result<(), RejectReason>) {
        if let Some(waiting) = self.waiting.remove(channel) {
            waiting.send(verdict);
        }
    }
}
