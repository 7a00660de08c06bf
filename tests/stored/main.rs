//! The record format of stores: what is written reads back, what is broken is refused, and the
//! bytes stay what they are.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick what they look at")]

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod format;
mod states;

use std::collections::BTreeMap;

use sds_proto::ChannelId;
use sds_proto::snapshot::Snapshot;
use sds_proto::stored::{self, Op};

/// Keys and values.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The records of a channel in this state.
fn records(state: &Snapshot) -> Records {
    let mut records = Records::new();
    for write in stored::import(&ChannelId::from("c"), state) {
        match write.op {
            Op::Put { key, value } => assert!(records.insert(key.to_vec(), value.into()).is_none()),
            op => assert!(op == Op::Clear && records.is_empty(), "{op:?}"),
        }
    }
    records
}

fn read(records: &Records) -> Result<Option<Box<Snapshot>>, stored::StoredError> {
    stored::snapshot(records.iter().map(|(key, value)| (&key[..], &value[..])))
}
