//! Rows with their marks, as text and as JSON.

use core::fmt;

use anyhow::Context as _;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::statistics::Summary;

/// The mark of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Mark {
    /// The ratio is at most this.
    AtMost(f64),
    /// The ratio is at least this.
    AtLeast(f64),
    /// The ratio is between these.
    Within(f64, f64),
    /// The value, in nanoseconds, allows at least as many a second.
    PerSecond(f64),
}

/// Measurements of one round.
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) reference: f64,
    pub(crate) details: Vec<Detail>,
}

/// A figure that explains the row's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Detail {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// One row of the report: medians of the rounds.
pub(crate) struct RowReport {
    pub(crate) row: String,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) reference_name: String,
    pub(crate) marks: &'static [Mark],
    value: Summary,
    reference: Summary,
    details: Vec<Detail>,
}

/// All rows of a run, and those that were left out, with the reason.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<RowReport>,
    #[serde(skip)]
    pub(crate) left_out: Vec<(String, String)>,
}

impl Measured {
    /// With nothing to explain.
    pub(crate) const fn plain(value: f64, reference: f64) -> Self {
        Self { value, reference, details: Vec::new() }
    }

    /// Beside a floor, which is the sum of its items.
    pub(crate) fn beside_floor(value: f64, items: Vec<Detail>) -> Self {
        Self { value, reference: items.iter().map(|item| item.value).sum(), details: items }
    }
}

impl Detail {
    pub(crate) const fn ns(name: &'static str, value: f64) -> Self {
        Self { name, value, unit: "ns" }
    }
}

impl Mark {
    fn is_resolved(self, value: f64, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
            Self::Within(least, most) => (least..=most).contains(&ratio),
            Self::PerSecond(least) => 1e9 / value >= least,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "ratio ≤ {most}"),
            Self::AtLeast(least) => write!(f, "ratio ≥ {least}"),
            Self::Within(least, most) => write!(f, "ratio {least} to {most}"),
            Self::PerSecond(least) => write!(f, "≥ {least}/s"),
        }
    }
}

impl RowReport {
    /// # Errors
    ///
    /// There was no round.
    pub(crate) fn new(
        row: String,
        what: &'static str,
        unit: &'static str,
        reference_name: String,
        marks: &'static [Mark],
        rounds: &[Measured],
    ) -> anyhow::Result<Self> {
        let of = |figure: &dyn Fn(&Measured) -> f64| {
            Summary::of(&rounds.iter().map(figure).collect::<Vec<_>>()).context("no rounds")
        };
        let (value, reference) = (of(&|round| round.value)?, of(&|round| round.reference)?);
        let mut details = rounds.first().map_or_else(Vec::new, |round| round.details.clone());
        for (index, detail) in details.iter_mut().enumerate() {
            detail.value = of(&|round| round.details[index].value)?.median;
        }
        Ok(Self { row, what, unit, reference_name, marks, value, reference, details })
    }

    fn ratio(&self) -> f64 {
        self.value.median / self.reference.median
    }

    /// Each mark, and whether it is met.
    fn verdicts(&self) -> impl Iterator<Item = (Mark, bool)> {
        self.marks.iter().map(|mark| (*mark, mark.is_resolved(self.value.median, self.ratio())))
    }

    /// All marks in one text.
    fn verdict(&self) -> String {
        let verdict = |(mark, is_resolved)| {
            format!("{mark}: {}", if is_resolved { "met" } else { "NOT MET" })
        };
        self.verdicts().map(verdict).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for RowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { median, min, max } = self.value;
        writeln!(f, "{}: {}", self.row, self.what)?;
        let (value, min, max) = (Figure(median), Figure(min), Figure(max));
        writeln!(f, "  {value} {} ({min} – {max})", self.unit)?;
        for Detail { name, value, unit } in &self.details {
            writeln!(f, "    {name}: {} {unit}", Figure(*value))?;
        }
        let reference = Figure(self.reference.median);
        let (name, ratio) = (&self.reference_name, Figure(self.ratio()));
        write!(f, "  {name}: {reference}, ratio {ratio}")?;
        if !self.marks.is_empty() {
            write!(f, "; {}", self.verdict())?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| row | ours | unit | beside | | ratio | mark |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            let (value, reference) = (Figure(row.value.median), Figure(row.reference.median));
            let (id, unit, name) = (&row.row, row.unit, &row.reference_name);
            let (ratio, verdict) = (Figure(row.ratio()), row.verdict());
            writeln!(
                f,
                "| `{id}` | {value} | {unit} | {name} | {reference} | {ratio} | {verdict} |"
            )?;
        }
        for (row, reason) in &self.left_out {
            writeln!(f, "{row} was left out: {reason}")?;
        }
        let verdicts: Vec<_> = self.rows.iter().flat_map(RowReport::verdicts).collect();
        let met = verdicts.iter().filter(|(_, is_resolved)| *is_resolved).count();
        write!(f, "{met} of {} marks met", verdicts.len())
    }
}

/// As the JSON file says it.
impl Serialize for RowReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Row", 6)?;
        row.serialize_field("row", &self.row)?;
        row.serialize_field("unit", self.unit)?;
        row.serialize_field("value", &self.value.median)?;
        row.serialize_field("reference", &self.reference.median)?;
        row.serialize_field("reference_name", &self.reference_name)?;
        row.serialize_field("ratio", &self.ratio())?;
        row.end()
    }
}

/// With as many digits as say something.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        let digits = if value.fract() == 0.0 || value.abs() >= 1_000.0 {
            0
        } else if value.abs() >= 10.0 {
            1
        } else {
            2
        };
        write!(f, "{value:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(marks: &'static [Mark]) -> RowReport {
        let round = |value, item| Measured::beside_floor(value, vec![Detail::ns("item", item)]);
        let rounds = [round(100.0, 50.0), round(300.0, 60.0), round(120.0, 60.0)];
        RowReport::new("a_row".into(), "a test", "ns", "floor".into(), marks, &rounds).unwrap()
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_and_the_mark_is_held_to_it() {
        let text = row(&[Mark::AtMost(2.0), Mark::AtMost(1.9)]).to_string();
        let last = text.lines().last().unwrap();
        assert_eq!(last, "  floor: 60, ratio 2; ratio ≤ 2: met, ratio ≤ 1.9: NOT MET");
        assert!(text.contains("item: 60 ns"), "{text}");
    }

    #[test]
    fn marks_are_met_at_their_bounds_and_not_beyond() {
        assert!(
            Mark::AtLeast(50.0).is_resolved(1.0, 50.0)
                && !Mark::AtLeast(50.0).is_resolved(1.0, 49.9)
        );
        let within = Mark::Within(0.8, 1.2);
        assert!(within.is_resolved(1.0, 0.8) && within.is_resolved(1.0, 1.2));
        assert!(!within.is_resolved(1.0, 0.79) && !within.is_resolved(1.0, 1.21));
        let rate = Mark::PerSecond(400_000.0);
        assert!(rate.is_resolved(2_500.0, 9.0) && !rate.is_resolved(2_501.0, 9.0));
    }

    #[test]
    fn json_has_the_documented_fields() {
        let left_out = vec![("js_send".into(), "there is no npm".into())];
        let json = serde_json::to_value(Report { rows: vec![row(&[])], left_out }).unwrap();
        let expected = serde_json::json!({"rows": [{
            "row": "a_row", "unit": "ns", "value": 120.0, "reference": 60.0,
            "reference_name": "floor", "ratio": 2.0
        }]});
        assert_eq!(json, expected);
    }

    #[test]
    fn what_was_left_out_is_said() {
        let left_out = vec![("js_send".into(), "there is no npm".into())];
        let text = Report { rows: vec![row(&[Mark::AtMost(2.0)])], left_out }.to_string();
        assert!(text.contains("js_send was left out: there is no npm"), "{text}");
        assert!(text.ends_with("1 of 1 marks met"), "{text}");
    }
}
