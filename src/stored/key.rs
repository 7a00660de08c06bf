//! Keys of records.

use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;

/// The tables that the records of a channel are in, by the first byte of their keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Table {
    /// The channel itself: version and key of the digests.
    Channel = 0x00,
    /// The Lamport clock.
    Clock = 0x01,
    /// The number of deliveries, and the digest of all of them.
    Delivered = 0x02,
    /// The deliveries that the application is done with.
    Consumed = 0x03,
    /// The newest Lamport time whose id is forgotten.
    Floor = 0x04,
    /// Up to which received id deliveries may never have been told.
    UnreportedUpTo = 0x05,
    /// The participant whose state it is.
    Participant = 0x06,
    /// The id record.
    Ids = 0x10,
    /// Ids that count as resolved without being logged.
    Resolved = 0x11,
    /// Bodies.
    Log = 0x20,
    /// Retrieval hints of logged messages.
    Hints = 0x21,
    /// Own messages that nobody has acknowledged.
    Outgoing = 0x22,
    /// Logged messages to be sent on in the other dialect.
    Bridges = 0x23,
    /// Messages that wait for dependencies.
    Incoming = 0x30,
    /// Dependencies that are not here.
    Missing = 0x31,
    /// Repair answers that are due.
    Answers = 0x32,
}

impl Table {
    const ALL: [Self; 16] = [
        Self::Channel,
        Self::Clock,
        Self::Delivered,
        Self::Consumed,
        Self::Floor,
        Self::UnreportedUpTo,
        Self::Participant,
        Self::Ids,
        Self::Resolved,
        Self::Log,
        Self::Hints,
        Self::Outgoing,
        Self::Bridges,
        Self::Incoming,
        Self::Missing,
        Self::Answers,
    ];

    /// Whether it has no more than one record, under a key of nothing else.
    pub(super) fn is_single(self) -> bool {
        self < Self::Ids
    }

    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == byte)
    }
}

/// The name by which the format's documentation calls it.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Channel => "channel",
            Self::Clock => "clock",
            Self::Delivered => "delivered",
            Self::Consumed => "consumed",
            Self::Floor => "floor",
            Self::UnreportedUpTo => "unreported",
            Self::Participant => "participant",
            Self::Ids => "ids",
            Self::Resolved => "resolved",
            Self::Log => "log",
            Self::Hints => "hints",
            Self::Outgoing => "outgoing",
            Self::Bridges => "bridges",
            Self::Incoming => "incoming",
            Self::Missing => "missing",
            Self::Answers => "answers",
        })
    }
}

/// The key of a record in its channel: bytes, in whose order records lie.
///
/// Its length is 1, 9, or 1 and that of a message id. Keys of up to 16 bytes need no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(SmallVec<[u8; 16]>);

impl Key {
    /// The key of the only record of `table`.
    pub(super) fn only(table: Table) -> Self {
        Self(SmallVec::from_slice(&[table as u8]))
    }

    pub(super) fn number(table: Table, number: u64) -> Self {
        Self::id(table, &number.to_be_bytes())
    }

    pub(super) fn id(table: Table, id: &[u8]) -> Self {
        let mut key = Self::only(table);
        key.0.extend_from_slice(id);
        key
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// So that a map by keys can be searched for bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// In hexadecimal.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_found_by_its_byte_and_no_other_is() {
        for byte in 0..=u8::MAX {
            assert!(Table::of(byte).is_none_or(|table| table as u8 == byte));
        }
        let found = (0..=u8::MAX).filter_map(Table::of);
        assert!(found.eq(Table::ALL));
    }

    #[test]
    fn numbers_order_as_bytes_and_need_no_allocation() {
        let keys = [0, 1, 255, 256, u64::MAX].map(|number| Key::number(Table::Log, number));
        assert!(keys.is_sorted());
        assert!(keys.iter().all(|key| !key.0.spilled() && key[0] == 0x20 && key.len() == 9));
    }
}
