//! The loops of the guides, as they stand there, with three thousand events at once.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    unused_qualifications,
    reason = "as the guides do"
)]

use core::error::Error;
use std::thread;

use sds_proto::{Config, Durability, Event};
use sds_runtime::store::Memory;
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{DriverEvent, Events, Handle, Options, Wait};

use crate::common::{next_delivery, run};
use crate::drivers::Driver;
use crate::store::durable;

const MESSAGES: usize = 3_000;

type Done = Result<(), Box<dyn Error>>;

#[rustfmt::skip]
async fn of_runtimes_md(handle: Handle, mut events: Events) -> Done {
    // loop: docs/runtimes.md
    while let Some(event) = events.next().await {
        match event {
            DriverEvent::Node(Event::Deliver(delivery)) => {
                println!("{}", delivery.entry.content().escape_ascii());
                handle.consumed("news", delivery.seq).await?; // not told again after a restart
                if !delivery.own {
                    break;
                }
            }
            DriverEvent::DatagramRejected { reason, source, .. } => eprintln!("{source}: {reason}"),
            _ => {}
        }
    }
    handle.shutdown().await;
    // end
    Ok(())
}

#[rustfmt::skip]
fn of_runtimes_md_on_a_thread(handle: Handle, mut events: Events) -> Done {
    // loop: docs/runtimes.md
    let reader = std::thread::spawn(move || {
        for event in events.iter() { // ends with the driver
            if let DriverEvent::Node(Event::Deliver(delivery)) = event {
                println!("{}", delivery.entry.content().escape_ascii());
            }
        }
    });
    let publisher = handle.clone(); // a clone for each thread: a lock-free queue of its own
    std::thread::spawn(move || publisher.publish("news", "9f86d081884c7d65", "hello").wait()).join().unwrap()?;
    handle.shutdown().wait();
    reader.join().unwrap();
    // end
    Ok(())
}

#[rustfmt::skip]
async fn of_run_md(mut events: Events) -> Done {
    // loop: docs/run.md
    while let Some(event) = events.next().await {
        if let DriverEvent::Node(Event::Deliver(delivery)) = event {
            println!("{}", String::from_utf8_lossy(delivery.entry.content()));
        }
    }
    // end
    Ok(())
}

/// Nothing but a newcomer may keep the loops above from being those of the guides.
#[test]
fn the_loops_are_those_of_the_guides() {
    let lines =
        |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().into()).collect() };
    let guide = |path| match path {
        "docs/runtimes.md" => lines(include_str!("../../../docs/runtimes.md")),
        "docs/run.md" => lines(include_str!("../../../docs/run.md")),
        _ => panic!("{path} is no guide"),
    };
    let mut loops = 0;
    for part in include_str!("guides.rs").split("\n    // loop: ").skip(1) {
        let (path, code) = part.split_once('\n').unwrap();
        let code = lines(code.split_once("\n    // end\n").unwrap().0);
        let found = guide(path).windows(code.len()).any(|window| window == code);
        assert!(found, "{path} has another loop than\n{}", code.join("\n"));
        loops += 1;
    }
    assert_eq!(loops, 3);
}

fn settings() -> Config {
    // Published without waiting for anybody to acknowledge.
    let config = durable("alice", Durability::Strict).unconfirmed_when_full(true);
    config.resend(false).sync(false).build().unwrap()
}

/// A participant that is told, once more after a restart, of all that it has published.
async fn told_all_at_once<D: Driver>(group: &MemoryGroup) -> (Handle, Events, Memory) {
    let records = Memory::default();
    let start = || {
        let options = Options::default().store(records.clone());
        D::new().spawn_with(settings(), group.join(), options).unwrap()
    };
    let (handle, events) = start();
    drop(events);
    handle.open("news").await.unwrap();
    for number in 0..MESSAGES {
        handle.publish("news", format!("m{number}"), "content").await.unwrap();
    }
    handle.shutdown().await;
    let (handle, events) = start();
    handle.open("news").await.unwrap();
    while handle.metrics().await.unwrap().events_unread < MESSAGES as u64 {
        thread::yield_now();
    }
    assert_eq!(handle.status("news").await.unwrap().logged, MESSAGES);
    (handle, events, records)
}

async fn until_all_is_read(handle: &Handle) {
    while handle.metrics().await.unwrap().events_unread > 0 {
        thread::yield_now();
    }
}

pub(crate) fn the_loop_that_consumes_reads_three_thousand_events<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(4_096);
        let (bob, mut bob_events) = D::spawn(settings_of_bob(), group.join()).unwrap();
        bob.open("news").await.unwrap();
        let (handle, events, records) = told_all_at_once::<D>(&group).await;
        // The end of the loop is a message of somebody else.
        bob.publish("news", "end", "content").await.unwrap();
        of_runtimes_md(handle, events).await.unwrap();
        next_delivery(&mut bob_events).await;

        let options = Options::default().store(records);
        let (handle, _events) = D::new().spawn_with(settings(), group.join(), options).unwrap();
        handle.open("news").await.unwrap();
        let metrics = handle.metrics().await.unwrap();
        assert_eq!((metrics.logged, metrics.redelivered), (MESSAGES as u64 + 1, 0));
    });
}

fn settings_of_bob() -> Config {
    durable("bob", Durability::None).build().unwrap()
}

pub(crate) fn the_loop_on_a_thread_reads_three_thousand_events<D: Driver>() {
    run(async {
        let (handle, events, _) = told_all_at_once::<D>(&MemoryGroup::new(1)).await;
        of_runtimes_md_on_a_thread(handle, events).unwrap();
    });
}

pub(crate) fn the_loop_that_prints_reads_three_thousand_events<D: Driver>() {
    run(async {
        let (handle, events, _) = told_all_at_once::<D>(&MemoryGroup::new(1)).await;
        let ending = async {
            until_all_is_read(&handle).await;
            handle.shutdown().await;
        };
        // On a thread, which is more than the loop needs, so that the two do not take turns.
        let reading = thread::spawn(move || of_run_md(events).wait().is_ok());
        ending.await;
        assert!(reading.join().unwrap());
    });
}
