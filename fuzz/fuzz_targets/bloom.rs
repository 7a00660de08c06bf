//! Filters hold what was put into them, and anybody else's can be looked into.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sds_proto::fuzz::bloom(data));
