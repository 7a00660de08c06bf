//! What is refused says why.

use std::sync::Arc;

use bytes::Bytes;
use sds_proto::RejectReason;
use sds_runtime::transport::{MemoryGroup, Peer};
use sds_runtime::{Event, HandleError, LogSnapshot, Transport};

use crate::common::{CHANNEL, config, next, run};
use crate::drivers::{Driver, join};

pub(crate) fn a_refused_publish_says_why_and_gives_the_content_back<D: Driver>() {
    run(async {
        let (alice, _events) = join::<D>(&MemoryGroup::new(64), "alice").await;
        let content = Bytes::from_static(b"precious");

        let error = alice.publish("elsewhere", "m1", content.clone()).await.unwrap_err();
        assert_eq!(error.reason, HandleError::Rejected(RejectReason::ChannelNotOpen));
        assert_eq!(error.content, content);

        alice.publish(CHANNEL, "m1", error.content).await.unwrap();
        let error = alice.publish(CHANNEL, "m1", content.clone()).await.unwrap_err();
        assert_eq!(error.reason, HandleError::Rejected(RejectReason::IdKnown));
        assert_eq!(error.content, content);
        assert_eq!(error.to_string(), format!("not published: {}", RejectReason::IdKnown));
    });
}

pub(crate) fn other_refusals_say_why<D: Driver>() {
    run(async {
        let (alice, _events) = join::<D>(&MemoryGroup::new(64), "alice").await;
        let rejected = |reason| Err(HandleError::Rejected(reason));
        assert_eq!(alice.open(CHANNEL).await, rejected(RejectReason::ChannelAlreadyOpen));
        assert_eq!(alice.close("elsewhere").await, rejected(RejectReason::ChannelNotOpen));
        assert_eq!(alice.log("elsewhere").await, rejected_log());
        assert!(alice.status("elsewhere").await.is_err());
        assert_eq!(alice.close(CHANNEL).await, Ok(()));
        assert_eq!(alice.log(CHANNEL).await, rejected_log());
        alice.open_with(CHANNEL, Arc::new(config("alice"))).await.unwrap();
    });
}

fn rejected_log() -> Result<LogSnapshot, HandleError> {
    Err(HandleError::Rejected(RejectReason::ChannelNotOpen))
}

pub(crate) fn a_datagram_too_large_for_the_transport_is_reported_with_its_limit<D: Driver>() {
    run(async {
        let group = MemoryGroup::with_max_datagram_len(64, 100);
        let (alice, mut events) = join::<D>(&group, "alice").await;
        alice.publish(CHANNEL, "m1", vec![7; 200]).await.unwrap();
        let too_large = |event| match event {
            Event::TooLarge { message_id, len, limit, .. } => Some((message_id, len, limit)),
            _ => None,
        };
        let (message_id, len, limit) = next(&mut events, too_large).await;
        assert_eq!((message_id, limit), ("m1".into(), 100));
        assert!(len > 200, "{len}");
        assert_eq!(alice.metrics().await.unwrap().sent_new, 0);
    });
}

pub(crate) fn a_refused_datagram_is_reported_with_its_source<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join::<D>(&group, "alice").await;
        let mut stranger = group.join();
        let junk = Bytes::from_static(b"\xff\xff\xff");
        core::future::poll_fn(|cx| stranger.poll_send(cx, &junk)).await.unwrap();
        let refused = |event| match event {
            Event::DatagramRejected { reason, source, len } => Some((reason, source, len)),
            _ => None,
        };
        let (reason, source, len) = next(&mut events, refused).await;
        assert!(matches!(reason, RejectReason::Decode(_)), "{reason:?}");
        assert_eq!((source, len), (Peer::Member(1), 3));
        assert_eq!(alice.metrics().await.unwrap().rejected, 1);
    });
}
