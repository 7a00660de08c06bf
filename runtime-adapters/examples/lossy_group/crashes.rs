//! Choice of the participants that are killed, and of the time.

use core::time::Duration;
use std::io;
use std::path::Path;
use std::time::Instant;

use fastrand::Rng;

use crate::args::GroupArgs;
use crate::child::REPORT_EVERY;
use crate::profile::name;
use crate::record::{CRASHES, Figure};
use crate::seal::SealedWriter;

/// Deaths that were planned, and those that were. Chosen by the group's seed: who, and how far it
/// is then. Each comes within a report's time after that.
pub(crate) struct Crashes {
    planned: Vec<Crash>,
    file: SealedWriter,
}

struct Crash {
    victim: usize,
    /// It reported this many deliveries, or more.
    delivered: u64,
    /// Time from then.
    delay: Duration,
    due: Option<Instant>,
}

impl Crashes {
    /// Plans `count` of them: nobody dies twice before everybody has died.
    pub(crate) fn plan(group: &GroupArgs, count: u32, records: &Path) -> io::Result<Self> {
        let mut rng = Rng::with_seed(group.seed ^ u64::from_le_bytes(*b"crashes!"));
        let all = u64::from(group.participants) * u64::from(group.messages);
        let mut victims: Vec<usize> = (0..group.participants as usize).collect();
        let crash = |number| {
            let turn = number % victims.len();
            if turn == 0 {
                rng.shuffle(&mut victims);
            }
            let delay = REPORT_EVERY.mul_f64(rng.f64());
            Crash { victim: victims[turn], delivered: rng.u64(..all), delay, due: None }
        };
        let planned = (0..count as usize).map(crash).collect();
        Ok(Self { planned, file: SealedWriter::create(&records.join(CRASHES))? })
    }

    /// A participant reports its deliveries.
    pub(crate) fn note(&mut self, index: usize, delivered: u64) {
        for crash in &mut self.planned {
            if crash.victim == index && crash.delivered <= delivered && crash.due.is_none() {
                crash.due = Some(Instant::now() + crash.delay);
            }
        }
    }

    /// Somebody who is to die now.
    pub(crate) fn next(&mut self) -> Option<usize> {
        let now = Instant::now();
        let due = self.planned.iter().position(|crash| crash.due.is_some_and(|due| due <= now))?;
        Some(self.planned.swap_remove(due).victim)
    }

    /// Writes down that a participant was killed, which had reported so many deliveries.
    pub(crate) fn record(&mut self, index: usize, delivered: u64) -> io::Result<()> {
        self.file.line(Figure::new(&name(index), delivered))
    }

    /// Whether nobody is left to die.
    pub(crate) fn is_over(&self) -> bool {
        self.planned.is_empty()
    }

    pub(crate) fn seal(self) -> io::Result<()> {
        self.file.seal()
    }
}
