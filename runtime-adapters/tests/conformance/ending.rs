//! How drivers end, and what they do for whoever is left.

use futures_lite::StreamExt;
use sds_proto::Effect;
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{Event, HandleError};

use crate::common::{CHANNEL, next_delivery, run};
use crate::drivers::{Driver, join};

pub(crate) fn a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(4_096);
        let (alice, events) = join::<D>(&group, "alice").await;
        drop(events);
        for number in 0..3_000 {
            let published = alice.publish(CHANNEL, format!("m{number}"), "content").await;
            if published.is_err() {
                // As many as may be unacknowledged, and nobody acknowledges.
                assert_eq!(number, 1_000);
                break;
            }
        }
        assert_eq!(alice.status(CHANNEL).await.unwrap().logged, 1_000);
    });
}

pub(crate) fn shutdown_closes_the_transport_and_ends_the_events_after_the_last<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, events) = join::<D>(&group, "alice").await;
        alice.publish(CHANNEL, "m1", "hello").await.unwrap();
        assert_eq!(group.present(), 1);

        alice.clone().shutdown().await;
        assert_eq!(group.present(), 0);
        let unread: Vec<_> = events.collect().await;
        let delivered = |event: &Event| matches!(event, Event::Node(Effect::Deliver(_)));
        assert_eq!(unread.iter().filter(|event| delivered(event)).count(), 1);

        let error = alice.publish(CHANNEL, "m2", "too late").await.unwrap_err();
        assert_eq!((error.reason, error.content), (HandleError::Stopped, "too late".into()));
        assert_eq!(alice.open("another").await, Err(HandleError::Stopped));
        alice.shutdown().await;
    });
}

pub(crate) fn dropping_the_last_handle_shuts_down<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events) = join::<D>(&group, "alice").await;
        let clone = alice.clone();
        drop(alice);
        clone.publish(CHANNEL, "m1", "hello").await.unwrap();
        drop(clone);
        assert!(next_delivery(&mut events).await.own);
        while events.next().await.is_some() {}
        assert_eq!(group.present(), 0);
    });
}

pub(crate) fn handles_work_from_many_threads<D: Driver>() {
    const fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    run(async {
        let (alice, _events) = join::<D>(&MemoryGroup::new(64), "alice").await;
        shared(&alice);
        let threads = ["a", "b", "c", "d"].map(|name| {
            let alice = alice.clone();
            std::thread::spawn(move || {
                for number in 0..25 {
                    let id = format!("{name}{number}");
                    smol::block_on(alice.publish(CHANNEL, id, "content")).unwrap();
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(alice.log(CHANNEL).await.unwrap().entries.len(), 100);
    });
}
