//! Configuration: every period, bound and choice of a node, checked once when it is built.

mod check;
mod compatible;

pub(crate) use check::Excess;

use core::hash::Hasher;
use core::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::bloom::Geometry;
#[cfg(doc)]
use crate::error::StoreError;
use crate::id::{ChannelId, ParticipantId};
use crate::wire::{Limits, NimForm, WireDialect};

/// Unanswered requests since the node last slept that are necessary before anything is given up.
pub(crate) const LAST_ROUNDS: u32 = 3;

/// Maximum number of response groups.
const MAX_GROUPS: u32 = 1 << 20;

/// The dialect in which a node encodes messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "embedders match on it to route by dialect")]
pub enum Dialect {
    /// LIP-109, as `@waku/sds` implements it.
    Lip109,
    /// nim-sds.
    NimSds,
    /// The dialect of the newest delivered message of another member; until there is one,
    /// `initial`. In the nim dialect, [`NimForm::V033`] or [`NimForm::V030`] once a message in one
    /// of them was delivered, because some of their readers read nothing else.
    Mirror {
        /// The dialect until a message of another member has been delivered.
        initial: WireDialect,
    },
    /// Both dialects for own messages. Each delivered content message is encoded once more in the
    /// dialect in which it was not received.
    Bridge,
}

/// The hash of nim-sds filters and repair timing, which depends on the compiler it was built with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "Nim has had these two string hashes")]
pub enum NimHash {
    /// FarmHash64: Nim 2.2 and later.
    #[default]
    Farm,
    /// MurmurHash3: Nim before 2.2.
    Murmur,
}

/// The own messages that carry a bloom filter.
///
/// In a dialect that fixes its geometry, as LIP-109 does, it is most of a message: 18.7 KB at the
/// defaults. A filter acknowledges messages that no causal history references any more. Sync
/// messages always carry one; ephemeral ones, repair answers and bridged copies never do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FilterPolicy {
    /// Each content message, when it is published and when it is resent, as the specification says.
    #[default]
    EveryMessage,
    /// The first message with a non-empty filter, then every `n`th; `n` is at least 1.
    EveryNth(u32),
    /// No content message. Only sync messages carry one, which wait for a quiet time.
    SyncOnly,
}

/// The size of filters in the nim dialect. The LIP-109 dialect fixes their geometry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum NimFilterSize {
    /// Sized to the ids that it contains: some hundred bytes for fifty messages. nim-sds reads it,
    /// because its filters carry their own geometry.
    #[default]
    SizedToContent,
    /// Always `bloom_capacity`, as nim-sds sends it: 18.7 KB at the defaults.
    FullSize,
}

/// The changes that must be persisted before dependent effects leave the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is persisted; a restart begins with an empty log.
    #[default]
    None,
    /// Changes are handed out for writing and no effect waits for them.
    Relaxed,
    /// No effect leaves the node before the changes that it depends on are persisted.
    Strict,
}

/// The part of an old channel that a newcomer requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnJoin {
    /// Everything that is referenced, back to the first message.
    #[default]
    FromBeginning,
    /// Missing dependencies referenced within `window` after the first message do not block: their
    /// dependents are delivered with a gap, and they are inserted when they arrive.
    Recent {
        /// Time since the first received message.
        window: Duration,
    },
}

/// The fate of a message whose dependency is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// It is delivered and marked with a gap.
    #[default]
    DeliverWithGap,
    /// It is dropped, with everything that waits for it.
    Drop,
}

macro_rules! config {
    (
        $(#[doc = $id_doc:literal])+ participant_id;
        $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+
    ) => {
        /// A valid configuration, built by [`Config::builder`] or one of the presets.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Config {
            pub(crate) participant_id: ParticipantId,
            $(pub(crate) $name: $type,)+
            /// The geometry that `bloom_capacity` and `bloom_error_rate` ask for.
            pub(crate) geometry: Geometry,
        }

        /// Collects settings; each has a default that suits a chat group of tens of people.
        #[derive(Clone, PartialEq, Debug)]
        #[must_use = "a builder does nothing until `build`"]
        pub struct ConfigBuilder {
            participant_id: ParticipantId,
            $($name: $type,)+
        }

        impl Default for ConfigBuilder {
            fn default() -> Self {
                Self { participant_id: ParticipantId::default(), $($name: $default,)+ }
            }
        }

        impl ConfigBuilder {
            $(#[doc = $id_doc])+
            pub fn participant_id(mut self, participant_id: ParticipantId) -> Self {
                self.participant_id = participant_id;
                self
            }

            $($(#[doc = $doc])+
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            })+

            fn into_config(self, geometry: Geometry) -> Config {
                Config { participant_id: self.participant_id, $($name: self.$name,)+ geometry }
            }
        }

        impl Config {
            $(#[doc = $id_doc])+
            #[must_use]
            pub const fn participant_id(&self) -> &ParticipantId {
                &self.participant_id
            }

            $($(#[doc = $doc])+
            #[must_use]
            pub const fn $name(&self) -> $type {
                self.$name
            })+

            /// A builder that starts from this configuration.
            pub fn to_builder(&self) -> ConfigBuilder {
                ConfigBuilder { participant_id: self.participant_id.clone(), $($name: self.$name,)+ }
            }
        }
    };
}

config! {
    /// Id of this participant. Default: empty, an anonymous participant. Memory: its bytes, once a
    /// node.
    participant_id;
    /// Seed of all randomness (jitter, back-off) and of the keys of look-up tables. Default 0:
    /// **give every node its own**, or a peer can aim collisions at its tables and the back-offs of
    /// members coincide.
    seed: u64 = 0;
    /// Whether a message of an unknown channel opens the channel. Default: no; the message is
    /// refused.
    auto_open: bool = false;
    /// Maximum number of channels that messages of others open. Default 1,024. Memory: 1,890 bytes
    /// each, and what it holds.
    max_auto_channels: usize = 1_024;
    /// The effects that wait for the store. Default: [`Durability::None`].
    durability: Durability = Durability::None;
    /// Whether a channel stored under another `participant_id` is adopted. Otherwise it is refused:
    /// [`StoreError::OtherParticipant`]. Messages published under the old id keep it when they are
    /// resent. Default: no.
    adopt_store: bool = false;
    /// Whether a delivery counts as consumed once its effect was polled, so that it is not
    /// delivered again after a restart. Default: no, the application reports its progress.
    auto_consume: bool = false;
    /// Maximum number of effects held for the store before inputs are refused and timers stand
    /// still. Eight times as many changes may be unpersisted. Default 10,000.
    max_held_effects: usize = 10_000;
    /// Maximum bytes of held effects and unpersisted changes, including the messages that they keep
    /// alive, before inputs are refused and timers stand still. A message that several of them keep
    /// alive counts for each. Default 16 MiB.
    max_held_bytes: usize = 16 << 20;

    /// Whether LIP-109 messages are accepted. Default: yes.
    accept_lip109: bool = true;
    /// Whether nim-sds messages are accepted. Default: yes.
    accept_nim_sds: bool = true;
    /// The dialect of sent messages. Default: [`Dialect::Lip109`].
    dialect: Dialect = Dialect::Lip109;
    /// The form of messages sent in the nim dialect: that of the group's nim-sds peers. Every form
    /// is read. [`Dialect::Mirror`] begins with this one. It may change with each restart, because
    /// it is not stored. Default: [`NimForm::V04`].
    nim_form: NimForm = NimForm::V04;
    /// The hash with which the group's nim-sds peers were built. Default: [`NimHash::Farm`].
    nim_hash: NimHash = NimHash::Farm;
    /// Whether sync messages are sent in the nim dialect. Default: no, because nim-sds delivers
    /// them to its users as empty messages. Turn it on if all peers use this library.
    sync_to_nim: bool = false;
    /// Number of ids for which a bloom filter is laid out. Default 10,000, the only value that
    /// works with `@waku/sds`. Such a filter must fit into `max_filter_len`. Memory: some 23 bytes
    /// an id for the nim dialect and 13 for LIP-109, where used; 2 more while the filter rolls.
    bloom_capacity: u32 = 10_000;
    /// Probability of a false positive of a full filter, from 0 to 1. Default 0.001, the only value
    /// that works with `@waku/sds`.
    bloom_error_rate: f64 = 0.001;
    /// The own messages that carry a filter. Default: [`FilterPolicy::EveryMessage`].
    filter_policy: FilterPolicy = FilterPolicy::EveryMessage;
    /// Size of filters in the nim dialect. Default: [`NimFilterSize::SizedToContent`].
    nim_filter_size: NimFilterSize = NimFilterSize::SizedToContent;
    /// Whether a channel keeps the bits of its LIP-109 filter: 18.7 KB at the defaults. Otherwise
    /// they are computed for each message sent, some 10 for each id in the filter; the bytes sent
    /// are the same. Default: yes.
    keep_lip109_filters: bool = true;

    /// Minimum number of entries in a causal history, as far as the log has them and a datagram has
    /// room; at most `max_history_entries`. Default 2.
    causal_history_len: usize = 2;
    /// Maximum number of heads in a causal history, at most `max_history_entries`; more are rotated
    /// through the following messages. Pending acknowledgements take the room that heads leave.
    /// Default 16.
    max_heads: usize = 16;
    /// Maximum number of bodies in the log of a channel. Default 10,000. Memory: some 210 bytes an
    /// entry beside its content and ids, and the record of the id.
    max_log_messages: usize = 10_000;
    /// Maximum bytes in the log of a channel: contents, ids, causal histories. Outgoing messages
    /// may take as many again. Default 16 MiB.
    max_log_bytes: usize = 16 << 20;
    /// Number of ids remembered after their bodies are evicted. Default 12,000, at least 1.2 ×
    /// `bloom_capacity`. Memory: some 100 bytes an id, however long it is.
    max_ids: usize = 12_000;
    /// Maximum number of remembered ids of resolved dependencies without a log entry: declared met,
    /// or given up; and as many ids of sync messages. Default 4,096. Memory: some 180 bytes for one
    /// of each, however long they are.
    max_resolved_ids: usize = 4_096;

    /// Maximum number of outgoing messages. `Publish` is refused beyond, and once they have
    /// `max_log_bytes`, unless `unconfirmed_when_full`. Default 1,000. Memory: some 280 bytes each
    /// beside the log's.
    max_outgoing: usize = 1_000;
    /// Whether publishing beyond `max_outgoing` reports the oldest outgoing message as unconfirmed
    /// and ends its resends, instead of being refused. Default: no.
    unconfirmed_when_full: bool = false;
    /// Whether outgoing messages are resent. Default: yes.
    resend: bool = true;
    /// Time to the first resend; it doubles with each one. Default 30 s.
    resend_after: Duration = Duration::from_secs(30);
    /// Maximum time between two resends. Default 10 min.
    resend_max: Duration = Duration::from_secs(600);
    /// Number of resends after which a message is reported unconfirmed. Default 8.
    max_resends: u32 = 8;
    /// Factor that multiplies the resend time of possibly acknowledged messages. Default 4.
    possibly_acked_slowdown: u32 = 4;
    /// Probability, from 0 to 1, below which filters of distinct senders acknowledge a message:
    /// that all of them are false positives. Default one in a million.
    ack_confidence: f64 = 1e-6;

    /// Maximum number of buffered messages. Default 16,384. Memory: some 220 bytes each
    /// beside its content and ids, and what is remembered of the id.
    max_incoming_messages: usize = 16_384;
    /// Maximum bytes of buffered messages, including their lists of dependencies. Default 16 MiB.
    max_incoming_bytes: usize = 16 << 20;
    /// Maximum number of missing dependencies. Default 16,384. Memory: some 400 bytes each, an id
    /// and a sender of 36 bytes included.
    max_missing: usize = 16_384;
    /// Time without progress after which a missing dependency is given up. It counts time awake,
    /// including that before restarts. With `repair` it is at least three times T_max, and a
    /// dependency is requested three times since the node last slept through a deadline before it
    /// is given up, unless the node is never awake for so long. Default 1 h.
    lost_after: Duration = Duration::from_secs(3_600);
    /// The fate of the dependents. Default: [`OnLost::DeliverWithGap`].
    on_lost: OnLost = OnLost::DeliverWithGap;
    /// The part of an old channel that is requested. Default: [`OnJoin::FromBeginning`].
    on_join: OnJoin = OnJoin::FromBeginning;
    /// Time after which the embedder is asked to retrieve missing messages from an archive. It
    /// doubles for repeated requests, up to 32-fold. `None`: never. Default 5 s.
    retrieval_interval: Option<Duration> = Some(Duration::from_secs(5));

    /// Whether the repair extension (SDS-R) is used: requests and answers. Default: yes.
    repair: bool = true;
    /// Minimum delay of a repair request (T_min). Default 30 s. All members must agree.
    repair_t_min: Duration = Duration::from_secs(30);
    /// Maximum delay of a repair request or answer (T_max). Default: that of each dialect, 120 s in
    /// LIP-109 and 300 s in nim-sds. All members must agree.
    repair_t_max: Option<Duration> = None;
    /// Number of response groups. Default 1. All members must agree.
    response_groups: u32 = 1;
    /// Number of repair requests attached to a message when few are due. Default 3.
    max_repair_requests: usize = 3;
    /// Number of repair requests attached to a message when many are due, at most
    /// `max_request_entries`. Default 32.
    max_repair_requests_burst: usize = 32;
    /// Minimum time between two sync messages that are sent for repair requests. Default 1 s.
    repair_sync_min: Duration = Duration::from_secs(1);
    /// Maximum number of pending repair answers. Default 1,024. Memory: some 250 bytes each, an id
    /// of 36 bytes included.
    max_answers: usize = 1_024;

    /// Maximum delay before a bridge encodes a message in the other dialect. Several bridges spread
    /// over it. Default 500 ms.
    bridge_delay: Duration = Duration::from_millis(500);

    /// Whether sync messages are sent. Default: yes.
    sync: bool = true;
    /// Minimum quiet time before a sync message, and minimum age of the pending acknowledgements
    /// that it carries. Default 20 s.
    sync_min: Duration = Duration::from_secs(20);
    /// Maximum quiet time before a sync message. Default 60 s.
    sync_max: Duration = Duration::from_secs(60);

    /// Maximum distance by which a Lamport time may be ahead of our wall clock; without a wall
    /// clock, of our Lamport clock or of the year 2100, whichever is later. Default 24 h.
    max_clock_skew: Duration = Duration::from_secs(24 * 3_600);
    /// Maximum length of an id, in bytes. Default 256; at least 32 where syncs are sent.
    max_id_len: usize = 256;
    /// Maximum length of a retrieval hint, in bytes. Default 256.
    max_hint_len: usize = 256;
    /// Maximum number of causal history entries of a received message. Default 256. With two ids
    /// and a hint for each, content and its own ids, a message stays below 4 GiB.
    max_history_entries: usize = 256;
    /// Maximum number of repair requests of a received message. Default 256; 0 only without
    /// `repair`.
    max_request_entries: usize = 256;
    /// Maximum length of content, in bytes. Default 1 MiB. If the store takes no record as long as
    /// [`Config::max_record_len`], the driver does not start. SQLite takes 999 MB.
    max_content_len: usize = 1 << 20;
    /// Maximum length of the filter of a received message, in bytes. Default 64 KiB.
    max_filter_len: usize = 64 << 10;
    /// Maximum length of a datagram that the transport takes, in bytes. A message that would be
    /// longer, now or with the largest filter that it can carry when it is resent, is refused.
    /// Heads and repair requests without room wait for the next message, and a sync omits its
    /// filter if need be. Messages of others may be longer when they are passed on. The drivers of
    /// `sds-runtime` set it. Default: no limit.
    max_datagram_len: usize = usize::MAX;
}

impl Config {
    /// A builder with every setting at its default.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// A chat group of tens of people on phones and desktops: the defaults.
    pub fn chat() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// A board with some hundred kilobytes of memory: short logs, small filters, tight bounds.
    ///
    /// It uses the nim dialect, whose filters may be small, so every peer must use this library. An
    /// honest group takes less than a hundred kilobytes. [`max_memory`](Self::max_memory) is some
    /// 440 with one channel on a 32-bit machine, and more with a store; hostile peers reached a
    /// third in tests. With LIP-109 instead, a channel's filter is not kept but computed for each
    /// message.
    pub fn firmware() -> ConfigBuilder {
        ConfigBuilder {
            dialect: Dialect::NimSds,
            sync_to_nim: true,
            bloom_capacity: 100,
            bloom_error_rate: 0.01,
            keep_lip109_filters: false,
            max_log_messages: 64,
            max_log_bytes: 16 << 10,
            max_ids: 256,
            max_resolved_ids: 32,
            max_heads: 4,
            max_outgoing: 16,
            max_incoming_messages: 32,
            max_incoming_bytes: 8 << 10,
            max_missing: 64,
            max_answers: 16,
            max_auto_channels: 4,
            max_held_effects: 64,
            max_held_bytes: 16 << 10,
            max_id_len: 64,
            max_hint_len: 64,
            max_history_entries: 16,
            max_request_entries: 16,
            max_repair_requests_burst: 8,
            max_content_len: 1 << 10,
            max_filter_len: 4 << 10,
            ..ConfigBuilder::default()
        }
    }

    /// A group of about `participants` members: repair answers are divided among one response
    /// group for each 128 of them, and the quiet time before a sync is longer, so that the group as
    /// a whole sends no more of them than a small one.
    pub fn large_group(participants: u32) -> ConfigBuilder {
        let scale = (participants / 16).clamp(1, 32);
        let defaults = ConfigBuilder::default();
        ConfigBuilder {
            response_groups: (participants / 128).clamp(1, MAX_GROUPS),
            sync_min: defaults.sync_min * scale,
            sync_max: defaults.sync_max * scale,
            ..defaults
        }
    }

    /// T_max for requests and answers in `dialect`.
    pub(crate) fn t_max(&self, dialect: WireDialect) -> Duration {
        self.repair_t_max.unwrap_or(default_t_max(dialect))
    }

    /// Whether messages of `dialect` are accepted.
    #[must_use]
    pub const fn accepts(&self, dialect: WireDialect) -> bool {
        match dialect {
            WireDialect::Lip109 => self.accept_lip109,
            WireDialect::NimSds => self.accept_nim_sds,
        }
    }

    /// Whether own or bridged messages may be sent in `dialect`.
    pub(crate) const fn writes_dialect(&self, dialect: WireDialect) -> bool {
        match (self.dialect, dialect) {
            (Dialect::Lip109, WireDialect::Lip109)
            | (Dialect::NimSds, WireDialect::NimSds)
            | (Dialect::Mirror { .. } | Dialect::Bridge, _) => true,
            (Dialect::Lip109, WireDialect::NimSds) | (Dialect::NimSds, WireDialect::Lip109) => {
                false
            }
        }
    }

    /// The key of a channel's id digests: different in each node and channel.
    pub(crate) fn record_key(&self, channel: &ChannelId) -> [u64; 2] {
        let mut hasher = SipHasher13::new_with_keys(self.seed, 0x7364_732d_6b65_7973);
        hasher.write(self.participant_id.as_bytes());
        hasher.write(channel.as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    /// The limits that the decoder checks before it allocates.
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            max_id_len: self.max_id_len,
            max_hint_len: self.max_hint_len,
            max_history: self.max_history_entries,
            max_repair_requests: self.max_request_entries,
            max_content_len: self.max_content_len,
            max_filter_len: self.max_filter_len,
            empty_ids: false,
        }
    }
}

const fn default_t_max(dialect: WireDialect) -> Duration {
    match dialect {
        WireDialect::Lip109 => Duration::from_secs(120),
        WireDialect::NimSds => Duration::from_secs(300),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for builder in [Config::builder(), Config::chat(), Config::firmware()] {
            assert_eq!(builder.build().map(|_| ()), Ok(()));
        }
        for participants in [0, 1, 127, 128, 1_000, u32::MAX / 4] {
            assert_eq!(
                Config::large_group(participants).build().map(|_| ()),
                Ok(()),
                "{participants}"
            );
        }
    }

    #[test]
    fn large_group_divides_answering_by_128() {
        let groups = |n| Config::large_group(n).build().unwrap().response_groups();
        assert_eq!((groups(5), groups(255), groups(256), groups(2_000)), (1, 1, 2, 15));
    }
}
