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

/// Requests after the last time asleep that nobody must have answered before anything is given up.
pub(crate) const LAST_ROUNDS: u32 = 3;

/// Most response groups.
const MAX_GROUPS: u32 = 1 << 20;

/// The dialect a node speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "embedders match on it to route by dialect")]
pub enum Dialect {
    /// LIP-109, as `@waku/sds` speaks it.
    Lip109,
    /// nim-sds.
    NimSds,
    /// The dialect of the newest delivered message of somebody else; until there is one, `initial`. In
    /// the nim dialect, [`NimForm::V033`] or [`NimForm::V030`] once a message of one of them was
    /// delivered, of which there are readers of nothing else.
    Mirror {
        /// Spoken until a foreign message has been delivered.
        initial: WireDialect,
    },
    /// Own messages in both dialects, and each delivered content message once more in the
    /// dialect it was not heard in.
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

/// Which own messages carry a bloom filter.
///
/// Where the dialect fixes its geometry, as LIP-109 does, it is most of a message: 18.7 KB at the
/// defaults. What a filter brings is the acknowledgement of messages that no causal history names any
/// more. Sync messages always carry one; ephemeral ones, repair answers and bridged copies never do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FilterPolicy {
    /// Each content message, sent for the first time or again: what the specification says.
    #[default]
    EveryMessage,
    /// The first of which the filter is not empty, and then one of so many, from 1.
    Every(u32),
    /// None: only sync messages do, which wait for a quiet time.
    SyncOnly,
}

/// How large a filter is sent in the nim dialect. The LIP-109 dialect fixes its geometry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum NimFilterSize {
    /// Sized to the ids it holds: some hundred bytes for fifty messages. nim-sds reads it, for
    /// its filters say their own geometry.
    #[default]
    SizedToContent,
    /// Always `bloom_capacity`, as nim-sds sends it: 18.7 KB at the defaults.
    FullSize,
}

/// What must be on disk before what leaves the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is persisted; a restart begins with an empty log.
    #[default]
    None,
    /// Changes are handed out for writing and nothing waits for them.
    Relaxed,
    /// Nothing that depends on a change leaves the node before the store said it is safe.
    Strict,
}

/// How much of an old channel a newcomer wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnJoin {
    /// Everything that is named, back to the first message.
    #[default]
    FromBeginning,
    /// Unknown dependencies named within `window` after the first message do not block: their
    /// dependents are delivered with a gap, and they are inserted when they arrive.
    Recent {
        /// Time after the first received message.
        window: Duration,
    },
}

/// What becomes of a message whose dependency is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// It is delivered, marked as having a gap before it.
    #[default]
    DeliverWithGap,
    /// It is dropped, and so is everything that waits for it.
    Drop,
}

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// A valid configuration; made by [`Config::builder`] or one of the presets.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Config {
            $(pub(crate) $name: $type,)+
            /// The geometry that `bloom_capacity` and `bloom_error_rate` ask for.
            pub(crate) geometry: Geometry,
        }

        /// Collects settings; each has a default that suits a chat group of tens of people.
        #[derive(Clone, PartialEq, Debug)]
        #[must_use = "a builder does nothing until `build`"]
        pub struct ConfigBuilder {
            $($name: $type,)+
        }

        impl Default for ConfigBuilder {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl ConfigBuilder {
            $($(#[doc = $doc])+
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            })+

            fn into_config(self, geometry: Geometry) -> Config {
                Config { $($name: self.$name,)+ geometry }
            }
        }

        impl Config {
            $($(#[doc = $doc])+
            #[must_use]
            pub const fn $name(&self) -> &$type {
                &self.$name
            })+

            /// A builder that starts from this configuration.
            pub fn to_builder(&self) -> ConfigBuilder {
                ConfigBuilder { $($name: self.$name.clone(),)+ }
            }
        }
    };
}

config! {
    /// Who we are. Default: empty, an anonymous participant. Memory: its bytes, once a node.
    participant_id: ParticipantId = ParticipantId::default();
    /// Seed of all randomness (jitter, back-off) and of the keys of look-up tables. Default 0:
    /// **give every node its own**, or a peer can aim collisions at it and peers' back-offs
    /// coincide.
    seed: u64 = 0;
    /// Whether a message of an unknown channel opens it. Default: no; the message is refused.
    auto_open: bool = false;
    /// Most channels that messages of others may open. Default 1,024. Memory: 1,890 bytes each, and
    /// what it holds.
    max_auto_channels: usize = 1_024;
    /// What waits for the store. Default: [`Durability::None`].
    durability: Durability = Durability::None;
    /// Whether the stored state of a channel that was written under another `participant_id` is gone on
    /// with under ours. Otherwise it is refused: [`StoreError::OtherParticipant`]. What was published
    /// under the old id stays that of its author, and is sent again under it. Default: no.
    adopt_store: bool = false;
    /// Whether a delivery counts as consumed once its effect was polled, so that it is not
    /// delivered again after a restart. Default: no, the application says how far it got.
    auto_consume: bool = false;
    /// Most effects held back for the store, and an eighth of the most changes not yet safe, before
    /// inputs are refused and timers stand still. Default 10,000.
    max_held_effects: usize = 10_000;
    /// Most bytes of effects held back and changes not yet safe, the messages that they keep alive
    /// included, before inputs are refused and timers stand still. A message that several of them keep
    /// alive counts for each. Default 16 MiB.
    max_held_bytes: usize = 16 << 20;

    /// Whether LIP-109 messages are taken in. Default: yes.
    accept_lip109: bool = true;
    /// Whether nim-sds messages are taken in. Default: yes.
    accept_nim_sds: bool = true;
    /// The dialect spoken. Default: [`Dialect::Lip109`].
    dialect: Dialect = Dialect::Lip109;
    /// The form of what is sent in the nim dialect: that of the group's nim-sds peers. Every form is
    /// read. [`Dialect::Mirror`] begins with this one. It may be another after each restart: the store
    /// holds nothing of it. Default: [`NimForm::V04`].
    nim_form: NimForm = NimForm::V04;
    /// The hash that the group's nim-sds peers were built with. Default: [`NimHash::Farm`].
    nim_hash: NimHash = NimHash::Farm;
    /// Whether sync messages are sent in the nim dialect. Default: no, because nim-sds shows
    /// them to its users as empty messages; turn it on where all peers are ours.
    sync_to_nim: bool = false;
    /// Ids a bloom filter is laid out for. Default 10,000; in a group with `@waku/sds` nothing
    /// else. A filter of so many must be within `max_filter_len`. Memory: some 23 bytes an id for the
    /// nim dialect and 13 for LIP-109, where spoken; 2 more while the filter rolls.
    bloom_capacity: u32 = 10_000;
    /// Chance of a false positive of a full filter, from 0 to 1. Default 0.001; in a group with
    /// `@waku/sds` nothing else.
    bloom_error_rate: f64 = 0.001;
    /// Which own messages carry a filter. Default: [`FilterPolicy::EveryMessage`].
    filter_policy: FilterPolicy = FilterPolicy::EveryMessage;
    /// Size of filters in the nim dialect. Default: [`NimFilterSize::SizedToContent`].
    nim_filter_size: NimFilterSize = NimFilterSize::SizedToContent;
    /// Whether a channel keeps the bits of its LIP-109 filter: 18.7 KB at the defaults. Otherwise
    /// they are set anew for each message sent, some 10 for each id in the filter; the bytes sent are
    /// the same. Default: yes.
    keep_lip109_filters: bool = true;

    /// Fewest entries named in a message's causal history, as far as the log has them and a datagram has
    /// room; at most `max_history_entries`. Default 2.
    causal_history_len: usize = 2;
    /// Most heads named in one message, at most `max_history_entries`; more are rotated through the following ones. What nobody but its
    /// sender has named is named as well where they leave room. Default 16.
    max_heads: usize = 16;
    /// Most bodies in the log of one channel. Default 10,000. Memory: some 210 bytes an entry
    /// beside its content and ids, and what is remembered of the id.
    max_log_messages: usize = 10_000;
    /// Most bytes in the log of one channel: contents, ids, causal histories. Unacknowledged own messages may have as
    /// many, too. Default 16 MiB.
    max_log_bytes: usize = 16 << 20;
    /// Ids remembered after their bodies are gone. Default 12,000, at least 1.2 ×
    /// `bloom_capacity`. Memory: some 100 bytes an id, however long it is.
    max_ids: usize = 12_000;
    /// Ids remembered as met without being logged: of those declared met or given up, and as many of
    /// sync messages. Default 4,096. Memory: some 180 bytes for one of each, however long they are.
    max_met_ids: usize = 4_096;

    /// Most own messages not yet acknowledged; `Publish` is refused beyond, and once they have
    /// `max_log_bytes`, unless `unconfirmed_when_full`. Default 1,000. Memory: some 280 bytes each beside
    /// the log's.
    max_outgoing: usize = 1_000;
    /// Whether publishing beyond `max_outgoing` reports the oldest unacknowledged message as
    /// unconfirmed, and resends it no more, instead of being refused. Default: no.
    unconfirmed_when_full: bool = false;
    /// Whether unacknowledged messages are sent again. Default: yes.
    resend: bool = true;
    /// Time to the first resend; it doubles with each. Default 30 s.
    resend_after: Duration = Duration::from_secs(30);
    /// Longest time between two resends. Default 10 min.
    resend_max: Duration = Duration::from_secs(600);
    /// Resends after which delivery is reported unconfirmed. Default 8.
    max_resends: u32 = 8;
    /// Factor by which possibly acknowledged messages are resent more slowly. Default 4.
    possibly_acked_slowdown: u32 = 4;
    /// Filters of distinct senders acknowledge a message when the chance that all of them are
    /// wrong is below this, from 0 to 1. Default one in a million.
    ack_confidence: f64 = 1e-6;

    /// Most messages that wait for dependencies. Default 16,384. Memory: some 220 bytes each
    /// beside its content and ids, and what is remembered of the id.
    max_incoming_messages: usize = 16_384;
    /// Most bytes of messages that wait for dependencies, and of lists of what they wait for. Default
    /// 16 MiB.
    max_incoming_bytes: usize = 16 << 20;
    /// Most dependencies wanted at once. Default 16,384. Memory: some 400 bytes each, an id and a
    /// sender of 36 bytes included.
    max_wanted: usize = 16_384;
    /// Time without progress after which a dependency is given up: time awake, in this life and those
    /// before. With `repair` it must leave room for three requests, three times T_max, and nothing is given
    /// up that was not asked for thrice since the node last slept through a deadline, unless it is never
    /// awake for so long. Default 1 h.
    lost_after: Duration = Duration::from_secs(3_600);
    /// What becomes of the dependents. Default: [`OnLost::DeliverWithGap`].
    on_lost: OnLost = OnLost::DeliverWithGap;
    /// How much of an old channel is wanted. Default: [`OnJoin::FromBeginning`].
    on_join: OnJoin = OnJoin::FromBeginning;
    /// Time after which the embedder is asked to fetch what is still missing from elsewhere;
    /// asking for the same again, it doubles up to 32-fold. `None`: it is never asked. Default
    /// 5 s.
    retrieval_retry: Option<Duration> = Some(Duration::from_secs(5));

    /// Whether the repair extension (SDS-R) is used: requests and answers. Default: yes.
    repair: bool = true;
    /// Shortest delay of a repair request (T_min). Default 30 s. The group must agree.
    repair_t_min: Duration = Duration::from_secs(30);
    /// Longest delay of a repair request or answer (T_max). Default: that of each dialect,
    /// 120 s in LIP-109 and 300 s in nim-sds. The group must agree.
    repair_t_max: Option<Duration> = None;
    /// Groups among which answering is divided. Default 1; the group must agree.
    response_groups: u32 = 1;
    /// Repair requests attached to a message when few are due. Default 3.
    max_repair_requests: usize = 3;
    /// Repair requests attached to a message when many are due, at most `max_request_entries`. Default 32.
    max_repair_requests_burst: usize = 32;
    /// Shortest time between two sync messages sent for the sake of repair requests. Default 1 s.
    repair_sync_min: Duration = Duration::from_secs(1);
    /// Most repair answers pending. Default 1,024. Memory: some 250 bytes each, an id of 36 bytes
    /// included.
    max_answers: usize = 1_024;

    /// Longest delay before a bridge re-encodes a message, over which several bridges spread.
    /// Default 500 ms.
    bridge_delay: Duration = Duration::from_millis(500);

    /// Whether sync messages are sent at all. Default: yes.
    sync: bool = true;
    /// Shortest quiet time before a sync message, and shortest time for which what nobody but its sender
    /// has named waits to be named in one. Default 20 s.
    sync_min: Duration = Duration::from_secs(20);
    /// Longest of these times. Default 60 s.
    sync_max: Duration = Duration::from_secs(60);

    /// Furthest a message's Lamport time may be ahead of our wall clock; without a wall clock, of our
    /// Lamport clock or of the year 2100, whichever is later. Default 24 h.
    max_clock_skew: Duration = Duration::from_secs(24 * 3_600);
    /// Longest id taken in or published, in bytes. Default 256; at least 32 where syncs are sent.
    max_id_len: usize = 256;
    /// Longest retrieval hint, in bytes. Default 256.
    max_hint_len: usize = 256;
    /// Most causal history entries of a received message. Default 256. Times the lengths of two ids and a
    /// hint, and with content and its own ids, it must stay below 4 GiB.
    max_history_entries: usize = 256;
    /// Most repair requests of a received message. Default 256; 0 only without `repair`.
    max_request_entries: usize = 256;
    /// Longest content, in bytes. Default 1 MiB. A store may take no record as long as
    /// [`Config::max_record_len`]: then the driver does not start. SQLite takes 999 MB.
    max_content_len: usize = 1 << 20;
    /// Longest filter of a received message, in bytes. Default 64 KiB.
    max_filter_len: usize = 64 << 10;
    /// Longest datagram that the transport takes, in bytes. A message that would be longer, now or with
    /// the largest filter that it can carry when it is resent, is refused; heads and repair requests
    /// for which a message has no room wait for the next, and a sync leaves its filter out if need
    /// be. What others wrote may be longer when it is passed on. The drivers of `sds-runtime` set it.
    /// Default: no limit.
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
    /// It speaks the nim dialect, whose filters may be small. Every peer must be ours. A group that means
    /// no harm takes less than a hundred kilobytes. [`max_memory`](Self::max_memory) is some 440 with one
    /// channel on a 32-bit machine, and more with a store; hostile peers reached a third in tests.
    /// Should it speak LIP-109 after all, a channel's filter is not kept but set in each message.
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
            max_met_ids: 32,
            max_heads: 4,
            max_outgoing: 16,
            max_incoming_messages: 32,
            max_incoming_bytes: 8 << 10,
            max_wanted: 64,
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

    /// T_max in milliseconds for requests and answers in `dialect`.
    pub(crate) fn t_max(&self, dialect: WireDialect) -> Duration {
        self.repair_t_max.unwrap_or(default_t_max(dialect))
    }

    /// Whether messages of `dialect` are taken in.
    #[must_use]
    pub const fn accepts(&self, dialect: WireDialect) -> bool {
        match dialect {
            WireDialect::Lip109 => self.accept_lip109,
            WireDialect::NimSds => self.accept_nim_sds,
        }
    }

    /// Whether own messages or bridged ones may go out in `dialect`.
    pub(crate) const fn speaks(&self, dialect: WireDialect) -> bool {
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

    /// What the decoder refuses before allocating.
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
        let groups = |n| *Config::large_group(n).build().unwrap().response_groups();
        assert_eq!((groups(5), groups(255), groups(256), groups(2_000)), (1, 1, 2, 15));
    }
}
