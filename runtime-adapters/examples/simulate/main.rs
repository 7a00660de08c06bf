//! Simulated groups in a bad world, one for each seed, on all cores.
//!
//! `cargo run --release -p sds-runtime --example simulate -- --seeds 10000 --nodes 8 --faults all`
//!
//! The last line counts the violations. The first one found is printed with its seed and with the
//! smallest plan to be found that still shows it, as a file for `--replay`.

mod args;
mod plot;
mod runs;

use core::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use args::Args;
use clap::Parser;
use runs::Outcome;

fn main() -> ExitCode {
    simulate(&Args::parse()).unwrap_or_else(|error| {
        // Nobody is left to tell if this fails.
        drop(writeln!(io::stderr(), "simulate: {error}"));
        ExitCode::from(2)
    })
}

fn simulate(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let task = args.task()?;
    if let Some(dir) = &args.svg {
        plot::plot(dir, task.first_seed, &task.plan(task.first_seed))?;
    }
    let mut out = io::stdout().lock();
    match runs::run(&task, args.threads())? {
        Outcome::Passed { runs, report } => {
            if let Some(report) = report {
                writeln!(out, "{}", runs::in_words(&report))?;
            }
            writeln!(out, "0 violations in {runs} runs")?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Failed { runs, seed, found } => {
            let (plan, violation) = *found;
            writeln!(out, "# {violation}\nseed {seed}\n{plan}# 1 violation in {runs} runs")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
