//! The command line.

use core::error::Error;
use core::fmt::Display;
use core::num::NonZero;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use clap::{Parser, ValueEnum};
use sds_proto::sim::{Plan, Speech};

/// Simulates groups on virtual time, checks the invariants of the protocol after every step, and
/// makes small what fails.
///
/// The last line says `0 violations in N runs` and the exit code is 0, or a violation is printed
/// and the exit code is 1. Wrong options and unreadable files: exit code 2.
#[derive(Parser, Debug)]
#[command(name = "simulate")]
pub(crate) struct Args {
    /// Number of runs, from 1, each with a seed of its own.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    first_seed: u64,
    /// Members of the group, from 1 to 100,000.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    nodes: u64,
    /// Messages that they publish in all.
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Faults besides loss.
    #[arg(long, value_enum, default_value_t = Faults::None)]
    faults: Faults,
    /// Datagrams lost on their way to each receiver, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=99))]
    loss: Option<u64>,
    /// Dialect of the messages.
    #[arg(long, value_enum)]
    dialect: Option<Spoken>,
    /// Do what the plan in this file says, for every seed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "messages", "faults"])]
    plan: Option<PathBuf>,
    /// Repeat the run in this file: a line with the seed, and a plan, as printed on a violation.
    #[arg(long, value_name = "FILE", exclusive = true)]
    replay: Option<PathBuf>,
    /// Draw the run of the first seed into this directory: convergence, bytes by member, repairs.
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
    /// Runs at the same time. Default: one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

/// A set of faults.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Faults {
    /// Nothing but the loss that is asked for.
    None,
    /// Everything, in new combinations for each seed.
    All,
}

/// The dialects of a group.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Spoken {
    /// LIP-109.
    Lip109,
    /// That of nim-sds.
    Nim,
    /// Both, with bridges in between.
    Mixed,
}

/// The runs to be made.
pub(crate) struct Task {
    pub(crate) seeds: u64,
    pub(crate) first_seed: u64,
    template: Template,
    loss: Option<u64>,
    dialect: Option<Speech>,
}

enum Template {
    Same(Plan),
    Random { nodes: u64, messages: u64 },
}

impl Args {
    pub(crate) fn threads(&self) -> usize {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or(cores, NonZero::get)
    }

    pub(crate) fn task(&self) -> Result<Task, Box<dyn Error>> {
        let same = |seeds, first_seed, plan| Task {
            seeds,
            first_seed,
            template: Template::Same(plan),
            loss: self.loss,
            dialect: self.dialect.map(Speech::from),
        };
        if let Some(file) = &self.replay {
            let text = fs::read_to_string(file).map_err(about("--replay", file))?;
            let (seed, plan) = read_replay(&text).map_err(about("--replay", file))?;
            return Ok(same(1, seed, plan));
        }
        if let Some(file) = &self.plan {
            let text = fs::read_to_string(file).map_err(about("--plan", file))?;
            let plan = text.parse().map_err(about("--plan", file))?;
            return Ok(same(self.seeds, self.first_seed, plan));
        }
        // A large group needs no more messages to show what it does.
        let messages = self.messages.unwrap_or(if self.nodes > 100 { 10 } else { 96 });
        let nodes = self.nodes;
        let template = match self.faults {
            Faults::All => Template::Random { nodes, messages },
            Faults::None => {
                let mut plan = Plan::default();
                (plan.nodes, plan.messages) = (nodes, messages);
                Template::Same(plan)
            }
        };
        Ok(Task { template, ..same(self.seeds, self.first_seed, Plan::default()) })
    }
}

/// An error with the option and the path that it comes from.
pub(crate) fn about<E: Display>(option: &str, path: &Path) -> impl FnOnce(E) -> String {
    move |error| format!("{option} {}: {error}", path.display())
}

fn read_replay(text: &str) -> Result<(u64, Plan), Box<dyn Error>> {
    let is_seed = |line: &&str| line.starts_with("seed ");
    let seed = text.lines().find(is_seed).ok_or("the file to be replayed names no seed")?;
    let plan: String =
        text.lines().filter(|line| !is_seed(line)).flat_map(|line| [line, "\n"]).collect();
    let number = seed["seed ".len()..].trim().parse();
    Ok((number.map_err(|error| format!("{seed:?}: {error}"))?, plan.parse()?))
}

impl Task {
    pub(crate) fn plan(&self, seed: u64) -> Plan {
        let mut plan = match &self.template {
            Template::Same(plan) => plan.clone(),
            Template::Random { nodes, messages } => Plan::random(seed, *nodes, *messages),
        };
        plan.loss = self.loss.unwrap_or(plan.loss);
        plan.speech = self.dialect.unwrap_or(plan.speech);
        plan
    }
}

impl From<Spoken> for Speech {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Lip109 => Self::Lip109,
            Spoken::Nim => Self::NimSds,
            Spoken::Mixed => Self::Mixed,
        }
    }
}
