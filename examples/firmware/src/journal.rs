//! A store in flash memory: the records of [`sds_proto::stored`] in a journal with two banks.
//!
//! Each write is one entry, appended behind the last. When a bank is full, the records that still
//! count go into the other one, the write with them, as its first entry. Nothing is read to write,
//! and no state is kept in memory.
//!
//! A bank begins with a word that numbers it; that is programmed last, and so makes it valid. An
//! entry begins with a word of its length and checksum; that, too, is programmed last. So a reset
//! at any point leaves the state before the write or after it, and the next start sees which. A
//! tail that is not erased is never written over: the next write goes to the other bank.
//!
//! A bank must hold twice the largest state, or banks are swapped, and so erased, too often.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crc::Digest;
use sds_proto::snapshot::{Change, Snapshot};
use sds_proto::stored::{self, Op};
use sds_proto::{ChannelId, StoreError};
use serde::{Deserialize, Serialize};

use crate::CRC;

/// Size of one programming operation, in bytes. It is that of many controllers; a multiple works,
/// too.
pub const WORD: usize = 8;

const MAGIC: [u8; 4] = *b"SDSj";

/// The flash memory did not do what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

impl From<Fault> for StoreError {
    fn from(_: Fault) -> Self {
        Self::Unavailable
    }
}

/// A part of flash memory that is erased as a whole, mapped into memory.
pub trait Bank {
    /// All of it; its length is a multiple of [`WORD`]. What is erased reads as ones.
    fn bytes(&self) -> &[u8];

    /// Erases it.
    ///
    /// # Errors
    ///
    /// The memory does not do it.
    fn erase(&mut self) -> Result<(), Fault>;

    /// Programs the word at `at`, which is erased.
    ///
    /// # Errors
    ///
    /// The memory does not do it; the word may hold anything.
    fn program(&mut self, at: usize, word: [u8; WORD]) -> Result<(), Fault>;
}

/// A store of channels in two banks.
#[derive(Debug)]
pub struct Journal<B> {
    banks: [B; 2],
    /// Which of them is in use.
    current: usize,
    generation: u32,
    /// Offset of the next entry.
    end: usize,
    /// Whether everything from `end` on is erased.
    clean: bool,
}

/// One operation in an entry.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    channel: &'a [u8],
    op: LineOp<'a>,
}

#[derive(Serialize, Deserialize)]
enum LineOp<'a> {
    Put { key: &'a [u8], value: &'a [u8] },
    Remove { key: &'a [u8] },
    RemoveRange { first: &'a [u8], last: &'a [u8] },
    Clear,
}

/// The records that count, sorted by channel and key. They are some hundred, for which a list takes
/// less memory than a map, and less code.
type Live<'a> = Vec<((&'a [u8], &'a [u8]), &'a [u8])>;

impl<B: Bank> Journal<B> {
    /// The journal in these banks; a new one if neither holds any.
    ///
    /// # Errors
    ///
    /// The memory is at fault.
    pub fn open(banks: [B; 2]) -> Result<Self, Fault> {
        let generations = [generation(banks[0].bytes()), generation(banks[1].bytes())];
        let current = usize::from(generations[1] > generations[0]);
        let mut journal = Self { banks, current, generation: 0, end: WORD, clean: false };
        match generations[current] {
            Some(generation) => {
                let bank = journal.banks[current].bytes();
                journal.end =
                    WORD + entries(bank).map(|entry| WORD + padded(entry.len())).sum::<usize>();
                journal.clean = bank[journal.end..].iter().all(|byte| *byte == 0xff);
                journal.generation = generation;
            }
            None => journal.begin(&[]).map_err(|_| Fault)?,
        }
        Ok(journal)
    }

    /// Whether the newest entry is one that a reset cut off, and that does not count.
    pub const fn is_torn(&self) -> bool {
        !self.clean
    }

    /// The state of a channel; `None` if it has none.
    ///
    /// # Errors
    ///
    /// The stored state cannot be read, or is of another version.
    pub fn load(&self, channel: &ChannelId) -> Result<Option<Box<Snapshot>>, StoreError> {
        let live = live(self.banks[self.current].bytes())?;
        let records = live.into_iter().filter(|((of, _), _)| *of == channel.as_bytes());
        Ok(stored::snapshot(records.map(|((_, key), value)| (key, value)))?)
    }

    /// Writes changes, all or nothing.
    ///
    /// # Errors
    ///
    /// The memory is at fault, or the state does not fit into a bank.
    pub fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let writes = stored::writes(changes);
        let mut lines = Vec::new();
        for write in &writes {
            let op = match &write.op {
                Op::Put { key, value } => LineOp::Put { key, value },
                Op::Remove { key } => LineOp::Remove { key },
                Op::RemoveRange { first, last } => LineOp::RemoveRange { first, last },
                Op::Clear => LineOp::Clear,
            };
            lines.extend(encode(write.channel.as_bytes(), op));
        }
        let bank = &mut self.banks[self.current];
        if !self.clean || self.end + WORD + padded(lines.len()) > bank.bytes().len() {
            return self.begin(&lines);
        }
        self.clean = false;
        let mut entry = Entry::new(bank, self.end);
        entry.push(&lines)?;
        self.end = entry.finish()?;
        self.clean = true;
        Ok(())
    }

    /// Goes on in the other bank, with the records that count after `lines`.
    fn begin(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        let [first, second] = &mut self.banks;
        let (old, new) = if self.current == 0 { (first, second) } else { (second, first) };
        let mut live = if self.generation == 0 { Live::new() } else { live(old.bytes())? };
        apply(lines, &mut live)?;

        new.erase()?;
        let mut entry = Entry::new(new, WORD);
        for ((channel, key), value) in live {
            entry.push(&encode(channel, LineOp::Put { key, value }))?;
        }
        self.end = entry.finish()?;
        self.generation += 1;
        new.program(0, head(self.generation, number_check(self.generation)))?;
        self.current ^= 1;
        self.clean = true;
        Ok(())
    }
}

/// An entry in the making.
struct Entry<'a, B> {
    bank: &'a mut B,
    start: usize,
    len: usize,
    /// The word that is not full yet.
    word: [u8; WORD],
    checksum: Digest<'static, u32>,
}

impl<'a, B: Bank> Entry<'a, B> {
    fn new(bank: &'a mut B, start: usize) -> Self {
        Self { bank, start, len: 0, word: [0; WORD], checksum: CRC.digest() }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.checksum.update(bytes);
        for byte in bytes {
            self.word[self.len % WORD] = *byte;
            self.len += 1;
            if self.len.is_multiple_of(WORD) {
                self.program_last()?;
            }
        }
        Ok(())
    }

    /// Programs the word that the last byte is in.
    fn program_last(&mut self) -> Result<(), StoreError> {
        let at = self.start + padded(self.len);
        if at + WORD > self.bank.bytes().len() {
            return Err(StoreError::Full);
        }
        self.bank.program(at, core::mem::take(&mut self.word))?;
        Ok(())
    }

    /// Makes the entry count. Tells where the next one goes.
    fn finish(mut self) -> Result<usize, StoreError> {
        if !self.len.is_multiple_of(WORD) {
            self.program_last()?;
        }
        let len = self.len as u32;
        self.checksum.update(&len.to_le_bytes());
        self.bank.program(self.start, head(len, self.checksum.finalize()))?;
        Ok(self.start + WORD + padded(self.len))
    }
}

const fn padded(len: usize) -> usize {
    len.next_multiple_of(WORD)
}

fn head(number: u32, check: u32) -> [u8; WORD] {
    (u64::from(check) << 32 | u64::from(number)).to_le_bytes()
}

/// The two numbers of the word that `bytes` begin with.
fn split_head(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    Some((word as u32, (word >> 32) as u32))
}

/// The check of a bank's number.
fn number_check(generation: u32) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&MAGIC);
    digest.update(&generation.to_le_bytes());
    digest.finalize()
}

/// The number of a bank; `None`: it is not valid.
fn generation(bank: &[u8]) -> Option<u32> {
    let (number, check) = split_head(bank)?;
    (check == number_check(number)).then_some(number)
}

/// The entries of a bank, up to the first that is not whole.
fn entries(bank: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bank.get(WORD..).unwrap_or_default();
    core::iter::from_fn(move || {
        let (len, check) = split_head(rest)?;
        let entry = rest.get(WORD..)?.get(..len as usize)?;
        let mut digest = CRC.digest();
        digest.update(entry);
        digest.update(&len.to_le_bytes());
        (digest.finalize() == check).then_some(())?;
        rest = rest.get(WORD + padded(entry.len())..)?;
        Some(entry)
    })
}

fn encode(channel: &[u8], op: LineOp<'_>) -> Vec<u8> {
    postcard::to_allocvec(&Line { channel, op }).expect("memory grows, and all lengths are known")
}

fn live(bank: &[u8]) -> Result<Live<'_>, StoreError> {
    let mut live = Live::new();
    entries(bank).try_for_each(|entry| apply(entry, &mut live))?;
    Ok(live)
}

fn apply<'a>(mut entry: &'a [u8], live: &mut Live<'a>) -> Result<(), StoreError> {
    while !entry.is_empty() {
        // The checksum is right, so somebody else wrote it.
        let (Line { channel, op }, rest) =
            postcard::take_from_bytes(entry).map_err(|_| StoreError::Corrupt)?;
        let find = |key| live.binary_search_by_key(&(channel, key), |(name, _)| *name);
        match op {
            LineOp::Put { key, value } => match find(key) {
                Ok(at) => live[at].1 = value,
                Err(at) => live.insert(at, ((channel, key), value)),
            },
            LineOp::Remove { key } => {
                if let Ok(at) = find(key) {
                    live.remove(at);
                }
            }
            LineOp::RemoveRange { first, last } => {
                let from = live.partition_point(|(name, _)| *name < (channel, first));
                let to = live.partition_point(|(name, _)| *name <= (channel, last));
                live.drain(from..to.max(from));
            }
            LineOp::Clear => live.retain(|((of, _), _)| *of != channel),
        }
        entry = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
