//! Replays the corpora of the fuzz targets.

use std::fs;

use sds_proto::fuzz;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files = 0;
    for file in fs::read_dir(corpus).expect("the corpus is committed") {
        run(&fs::read(file.expect("listed").path()).expect("readable"));
        files += 1;
    }
    assert!(files >= 2, "{files} files");
}

#[test]
fn decode() {
    replay("decode", fuzz::decode);
}

#[test]
fn bloom() {
    replay("bloom", fuzz::bloom);
}

#[test]
fn roundtrip() {
    replay("roundtrip", fuzz::roundtrip);
}

#[test]
fn node_ops() {
    replay("node_ops", fuzz::node_ops);
}

#[test]
fn store_decode() {
    replay("store_decode", fuzz::store_decode);
}
