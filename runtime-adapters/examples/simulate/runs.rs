//! Runs on all cores until one fails.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use sds_proto::SendReason;
use sds_proto::sim::{Plan, PlanError, Report, Simulation, Violation, minimise};

use crate::args::Task;

/// Result of the runs.
pub(crate) enum Outcome {
    /// No violation. The report if there was one run.
    Passed { runs: u64, report: Option<Box<Report>> },
    /// The first violation found, with the smallest plan that shows it.
    Failed { runs: u64, seed: u64, found: Box<(Plan, Violation)> },
}

pub(crate) fn run(task: &Task, threads: usize) -> Result<Outcome, PlanError> {
    // Says what is wrong with a plan before anything is run.
    Simulation::new(task.first_seed, &task.plan(task.first_seed))?;
    let bar = ProgressBar::new(task.seeds);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} runs {wide_bar} {eta} left") {
        bar.set_style(style);
    }
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (failed, last) = (Mutex::new(None), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= task.seeds {
                        break;
                    }
                    let seed = task.first_seed + number;
                    match Simulation::new(seed, &task.plan(seed)).map(|mut group| group.run()) {
                        Ok(Ok(report)) => set(&last, report),
                        Ok(Err(_)) | Err(_) => {
                            set(&failed, seed);
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    let runs = bar.position();
    bar.finish_and_clear();
    let Some(seed) = failed.into_inner().unwrap_or_else(|broken| broken.into_inner()) else {
        let report = last.into_inner().unwrap_or_else(|broken| broken.into_inner());
        let report = report.filter(|_| runs == 1).map(Box::new);
        return Ok(Outcome::Passed { runs, report });
    };
    let plan = task.plan(seed);
    Simulation::new(seed, &plan)?;
    let found = minimise(seed, &plan).expect("the same run fails again");
    Ok(Outcome::Failed { runs, seed, found: Box::new(found) })
}

fn set<T>(slot: &Mutex<Option<T>>, value: T) {
    *slot.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(value);
}

/// Describes a run.
pub(crate) fn in_words(report: &Report) -> String {
    let seconds = |at: sds_proto::Instant| at.as_micros() as f64 / 1e6;
    let sent = report.sent_in_all();
    let mut text = format!(
        "{} messages published, {} deliveries, the last after {:.1} s; settled after {:.1} s\n\
         {} datagrams of {} bytes sent:",
        report.published,
        report.deliveries,
        seconds(report.delivered_at),
        report.settled_at.map_or(f64::NAN, seconds),
        sent.messages,
        sent.bytes,
    );
    for reason in [
        SendReason::New,
        SendReason::Resend,
        SendReason::Sync,
        SendReason::Repair,
        SendReason::Bridge,
    ] {
        text += &format!(" {reason:?} {}", report.sent(reason).messages);
    }
    text + &format!(
        "; {} repairs nobody needed, {} lost, {} unconfirmed",
        report.redundant_repairs, report.lost, report.unconfirmed
    )
}
