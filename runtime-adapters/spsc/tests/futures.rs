//! `Stream` and `Sink`.
#![cfg(feature = "futures")]

use futures_lite::future::{block_on, zip};
use futures_util::{SinkExt, StreamExt, stream};
use sds_spsc::channel;

#[test]
fn a_sink_feeds_a_stream() {
    let (mut sender, receiver) = channel(4);
    let sending = async {
        let mut numbers = stream::iter((0..100).map(Ok));
        sender.send_all(&mut numbers).await.expect("the receiver is alive");
        SinkExt::close(&mut sender).await.expect("closing does not fail");
        assert!(SinkExt::send(&mut sender, 100).await.is_err());
    };
    let ((), received) = block_on(zip(sending, receiver.collect::<Vec<_>>()));
    assert!(received.into_iter().eq(0..100));
}
