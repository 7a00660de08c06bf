//! Whatever bytes arrive, decoding ends, does not panic, and gives a message that says what it says
//! when it is sent on.

use std::{env, fs};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sds_proto::snapshot::Snapshot;
use sds_proto::wire::nim_snapshot::{ChannelData, ChannelMeta, HistoryUpdate};
use sds_proto::wire::{
    self, DecodeError, FilterField, HistoryEntry, Kind, Limits, Message, NimFilter, WireDialect,
};
use sds_proto::{Config, Instant, Now, UnixMillis};
use serde_json::Value;

const DIALECTS: [WireDialect; 2] = [WireDialect::Lip109, WireDialect::NimSds];

/// Every bit of a message of up to this length is flipped; of longer ones, bits spread evenly.
const EVERY_BIT_UP_TO: usize = 256;

/// Decodes as each dialect, and checks what must hold of anything that decodes.
fn examine(bytes: &[u8]) {
    let datagram = Bytes::copy_from_slice(bytes);
    let limits = Limits::default();
    let detected = wire::decode(&datagram, &limits);
    for dialect in DIALECTS {
        let decoded = wire::decode_as(dialect, &datagram, &limits);
        if let Ok(message) = &decoded {
            assert_eq!(detected, Ok((dialect, message.clone())), "{bytes:x?}");
            survives_another_trip(dialect, message);
        }
        let channel_id = wire::channel_id(dialect, bytes);
        if let Ok(message) = &decoded {
            assert_eq!(channel_id, Ok(message.channel_id.as_bytes()));
        }
    }
    if let Err(error) = detected {
        assert!(!error.to_string().is_empty());
    }
    let _ = NimFilter::decode(bytes);
    if let Ok(meta) = ChannelMeta::decode(&datagram, &limits) {
        let mut data = ChannelData::default();
        data.meta = meta;
        imports(&data);
    }
    if let Ok(data) = ChannelData::decode(&datagram, &limits) {
        imports(&data);
    }
    let _ = HistoryUpdate::decode(&datagram, &limits);
}

/// Whatever nim-sds has stored becomes a state that a channel can be in.
fn imports(data: &ChannelData) {
    let config = Config::builder().max_log_messages(2).max_outgoing(2).max_wanted(3);
    let config = config.build().expect("valid settings");
    for now in [Now::without_wall(Instant::ZERO), Now::new(Instant::ZERO, UnixMillis(1 << 40))] {
        let state = Snapshot::from_nim_sds(data, &"c".into(), &config, now);
        assert_eq!(state.check(), Ok(()), "{data:?}");
    }
}

fn survives_another_trip(dialect: WireDialect, message: &Message) {
    let mut buffer = BytesMut::new();
    message.as_outgoing().encode(dialect, &mut buffer);
    assert_eq!(buffer.len(), message.as_outgoing().encoded_len(dialect));
    let again = wire::decode(&buffer.freeze(), &Limits::default());
    assert_eq!(again, Ok((dialect, message.clone())));
}

/// The bytes in these fields of the cases of these sections of all vector files.
fn vectors(sections: &[&str]) -> Vec<Vec<u8>> {
    let folder = env::var("SDS_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").into());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of vectors") {
        let path = entry.expect("an entry of the folder").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(path).expect("a vector file");
        let root: Value = serde_json::from_str(&text).expect("a JSON file");
        let cases = sections.iter().filter_map(|section| root[*section].as_array()).flatten();
        let texts = cases.filter_map(|case| case["hex"].as_str().or(case["encoded"].as_str()));
        found.extend(texts.map(unhex));
    }
    assert!(!found.is_empty(), "no vectors of {sections:?}");
    found
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// How far apart the places are at which a message of `len` bytes is damaged. Odd, so that flips
/// visit each bit of a byte.
const fn step(len: usize) -> usize {
    (len / EVERY_BIT_UP_TO) | 1
}

#[test]
fn the_fuzzing_corpus_is_harmless() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/decode");
    let mut files = 0;
    for file in fs::read_dir(corpus).expect("the corpus is committed") {
        examine(&fs::read(file.expect("listed").path()).expect("readable"));
        files += 1;
    }
    assert!(files >= 2, "{files} files");
}

#[test]
fn every_truncation_of_every_vector_is_harmless() {
    for bytes in vectors(&["messages", "decode", "snapshot"]) {
        (0..=bytes.len()).step_by(step(bytes.len())).for_each(|len| examine(&bytes[..len]));
    }
}

#[test]
fn every_flipped_bit_of_every_vector_is_harmless() {
    for mut bytes in vectors(&["messages", "decode", "snapshot"]) {
        for bit in (0..bytes.len() * 8).step_by(step(bytes.len())) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            examine(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// A value that reaches beyond the end of its nested message, once followed by a length that code
/// generated by quick-protobuf panics on, and once by one that it never gets past.
#[test]
fn nested_lengths_beyond_their_message_are_refused() {
    let panics: &[u8] = &[0x0a, 0x01, 0x08, 0x01, 0x12, 0x02, 0x01, 0x02];
    let minus_13 = (-13_i64).cast_unsigned();
    let mut loops = vec![0x0a, 0x01, 0x08, 0x01, 0x1a];
    loops.extend((0..9).map(|n| (minus_13 >> (7 * n)) as u8 | 0x80));
    loops.push(1);
    assert_eq!(loops.len(), 15);
    for bytes in [panics, &loops] {
        examine(bytes);
        // The same inside an entry, a repair request and a filter.
        for tag in [0x1a, 0x5a, 0x6a, 0x32, 0x62] {
            let mut outer = vec![tag, bytes.len() as u8];
            outer.extend_from_slice(bytes);
            examine(&outer);
            examine(&[&nim(1, b"x")[..], &outer].concat());
            examine(&[&lip109(Some(1), b"x")[..], &outer].concat());
        }
        assert_eq!(NimFilter::decode(bytes), Err(DecodeError::FieldNumber { offset: 3 }));
    }
}

#[test]
fn every_lamport_time_decodes() {
    for lamport in [0, i64::MAX.cast_unsigned(), 1 << 63, u64::MAX] {
        for datagram in [nim(lamport, b"x"), lip109(Some(lamport), b"x")] {
            let (_, message) = wire::decode(&datagram, &Limits::default()).expect("a message");
            assert_eq!((message.lamport, message.kind()), (Some(lamport), Kind::Content));
        }
    }
}

/// The numbers of a filter are a claim; the container hands them on and computes nothing.
#[test]
fn filter_containers_are_read_whatever_they_claim() {
    let words = &[u64::MAX];
    for (capacity, k, m_bits) in
        [(10, 7, 0), (10, 7, 1 << 50), (10, 1 << 40, 64), (1 << 63, 7, 64), (u64::MAX, 0, u64::MAX)]
    {
        let error_rate_millionths = u64::MAX;
        let mut buffer = BytesMut::new();
        FilterField::Nim { words, capacity, error_rate_millionths, k, m_bits }.encode(&mut buffer);
        let filter = NimFilter::decode(&buffer).expect("a container");
        assert_eq!(filter.words, [0xff; 8]);
        assert_eq!((filter.capacity, filter.k, filter.m_bits), (capacity, k, m_bits));
        assert_eq!(filter.error_rate_millionths, error_rate_millionths);
    }
}

#[test]
fn what_exceeds_a_limit_is_refused_and_what_reaches_it_is_not() {
    let mut limits = Limits::default();
    limits.max_id_len = 2;
    limits.max_hint_len = 3;
    limits.max_history = 2;
    limits.max_repair_requests = 1;
    limits.max_content_len = 4;
    limits.max_filter_len = 5;
    let entry = |hint_len: usize| {
        let mut entry = HistoryEntry::default();
        entry.message_id = "e".into();
        entry.retrieval_hint = Some(vec![0; hint_len].into());
        entry
    };
    let mut largest = Message::default();
    largest.sender_id = "ss".into();
    largest.message_id = "mm".into();
    largest.channel_id = "cc".into();
    largest.lamport = Some(1);
    largest.causal_history = [entry(3), entry(1)].into_iter().collect();
    largest.repair_request = vec![entry(3)];
    largest.content = Some("1234".into());
    largest.bloom_filter = Some("12345".into());

    let grow: [fn(&mut Message); 8] = [
        |message| message.sender_id = "sss".into(),
        |message| message.message_id = "mmm".into(),
        |message| message.channel_id = "ccc".into(),
        |message| message.causal_history.push(message.causal_history[0].clone()),
        |message| message.causal_history[1].retrieval_hint = Some("1234".into()),
        |message| message.repair_request.push(message.repair_request[0].clone()),
        |message| message.content = Some("12345".into()),
        |message| message.bloom_filter = Some("123456".into()),
    ];
    for dialect in DIALECTS {
        let decode = |message: &Message| {
            let mut buffer = BytesMut::new();
            message.as_outgoing().encode(dialect, &mut buffer);
            wire::decode_as(dialect, &buffer.freeze(), &limits)
        };
        assert_eq!(decode(&largest), Ok(largest.clone()));
        for (index, grow) in grow.iter().enumerate() {
            let mut message = largest.clone();
            grow(&mut message);
            let error = decode(&message).expect_err("beyond a limit");
            let beyond = matches!(error, DecodeError::TooLong { .. } | DecodeError::TooMany { .. });
            assert!(beyond, "{dialect}, change {index}: {error}");
        }
    }
}

/// One message with `lamport` and `content`, in the dialect of nim-sds.
fn nim(lamport: u64, content: &[u8]) -> Bytes {
    encode(WireDialect::NimSds, Some(lamport), content)
}

/// The same in LIP-109, where the Lamport time may be left out.
fn lip109(lamport: Option<u64>, content: &[u8]) -> Bytes {
    encode(WireDialect::Lip109, lamport, content)
}

fn encode(dialect: WireDialect, lamport: Option<u64>, content: &[u8]) -> Bytes {
    let mut message = Message::default();
    message.message_id = "m".into();
    message.channel_id = "c".into();
    message.lamport = lamport;
    message.content = Some(Bytes::copy_from_slice(content));
    let mut buffer = BytesMut::new();
    message.as_outgoing().encode(dialect, &mut buffer);
    buffer.freeze()
}

/// One field with a number and a type that our messages use, or nearly.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let short = || prop::collection::vec(any::<u8>(), 0..6);
    (1_u8..16, 0_u8..6, short(), any::<u8>()).prop_map(|(number, wire_type, bytes, varint)| {
        let mut field = vec![number << 3 | wire_type];
        match wire_type {
            0 => field.push(varint & 0x7f),
            2 => {
                field.push(bytes.len() as u8);
                field.extend(bytes);
            }
            _ => field.extend([varint; 8]),
        }
        // Tags of 16 and above take two bytes; content (20) is one of them.
        if number == 15 && wire_type == 2 {
            field.splice(0..1, [0xa2, 0x01]);
        }
        field
    })
}

proptest! {
    #[test]
    fn random_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        examine(&bytes);
    }

    #[test]
    fn random_fields_are_harmless(fields in prop::collection::vec(field(), 0..12)) {
        examine(&fields.concat());
    }

    #[test]
    fn random_fields_after_a_message_are_harmless(fields in prop::collection::vec(field(), 0..6)) {
        let fields = fields.concat();
        examine(&[&nim(1, b"x")[..], &fields].concat());
        examine(&[&lip109(Some(1), b"x")[..], &fields].concat());
        examine(&[&lip109(None, b"x")[..], &fields].concat());
    }
}
