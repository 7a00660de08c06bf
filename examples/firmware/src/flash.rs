//! Flash memory, simulated in a part of RAM that a reset leaves alone, with a power that fails when
//! it is told to.

use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SCB;
use sds_firmware::frame::Cut;
use sds_firmware::journal::{Bank, Fault, WORD};

/// Bytes in a bank.
const BANK: usize = 32 << 10;

const NEVER: u32 = u32::MAX;

/// Words that can be programmed before the power fails.
static FUSE: AtomicU32 = AtomicU32::new(NEVER);
/// Value of the fuse after the next erasure.
static FUSE_AFTER_ERASE: AtomicU32 = AtomicU32::new(NEVER);
static WORDS: AtomicU32 = AtomicU32::new(0);
static ERASED: AtomicU32 = AtomicU32::new(0);

/// One bank of flash memory.
pub(crate) struct Flash(&'static mut [u8]);

/// Both banks. To be called once.
pub(crate) fn banks() -> [Flash; 2] {
    unsafe extern "C" {
        static mut __journal_start: [u8; 2 * BANK];
    }
    // SAFETY: memory.x sets this region aside, of which nothing else knows; any bytes are bytes.
    // The only call is from `board::init`, which a second time would panic before it.
    let all =
        unsafe { slice::from_raw_parts_mut((&raw mut __journal_start).cast::<u8>(), 2 * BANK) };
    let (first, second) = all.split_at_mut(BANK);
    [Flash(first), Flash(second)]
}

/// Arms the failure of the power.
pub(crate) fn cut_power(cut: Cut) {
    match cut {
        Cut::Now => SCB::sys_reset(),
        Cut::Words(words) => FUSE.store(words, Ordering::Relaxed),
        Cut::WordsAfterErase(words) => FUSE_AFTER_ERASE.store(words, Ordering::Relaxed),
    }
}

/// Words programmed and banks erased since the start.
pub(crate) fn wear() -> (u32, u32) {
    (WORDS.load(Ordering::Relaxed), ERASED.load(Ordering::Relaxed))
}

impl Bank for Flash {
    fn bytes(&self) -> &[u8] {
        self.0
    }

    fn erase(&mut self) -> Result<(), Fault> {
        ERASED.fetch_add(1, Ordering::Relaxed);
        self.0.fill(0xff);
        let fuse = FUSE_AFTER_ERASE.swap(NEVER, Ordering::Relaxed);
        FUSE.fetch_min(fuse, Ordering::Relaxed);
        Ok(())
    }

    fn program(&mut self, at: usize, word: [u8; WORD]) -> Result<(), Fault> {
        let place = self.0.get_mut(at..at + WORD).ok_or(Fault)?;
        if place.iter().any(|byte| *byte != 0xff) {
            return Err(Fault);
        }
        WORDS.fetch_add(1, Ordering::Relaxed);
        match FUSE.load(Ordering::Relaxed) {
            NEVER => {}
            0 => {
                place[..WORD / 2].copy_from_slice(&word[..WORD / 2]);
                SCB::sys_reset()
            }
            left => FUSE.store(left - 1, Ordering::Relaxed),
        }
        place.copy_from_slice(&word);
        Ok(())
    }
}
