//! The measurements, as text and as JSON.

use core::fmt;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use super::rounds::Row;
use crate::statistics::{Summary, Unit};

/// All rows of a run.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<RowReport>,
}

/// One row: ours and the others, best first.
pub(crate) struct RowReport {
    id: &'static str,
    what: &'static str,
    core: &'static str,
    unit: Unit,
    probe_ns: f64,
    ours: Line,
    others: Vec<Line>,
}

#[derive(Clone, Copy)]
struct Line {
    name: &'static str,
    figure: Summary,
}

impl RowReport {
    /// `figures` has one list per candidate, in the row's order.
    ///
    /// # Errors
    ///
    /// A candidate was not measured, or there are not two.
    pub(crate) fn new(row: &Row, figures: &[Vec<f64>], probe_ns: f64) -> anyhow::Result<Self> {
        let mut lines = Vec::new();
        for (candidate, samples) in row.candidates.iter().zip(figures) {
            let name = candidate.name;
            let figure =
                Summary::of(samples).with_context(|| format!("{name} was not measured"))?;
            lines.push(Line { name, figure });
        }
        ensure!(lines.len() > 1, "row {} has nothing to compare", row.id);
        let mut others = lines.split_off(1);
        let ours = lines[0];
        others.sort_by(|a, b| row.unit.ratio(b.figure.median, a.figure.median).total_cmp(&1.0));
        let &Row { id, what, core, unit, .. } = row;
        Ok(Self { id, what, core, unit, probe_ns, ours, others })
    }

    fn best(&self) -> Line {
        self.others[0]
    }

    fn ratio_to(&self, other: Line) -> f64 {
        self.unit.ratio(self.ours.figure.median, other.figure.median)
    }
}

impl fmt::Display for RowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit.name();
        writeln!(
            f,
            "{}: {} (core {}; probe {:.0} ns)",
            self.id, self.what, self.core, self.probe_ns
        )?;
        writeln!(f, "  {:<20}{unit:>14}{:>24}{:>14}", "", "min – max", "ours ÷ this")?;
        write!(f, "  {}{:>14}", self.ours, "")?;
        for &other in &self.others {
            write!(f, "\n  {other}{:>14.2}", self.ratio_to(other))?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { median, min, max } = self.figure;
        let spread = format!("{min:.1} – {max:.1}");
        write!(f, "{:<20}{median:>14.1}{spread:>24}", self.name)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22}{:>5}{:>9}  {:<13}{:>9}{:>20}  {:<18}{:>9}{:>20}{:>8}",
            "row",
            "core",
            "probe ns",
            "unit",
            "ours",
            "min – max",
            "best other",
            "",
            "min – max",
            "ratio"
        )?;
        for row in &self.rows {
            let (ours, best) = (row.ours.figure, row.best().figure);
            let spread = |figure: Summary| format!("{:.1} – {:.1}", figure.min, figure.max);
            writeln!(
                f,
                "{:<22}{:>5}{:>9.0}  {:<13}{:>9.1}{:>20}  {:<18}{:>9.1}{:>20}{:>8.2}",
                row.id,
                row.core,
                row.probe_ns,
                row.unit.name(),
                ours.median,
                spread(ours),
                row.best().name,
                best.median,
                spread(best),
                row.ratio_to(row.best())
            )?;
        }
        Ok(())
    }
}

/// As the JSON file says it.
impl Serialize for RowReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let best = self.best();
        let mut row = serializer.serialize_struct("Row", 8)?;
        row.serialize_field("row", self.id)?;
        row.serialize_field("core", self.core)?;
        row.serialize_field("unit", self.unit.name())?;
        row.serialize_field("ours", &self.ours.figure.median)?;
        row.serialize_field("best", &best.figure.median)?;
        row.serialize_field("best_name", best.name)?;
        row.serialize_field("ratio", &self.ratio_to(best))?;
        row.serialize_field("probe_ns", &self.probe_ns)?;
        row.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spsc::rounds::Candidate;

    fn row(unit: Unit) -> RowReport {
        let candidate = |name| Candidate { name, measure: |_, _| unreachable!("not run") };
        let candidates = ["ours", "low", "high"].map(candidate).into();
        let row = Row { id: "a_row", what: "a test", core: "A", unit, candidates };
        RowReport::new(&row, &[vec![30.0], vec![10.0, 20.0], vec![40.0, 60.0]], 90.0).unwrap()
    }

    #[test]
    fn the_best_other_is_the_highest_rate_or_the_shortest_time() {
        let (rate, time) = (row(Unit::Rate), row(Unit::Time));
        assert_eq!((rate.best().name, rate.ratio_to(rate.best())), ("high", 0.6));
        assert_eq!((time.best().name, time.ratio_to(time.best())), ("low", 0.5));
    }

    #[test]
    fn the_ratio_is_the_last_column() {
        let text = Report { rows: vec![row(Unit::Rate)] }.to_string();
        assert!(text.lines().nth(1).unwrap().ends_with("  0.60"), "{text}");
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = serde_json::to_value(Report { rows: vec![row(Unit::Rate)] }).unwrap();
        let expected = serde_json::json!({"rows": [{
            "row": "a_row", "core": "A", "unit": "M messages/s", "ours": 30.0, "best": 50.0, "best_name": "high",
            "ratio": 0.6, "probe_ns": 90.0
        }]});
        assert_eq!(json, expected);
    }
}
