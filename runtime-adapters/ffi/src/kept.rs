//! Answers that callers read after their call has returned.
//!
//! Programs in other languages do: a callback of theirs puts the pointer away and wakes whoever
//! waits for the call, and that one reads when it gets to run. Meanwhile other threads of the
//! program may have been given thousands of answers, so the age of an answer counts, and not what
//! came after it.
//!
//! There is one store for the whole process, so that an answer outlives its context, and so that
//! its bound is one on memory however many contexts there are.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::text::Text;

/// Time for which an answer is kept while all kept ones have no more than [`ROOM`] bytes.
const LONG: Duration = Duration::from_secs(10);
/// Minimum time for which an answer is kept.
const SHORT: Duration = Duration::from_secs(1);
/// Bytes of answers that may be older than [`SHORT`].
const ROOM: usize = 64 << 20;
/// Bytes of answers kept at most. Calls wait until there is room.
const MOST: usize = 256 << 20;
/// Bytes that an answer takes beside its text.
const OVERHEAD: usize = 64;

/// Held by the answer that is next, so that none is overtaken for ever by smaller ones.
static TURN: Mutex<()> = Mutex::new(());

static KEPT: Mutex<Kept> = Mutex::new(Kept { answers: VecDeque::new(), bytes: 0 });

/// The answers, oldest first.
#[derive(Debug, Default)]
struct Kept {
    answers: VecDeque<(Instant, Text)>,
    bytes: usize,
}

/// Keeps an answer that has been given to its callback, and says until when. Waits while there is
/// no room for it.
pub(crate) fn keep(answer: Text) -> Instant {
    let _turn = lock(&TURN);
    loop {
        let (mut kept, now) = (lock(&KEPT), Instant::now());
        let Some(wait) = kept.wait(now, size(&answer)) else {
            kept.add(now, answer);
            return now + LONG;
        };
        drop(kept);
        thread::sleep(wait);
    }
}

/// Frees what has been kept for long enough.
pub(crate) fn sweep() {
    lock(&KEPT).free(Instant::now(), 0);
}

impl Kept {
    fn add(&mut self, now: Instant, answer: Text) {
        self.bytes += size(&answer);
        self.answers.push_back((now, answer));
    }

    /// Returns the time until there may be room for `more` bytes; `None` if there is.
    fn wait(&mut self, now: Instant, more: usize) -> Option<Duration> {
        self.free(now, more);
        let (oldest, _) = self.answers.front().filter(|_| self.bytes + more > MOST)?;
        Some((*oldest + SHORT).saturating_duration_since(now))
    }

    /// Frees what need not be kept once there are `more` bytes.
    fn free(&mut self, now: Instant, more: usize) {
        while let Some((since, _)) = self.answers.front() {
            let least = if self.bytes + more > ROOM { SHORT } else { LONG };
            if now.saturating_duration_since(*since) < least {
                return;
            }
            let Some((_, answer)) = self.answers.pop_front() else { return };
            self.bytes -= size(&answer);
        }
        // The memory that a burst took is given back.
        self.answers = VecDeque::new();
    }
}

fn size(answer: &Text) -> usize {
    answer.capacity() + OVERHEAD
}

/// Nothing panics while one of the locks is held, so that a poisoned one guards a sound state.
fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn text(len: usize) -> Text {
        vec![b'x'; len].into()
    }

    /// Returns the number of answers of `len` bytes that are kept each second, with `count` a
    /// second.
    fn kept_by_second(len: usize, count: usize, seconds: u32) -> Vec<usize> {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let second = |second| {
            for _ in 0..count {
                let now = start + SECOND * second;
                assert_eq!(kept.wait(now, size(&text(len))), None);
                kept.add(now, text(len));
            }
            kept.answers.len()
        };
        (0..seconds).map(second).collect()
    }

    #[test]
    fn small_answers_are_kept_for_ten_seconds() {
        let kept = kept_by_second(10, 5_000, 12);
        assert_eq!(kept[..10], core::array::from_fn::<_, 10, _>(|second| 5_000 * (second + 1)));
        assert_eq!(kept[10..], [50_000, 50_000]);
    }

    #[test]
    fn large_answers_are_kept_for_a_second() {
        // 80 MiB a second.
        assert_eq!(kept_by_second(1 << 20, 80, 4), [80, 80, 80, 80]);
    }

    #[test]
    fn an_answer_beyond_the_bound_waits_for_a_second() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let half = text(MOST / 2);
        for _ in 0..2 {
            assert_eq!(kept.wait(start, MOST / 2 - OVERHEAD * 2), None);
            kept.add(start, text(MOST / 2 - OVERHEAD * 2));
        }
        let later = start + SECOND / 4;
        assert_eq!(kept.wait(later, size(&half)), Some(SECOND / 4 * 3));
        assert_eq!(kept.wait(start + SECOND, size(&half)), None);
        assert!(kept.bytes <= ROOM.max(MOST / 2));
    }

    #[test]
    fn an_answer_larger_than_the_bound_is_kept_alone() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        assert_eq!(kept.wait(start, MOST * 2), None);
        kept.add(start, text(1));
        assert_eq!(kept.wait(start, MOST * 2), Some(SECOND));
        assert_eq!(kept.wait(start + SECOND, MOST * 2), None);
    }
}
