//! Messages in both dialects, odd and malformed ones, and the blobs in which nim-sds stores state.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use sds_proto::snapshot::Snapshot;
use sds_proto::wire::nim_snapshot::{
    ChannelData, ChannelMeta, HistoryUpdate, IncomingMessage, IncomingRepair, OutgoingRepair,
    UnacknowledgedMessage,
};
use sds_proto::wire::{
    self, DecodeError, HistoryEntry, Kind, Limits, Message, NimForm, WireDialect,
};
use sds_proto::{
    ChannelId, Config, Dialect, Durability, Effect, Input, Instant, MessageId, Node, Now,
};
use serde_json::Value;

use crate::Check;
use crate::deviation::deviations;
use crate::json::{field, get, hex, list, nullable, number, only, same, string, text, truth};

pub(crate) const NIM: &[(&str, Check)] =
    &[("messages", nim_message), ("decode", nim_decode), ("snapshot", nim_snapshot)];

/// The four forms of the nim dialect.
pub(crate) const FORMS: &[(&str, Check)] = &[("forms", form), ("decode_forms", decode_form)];

pub(crate) const LIP109: &[(&str, Check)] = &[("messages", lip109_message)];

/// The error recorded where the process died. It dies of Lamport times, each of which we take.
const DIED: &str = "DEFECT";
/// The error recorded where nim-sds refused.
const REFUSED: &str = "reDeserializationError";

/// Each message is told in a form.
fn form(case: &Value, _: &Value) -> Result<(), String> {
    only(case, &["name", "form", "message", "hex"])?;
    let form = get(case, "form", form_value)?;
    let message = in_form(Some(form), get(case, "message", hex_value)?);
    let bytes = get(case, "hex", hex)?;
    both_ways(WireDialect::NimSds, &message, &bytes)
}

/// Each message is read by its shape, or refused.
fn decode_form(case: &Value, _: &Value) -> Result<(), String> {
    only(case, &["name", "hex", "ok", "why", "form", "message"])?;
    let bytes = Bytes::from(get(case, "hex", hex)?);
    let decoded = wire::decode(&bytes, &unlimited());
    if !get(case, "ok", truth)? {
        only(case, &["name", "hex", "ok", "why"])?;
        return same("refused", &decoded.is_err(), &true);
    }
    let form = get(case, "form", form_value)?;
    let message = in_form(Some(form), get(case, "message", hex_value)?);
    same("decoding", &decoded, &Ok((WireDialect::NimSds, message)))
}

fn form_value(value: &Value) -> Result<NimForm, String> {
    match string(value)? {
        "A" => Ok(NimForm::V02),
        "B" => Ok(NimForm::V030),
        "C" => Ok(NimForm::V033),
        "D" => Ok(NimForm::V04),
        form => Err(format!("form {form:?} is not known")),
    }
}

/// A message of which every id is hexadecimal, too.
fn hex_value(value: &Value) -> Result<Message, String> {
    message_value(value, hex)
}

fn nim_message(case: &Value, _: &Value) -> Result<(), String> {
    only(
        case,
        &[
            "name",
            "message",
            "hex",
            "len",
            "decodes",
            "roundTrips",
            "decodeError",
            "extractChannelId",
        ],
    )?;
    let message = get(case, "message", nim_value).map(by_030)?;
    let bytes = get(case, "hex", hex)?;
    same("len", &(bytes.len() as u64), &get(case, "len", number)?)?;
    channel_id(case, &bytes)?;
    let has_empty_id = has_empty_id(&message);
    if has_empty_id {
        refused_for_an_empty_id(WireDialect::NimSds, &message, &bytes)?;
    } else {
        both_ways(WireDialect::NimSds, &message, &bytes)?;
    }
    match (get(case, "decodes", truth)?, case.get("roundTrips"), case.get("decodeError")) {
        (true, Some(Value::Bool(true)), None) if has_empty_id => {
            let mut limits = unlimited();
            limits.empty_ids = true;
            let decoded = wire::decode_as(WireDialect::NimSds, &bytes.into(), &limits).map(by_030);
            same("decoding with empty ids", &decoded, &Ok(message))
        }
        (true, Some(Value::Bool(true)), None) => Ok(()),
        (false, None, Some(error)) if error == REFUSED && has_empty_id => Ok(()),
        (false, None, Some(error)) => dies(error, message.lamport),
        _ => Err("decodes, roundTrips and decodeError do not go together".into()),
    }
}

fn nim_decode(case: &Value, _: &Value) -> Result<(), String> {
    only(case, &["name", "hex", "ok", "message", "reserialized", "error", "extractChannelId"])?;
    let bytes = Bytes::from(get(case, "hex", hex)?);
    channel_id(case, &bytes)?;
    let ours = wire::decode_as(WireDialect::NimSds, &bytes, &unlimited()).map(by_030);
    let detected = wire::decode(&bytes, &unlimited()).map(|(_, message)| message);
    same("verdict with detection", &detected.is_ok(), &ours.is_ok())?;
    if get(case, "ok", truth)? {
        only(case, &["name", "hex", "ok", "message", "reserialized", "extractChannelId"])?;
        nim_accepted(case, &bytes, ours)
    } else {
        only(case, &["name", "hex", "ok", "error", "extractChannelId"])?;
        nim_refused(case, &bytes, ours)
    }
}

/// nim-sds 0.4 leaves empty content out, which the one that made the vectors refuses.
fn is_without_content(bytes: &[u8]) -> bool {
    // The last of several fields counts: what is put in front is read where there is no other.
    let with_content = Bytes::from([&[0x2a, 1, b'x'], bytes].concat());
    let message = wire::decode(&with_content, &unlimited());
    message.is_ok_and(|(_, message)| message.content.as_deref() == Some(b"x"))
}

/// Checks that we take a message that nim-sds takes, but for field numbers that protobuf does not
/// have and empty ids.
fn nim_accepted(
    case: &Value,
    bytes: &[u8],
    ours: Result<Message, DecodeError>,
) -> Result<(), String> {
    let theirs = get(case, "message", nim_value).map(by_030)?;
    same("reserialized", &encode(WireDialect::NimSds, &theirs)?, &get(case, "reserialized", hex)?)?;
    let bad_field = deviations(bytes).is_none_or(|found| found.bad_field);
    match ours {
        Err(DecodeError::FieldNumber { .. }) if bad_field => Ok(()),
        Err(DecodeError::EmptyId { .. }) if has_empty_id(&theirs) => Ok(()),
        Err(error) => Err(format!("nim-sds accepts it, we do not: {error}")),
        Ok(_) if bad_field => Err("a field number out of range is to be refused".into()),
        Ok(_) if has_empty_id(&theirs) => Err("an empty id is to be refused".into()),
        Ok(ours) => same("message", &ours, &theirs),
    }
}

/// Checks that we refuse a message that nim-sds refuses, but for ids that stand where entries are
/// now, content that is left out, and varints that are longer than need be. Without these the
/// message says the same.
fn nim_refused(
    case: &Value,
    bytes: &[u8],
    ours: Result<Message, DecodeError>,
) -> Result<(), String> {
    let error = field(case, "error")?;
    if error != REFUSED {
        return dies(error, ours.map_err(|error| error.to_string())?.lamport);
    }
    if ours.is_ok() && is_without_content(bytes) {
        return Ok(());
    }
    let Some(found) = deviations(bytes).filter(|found| found.differs) else {
        let refused = ours.is_err();
        return if refused { Ok(()) } else { Err("nim-sds refuses it, we do not".into()) };
    };
    let canonical = found.canonical.freeze();
    let expected = wire::decode_as(WireDialect::NimSds, &canonical, &unlimited()).map(by_030);
    let Ok(ours) = ours else {
        return same("verdict on the canonical message", &expected.is_err(), &true);
    };
    same("the canonical message", &expected, &Ok(ours.clone()))?;
    let ids: Vec<&[u8]> =
        ours.causal_history.iter().map(|named| named.message_id.as_bytes()).collect();
    if let Some(lost) = found.bare_ids.iter().find(|id| !ids.contains(&&id[..])) {
        return Err(format!("the bare id {lost:x?} is not in the causal history"));
    }
    both_ways(WireDialect::NimSds, &ours, &encode(WireDialect::NimSds, &ours)?)
}

fn nim_snapshot(case: &Value, _: &Value) -> Result<(), String> {
    let blob = Bytes::from(get(case, "hex", hex)?);
    match get(case, "kind", string)? {
        "ChannelMeta" => channel_meta(case, &blob),
        "ChannelData" => {
            only(case, &["kind", "name", "meta", "messages", "hex"])?;
            let mut data = ChannelData::default();
            data.meta = get(case, "meta", meta_value)?;
            data.messages = list(case, "messages", nim_value)?;
            same("decoding", &ChannelData::decode(&blob, &unlimited()), &Ok(data.clone()))?;
            same("encoding", &encoding(|buffer| data.encode(buffer)), &blob)?;
            imported(&data)
        }
        "HistoryUpdate" => {
            only(case, &["kind", "name", "append", "evict", "hex"])?;
            let mut update = HistoryUpdate::default();
            update.append = list(case, "append", nim_value)?;
            update.evict = list(case, "evict", id)?;
            let decoded = HistoryUpdate::decode(&blob, &unlimited());
            same("decoding", &decoded, &Ok(update.clone()))?;
            same("encoding", &encoding(|buffer| update.encode(buffer)), &blob)
        }
        kind => Err(format!("kind: {kind:?} is not known")),
    }
}

/// A node takes the state in, and has of it what nim-sds has.
fn imported(data: &ChannelData) -> Result<(), String> {
    let config = Config::builder().dialect(Dialect::NimSds).durability(Durability::Relaxed);
    let config = config.build().map_err(|error| error.to_string())?;
    let (channel, now) = (ChannelId::from("c"), Now::without_wall(Instant::ZERO));
    let state = Snapshot::from_nim_sds(data, &channel, &config, now);
    same("check", &state.check(), &Ok(()))?;

    let ids = |messages: &[&Message]| -> BTreeSet<MessageId> {
        let content = messages.iter().filter(|message| {
            let lamport = message.lamport.unwrap_or_default();
            let has_content = message.kind() == Kind::Content && !message.message_id.is_empty();
            has_content && lamport <= i64::MAX.unsigned_abs()
        });
        content.map(|message| message.message_id.clone()).collect()
    };
    let meta = &data.meta;
    let unacked: Vec<_> = meta.outgoing_buffer.iter().map(|unacked| &unacked.message).collect();
    let waiting: Vec<_> = meta.incoming_buffer.iter().map(|waiting| &waiting.message).collect();
    let delivered: Vec<_> = data.messages.iter().chain(unacked.iter().copied()).collect();
    let logged = state.log.values().map(|stored| stored.entry.message_id().into()).collect();
    let here = state.incoming.keys().cloned().chain(BTreeSet::clone(&logged)).collect();
    same("not logged", &ids(&delivered).difference(&logged).next(), &None)?;
    same("unacknowledged", &state.outgoing.len(), &ids(&unacked).len())?;
    let given = ids(&[delivered, waiting].concat());
    same("logged or waiting", &here, &given)?;
    let repairs = meta.outgoing_repair_buffer.iter().map(|repair| &repair.message_id);
    let mut absent = repairs.filter(|id| !id.is_empty() && !given.contains(*id));
    same("not wanted", &absent.find(|id| !state.missing.contains_key(*id)), &None)?;

    let mut node = Node::new(config);
    let open = Input::Open { channel: channel.clone(), config: None };
    node.handle(now, open).map_err(|rejected| rejected.to_string())?;
    let Some(Effect::Load { id, .. }) = node.poll_effect() else {
        return Err("the channel is not loaded".into());
    };
    let loaded = Input::Loaded { id, channel: channel.clone(), result: Ok(Some(state)) };
    node.handle(now, loaded).map_err(|rejected| rejected.to_string())?;
    let log = node.log(&channel).ok_or("the channel is not open")?;
    same("log", &log.iter().map(|entry| entry.message_id().into()).collect(), &logged)
}

fn channel_meta(case: &Value, blob: &Bytes) -> Result<(), String> {
    only(case, &["kind", "name", "value", "hex", "decodes", "reencodesIdentically"])?;
    let decoded = ChannelMeta::decode(blob, &unlimited());
    let decodes = field(case, "decodes")?;
    if decodes == &Value::Bool(false) {
        only(case, &["kind", "name", "hex", "decodes"])?;
        return match decoded {
            Err(DecodeError::SchemaVersion { .. }) => Ok(()),
            _ => Err(format!("schema version: {decoded:?}")),
        };
    }
    let meta = get(case, "value", meta_value)?;
    same("decoding", &decoded, &Ok(meta.clone()))?;
    same("encoding", &encoding(|buffer| meta.encode(buffer)), blob)?;
    let mut data = ChannelData::default();
    data.meta = meta.clone();
    imported(&data)?;
    if decodes != &Value::Bool(true) {
        only(case, &["kind", "name", "value", "hex", "decodes"])?;
        return dies(decodes, Some(meta.lamport));
    }
    // nim-sds keeps what a message waits for in a set without order.
    let ordered = meta.incoming_buffer.iter().all(|item| item.missing_dependencies.len() < 2);
    same("reencodesIdentically", &ordered, &get(case, "reencodesIdentically", truth)?)
}

fn lip109_message(case: &Value, _: &Value) -> Result<(), String> {
    only(
        case,
        &[
            "kind",
            "sender_id",
            "message_id",
            "channel_id",
            "lamport_timestamp",
            "causal_history",
            "repair_request",
            "bloom_filter",
            "content",
            "encoded",
        ],
    )?;
    let mut message = Message::default();
    message.sender_id = get(case, "sender_id", text)?.as_slice().into();
    message.message_id = get(case, "message_id", id)?;
    message.channel_id = get(case, "channel_id", text)?.as_slice().into();
    message.lamport = get(case, "lamport_timestamp", nullable(number))?;
    message.causal_history = list(case, "causal_history", lip109_entry)?;
    message.repair_request = list(case, "repair_request", lip109_entry)?;
    message.bloom_filter = get(case, "bloom_filter", nullable(hex))?.map(Bytes::from);
    message.content = get(case, "content", nullable(hex))?.map(Bytes::from);
    let kind = match get(case, "kind", string)? {
        "content" => Kind::Content,
        "sync" => Kind::Sync,
        "ephemeral" => Kind::Ephemeral,
        kind => return Err(format!("kind: {kind:?} is not known")),
    };
    same("kind", &message.kind(), &kind)?;
    let bytes = get(case, "encoded", hex)?;
    if has_empty_id(&message) {
        return refused_for_an_empty_id(WireDialect::Lip109, &message, &bytes);
    }
    both_ways(WireDialect::Lip109, &message, &bytes)
}

/// nim-sds writes empty ids, `@waku/proto` leaves them out. We take neither.
fn refused_for_an_empty_id(
    dialect: WireDialect,
    message: &Message,
    bytes: &[u8],
) -> Result<(), String> {
    let decoded = wire::decode_as(dialect, &Bytes::copy_from_slice(bytes), &unlimited());
    match decoded {
        Err(DecodeError::EmptyId { .. } | DecodeError::MissingField { .. }) => {}
        decoded => return Err(format!("an empty id is to be refused: {decoded:?}")),
    }
    if dialect == WireDialect::Lip109 {
        return Ok(());
    }
    same("encoding", &&encode(dialect, message)?[..], &bytes)
}

/// The message becomes the bytes, and the bytes the message.
fn both_ways(dialect: WireDialect, message: &Message, bytes: &[u8]) -> Result<(), String> {
    same("encoding", &&encode(dialect, message)?[..], &bytes)?;
    let decoded = wire::decode(&Bytes::copy_from_slice(bytes), &unlimited());
    // A shape may be that of several forms.
    let decoded = decoded.map(|(dialect, message)| (dialect, in_form(None, message)));
    same("decoding", &decoded, &Ok((dialect, in_form(None, message.clone()))))?;
    let channel_id = wire::channel_id(dialect, bytes);
    same("channel id alone", &channel_id, &Ok(message.channel_id.as_bytes()))
}

fn encode(dialect: WireDialect, message: &Message) -> Result<Vec<u8>, String> {
    let bytes = encoding(|buffer| message.borrowed().as_outgoing().encode(dialect, buffer));
    same("encoded_len", &message.borrowed().as_outgoing().encoded_len(dialect), &bytes.len())?;
    Ok(bytes.into())
}

/// Vectors judge the encodings; how much to accept is another matter.
fn unlimited() -> Limits {
    let mut limits = Limits::default();
    limits.max_id_len = usize::MAX;
    limits.max_hint_len = usize::MAX;
    limits.max_history = usize::MAX;
    limits.max_repair_requests = usize::MAX;
    limits.max_content_len = usize::MAX;
    limits.max_filter_len = usize::MAX;
    limits
}

fn encoding(write: impl Fn(&mut BytesMut)) -> Bytes {
    let mut buffer = BytesMut::new();
    write(&mut buffer);
    buffer.freeze()
}

fn channel_id(case: &Value, bytes: &[u8]) -> Result<(), String> {
    let ours = wire::channel_id(WireDialect::NimSds, bytes);
    let recorded = field(case, "extractChannelId")?;
    let found = deviations(bytes);
    if recorded == "ERR reDeserializationError" {
        // With varints that are longer than need be we say what we say without them.
        let canonical = found.filter(|found| found.differs).map(|found| found.canonical);
        let expected = canonical.as_ref().map(|bytes| wire::channel_id(WireDialect::NimSds, bytes));
        return match expected {
            Some(Ok(expected)) => same("extractChannelId", &ours, &Ok(expected)),
            Some(Err(_)) | None => same("extractChannelId refused", &ours.is_err(), &true),
        };
    }
    let expected = text(recorded).map_err(|reason| format!("extractChannelId: {reason}"))?;
    match ours {
        Err(DecodeError::FieldNumber { .. }) if found.is_none_or(|found| found.bad_field) => Ok(()),
        Err(DecodeError::EmptyId { .. }) if expected.is_empty() => Ok(()),
        ours => same("extractChannelId", &ours, &Ok(&expected)),
    }
}

/// The record says that nim-sds died of the Lamport time, where we are to accept it.
fn dies(error: &Value, lamport: Option<u64>) -> Result<(), String> {
    let died = string(error)?.starts_with(DIED);
    match died && lamport >= Some(i64::MAX.cast_unsigned()) {
        true => Ok(()),
        false => Err(format!("{error} is not what a Lamport time beyond the last does")),
    }
}

fn has_empty_id(message: &Message) -> bool {
    let mut entries = message.causal_history.iter().chain(&message.repair_request);
    message.message_id.is_empty()
        || message.channel_id.is_empty()
        || entries.any(|entry| entry.message_id.is_empty())
}

fn in_form(form: Option<NimForm>, mut message: Message) -> Message {
    message.nim_form = form;
    message
}

/// As nim-sds 0.3.0 would write it, which made the vectors.
fn by_030(message: Message) -> Message {
    in_form(Some(NimForm::V030), message)
}

fn nim_value(value: &Value) -> Result<Message, String> {
    message_value(value, text)
}

/// A message whose ids `id` reads.
fn message_value(
    value: &Value,
    id: fn(&Value) -> Result<Vec<u8>, String>,
) -> Result<Message, String> {
    only(
        value,
        &[
            "messageId",
            "lamportTimestamp",
            "causalHistory",
            "channelId",
            "content",
            "bloomFilter",
            "senderId",
            "repairRequest",
        ],
    )?;
    let mut message = Message::default();
    message.sender_id = get(value, "senderId", id)?.as_slice().into();
    message.message_id = get(value, "messageId", id)?.as_slice().into();
    message.channel_id = get(value, "channelId", id)?.as_slice().into();
    message.lamport = Some(get(value, "lamportTimestamp", number)?);
    message.causal_history = list(value, "causalHistory", |value| entry_value(value, id))?;
    message.repair_request = list(value, "repairRequest", |value| entry_value(value, id))?;
    message.bloom_filter = get(value, "bloomFilter", non_empty_hex)?;
    message.content = Some(get(value, "content", hex)?.into());
    Ok(message)
}

fn nim_entry(value: &Value) -> Result<HistoryEntry, String> {
    entry_value(value, text)
}

fn entry_value(
    value: &Value,
    id: fn(&Value) -> Result<Vec<u8>, String>,
) -> Result<HistoryEntry, String> {
    only(value, &["messageId", "retrievalHint", "senderId"])?;
    let mut entry = HistoryEntry::default();
    entry.message_id = get(value, "messageId", id)?.as_slice().into();
    entry.retrieval_hint = get(value, "retrievalHint", non_empty_hex)?;
    entry.sender_id = get(value, "senderId", id)?.as_slice().into();
    Ok(entry)
}

fn lip109_entry(value: &Value) -> Result<HistoryEntry, String> {
    only(value, &["message_id", "retrieval_hint", "sender_id"])?;
    let mut entry = HistoryEntry::default();
    entry.message_id = get(value, "message_id", id)?;
    entry.retrieval_hint = get(value, "retrieval_hint", nullable(hex))?.map(Bytes::from);
    let sender_id = get(value, "sender_id", nullable(text))?;
    entry.sender_id = sender_id.unwrap_or_default().as_slice().into();
    Ok(entry)
}

fn meta_value(value: &Value) -> Result<ChannelMeta, String> {
    only(
        value,
        &[
            "schemaVersion",
            "lamportTimestamp",
            "outgoingBuffer",
            "incomingBuffer",
            "outgoingRepairBuffer",
            "incomingRepairBuffer",
        ],
    )?;
    same("schemaVersion", &get(value, "schemaVersion", number)?, &1)?;
    let mut meta = ChannelMeta::default();
    meta.lamport = get(value, "lamportTimestamp", number)?;
    meta.outgoing_buffer = list(value, "outgoingBuffer", unacknowledged)?;
    meta.incoming_buffer = list(value, "incomingBuffer", incoming)?;
    meta.outgoing_repair_buffer = list(value, "outgoingRepairBuffer", outgoing_repair)?;
    meta.incoming_repair_buffer = list(value, "incomingRepairBuffer", incoming_repair)?;
    Ok(meta)
}

fn unacknowledged(value: &Value) -> Result<UnacknowledgedMessage, String> {
    only(value, &["message", "sendTimeMs", "resendAttempts"])?;
    let mut item = UnacknowledgedMessage::default();
    item.message = get(value, "message", nim_value)?;
    item.send_time_ms = get(value, "sendTimeMs", number)?;
    item.resend_attempts = get(value, "resendAttempts", number)?;
    Ok(item)
}

fn incoming(value: &Value) -> Result<IncomingMessage, String> {
    only(value, &["message", "missingDepsInHashSetOrder"])?;
    let mut item = IncomingMessage::default();
    item.message = get(value, "message", nim_value)?;
    item.missing_dependencies = list(value, "missingDepsInHashSetOrder", id)?;
    Ok(item)
}

fn outgoing_repair(value: &Value) -> Result<OutgoingRepair, String> {
    only(value, &["messageId", "outHistEntry", "minTimeRepairReqMs"])?;
    let mut item = OutgoingRepair::default();
    item.message_id = get(value, "messageId", id)?;
    item.entry = get(value, "outHistEntry", nim_entry)?;
    item.request_time_ms = get(value, "minTimeRepairReqMs", number)?;
    Ok(item)
}

fn incoming_repair(value: &Value) -> Result<IncomingRepair, String> {
    only(value, &["messageId", "inHistEntry", "cachedMessage", "minTimeRepairRespMs"])?;
    let mut item = IncomingRepair::default();
    item.message_id = get(value, "messageId", id)?;
    item.entry = get(value, "inHistEntry", nim_entry)?;
    item.cached_message = get(value, "cachedMessage", hex)?.into();
    item.response_time_ms = get(value, "minTimeRepairRespMs", number)?;
    Ok(item)
}

fn id(value: &Value) -> Result<MessageId, String> {
    Ok(text(value)?.as_slice().into())
}

/// nim-sds knows no difference between empty and absent.
fn non_empty_hex(value: &Value) -> Result<Option<Bytes>, String> {
    Ok(Some(hex(value)?).filter(|bytes| !bytes.is_empty()).map(Bytes::from))
}
