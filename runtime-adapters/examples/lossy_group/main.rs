//! A group that converges over a bad network: participants in processes of their own, on real
//! UDP sockets, with loss, duplication and reordering injected at each receiver.
//!
//! `cargo run --release -p sds-runtime --example lossy_group -- --help`
//!
//! The parent starts itself once for each participant, says `start`, watches, says `stop`, and
//! judges by the files that the children leave: every published message is in every log, logs are
//! equal entry by entry, every delivery came after all it depends on, and none came twice.
//!
//! With `--crash` it kills some of them meanwhile and starts them again. Then all that a
//! participant delivered in any of its lives is in every log as it was then, nobody used an id or
//! a Lamport time for two messages that others saw, and what was delivered a second time was
//! marked.

mod args;
mod child;
mod children;
mod crashes;
mod folder;
mod judge;
mod parent;
mod pipe;
mod process;
mod profile;
mod record;
mod recorder;
mod report;
mod seal;

use core::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use args::{Args, Role};

fn main() -> ExitCode {
    let result = match Args::role() {
        Role::Parent(options) => parent::run(&options),
        Role::Child(member) => child::run(&member).map(|()| ExitCode::SUCCESS),
        Role::Judge(dir) => judge::judge(&dir)
            .map_err(|error| format!("--judge {}: {error}", dir.display()).into())
            .and_then(|verdict| report::print(&verdict)),
    };
    result.unwrap_or_else(|error| {
        complain(error.as_ref());
        ExitCode::FAILURE
    })
}

fn complain(error: &dyn Error) {
    // Nobody is left to tell if this fails.
    drop(writeln!(io::stderr(), "lossy_group: {error}"));
}
