//! The two cores that everything runs on, and what it costs to pass a word between them.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use core_affinity::CoreId;

use crate::wait::wait_for;

/// Round trips of one probe: about two milliseconds.
const PROBE_TRIPS: u64 = 20_000;

/// The cores of the calling thread and its partner.
pub(crate) struct Cores {
    partner: Option<CoreId>,
}

impl Cores {
    /// Pins the calling thread to the first of the two cores; partners will run on the second.
    ///
    /// # Errors
    ///
    /// The positions are not two different ones of this process's cores, or the system refuses to
    /// pin.
    pub(crate) fn pin(positions: &[usize]) -> anyhow::Result<Self> {
        let available = core_affinity::get_core_ids()
            .context("the system does not say which cores there are")?;
        let &[near, far] = positions else {
            bail!("two cores are needed, {} were named", positions.len())
        };
        ensure!(near != far, "core {near} was named twice");
        let core = |position: usize| {
            let count = available.len();
            available.get(position).copied().with_context(|| {
                format!("there is no core {position}: this process may use {count}")
            })
        };
        let (near, far) = (core(near)?, core(far)?);
        // The far core is tried first: a refusal must come here, not in the middle of a
        // measurement.
        ensure!(core_affinity::set_for_current(far), "the system refused core {}", far.id);
        ensure!(core_affinity::set_for_current(near), "the system refused core {}", near.id);
        Ok(Self { partner: Some(far) })
    }

    /// Leaves it to the system where threads run.
    pub(crate) fn unpinned() -> Self {
        Self { partner: None }
    }

    /// Runs `far` on the other core and `near` on this one, starting together; gives back what
    /// `near` gives.
    ///
    /// # Errors
    ///
    /// Runs both and returns their reports, that of the far one first.
    pub(crate) fn together<T>(
        &self,
        near: impl FnOnce() -> anyhow::Result<T>,
        far: impl FnOnce() -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<T> {
        let start = StartLine::default();
        thread::scope(|scope| {
            let partner = scope.spawn(|| {
                if let Some(core) = self.partner {
                    ensure!(
                        core_affinity::set_for_current(core),
                        "the system refused core {}",
                        core.id
                    );
                }
                start.meet()?;
                far()
            });
            let result = start.meet().and_then(|()| near());
            partner.join().unwrap_or_else(|panic| resume_unwind(panic)).and(result)
        })
    }

    /// Nanoseconds for one atomic word to go to the other core and back.
    ///
    /// # Errors
    ///
    /// The other core never answers.
    pub(crate) fn probe(&self) -> anyhow::Result<f64> {
        let word = AtomicU64::new(0);
        let reached = |value| {
            if word.load(Ordering::Acquire) == value {
                return Ok(());
            }
            wait_for(|| (word.load(Ordering::Acquire) == value).then_some(()))
        };
        let elapsed: Duration = self.together(
            || {
                let start = Instant::now();
                for trip in 0..PROBE_TRIPS {
                    word.store(2 * trip + 1, Ordering::Release);
                    reached(2 * trip + 2)?;
                }
                Ok(start.elapsed())
            },
            || {
                for trip in 0..PROBE_TRIPS {
                    reached(2 * trip + 1)?;
                    word.store(2 * trip + 2, Ordering::Release);
                }
                Ok(())
            },
        )?;
        Ok(elapsed.as_secs_f64() * 1e9 / PROBE_TRIPS as f64)
    }
}

/// The barrier at which two threads wait for each other before the clock starts.
#[derive(Default)]
struct StartLine(AtomicUsize);

impl StartLine {
    fn meet(&self) -> anyhow::Result<()> {
        self.0.fetch_add(1, Ordering::AcqRel);
        wait_for(|| (self.0.load(Ordering::Acquire) == 2).then_some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_run_and_the_far_one_reports_its_error() {
        let cores = Cores::unpinned();
        assert_eq!(cores.together(|| Ok(7), || Ok(())).unwrap(), 7);
        let error = cores.together(|| Ok(7), || bail!("far")).unwrap_err();
        assert_eq!(error.to_string(), "far");
    }

    #[test]
    fn cores_that_do_not_exist_are_named() {
        let refused = |positions: &[usize]| Cores::pin(positions).err().unwrap().to_string();
        assert_eq!(refused(&[0]), "two cores are needed, 1 were named");
        assert_eq!(refused(&[1, 1]), "core 1 was named twice");
        assert!(
            refused(&[0, 100_000]).starts_with("there is no core 100000: this process may use")
        );
    }
}
