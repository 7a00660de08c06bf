//! The end of drivers, and their effect on remaining callers.

use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::thread;

use bytes::Bytes;
use futures_lite::StreamExt;
use sds_proto::Event;
use sds_runtime::transport::{MemoryGroup, Received, SendError};
use sds_runtime::{DriverEvent, Handle, HandleError, Options, Transport, Wait};

use crate::common::{CHANNEL, config, next_delivery, run};
use crate::drivers::{Driver, join};
use crate::gate::Gate;

pub(crate) fn a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(4_096);
        let (alice, events) = join::<D>(&group, "alice").await;
        drop(events);
        for number in 0..3_000 {
            let published = alice.try_publish(CHANNEL, format!("m{number}"), "content").unwrap();
            if published.await.is_err() {
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
        assert_eq!(unread.iter().filter(|event| is_delivery(event)).count(), 1);

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

pub(crate) fn dropping_the_last_handle_sends_what_is_to_be_sent<D: Driver>() {
    let gate = Gate::new(MemoryGroup::new(1).join());
    // Without timers: nothing but the end lets the driver try again.
    let config = config("alice").to_builder().resend(false).sync(false).repair(false);
    let options = Options::default().flush(Duration::from_secs(60));
    let (handle, mut events) =
        D::new().spawn_with(config.build().unwrap(), gate.transport(), options).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    gate.shut();
    let clone = handle.clone();
    drop(handle);
    clone.publish(CHANNEL, "m1", "content").wait().unwrap();
    while !gate.is_waited_for() {
        thread::yield_now();
    }
    let releaser = {
        let (gate, before) = (gate.clone(), gate.refused());
        thread::spawn(move || {
            while gate.refused() == before {
                thread::yield_now();
            }
            gate.open();
        })
    };
    drop(clone);
    releaser.join().unwrap();
    assert_eq!(events.iter().filter(is_delivery).count(), 1);
    assert!(gate.is_closed());
    assert_eq!(gate.sent(), 1);
}

pub(crate) fn a_shutdown_amid_work_answers_every_call_and_keeps_what_it_accepted<D: Driver>() {
    for _ in 0..20 {
        let options = Options::default().commands(4).events(usize::MAX);
        let transport = MemoryGroup::new(1).join();
        let (handle, mut events) =
            D::new().spawn_with(config("alice"), transport, options).unwrap();
        handle.open(CHANNEL).wait().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|name| {
                let handle = handle.clone();
                thread::spawn(move || publish_until_refused(&handle, name))
            })
            .collect();
        while handle.status(CHANNEL).wait().unwrap().logged < 10 {}
        handle.shutdown().wait();
        let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(events.iter().filter(is_delivery).count(), accepted);
    }
}

/// Returns the number of accepted messages.
fn publish_until_refused(handle: &Handle, name: usize) -> usize {
    let publish = |number| handle.publish(CHANNEL, format!("{name}-{number}"), "content").wait();
    let (accepted, error) = (0..).find_map(|n| Some((n, publish(n).err()?))).unwrap();
    assert_eq!(error.reason, HandleError::Stopped);
    accepted
}

fn is_delivery(event: &DriverEvent) -> bool {
    matches!(event, DriverEvent::Node(Event::Deliver(_)))
}

pub(crate) fn a_panic_of_the_transport_stops_the_driver_and_hangs_nobody<D: Driver>() {
    struct Broken;

    impl Transport for Broken {
        fn max_datagram_len(&self) -> usize {
            usize::MAX
        }

        fn poll_send(&mut self, _: &mut Context<'_>, _: &Bytes) -> Poll<Result<(), SendError>> {
            panic!("as the test wants it")
        }

        fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Received>> {
            Poll::Pending
        }
    }

    let (handle, mut events) = D::spawn(config("alice"), Broken).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    // It is accepted before it is sent.
    drop(handle.publish(CHANNEL, "m1", "content").wait());
    while handle.channels().wait().is_ok() {}
    handle.shutdown().wait();
    while events.iter().next().is_some() {}
}
