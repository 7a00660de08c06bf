//! The conditions of a valid configuration.

use core::time::Duration;

use super::{Config, ConfigBuilder, Dialect, FilterPolicy, LAST_ROUNDS, MAX_GROUPS, default_t_max};
use crate::bloom::Geometry;
use crate::entry::LogEntry;
use crate::error::ConfigError;
use crate::wire::{WireDialect, nim_container_len};

/// Bytes of the ids of own syncs: two numbers of 64 bits in hexadecimal.
const SYNC_ID_LEN: usize = 32;

impl ConfigBuilder {
    /// Checks every setting and every relation between settings.
    ///
    /// # Errors
    ///
    /// The first broken one, with the field, its value and the bound.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.check_counts()?;
        self.check_times()?;
        self.check_chances()?;
        self.check_relations()?;
        let geometry = Geometry::new(u64::from(self.bloom_capacity), self.bloom_error_rate)
            .map_err(ConfigError::Bloom)?;
        let config = self.into_config(geometry);
        config.check_log_entries()?;
        match config.excess_over(&config) {
            Some(excess) => Err(excess.into()),
            None => Ok(config),
        }
    }

    fn check_counts(&self) -> Result<(), ConfigError> {
        const COUNT: u64 = 1 << 24;
        const BYTES: u64 = 1 << 40;
        let counts: [(&'static str, usize, u64, u64); 23] = [
            ("participant_id", self.participant_id.len(), 0, self.max_id_len as u64),
            ("max_auto_channels", self.max_auto_channels, 0, COUNT),
            ("max_held_effects", self.max_held_effects, 1, COUNT),
            ("max_held_bytes", self.max_held_bytes, 1, BYTES),
            ("causal_history_len", self.causal_history_len, 1, 256),
            ("max_heads", self.max_heads, 1, 256),
            ("max_log_messages", self.max_log_messages, 1, COUNT),
            ("max_log_bytes", self.max_log_bytes, 1, BYTES),
            ("max_ids", self.max_ids, 1, COUNT),
            ("max_resolved_ids", self.max_resolved_ids, 1, COUNT),
            ("max_outgoing", self.max_outgoing, 1, COUNT),
            ("max_incoming_messages", self.max_incoming_messages, 1, COUNT),
            ("max_incoming_bytes", self.max_incoming_bytes, 1, BYTES),
            ("max_missing", self.max_missing, 1, COUNT),
            ("max_answers", self.max_answers, 1, COUNT),
            ("max_repair_requests", self.max_repair_requests, 1, 256),
            ("max_repair_requests_burst", self.max_repair_requests_burst, 1, 256),
            ("max_id_len", self.max_id_len, 1, 64 << 10),
            ("max_hint_len", self.max_hint_len, 0, 64 << 10),
            ("max_history_entries", self.max_history_entries, 1, 64 << 10),
            ("max_request_entries", self.max_request_entries, 0, 64 << 10),
            ("max_content_len", self.max_content_len, 1, 1 << 30),
            ("max_filter_len", self.max_filter_len, 1, 1 << 30),
        ];
        counts
            .into_iter()
            .try_for_each(|(field, value, min, max)| in_range(field, value as u64, min, max))?;
        in_range("bloom_capacity", u64::from(self.bloom_capacity), 1, 1 << 24)?;
        if let FilterPolicy::EveryNth(messages) = self.filter_policy {
            in_range("filter_policy", u64::from(messages), 1, u64::from(u32::MAX))?;
        }
        in_range("response_groups", u64::from(self.response_groups), 1, MAX_GROUPS.into())?;
        in_range("possibly_acked_slowdown", u64::from(self.possibly_acked_slowdown), 1, 1_000)
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        const YEAR: u64 = 366 * 24 * 3_600 * 1_000;
        let times = [
            ("resend_after", self.resend_after),
            ("resend_max", self.resend_max),
            ("lost_after", self.lost_after),
            ("repair_t_min", self.repair_t_min),
            ("repair_sync_min", self.repair_sync_min),
            ("bridge_delay", self.bridge_delay),
            ("sync_min", self.sync_min),
            ("sync_max", self.sync_max),
            ("retrieval_interval", self.retrieval_interval.unwrap_or(Duration::from_secs(1))),
        ];
        times.into_iter().try_for_each(|(field, time)| in_range(field, millis(time), 1, YEAR))?;
        in_range("max_clock_skew", millis(self.max_clock_skew), 0, YEAR)
    }

    fn check_chances(&self) -> Result<(), ConfigError> {
        let chances =
            [("bloom_error_rate", self.bloom_error_rate), ("ack_confidence", self.ack_confidence)];
        for (field, value) in chances {
            // Written so that a NaN is refused as well.
            if !(value > 0.0 && value < 1.0) {
                return Err(ConfigError::NotAChance { field, value });
            }
        }
        Ok(())
    }

    fn check_relations(&self) -> Result<(), ConfigError> {
        let t_max = self.repair_t_max.unwrap_or(match self.dialect {
            Dialect::NimSds => default_t_max(WireDialect::NimSds),
            Dialect::Mirror { initial } => default_t_max(initial),
            Dialect::Lip109 | Dialect::Bridge => default_t_max(WireDialect::Lip109),
        });
        let rounds = if self.repair { LAST_ROUNDS } else { 0 };
        let not_above = [
            ("repair_t_min", millis(self.repair_t_min), "repair_t_max", millis(t_max)),
            (
                "repair_t_max × 3",
                millis(t_max).saturating_mul(rounds.into()),
                "lost_after",
                millis(self.lost_after),
            ),
            ("sync_min", millis(self.sync_min), "sync_max", millis(self.sync_max)),
            ("resend_after", millis(self.resend_after), "resend_max", millis(self.resend_max)),
            (
                "max_repair_requests",
                self.max_repair_requests as u64,
                "max_repair_requests_burst",
                self.max_repair_requests_burst as u64,
            ),
            (
                "max_outgoing",
                self.max_outgoing as u64,
                "max_log_messages",
                self.max_log_messages as u64,
            ),
            ("max_log_messages", self.max_log_messages as u64, "max_ids", self.max_ids as u64),
            (
                "bloom_capacity × 1.2",
                u64::from(self.bloom_capacity) + u64::from(self.bloom_capacity).div_ceil(5),
                "max_ids",
                self.max_ids as u64,
            ),
        ];
        for (field, value, bound_field, bound) in not_above {
            if value > bound {
                return Err(ConfigError::Above { field, value, bound_field, bound });
            }
        }
        if !matches!(self.dialect, Dialect::NimSds) && self.participant_id.as_str().is_none() {
            return Err(ConfigError::ParticipantIdNotUtf8);
        }
        let (needs_lip109, needs_nim_sds) = match self.dialect {
            Dialect::Lip109 => (true, false),
            Dialect::NimSds => (false, true),
            Dialect::Mirror { .. } | Dialect::Bridge => (true, true),
        };
        if needs_lip109 && !self.accept_lip109 {
            return Err(ConfigError::SpokenNotAccepted { dialect: WireDialect::Lip109 });
        }
        if needs_nim_sds && !self.accept_nim_sds {
            return Err(ConfigError::SpokenNotAccepted { dialect: WireDialect::NimSds });
        }
        Ok(())
    }
}

/// A setting by which a node can send more than a peer takes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Excess {
    /// The setting of the node that sends.
    pub(crate) field: &'static str,
    /// The most that it can send.
    pub(crate) value: u64,
    /// The setting of its peer.
    pub(crate) bound_field: &'static str,
    /// The most that the peer takes in.
    pub(crate) bound: u64,
}

impl From<Excess> for ConfigError {
    fn from(excess: Excess) -> Self {
        let Excess { field, value, bound_field, bound } = excess;
        Self::Above { field, value, bound_field, bound }
    }
}

impl Config {
    /// The first way in which a node with these settings can send more than a node of the settings
    /// of `peer` takes in, in any message: its own, its syncs, and what it passes on. Its ids,
    /// contents and hints are as long as its own limits allow.
    pub(crate) fn excess_over(&self, peer: &Self) -> Option<Excess> {
        let (named_field, named) = self.most_named();
        let if_any = |sent: bool, most: usize| if sent { most } else { 0 };
        let filter = |dialect| if_any(self.writes_dialect(dialect), self.longest_filter(dialect));
        let own = "bloom_capacity as a filter";
        let sent = [
            ("max_id_len", self.max_id_len, "max_id_len", peer.max_id_len),
            (
                "the length of sync ids",
                if_any(self.syncs(), SYNC_ID_LEN),
                "max_id_len",
                peer.max_id_len,
            ),
            ("max_hint_len", self.max_hint_len, "max_hint_len", peer.max_hint_len),
            (named_field, named, "max_history_entries", peer.max_history_entries),
            (
                "max_history_entries",
                self.max_history_entries,
                "max_history_entries",
                peer.max_history_entries,
            ),
            (
                "max_repair_requests_burst",
                if_any(self.repair, self.max_repair_requests_burst),
                "max_request_entries",
                peer.max_request_entries,
            ),
            ("max_content_len", self.max_content_len, "max_content_len", peer.max_content_len),
            (own, filter(WireDialect::Lip109), "max_filter_len", peer.max_filter_len),
            (own, filter(WireDialect::NimSds), "max_filter_len", peer.max_filter_len),
        ];
        let mut sent = sent.into_iter().map(|(field, value, bound_field, bound)| Excess {
            field,
            value: value as u64,
            bound_field,
            bound: bound as u64,
        });
        sent.find(|excess| excess.value > excess.bound)
    }

    /// The most entries that a message of ours can name of its own accord, and the setting that
    /// says so.
    fn most_named(&self) -> (&'static str, usize) {
        let heads = ("max_heads", self.max_heads);
        let filled_up = ("causal_history_len", self.causal_history_len);
        if heads.1 >= filled_up.1 { heads } else { filled_up }
    }

    /// Whether ids may be as long as those of syncs.
    pub(super) const fn takes_syncs(&self) -> bool {
        self.max_id_len >= SYNC_ID_LEN
    }

    /// Whether sync messages are sent in any dialect.
    const fn syncs(&self) -> bool {
        self.sync && (self.writes_dialect(WireDialect::Lip109) || self.sync_to_nim)
    }

    /// Bytes of the largest filter that is sent in a dialect, its container included.
    pub(crate) fn longest_filter(&self, dialect: WireDialect) -> usize {
        match dialect {
            WireDialect::Lip109 => self.geometry.word_count() * size_of::<u64>(),
            WireDialect::NimSds => nim_container_len(&self.geometry.rolled()),
        }
    }

    /// Checks that the largest entry that these lengths allow can be laid out.
    fn check_log_entries(&self) -> Result<(), ConfigError> {
        let [id, hint, named, content] =
            [self.max_id_len, self.max_hint_len, self.max_history_entries, self.max_content_len]
                .map(|most| most as u64);
        let bytes = LogEntry::largest(id, hint, named, content);
        let limit = LogEntry::MAX_SIZE;
        if bytes > limit { Err(ConfigError::EntryTooLarge { bytes, limit }) } else { Ok(()) }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn in_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if value < min || value > max {
        return Err(ConfigError::OutOfRange { field, value, min, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_error_names_field_value_and_bound() {
        let error = Config::builder().max_heads(0).build().unwrap_err();
        assert_eq!(
            error,
            ConfigError::OutOfRange { field: "max_heads", value: 0, min: 1, max: 256 }
        );
        assert_eq!(error.to_string(), "max_heads is 0, but must be from 1 to 256");

        let error = Config::builder().filter_policy(FilterPolicy::EveryNth(0)).build().unwrap_err();
        assert_eq!(error.to_string(), "filter_policy is 0, but must be from 1 to 4294967295");

        let error = Config::builder().sync_min(Duration::from_secs(90)).build().unwrap_err();
        assert_eq!(error.to_string(), "sync_min is 90000 ms, above sync_max, which is 60000 ms");

        let error = Config::builder().lost_after(Duration::from_secs(60)).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "repair_t_max × 3 is 360000 ms, above lost_after, which is 60000 ms"
        );

        let error = Config::builder().ack_confidence(f64::NAN).build().unwrap_err();
        assert!(matches!(error, ConfigError::NotAChance { field: "ack_confidence", .. }));

        let error = Config::builder().max_ids(11_999).build().unwrap_err();
        assert!(matches!(error, ConfigError::Above { bound_field: "max_ids", .. }));
    }

    #[test]
    fn what_an_identical_peer_would_refuse_is_refused() {
        let above = |builder: ConfigBuilder| match builder.build() {
            Err(ConfigError::Above { field, bound_field, .. }) => (field, bound_field),
            other => panic!("{other:?}"),
        };
        let builder = Config::builder;
        let entries = "max_history_entries";
        assert_eq!(above(builder().max_history_entries(15)), ("max_heads", entries));
        let few = builder().max_history_entries(15).max_heads(1);
        assert_eq!(above(few.causal_history_len(16)), ("causal_history_len", entries));
        let requests = ("max_repair_requests_burst", "max_request_entries");
        assert_eq!(above(builder().max_request_entries(0)), requests);
        assert_eq!(above(builder().max_request_entries(31)), requests);
        assert!(builder().max_request_entries(0).repair(false).build().is_ok());
        assert_eq!(above(builder().max_id_len(31)), ("the length of sync ids", "max_id_len"));
        assert!(builder().max_id_len(31).sync(false).build().is_ok());
        let filter = ("bloom_capacity as a filter", "max_filter_len");
        let many = |capacity| builder().bloom_capacity(capacity).max_ids(100_000);
        assert!(many(34_900).build().is_ok());
        assert_eq!(above(many(35_000)), filter);
        assert!(many(35_000).max_filter_len(66_000).build().is_ok());
        // Once it has rolled, it is a fifth larger in the other dialect.
        let nim = |capacity| many(capacity).dialect(Dialect::NimSds);
        assert!(nim(29_000).build().is_ok());
        assert_eq!(above(nim(29_200)), filter);
        let error = builder().max_history_entries(15).build().unwrap_err();
        let said = "max_heads is 16, above max_history_entries, which is 15";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn the_largest_entry_that_settings_allow_can_be_laid_out() {
        let largest = |builder: ConfigBuilder| {
            builder.max_content_len(1 << 30).max_id_len(64 << 10).max_hint_len(64 << 10)
        };
        let error = largest(Config::builder()).max_history_entries(64 << 10).build().unwrap_err();
        assert!(matches!(error, ConfigError::EntryTooLarge { .. }), "{error}");
        // As many entries as fit, and one more.
        let each = 12 + 3 * (64 << 10);
        let fit = (usize::try_from(u32::MAX).unwrap() - 24 - 2 * (64 << 10) - (1 << 30)) / each;
        assert!(largest(Config::builder()).max_history_entries(fit).build().is_ok());
        let error = largest(Config::builder()).max_history_entries(fit + 1).build().unwrap_err();
        assert!(error.to_string().contains("max_history_entries"), "{error}");
    }

    #[test]
    fn a_spoken_dialect_must_be_accepted() {
        let error = Config::builder().dialect(Dialect::Bridge).accept_nim_sds(false).build();
        assert_eq!(error, Err(ConfigError::SpokenNotAccepted { dialect: WireDialect::NimSds }));
    }
}
