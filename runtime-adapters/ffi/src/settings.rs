//! The configuration of a context: that of nim-sds, or what a JSON text says.

use core::fmt;
use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::hash::RandomState;
use std::thread;

#[cfg(feature = "sqlite")]
use sds_proto::StoreError;
use sds_proto::bloom::Geometry;
use sds_proto::wire::{NimForm, WireDialect};
use sds_proto::{
    Config, ConfigBuilder, ConfigError, Dialect, Durability, FilterPolicy, NimFilterSize,
    ParticipantId,
};
#[cfg(feature = "sqlite")]
use sds_runtime::store::{OpenError, Sqlite};
use serde::Deserialize;

use crate::request::MAX_DATAGRAM;
use crate::storage::Storage;

/// The settings of a context.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    /// There if the configuration asks for durability.
    pub(crate) storage: Option<Storage>,
    /// Between two `periodic_sync` events.
    pub(crate) period: Duration,
    /// Time for which the thread and its callers spin before they sleep.
    pub(crate) spin: Duration,
    /// Whether events say more than those of nim-sds.
    pub(crate) detailed: bool,
}

/// The keys of the JSON configuration; those in the first group are nim-sds's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Keys {
    bloom_filter_capacity: Option<u32>,
    bloom_filter_error_rate: Option<f64>,
    max_message_history: Option<usize>,
    max_causal_history: Option<usize>,
    resend_interval_ms: Option<u64>,
    max_resend_attempts: Option<u32>,
    sync_message_interval_ms: Option<u64>,
    /// Taken and without use: nothing is swept here, it happens when it is due.
    #[serde(rename = "bufferSweepIntervalMs")]
    _buffer_sweep_interval_ms: Option<u64>,
    repair_t_min_ms: Option<u64>,
    repair_t_max_ms: Option<u64>,
    num_response_groups: Option<u32>,
    max_repair_requests: Option<usize>,
    /// Taken and without use, as the sweep of buffers.
    #[serde(rename = "repairSweepIntervalMs")]
    _repair_sweep_interval_ms: Option<u64>,

    dialect: DialectKey,
    nim_form: NimFormKey,
    filter: FilterKey,
    filter_every: Option<u32>,
    keep_lip109_filters: Option<bool>,
    sync: Option<bool>,
    max_outgoing: Option<usize>,
    lost_after_ms: Option<u64>,
    spin_micros: Option<u64>,
    store: Option<String>,
    durability: Option<DurabilityKey>,
    adopt_store: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DialectKey {
    #[default]
    Nim,
    Lip109,
    Mirror,
    Bridge,
}

/// The form of the nim dialect, by the version of nim-sds. Its users' peers read that of 0.3.3.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum NimFormKey {
    #[serde(rename = "0.2")]
    V02,
    #[serde(rename = "0.3.0")]
    V030,
    #[default]
    #[serde(rename = "0.3.3")]
    V033,
    #[serde(rename = "0.4")]
    V04,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DurabilityKey {
    Strict,
    Relaxed,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FilterKey {
    #[default]
    Sized,
    Full,
}

/// Why there is no context of this configuration: the caller's fault.
#[derive(Debug)]
pub(crate) enum SettingsError {
    /// It is not JSON, or has a key or value that is not known.
    Json(serde_json::Error),
    /// It is JSON, but no object.
    NoObject,
    /// This key says how to use a store, and there is none.
    OfNoStore(&'static str),
    /// It cannot work.
    Config(ConfigError),
    /// It asks for a store, which this build does not have.
    #[cfg(not(feature = "sqlite"))]
    NoStore,
    /// The store cannot be opened.
    #[cfg(feature = "sqlite")]
    Open(OpenError),
    /// The store was opened and does not work.
    #[cfg(feature = "sqlite")]
    Store(StoreError),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "the configuration cannot be read: {error}"),
            Self::NoObject => f.write_str(
                "the configuration cannot be read: it is to be an object, {\"key\":value,…}",
            ),
            Self::OfNoStore(key) => {
                write!(f, "the configuration has \"{key}\" without \"store\": name a file")
            }
            Self::Config(error) => write!(f, "the configuration cannot work: {error}"),
            #[cfg(not(feature = "sqlite"))]
            Self::NoStore => {
                f.write_str("the configuration names a store: this build has no store")
            }
            #[cfg(feature = "sqlite")]
            Self::Open(error) => write!(f, "the store cannot be opened: {error}"),
            #[cfg(feature = "sqlite")]
            Self::Store(error) => write!(f, "the store does not work: {error}"),
        }
    }
}

impl Settings {
    /// Returns the settings for programs written for nim-sds.
    pub(crate) fn of_nim_sds() -> Result<Self, SettingsError> {
        Self::of(base(ParticipantId::default(), false), &Keys::default(), false)
    }

    /// Reads the settings from `json`; an empty text is the same as `{}`.
    pub(crate) fn from_json(
        participant: ParticipantId,
        json: &[u8],
    ) -> Result<Self, SettingsError> {
        let keys = match json.trim_ascii_start() {
            [] => Keys::default(),
            // An array would be taken for the values of the keys.
            [first, ..] if *first != b'{' => return Err(SettingsError::NoObject),
            _ => serde_json::from_slice(json).map_err(SettingsError::Json)?,
        };
        let ms = Duration::from_millis;
        let mut builder = base(participant, true);
        builder = set(builder, keys.bloom_filter_capacity, ConfigBuilder::bloom_capacity);
        builder = set(builder, keys.bloom_filter_error_rate, ConfigBuilder::bloom_error_rate);
        builder = builder.max_ids(keys.max_ids()).max_filter_len(keys.max_filter_len());
        builder = set(builder, keys.max_message_history, |builder, messages| {
            builder.max_log_messages(messages).max_outgoing(messages.min(MAX_OUTGOING))
        });
        builder = set(builder, keys.max_causal_history, ConfigBuilder::causal_history_len);
        builder = set(builder, keys.max_outgoing, ConfigBuilder::max_outgoing);
        builder = set(builder, keys.resend_interval_ms, |builder, interval| {
            let longest = ms(interval.saturating_mul(20)).min(YEAR).max(ms(interval));
            builder.resend_after(ms(interval)).resend_max(longest)
        });
        builder = set(builder, keys.max_resend_attempts, ConfigBuilder::max_resends);
        builder = set(builder, keys.repair_t_min_ms.map(ms), ConfigBuilder::repair_t_min);
        builder = set(builder, keys.repair_t_max_ms.map(ms), |builder, t_max| {
            // A program that has only nim-sds's keys need not know of the other.
            let lost_after = t_max.saturating_mul(3).max(HOUR);
            builder.repair_t_max(Some(t_max)).lost_after(lost_after)
        });
        builder = set(builder, keys.num_response_groups, ConfigBuilder::response_groups);
        builder = set(builder, keys.max_repair_requests, |builder, requests| {
            builder.max_repair_requests(requests).max_repair_requests_burst(requests.max(32))
        });
        builder = set(builder, keys.filter_every, |builder, messages| {
            builder.filter_policy(match messages {
                0 => FilterPolicy::SyncOnly,
                1 => FilterPolicy::EveryMessage,
                messages => FilterPolicy::EveryNth(messages),
            })
        });
        builder = set(builder, keys.keep_lip109_filters, ConfigBuilder::keep_lip109_filters);
        builder = set(builder, keys.lost_after_ms.map(ms), ConfigBuilder::lost_after);
        builder = set(builder, keys.sync, ConfigBuilder::sync);
        builder = builder.adopt_store(keys.adopt_store.unwrap_or_default());
        Self::of(builder, &keys, true)
    }

    fn of(builder: ConfigBuilder, keys: &Keys, detailed: bool) -> Result<Self, SettingsError> {
        let dialect = match keys.dialect {
            DialectKey::Nim => Dialect::NimSds,
            DialectKey::Lip109 => Dialect::Lip109,
            DialectKey::Mirror => Dialect::Mirror { initial: WireDialect::Lip109 },
            DialectKey::Bridge => Dialect::Bridge,
        };
        let nim_form = match keys.nim_form {
            NimFormKey::V02 => NimForm::V02,
            NimFormKey::V030 => NimForm::V030,
            NimFormKey::V033 => NimForm::V033,
            NimFormKey::V04 => NimForm::V04,
        };
        let filter = match keys.filter {
            FilterKey::Sized => NimFilterSize::SizedToContent,
            FilterKey::Full => NimFilterSize::FullSize,
        };
        let builder = builder
            .dialect(dialect)
            .nim_form(nim_form)
            .accept_lip109(!matches!(keys.dialect, DialectKey::Nim))
            .accept_nim_sds(!matches!(keys.dialect, DialectKey::Lip109))
            .nim_filter_size(filter);
        let durability = match keys.durability {
            None | Some(DurabilityKey::Strict) => Durability::Strict,
            Some(DurabilityKey::Relaxed) => Durability::Relaxed,
        };
        if keys.store.is_none() {
            let of_store = keys.durability.map(|_| "durability");
            if let Some(key) = of_store.or(keys.adopt_store.map(|_| "adoptStore")) {
                return Err(SettingsError::OfNoStore(key));
            }
        }
        let storage = keys.store.as_deref().map(|path| open_store(path, durability)).transpose()?;
        let builder = if storage.is_some() { builder.durability(durability) } else { builder };
        let spin = Duration::from_micros(keys.spin_micros.unwrap_or(50));
        // On one core, spinning keeps the awaited thread from running.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            config: builder.build().map_err(SettingsError::Config)?,
            storage,
            period: Duration::from_millis(keys.sync_message_interval_ms.unwrap_or(30_000).max(1)),
            spin: if cores > 1 { spin.min(MAX_SPIN) } else { Duration::ZERO },
            detailed,
        })
    }
}

impl Keys {
    /// Ids are remembered for as long as filters and the log hold them, and longer.
    fn max_ids(&self) -> usize {
        const MOST: usize = 1 << 24;
        let filters = usize::try_from(self.capacity_when_full()).unwrap_or(usize::MAX);
        let logged = self.max_message_history.unwrap_or_default();
        filters.max(logged).clamp(12_000, MOST)
    }

    /// Room for the filters that peers with the same configuration send.
    fn max_filter_len(&self) -> usize {
        // The numbers before the words of a filter of nim-sds.
        const NUMBERS: usize = 64;
        let error_rate = self.bloom_filter_error_rate.unwrap_or(0.001);
        // One that there is none of is refused as such.
        let largest = Geometry::new(self.capacity_when_full(), error_rate);
        largest.map_or(0, |largest| 8 * largest.word_count() + NUMBERS).max(64 << 10)
    }

    /// Returns the number of ids that a filter holds before it rolls.
    fn capacity_when_full(&self) -> u64 {
        let capacity = u64::from(self.bloom_filter_capacity.unwrap_or(10_000));
        capacity + capacity.div_ceil(5)
    }
}

/// A store in the file at `path`.
#[cfg(feature = "sqlite")]
fn open_store(path: &str, durability: Durability) -> Result<Storage, SettingsError> {
    let store = Sqlite::open(path).map_err(SettingsError::Open)?;
    Storage::start(store, durability).map_err(SettingsError::Store)
}

#[cfg(not(feature = "sqlite"))]
const fn open_store(_: &str, _: Durability) -> Result<Storage, SettingsError> {
    Err(SettingsError::NoStore)
}

/// Most own messages kept until somebody acknowledges them.
const MAX_OUTGOING: usize = 1_000;
const MAX_SPIN: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Returns the base of all settings. A context that cannot send bytes by itself neither resends,
/// nor sends syncs, nor requests repair.
fn base(participant: ParticipantId, way_out: bool) -> ConfigBuilder {
    let named = !participant.is_empty();
    let builder = Config::builder()
        .participant_id(participant)
        .seed(RandomState::new().build_hasher().finish())
        .auto_open(true)
        .max_auto_channels(16_384)
        .causal_history_len(10)
        .max_outgoing(MAX_OUTGOING)
        .unconfirmed_when_full(true)
        .max_id_len(4 << 10)
        .max_hint_len(4 << 10)
        .max_content_len(MAX_DATAGRAM)
        .max_incoming_bytes(4 * MAX_DATAGRAM)
        .max_log_bytes(4 * MAX_DATAGRAM)
        .resend(way_out)
        .sync(way_out)
        .repair(way_out && named)
        .retrieval_interval(None);
    // Without resends somebody else may still bring what is missing, whenever that is.
    if way_out { builder } else { builder.lost_after(YEAR) }
}

fn set<T>(
    builder: ConfigBuilder,
    value: Option<T>,
    setter: impl FnOnce(ConfigBuilder, T) -> ConfigBuilder,
) -> ConfigBuilder {
    match value {
        Some(value) => setter(builder, value),
        None => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_json(json: &str) -> Result<Settings, String> {
        let settings = Settings::from_json("alice".into(), json.as_bytes());
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_of_nim_sds_gets_what_it_had() {
        let settings = Settings::of_nim_sds().unwrap();
        let config = &settings.config;
        assert_eq!((config.dialect(), config.nim_form()), (Dialect::NimSds, NimForm::V033));
        assert_eq!((config.bloom_capacity(), config.bloom_error_rate()), (10_000, 0.001));
        assert_eq!(config.causal_history_len(), 10);
        assert!(config.participant_id().is_empty());
        assert!(!config.resend() && !config.sync() && !config.repair());
        assert_eq!(settings.period, Duration::from_secs(30));
    }

    #[test]
    fn every_key_is_read() {
        let settings = from_json(
            r#"{"bloomFilterCapacity":20000,"bloomFilterErrorRate":0.01,"maxMessageHistory":500,
                "maxCausalHistory":3,"resendIntervalMs":1000,"maxResendAttempts":2,
                "syncMessageIntervalMs":10,"bufferSweepIntervalMs":1,"repairTMinMs":5,
                "repairTMaxMs":50,"numResponseGroups":4,"maxRepairRequests":7,
                "repairSweepIntervalMs":1,"dialect":"bridge","filter":"full",
                "filterEvery":4,"keepLip109Filters":false,"sync":false,
                "maxOutgoing":9,"lostAfterMs":177,"spinMicros":0}"#,
        )
        .unwrap();
        let config = &settings.config;
        assert_eq!((config.bloom_capacity(), config.max_ids()), (20_000, 24_000));
        assert_eq!((config.max_log_messages(), config.max_outgoing()), (500, 9));
        assert_eq!(config.resend_after(), Duration::from_secs(1));
        assert_eq!((config.response_groups(), config.max_repair_requests()), (4, 7));
        assert_eq!(config.dialect(), Dialect::Bridge);
        assert_eq!(config.nim_filter_size(), NimFilterSize::FullSize);
        assert_eq!(config.filter_policy(), FilterPolicy::EveryNth(4));
        assert!(!config.keep_lip109_filters());
        assert!(!config.sync() && config.repair());
        assert_eq!((settings.period, settings.spin), (Duration::from_millis(10), Duration::ZERO));
        assert!(from_json("").is_ok());
    }

    #[test]
    fn a_value_is_refused_only_for_a_bound_that_has_a_key() {
        const KEYS: [(&str, &str); 14] = [
            ("bloomFilterCapacity", "bloom_capacity"),
            ("bloomFilterErrorRate", "bloom_error_rate"),
            ("maxMessageHistory", "max_log_messages"),
            ("maxCausalHistory", "causal_history_len"),
            ("resendIntervalMs", "resend_after"),
            ("maxResendAttempts", "max_resends"),
            ("syncMessageIntervalMs", ""),
            ("repairTMinMs", "repair_t_min"),
            ("repairTMaxMs", "repair_t_max"),
            ("numResponseGroups", "response_groups"),
            ("maxRepairRequests", "max_repair_requests"),
            ("filterEvery", "filter_policy"),
            ("maxOutgoing", "max_outgoing"),
            ("lostAfterMs", "lost_after"),
        ];
        // "repair_t_max × 3" is as much as is known of a key as the key itself.
        let known = |field: &str| {
            let field = field.split_once(' ').map_or(field, |(field, _)| field);
            KEYS.iter().any(|(_, known)| *known == field)
        };
        for (key, own) in KEYS {
            for value in [1, 2, 9, 100, 256, 20_000, 35_000, 1_000_000, 10_000_000, 2_000_000_000] {
                for dialect in ["nim", "lip109", "mirror", "bridge"] {
                    let json = format!(r#"{{"dialect":"{dialect}","{key}":{value}}}"#);
                    match Settings::from_json("alice".into(), json.as_bytes()).map(drop) {
                        Ok(()) | Err(SettingsError::Config(ConfigError::Bloom(_))) => {}
                        Err(SettingsError::Config(
                            ConfigError::OutOfRange { field, .. }
                            | ConfigError::NotAChance { field, .. },
                        )) => assert_eq!(field, own, "{json}"),
                        Err(SettingsError::Config(ConfigError::Above {
                            field,
                            bound_field,
                            ..
                        })) => {
                            // The maximum number of remembered ids is derived and has no key.
                            let capacity = key == "bloomFilterCapacity" && value > 13_000_000;
                            assert!(capacity || known(field) && known(bound_field), "{json}");
                        }
                        Err(error) => panic!("{json}: {error}"),
                    }
                }
            }
        }
        assert!(from_json(r#"{"maxMessageHistory":20000}"#).is_ok());
        assert!(from_json(r#"{"dialect":"lip109","bloomFilterCapacity":1000000}"#).is_ok());
    }

    #[test]
    fn each_form_of_the_nim_dialect_has_a_name() {
        let form = |json: &str| from_json(json).unwrap().config.nim_form();
        assert_eq!(form("{}"), NimForm::V033);
        for nim_form in NimForm::ALL {
            assert_eq!(form(&format!(r#"{{"nimForm":"{nim_form}"}}"#)), nim_form);
        }
        assert!(from_json(r#"{"nimForm":"0.5"}"#).is_err());
    }

    #[test]
    fn filters_are_in_none_in_each_or_in_one_of_so_many_messages() {
        let policy = |json| from_json(json).unwrap().config.filter_policy();
        assert_eq!(policy(r#"{"filterEvery":0}"#), FilterPolicy::SyncOnly);
        assert_eq!(policy(r#"{"filterEvery":1}"#), FilterPolicy::EveryMessage);
        assert_eq!(policy(r#"{"filterEvery":2}"#), FilterPolicy::EveryNth(2));
        assert_eq!(policy("{}"), FilterPolicy::EveryMessage);
    }

    #[test]
    fn giving_up_waits_for_the_longest_repair_unless_told_otherwise() {
        let limit = |json| from_json(json).map(|settings| settings.config.lost_after());
        assert_eq!(limit(r#"{"repairTMaxMs":60000}"#), Ok(HOUR));
        assert_eq!(limit(r#"{"repairTMaxMs":3600000}"#), Ok(3 * HOUR));
        assert_eq!(limit(r#"{"repairTMaxMs":1200000,"lostAfterMs":7200000}"#), Ok(2 * HOUR));
        let error = limit(r#"{"repairTMaxMs":3600000,"lostAfterMs":7200000}"#).unwrap_err();
        assert!(error.contains("above lost_after"), "{error}");
    }

    #[test]
    #[cfg(feature = "sqlite")]
    fn keys_of_a_store_are_read_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.db");
        let json = serde_json::json!({"store": path, "durability": "relaxed", "adoptStore": true});
        let settings = from_json(&json.to_string()).unwrap();
        assert_eq!(settings.config.durability(), Durability::Relaxed);
        assert!(settings.config.adopt_store() && settings.storage.is_some());
    }

    #[test]
    fn what_is_no_object_or_is_of_no_store_is_refused() {
        for json in ["[]", "[20000]", "null", " 7", "\"lip109\""] {
            let error = from_json(json).unwrap_err();
            assert!(error.contains("it is to be an object"), "{json}: {error}");
        }
        assert!(from_json(" \n{}").is_ok() && from_json(" ").is_ok());
        for key in ["\"durability\":\"strict\"", "\"adoptStore\":false"] {
            let error = from_json(&format!("{{{key}}}")).unwrap_err();
            assert!(error.contains("without \"store\""), "{key}: {error}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let error = from_json(r#"{"dialct":"nim"}"#).unwrap_err();
        assert!(error.contains("unknown field `dialct`"), "{error}");
        let error = from_json(r#"{"bloomFilterErrorRate":2}"#).unwrap_err();
        assert!(error.contains("bloom_error_rate"), "{error}");
        let error = from_json(r#"{"store":"/no/such/folder/alice.db"}"#).unwrap_err();
        let wanted = if cfg!(feature = "sqlite") { "cannot be opened" } else { "has no store" };
        assert!(error.contains(wanted), "{error}");
    }
}
