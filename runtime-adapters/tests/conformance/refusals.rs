//! Refusals have their reason.

use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use sds_proto::{RejectReason, SendReason};
use sds_runtime::transport::{Memory, MemoryGroup, Peer, Received, SendError};
use sds_runtime::{DriverEvent, HandleError, LogSnapshot, Options, Transport};

use crate::common::{CHANNEL, config, next, next_delivery, run};
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

pub(crate) fn a_message_too_large_for_the_transport_is_refused_with_what_fits<D: Driver>() {
    run(async {
        let group = MemoryGroup::with_max_datagram_len(64, 20_000);
        let (alice, _events) = join::<D>(&group, "alice").await;
        let (_bob, mut bob_events) = join::<D>(&group, "bob").await;
        let content = Bytes::from(vec![7; 2_000]);
        let error = alice.publish(CHANNEL, "m1", content.clone()).await.unwrap_err();
        assert_eq!(error.content, content);
        let HandleError::Rejected(RejectReason::DatagramTooLong { limit, max_content, .. }) =
            error.reason
        else {
            panic!("{error}");
        };
        assert_eq!(limit, 20_000);
        assert!(error.to_string().contains(&max_content.to_string()), "{error}");
        // Nobody waits for what was refused.
        alice.publish(CHANNEL, "m2", content.slice(..max_content)).await.unwrap();
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m2");
        // Settings of a channel's own change nothing about the transport.
        let roomy = config("alice").to_builder().bloom_capacity(10).build().unwrap();
        alice.open_with("another", roomy.into()).await.unwrap();
        let error = alice.publish("another", "m1", vec![7; 21_000]).await.unwrap_err();
        assert!(error.to_string().contains("20000"), "{error}");
        assert_eq!(alice.metrics().await.unwrap().too_large, 0);
    });
}

pub(crate) fn a_message_of_others_too_large_to_pass_on_is_reported<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let (bob, _bob_events) = join::<D>(&group, "bob").await;
        let narrow = Narrow(group.join(), 25_000);
        let (alice, mut events) =
            D::new().spawn_with(config("alice"), narrow, Options::default()).unwrap();
        alice.open(CHANNEL).await.unwrap();
        bob.publish(CHANNEL, "large", vec![7; 30_000]).await.unwrap();
        next_delivery(&mut events).await;
        bob.shutdown().await;
        // A newcomer asks who is left.
        let (_carol, _carol_events) = join::<D>(&group, "carol").await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        let too_large = |event| match event {
            DriverEvent::TooLarge { message_id, reason, len, limit, .. } => {
                Some((message_id, reason, len, limit))
            }
            _ => None,
        };
        let (message_id, reason, len, limit) = next(&mut events, too_large).await;
        assert_eq!((message_id, reason, limit), ("large".into(), SendReason::Repair, 25_000));
        assert!(len > 30_000, "{len}");
    });
}

/// Sends no more than so many bytes at once, and hears everything.
struct Narrow(Memory, usize);

impl Transport for Narrow {
    fn max_datagram_len(&self) -> usize {
        self.1
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &Bytes) -> Poll<Result<(), SendError>> {
        assert!(datagram.len() <= self.1);
        self.0.poll_send(cx, datagram)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        self.0.poll_recv(cx)
    }
}

pub(crate) fn a_refused_datagram_is_reported_with_its_source<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join::<D>(&group, "alice").await;
        let mut stranger = group.join();
        let junk = Bytes::from_static(b"\xff\xff\xff");
        core::future::poll_fn(|cx| stranger.poll_send(cx, &junk)).await.unwrap();
        let refused = |event| match event {
            DriverEvent::DatagramRejected { reason, source, len } => Some((reason, source, len)),
            _ => None,
        };
        let (reason, source, len) = next(&mut events, refused).await;
        assert!(matches!(reason, RejectReason::Decode(_)), "{reason:?}");
        assert_eq!((source, len), (Peer::Member(1), 3));
        assert_eq!(alice.metrics().await.unwrap().rejected, 1);
    });
}
