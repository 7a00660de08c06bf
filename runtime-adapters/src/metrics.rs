//! Counters and gauges of a driver, its node and its store.

use core::time::Duration;

use sds_proto::{Event, SendReason, Status, StoreError};

/// Defines [`Metrics`], and its fields once more as data.
macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident,)+) => {
        /// Counters, which count from the start of the driver, and gauges, which say how it is now.
        ///
        /// [`Handle::metrics`](crate::Handle::metrics) takes a copy.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Metrics {
            /// All of them by name, for exporters.
            pub fn iter(&self) -> impl Iterator<Item = Metric> + use<> {
                [$(Metric {
                    name: stringify!($name),
                    help: concat!($($doc),+).trim_ascii_start(),
                    kind: MetricKind::$kind,
                    value: self.$name,
                },)+].into_iter()
            }
        }
    };
}

metrics! {
    /// Datagrams handed to the transport because a message was published.
    Counter sent_new,
    /// Datagrams handed to the transport because nobody acknowledged a message in time.
    Counter sent_resends,
    /// Sync messages handed to the transport.
    Counter sent_syncs,
    /// Datagrams handed to the transport because somebody asked for a message.
    Counter sent_repairs,
    /// Ephemeral messages handed to the transport.
    Counter sent_ephemeral,
    /// Messages of others handed to the transport in the dialect they were not heard in.
    Counter sent_bridged,
    /// Bytes of all datagrams handed to the transport, each counted once however many it went to.
    Counter sent_bytes,
    /// Datagrams the transport did not take, for at least one destination.
    Counter send_failures,
    /// Datagrams longer than the transport takes; they were not sent.
    Counter too_large,
    /// Datagrams received, refused ones and repeats included.
    Counter received,
    /// Bytes of all datagrams received.
    Counter received_bytes,
    /// Received datagrams that the node refused.
    Counter rejected,
    /// Failed attempts to receive.
    Counter receive_failures,
    /// Calls of handles that the node refused.
    Counter refused,
    /// Events that were skipped because too many were unread.
    Counter skipped_events,
    /// Turns of the driver: how often it looked whether there was something to do. An idle one
    /// makes none.
    Counter turns,

    /// Messages that joined a log, own ones included.
    Counter delivered,
    /// Own messages that joined a log.
    Counter delivered_own,
    /// Messages delivered again after a restart, because they had not been consumed.
    Counter redelivered,
    /// Messages delivered although something they depend on is missing.
    Counter delivered_with_gap,
    /// Ephemeral messages heard.
    Counter delivered_ephemeral,
    /// Own messages that some peer has for certain.
    Counter acked,
    /// Own messages that were resent as often as they may be, without an acknowledgement.
    Counter unconfirmed,
    /// Dependencies found missing, each counted for every message that names it.
    Counter references_missing,
    /// Dependencies given up.
    Counter lost,
    /// Requests to the application to fetch what is missing from elsewhere.
    Counter retrievals,
    /// Messages that came with the id of another and different content.
    Counter conflicts,
    /// Messages that were dropped, or requests that were ignored, because a bound was reached.
    Counter limits_reached,
    /// Malformed filters ignored.
    Counter filters_ignored,
    /// Number of times the monotonic clock ran backwards.
    Counter clock_regressions,
    /// Number of times the wall clock was found to be off by the times of others: once at most.
    Counter wall_clock_off,
    /// Channels in which a message came under the node's own participant id that it did not make.
    Counter participant_id_in_use,

    /// Writes that the store has made.
    Counter store_writes,
    /// Puts and removals in those.
    Counter store_operations,
    /// Writes that failed.
    Counter store_write_failures,
    /// Microseconds that the store took to answer writes, failed ones included.
    Counter store_write_micros,
    /// Channels loaded, those of which there was nothing included.
    Counter store_loads,
    /// Channels that could not be loaded.
    Counter store_load_failures,

    /// Channels the node takes part in.
    Gauge channels,
    /// Those of them that are still being loaded.
    Gauge channels_loading,
    /// Bodies in all logs.
    Gauge logged,
    /// Bytes those keep alive.
    Gauge logged_bytes,
    /// Own messages that nobody has acknowledged.
    Gauge outgoing,
    /// Messages that wait for dependencies.
    Gauge incoming,
    /// Dependencies that are not here.
    Gauge missing,
    /// Messages to publish that wait for room.
    Gauge publishes_waiting,
    /// Datagrams that wait for the transport.
    Gauge sends_waiting,
    /// Events that nobody has read yet.
    Gauge events_unread,
    /// Puts and removals handed to the store that it has not answered, or that wait to be handed.
    Gauge store_waiting,
    /// 1 if a write failed and has not succeeded since, else 0.
    Gauge degraded,
}

/// One of the [`Metrics`], as data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// The name of its field.
    pub name: &'static str,
    /// Its description, from the documentation of its field.
    pub help: &'static str,
    /// Whether it only rises.
    pub kind: MetricKind,
    /// Its value.
    pub value: u64,
}

/// The kind of a [`Metric`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "exporters match on it")]
pub enum MetricKind {
    /// A count of events, which only rises.
    Counter,
    /// A current number.
    Gauge,
}

impl Metrics {
    /// Counts a datagram of `len` bytes for the transport.
    pub(crate) const fn count_sent(&mut self, reason: SendReason, len: usize) {
        self.sent_bytes += len as u64;
        let counter = match reason {
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

    /// Counts a write that was answered.
    pub(crate) fn count_write(
        &mut self,
        operations: usize,
        took: Duration,
        result: Result<(), StoreError>,
    ) {
        self.store_write_micros += took.as_micros() as u64;
        if result.is_ok() {
            self.store_writes += 1;
            self.store_operations += operations as u64;
        } else {
            self.store_write_failures += 1;
        }
    }

    /// Adds the status of a channel to the gauges.
    pub(crate) const fn add(&mut self, status: &Status) {
        self.logged += status.logged as u64;
        self.logged_bytes += status.logged_bytes as u64;
        self.outgoing += status.outgoing as u64;
        self.incoming += status.incoming as u64;
        self.missing += status.missing as u64;
    }

    /// Counts an event.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not counted")]
    pub(crate) fn count(&mut self, event: &Event) {
        match event {
            Event::Deliver(delivery) => {
                self.delivered += u64::from(!delivery.redelivery);
                self.delivered_own += u64::from(delivery.own && !delivery.redelivery);
                self.redelivered += u64::from(delivery.redelivery);
                self.delivered_with_gap += u64::from(delivery.gap && !delivery.redelivery);
            }
            Event::DeliverEphemeral { .. } => self.delivered_ephemeral += 1,
            Event::Acked { .. } => self.acked += 1,
            Event::Unconfirmed { .. } => self.unconfirmed += 1,
            Event::Missing { missing, .. } => self.references_missing += missing.len() as u64,
            Event::Lost { message_ids, .. } => self.lost += message_ids.len() as u64,
            Event::Conflict { .. } => self.conflicts += 1,
            Event::LimitReached { .. } => self.limits_reached += 1,
            Event::FilterIgnored { .. } => self.filters_ignored += 1,
            Event::WallClockOff { .. } => self.wall_clock_off += 1,
            Event::ParticipantIdInUse { .. } => self.participant_id_in_use += 1,
            Event::Degraded { .. } => self.degraded = 1,
            Event::Recovered => self.degraded = 0,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_is_there_by_name_with_its_value_and_says_what_it_is() {
        let metrics = Metrics { sent_new: 1, turns: 2, channels: 3, ..Metrics::default() };
        let value = |name| metrics.iter().find(|metric| metric.name == name).unwrap().value;
        assert_eq!((value("sent_new"), value("turns"), value("channels")), (1, 2, 3));
        assert_eq!(metrics.iter().map(|metric| metric.value).sum::<u64>(), 6);
        let turns = metrics.iter().find(|metric| metric.name == "turns").unwrap();
        assert_eq!(turns.kind, MetricKind::Counter);
        assert!(turns.help.ends_with("something to do. An idle one makes none."), "{turns:?}");
        assert!(metrics.iter().all(|metric| metric.help.ends_with('.')));
    }
}
