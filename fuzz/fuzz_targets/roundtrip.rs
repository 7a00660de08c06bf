//! Any message that a dialect can say decodes to what was encoded.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sds_proto::fuzz::roundtrip(data));
