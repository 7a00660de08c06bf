//! The protocol itself: what a message costs ours, beside the least that it could, and beside
//! others.

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

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use clap::Args;

use self::peer::Peer;
use self::report::{Report, RowReport};
use self::rows::Row;
use self::setup::Setup;
use self::stream::{Recipe, Stream};
use crate::options::{Options, progress_bar};

/// Options of `sds` alone: messages of others, and others that receive ours.
#[derive(Args)]
pub(crate) struct Streams {
    /// Also measure this: a shell command that receives a stream file, `{}` or else its standard
    /// input, and prints the seconds that took as its last line. May be repeated
    #[arg(long = "peer", value_name = "COMMAND")]
    peers: Vec<String>,

    /// Also receive the messages of a stream file: each after its length in bytes as a
    /// little-endian 32-bit number
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,

    /// Only write a stream file, as the following options say
    #[arg(long, value_name = "FILE")]
    write_stream: Option<PathBuf>,

    #[command(flatten)]
    recipe: Recipe,
}

/// Measures the rows that `options` ask for, prints each as it comes, then all together, and writes
/// the JSON file; or writes a stream file.
///
/// # Errors
///
/// No row has the wanted prefix; a node, a driver or a peer failed; a file cannot be read or
/// written.
pub(crate) fn compare(options: &Options, streams: &Streams) -> anyhow::Result<()> {
    if let Some(path) = &streams.write_stream {
        return streams.recipe.make()?.write(path);
    }
    let stream = streams.stream.as_deref().map(Stream::read).transpose()?.map(Rc::new);
    let peers: Vec<_> = streams.peers.iter().cloned().map(Peer).collect();
    let rows = rows::rows(stream.as_ref(), &peers);
    options.compare(
        rows,
        |row| &row.id,
        |rows, cores| measure(rows, &Setup::new(cores, options.quick)?, options.rounds),
    )
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

/// Gives the allocator memory to reuse, above what the row has laid ready: otherwise fresh pages
/// from the operating system are a good part of what is measured.
fn warm_heap() -> Box<[u8; 1024]> {
    let mut blocks: Vec<_> = (0..65_536).map(|_| Box::new([1_u8; 1024])).collect();
    let last = blocks.pop();
    // As long as the last one lives, the memory below it is kept.
    last.unwrap_or_else(|| Box::new([1; 1024]))
}
