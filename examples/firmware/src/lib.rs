//! The frames between board and host, and the journal in flash memory, which is tested without a
//! board.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod frame;
pub mod journal;

use crc::{CRC_32_ISO_HDLC, Crc};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
