//! The participants and how their nodes are configured: like any other, with shorter times.

use core::time::Duration;

use sds_proto::{Config, ConfigError, Dialect, Durability};

use crate::args::Member;

/// Number of participants.
pub(crate) const PARTICIPANTS: usize = 3;
/// The one channel of the group.
pub(crate) const CHANNEL: &str = "general";

/// The name of the participant with this index.
pub(crate) fn name(index: usize) -> String {
    format!("p{index}")
}

/// The id of a message: of which participant, in which life of it, and the how manyeth.
pub(crate) fn message_id(member: &Member, number: u64) -> String {
    format!("{}-{}-{number}", name(member.index), member.life)
}

/// In which life its author published a message.
pub(crate) fn life(message_id: &str) -> Option<u32> {
    message_id.split('-').nth(1)?.parse().ok()
}

pub(crate) fn config(member: &Member) -> Result<Config, ConfigError> {
    let ms = Duration::from_millis;
    Config::builder()
        .participant_id(name(member.index).into())
        .seed(member.seed.wrapping_add(u64::from(member.life) << 8) + member.index as u64)
        .durability(Durability::Strict)
        .dialect(Dialect::NimSds)
        // All members are ours, so that a sync message bothers nobody.
        .sync_to_nim(true)
        .bloom_capacity(1_000)
        .bloom_error_rate(0.000_1)
        // The logs are compared as a whole.
        .max_log_messages(1_000_000)
        .max_log_bytes(1 << 30)
        .max_ids(1_200_000)
        .resend_after(ms(60))
        .resend_max(ms(300))
        .max_resends(1_000)
        .repair_t_min(ms(20))
        .repair_t_max(Some(ms(200)))
        .repair_sync_min(ms(20))
        .sync_min(ms(15))
        .sync_max(ms(40))
        .build()
}
