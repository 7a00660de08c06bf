//! Metrics of a node, its driver and its store.

use bytes::Bytes;
use sds_proto::{DeliverySeq, Durability};
use sds_runtime::store::Memory;
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{Metrics, Options, Transport};

use crate::common::{CHANNEL, config, next_delivery, run};
use crate::drivers::{Driver, join, join_with};

pub(crate) fn metrics_tell_of_node_driver_and_store<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(256);
        let records = Memory::default();
        let start = || {
            let options = Options::default().store(records.clone());
            let config = config("alice").to_builder().durability(Durability::Strict);
            join_with::<D>(config.build().unwrap(), group.join(), options)
        };
        let (alice, mut events) = start().await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        for number in 0..5 {
            alice.publish(CHANNEL, format!("a{number}"), "content").await.unwrap();
            next_delivery(&mut bob_events).await;
            bob.publish(CHANNEL, format!("b{number}"), "content").await.unwrap();
            next_delivery(&mut bob_events).await;
        }
        for _ in 0..10 {
            next_delivery(&mut events).await;
        }
        alice.publish(CHANNEL, "a0", "again").await.unwrap_err();
        let junk = Bytes::from_static(b"junk");
        let mut stranger = group.join();
        core::future::poll_fn(|cx| stranger.poll_send(cx, &junk)).await.unwrap();
        let metrics = loop {
            let metrics = alice.metrics().await.unwrap();
            // Bob names them all, sooner or later.
            if metrics.rejected == 1 && metrics.outgoing == 0 && metrics.store_waiting == 0 {
                break metrics;
            }
        };
        let Metrics { delivered, delivered_own, redelivered, refused, channels, .. } = metrics;
        assert_eq!((delivered, delivered_own, redelivered), (10, 5, 0));
        assert_eq!((refused, channels, metrics.channels_loading), (1, 1, 0));
        assert_eq!((metrics.logged, metrics.incoming, metrics.missing), (10, 0, 0));
        assert_eq!((metrics.acked, metrics.sent_new), (5, 5));
        assert_eq!((metrics.store_loads, metrics.store_load_failures), (1, 0));
        assert_eq!((metrics.store_write_failures, metrics.degraded), (0, 0));
        assert!(metrics.store_writes > 0 && metrics.store_operations >= metrics.store_writes);
        assert!(metrics.logged_bytes > 0 && metrics.turns > 0);
        // All messages but the first have a filter.
        assert!(metrics.sent_bytes > 4 * 18_752 && metrics.received_bytes > 4 * 18_752);
        alice.consumed(CHANNEL, DeliverySeq(4)).await.unwrap();
        alice.shutdown().await;

        let (alice, mut events) = start().await;
        for _ in 4..10 {
            next_delivery(&mut events).await;
        }
        let metrics = alice.metrics().await.unwrap();
        assert_eq!((metrics.delivered, metrics.redelivered, metrics.logged), (0, 6, 10));
    });
}
