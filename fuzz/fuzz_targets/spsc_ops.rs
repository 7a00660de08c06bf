//! Any operations on a channel do what they do to a queue.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sds_spsc::fuzz::spsc_ops(data));
