//! The numbers of fields, which the table in the documentation of [`stored`](super) explains.

pub(super) const VERSION: u32 = 1;
pub(super) const RECORD_KEY: u32 = 2;

/// The field of a record that has one.
pub(super) const ONLY: u32 = 1;

pub(super) const DELIVERED_SEQ: u32 = 1;
pub(super) const DELIVERED_DIGEST: u32 = 2;

pub(super) const ID_DIGEST: u32 = 1;
pub(super) const ID_LAMPORT: u32 = 2;
/// The first of two.
pub(super) const ID_LIP109: u32 = 3;
/// The first of two.
pub(super) const ID_NIM_SDS: u32 = 5;

pub(super) const RESOLVED_DIGEST: u32 = 1;
pub(super) const RESOLVED_LOST: u32 = 2;

pub(super) const ENTRY_ID: u32 = 1;
pub(super) const ENTRY_SENDER: u32 = 2;
pub(super) const ENTRY_LAMPORT: u32 = 3;
pub(super) const ENTRY_HISTORY: u32 = 4;
pub(super) const ENTRY_CONTENT: u32 = 5;
pub(super) const ENTRY_GAP: u32 = 6;
pub(super) const ENTRY_OWN: u32 = 7;

pub(super) const INCOMING_HEARD: u32 = 6;

pub(super) const NAMED_ID: u32 = 1;
pub(super) const NAMED_HINT: u32 = 2;
pub(super) const NAMED_SENDER: u32 = 3;

pub(super) const OUTGOING_RESENDS: u32 = 1;
pub(super) const OUTGOING_WITNESS: u32 = 2;
pub(super) const OUTGOING_DOUBT: u32 = 3;
pub(super) const OUTGOING_UNCONFIRMED: u32 = 4;
pub(super) const OUTGOING_DUE: u32 = 5;

pub(super) const BRIDGE_HEARD: u32 = 1;
pub(super) const BRIDGE_DUE: u32 = 2;

pub(super) const MISSING_SENDER: u32 = 1;
pub(super) const MISSING_HINT: u32 = 2;
pub(super) const MISSING_ROUNDS: u32 = 3;
pub(super) const MISSING_DUE: u32 = 4;
pub(super) const MISSING_BACKGROUND: u32 = 5;
pub(super) const MISSING_WAITED: u32 = 6;

pub(super) const ANSWER_DIALECTS: u32 = 1;
pub(super) const ANSWER_DUE: u32 = 2;

/// The bits of a field that says one dialect, or both.
pub(super) const LIP109: u64 = 1;
pub(super) const NIM_SDS: u64 = 2;

/// In a blob, of each record.
pub(super) const BLOB_KEY: u32 = 1;
pub(super) const BLOB_VALUE: u32 = 2;
