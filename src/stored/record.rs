//! One record taken apart: its key, and the fields of its value in order.

use smallvec::SmallVec;

use super::error::StoredError;
use super::field;
use super::key::Table;
use crate::bloom::Probe;
use crate::entry::LogEntry;
use crate::id::{IdRef, MessageId};
use crate::time::UnixMillis;
use crate::wire::{Field, Fields, HistoryEntryRef, Value, WireDialect};

/// The part of a key behind its table.
pub(super) struct RecordKey<'a> {
    pub(super) table: Table,
    pub(super) rest: &'a [u8],
}

impl RecordKey<'_> {
    pub(super) fn number(&self) -> Result<u64, StoredError> {
        let bytes = self.rest.try_into().map_err(|_| StoredError::Key { table: self.table })?;
        Ok(u64::from_be_bytes(bytes))
    }

    pub(super) fn id(&self) -> Result<MessageId, StoredError> {
        if self.rest.is_empty() {
            return Err(StoredError::Key { table: self.table });
        }
        Ok(MessageId::from(self.rest))
    }
}

/// The fields of a value. They are asked for in the order of their numbers, in which they must
/// come; what was not asked for is an error. So there is one value for each state.
pub(super) struct Record<'a> {
    table: Table,
    /// The field that holds all of this, if the value does not do so itself.
    within: Option<u32>,
    fields: Fields<'a>,
    next: Option<Field<'a>>,
}

impl<'a> Record<'a> {
    pub(super) fn new(table: Table, value: &'a [u8]) -> Result<Self, StoredError> {
        let fields = Fields::new(value);
        let mut record = Self { table, within: None, fields, next: None };
        record.advance()?;
        Ok(record)
    }

    fn advance(&mut self) -> Result<Option<Field<'a>>, StoredError> {
        let malformed = StoredError::Malformed { table: self.table };
        let next = self.fields.next().map_err(|_| malformed)?;
        if next.as_ref().is_some_and(|next| !next.is_minimal()) {
            return Err(malformed);
        }
        Ok(core::mem::replace(&mut self.next, next))
    }

    pub(super) fn wrong(&self, field: u32) -> StoredError {
        StoredError::Field { table: self.table, field: self.within.unwrap_or(field) }
    }

    fn value(&mut self, field: u32) -> Result<Option<Value<'a>>, StoredError> {
        if self.next.as_ref().is_none_or(|next| next.number != field) {
            return Ok(None);
        }
        Ok(self.advance()?.map(|field| field.value))
    }

    pub(super) fn optional_number(&mut self, field: u32) -> Result<Option<u64>, StoredError> {
        match self.value(field)? {
            None => Ok(None),
            Some(Value::Varint(number)) => Ok(Some(number)),
            Some(_) => Err(self.wrong(field)),
        }
    }

    pub(super) fn number(&mut self, field: u32) -> Result<u64, StoredError> {
        self.optional_number(field)?.ok_or_else(|| self.wrong(field))
    }

    /// A number that is left out if it is 0.
    pub(super) fn unless_zero(&mut self, field: u32) -> Result<u64, StoredError> {
        match self.optional_number(field)? {
            None => Ok(0),
            Some(0) => Err(self.wrong(field)),
            Some(number) => Ok(number),
        }
    }

    /// A number whose record is left out if it is 0.
    pub(super) fn positive(&mut self, field: u32) -> Result<u64, StoredError> {
        let number = self.number(field)?;
        if number == 0 { Err(self.wrong(field)) } else { Ok(number) }
    }

    pub(super) fn small(&mut self, field: u32) -> Result<u32, StoredError> {
        u32::try_from(self.number(field)?).map_err(|_| self.wrong(field))
    }

    /// Absent for no, 1 for yes.
    pub(super) fn flag(&mut self, field: u32) -> Result<bool, StoredError> {
        match self.optional_number(field)? {
            None => Ok(false),
            Some(1) => Ok(true),
            Some(_) => Err(self.wrong(field)),
        }
    }

    pub(super) fn time(&mut self, field: u32) -> Result<Option<UnixMillis>, StoredError> {
        Ok(self.optional_number(field)?.map(UnixMillis))
    }

    pub(super) fn optional(&mut self, field: u32) -> Result<Option<&'a [u8]>, StoredError> {
        match self.value(field)? {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(self.wrong(field)),
        }
    }

    /// Bytes that are left out if they are empty.
    pub(super) fn unless_empty(&mut self, field: u32) -> Result<&'a [u8], StoredError> {
        match self.optional(field)? {
            None => Ok(&[]),
            Some([]) => Err(self.wrong(field)),
            Some(bytes) => Ok(bytes),
        }
    }

    pub(super) fn bytes(&mut self, field: u32) -> Result<&'a [u8], StoredError> {
        self.optional(field)?.ok_or_else(|| self.wrong(field))
    }

    /// Bytes that must not be empty.
    pub(super) fn some(&mut self, field: u32) -> Result<&'a [u8], StoredError> {
        let bytes = self.bytes(field)?;
        if bytes.is_empty() { Err(self.wrong(field)) } else { Ok(bytes) }
    }

    pub(super) fn array<const N: usize>(&mut self, field: u32) -> Result<[u8; N], StoredError> {
        self.bytes(field)?.try_into().map_err(|_| self.wrong(field))
    }

    /// Two numbers, or none of them.
    pub(super) fn probe(&mut self, field: u32) -> Result<Option<Probe>, StoredError> {
        let Some(a) = self.optional_number(field)? else { return Ok(None) };
        Ok(Some(Probe { a, b: self.number(field + 1)? }))
    }

    /// One dialect, or `None` for both.
    pub(super) fn dialects(&mut self, field: u32) -> Result<Option<WireDialect>, StoredError> {
        const BOTH: u64 = field::LIP109 | field::NIM_SDS;
        match self.number(field)? {
            field::LIP109 => Ok(Some(WireDialect::Lip109)),
            field::NIM_SDS => Ok(Some(WireDialect::NimSds)),
            BOTH => Ok(None),
            _ => Err(self.wrong(field)),
        }
    }

    /// Witnesses, and the doubt they leave.
    pub(super) fn witnesses(&mut self) -> Result<(SmallVec<[u64; 2]>, f64), StoredError> {
        let mut witnesses = SmallVec::new();
        while let Some(witness) = self.optional_number(field::OUTGOING_WITNESS)? {
            witnesses.push(witness);
        }
        if witnesses.is_empty() {
            return Ok((witnesses, 0.0));
        }
        let doubt_ln = f64::from_bits(self.number(field::OUTGOING_DOUBT)?);
        if !(doubt_ln.is_finite() && doubt_ln < 0.0) {
            return Err(self.wrong(field::OUTGOING_DOUBT));
        }
        Ok((witnesses, doubt_ln))
    }

    /// Reads the fields that the log and the incoming buffer share.
    pub(super) fn entry(&mut self, id: &[u8]) -> Result<LogEntry, StoredError> {
        let sender = self.unless_empty(field::ENTRY_SENDER)?;
        let lamport = self.number(field::ENTRY_LAMPORT)?;
        let mut history = SmallVec::<[_; 4]>::new();
        while let Some(named) = self.optional(field::ENTRY_HISTORY)? {
            history.push(self.named(named)?);
        }
        let content = self.some(field::ENTRY_CONTENT)?;
        if !LogEntry::can_be_laid_out(LogEntry::size_of(id, sender, &history) + content.len()) {
            return Err(self.wrong(field::ENTRY_CONTENT));
        }
        Ok(LogEntry::of(id, sender, lamport, &history, content))
    }

    fn named(&self, bytes: &'a [u8]) -> Result<HistoryEntryRef<'a>, StoredError> {
        let mut named = Self::new(self.table, bytes)?;
        named.within = Some(field::ENTRY_HISTORY);
        let id = named.some(field::NAMED_ID)?;
        let hint = named.optional(field::NAMED_HINT)?;
        let sender = named.unless_empty(field::NAMED_SENDER)?;
        named.end()?;
        Ok(HistoryEntryRef {
            message_id: IdRef::new(id),
            retrieval_hint: hint,
            sender_id: IdRef::new(sender),
        })
    }

    /// Nothing is left.
    pub(super) fn end(&self) -> Result<(), StoredError> {
        self.next.as_ref().map_or(Ok(()), |next| Err(self.wrong(next.number)))
    }
}
