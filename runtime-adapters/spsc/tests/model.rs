//! Any sequence of operations does what it does to a bounded queue. Not under Miri, where
//! generating the sequences takes minutes; the other tests go through the same code.
#![cfg(not(miri))]

use std::fs;

use proptest::prelude::*;
use sds_spsc::fuzz::spsc_ops;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_operations(data in prop::collection::vec(any::<u8>(), 2..400)) {
        spsc_ops(&data);
    }
}

#[test]
fn the_fuzzing_corpus() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/spsc_ops");
    let mut files = 0;
    for file in fs::read_dir(corpus).expect("the corpus is committed") {
        spsc_ops(&fs::read(file.expect("listed").path()).expect("readable"));
        files += 1;
    }
    assert!(files >= 2, "{files} files");
}
