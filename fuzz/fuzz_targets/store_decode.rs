//! Any records are refused or add up to a state in which a node can go on.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sds_proto::fuzz::store_decode(data));
