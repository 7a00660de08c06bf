//! Shared parts of the drivers' tests.
#![allow(dead_code, reason = "not every test uses everything")]

use core::time::Duration;

use futures_lite::future;
use sds_proto::{Config, Delivery, Event};
use sds_runtime::{DriverEvent, Events};

#[cfg(feature = "smol")]
pub(crate) mod rig;

pub(crate) const CHANNEL: &str = "channel";

/// Far longer than anything here takes: a test that fails shall not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A participant with short times.
pub(crate) fn config(name: &str) -> Config {
    let ms = Duration::from_millis;
    Config::builder()
        .participant_id(name.into())
        .seed(name.bytes().map(u64::from).sum())
        .resend_after(ms(200))
        .resend_max(ms(1_000))
        .repair_t_min(ms(20))
        .repair_t_max(Some(ms(200)))
        .repair_sync_min(ms(50))
        .sync_min(ms(50))
        .sync_max(ms(200))
        .build()
        .unwrap()
}

/// Runs a test.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let too_long = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not done after {PATIENCE:?}");
    };
    smol::block_on(future::or(test, too_long))
}

/// The next event that `pick` wants.
pub(crate) async fn next<T>(events: &mut Events, pick: impl Fn(DriverEvent) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the driver runs");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

pub(crate) async fn next_delivery(events: &mut Events) -> Delivery {
    next(events, |event| match event {
        DriverEvent::Node(Event::Deliver(delivery)) => Some(delivery),
        _ => None,
    })
    .await
}
