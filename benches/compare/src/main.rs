//! Measures parts of this project side by side with others that do the same, interleaved in one
//! process, and prints ratios.

mod cores;
mod options;
mod sds;
mod spsc;
mod statistics;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::options::Options;

/// Measures parts of this project side by side with others that do the same.
///
/// All candidates of a row take turns in one process, pinned to two cores. A machine's absolute
/// figures drift, mostly with what its neighbours do: compare the ratios of one run only.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The channel `sds-spsc` against other bounded channels and rings
    ///
    /// One message is one send and one receive. Columns: median, slowest and fastest round, and
    /// ours divided by the candidate (for times the inverse), so that above 1 is always in our
    /// favour. The probe is one atomic word handed to the other core and back, measured beside each
    /// row: it says how costly this machine's cores find each other at that moment.
    ///
    /// In JSON a row is {"row","core","unit","ours","best","best_name","ratio","probe_ns"}.
    Spsc(Options),

    /// The protocol core `sds-proto` and its drivers, beside the least that each could cost and
    /// beside others
    ///
    /// Each row prints what it was held to. Its ratio is ours divided by what stands beside it; of
    /// a floor, the items it is the sum of are listed.
    ///
    /// In JSON a row is {"row","unit","value","reference","reference_name","ratio"}.
    Sds {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        streams: sds::Streams,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Spsc(options) => spsc::compare(&options),
        Command::Sds { options, streams } => sds::compare(&options, &streams),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
