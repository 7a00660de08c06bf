//! Clocks that jump, as they do when a user sets the time or a machine has slept.

use sds_proto::{Event, RejectReason};
use sds_runtime::transport::MemoryGroup;
use sds_runtime::{Clock, DriverEvent, Events, Handle, Jumps, Options};

use crate::common::{CHANNEL, config, next, next_delivery, run};
use crate::drivers::{Driver, join, join_with};

const HOUR_MS: i64 = 3_600_000;

async fn join_jumping<D: Driver>(group: &MemoryGroup, name: &str) -> (Handle, Events, Jumps) {
    let jumps = Jumps::default();
    let options = Options::default().clock(Clock::jumping(&jumps));
    let (handle, events) = join_with::<D>(config(name), group.join(), options).await;
    (handle, events, jumps)
}

pub(crate) fn a_wall_clock_that_is_set_back_and_ahead_loses_and_reorders_nothing<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, _alice_events, jumps) = join_jumping::<D>(&group, "alice").await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        let mut last = 0;
        for (number, jump) in [0, -2 * HOUR_MS, HOUR_MS, 2 * HOUR_MS, -HOUR_MS].iter().enumerate() {
            jumps.wall(*jump);
            alice.publish(CHANNEL, format!("m{number}"), "content").await.unwrap();
            let entry = next_delivery(&mut bob_events).await.entry;
            assert_eq!(entry.message_id(), *format!("m{number}"));
            assert!(entry.lamport() > last, "{} after {last}", entry.lamport());
            last = entry.lamport();
        }
        assert_eq!(alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
    });
}

pub(crate) fn a_wall_clock_days_ahead_is_refused_by_others_and_says_so<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, _alice_events, jumps) = join_jumping::<D>(&group, "alice").await;
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        jumps.wall(48 * HOUR_MS);
        alice.publish(CHANNEL, "m1", "from the future").await.unwrap();
        let refused = |event| match event {
            DriverEvent::DatagramRejected { reason, .. } => Some(reason),
            _ => None,
        };
        let reason = next(&mut bob_events, refused).await;
        assert!(matches!(reason, RejectReason::ClockSkew { .. }), "{reason:?}");
        assert!(bob.log(CHANNEL).await.unwrap().entries.is_empty());
    });
}

pub(crate) fn a_wall_clock_that_is_off_is_told_and_counted_once<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events, alices) = join_jumping::<D>(&group, "alice").await;
        let (bob, _bob_events, bobs) = join_jumping::<D>(&group, "bob").await;
        alices.wall(-48 * HOUR_MS);
        for minute in 0..30 {
            for jumps in [&alices, &bobs] {
                jumps.mono(60_000_000);
                jumps.wall(60_000);
            }
            bob.publish(CHANNEL, format!("b{minute}"), "from the future").await.unwrap();
            while alice.metrics().await.unwrap().rejected <= minute {
                std::thread::yield_now();
            }
        }
        let off = |event| match event {
            DriverEvent::Node(Event::WallClockOff { ours, theirs }) => Some((ours, theirs)),
            _ => None,
        };
        let (ours, theirs) = next(&mut events, off).await;
        let apart = i64::try_from(theirs.0 - ours.0).unwrap();
        assert!((apart - 48 * HOUR_MS).abs() < HOUR_MS, "{apart} ms");
        assert_eq!(alice.metrics().await.unwrap().wall_clock_off, 1);
        assert_eq!(bob.metrics().await.unwrap().wall_clock_off, 0);
    });
}

pub(crate) fn another_node_with_the_same_id_is_told_and_counted_by_channel<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events, _) = join_jumping::<D>(&group, "alice").await;
        let (other, _other_events, _) = join_jumping::<D>(&group, "alice").await;
        alice.open("another").await.unwrap();
        other.open("another").await.unwrap();
        for channel in [CHANNEL, "another"] {
            for id in ["m1", "m2"] {
                other.publish(channel, format!("{channel} {id}"), "content").await.unwrap();
            }
            let in_use = |event| match event {
                DriverEvent::Node(Event::ParticipantIdInUse { message_id, .. }) => Some(message_id),
                _ => None,
            };
            assert_eq!(next(&mut events, in_use).await, format!("{channel} m1").into());
        }
        while alice.metrics().await.unwrap().logged < 4 {
            std::thread::yield_now();
        }
        assert_eq!(alice.metrics().await.unwrap().participant_id_in_use, 2);
    });
}

pub(crate) fn what_is_due_after_a_long_sleep_is_done_but_not_made_up_for<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, _alice_events, jumps) = join_jumping::<D>(&group, "alice").await;
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        let before = alice.metrics().await.unwrap();
        jumps.mono(8 * HOUR_MS * 1_000);
        // A question lets it look at the clock.
        let mut resends = 0;
        while resends == 0 {
            resends = alice.metrics().await.unwrap().sent_resends - before.sent_resends;
        }
        assert!(resends < 10, "{resends} resends to make up for eight hours");
        let (_bob, mut bob_events) = join::<D>(&group, "bob").await;
        alice.publish(CHANNEL, "m2", "content").await.unwrap();
        // The first was sent before bob came: he asks for it, which takes timers.
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m1");
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m2");
    });
}

pub(crate) fn a_monotonic_clock_that_goes_back_delays_only_timers<D: Driver>() {
    run(async {
        let group = MemoryGroup::new(64);
        let (alice, mut events, jumps) = join_jumping::<D>(&group, "alice").await;
        jumps.mono(2 * HOUR_MS * 1_000);
        alice.publish(CHANNEL, "m1", "content").await.unwrap();
        assert!(next_delivery(&mut events).await.own);
        jumps.mono(-HOUR_MS * 1_000);
        let (bob, mut bob_events) = join::<D>(&group, "bob").await;
        alice.publish(CHANNEL, "m2", "content").await.unwrap();
        assert!(next_delivery(&mut events).await.own);
        // Her timers wait for the hour to come again; once it has she answers what bob asks for.
        jumps.mono(HOUR_MS * 1_000);
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m1");
        assert_eq!(next_delivery(&mut bob_events).await.entry.message_id(), *"m2");
        assert_eq!(alice.log(CHANNEL).await.unwrap(), bob.log(CHANNEL).await.unwrap());
    });
}
