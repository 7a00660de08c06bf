//! Frames on the serial line: messages in postcard with a CRC-32, framed with COBS, so that a zero
//! ends each frame and nothing else is zero.
//!
//! A turn is one tick of the board. The board carries out what is due and says
//! [`FromBoard::Turn`]; the host answers with what came over the air meanwhile and says
//! [`ToBoard::Turn`]. So the two keep step, and a run is the same every time.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::CRC;

/// Length of a turn in milliseconds.
pub const TURN_MS: u32 = 100;

/// Longest frame in bytes, its zero not counted.
pub const MAX_FRAME: usize = 4_096;

/// Messages of the board.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromBoard<'a> {
    /// It was just switched on, or reset.
    Hello,
    /// It has opened its journal.
    Journal {
        /// Whether that ends in a write that a reset has cut off.
        torn: bool,
    },
    /// To be broadcast.
    Datagram(&'a [u8]),
    /// An entry of its log, oldest first; asked for with [`ToBoard::Dump`].
    Entry {
        /// Its id.
        message_id: &'a [u8],
        /// Its author.
        sender_id: &'a [u8],
        /// Its Lamport time.
        lamport: u64,
        /// Its content.
        content: &'a [u8],
    },
    /// It has done what was due.
    Turn(Status),
}

/// Messages of the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToBoard<'a> {
    /// The answer to [`FromBoard::Hello`].
    Boot(Boot),
    /// Heard over the air.
    Datagram(&'a [u8]),
    /// The power will fail.
    CutPower(Cut),
    /// Tell the log.
    Dump,
    /// A turn has passed, and this is all that was heard.
    Turn,
}

/// Settings that a real board would have by other means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Boot {
    /// Of its generator of random numbers: another one at each start.
    pub seed: u64,
    /// Milliseconds since 1970, if it has a real-time clock.
    pub wall: Option<u64>,
    /// Number of messages to publish, including those before a reset.
    pub messages: u32,
    /// When the power is to fail next.
    pub cut: Option<Cut>,
}

/// When the power fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Cut {
    /// At once.
    Now,
    /// When so many more words of flash memory were programmed.
    Words(u32),
    /// When so many words were programmed after the next erasure.
    WordsAfterErase(u32),
}

/// Status of the board since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Digest of all that its log ever held.
    pub digest: [u8; 16],
    /// Entries in its log.
    pub logged: u32,
    /// Frames that came damaged.
    pub damaged: u32,
    /// Most bytes of heap in use at once.
    pub heap_peak: u32,
    /// Bytes of heap in use.
    pub heap_used: u32,
    /// Bytes of heap that an open channel takes in which nothing was ever said.
    pub idle: u32,
    /// The same of a channel that holds one message of its own, in the nim dialect.
    pub idle_nim: u32,
    /// The same, in LIP-109 with the geometry that its peers expect.
    pub idle_lip109: u32,
    /// Taking in a datagram, with all effects polled.
    pub datagrams: Work,
    /// Publishing a message, with all effects polled.
    pub published: Work,
    /// Putting a write into the journal.
    pub writes: Work,
    /// Words of 8 bytes that were programmed into flash memory.
    pub words: u32,
    /// Banks that were erased.
    pub erased: u32,
}

/// Duration of an operation, in cycles of the timer's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// Number of operations.
    pub count: u32,
    /// All of it.
    pub total: u64,
    /// The longest.
    pub longest: u32,
}

impl Work {
    /// Counts one that took `cycles`.
    pub fn add(&mut self, cycles: u32) {
        self.count += 1;
        self.total += u64::from(cycles);
        self.longest = self.longest.max(cycles);
    }
}

/// Appends `message` as a frame, with the zero that ends it.
pub fn encode(message: &impl Serialize, to: &mut Vec<u8>) {
    let bytes = postcard::to_allocvec_crc32(message, CRC.digest());
    let bytes = bytes.expect("memory grows, and all lengths are known");
    to.extend_from_slice(&cobs::encode_vec(&bytes));
    to.push(0);
}

/// The message in `frame`, without its zero. `None`: it is damaged.
pub fn decode<'a, M: Deserialize<'a>>(frame: &'a mut [u8]) -> Option<M> {
    let len = cobs::decode_in_place(frame).ok()?;
    postcard::from_bytes_crc32(frame.get(..len)?, CRC.digest()).ok()
}

/// Collects the bytes of frames.
#[derive(Debug, Default)]
pub struct Frames {
    frame: Vec<u8>,
    ended: bool,
    too_long: bool,
    /// Frames that were longer than [`MAX_FRAME`], and left out.
    pub overlong: u32,
}

impl Frames {
    /// Takes the next byte. A frame that ends with it is there until the next byte comes.
    pub fn push(&mut self, byte: u8) -> Option<&mut [u8]> {
        if core::mem::take(&mut self.ended) {
            self.frame.clear();
        }
        if byte != 0 {
            self.too_long |= self.frame.len() >= MAX_FRAME;
            if !self.too_long {
                self.frame.push(byte);
            }
            return None;
        }
        self.ended = true;
        if core::mem::take(&mut self.too_long) {
            self.overlong += 1;
            return None;
        }
        (!self.frame.is_empty()).then_some(&mut self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Frames::default();
        bytes.iter().filter_map(|byte| frames.push(*byte).map(|frame| frame.to_vec())).collect()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut line = vec![7, 0]; // what a reset has cut off
        let messages = [ToBoard::Datagram(&[0, 1, 0, 0, 255]), ToBoard::Turn, ToBoard::Dump];
        messages.iter().for_each(|message| encode(message, &mut line));
        let mut found = frames(&line);
        assert_eq!(decode::<ToBoard<'_>>(&mut found[0]), None);
        for (frame, message) in found[1..].iter_mut().zip(&messages) {
            assert_eq!(decode::<ToBoard<'_>>(frame).as_ref(), Some(message));
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_changed_bit_is_noticed() {
        let mut line = Vec::new();
        encode(&ToBoard::Datagram(b"some bytes \0\0 and more"), &mut line);
        for bit in 0..(line.len() - 1) * 8 {
            let mut line = line.clone();
            line[bit / 8] ^= 1 << (bit % 8);
            for mut frame in frames(&line) {
                assert_eq!(decode::<ToBoard<'_>>(&mut frame), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_without_end_takes_no_more_than_its_bound() {
        let mut frames = Frames::default();
        (0..3 * MAX_FRAME).for_each(|_| assert_eq!(frames.push(1), None));
        assert_eq!(frames.push(0), None);
        assert_eq!(frames.overlong, 1);
        assert!(frames.frame.capacity() <= 2 * MAX_FRAME);
        assert_eq!(frames.push(5), None);
        assert_eq!(frames.push(0), Some(&mut [5][..]));
    }
}
