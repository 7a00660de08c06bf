//! Runs the rows: every candidate of a row once per round, in rotated order, after each has been
//! given a sample size.

use core::time::Duration;
use std::io::{self, Write as _};

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::report::{Report, RowReport};
use crate::cores::Cores;
use crate::options::{Options, progress_bar};
use crate::statistics::{Summary, Unit};

/// Sample sizes are multiples of this, so that bursts and batches come out even.
const GRAIN: u64 = 64;

/// In each round the candidates take turns this often, and the median counts: a neighbour that
/// disturbs the machine for some tenths of a second then disturbs a lap of every candidate rather
/// than the round of one.
const LAPS: usize = 4;

/// One line of the comparison: several candidates doing the same.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// Which of our channels takes part.
    pub(crate) core: &'static str,
    pub(crate) unit: Unit,
    /// Ours first.
    pub(crate) candidates: Vec<Candidate>,
}

/// One taker of part in a row.
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) measure: Measure,
}

/// Passes that many messages (a multiple of 64) through a new channel and says how long it took,
/// opening it not included.
///
/// Fails if any message was lost, doubled or refused.
pub(crate) type Measure = fn(&Cores, u64) -> anyhow::Result<Duration>;

/// Measures `rows` and prints each as it comes.
///
/// # Errors
///
/// A channel lost messages or stalled.
pub(crate) fn measure(rows: &[Row], cores: &Cores, options: &Options) -> anyhow::Result<Report> {
    let sample = Duration::from_millis(if options.quick { 100 } else { 400 }) / LAPS as u32;
    let steps = rows
        .iter()
        .map(|row| row.candidates.len() as u64 * (u64::from(options.rounds) * LAPS as u64 + 1))
        .sum();
    let progress = progress_bar(steps)?;
    let mut report = Report::default();
    for row in rows {
        progress.set_message(row.id);
        let measured = measure_row(row, cores, options.rounds, sample, &progress)?;
        progress.suspend(|| writeln!(io::stdout(), "{measured}\n"))?;
        report.rows.push(measured);
    }
    progress.finish_and_clear();
    Ok(report)
}

fn measure_row(
    row: &Row,
    cores: &Cores,
    rounds: u32,
    sample: Duration,
    progress: &ProgressBar,
) -> anyhow::Result<RowReport> {
    let candidates = &row.candidates;
    let blame = |candidate: &Candidate| format!("{} in row {}", candidate.name, row.id);
    let mut sizes = Vec::new();
    for candidate in candidates {
        let measure = |messages| (candidate.measure)(cores, messages);
        sizes.push(sample_size(sample, measure).with_context(|| blame(candidate))?);
        progress.inc(1);
    }
    let mut figures = vec![Vec::new(); candidates.len()];
    let mut probes = Vec::new();
    for round in 0..rounds as usize {
        probes.push(cores.probe().context("the probe of the two cores")?);
        let mut laps = vec![Vec::new(); candidates.len()];
        for turn in 0..LAPS * candidates.len() {
            let index = (round + turn) % candidates.len();
            let (candidate, messages) = (&candidates[index], sizes[index]);
            let took = (candidate.measure)(cores, messages).with_context(|| blame(candidate))?;
            laps[index].push(match row.unit {
                Unit::Rate => messages as f64 / took.as_secs_f64() / 1e6,
                Unit::Time => took.as_secs_f64() * 1e9 / messages as f64,
            });
            progress.inc(1);
        }
        for (figures, laps) in figures.iter_mut().zip(laps) {
            figures.extend(Summary::of(&laps).map(|summary| summary.median));
        }
    }
    RowReport::new(row, &figures, Summary::of(&probes).context("no rounds")?.median)
}

/// Returns the number of messages that take about `sample`; the measurement also warms up the
/// candidate.
fn sample_size(
    sample: Duration,
    measure: impl Fn(u64) -> anyhow::Result<Duration>,
) -> anyhow::Result<u64> {
    let mut messages = 16 * GRAIN;
    loop {
        let took = measure(messages)?.max(Duration::from_nanos(1));
        if took * 4 >= sample {
            let wanted = messages as f64 * sample.as_secs_f64() / took.as_secs_f64();
            return Ok((wanted as u64).next_multiple_of(GRAIN).max(GRAIN));
        }
        messages *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_size_fills_the_time_and_is_even_for_batches() {
        let thousand_per_ms = |messages: u64| Ok(Duration::from_micros(messages));
        let size = sample_size(Duration::from_millis(100), thousand_per_ms).unwrap();
        assert!((99_900..=100_100).contains(&size), "{size}");
        assert_eq!(size % GRAIN, 0);
    }

    #[test]
    fn sample_size_passes_on_what_went_wrong() {
        let error = sample_size(Duration::from_millis(1), |_| anyhow::bail!("lost")).unwrap_err();
        assert_eq!(error.to_string(), "lost");
    }
}
