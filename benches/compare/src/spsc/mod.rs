//! The channel beside others.

mod candidates;
mod channel;
mod executor;
mod measure;
mod report;
mod rounds;

use self::candidates::{
    AsyncChannelCrate, Crossbeam, Flume, Gil, GilAsync, Heapless, Kanal, Named, OursDeferred,
    OursInSlot, OursIndex, OursWaking, Ringbuf, Rtrb, StdMpsc, Tokio,
};
use self::channel::Line;
use self::rounds::{Candidate, Row};
use crate::options::Options;
use crate::statistics::Unit;

/// The channels, each measured by the function, in which `$Channel` stands for it.
macro_rules! candidates {
    ($Channel:ident => $measure:expr; $($channel:ty),+) => {
        vec![$({
            type $Channel = $channel;
            Candidate { name: <$channel as Named>::NAME, measure: $measure }
        }),+]
    };
}

/// The same for ours and all others that can be tried without waiting.
macro_rules! all {
    ($Channel:ident => $measure:expr; $ours:ty) => {
        candidates!(
            $Channel => $measure;
            $ours, Rtrb, Ringbuf, Gil, Heapless, Crossbeam, Kanal, Flume, AsyncChannelCrate, Tokio, StdMpsc
        )
    };
}

/// Measures the rows that `options` ask for, prints each as it comes, then all together, and writes
/// the JSON file.
///
/// # Errors
///
/// No row has the wanted prefix; a channel lost messages or stalled; the JSON file cannot be
/// written.
pub(crate) fn compare(options: &Options) -> anyhow::Result<()> {
    options.compare(rows(), |row| row.id, |rows, cores| rounds::measure(rows, &cores, options))
}

/// All rows, in the order of the report.
fn rows() -> Vec<Row> {
    let rate = |id, what, core, candidates| Row { id, what, core, unit: Unit::Rate, candidates };
    vec![
        rate(
            "one_thread_u64",
            "one thread sends one u64 and receives it, capacity 1024",
            "A",
            all!(C => measure::pairs::<C, u64>; OursIndex),
        ),
        rate(
            "one_thread_64b",
            "one thread sends one message of 64 B and receives it, capacity 1024",
            "A",
            all!(C => measure::pairs::<C, Line>; OursIndex),
        ),
        rate(
            "burst32_u64",
            "one thread sends 32 u64 and receives them, capacity 1024",
            "A",
            all!(C => measure::bursts::<C, u64>; OursIndex),
        ),
        rate(
            "two_threads_u64_1024",
            "one thread sends u64 to another, capacity 1024",
            "B",
            all!(C => measure::stream::<C, u64, 1024>; OursInSlot),
        ),
        rate(
            "two_threads_u64_64",
            "one thread sends u64 to another, capacity 64",
            "B",
            all!(C => measure::stream::<C, u64, 64>; OursInSlot),
        ),
        rate(
            "two_threads_64b_1024",
            "one thread sends messages of 64 B to another, capacity 1024",
            "A",
            all!(C => measure::stream::<C, Line, 1024>; OursIndex),
        ),
        Row {
            id: "round_trip_u64",
            what: "one u64 to another thread and back, two channels",
            core: "B",
            unit: Unit::Time,
            candidates: all!(C => measure::round_trips::<C>; OursInSlot),
        },
        rate(
            "batch64_u64",
            "one thread sends 64 u64 at once to another, which receives them at once, capacity 1024",
            "A",
            candidates!(C => measure::batches::<C>; OursIndex, Rtrb, Ringbuf, Gil, Kanal, Flume, Tokio),
        ),
        rate(
            "async_one_thread",
            "one task sends u64 to another on the same thread, capacity 1024",
            "B",
            candidates!(C => measure::async_one_thread::<C>; OursDeferred, GilAsync, Kanal, Flume, AsyncChannelCrate, Tokio),
        ),
        rate(
            "async_two_threads",
            "one task sends u64 to another on another thread, capacity 1024",
            "B",
            candidates!(C => measure::async_two_threads::<C>; OursWaking, GilAsync, Kanal, Flume, AsyncChannelCrate, Tokio),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Cores;

    #[test]
    fn every_candidate_delivers_every_message_in_every_row() {
        let cores = Cores::unpinned();
        for row in rows() {
            for candidate in &row.candidates {
                let result = (candidate.measure)(&cores, 64 * 64);
                assert!(result.is_ok(), "{} in {}: {result:?}", candidate.name, row.id);
            }
        }
    }

    #[test]
    fn rows_have_the_ids_that_others_look_for() {
        let ids: Vec<_> = rows().iter().map(|row| row.id).collect();
        let expected = [
            "one_thread_u64",
            "one_thread_64b",
            "burst32_u64",
            "two_threads_u64_1024",
            "two_threads_u64_64",
            "two_threads_64b_1024",
            "round_trip_u64",
            "batch64_u64",
            "async_one_thread",
            "async_two_threads",
        ];
        assert_eq!(ids, expected);
    }
}
