//! The machine: what QEMU calls mps2-an386, a Cortex-M4 at 25 MHz.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::asm::wfi;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use cortex_m_semihosting::debug;
use sds_firmware::frame::TURN_MS;

use crate::flash::{self, Flash};
use crate::heap;
use crate::link::Uart;

/// Cycles of the timer in a turn. It counts down from here; its counter has 24 bits.
const TURN_CYCLES: u32 = 25_000 * TURN_MS;

/// Turns that have ended since the timer was restarted.
static TICKS: AtomicU32 = AtomicU32::new(0);

/// Sets up what the program uses. To be called once.
pub(crate) fn init() -> (Timer, Uart, [Flash; 2]) {
    let core = cortex_m::Peripherals::take().expect("the machine is set up once");
    heap::init();
    let mut syst = core.SYST;
    syst.set_clock_source(SystClkSource::Core);
    syst.set_reload(TURN_CYCLES - 1);
    syst.clear_current();
    syst.enable_counter();
    syst.enable_interrupt();
    (Timer(syst), Uart::new(), flash::banks())
}

/// The timer that says when a turn is over, and how long something takes.
pub(crate) struct Timer(SYST);

impl Timer {
    /// Begins a turn.
    pub(crate) fn restart(&mut self) {
        self.0.clear_current();
        TICKS.store(0, Ordering::Relaxed);
    }

    /// Sleeps until the turn is over.
    pub(crate) fn wait(&self) {
        while TICKS.load(Ordering::Relaxed) == 0 {
            wfi();
        }
    }

    /// Does `work` and counts the cycles that takes.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> (T, u32) {
        let start = self.cycles();
        let done = work();
        (done, self.cycles().wrapping_sub(start))
    }

    /// Cycles since the turn began.
    fn cycles(&self) -> u32 {
        loop {
            let ticks = TICKS.load(Ordering::Relaxed);
            let left = SYST::get_current();
            if ticks == TICKS.load(Ordering::Relaxed) {
                return (ticks + 1).wrapping_mul(TURN_CYCLES).wrapping_sub(left);
            }
        }
    }
}

#[exception]
fn SysTick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Ends the emulation, and with it the run.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    debug::exit(debug::EXIT_FAILURE);
    loop {
        wfi();
    }
}
