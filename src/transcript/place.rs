// SPDX-License-Identifier: MPL-2.0

//! Assigns times to words.

use std::collections::VecDeque;

use super::{
    Length, Position, Timing, Word,
    align::{self, Bounds, Neighbours},
    generation::Generation,
    script::space_between,
    state::Transcript,
    text::Said,
    words::{self, Late},
};

/// A word lasts no shorter than this where there is room.
pub const SHORTEST: Length = Length::of_ms(1);

/// A generation's words that have times, on their way out.
#[derive(Debug, Default)]
pub struct PlacedWords {
    /// Where the last one ends.
    end: Position,
    /// The bounds of the last ones.
    neighbours: VecDeque<Bounds>,
    /// Those that wait for audio to lie in, ...
    waiting: VecDeque<Word>,
    /// ... and the one behind them, which waits for the first word behind this edge.
    withheld: Option<(Word, Position)>,
    /// Words that may have been given out before, until that is known.
    again: Option<Vec<Word>>,
    /// Some found no room.
    lost: bool,
}

impl PlacedWords {
    /// `again`: some may have been given out before.
    pub fn new(again: bool) -> PlacedWords {
        PlacedWords { again: again.then(Vec::new), ..PlacedWords::default() }
    }

    /// Whether no word waits, but for those that may have been given out before.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.withheld.is_none()
    }

    /// Whether its words may have been given out before.
    pub fn is_again(&self) -> bool {
        self.again.is_some()
    }

    /// Bytes of text that wait.
    pub fn bytes(&self) -> usize {
        self.waiting.iter().chain(self.again.iter().flatten()).map(|w| w.text.len()).sum()
    }

    /// How many words wait, without the withheld one.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The last of those.
    pub fn last(&self) -> Option<&Word> {
        self.waiting.back()
    }

    /// Where the last word ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// One more word; no word ends behind `limit`.
    pub fn push(&mut self, word: Word, limit: Position) {
        self.end = self.end.max(word.end).min(limit);
        self.waiting.push_back(word);
    }

    pub fn pop(&mut self) -> Option<Word> {
        self.waiting.pop_front()
    }

    pub fn put_back(&mut self, word: Word) {
        self.waiting.push_front(word);
    }

    /// One that is out of the queue finds no room.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    pub fn has_lost(&self) -> bool {
        self.lost
    }

    /// The last word, which is left to another generation.
    pub fn leave(&mut self) -> Option<Word> {
        self.waiting.pop_back()
    }

    /// Forgets all words behind the first `count`. `end`: where the last one ended before those were
    /// placed.
    pub fn truncate(&mut self, count: usize, end: Position, limit: Position) {
        self.waiting.truncate(count);
        self.end = self.last().map_or(end, |w| end.max(w.end).min(limit));
    }

    /// The last word waits for the first one behind this edge.
    pub fn withhold(&mut self, edge: Position) {
        let last = self.waiting.pop_back();
        self.release();
        self.withheld = last.map(|word| (word, edge));
    }

    /// The edge that the last word waits for.
    pub fn withheld_at(&self) -> Option<Position> {
        self.withheld.as_ref().map(|(_, edge)| *edge)
    }

    pub fn take_withheld(&mut self) -> Option<(Word, Position)> {
        self.withheld.take()
    }

    /// The last word waits for nothing.
    pub fn release(&mut self) {
        self.waiting.extend(self.withheld.take().map(|(word, _)| word));
    }

    /// The words that may have been given out before, all that are there.
    pub fn heard_again(&mut self) -> Option<&[Word]> {
        let again = self.again.as_mut()?;
        again.extend(self.waiting.drain(..));
        Some(again)
    }

    /// The first `count` of them were given out before, the others were not.
    pub fn drop_repeats(&mut self, count: usize) {
        self.waiting.extend(self.again.take().into_iter().flatten().skip(count));
    }

    /// Closes the last word; `false`: it is out.
    fn close(&mut self, late: &Late) -> bool {
        let withheld = self.withheld.as_mut().map(|(word, _)| word);
        let again = self.again.as_mut().and_then(|a| a.last_mut());
        let last = withheld.or(self.waiting.back_mut()).or(again);
        last.map(|w| late.close(&mut w.text)).is_some()
    }

    /// Adds the text of those that wait.
    pub fn add_to(&self, text: &mut String) {
        let withheld = self.withheld.as_ref().map(|(word, _)| word);
        for word in self.waiting.iter().chain(withheld) {
            words::add(text, &word.text, word.space_before);
        }
    }
}

impl Transcript {
    /// No word that is placed now begins before this.
    pub(super) fn floor(&self, g: &Generation) -> Position {
        let out = if g.placed.is_again() { Position::START } else { self.emitter.horizon() };
        g.placed.end().max(out).max(g.start()).min(g.limit())
    }

    /// Places words that can be anywhere in a span.
    pub(super) fn place_span(
        &mut self,
        g: &mut Generation,
        words: Vec<Said>,
        (from, to): (Position, Position),
        by_arrival: bool,
    ) {
        let bounds = words
            .iter()
            .map(|w| {
                let came = if by_arrival { g.at(w.sent) } else { Position::MAX };
                (from, from, to.min(came))
            })
            .collect();
        self.place(g, words, bounds, None);
    }

    /// Places words by the sound within these bounds: earliest, end after, latest. `after`: the
    /// word behind them, where the frame clock marks it already.
    pub(super) fn place(
        &mut self,
        g: &mut Generation,
        words: Vec<Said>,
        bounds: Vec<(Position, Position, Position)>,
        after: Option<Bounds>,
    ) {
        self.close_late(g);
        if words.is_empty() {
            return;
        }
        let limit = g.limit();
        let (mut earliest_so_far, mut latest_so_far) = (Position::START, Position::START);
        let mut bounds: Vec<Bounds> = words
            .iter()
            .zip(bounds)
            .map(|(w, (earliest, end_after, latest))| {
                let mut b =
                    Bounds { text: w.text.clone(), earliest, end_after, latest: latest.min(limit) };
                g.told_bounds(w, &mut b);
                b.earliest = b.earliest.max(earliest_so_far);
                b.latest = b.latest.max(latest_so_far).max(b.earliest + SHORTEST);
                b.end_after = b.end_after.min(b.latest);
                earliest_so_far = b.earliest;
                latest_so_far = b.latest;
                b
            })
            .collect();
        // Room for the words behind that must end by the same time.
        let mut latest = Position::MAX;
        for b in bounds.iter_mut().rev() {
            b.latest = b.latest.min(latest).max(b.earliest + Length::new(1));
            b.end_after = b.end_after.min(b.latest);
            latest = b.latest - SHORTEST;
        }
        let timing = match self.detector.timing() {
            // Nothing was said behind its last word.
            Timing::Arrival if g.is_over() => Timing::Utterance,
            known => known,
        };
        let before = g.placed.neighbours.iter().cloned().collect();
        let neighbours = Neighbours { before, after };
        let placed =
            align::place(&self.sound.0, timing, self.emitter.language(), &bounds, &neighbours);
        let near = &mut g.placed.neighbours;
        near.extend(bounds.iter().cloned());
        near.drain(..near.len().saturating_sub(self.clock().searched_along()));
        let again = g.placed.again.as_ref().and_then(|a| a.last());
        let last = g.placed.last().or(again).or(self.emitter.last());
        let mut before = last.map(|w| w.text.clone()).unwrap_or_default();
        for (i, said) in words.into_iter().enumerate() {
            let (begin, end, trust) = match (placed.get(i), bounds.get(i)) {
                (Some(p), _) => (p.begin, p.end, p.confidence),
                (None, Some(b)) => (b.earliest, b.latest, 0.0),
                (None, None) => (limit, limit, 0.0),
            };
            let space_before =
                if said.edge { space_between(&before, &said.text) } else { said.space_before };
            before.clone_from(&said.text);
            let word = Word {
                space_before,
                text: said.text,
                begin,
                end,
                time_confidence: if trust.is_finite() { trust.clamp(0.0, 1.0) } else { 0.0 },
                confidence: said.confidence,
            };
            g.placed.push(word, limit);
        }
    }

    /// Marks came for a word that is placed, or out.
    pub(super) fn close_late(&mut self, g: &mut Generation) {
        for late in g.text.take_late() {
            if !g.placed.close(&late) {
                self.emitter.correct(&late);
            }
        }
    }
}
