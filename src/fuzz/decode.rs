//! Datagrams, and parts of nim-sds's snapshots, as a peer might send them.

use bytes::{Bytes, BytesMut};

use crate::config::Config;
use crate::snapshot::Snapshot;
use crate::time::{Instant, Now, UnixMillis};
use crate::wire::nim_snapshot::{ChannelData, ChannelMeta, HistoryUpdate};
use crate::wire::{self, Limits, Message, NimFilter, WireDialect};

/// Any bytes decode or are refused, in each dialect; what decodes is what the detection says, and
/// encodes to bytes that decode to the same, in whatever form of the nim dialect.
pub fn decode(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    let limits = Limits::default();
    let detected = wire::decode(&datagram, &limits);
    for dialect in [WireDialect::Lip109, WireDialect::NimSds] {
        let Ok(message) = wire::decode_as(dialect, &datagram, &limits) else { continue };
        survives_another_trip(dialect, &message);
        let channel_id = wire::channel_id(dialect, data);
        assert_eq!(channel_id, Ok(message.channel_id.as_bytes()));
        assert_eq!(detected, Ok((dialect, message)));
    }
    let _refused = NimFilter::decode(data);
    if let Ok(meta) = ChannelMeta::decode(&datagram, &limits) {
        imports(&ChannelData { meta, ..ChannelData::default() });
    }
    if let Ok(data) = ChannelData::decode(&datagram, &limits) {
        imports(&data);
    }
    let _refused = HistoryUpdate::decode(&datagram, &limits);
}

pub(super) fn survives_another_trip(dialect: WireDialect, message: &Message) {
    let mut buffer = BytesMut::new();
    let borrowed = message.borrowed();
    borrowed.as_outgoing().encode(dialect, &mut buffer);
    assert_eq!(buffer.len(), borrowed.as_outgoing().encoded_len(dialect));
    let again = wire::decode(&buffer.freeze(), &Limits::default());
    let formless = |message: Message| Message { nim_form: None, ..message };
    let again = again.map(|(dialect, message)| (dialect, formless(message)));
    assert_eq!(again, Ok((dialect, formless(message.clone()))));
}

/// Whatever nim-sds has stored becomes a state that a channel can be in.
fn imports(data: &ChannelData) {
    let config = Config::builder().max_log_messages(2).max_outgoing(2).max_missing(3);
    let config = config.build().expect("valid settings");
    for now in [Now::without_wall(Instant::ZERO), Now::new(Instant::ZERO, UnixMillis(1 << 40))] {
        let state = Snapshot::from_nim_sds(data, &"c".into(), &config, now);
        assert_eq!(state.check(), Ok(()), "{data:?}");
    }
}
