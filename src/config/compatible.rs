//! Settings of a member that is larger than another.

use super::{Config, ConfigBuilder};

impl ConfigBuilder {
    /// Whatever a node with these settings sends a node of the settings of `smallest` takes in, and
    /// the other way round: for a desktop in a group with a board. Call it last; what is set after
    /// it is checked against these settings only.
    ///
    /// Limits of what is taken in become those of `smallest`, for what is taken in may be passed
    /// on; so do dialect, hash and filters, and what the group must agree on in repairs. How many
    /// entries are named and asked for is lowered to what it takes in, and datagrams to what its
    /// transport takes. How much is kept stays: logs, buffers, ids.
    ///
    /// ```
    /// use sds_proto::Config;
    ///
    /// let board = Config::firmware().participant_id("pump".into()).build()?;
    /// let desktop = Config::chat().participant_id("desk".into()).compatible_with(&board).build()?;
    /// assert_eq!(desktop.max_content_len(), board.max_content_len());
    /// assert_eq!(desktop.max_log_messages(), 10_000);
    /// # Ok::<(), sds_proto::ConfigError>(())
    /// ```
    pub fn compatible_with(self, smallest: &Config) -> Self {
        let max_repair_requests_burst =
            self.max_repair_requests_burst.min(smallest.max_request_entries.max(1));
        let max_ids = u64::from(smallest.bloom_capacity) * 6 / 5 + 1;
        Self {
            accept_lip109: smallest.accept_lip109,
            accept_nim_sds: smallest.accept_nim_sds,
            dialect: smallest.dialect,
            nim_form: smallest.nim_form,
            nim_hash: smallest.nim_hash,
            sync_to_nim: smallest.sync_to_nim,
            bloom_capacity: smallest.bloom_capacity,
            bloom_error_rate: smallest.bloom_error_rate,
            nim_filter_size: smallest.nim_filter_size,

            max_id_len: smallest.max_id_len,
            max_hint_len: smallest.max_hint_len,
            max_history_entries: smallest.max_history_entries,
            max_request_entries: smallest.max_request_entries,
            max_content_len: smallest.max_content_len,
            max_filter_len: smallest.max_filter_len,
            max_datagram_len: self.max_datagram_len.min(smallest.max_datagram_len),

            max_heads: self.max_heads.min(smallest.max_history_entries),
            causal_history_len: self.causal_history_len.min(smallest.max_history_entries),
            repair: self.repair && smallest.max_request_entries > 0,
            max_repair_requests: self.max_repair_requests.min(max_repair_requests_burst),
            max_repair_requests_burst,
            sync: self.sync && smallest.takes_syncs(),
            max_ids: self.max_ids.max(usize::try_from(max_ids).unwrap_or(usize::MAX)),

            repair_t_min: smallest.repair_t_min,
            repair_t_max: smallest.repair_t_max,
            response_groups: smallest.response_groups,
            ..self
        }
    }
}
