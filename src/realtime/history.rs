// SPDX-License-Identifier: MPL-2.0

//! Audio whose words are not safe yet, kept for replay.

use std::collections::VecDeque;

#[derive(Debug)]
struct Chunk {
    begin: u64,
    samples: Vec<i16>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.begin + self.samples.len() as u64
    }
}

/// Samples by position, oldest first, holes allowed. Owned by the session, which forgets what is
/// safe and, at the bound (`max-backlog`), what has to be given up.
#[derive(Debug, Default)]
pub struct History {
    chunks: VecDeque<Chunk>,
    /// What lies before this is forgotten.
    begin: u64,
    end: u64,
    kept: u64,
}

impl History {
    /// Adds samples; those that lie before [`History::end`] are left out.
    pub fn push(&mut self, position: u64, mut samples: Vec<i16>) {
        let known = self.end.saturating_sub(position).min(samples.len() as u64);
        samples.drain(..known as usize);
        if samples.is_empty() {
            return;
        }
        let chunk = Chunk { begin: position + known, samples };
        self.end = chunk.end();
        self.kept += chunk.samples.len() as u64;
        self.chunks.push_back(chunk);
    }

    /// No samples come before `position`.
    pub fn skip_to(&mut self, position: u64) {
        self.end = self.end.max(position);
    }

    /// Position behind the last sample.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many samples are kept. What is forgotten of the oldest buffer does not count: it can
    /// be a whole backlog.
    pub fn kept(&self) -> u64 {
        let gone = self.chunks.front().map_or(0, |c| self.begin.saturating_sub(c.begin));
        self.kept.saturating_sub(gone)
    }

    /// The samples of `from..to` that are kept, at most `most`.
    pub fn read(&self, from: u64, to: u64, most: usize) -> Vec<i16> {
        let from = from.max(self.begin);
        let first = self.chunks.partition_point(|c| c.end() <= from);
        let mut out = Vec::new();
        for c in self.chunks.range(first..) {
            if c.begin >= to || out.len() >= most {
                break;
            }
            let a = from.saturating_sub(c.begin) as usize;
            let b = (to - c.begin).min(c.samples.len() as u64) as usize;
            let b = b.min(a + most - out.len());
            out.extend_from_slice(c.samples.get(a..b).unwrap_or_default());
        }
        out
    }

    /// Samples before `position` are not needed any more.
    pub fn forget_before(&mut self, position: u64) {
        self.begin = self.begin.max(position.min(self.end));
        while self.chunks.front().is_some_and(|c| c.end() <= self.begin) {
            self.kept -= self.chunks.pop_front().map_or(0, |c| c.samples.len() as u64);
        }
    }

    /// The samples of `from..to` are not needed any more; what lies before is.
    pub fn forget(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (first, last) = (self.cut(from), self.cut(to));
        self.kept -= self.chunks.drain(first..last).map(|c| c.samples.len() as u64).sum::<u64>();
        self.forget_before(self.begin);
    }

    /// Index of the first chunk at or behind this position; one that goes across is cut in two.
    fn cut(&mut self, position: u64) -> usize {
        let at = self.chunks.partition_point(|c| c.end() <= position);
        let Some(c) = self.chunks.get_mut(at).filter(|c| c.begin < position) else { return at };
        let samples = c.samples.split_off((position - c.begin) as usize);
        self.chunks.insert(at + 1, Chunk { begin: position, samples });
        at + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(from: i16, n: usize) -> Vec<i16> {
        (from..).take(n).collect()
    }

    #[test]
    fn the_middle_of_chunks_is_forgotten_to_the_sample() {
        let mut h = History::default();
        h.push(0, ramp(0, 10));
        h.push(10, ramp(10, 10));
        h.forget(3, 5);
        assert_eq!((h.kept(), h.read(0, 20, 100).len()), (18, 18));
        h.forget(8, 12);
        assert_eq!(h.kept(), 14);
        assert_eq!(h.read(0, 20, 100), [ramp(0, 3), ramp(5, 3), ramp(12, 8)].concat());
        h.forget(0, 0);
        h.forget(7, 7);
        h.forget(30, 40);
        assert_eq!(h.kept(), 14);
        h.forget_before(6);
        assert_eq!((h.kept(), h.read(0, 7, 100)), (10, ramp(6, 1)));
        h.forget(0, 100);
        assert_eq!((h.kept(), h.end()), (0, 20));
    }

    #[test]
    fn reads_across_chunks() {
        let mut h = History::default();
        h.push(0, ramp(0, 10));
        h.push(10, ramp(10, 10));
        assert_eq!(h.read(5, 15, 100), ramp(5, 10));
        assert_eq!(h.read(5, 15, 7), ramp(5, 7));
        assert_eq!(h.read(20, 30, 7), ramp(0, 0));
        assert_eq!(h.end(), 20);
    }

    #[test]
    fn forgets_and_counts() {
        let mut h = History::default();
        for i in 0..100u64 {
            h.push(i * 10, ramp(0, 10));
            h.forget_before((i * 10).saturating_sub(25));
            assert!(h.kept() <= 50);
        }
        h.forget_before(u64::MAX);
        assert_eq!((h.kept(), h.end()), (0, 1000));
        assert_eq!(h.read(0, 1000, 1000), ramp(0, 0));
    }

    #[test]
    fn what_comes_twice_is_kept_once() {
        let mut h = History::default();
        h.push(0, ramp(0, 10));
        h.push(5, ramp(5, 10));
        h.push(3, ramp(3, 2));
        assert_eq!(h.read(0, 99, 100), ramp(0, 15));
    }

    #[test]
    fn holes_are_left_out() {
        let mut h = History::default();
        h.push(0, ramp(0, 10));
        h.push(100, ramp(100, 10));
        assert_eq!(h.read(5, 105, 100), [ramp(5, 5), ramp(100, 5)].concat());
    }
}
