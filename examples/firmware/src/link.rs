//! The serial line to the host, byte by byte, and the frames on it.

use alloc::vec::Vec;
use core::ptr::NonNull;

use safe_mmio::fields::{ReadPure, ReadPureWrite, ReadWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};
use sds_firmware::frame::{self, Boot, Frames, FromBoard, ToBoard};

/// Registers of ARM's "CMSDK APB UART".
#[repr(C)]
struct Registers {
    data: ReadWrite<u32>,
    state: ReadPure<u32>,
    control: ReadPureWrite<u32>,
    interrupt: ReadPureWrite<u32>,
    baud_divider: ReadPureWrite<u32>,
}

const SENDER_FULL: u32 = 1;
const RECEIVER_FULL: u32 = 2;
const ENABLE_BOTH: u32 = 3;

/// The first serial port.
pub(crate) struct Uart(UniqueMmioPointer<'static, Registers>);

impl Uart {
    /// Switches it on. To be called once.
    pub(crate) fn new() -> Self {
        let address = NonNull::new(0x4000_4000 as *mut Registers).expect("it is not 0");
        // SAFETY: the machine has these registers there, and this is the only pointer to them: the
        // only call is from `board::init`, which a second time would panic before it.
        let mut registers = unsafe { UniqueMmioPointer::new(address) };
        field!(registers, baud_divider).write(16);
        field!(registers, control).write(ENABLE_BOTH);
        Self(registers)
    }

    fn write(&mut self, byte: u8) {
        while self.state() & SENDER_FULL != 0 {}
        field!(self.0, data).write(byte.into());
    }

    fn read(&mut self) -> u8 {
        while self.state() & RECEIVER_FULL == 0 {}
        field!(self.0, data).read() as u8
    }

    fn state(&self) -> u32 {
        field_shared!(self.0, state).read()
    }
}

/// Frames to and from the host.
pub(crate) struct Link {
    uart: Uart,
    frames: Frames,
    /// Frames that could not be read.
    pub(crate) damaged: u32,
}

impl Link {
    pub(crate) fn new(mut uart: Uart) -> Self {
        // Ends what a reset has cut off.
        uart.write(0);
        Self { uart, frames: Frames::default(), damaged: 0 }
    }

    pub(crate) fn send(&mut self, message: &FromBoard<'_>) {
        let mut frame = Vec::new();
        frame::encode(message, &mut frame);
        frame.into_iter().for_each(|byte| self.uart.write(byte));
    }

    /// Waits for the host to end the turn, and hands out what it says before.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(ToBoard<'_>)) {
        loop {
            let byte = self.uart.read();
            let Some(frame) = self.frames.push(byte) else { continue };
            match frame::decode(frame) {
                Some(ToBoard::Turn) => return,
                Some(message) => each(message),
                None => self.damaged += 1,
            }
        }
    }

    /// Waits for what the host tells a board that starts. What it had said before that is dropped.
    pub(crate) fn boot(&mut self) -> Boot {
        loop {
            let mut boot = None;
            self.receive(|message| {
                if let ToBoard::Boot(found) = message {
                    boot = Some(found);
                }
            });
            if let Some(boot) = boot {
                return boot;
            }
        }
    }
}
