//! The cases that every driver must pass: each runs on each driver that is compiled in, and is
//! named after it, for example `smol::messages_go_both_ways`.
//!
//! `cargo test -p sds-runtime --all-features --test conformance -- --list` shows them all.
#![cfg(any(feature = "event-loop", feature = "smol", feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail")]

mod cancel;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod drivers;
mod ending;
mod gate;
mod group;
mod guides;
mod loading;
mod observe;
mod pressure;
mod refusals;
mod store;
mod threads;
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
        a_thousand_channels_at_once,
        a_transport_that_fails_is_reported_and_survived,
    }
    refusals {
        a_refused_publish_says_why_and_gives_the_content_back,
        other_refusals_say_why,
        a_message_too_large_for_the_transport_is_refused_with_what_fits,
        a_message_of_others_too_large_to_pass_on_is_reported,
        a_refused_datagram_is_reported_with_its_source,
    }
    ending {
        a_driver_whose_events_nobody_reads_goes_on_once_they_are_dropped,
        shutdown_closes_the_transport_and_ends_the_events_after_the_last,
        dropping_the_last_handle_shuts_down,
        dropping_the_last_handle_sends_what_is_to_be_sent,
        a_shutdown_amid_work_answers_every_call_and_keeps_what_it_accepted,
        a_panic_of_the_transport_stops_the_driver_and_hangs_nobody,
    }
    pressure {
        back_pressure_is_visible_and_a_publish_waits_until_it_is_over,
        questions_are_answered_while_the_transport_takes_nothing,
        questions_are_answered_while_publications_wait_for_a_reader,
        a_publication_says_what_became_of_it,
        events_that_are_read_late_are_all_there_in_order,
        unread_events_that_repeat_are_skipped_and_counted,
        every_call_is_answered_while_nobody_reads_the_events,
        a_publish_waits_for_room_in_the_order_of_the_calls,
        a_publish_that_waits_for_room_hears_that_there_will_be_none,
        a_reset_makes_room_for_a_publish_that_waits,
        who_publishes_and_reads_no_events_is_refused_at_last,
    }
    guides {
        the_loop_that_consumes_reads_three_thousand_events,
        the_loop_on_a_thread_reads_three_thousand_events,
        the_loop_that_prints_reads_three_thousand_events,
    }
    threads {
        many_threads_publish_and_nothing_is_lost_or_overtaken,
        one_handle_is_shared_by_reference,
    }
    cancel {
        a_publish_cancelled_at_any_point_happens_once_or_not_at_all,
        an_ephemeral_message_cancelled_at_any_point_is_heard_once_or_never,
        channels_opened_and_closed_by_cancelled_calls_are_open_or_closed,
        every_other_call_may_be_cancelled_at_any_point,
        a_publication_dropped_at_any_point_is_published_once,
        waiting_for_an_event_may_be_cancelled_at_any_point,
        a_shutdown_cancelled_at_any_point_happens_unless_it_was_never_polled,
    }
    loading {
        store_and_durability_must_go_together,
        a_store_that_cannot_be_used_keeps_the_driver_from_starting,
        records_longer_than_a_store_takes_are_refused_at_the_start,
        a_channel_is_open_when_it_has_been_loaded,
        a_channel_closed_or_emptied_while_it_is_loaded_is_not_given_the_old_state,
        a_dropped_channel_leaves_no_records_and_a_closed_one_all,
        records_that_make_no_sense_are_refused,
        a_store_of_another_participant_is_refused,
        the_stored_channels_are_listed_whether_open_or_not,
        a_thousand_channels_come_back,
    }
    store {
        after_a_restart_all_is_as_it_was,
        after_a_restart_it_is_told_which_messages_are_acknowledged,
        after_a_restart_it_is_told_what_is_missing_and_who_waits,
        nothing_leaves_before_a_slow_store_has_answered,
        a_relaxed_node_does_not_wait_for_its_store,
        a_failing_store_refuses_and_then_lets_everything_go_in_order,
        a_store_that_never_answers_bounds_what_waits_for_it,
        a_shutdown_stores_and_sends_what_is_in_flight,
        a_store_that_never_answers_delays_a_shutdown_no_longer_than_allowed,
        dropping_the_last_handle_stores_what_was_accepted,
        stores_that_fail_tear_and_dawdle_only_delay,
    }
    observe {
        metrics_tell_of_node_driver_and_store,
    }
    clock {
        a_wall_clock_that_is_set_back_and_ahead_loses_and_reorders_nothing,
        a_wall_clock_days_ahead_is_refused_by_others_and_says_so,
        a_wall_clock_that_is_off_is_told_and_counted_once,
        another_node_with_the_same_id_is_told_and_counted_by_channel,
        what_is_due_after_a_long_sleep_is_done_but_not_made_up_for,
        a_monotonic_clock_that_goes_back_delays_only_timers,
    }
    udp {
        two_participants_talk_over_udp,
        a_datagram_says_where_it_came_from,
        the_largest_datagram_arrives_whole,
        one_unreachable_destination_keeps_nothing_from_the_others,
        two_hundred_kilobytes_are_refused_and_the_largest_that_fits_arrives,
        the_largest_message_is_sent_again_with_its_filter,
        a_configured_limit_says_what_does_not_fit,
        a_multicast_group_hears_itself,
    }
}
