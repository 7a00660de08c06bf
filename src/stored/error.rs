//! Faults of records.

use core::fmt;

use super::{Table, VERSION};
use crate::error::StoreError;

/// Records that do not add up to a channel's state: the fault of the store, of its medium, or of
/// whoever else wrote into it. Nothing of them is used.
///
/// Tables and the numbers of their fields are those of the [format](super).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoredError {
    /// The channel's records, or the blob, follow a format that this release does not know.
    Version {
        /// The version found; the one known is [`VERSION`].
        found: u64,
    },
    /// A key is empty, or begins with a byte that no table has.
    UnknownTable {
        /// The byte; `None`: the key is empty.
        byte: Option<u8>,
    },
    /// The key is malformed for its table.
    Key {
        /// The table.
        table: Table,
    },
    /// Two records have one key.
    Repeated {
        /// Their table.
        table: Table,
    },
    /// A value is not protobuf: it is cut off, or holds a malformed number.
    Malformed {
        /// The record's table.
        table: Table,
    },
    /// A field is absent, not expected there, or out of its range.
    Field {
        /// The record's table.
        table: Table,
        /// The field; in a causal history, the one that holds it.
        field: u32,
    },
    /// There are records, but not the one that every channel has.
    NoChannel,
    /// Records contradict each other: those of the first table go beyond what the second allows,
    /// or refer to a record there that does not exist.
    Contradiction {
        /// The first table.
        table: Table,
        /// The second.
        with: Table,
    },
    /// A blob does not begin as one.
    NotABlob,
    /// A blob was cut off or changed.
    Damaged,
}

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Version { found } => {
                write!(f, "the record format has version {found}, and this release knows {VERSION}")
            }
            Self::UnknownTable { byte: Some(byte) } => {
                write!(f, "a key begins with {byte:#04x}, which no table does")
            }
            Self::UnknownTable { byte: None } => f.write_str("a key is empty"),
            Self::Key { table } => write!(f, "a key does not fit its table, {table}"),
            Self::Repeated { table } => write!(f, "two records of table {table} have one key"),
            Self::Malformed { table } => {
                write!(f, "a value in table {table} is cut off or no protobuf")
            }
            Self::Field { table, field } => {
                write!(
                    f,
                    "field {field} of a record in table {table} is absent, unexpected or out of range"
                )
            }
            Self::NoChannel => f.write_str("there are records, but none of the channel itself"),
            Self::Contradiction { table, with } => {
                write!(f, "the records of tables {table} and {with} contradict each other")
            }
            Self::NotABlob => f.write_str("this is no stored channel"),
            Self::Damaged => f.write_str("the stored channel was cut off or changed"),
        }
    }
}

impl core::error::Error for StoredError {}

/// Conversion into the error that a store returns to a node.
impl From<StoredError> for StoreError {
    fn from(error: StoredError) -> Self {
        match error {
            StoredError::Version { .. } => Self::Version,
            StoredError::UnknownTable { .. }
            | StoredError::Key { .. }
            | StoredError::Repeated { .. }
            | StoredError::Malformed { .. }
            | StoredError::Field { .. }
            | StoredError::NoChannel
            | StoredError::Contradiction { .. }
            | StoredError::NotABlob
            | StoredError::Damaged => Self::Corrupt,
        }
    }
}
