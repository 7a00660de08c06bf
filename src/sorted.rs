//! A sorted list that mostly grows at its end and shrinks at its beginning.

use alloc::collections::VecDeque;

/// Runs that an empty list keeps memory for.
const KEPT: usize = 64;
/// Elements of a run, at most.
pub(crate) const RUN: usize = 64;
/// Two neighbouring runs of no more elements together become one.
pub(crate) const MERGED: usize = RUN / 2;

/// A list in an order that its owner knows, in runs. At its ends it changes in constant time, in
/// between it moves what is behind in the run, and now and then what runs there are behind that.
/// Looking for a position takes O(log n).
///
/// Memory: at most one run for each [`MERGED`] / 2 elements, and one.
#[derive(Debug)]
pub(crate) struct Sorted<T> {
    /// None is empty.
    runs: VecDeque<VecDeque<T>>,
}

/// A place before an element, or the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Position {
    run: usize,
    index: usize,
}

impl Position {
    pub(crate) const START: Self = Self { run: 0, index: 0 };
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { runs: VecDeque::new() }
    }
}

impl<T> Sorted<T> {
    pub(crate) fn end(&self) -> Position {
        Position { run: self.runs.len(), index: 0 }
    }

    /// The first element of which `is_before` is not true, which it is of all before that.
    pub(crate) fn partition_point(&self, mut is_before: impl FnMut(&T) -> bool) -> Position {
        let run = self.runs.partition_point(|run| run.back().is_some_and(&mut is_before));
        let index = self.runs.get(run).map_or(0, |run| run.partition_point(is_before));
        Position { run, index }
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.runs.front()?.front()
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.runs.back()?.back()
    }

    /// The element behind a position.
    pub(crate) fn get(&self, at: Position) -> Option<&T> {
        self.runs.get(at.run)?.get(at.index)
    }

    /// The element before a position.
    pub(crate) fn before(&self, at: Position) -> Option<&T> {
        match at.index.checked_sub(1) {
            Some(index) => self.runs.get(at.run)?.get(index),
            None => self.runs.get(at.run.checked_sub(1)?)?.back(),
        }
    }

    pub(crate) fn insert(&mut self, at: Position, value: T) {
        if let (0, Some(run)) = (at.index, at.run.checked_sub(1))
            && let Some(run) = self.runs.get_mut(run).filter(|run| run.len() < RUN)
        {
            run.push_back(value);
            return;
        }
        match self.runs.get_mut(at.run) {
            Some(run) if run.len() < RUN => run.insert(at.index, value),
            Some(run) if at.index > 0 => {
                let mut rest = run.split_off(RUN / 2);
                match at.index.checked_sub(RUN / 2) {
                    Some(index) => rest.insert(index, value),
                    None => run.insert(at.index, value),
                }
                self.runs.insert(at.run + 1, rest);
            }
            _ => {
                // Between full runs. What is appended to will be full, too.
                let room = if self.runs.is_empty() { 1 } else { RUN };
                let mut run = VecDeque::with_capacity(room);
                run.push_back(value);
                self.runs.insert(at.run, run);
            }
        }
    }

    pub(crate) fn remove(&mut self, at: Position) -> Option<T> {
        let run = self.runs.get_mut(at.run)?;
        let value = run.remove(at.index);
        if run.is_empty() {
            self.runs.remove(at.run);
            if self.runs.is_empty() && self.runs.capacity() > KEPT {
                self.runs = VecDeque::new();
            }
        } else if run.len() <= MERGED {
            self.merge(at.run);
        }
        value
    }

    /// Joins a run with a neighbour if they are small.
    fn merge(&mut self, run: usize) {
        let len = |run: usize| self.runs.get(run).map_or(RUN, VecDeque::len);
        let mut firsts = [run.checked_sub(1), Some(run)].into_iter().flatten();
        if let Some(first) = firsts.find(|first| len(*first) + len(first + 1) <= MERGED)
            && let Some(mut second) = self.runs.remove(first + 1)
            && let Some(first) = self.runs.get_mut(first)
        {
            first.append(&mut second);
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.runs.iter().flatten()
    }

    /// The elements from one position up to another.
    pub(crate) fn range(
        &self,
        from: Position,
        to: Position,
    ) -> impl DoubleEndedIterator<Item = &T> {
        let runs = if from < to { from.run..to.run.saturating_add(1) } else { 0..0 };
        runs.flat_map(move |number| {
            let run = self.runs.get(number);
            let start = if number == from.run { from.index } else { 0 };
            let end = if number == to.run { to.index } else { run.map_or(0, VecDeque::len) };
            run.into_iter().flat_map(move |run| run.range(start..end))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Inserts and removes by `choose(most)`, beside a plain vector, and looks at everything after
    /// each.
    fn compare(steps: usize, most: usize, mut choose: impl FnMut(usize, usize) -> usize) {
        let (mut sorted, mut plain) = (Sorted::default(), Vec::new());
        for step in 0..steps {
            if plain.len() < most && choose(step, 3) > 0 {
                let value = choose(step, 10_000);
                let at = plain.partition_point(|other| *other < value);
                plain.insert(at, value);
                let at = sorted.partition_point(|other| *other < value);
                assert_eq!(sorted.before(at), sorted.iter().rfind(|other| **other < value));
                sorted.insert(at, value);
            } else if !plain.is_empty() {
                let value = plain.remove(choose(step, plain.len()));
                let at = sorted.partition_point(|other| *other < value);
                assert_eq!(sorted.get(at), Some(&value));
                assert_eq!(sorted.remove(at), Some(value));
            }
            assert!(sorted.iter().eq(&plain) && sorted.iter().rev().eq(plain.iter().rev()));
            assert_eq!((sorted.first(), sorted.last()), (plain.first(), plain.last()));
            let lens: Vec<_> = sorted.runs.iter().map(VecDeque::len).collect();
            assert!(lens.iter().all(|len| (1..=RUN).contains(len)), "{lens:?}");
            assert!(lens.windows(2).all(|two| two[0] + two[1] > MERGED), "{lens:?}");
            assert!(sorted.runs.iter().all(|run| run.capacity() <= RUN));
        }
        let (low, high) = (2_000, 7_000);
        let from = sorted.partition_point(|value| *value < low);
        let to = sorted.partition_point(|value| *value < high);
        let between: Vec<_> = plain.iter().filter(|value| (low..high).contains(*value)).collect();
        assert!(sorted.range(from, to).eq(between.iter().copied()));
        assert!(sorted.range(from, to).rev().eq(between.iter().rev().copied()));
        assert!(sorted.range(to, from).next().is_none() || from == to);
        assert!(sorted.range(Position::START, sorted.end()).eq(&plain));
    }

    #[test]
    fn does_what_a_sorted_vector_does() {
        for seed in 1..=4 {
            let mut random = fastrand::Rng::with_seed(seed);
            compare(4_000, 1_000, |_, most| random.usize(..most));
        }
    }

    #[test]
    fn at_its_ends_too() {
        // Appended and taken from the front, and the other way round.
        compare(3_000, 300, |step, most| match most {
            3 => 2,
            10_000 => step,
            _ => 0,
        });
        compare(3_000, 300, |step, most| match most {
            3 => 2,
            10_000 => 9_999 - step,
            len => len - 1,
        });
    }

    #[test]
    fn what_a_burst_took_is_given_back_and_nothing_else_with_it() {
        let (mut sorted, most) = (Sorted::default(), RUN * 2 * KEPT);
        for value in 0..most {
            sorted.insert(sorted.end(), value);
        }
        for value in 0..most {
            assert_eq!((sorted.first(), sorted.last()), (Some(&value), Some(&(most - 1))));
            assert_eq!(sorted.remove(Position::START), Some(value));
        }
        assert_eq!((sorted.first(), sorted.runs.capacity()), (None, 0));
    }

    #[test]
    fn sparse_runs_become_one() {
        let mut sorted = Sorted::default();
        for value in 0..RUN * 20 {
            sorted.insert(sorted.end(), value);
        }
        assert_eq!(sorted.runs.len(), 20);
        for value in (0..RUN * 20).filter(|value| value % RUN > 0) {
            let at = sorted.partition_point(|other| *other < value);
            sorted.remove(at);
        }
        assert_eq!(sorted.iter().count(), 20);
        assert_eq!(sorted.runs.len(), 1);
    }
}
