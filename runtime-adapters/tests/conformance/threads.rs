//! Handles in the hands of many threads.

use std::collections::BTreeMap;
use std::thread;

use sds_proto::{Config, Event};
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, Handle, HandleError, Wait};

use crate::common::{CHANNEL, config};
use crate::drivers::Driver;

/// Application threads.
const THREADS: usize = 8;
/// Messages of each: 100,000 in all.
const EACH: usize = 12_500;

/// Room for all messages, though nobody acknowledges them, and filters of little more than
/// nothing, which would take most of the time.
fn roomy() -> Config {
    let all = THREADS * EACH;
    config("alice")
        .to_builder()
        .max_outgoing(all)
        .max_log_messages(all)
        .max_log_bytes(1 << 30)
        .max_ids(2 * all)
        .bloom_capacity(10)
        .resend(false)
        .sync(false)
        .repair(false)
        .build()
        .unwrap()
}

/// Every other thread waits for each answer, the others have many requests in flight.
fn publish_all(handle: &Handle, name: usize) {
    let mut in_flight = Vec::new();
    for number in 0..EACH {
        let id = format!("{name}-{number}");
        if name.is_multiple_of(2) {
            handle.publish(CHANNEL, id, "content").wait().unwrap();
            continue;
        }
        match handle.try_publish(CHANNEL, id.as_str(), "content") {
            Ok(publication) => in_flight.push(publication),
            Err(full) => {
                assert_eq!(full.reason, HandleError::Full);
                handle.publish(CHANNEL, id, full.content).wait().unwrap();
            }
        }
    }
    in_flight.into_iter().for_each(|publication| publication.wait().unwrap());
}

pub(crate) fn many_threads_publish_and_nothing_is_lost_or_overtaken<D: Driver>() {
    let (handle, mut events) = D::spawn(roomy(), MemoryGroup::new(1).join()).unwrap();
    handle.open(CHANNEL).wait().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|name| {
            let handle = handle.clone();
            thread::spawn(move || publish_all(&handle, name))
        })
        .collect();

    let mut next = BTreeMap::new();
    let delivered = events.iter().filter_map(|event| match event {
        DriverEvent::Node(Event::Deliver(delivery)) => {
            Some(delivery.entry.message_id().to_string())
        }
        _ => None,
    });
    for id in delivered.take(THREADS * EACH) {
        let (name, number) = id.split_once('-').unwrap();
        let next = next.entry(name.to_owned()).or_insert(0);
        assert_eq!(number.parse(), Ok(*next), "thread {name}");
        *next += 1;
    }
    assert!(next.values().all(|count| *count == EACH), "{next:?}");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(handle.status(CHANNEL).wait().unwrap().logged, THREADS * EACH);
    assert_eq!(handle.metrics().wait().unwrap().sent_new, (THREADS * EACH) as u64);
}

pub(crate) fn one_handle_is_shared_by_reference<D: Driver>() {
    const fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let (handle, _events) = D::spawn(config("alice"), MemoryGroup::new(1).join()).unwrap();
    shared(&handle);
    handle.open(CHANNEL).wait().unwrap();
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let handle = &handle;
            scope.spawn(move || {
                for number in 0..25 {
                    handle.publish(CHANNEL, format!("{name}{number}"), "content").wait().unwrap();
                }
            });
        }
    });
    assert_eq!(handle.log(CHANNEL).wait().unwrap().entries.len(), 100);
}
