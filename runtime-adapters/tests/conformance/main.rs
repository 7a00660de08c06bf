//! What every driver must do: each case runs on each driver that is compiled in, and is named
//! after it, for example `smol::messages_go_both_ways`.
//!
//! `cargo test -p sds-runtime --all-features --test conformance -- --list` shows them all.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
mod drivers;
mod ending;
mod group;
mod refusals;
mod udp;

/// Each of these cases, which are functions of the named modules, on each driver.
macro_rules! conformance {
    ($($module:ident { $($case:ident,)+ })+) => {
        #[cfg(feature = "smol")]
        mod smol {
            $($(#[test] fn $case() { crate::$module::$case::<crate::drivers::Smol>(); })+)+
        }
        #[cfg(feature = "tokio")]
        mod tokio {
            $($(#[test] fn $case() { crate::$module::$case::<crate::drivers::Tokio>(); })+)+
        }
        #[cfg(feature = "event-loop")]
        mod event_loop {
            $($(#[test] fn $case() { crate::$module::$case::<crate::drivers::EventLoop>(); })+)+
        }
    };
}

conformance! {
    group {
        messages_go_both_ways,
        logs_and_digests_agree_once_all_is_delivered,
        an_acknowledgement_is_reported,
        an_ephemeral_message_is_heard_and_not_logged,
        a_bad_network_only_delays,
    }
    refusals {
        a_refused_publish_says_why_and_gives_the_content_back,
        other_refusals_say_why,
        a_datagram_too_large_for_the_transport_is_reported_with_its_limit,
        a_refused_datagram_is_reported_with_its_source,
        a_driver_without_a_store_refuses_durability,
    }
    ending {
        a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped,
        shutdown_closes_the_transport_and_ends_the_events_after_the_last,
        dropping_the_last_handle_shuts_down,
        handles_work_from_many_threads,
    }
    udp {
        two_participants_talk_over_udp,
        a_datagram_says_where_it_came_from,
        the_largest_datagram_arrives_whole,
        one_unreachable_destination_keeps_nothing_from_the_others,
        a_configured_limit_is_reported_with_the_datagram_that_exceeds_it,
        a_multicast_group_hears_itself,
    }
}
