//! Measures parts of this project side by side with others that do the same, interleaved in one process, and prints ratios.

mod cores;
mod report;
mod rounds;
mod sds;
mod spsc;
mod statistics;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Measures parts of this project side by side with others that do the same.
///
/// All candidates of a row take turns in one process, pinned to two cores. A machine's absolute figures drift, mostly with
/// what its neighbours do: compare the ratios of one run only.
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
    /// One message is one send and one receive. Columns: median, slowest and fastest round, and ours divided by the candidate
    /// (for times the inverse), so that above 1 is always in our favour. The probe is one atomic word handed to the other
    /// core and back, measured beside each row: it says how costly this machine's cores find each other at that moment.
    Spsc(Options),

    /// The protocol core `sds-proto` and its drivers, beside the least that each could cost and beside others
    ///
    /// Each row prints what it was held to. Its ratio is ours divided by what stands beside it; of a
    /// floor, the items it is the sum of are listed.
    Sds(sds::Options),
}

#[derive(Args)]
struct Options {
    /// How often each candidate of a row is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Shorter samples: about one minute in all with 5 rounds
    #[arg(long)]
    quick: bool,

    /// Also write the result as JSON: {"rows":[{"row","core","unit","ours","best","best_name","ratio","probe_ns"}]}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Measure only the rows whose id starts so, as in `--only async`
    #[arg(long, value_name = "ROW_PREFIX")]
    only: Option<String>,

    /// The two cores to run on, by position among those this process may use; not two threads of one core
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1, default_values_t = [0, 1])]
    cores: Vec<usize>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Spsc(options) => rounds::compare(spsc::rows(), &options),
        Command::Sds(options) => sds::compare(&options),
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
