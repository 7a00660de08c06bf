//! Faults of the bytes of a peer.

use core::fmt;

/// The bytes are not a message: the fault of the peer that sent them, never of this node.
///
/// `offset` counts bytes from the start of the buffer that was decoded; `field` is the number of
/// the protobuf field, in the message or in the entry nested in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside the tag or value at `offset`, or the length given there reaches beyond
    /// the end.
    Truncated {
        /// Offset of the truncated value, in bytes.
        offset: usize,
    },
    /// The varint at `offset` has more than 64 bits.
    Varint {
        /// Offset of the varint, in bytes.
        offset: usize,
    },
    /// The tag at `offset` names field 0, or one above 2^29 − 1.
    FieldNumber {
        /// Offset of the tag, in bytes.
        offset: usize,
    },
    /// The field's wire type is a group (3, 4), is not in use (6, 7), or does not go with the
    /// field.
    WireType {
        /// The field.
        field: u32,
        /// Its wire type, 0 to 7.
        wire_type: u8,
        /// Offset of the tag, in bytes.
        offset: usize,
    },
    /// There is no field 2, which both dialects always send and which tells them apart.
    UnknownDialect,
    /// A field without which this is no message is absent.
    MissingField {
        /// The field.
        field: u32,
    },
    /// The id of a message or of a channel is empty.
    EmptyId {
        /// The field.
        field: u32,
    },
    /// An id is not UTF-8, in the dialect that asks for it.
    NotUtf8 {
        /// The field.
        field: u32,
    },
    /// A value is longer than [`Limits`](super::Limits) allows.
    TooLong {
        /// The field.
        field: u32,
        /// Its length in bytes.
        len: usize,
        /// The longest one allowed, in bytes.
        max: usize,
    },
    /// A repeated field occurs more often than [`Limits`](super::Limits) allows.
    TooMany {
        /// The field.
        field: u32,
        /// The most occurrences allowed.
        max: usize,
    },
    /// Neither a Lamport time nor content: none of the three kinds of message.
    NoKind,
    /// A stored snapshot follows a schema that this version does not know.
    SchemaVersion {
        /// The version the snapshot names.
        found: u64,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { offset } => {
                write!(f, "truncated: the value at byte {offset} does not end")
            }
            Self::Varint { offset } => {
                write!(f, "the varint at byte {offset} has more than 64 bits")
            }
            Self::FieldNumber { offset } => {
                write!(f, "the tag at byte {offset} has a field number out of range")
            }
            Self::WireType { field, wire_type, offset } => {
                write!(
                    f,
                    "field {field} at byte {offset} has the unacceptable wire type {wire_type}"
                )
            }
            Self::UnknownDialect => f.write_str("field 2 is absent, so this is neither dialect"),
            Self::MissingField { field } => write!(f, "the required field {field} is absent"),
            Self::EmptyId { field } => write!(f, "the id in field {field} is empty"),
            Self::NotUtf8 { field } => write!(f, "the id in field {field} is not UTF-8"),
            Self::TooLong { field, len, max } => {
                write!(f, "field {field} has {len} bytes, more than the {max} allowed")
            }
            Self::TooMany { field, max } => {
                write!(f, "field {field} occurs more than the {max} times allowed")
            }
            Self::NoKind => f.write_str("neither a Lamport time nor content"),
            Self::SchemaVersion { found } => write!(f, "unknown snapshot schema version {found}"),
        }
    }
}

impl core::error::Error for DecodeError {}
