//! Whether our own wall clock is off, by what others say.
//!
//! Lamport times follow the wall clocks of their senders. If ours is off by more than
//! `max_clock_skew`, either we refuse what we hear or everybody refuses us, and nobody can tell us
//! that. But the times that we hear run on as time does, at a distance that stays. Old messages do
//! not: repair and archives give days in seconds, or the same days again.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use crate::time::{Instant, Now, UnixMillis};

/// Senders that are remembered.
pub(crate) const MAX_SENDERS: usize = 16;
/// Time for which a sender's time must run at a distance from ours.
const SPAN: Duration = Duration::from_secs(600);
/// A sender that has said nothing of use for so long may be forgotten for another one.
const STALE: Duration = Duration::from_secs(1_800);
/// Tolerance of a Lamport time for the time that the message took to arrive.
const SLACK_MS: u64 = 60_000;
/// Lamport times below this, which is 1973, do not count milliseconds since 1970: they are
/// nim-sds's seconds, or those of boards without a clock.
const FIRST_MS: u64 = 100_000_000_000;

/// Position of a sender's time relative to ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Behind,
    InTime,
    Ahead,
}

/// A sender, and for how long its time has been where it is.
#[derive(Debug)]
pub(crate) struct Heard {
    sender: u64,
    side: Side,
    since: Instant,
    /// Its Lamport time then.
    first: u64,
    at: Instant,
    /// Its newest Lamport time, heard at `at`.
    newest: u64,
}

impl Heard {
    /// Its next message. `false`: that is not of the time that runs on from those before.
    fn runs_on(&mut self, now: Instant, lamport: u64) -> bool {
        let most = millis(now.since(self.since)) / 2 * 3 + SLACK_MS;
        if lamport <= self.newest || lamport - self.first > most {
            return false;
        }
        (self.at, self.newest) = (now, lamport);
        true
    }

    /// Whether its time has run on for long enough to be believed.
    fn is_steady(&self) -> bool {
        let span = self.at.since(self.since);
        span >= SPAN && self.newest - self.first >= millis(span) / 2
    }
}

/// The times that all senders tell together.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    senders: Vec<Heard>,
    told: bool,
}

impl ClockWatch {
    /// A message of `sender` was heard just now; `refused`: it is too far ahead of our clock.
    /// Returns our time and theirs, once, if more senders are steadily on one side of us than
    /// others were heard meanwhile.
    pub(crate) fn hears(
        &mut self,
        now: Now,
        max_skew: Duration,
        sender: u64,
        lamport: u64,
        refused: bool,
    ) -> Option<(UnixMillis, UnixMillis)> {
        let wall = now.wall.filter(|_| !self.told && lamport >= FIRST_MS)?;
        let earliest = wall.0.saturating_sub(millis(max_skew).saturating_add(SLACK_MS));
        let side = match () {
            () if refused => Side::Ahead,
            () if lamport < earliest => Side::Behind,
            () => Side::InTime,
        };
        self.note(now.mono, sender, side, lamport);
        let steady = |heard: &&Heard| heard.side == side && heard.is_steady();
        let off = self.senders.iter().filter(steady);
        let since = off.clone().map(|heard| heard.since).min()?;
        let against = self.senders.iter().filter(|heard| heard.side != side && heard.at >= since);
        if side == Side::InTime || off.count() <= against.count() {
            return None;
        }
        self.told = true;
        self.senders = Vec::new();
        Some((wall, UnixMillis(lamport)))
    }

    fn note(&mut self, now: Instant, sender: u64, side: Side, lamport: u64) {
        let fresh = Heard { sender, side, since: now, first: lamport, at: now, newest: lamport };
        let is_stale = |heard: &Heard| now.since(heard.at) >= STALE;
        if let Some(heard) = self.senders.iter_mut().find(|heard| heard.sender == sender) {
            let is_later = lamport > heard.newest;
            let begins_anew = match side {
                Side::InTime => true,
                // A message that was sent long ago says nothing of the time that it is there now.
                Side::Behind if heard.side != side => is_later,
                Side::Ahead if heard.side != side => true,
                Side::Behind => !heard.runs_on(now, lamport) && (is_later || is_stale(heard)),
                Side::Ahead => !heard.runs_on(now, lamport) && is_stale(heard),
            };
            if begins_anew {
                *heard = fresh;
            }
            return;
        }
        if self.senders.len() < MAX_SENDERS {
            self.senders.push(fresh);
        } else if let Some(oldest) = self.senders.iter_mut().max_by_key(|heard| Reverse(heard.at))
            && is_stale(oldest)
        {
            *oldest = fresh;
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026.
    const EPOCH: u64 = 1_767_225_600_000;
    const DAY: u64 = 86_400_000;
    const MINUTE: u64 = 60_000;

    /// A day of skew is allowed.
    struct Rig {
        watch: ClockWatch,
        /// Distance of our clock ahead of the right time, in milliseconds.
        ahead: i64,
        told: usize,
    }

    impl Rig {
        fn new(ahead: i64) -> Self {
            Self { watch: ClockWatch::default(), ahead, told: 0 }
        }

        /// At a time in milliseconds a message of `sender` with this Lamport time, as the node
        /// judges it.
        fn hears_time(&mut self, at: u64, sender: u64, lamport: u64) -> bool {
            let wall = (EPOCH + at).saturating_add_signed(self.ahead);
            let now = Now::new(Instant::from_millis(at), UnixMillis(wall));
            let refused = lamport > wall + DAY;
            let skew = Duration::from_millis(DAY);
            let told = self.watch.hears(now, skew, sender, lamport, refused);
            self.told += usize::from(told.is_some());
            assert!(told.is_none_or(|told| told == (UnixMillis(wall), UnixMillis(lamport))));
            told.is_some()
        }

        /// A message with the right time.
        fn hears(&mut self, at: u64, sender: u64) -> bool {
            self.hears_time(at, sender, EPOCH + at)
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_of_once_after_ten_minutes() {
        for ahead in [2 * DAY as i64, -2 * DAY as i64, -(EPOCH as i64)] {
            let mut rig = Rig::new(ahead);
            for minute in 0..10 {
                assert!(!rig.hears(minute * MINUTE, 1), "{minute}");
                assert!(!rig.hears(minute * MINUTE + 1, 2), "{minute}");
            }
            assert!(rig.hears(10 * MINUTE, 1));
            (11..40).for_each(|minute| assert!(!rig.hears(minute * MINUTE, 1)));
        }
    }

    #[test]
    fn a_clock_within_the_skew_is_not_told_of() {
        for ahead in [DAY as i64, -(DAY as i64), 0] {
            let mut rig = Rig::new(ahead);
            (0..90).for_each(|minute| assert!(!rig.hears(minute * MINUTE, minute % 3)));
        }
    }

    #[test]
    fn one_sender_among_others_that_are_in_time_is_not_believed() {
        let mut rig = Rig::new(0);
        for minute in 0..90 {
            let at = minute * MINUTE;
            assert!(!rig.hears_time(at, 1, EPOCH + at + 3 * DAY));
            assert!(!rig.hears(at, 2));
            assert!(!rig.hears_time(at, 3, EPOCH + at - 3 * DAY));
        }
    }

    #[test]
    fn one_sender_that_is_in_time_does_not_outvote_two() {
        let mut rig = Rig::new(-3 * DAY as i64);
        let told = (0..30).find(|minute| {
            let at = minute * MINUTE;
            rig.hears_time(at, 1, EPOCH + at - 3 * DAY);
            [2, 3].into_iter().any(|sender| rig.hears(at, sender))
        });
        assert_eq!(told, Some(10));
    }

    #[test]
    fn times_that_jump_or_stand_still_say_nothing() {
        // An archive, which tells two days in half an hour; and members who have had no clock
        // since.
        for (start, step) in [(2 * DAY, 90 * MINUTE), (2 * DAY, 1)] {
            let mut rig = Rig::new(0);
            for minute in 0..31 {
                assert!(!rig.hears_time(minute * MINUTE, 1, EPOCH - start + minute * step));
            }
        }
        let mut rig = Rig::new(0);
        assert!((0..90).all(|minute| !rig.hears_time(minute * MINUTE, 1, u64::MAX - 90 + minute)));
    }

    #[test]
    fn old_messages_between_new_ones_do_not_matter() {
        let mut rig = Rig::new(2 * DAY as i64);
        let told = (0..30).find(|minute| {
            let at = minute * MINUTE;
            assert!(!rig.hears_time(at, 1, EPOCH - 20 * DAY + minute));
            rig.hears(at + 1, 1)
        });
        assert!(told.is_some_and(|minute| minute <= 11), "{told:?}");
        let mut rig = Rig::new(0);
        for minute in 0..90 {
            assert!(!rig.hears(minute * MINUTE, 1));
            assert!(!rig.hears_time(minute * MINUTE, 1, EPOCH + minute * MINUTE - 2 * DAY));
        }
    }

    #[test]
    fn seconds_and_no_clocks_say_nothing() {
        let mut rig = Rig::new(0);
        for minute in 0..90 {
            let at = minute * MINUTE;
            assert!(!rig.hears_time(at, 1, (EPOCH + at) / 1_000));
            assert!(!rig.hears_time(at, 2, minute));
            let no_wall = Now::without_wall(Instant::from_millis(at));
            assert_eq!(rig.watch.hears(no_wall, SPAN, 3, EPOCH, false), None);
        }
    }

    #[test]
    fn a_clock_that_jumps_is_told_of_whoever_was_in_time_before() {
        let mut rig = Rig::new(0);
        (0..90).for_each(|minute| assert!(!rig.hears(minute * MINUTE, minute % 9)));
        rig.ahead = 2 * DAY as i64;
        let told = (91..200).find(|minute| rig.hears(minute * MINUTE, 1));
        assert_eq!(told, Some(101));
    }

    #[test]
    fn many_names_take_no_room_from_those_who_go_on() {
        let mut rig = Rig::new(2 * DAY as i64);
        let told = (0..30).find(|minute| {
            let at = minute * MINUTE;
            (0..100).for_each(|name| assert!(!rig.hears(at, 1_000 + minute * 100 + name)));
            rig.hears(at, 7)
        });
        assert!(rig.watch.senders.len() <= MAX_SENDERS);
        assert!(told.is_none(), "those who came first have said no more");
        let told = (31..60).find(|minute| rig.hears(minute * MINUTE, 7));
        assert_eq!(told, Some(41));
    }
}
