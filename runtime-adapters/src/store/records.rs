//! The records of one channel in memory.

use core::ops::Bound;
use std::collections::BTreeMap;

use bytes::Bytes;
use sds_proto::stored::Op;

use super::Record;

#[derive(Clone, Debug, Default)]
pub(super) struct Records(BTreeMap<Bytes, Bytes>);

impl Records {
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Put { key, value } => {
                self.0.insert(Bytes::copy_from_slice(key), value.clone());
            }
            Op::Remove { key } => {
                self.0.remove(&key[..]);
            }
            Op::RemoveRange { first, last } => self.remove_range(first, last),
            Op::Clear => self.0.clear(),
        }
    }

    /// Both included; a range that ends before it begins is empty.
    fn remove_range(&mut self, first: &[u8], last: &[u8]) {
        if first > last {
            return;
        }
        let range = (Bound::Included(first), Bound::Included(last));
        let gone: Vec<_> = self.0.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.0.remove(&key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Record> {
        self.0.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() })
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        Self(records.into_iter().map(|record| (record.key, record.value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use sds_proto::snapshot::{Change, ChangeKind, IdRecord};
    use sds_proto::stored::writes;

    use super::*;

    fn apply(records: &mut Records, kind: ChangeKind) {
        for write in writes(&[Change { channel: "c".into(), kind }]) {
            records.apply(&write.op);
        }
    }

    #[test]
    fn a_range_is_removed_with_both_its_ends_and_nothing_beside_them() {
        let mut records = Records::default();
        apply(&mut records, ChangeKind::Clock(7));
        for number in 1..=5 {
            let digest = number.into();
            let record = IdRecord { number, digest, lamport: 1, lip109: None, nim_sds: None };
            apply(&mut records, ChangeKind::Recorded(record));
        }
        apply(&mut records, ChangeKind::Forgotten { up_to: 3 });
        let numbers: Vec<_> =
            records.iter().filter_map(|record| record.key.last().copied()).collect();
        assert_eq!(numbers, [0x01, 4, 5]);
        records.remove_range(&[0x20], &[0x10]);
        records.remove_range(&[0x01], &[0x01]);
        assert_eq!(records.iter().count(), 2);
        apply(&mut records, ChangeKind::Erased);
        assert!(records.is_empty());
    }
}
