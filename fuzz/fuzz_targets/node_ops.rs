//! Whatever happens to a few nodes, no invariant is violated.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sds_proto::fuzz::node_ops(data));
