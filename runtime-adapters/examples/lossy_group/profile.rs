//! Configuration of a participant's node: the usual one with shorter times.

use core::time::Duration;

use fastrand::Rng;
use sds_proto::wire::NimForm;
use sds_proto::{Config, ConfigError, Dialect, Durability};

use crate::args::{Form, GroupArgs, Spoken};

/// The one channel of the group.
pub(crate) const CHANNEL: &str = "lossy-group";

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The name of the participant with this index.
pub(crate) fn name(index: usize) -> String {
    format!("p{index}")
}

/// The configuration of the participant with this index in its `life`, counted from 1.
pub(crate) fn config(group: &GroupArgs, index: usize, life: u32) -> Result<Config, ConfigError> {
    let total = group.participants as usize * group.messages as usize;
    let bodies = total.max(10_000);
    let dialect = dialect(group, index);
    Config::builder()
        .participant_id(name(index).into())
        .seed(seed(group, index, life))
        .durability(if group.store.is_some() { Durability::Strict } else { Durability::None })
        .dialect(dialect)
        .nim_form(form(group))
        .accept_lip109(dialect != Dialect::NimSds)
        .accept_nim_sds(dialect != Dialect::Lip109)
        // All members are ours, so that a sync message bothers nobody.
        .sync_to_nim(true)
        // The judge wants the whole log.
        .max_log_messages(bodies)
        .max_log_bytes(1 << 30)
        .max_ids(bodies + bodies / 5)
        .resend(!group.no_repair)
        .resend_after(ms(300))
        .resend_max(ms(3_000))
        .max_resends(30)
        .repair(!group.no_repair)
        .repair_t_min(ms(60))
        .repair_t_max(Some(ms(600)))
        .repair_sync_min(ms(50))
        .sync_min(ms(100))
        .sync_max(ms(400))
        .build()
}

/// Different for each participant, each of its lives, and each seed of the group.
pub(crate) fn seed(group: &GroupArgs, index: usize, life: u32) -> u64 {
    let mut rng = Rng::with_seed(group.seed);
    let first = (0..=index).fold(0, |_, _| rng.u64(..));
    (1..life).fold(first, |seed, _| Rng::with_seed(seed).u64(..))
}

/// Time between two messages of one participant, on average: together they publish at the same
/// rate, however many they are.
pub(crate) fn pace(group: &GroupArgs) -> Duration {
    ms(3) * group.participants
}

/// Whether messages in the nim dialect do not say who sent them.
pub(crate) const fn leaves_senders_out(group: &GroupArgs) -> bool {
    !matches!(group.dialect, Spoken::Lip109) && !form(group).is_complete()
}

const fn form(group: &GroupArgs) -> NimForm {
    match group.nim_form {
        Form::V02 => NimForm::V02,
        Form::V030 => NimForm::V030,
        Form::V033 => NimForm::V033,
        Form::V04 => NimForm::V04,
    }
}

fn dialect(group: &GroupArgs, index: usize) -> Dialect {
    let middle = group.participants as usize / 2;
    match group.dialect {
        Spoken::Lip109 => Dialect::Lip109,
        Spoken::Nim => Dialect::NimSds,
        Spoken::Mixed if index < middle => Dialect::Lip109,
        Spoken::Mixed if index > middle => Dialect::NimSds,
        Spoken::Mixed => Dialect::Bridge,
    }
}
