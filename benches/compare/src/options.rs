//! Options of both comparisons: rows, duration, cores, and the file of the result.

use core::fmt::Display;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cores::Cores;

/// Options of both comparisons.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of rounds of each row; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Shorter samples: about one minute in all with 5 rounds
    #[arg(long)]
    pub(crate) quick: bool,

    /// Also write the result as JSON: {"rows":[…]}, with the fields of a row that are listed above
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Measure only the rows whose id starts so, as in `--only async` or `--only receive`
    #[arg(long, value_name = "ROW_PREFIX")]
    only: Option<String>,

    /// The two cores to run on, by position among those this process may use; not two threads of
    /// one core
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1, default_values_t = [0, 1])]
    cores: Vec<usize>,
}

impl Options {
    /// Has those of `rows` measured that are wanted, prints the report, and writes it as JSON.
    ///
    /// # Errors
    ///
    /// No row has the wanted prefix; the JSON file cannot be written; what `measure` reports.
    pub(crate) fn compare<R, T: Display + Serialize>(
        &self,
        mut rows: Vec<R>,
        id: fn(&R) -> &str,
        measure: impl FnOnce(&[R], Cores) -> anyhow::Result<T>,
    ) -> anyhow::Result<()> {
        if let Some(prefix) = &self.only {
            let ids = rows.iter().map(id).collect::<Vec<_>>().join(", ");
            rows.retain(|row| id(row).starts_with(prefix));
            ensure!(!rows.is_empty(), "no row's id starts with `{prefix}`; the rows are {ids}");
        }
        let create = |path: &PathBuf| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        };
        // Opened before the long run, so that a wrong path does not cost it.
        let json = self.json.as_ref().map(create).transpose()?;
        let cores = Cores::pin(&self.cores).unwrap_or_else(|error| {
            eprintln!("note: not pinned to two cores ({error:#}); expect a wide spread");
            Cores::unpinned()
        });
        let report = measure(&rows, cores)?;
        writeln!(io::stdout(), "{report}")?;
        if let Some(mut file) = json {
            serde_json::to_writer_pretty(&mut file, &report)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(file))
                .context("cannot write the JSON file")?;
        }
        Ok(())
    }
}

pub(crate) fn progress_bar(steps: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, about {eta} left")?;
    // It redraws between samples only: no ticker may run beside them.
    Ok(ProgressBar::new(steps).with_style(style))
}
