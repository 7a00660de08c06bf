//! Any datagram decodes or is refused; what decodes encodes to bytes that decode to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sds_proto::fuzz::decode(data));
