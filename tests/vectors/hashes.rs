//! Hashes, filters and repair arithmetic, as the two existing implementations compute them.

use core::fmt::{Debug, Write as _};
use core::num::NonZeroU64;

use sds_proto::bloom::{
    Filter, Geometry, GeometryError, MAX_K, Probe, ReceivedFilter, Rolling, RollingFilter,
};
use sds_proto::hash::{HashKind, farm_hash64, murmur3_32};
use sds_proto::repair::RepairTiming;
use sds_proto::wire::NimFilter;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{Check, json};

pub(crate) const NIM: &[(&str, Check)] = &[
    ("hash", nim_hash),
    ("hashN", nim_indices),
    ("bloom", nim_filter),
    ("rollingBloom", nim_rolling),
    ("repair", nim_repair),
];

pub(crate) const LIP109: &[(&str, Check)] =
    &[("bloom", lip109_filter), ("hash_n", lip109_index), ("timing", lip109_timing)];

type Outcome = Result<(), String>;

fn nim_hash(case: &Value, root: &Value) -> Outcome {
    let case = Case::new(case, &["in", "hash", "hashU64hex", "abs"], &[])?;
    let input = Case::new(case.get("in")?, &["hex", "len"], &["str"])?;
    let bytes = unhex(input.text("hex")?)?;
    equal("len", input.u64("len")?, bytes.len() as u64)?;
    if input.has("str") {
        equal("str", input.text("str")?.as_bytes(), &bytes)?;
    }
    let kind = nim_kind(root)?;
    let murmur = kind == HashKind::NimMurmur;
    let hash = if murmur { murmur3_32(&bytes).into() } else { farm_hash64(&bytes) };
    equal("hashU64hex", case.text("hashU64hex")?, &format!("{hash:016x}"))?;
    equal("hash", case.text("hash")?, &hash.cast_signed().to_string())?;
    let probe = kind.probe(&bytes);
    equal("abs", case.text("abs")?, &probe.a.to_string())
}

fn nim_indices(case: &Value, root: &Value) -> Outcome {
    let case = Case::new(case, &["item", "mBits", "hashA", "hashB", "hashN_0_to_13"], &[])?;
    let m_bits = NonZeroU64::new(case.u64("mBits")?).ok_or("mBits: zero")?;
    let probe = nim_kind(root)?.probe(case.text("item")?.as_bytes());
    equal("hashA", case.u64("hashA")?, probe.a % m_bits)?;
    equal("hashB", case.u64("hashB")?, probe.b % m_bits)?;
    let indices: Vec<u64> = probe.indices(m_bits).take(14).collect();
    equal("hashN_0_to_13", case.u64s("hashN_0_to_13")?, indices)
}

fn nim_filter(case: &Value, root: &Value) -> Outcome {
    const INPUT: [&str; 4] = ["capacity", "errorRate", "k", "forceNBitsPerElem"];
    const FALSE_POSITIVES: &str = "falsePositivesOf_absent-0..199";

    let refused = case.get("error").is_some();
    let given = if refused {
        Case::new(case, &[&INPUT[..], &["error"]].concat(), &["ok"])?
    } else {
        let output = ["params", "ids", "serialized", FALSE_POSITIVES, "afterRoundTrip"];
        Case::new(case, &[&INPUT[..], &output].concat(), &[])?
    };
    let (capacity, error_rate) = (given.signed("capacity")?, given.f64("errorRate")?);
    let (k, forced) = (given.signed("k")?, given.signed("forceNBitsPerElem")?);
    // A caller that forces a number of bits makes filters that we read and do not make.
    let geometry = match (k, forced) {
        (..=0, _) => Geometry::new(capacity.cast_unsigned(), error_rate).map_err(Some),
        (_, 1..) => Err(None),
        (k, _) => u32::try_from(k)
            .map_err(|_| Some(GeometryError::HashCount))
            .and_then(|k| Geometry::with_k(capacity.cast_unsigned(), error_rate, k).map_err(Some)),
    };
    if refused {
        if given.has("ok") {
            equal("ok", given.bool("ok")?, false)?;
        }
        return match geometry {
            Ok(geometry) => Err(format!("should be refused, is {geometry:?}")),
            Err(Some(error @ (GeometryError::HashCount | GeometryError::Unreachable))) => {
                equal("error", given.text("error")?, nim_text(error))
            }
            Err(Some(_)) => Ok(()),
            Err(None) => Err("a forced number of bits is never refused".into()),
        };
    }
    let kind = nim_kind(root)?;
    let ids = given.texts("ids")?;
    let params = Params::read(given.get("params")?)?;
    let serialized = unhex(given.text("serialized")?)?;
    if let Ok(geometry) = geometry {
        equal("parameters of the filter", params, Params::of(&geometry, error_rate))?;
        let mut filter = Filter::new(geometry);
        ids.iter().for_each(|id| filter.insert(kind.probe(id.as_bytes())));
        equal("serialized", hex(&serialized), hex(&nim_container(&filter)))?;
        for id in (0..200).map(|n| format!("absent-{n}")) {
            let received = ReceivedFilter::from_nim(&serialized, MAX_K).map_err(text_of)?;
            let probe = kind.probe(id.as_bytes());
            equal(&id, filter.contains(probe), received.contains(probe))?;
        }
    }
    if k > 0 && forced > 0 {
        equal("forced bits", params.m_bits, capacity.wrapping_mul(forced).cast_unsigned())?;
        equal("given k", params.k, k.cast_unsigned())?;
    }
    let claimed = NimFilter::decode(&serialized).map_err(text_of)?;
    let claims = Params {
        capacity: claimed.capacity,
        error_rate: params.error_rate,
        k: claimed.k,
        m_bits: claimed.m_bits,
        words: claimed.words.len() as u64 / 8,
    };
    equal("parameters in the container", params, claims)?;
    let received = match ReceivedFilter::from_nim(&serialized, MAX_K) {
        Ok(received) => received,
        // Its numbers lead beyond its words, or are those of no filter.
        Err(_) if params.is_absurd() => return Ok(()),
        Err(error) => return Err(format!("a peer's filter is refused: {error}")),
    };
    equal("refused", params.is_absurd(), false)?;
    if !ids.iter().all(|id| received.contains(kind.probe(id.as_bytes()))) {
        return Err("an id that is in was not found".into());
    }
    let mut hits = Map::new();
    for id in (0..200).map(|n| format!("absent-{n}")) {
        if received.contains(kind.probe(id.as_bytes())) {
            hits.insert(id, Value::Bool(true));
        }
    }
    equal(FALSE_POSITIVES, given.get(FALSE_POSITIVES)?, &Value::Object(hits))?;

    let after = Params::read(given.get("afterRoundTrip")?)?;
    equal(
        "afterRoundTrip",
        after,
        Params {
            capacity: received.capacity(),
            error_rate: received.error_rate_millionths() as f64 / 1e6,
            k: received.k().into(),
            m_bits: received.m_bits(),
            words: received.word_count() as u64,
        },
    )
}

fn nim_rolling(case: &Value, root: &Value) -> Outcome {
    let fields = [
        "capacity",
        "errorRate",
        "adds",
        "idPrefix",
        "minCapacity",
        "maxCapacity",
        "rbfCapacity",
        "filter",
        "messages",
        "containsIdx",
    ];
    let case = Case::new(case, &fields, &["serialized", "serializedLen"])?;
    let error_rate = case.f64("errorRate")?;
    // nim-sds takes its defaults for what makes no filter, a capacity below zero included.
    let capacity = u64::try_from(case.signed("capacity")?).unwrap_or(0);
    let geometry = Geometry::or_default(capacity, error_rate).map_err(text_of)?;
    let error_rate = if error_rate > 0.0 && error_rate < 1.0 { error_rate } else { 0.001 };
    let (kind, prefix, adds) = (nim_kind(root)?, case.text("idPrefix")?, case.u64("adds")?);
    let probe = |n: u64| kind.probe(format!("{prefix}{n}").as_bytes());

    let mut rolling = RollingFilter::new(geometry, Rolling::NimClass);
    (0..adds).for_each(|n| rolling.insert(probe(n)));
    equal("minCapacity", case.u64("minCapacity")?, rolling.min_capacity() as u64)?;
    equal("maxCapacity", case.u64("maxCapacity")?, rolling.max_capacity() as u64)?;
    equal("rbfCapacity", case.u64("rbfCapacity")?, rolling.capacity() as u64)?;
    let expected = Params::of(rolling.filter().geometry(), error_rate);
    equal("parameters of the filter", Params::read(case.get("filter")?)?, expected)?;

    let newest = adds.saturating_sub(rolling.len() as u64)..adds;
    let messages: Vec<String> = newest.map(|n| format!("{prefix}{n}")).collect();
    let messages = messages.iter().map(String::as_str).collect();
    equal("messages", case.texts("messages")?, messages)?;
    let contained: Vec<u64> = (0..adds).filter(|&n| rolling.contains(probe(n))).collect();
    equal("containsIdx", case.u64s("containsIdx")?, contained)?;

    let serialized = nim_container(rolling.filter());
    if case.has("serializedLen") {
        return equal("serializedLen", case.u64("serializedLen")?, serialized.len() as u64);
    }
    equal("serialized", case.text("serialized")?, &hex(&serialized))
}

fn nim_repair(case: &Value, root: &Value) -> Outcome {
    let fields = [
        "participant",
        "sender",
        "messageId",
        "tMinMs",
        "tMaxMs",
        "numResponseGroups",
        "tReqMs",
        "tRespMs",
        "inGroup",
    ];
    timing(RepairTiming::new(nim_kind(root)?), &Case::new(case, &fields, &[])?, fields)
}

fn lip109_timing(case: &Value, _root: &Value) -> Outcome {
    let fields = [
        "participant_id",
        "sender_id",
        "message_id",
        "t_min_ms",
        "t_max_ms",
        "num_response_groups",
        "t_req_ms",
        "t_resp_ms",
        "in_response_group",
    ];
    timing(RepairTiming::new(HashKind::Lip109), &Case::new(case, &fields, &[])?, fields)
}

fn timing(arithmetic: RepairTiming, case: &Case<'_>, fields: [&str; 9]) -> Outcome {
    let [me, sender, id, t_min, t_max, groups, t_req, t_resp, in_group] = fields;
    let (me, sender, id) =
        (case.text(me)?.as_bytes(), case.text(sender)?.as_bytes(), case.text(id)?.as_bytes());
    let (t_min, t_max, groups) = (case.i64(t_min)?, case.i64(t_max)?, case.i64(groups)?);
    equal(t_req, case.u64(t_req)?, arithmetic.t_req(me, id, t_min, t_max))?;
    equal(t_resp, case.u64(t_resp)?, arithmetic.t_resp(me, sender, id, t_max))?;
    let answers = arithmetic.in_response_group(me, sender, id, groups);
    equal(in_group, case.bool(in_group)?, answers)
}

fn lip109_index(case: &Value, _root: &Value) -> Outcome {
    let case = Case::new(case, &["item", "n", "m_bits", "index"], &[])?;
    let m_bits = NonZeroU64::new(case.u64("m_bits")?).ok_or("m_bits: zero")?;
    let n = usize::try_from(case.u64("n")?).map_err(text_of)?;
    let probe = HashKind::Lip109.probe(case.text("item")?.as_bytes());
    equal("index", Some(case.u64("index")?), probe.indices(m_bits).nth(n))
}

fn lip109_filter(case: &Value, _root: &Value) -> Outcome {
    let fields = ["capacity", "error_rate", "k", "m_bits", "n", "items", "bytes_len", "sha256"];
    let case = Case::new(case, &fields, &["bytes"])?;
    let geometry =
        Geometry::new(case.u64("capacity")?, case.f64("error_rate")?).map_err(text_of)?;
    equal("k", case.u64("k")?, geometry.k().into())?;
    equal("m_bits", case.u64("m_bits")?, geometry.m_bits())?;
    let items = case.texts("items")?;
    equal("n", case.u64("n")?, items.len() as u64)?;

    let probes: Vec<Probe> =
        items.iter().map(|item| HashKind::Lip109.probe(item.as_bytes())).collect();
    let mut filter = Filter::new(geometry);
    probes.iter().for_each(|&probe| filter.insert(probe));
    let bytes: Vec<u8> = filter.words().iter().flat_map(|word| word.to_be_bytes()).collect();
    equal("bytes_len", case.u64("bytes_len")?, bytes.len() as u64)?;
    equal("sha256", case.text("sha256")?, &hex(&Sha256::digest(&bytes)))?;
    if case.has("bytes") {
        equal("bytes", case.text("bytes")?, &hex(&bytes))?;
    }
    let received = ReceivedFilter::from_lip109(&bytes, &geometry).map_err(text_of)?;
    match probes.iter().all(|&probe| received.contains(probe)) {
        true => Ok(()),
        false => Err("an item that is in was not found".into()),
    }
}

/// Which string hash the nim-sds that made the vectors was built with.
fn nim_kind(root: &Value) -> Result<HashKind, String> {
    let algorithm = root.get("hashAlgorithm").and_then(Value::as_str);
    let algorithm = algorithm.ok_or("hashAlgorithm: missing")?;
    Ok(if algorithm.starts_with("farm") { HashKind::NimFarm } else { HashKind::NimMurmur })
}

/// Returns the text of nim-sds for the same error.
fn nim_text(error: GeometryError) -> &'static str {
    if error == GeometryError::HashCount {
        "K must be <= 12 if forceNBitsPerElem is not also specified."
    } else {
        "Specified value of k and error rate not achievable using less than 4 bytes / element."
    }
}

/// A filter in the container of nim-sds, written without the library's own encoder.
fn nim_container(filter: &Filter) -> Vec<u8> {
    fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let geometry = filter.geometry();
    let mut out = vec![0x0a];
    varint(&mut out, filter.words().len() as u64 * 8);
    out.extend(filter.words().iter().flat_map(|word| word.to_le_bytes()));
    for (tag, value) in [
        (0x10, geometry.capacity()),
        (0x18, geometry.error_rate_millionths().into()),
        (0x20, geometry.k().into()),
        (0x28, geometry.m_bits()),
    ] {
        out.push(tag);
        varint(&mut out, value);
    }
    out
}

/// The parameters that a filter tells of itself. Numbers below zero are the unsigned ones of the
/// same bits, as they are in its container.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Params {
    capacity: u64,
    error_rate: f64,
    k: u64,
    m_bits: u64,
    words: u64,
}

impl Params {
    fn read(value: &Value) -> Result<Self, String> {
        let case = Case::new(value, &["capacity", "errorRate", "kHashes", "mBits", "words"], &[])?;
        Ok(Self {
            capacity: case.number("capacity")?,
            error_rate: case.f64("errorRate")?,
            k: case.number("kHashes")?,
            m_bits: case.number("mBits")?,
            words: case.number("words")?,
        })
    }

    fn of(geometry: &Geometry, error_rate: f64) -> Self {
        Self {
            capacity: geometry.capacity(),
            error_rate,
            k: geometry.k().into(),
            m_bits: geometry.m_bits(),
            words: geometry.word_count() as u64,
        }
    }

    /// Whether these are the numbers of no filter that anybody can look anything up in.
    fn is_absurd(&self) -> bool {
        let is_negative = self.capacity.cast_signed() < 0;
        let has_no_bits = self.m_bits == 0 || self.m_bits > self.words.saturating_mul(64);
        is_negative || has_no_bits || !(1..=u64::from(MAX_K)).contains(&self.k)
    }
}

/// A case, or an object in it, that has the fields it must have and no unknown ones.
struct Case<'a>(&'a Map<String, Value>);

impl<'a> Case<'a> {
    fn new(value: &'a Value, required: &[&str], optional: &[&str]) -> Result<Self, String> {
        let fields = value.as_object().ok_or("not an object")?;
        if let Some(missing) = required.iter().find(|&&name| !fields.contains_key(name)) {
            return Err(format!("{missing}: missing"));
        }
        let known = |name: &str| required.contains(&name) || optional.contains(&name);
        match fields.keys().find(|name| !known(name)) {
            Some(unknown) => Err(format!("{unknown}: unknown field")),
            None => Ok(Self(fields)),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &str) -> Result<&'a Value, String> {
        self.0.get(name).ok_or_else(|| format!("{name}: missing"))
    }

    fn typed<T>(&self, name: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<T, String> {
        read(self.get(name)?).ok_or_else(|| format!("{name}: not of the right type"))
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        self.typed(name, Value::as_str)
    }

    fn bool(&self, name: &str) -> Result<bool, String> {
        self.typed(name, Value::as_bool)
    }

    fn u64(&self, name: &str) -> Result<u64, String> {
        self.typed(name, Value::as_u64)
    }

    /// A signed number, as such or as a decimal string.
    fn signed(&self, name: &str) -> Result<i64, String> {
        json::number(self.get(name)?)
            .map(u64::cast_signed)
            .map_err(|reason| format!("{name}: {reason}"))
    }

    /// A number of 64 bits; one below zero as the unsigned number of the same bits.
    fn number(&self, name: &str) -> Result<u64, String> {
        json::number(self.get(name)?).map_err(|reason| format!("{name}: {reason}"))
    }

    fn i64(&self, name: &str) -> Result<i64, String> {
        self.typed(name, Value::as_i64)
    }

    fn f64(&self, name: &str) -> Result<f64, String> {
        self.typed(name, Value::as_f64)
    }

    fn u64s(&self, name: &str) -> Result<Vec<u64>, String> {
        self.typed(name, |value| value.as_array()?.iter().map(Value::as_u64).collect())
    }

    fn texts(&self, name: &str) -> Result<Vec<&'a str>, String> {
        self.typed(name, |value| value.as_array()?.iter().map(Value::as_str).collect())
    }
}

fn equal<T: PartialEq + Debug>(what: &str, expected: T, actual: T) -> Outcome {
    if expected == actual {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:.200?}, got {actual:.200?}"))
}

fn text_of(error: impl core::fmt::Display) -> String {
    error.to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(|| format!("not hexadecimal: {text:.40}"))
}
