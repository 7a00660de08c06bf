//! Any bytes decode or are refused; what decodes encodes to bytes that decode to the same.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use sds_proto::wire::{self, Limits};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let Ok((dialect, message)) = wire::decode(&Bytes::copy_from_slice(data), &limits) else {
        return;
    };
    let mut encoded = BytesMut::new();
    message.as_outgoing().encode(dialect, &mut encoded);
    assert_eq!(wire::decode(&encoded.freeze(), &limits), Ok((dialect, message)));
});
