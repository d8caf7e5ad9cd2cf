// SPDX-License-Identifier: MPL-2.0

//! Audio whose words are not safe yet, kept for replay.

use std::collections::VecDeque;

use crate::{Length, Position};

#[derive(Debug)]
struct Chunk {
    begin: Position,
    samples: Vec<i16>,
}

impl Chunk {
    fn end(&self) -> Position {
        self.begin + Length::of(&self.samples)
    }
}

/// Samples by position, oldest first, holes allowed. Owned by the session, which forgets what is
/// safe and, at the bound (`max-backlog`), what has to be given up.
#[derive(Debug, Default)]
pub struct History {
    chunks: VecDeque<Chunk>,
    /// What lies before this is forgotten.
    begin: Position,
    end: Position,
    kept: Length,
}

impl History {
    /// Adds samples; those that lie before [`History::end`] are left out.
    pub fn push(&mut self, position: Position, mut samples: Vec<i16>) {
        let known = (self.end - position).min(Length::of(&samples));
        samples.drain(..known.count());
        if samples.is_empty() {
            return;
        }
        let chunk = Chunk { begin: position + known, samples };
        self.end = chunk.end();
        self.kept += Length::of(&chunk.samples);
        self.chunks.push_back(chunk);
    }

    /// No samples come before `position`.
    pub fn skip_to(&mut self, position: Position) {
        self.end = self.end.max(position);
    }

    /// Position behind the last sample.
    pub fn end(&self) -> Position {
        self.end
    }

    /// How much is kept. What is forgotten of the oldest buffer does not count: it can be a whole
    /// backlog.
    pub fn kept(&self) -> Length {
        self.chunks.front().map_or(self.kept, |c| self.kept - (self.begin - c.begin))
    }

    /// The samples of `from..to` that are kept, at most `most`.
    pub fn read(&self, from: Position, to: Position, most: usize) -> Vec<i16> {
        let from = from.max(self.begin);
        let first = self.chunks.partition_point(|c| c.end() <= from);
        let mut out = Vec::new();
        for c in self.chunks.range(first..) {
            if c.begin >= to || out.len() >= most {
                break;
            }
            let a = (from - c.begin).count();
            let b = (to - c.begin).count().min(c.samples.len());
            let b = b.min(a + most - out.len());
            out.extend_from_slice(c.samples.get(a..b).unwrap_or_default());
        }
        out
    }

    /// Samples before `position` are not needed any more.
    pub fn forget_before(&mut self, position: Position) {
        self.begin = self.begin.max(position.min(self.end));
        while self.chunks.front().is_some_and(|c| c.end() <= self.begin) {
            let gone = self.chunks.pop_front().map_or(Length::ZERO, |c| Length::of(&c.samples));
            self.kept = self.kept - gone;
        }
    }

    /// The samples of `from..to` are not needed any more; what lies before is.
    pub fn forget(&mut self, from: Position, to: Position) {
        if from >= to {
            return;
        }
        let (first, last) = (self.cut(from), self.cut(to));
        self.chunks.drain(first..last).for_each(|c| self.kept = self.kept - Length::of(&c.samples));
        self.forget_before(self.begin);
    }

    /// Index of the first chunk at or behind this position; one that goes across is cut in two.
    fn cut(&mut self, position: Position) -> usize {
        let at = self.chunks.partition_point(|c| c.end() <= position);
        let Some(c) = self.chunks.get_mut(at).filter(|c| c.begin < position) else { return at };
        let samples = c.samples.split_off((position - c.begin).count());
        self.chunks.insert(at + 1, Chunk { begin: position, samples });
        at + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{len, pos};

    fn ramp(from: i16, n: usize) -> Vec<i16> {
        (from..).take(n).collect()
    }

    #[test]
    fn the_middle_of_chunks_is_forgotten_to_the_sample() {
        let mut h = History::default();
        h.push(pos(0), ramp(0, 10));
        h.push(pos(10), ramp(10, 10));
        h.forget(pos(3), pos(5));
        assert_eq!((h.kept(), h.read(pos(0), pos(20), 100).len()), (len(18), 18));
        h.forget(pos(8), pos(12));
        assert_eq!(h.kept(), len(14));
        assert_eq!(h.read(pos(0), pos(20), 100), [ramp(0, 3), ramp(5, 3), ramp(12, 8)].concat());
        h.forget(pos(0), pos(0));
        h.forget(pos(7), pos(7));
        h.forget(pos(30), pos(40));
        assert_eq!(h.kept(), len(14));
        h.forget_before(pos(6));
        assert_eq!((h.kept(), h.read(pos(0), pos(7), 100)), (len(10), ramp(6, 1)));
        h.forget(pos(0), pos(100));
        assert_eq!((h.kept(), h.end()), (len(0), pos(20)));
    }

    #[test]
    fn reads_across_chunks() {
        let mut h = History::default();
        h.push(pos(0), ramp(0, 10));
        h.push(pos(10), ramp(10, 10));
        assert_eq!(h.read(pos(5), pos(15), 100), ramp(5, 10));
        assert_eq!(h.read(pos(5), pos(15), 7), ramp(5, 7));
        assert_eq!(h.read(pos(20), pos(30), 7), ramp(0, 0));
        assert_eq!(h.end(), pos(20));
    }

    #[test]
    fn forgets_and_counts() {
        let mut h = History::default();
        for i in 0..100u64 {
            h.push(pos(i * 10), ramp(0, 10));
            h.forget_before(pos((i * 10).saturating_sub(25)));
            assert!(h.kept() <= len(50));
        }
        h.forget_before(Position::MAX);
        assert_eq!((h.kept(), h.end()), (len(0), pos(1000)));
        assert_eq!(h.read(pos(0), pos(1000), 1000), ramp(0, 0));
    }

    #[test]
    fn what_comes_twice_is_kept_once() {
        let mut h = History::default();
        h.push(pos(0), ramp(0, 10));
        h.push(pos(5), ramp(5, 10));
        h.push(pos(3), ramp(3, 2));
        assert_eq!(h.read(pos(0), pos(99), 100), ramp(0, 15));
    }

    #[test]
    fn holes_are_left_out() {
        let mut h = History::default();
        h.push(pos(0), ramp(0, 10));
        h.push(pos(100), ramp(100, 10));
        assert_eq!(h.read(pos(5), pos(105), 100), [ramp(5, 5), ramp(100, 5)].concat());
    }
}
