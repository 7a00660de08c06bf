//! The guide to the metrics has every metric.

use std::fs;
use std::path::Path;

use sds_runtime::Metrics;

#[test]
fn every_metric_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let guide = fs::read_to_string(path).expect("the guide");
    let tables = guide.split_once("## Counters").expect("the tables of all metrics").1;
    for metric in Metrics::default().iter() {
        assert!(tables.contains(&format!("`{}`", metric.name)), "{} is not in it", metric.name);
    }
}
