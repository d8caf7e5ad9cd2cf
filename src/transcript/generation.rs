// SPDX-License-Identifier: MPL-2.0

//! A generation under way: its audio, its text, its words on their way out.

use super::{
    Length, Position, align::Bounds, clock::Progress, place::PlacedWords,
    server_times::ServerTimes, text::Said, text::Text,
};

/// A place in a generation's audio: so many samples of it lie before, the padding at its end
/// included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SampleInGeneration(u64);

crate::position::count!(SampleInGeneration);
crate::position::arithmetic! {
    Add::add(at: SampleInGeneration, by: Length) -> Self = Self(at.saturating_add(by.samples()));
    Sub::sub(at: SampleInGeneration, by: Length) -> Self = Self(at.saturating_sub(by.samples()));
    Sub::sub(to: SampleInGeneration, at: Self) -> Length = Length::new(to.saturating_sub(at.0));
}

impl SampleInGeneration {
    pub const START: SampleInGeneration = SampleInGeneration(0);

    /// How much lies before.
    pub fn length(self) -> Length {
        Length::new(self.0)
    }

    /// Its position, where the generation begins at `start`.
    pub fn position(self, start: Position) -> Position {
        start + self.length()
    }
}

#[derive(Debug, Default)]
pub struct Generation {
    start: Position,
    sent: SampleInGeneration,
    /// Where its audio ends, once the final commit was sent.
    end: Option<Position>,
    padding: Length,
    /// Its audio that was there when it began.
    waited: Length,
    /// All its text is there.
    over: bool,
    /// Words of the utterance given out before it; so many of its own were given out before.
    before: usize,
    again: usize,
    partial: String,
    pub text: Text,
    pub told: ServerTimes,
    pub placed: PlacedWords,
    /// Of its segments, where it has any.
    pub segments: Progress,
}

impl Generation {
    /// `waited`: its audio that is there; `heard_before`: some of it was; `before`:
    /// words of the utterance given out before it.
    pub fn new(start: Position, waited: Length, heard_before: bool, before: usize) -> Self {
        let placed = PlacedWords::new(heard_before);
        Generation { start, waited, before, placed, ..Generation::default() }
    }

    pub fn start(&self) -> Position {
        self.start
    }

    /// Up to here it was sent.
    pub fn sent(&self) -> SampleInGeneration {
        self.sent
    }

    /// Notes up to where it was sent.
    pub fn note_sent(&mut self, sent: SampleInGeneration) {
        if self.end.is_none() {
            self.sent = self.sent.max(sent);
        }
    }

    /// The final commit was sent.
    pub fn end_audio(&mut self, end: Position, padding: Length) {
        let end = end.max(self.start);
        self.end = Some(end);
        self.padding = padding;
        self.sent = self.sample(end) + padding;
    }

    /// Whether the final commit was sent.
    pub fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Where its audio ends so far, without the padding.
    pub fn audio_end(&self) -> SampleInGeneration {
        self.end.map_or(self.sent - self.padding, |end| self.sample(end))
    }

    /// The position of a sample of it.
    pub fn at(&self, sample: SampleInGeneration) -> Position {
        sample.position(self.start)
    }

    /// Its sample at this position.
    pub fn sample(&self, position: Position) -> SampleInGeneration {
        SampleInGeneration::START + (position - self.start)
    }

    /// No word ends behind this position.
    pub fn limit(&self) -> Position {
        self.at(self.audio_end())
    }

    /// Its audio that was there when it began.
    pub fn waited(&self) -> Length {
        self.waited
    }

    /// All its text is there.
    pub fn set_over(&mut self) {
        self.over = true;
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Words of the utterance given out before it.
    pub fn before(&self) -> usize {
        self.before
    }

    /// How many of its own words were given out before it.
    pub fn again(&self) -> usize {
        self.again
    }

    pub fn set_again(&mut self, count: usize) {
        self.again = count;
    }

    /// Bounds of a word by what the server told, within the clock's.
    pub fn told_bounds(&self, word: &Said, bounds: &mut Bounds) {
        let (earliest, latest) = self.told.bounds(word.letters, &word.text);
        if let Some(e) = earliest.map(|e| self.at(e)).filter(|e| *e < bounds.latest) {
            bounds.earliest = bounds.earliest.max(e);
            bounds.end_after = bounds.end_after.max(bounds.earliest);
        }
        if let Some(l) = latest.map(|l| self.at(l)).filter(|l| *l > bounds.earliest) {
            bounds.latest = bounds.latest.min(l);
            bounds.end_after = bounds.end_after.min(bounds.latest);
        }
    }

    /// The text that may still grow, where it is another than before.
    pub fn partial(&mut self) -> Option<&str> {
        let mut text = String::new();
        self.placed.add_to(&mut text);
        self.text.add_to(&mut text);
        let other = text != self.partial;
        self.partial = text;
        other.then_some(&self.partial)
    }
}
