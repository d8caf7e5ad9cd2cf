// SPDX-License-Identifier: MPL-2.0

//! Which stretches of the audio are utterances, and what became of every sample.

use std::collections::VecDeque;

use super::{Position, Stats};

/// From here to there.
type Stretch = (Position, Position);

/// A stretch of audio that is one utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub begin: Position,
    /// `None` while the utterance goes on.
    pub end: Option<Position>,
}

impl Span {
    /// Whether it is known to end here or earlier.
    pub fn ends_by(&self, position: Position) -> bool {
        self.end.is_some_and(|end| end <= position)
    }

    /// Its end, or this one where that comes first.
    pub fn end_within(&self, end: Position) -> Position {
        self.end.map_or(end, |own| own.min(end))
    }
}

/// The utterances not yet done, oldest first; the front one is the one under way.
///
/// Every sample is accounted for once: its words are safe (`confirmed`), it was silence that is
/// not sent (`skipped`), or it was given up (`dropped`).
#[derive(Debug, Default)]
pub struct Utterances {
    spans: VecDeque<Span>,
    /// All before this is accounted for.
    settled: Position,
    confirmed: u64,
    skipped: u64,
    dropped: u64,
    flushed: u64,
    /// Given up and not settled yet, in order.
    holes: VecDeque<Stretch>,
}

impl Utterances {
    pub fn front(&self) -> Option<Span> {
        self.spans.front().copied()
    }

    pub fn back(&self) -> Option<Span> {
        self.spans.back().copied()
    }

    /// Where the audio of the utterances goes on from here.
    pub fn next_from(&self, position: Position) -> Option<Position> {
        let next = self.spans.iter().find(|s| !s.ends_by(position));
        next.map(|s| s.begin.max(position))
    }

    pub fn is_open(&self) -> bool {
        self.spans.back().is_some_and(|s| s.end.is_none())
    }

    /// Whether every utterance that ends here or earlier is over.
    pub fn is_over(&self, position: Position) -> bool {
        self.front().is_none_or(|s| s.begin >= position && !s.ends_by(position))
    }

    /// What became of the samples that came in.
    pub fn count(&self, stats: &mut Stats) {
        stats.samples_confirmed = self.confirmed;
        stats.samples_skipped = self.skipped;
        stats.samples_dropped = self.dropped;
        stats.samples_flushed = self.flushed;
        let over = self.confirmed + self.skipped + self.dropped + self.flushed;
        stats.samples_unconfirmed = stats.samples_in.saturating_sub(over);
    }

    /// Position before which every sample is accounted for.
    pub fn settled(&self) -> Position {
        self.settled
    }

    /// An utterance begins.
    pub fn open(&mut self, begin: Position) {
        self.close(begin);
        let begin = begin.max(self.spans.back().and_then(|s| s.end).unwrap_or(self.settled));
        // Nor in what was given up.
        let begin = begin.max(self.holes.back().map_or(begin, |h| h.1));
        self.spans.push_back(Span { begin, end: None });
    }

    /// The open utterance ends.
    pub fn close(&mut self, end: Position) {
        if let Some(s) = self.spans.back_mut().filter(|s| s.end.is_none()) {
            s.end = Some(end.max(s.begin));
        }
    }

    /// The front utterance is cut in two.
    pub fn split_front(&mut self, at: Position) {
        if let Some(s) = self.spans.front_mut() {
            let rest = Span { begin: at.max(s.begin), end: s.end };
            s.end = Some(rest.begin);
            self.spans.insert(1, rest);
        }
    }

    /// The words of the front utterance are safe up to here.
    pub fn confirm(&mut self, to: Position) {
        self.confirmed += self.advance_front(to);
    }

    /// The front utterance, which has ended, is over.
    pub fn finish(&mut self) {
        if let Some(end) = self.front().and_then(|s| s.end) {
            self.confirm(end);
            self.spans.pop_front();
        }
    }

    /// Audio outside of any utterance, up to here, is not wanted.
    pub fn skip(&mut self, to: Position) {
        let to = self.spans.front().map_or(to, |s| s.begin.min(to));
        self.skipped += self.settle(to);
    }

    /// The front utterance goes on, and up to here nothing is said in it.
    pub fn skip_front(&mut self, to: Position) {
        self.skipped += self.advance_front(to);
    }

    /// The front utterance begins here; returns as [`Utterances::settle`].
    fn advance_front(&mut self, to: Position) -> u64 {
        let Some(front) = self.spans.front().copied() else { return 0 };
        self.skip(front.begin);
        let to = front.end_within(to);
        if let Some(s) = self.spans.front_mut() {
            s.begin = s.begin.max(to);
        }
        self.settle(to)
    }

    /// Moves on; returns how many samples on the way were not given up before.
    fn settle(&mut self, to: Position) -> u64 {
        let mut count = to - self.settled;
        self.settled = self.settled.max(to);
        while let Some(hole) = self.holes.front_mut().filter(|h| h.0 < self.settled) {
            let end = hole.1.min(self.settled);
            count = count - (end - hole.0);
            hole.0 = end;
            if hole.0 == hole.1 {
                self.holes.pop_front();
            }
        }
        count.samples()
    }

    /// Gives up the audio from `from` (not before the front utterance's begin) to `to`, through
    /// as many utterances as that takes. What lies before `from` in the front utterance stays an
    /// utterance of its own where `keep_front` says so. Returns the stretches given up, in order.
    pub fn give_up(&mut self, from: Position, to: Position, keep_front: bool) -> Vec<Stretch> {
        let mut lost = Vec::new();
        let mut at = 0;
        if keep_front && self.front().is_some_and(|s| from > s.begin) {
            if self.front().is_some_and(|s| !s.ends_by(from)) {
                self.split_front(from);
            }
            at = 1;
        }
        while let Some(s) = self.spans.get_mut(at).filter(|s| s.begin < to) {
            let end = s.end_within(to);
            if end > s.begin {
                lost.push((s.begin, end));
            }
            if s.end == Some(end) {
                self.spans.remove(at);
            } else {
                s.begin = end;
                break;
            }
        }
        for &hole in &lost {
            self.dropped += (hole.1 - hole.0).samples();
            let place = self.holes.partition_point(|h| h.0 < hole.0);
            self.holes.insert(place, hole);
        }
        lost
    }

    /// All is forgotten up to here: nothing of it will be confirmed.
    pub fn flush(&mut self, to: Position) {
        self.spans.clear();
        self.flushed += self.settle(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    fn give_up(p: &mut Utterances, from: u64, to: u64, keep_front: bool) -> Vec<(u64, u64)> {
        let lost = p.give_up(pos(from), pos(to), keep_front);
        lost.iter().map(|(begin, end)| (begin.samples(), end.samples())).collect()
    }

    /// confirmed, skipped, dropped, flushed
    fn sums(p: &Utterances) -> [u64; 4] {
        [p.confirmed, p.skipped, p.dropped, p.flushed]
    }

    #[test]
    fn every_sample_is_accounted_for_once() {
        let mut p = Utterances::default();
        p.open(pos(100));
        p.confirm(pos(150));
        p.close(pos(200));
        p.open(pos(300));
        p.finish();
        assert_eq!(sums(&p), [100, 100, 0, 0]);
        assert!(p.is_over(pos(200)) && p.is_over(pos(300)));
        p.close(pos(400));
        p.finish();
        p.skip(pos(1000));
        assert_eq!(sums(&p), [200, 800, 0, 0]);
        assert_eq!((p.settled(), p.front()), (pos(1000), None));
    }

    #[test]
    fn a_split_makes_two_utterances_of_one() {
        let mut p = Utterances::default();
        p.open(pos(0));
        p.split_front(pos(50));
        assert_eq!((p.spans.len(), p.is_open()), (2, true));
        p.finish();
        assert_eq!(p.front(), Some(Span { begin: pos(50), end: None }));
        p.close(pos(80));
        p.finish();
        assert_eq!(sums(&p), [80, 0, 0, 0]);
    }

    #[test]
    fn giving_up_keeps_what_was_sent() {
        let mut p = Utterances::default();
        p.open(pos(0));
        p.close(pos(100));
        p.open(pos(150));
        p.close(pos(200));
        p.open(pos(250));
        assert_eq!(give_up(&mut p, 60, 300, true), [(60, 100), (150, 200), (250, 300)]);
        let front = Span { begin: pos(0), end: Some(pos(60)) };
        assert_eq!((p.spans.len(), p.front()), (2, Some(front)));
        p.finish();
        assert_eq!(p.front(), Some(Span { begin: pos(300), end: None }));
        p.close(pos(400));
        p.finish();
        p.skip(pos(400));
        assert_eq!(sums(&p), [160, 100, 140, 0]);
        assert!(p.is_over(pos(400)));
    }

    #[test]
    fn giving_up_before_what_was_given_up() {
        let mut p = Utterances::default();
        p.open(pos(0));
        assert_eq!(give_up(&mut p, 60, 100, true), [(60, 100)]);
        assert_eq!(give_up(&mut p, 0, 20, false), [(0, 20)]);
        p.finish();
        p.close(pos(150));
        p.finish();
        assert_eq!(sums(&p), [90, 0, 60, 0]);
    }

    #[test]
    fn an_utterance_does_not_begin_in_what_was_given_up() {
        let mut p = Utterances::default();
        p.open(pos(0));
        assert_eq!(give_up(&mut p, 50, 100, true), [(50, 100)]);
        p.close(pos(100));
        // Speech is found some time after it began.
        p.open(pos(90));
        p.close(pos(150));
        p.finish();
        p.finish();
        p.finish();
        assert_eq!(sums(&p), [100, 0, 50, 0]);
    }

    #[test]
    fn giving_up_from_the_front() {
        let mut p = Utterances::default();
        p.open(pos(10));
        p.confirm(pos(20));
        assert_eq!(give_up(&mut p, 20, 50, false), [(20, 50)]);
        assert_eq!(p.front(), Some(Span { begin: pos(50), end: None }));
        p.flush(pos(70));
        assert_eq!(sums(&p), [10, 10, 30, 20]);
    }
}
