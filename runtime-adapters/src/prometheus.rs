//! Metrics as text for Prometheus.

use core::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text::encode};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Metric, MetricKind, Metrics};

/// The metrics of one node or of several in the OpenMetrics text format, which Prometheus scrapes
/// as `application/openmetrics-text; version=1.0.0; charset=utf-8`. Each node has a name of its
/// own, which becomes the label `node`.
///
/// Names are those of the fields of [`Metrics`] behind `sds_`; counters end in `_total`, and what
/// is in microseconds there is in seconds here.
///
/// ```
/// let metrics = sds_runtime::Metrics::default();
/// let text = sds_runtime::prometheus::text([("alice", metrics)]);
/// assert!(text.contains("\nsds_sent_new_total{node=\"alice\"} 0\n"));
/// ```
pub fn text<'a>(nodes: impl IntoIterator<Item = (&'a str, Metrics)>) -> String {
    let nodes = nodes.into_iter().map(|(name, metrics)| (escaped(name), metrics)).collect();
    let mut registry = Registry::with_prefix("sds");
    registry.register_collector(Box::new(Nodes(nodes)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// A label's value as the format wants it between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[derive(Debug)]
struct Nodes(Vec<(String, Metrics)>);

impl Collector for Nodes {
    /// Family by family, as the format wants it, and in each the nodes.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = Metrics::default().iter();
        for (index, Metric { name, help, kind, .. }) in families.enumerate() {
            let seconds = name.strip_suffix("_micros");
            let unit = seconds.map(|_| &Unit::Seconds);
            let kind = match kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let name = seconds.unwrap_or(name);
            let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
            for (node, metrics) in &self.0 {
                let labels = [("node", node.as_str())];
                let sample = family.encode_family(&labels)?;
                let value = metrics.iter().nth(index).map_or(0, |metric| metric.value);
                match (kind, seconds) {
                    (MetricType::Counter, None) => ConstCounter::new(value).encode(sample)?,
                    (MetricType::Counter, Some(_)) => {
                        ConstCounter::new(value as f64 / 1e6).encode(sample)?;
                    }
                    _ => {
                        let value = i64::try_from(value).unwrap_or(i64::MAX);
                        ConstGauge::new(value).encode(sample)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The samples of `text`, which must be OpenMetrics: each family begins with its help and its
    /// type, perhaps its unit, has samples named after it, and is told once.
    fn samples(text: &str) -> Vec<(String, String, f64)> {
        let mut lines = text.lines().peekable();
        let (mut families, mut samples) = (BTreeSet::new(), Vec::new());
        loop {
            let line = lines.next().unwrap();
            if line == "# EOF" {
                assert_eq!(lines.next(), None);
                assert!(text.ends_with('\n'));
                return samples;
            }
            let (family, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
            assert!(!help.contains('\\') && !help.is_empty());
            assert!(family.starts_with("sds_"));
            assert!(family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(families.insert(family), "{family} twice");
            let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
            let kind = kind.strip_prefix(family).unwrap();
            let suffix = match kind {
                " counter" => "_total",
                " gauge" => "",
                other => panic!("{family} is a{other}"),
            };
            if let Some(unit) = lines.next_if(|line| line.starts_with("# UNIT ")) {
                assert_eq!(unit, format!("# UNIT {family} seconds"));
                assert!(family.ends_with("_seconds"));
            }
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                let rest = sample.strip_prefix(family).unwrap().strip_prefix(suffix).unwrap();
                let rest = rest.strip_prefix("{node=\"").unwrap();
                let (node, value) = rest.rsplit_once("\"} ").unwrap();
                samples.push((family.into(), node.into(), value.parse().unwrap()));
            }
        }
    }

    #[test]
    fn all_metrics_of_all_nodes_are_told_in_the_format() {
        let alice = Metrics { sent_new: 7, store_write_micros: 1_500_000, ..Metrics::default() };
        let bob = Metrics { sent_new: 8, logged: u64::MAX, ..Metrics::default() };
        let samples = samples(&text([("alice", alice), ("bob", bob)]));
        assert_eq!(samples.len(), 2 * alice.iter().count());
        let value = |family: &str, node: &str| {
            let mut found = samples.iter().filter(|(f, n, _)| f == family && n == node);
            let (_, _, value) = found.next().unwrap();
            assert!(found.next().is_none());
            *value
        };
        assert_eq!(value("sds_sent_new", "alice"), 7.0);
        assert_eq!(value("sds_sent_new", "bob"), 8.0);
        assert_eq!(value("sds_store_write_seconds", "alice"), 1.5);
        assert_eq!(value("sds_logged", "bob"), i64::MAX as f64);
    }

    #[test]
    fn a_family_is_written_as_scrapers_expect_it() {
        let text = text([("a\"b\\c\nd", Metrics::default())]);
        let family = "# HELP sds_channels Channels the node takes part in.\n\
                      # TYPE sds_channels gauge\n\
                      sds_channels{node=\"a\\\"b\\\\c\\nd\"} 0\n";
        assert!(text.contains(family), "{text}");
        samples(&text);
    }

    #[test]
    fn no_node_is_no_sample() {
        assert_eq!(samples(&text([])), []);
    }
}
