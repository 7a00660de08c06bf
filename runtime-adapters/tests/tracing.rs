//! Events of a driver for subscribers of tracing.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod common;

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::rig::{Rig, poll};
use common::{CHANNEL, config};
use sds_proto::{Durability, StoreError};
use sds_runtime::store::{Faults, Faulty, Memory};
use sds_runtime::{Clock, Jumps, Options};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A life with a bit of everything.
fn live() {
    let jumps = Jumps::default();
    let store = Faulty::new(Memory::default(), Faults::seeded(0));
    let switch = store.switch();
    let options = Options::default()
        .store(store)
        .clock(Clock::jumping(&jumps))
        .flush(Duration::from_secs(60));
    let config = config("alice").to_builder().durability(Durability::Strict).build().unwrap();
    let mut rig = Rig::new(config, options);
    let handle = rig.handle();
    switch.fail(Some(StoreError::Full));
    assert!(poll(&mut Box::pin(handle.publish(CHANNEL, "m1", "content"))).is_pending());
    rig.until_idle();
    switch.fail(None);
    jumps.mono(1_000_000);
    rig.strings(|strings| strings.inbox.push(Bytes::from_static(b"junk")));
    rig.until_idle();
    jumps.mono(200_000_000);
    rig.until_idle();
    jumps.mono(-120_000_000);
    rig.strings(|strings| strings.inbox.push(Bytes::from_static(b"junk")));
    rig.until_idle();
    assert!(poll(&mut Box::pin(handle.shutdown())).is_pending());
    assert!(rig.until_idle());
}

#[test]
fn what_happens_is_told_within_the_span_of_the_driver() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, live);
    let text = lines.text();
    let mut rest = text.lines();
    for wanted in [
        "INFO driver{participant=alice}: sds_runtime: started durability=Strict",
        "DEBUG driver{participant=alice}: sds_runtime: opening channel=channel",
        "DEBUG driver{participant=alice}: sds_runtime: loaded channel=channel",
        "DEBUG driver{participant=alice}:store_write{operations=",
        "ok=false",
        "WARN driver{participant=alice}: sds_runtime: a write failed",
        "DEBUG driver{participant=alice}: sds_runtime: datagram rejected source=an unknown peer len=4",
        "ok=true",
        "INFO driver{participant=alice}: sds_runtime: recovered",
        "DEBUG driver{participant=alice}: sds_runtime: datagram rejected",
        "WARN driver{participant=alice}: sds_runtime: the monotonic clock fell back event=TimeBehind",
        "INFO driver{participant=alice}: sds_runtime: shutting down",
        "INFO driver{participant=alice}: sds_runtime: stopped",
    ] {
        assert!(rest.any(|line| line.contains(wanted)), "no {wanted:?} in its place in\n{text}");
    }
    assert_eq!(rest.next(), None);
}
