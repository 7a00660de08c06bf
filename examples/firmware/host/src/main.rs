//! Runs the firmware under QEMU in a group of three: the board, and two participants here, over
//! links that lose, repeat, delay and reorder datagrams. The board loses its power four times,
//! twice in the middle of a write and once while it gets over that. At the end all three logs are
//! compared entry by entry.
//!
//! Time is the board's: each of its turns is one here. So a run is the same every time, however
//! fast the machine is.

#![allow(clippy::std_instead_of_core, reason = "this program has std")]

mod air;
mod figures;
mod group;
mod participant;
mod qemu;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use crate::group::{Group, Plan};

/// Runs the firmware under QEMU in a group over lossy links.
#[derive(Parser)]
struct Options {
    /// The firmware, an ELF file.
    firmware: PathBuf,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages that each of the three publishes; the logs hold 64.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=21))]
    messages: u32,
    /// Datagrams lost, in per cent.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=90))]
    loss: u32,
    /// Compares the figures with those that this file records, and fails where one is 10 % above.
    #[arg(long)]
    check: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let plan = |has_clock| Plan {
        seed: options.seed,
        messages: options.messages,
        loss: options.loss,
        has_clock,
    };
    let mut reports = Vec::new();
    for (name, has_clock) in [("with a wall clock", true), ("without a wall clock", false)] {
        let report = Group::start(&options.firmware, plan(has_clock))?.run();
        let report = report.with_context(|| format!("the run {name}"))?;
        println!("{name}: {report}");
        reports.push(report);
    }
    let figures = figures::all(&options.firmware, &reports)?;
    print!("\n{}", figures::table(&figures));
    if let Some(recorded) = &options.check {
        figures::check(&figures, recorded)?;
    }
    println!("\nconverged");
    Ok(())
}
