//! Plots of one run.

use core::error::Error;
use core::ops::Range;
use core::time::Duration;
use std::fs;
use std::path::Path;

use plotters::prelude::{BLUE, ChartBuilder, IntoDrawingArea, LineSeries, RED, SVGBackend, WHITE};
use plotters::style::RGBColor;
use sds_proto::sim::{Plan, Report, Simulation};

const SIZE: (u32, u32) = (900, 420);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

type Points = Vec<(f64, f64)>;

/// Runs the plan once more and draws what happened.
pub(crate) fn plot(dir: &Path, seed: u64, plan: &Plan) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    let mut group = Simulation::new(seed, plan)?;
    group.sample_every(SAMPLE_EVERY);
    // A violation is reported when the seed is run; until then there is something to see.
    let report = group.run().unwrap_or_else(|_| group.report());

    let most = report.published as f64 * plan.nodes as f64;
    let deliveries = over_time(&report, |sample| 100.0 * sample.deliveries as f64 / most);
    let published =
        over_time(&report, |sample| 100.0 * sample.published as f64 / report.published as f64);
    let title = "published (red) and delivered (blue)";
    draw(&dir.join("convergence.svg"), title, "seconds", "% of all", &[published, deliveries])?;

    let repairs = over_time(&report, |sample| sample.repairs.messages as f64);
    let title = "repair answers sent, of the whole group";
    draw(&dir.join("repairs.svg"), title, "seconds", "messages", &[repairs])?;

    let sent = over_time(&report, |sample| sample.sent.bytes as f64 / 1e3);
    let title = "bytes sent, of the whole group";
    draw(&dir.join("bytes.svg"), title, "seconds", "kilobytes", &[sent])?;

    let mut by_member = report.bytes_by_member.clone();
    by_member.sort_unstable();
    let points = by_member.iter().enumerate();
    let points = points.map(|(index, bytes)| (index as f64, *bytes as f64 / 1e3)).collect();
    let title = "bytes sent by each member, least first";
    draw(&dir.join("bytes_by_member.svg"), title, "members", "kilobytes", &[points])
}

/// Samples up to the time at which everything was settled.
fn over_time(report: &Report, value: impl Fn(&sds_proto::sim::Sample) -> f64) -> Points {
    let end = report.settled_at.unwrap_or(report.at);
    let samples = report.samples.iter().take_while(|sample| sample.at <= end);
    samples.map(|sample| (sample.at.as_micros() as f64 / 1e6, value(sample))).collect()
}

fn draw(
    file: &Path,
    title: &str,
    x: &str,
    y: &str,
    lines: &[Points],
) -> Result<(), Box<dyn Error>> {
    const COLOURS: [RGBColor; 2] = [RED, BLUE];
    let all = || lines.iter().flatten();
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(range(all().map(|(x, _)| *x)), range(all().map(|(_, y)| *y)))?;
    chart.configure_mesh().x_desc(x).y_desc(y).draw()?;
    for (points, colour) in lines.iter().zip(COLOURS.iter().skip(2 - lines.len().min(2))) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour))?;
    }
    area.present()?;
    Ok(())
}

/// From 0 to the largest value, and never empty.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    0.0..values.fold(1.0, f64::max)
}
