//! The protocol itself: what a message costs ours, beside the least that it could, and beside others.

mod allocs;
mod drivers;
mod filters;
mod floor;
mod idle;
mod js;
mod measure;
mod ours;
mod peer;
mod report;
mod rows;
mod setup;
mod stream;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, ensure};
use clap::Args;

use self::peer::Peer;
use self::report::{Report, RowReport};
use self::rows::Row;
use self::setup::Setup;
use self::stream::{Recipe, Stream};
use crate::cores::Cores;
use crate::rounds::progress_bar;

/// Options of `sds`.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each row is measured; medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Shorter samples: about one minute in all with 5 rounds
    #[arg(long)]
    quick: bool,

    /// Also write the result as JSON: {"rows":[{"row","unit","value","reference","reference_name","ratio"}]}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Measure only the rows whose id starts so, as in `--only receive`
    #[arg(long, value_name = "ROW_PREFIX")]
    only: Option<String>,

    /// Also measure this: a shell command that receives a stream file, `{}` or else its standard
    /// input, and prints the seconds that took as its last line. May be repeated
    #[arg(long = "peer", value_name = "COMMAND")]
    peers: Vec<String>,

    /// Also receive the messages of a stream file: each after its length in bytes as a little-endian
    /// 32-bit number
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,

    /// Only write a stream file, as the following options say
    #[arg(long, value_name = "FILE")]
    write_stream: Option<PathBuf>,

    #[command(flatten)]
    recipe: Recipe,

    /// The two cores to run on, by position among those this process may use; not two threads of one core
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1, default_values_t = [0, 1])]
    cores: Vec<usize>,
}

/// Measures the rows that `options` ask for, prints each as it comes, then all together, and writes
/// the JSON file; or writes a stream file.
///
/// # Errors
///
/// No row has the wanted prefix; a node, a driver or a peer failed; a file cannot be read or written.
pub(crate) fn compare(options: &Options) -> anyhow::Result<()> {
    if let Some(path) = &options.write_stream {
        return options.recipe.make()?.write(path);
    }
    let stream = options.stream.as_deref().map(Stream::read).transpose()?.map(Rc::new);
    let peers: Vec<_> = options.peers.iter().cloned().map(Peer).collect();
    let mut rows = rows::rows(stream.as_ref(), &peers);
    if let Some(prefix) = &options.only {
        let ids = rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>().join(", ");
        rows.retain(|row| row.id.starts_with(prefix));
        ensure!(!rows.is_empty(), "no row's id starts with `{prefix}`; the rows are {ids}");
    }
    // Opened before the long run, so that a wrong path does not cost it.
    let json = match &options.json {
        Some(path) => {
            Some(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => None,
    };
    let cores = Cores::pin(&options.cores).unwrap_or_else(|error| {
        eprintln!("note: not pinned to two cores ({error:#}); expect a wide spread");
        Cores::unpinned()
    });
    let report = measure(&rows, &Setup::new(cores, options.quick)?, options.rounds)?;
    writeln!(io::stdout(), "{report}")?;
    if let Some(file) = json {
        report.write_json(file).context("cannot write the JSON file")?;
    }
    Ok(())
}

fn measure(rows: &[Row], setup: &Setup, rounds: u32) -> anyhow::Result<Report> {
    let progress = progress_bar(rows.len() as u64 * u64::from(rounds))?;
    let mut report = Report::default();
    for row in rows {
        let blame = || format!("row {}", row.id);
        progress.set_message(row.id.clone());
        let mut round = match row.prepare(setup) {
            Err(error) if row.is_optional() => {
                report.left_out.push((row.id.clone(), format!("{error:#}")));
                progress.inc(rounds.into());
                continue;
            }
            prepared => prepared.with_context(blame)?,
        };
        let mut measured = Vec::new();
        let _top = warm_heap();
        for _ in 0..rounds {
            measured.push(round().with_context(blame)?);
            progress.inc(1);
        }
        let Row { id, what, unit, reference_name, marks, .. } = row;
        let row = RowReport::new(id.clone(), what, unit, reference_name.clone(), marks, &measured)?;
        progress.suspend(|| writeln!(io::stdout(), "{row}\n"))?;
        report.rows.push(row);
    }
    progress.finish_and_clear();
    Ok(report)
}

/// Gives the allocator memory to reuse, above what the row has laid ready: otherwise fresh pages from
/// the operating system are a good part of what is measured.
fn warm_heap() -> Box<[u8; 1024]> {
    let mut blocks: Vec<_> = (0..65_536).map(|_| Box::new([1_u8; 1024])).collect();
    let last = blocks.pop();
    // As long as the last one lives, the memory below it is kept.
    last.unwrap_or_else(|| Box::new([1; 1024]))
}
