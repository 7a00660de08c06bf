//! The format in which a store keeps a channel: records, each a key and a value.
//!
//! A store keeps, for each channel, records of bytes, which it need not understand. It carries out
//! what [`writes`] makes of an [`Effect::Persist`](crate::Effect::Persist), all or nothing, and
//! answers an [`Effect::Load`](crate::Effect::Load) with the [`snapshot`] of all records of the
//! channel. Every put is a whole record that does not depend on what was stored before, so that
//! nothing need be read to write.
//!
//! # Version 1
//!
//! A key is the byte of a table, followed by nothing, by a number (8 bytes, most significant first)
//! or by a message id. A value is a protobuf message of number (varint) and bytes fields, minimal
//! and in the order of their numbers; `*` marks a field that is repeated, `?` one that may be
//! absent. Absent flags are not set, set ones are 1; absent milliseconds are 0. Dialects are 1 for
//! LIP-109, 2 for nim-sds, 3 for both. Digests and keys are 16 bytes, most significant first; times
//! are milliseconds since 1970; Lamport times, sequence numbers and counts are numbers. Anything
//! else in a record is an error, as is an unknown table.
//!
//! | byte | table | rest of the key | fields |
//! | --- | --- | --- | --- |
//! | 00 | channel | – | 1 version of the format, 2 key of the digests |
//! | 01 | clock | – | 1 Lamport clock |
//! | 02 | delivered | – | 1 number of the newest delivery, 2 [`LogDigest`](crate::LogDigest) |
//! | 03 | consumed | – | 1 number of the newest delivery that the application is done with |
//! | 04 | floor | – | 1 newest Lamport time whose id is forgotten |
//! | 05 | unreported | – | 1 number in the table of ids, up to which evicted deliveries may not have been reported |
//! | 06 | participant | – | 1 participant id whose state it is; no record if that is empty, or was not kept yet |
//! | 10 | ids | number in order of arrival | 1 digest of the id, 2 Lamport time, 3? and 4? hashes for LIP-109 filters, 5? and 6? for nim-sds filters |
//! | 11 | resolved | number in order of arrival | 1 digest of the id, 2? flag: given up |
//! | 20 | log | number of the delivery | 1 message id, 2? sender id, 3 Lamport time, 4* causal history, 5 content, 6? flag: has a gap, 7? flag: own |
//! | 21 | hints | number of the delivery | 1 retrieval hint |
//! | 22 | outgoing | number of the delivery | 1 times resent, 2* digest of a sender whose filter held it, 3? natural logarithm of the chance that all of these were wrong, as the bits of a 64-bit float, 4? flag: unconfirmed, 5? when resent next |
//! | 23 | bridges | number of the delivery | 1 dialects heard in, 2? when it is sent on |
//! | 30 | incoming | message id | 2? sender id, 3 Lamport time, 4* causal history, 5 content, 6 dialects heard in |
//! | 31 | missing | message id | 1? sender id, 2? retrieval hint, 3 times asked for, 4? when asked for next, 5? flag: in the background, 6? milliseconds awake that it was missing without progress |
//! | 32 | answers | message id | 1 dialects asked for in, 2? when due |
//!
//! An entry of a causal history is a message of its own: 1 message id, 2? retrieval hint, 3? sender
//! id. Digests of ids are SipHash-1-3 with 128 bits under the channel's key. Every channel has a
//! record in the first table. Clock, deliveries and consumed deliveries are absent as long as they
//! are 0, but for a clock that is still 0 after a delivery: that is written, and read if it is
//! absent.
//!
//! # Blob
//!
//! [`Snapshot::encode`](crate::snapshot::Snapshot::encode) puts a whole channel into one piece: the
//! four bytes `SDSc`, the version (4 bytes, most significant first), the records in the order of
//! keys as protobuf fields 1 key and 2 value in turn, and a checksum of everything before it
//! (SipHash-1-3 with 128 bits under a fixed key, most significant byte first).

mod blob;
mod changes;
mod error;
mod field;
mod key;
mod read;
mod record;
mod row;

use bytes::Bytes;

use crate::id::ChannelId;

pub(crate) use changes::coalesce;
pub use changes::{import, writes};
pub use error::StoredError;
pub use key::{Key, Table};
pub use read::snapshot;

/// Version of the format, kept in each channel's first record.
pub const VERSION: u32 = 1;

/// An operation on the records of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Write {
    /// The channel. Keys of different channels have nothing to do with each other.
    pub channel: ChannelId,
    /// The operation.
    pub op: Op,
}

/// An operation on records.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a store must do all of it")]
pub enum Op {
    /// The record under `key` is `value`, whether or not there was one.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
    },
    /// There is no record under `key`, whether or not there was one.
    Remove {
        /// The key.
        key: Key,
    },
    /// There are no records from `first` to `last`, both included, in the order of bytes.
    RemoveRange {
        /// The first key.
        first: Key,
        /// The last key.
        last: Key,
    },
    /// The channel has no records.
    Clear,
}
