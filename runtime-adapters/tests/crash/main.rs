//! Participants are killed while they publish and receive, and started again on their files.
//!
//! Each is a process of its own, with its node's state in a SQLite file under
//! `Durability::Strict`, and publishes to the others over UDP. Round by round one is killed with
//! SIGKILL at a random moment and started again. What it had said before is compared with what is
//! in its file then; and when all have acknowledged everything, with what it and the others have
//! told their applications. At the end the files are compared.
//!
//! The same is then done with a store that answers before it has written, which must be found
//! out. `cargo test -p sds-runtime --all-features --test crash -- --help` says what can be chosen.
#![allow(clippy::print_stdout, reason = "this program's output is its report")]

mod args;
mod child;
mod children;
mod disk;
mod group;
mod hasty;
mod ledger;
mod pipe;
mod rounds;

use std::process::ExitCode;

use args::{Args, Role};

/// Kills within which a store that answers too early must be found out.
const FOUND_OUT_WITHIN: u32 = 30;

fn main() -> ExitCode {
    let trial = match Args::role() {
        Role::Child(member) => return child::run(&member),
        Role::Parent(trial) => trial,
        Role::Nobody => return ExitCode::SUCCESS,
    };
    let (seed, driver) = (trial.seed, trial.driver);
    println!("{} rounds, --driver {driver}, --seed {seed}", trial.rounds);
    match rounds::run(&trial) {
        Ok(summary) => println!("{summary}"),
        Err(problem) => {
            println!("FAILED {problem}");
            return ExitCode::FAILURE;
        }
    }
    match rounds::run(&trial.hasty(FOUND_OUT_WITHIN)) {
        Err(problem) if problem.is_loss() => {
            println!("a store that answers too early is found out: {problem}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("FAILED with a store that answers too early, but not by it: {problem}");
            ExitCode::FAILURE
        }
        Ok(summary) => {
            println!("FAILED a store that answers too early is not found out: {summary}");
            ExitCode::FAILURE
        }
    }
}
