//! Plots of one run.

use core::error::Error;
use core::ops::Range;
use core::time::Duration;
use std::fs;
use std::path::Path;

use plotters::prelude::{
    BLACK, BLUE, ChartBuilder, Circle, Color, DashedLineSeries, EmptyElement, IntoDrawingArea,
    LineSeries, PathElement, RED, SVGBackend, SeriesLabelPosition, WHITE,
};
use sds_proto::sim::{Plan, Report, Sample, Simulation};
use sds_proto::{Instant, SendReason};

use crate::args::about;

const SIZE: (u32, u32) = (900, 460);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Longest line of settings below a title, in characters.
const MAX_SETTINGS: usize = 120;

type Points = Vec<(f64, f64)>;

/// The plot that is drawn into one file.
struct Plot<'a> {
    file: &'a str,
    title: &'a str,
    x: &'a str,
    y: &'a str,
    lines: Vec<Line>,
    /// When the group was settled, if that is before the end.
    settled: Option<f64>,
}

struct Line {
    name: &'static str,
    points: Points,
    style: Style,
}

/// Lines differ by more than their colour.
#[derive(Clone, Copy)]
enum Style {
    Solid,
    Dashed,
    Dots,
}

/// Runs the plan once more and draws what happened.
pub(crate) fn plot(dir: &Path, seed: u64, plan: &Plan) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(dir).map_err(about("--svg", dir))?;
    let mut group = Simulation::new(seed, plan)?;
    group.sample_every(SAMPLE_EVERY);
    // A violation is reported when the seed is run; until then there is something to see.
    let report = group.run().unwrap_or_else(|_| group.report());
    let settled = report.settled_at.unwrap_or(report.at);

    let percent = |count: u64, all: u64| 100.0 * count as f64 / all.max(1) as f64;
    let (all, most) = (report.published, report.published * plan.nodes);
    let published =
        until(settled, &report, |s| percent(s.published, all), percent(report.published, all));
    let delivered =
        until(settled, &report, |s| percent(s.deliveries, most), percent(report.deliveries, most));
    let repairs = report.sent(SendReason::Repair).messages as f64;
    let repairs = until(report.at, &report, |s| s.repairs.messages as f64, repairs);
    let bytes = report.sent_in_all().bytes as f64;
    let bytes = until(report.at, &report, |s| s.sent.bytes as f64, bytes);
    let mut by_member = report.bytes_by_member.clone();
    by_member.sort_unstable();
    let by_member = (1..).zip(by_member).map(|(member, bytes)| (f64::from(member), bytes as f64));

    let line = |name, style, points| Line { name, points, style };
    for plot in [
        Plot {
            file: "convergence.svg",
            title: "Published and delivered, by all members",
            x: "seconds",
            y: "% of all",
            lines: vec![
                line("published", Style::Dashed, published),
                line("delivered", Style::Solid, delivered),
            ],
            settled: None,
        },
        Plot {
            file: "repairs.svg",
            title: "Repair answers sent, by all members",
            x: "seconds",
            y: "messages",
            lines: vec![line("repair answers", Style::Solid, repairs)],
            settled: report.settled_at.map(seconds),
        },
        Plot {
            file: "bytes.svg",
            title: "Bytes sent, by all members",
            x: "seconds",
            y: "bytes",
            lines: vec![line("bytes", Style::Solid, bytes)],
            settled: report.settled_at.map(seconds),
        },
        Plot {
            file: "bytes_by_member.svg",
            title: "Bytes sent, by each member",
            x: "members, least first",
            y: "bytes",
            lines: vec![line("a member", Style::Dots, by_member.collect())],
            settled: None,
        },
    ] {
        let file = dir.join(plot.file);
        plot.draw(&file, &settings(seed, plan)).map_err(about("--svg", &file))?;
    }
    Ok(())
}

/// The seed and what the plan says, in one line.
fn settings(seed: u64, plan: &Plan) -> String {
    let plan = plan.to_string();
    let mut text = format!("seed {seed}");
    for line in plan.lines() {
        if text.len() + line.len() > MAX_SETTINGS {
            return text + ", …";
        }
        text += &format!(", {line}");
    }
    text
}

/// Samples up to `end`, and at `end` the total that is said in words as well.
fn until(end: Instant, report: &Report, value: impl Fn(&Sample) -> f64, total: f64) -> Points {
    let samples = report.samples.iter().take_while(|sample| sample.at < end);
    let points = samples.map(|sample| (seconds(sample.at), value(sample)));
    points.chain([(seconds(end), total)]).collect()
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

impl Plot<'_> {
    fn draw(&self, file: &Path, settings: &str) -> Result<(), Box<dyn Error>> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let (xs, ys) = (range(all().map(|(x, _)| *x)), range(all().map(|(_, y)| *y)));
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled(self.title, ("sans-serif", 18))?;
        let area = area.titled(settings, ("sans-serif", 13))?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .margin_right(32)
            .x_label_area_size(36)
            .y_label_area_size(88)
            .build_cartesian_2d(xs, ys.clone())?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|value| whole(*value))
            .y_label_formatter(&|value| whole(*value))
            .draw()?;
        let (solid, dashed) = (BLUE.stroke_width(2), RED.stroke_width(2));
        for line in &self.lines {
            let points = line.points.iter().copied();
            match line.style {
                Style::Solid => chart
                    .draw_series(LineSeries::new(points, solid))?
                    .label(line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], solid)),
                Style::Dashed => chart
                    .draw_series(DashedLineSeries::new(points, 8, 5, dashed))?
                    .label(line.name)
                    .legend(move |at| {
                        let dash = |x| PathElement::new([(x, 0), (x + 6, 0)], dashed);
                        EmptyElement::at(at) + dash(0) + dash(9) + dash(18)
                    }),
                Style::Dots => chart
                    .draw_series(points.map(|at| Circle::new(at, 3, BLUE.filled())))?
                    .label(line.name)
                    .legend(|(x, y)| Circle::new((x + 12, y), 3, BLUE.filled())),
            };
        }
        if let Some(at) = self.settled {
            let line = [(at, ys.start), (at, ys.end)];
            chart
                .draw_series(DashedLineSeries::new(line, 2, 5, BLACK.stroke_width(1)))?
                .label(format!("settled after {at:.1} s"))
                .legend(|at| {
                    let dot = |x| PathElement::new([(x, 0), (x + 2, 0)], BLACK);
                    EmptyElement::at(at) + dot(2) + dot(9) + dot(16)
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// A whole number with marks between thousands; nothing for others, which are between such.
fn whole(value: f64) -> String {
    if (value - value.round()).abs() > 1e-9 {
        return String::new();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// From 0 to the largest value, and never empty.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    0.0..values.fold(1.0, f64::max)
}
