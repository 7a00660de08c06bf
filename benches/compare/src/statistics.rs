//! Median, spread and ratio of a few samples.

/// Measurements of the rounds of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// Which way a unit is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Million messages per second: more is better.
    Rate,
    /// Nanoseconds per round trip: less is better.
    Time,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "M messages/s",
            Self::Time => "ns",
        }
    }

    /// Returns the factor by which `ours` is better than `other`: above 1 is in our favour in every
    /// unit.
    pub(crate) fn ratio(self, ours: f64, other: f64) -> f64 {
        match self {
            Self::Rate => ours / other,
            Self::Time => other / ours,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_sample_or_the_mean_of_the_two_middle_ones() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[3.0]), Some(Summary { median: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(
            Summary::of(&[9.0, 1.0, 2.0]),
            Some(Summary { median: 2.0, min: 1.0, max: 9.0 })
        );
        assert_eq!(
            Summary::of(&[8.0, 1.0, 4.0, 2.0]),
            Some(Summary { median: 3.0, min: 1.0, max: 8.0 })
        );
    }

    #[test]
    fn ratio_above_one_is_in_our_favour_for_rates_and_for_times() {
        assert_eq!(Unit::Rate.ratio(300.0, 200.0), 1.5);
        assert_eq!(Unit::Time.ratio(100.0, 150.0), 1.5);
    }
}
