//! What a driver counted.

use sds_proto::SendReason;

/// Counts since the driver was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Datagrams handed to the transport because a message was published.
    pub sent_new: u64,
    /// Datagrams handed to the transport because nobody acknowledged a message in time.
    pub sent_resends: u64,
    /// Sync messages handed to the transport.
    pub sent_syncs: u64,
    /// Datagrams handed to the transport because somebody asked for a message.
    pub sent_repairs: u64,
    /// Ephemeral messages handed to the transport.
    pub sent_ephemeral: u64,
    /// Messages of others handed to the transport in the dialect they were not heard in.
    pub sent_bridged: u64,
    /// Datagrams the transport did not take, for at least one destination.
    pub send_failures: u64,
    /// Datagrams longer than the transport takes; they were not sent.
    pub too_large: u64,
    /// Datagrams received, refused ones and repeats included.
    pub received: u64,
    /// Received datagrams that the node refused.
    pub rejected: u64,
    /// Failed attempts to receive.
    pub receive_failures: u64,
    /// Events that were skipped because too many were unread.
    pub skipped_events: u64,
    /// Turns of the driver: how often it looked whether there was something to do. An idle one
    /// makes none.
    pub turns: u64,
}

impl Metrics {
    pub(crate) const fn count_sent(&mut self, why: SendReason) {
        let counter = match why {
            SendReason::New => &mut self.sent_new,
            SendReason::Resend => &mut self.sent_resends,
            SendReason::Sync => &mut self.sent_syncs,
            SendReason::Repair => &mut self.sent_repairs,
            SendReason::Ephemeral => &mut self.sent_ephemeral,
            SendReason::Bridge => &mut self.sent_bridged,
            _ => return,
        };
        *counter += 1;
    }
}
