// SPDX-License-Identifier: MPL-2.0

//! A generation under way: its audio, its text, its words on their way out.

use std::ops::{Add, Sub};

use super::{
    align::Bounds, clock::Progress, place::PlacedWords, server_times::ServerTimes, text::Said,
    text::Text,
};

/// A place in a generation's audio: so many samples of it lie before, the padding at its end
/// included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SampleInGeneration(u64);

impl SampleInGeneration {
    /// Its beginning.
    pub const START: SampleInGeneration = SampleInGeneration(0);

    /// Behind so many samples.
    pub const fn behind(samples: u64) -> SampleInGeneration {
        SampleInGeneration(samples)
    }

    /// How many samples lie before.
    pub const fn samples(self) -> u64 {
        self.0
    }

    /// Its position, where the generation begins at `start`.
    pub const fn position(self, start: u64) -> u64 {
        start.saturating_add(self.0)
    }
}

impl Add<u64> for SampleInGeneration {
    type Output = SampleInGeneration;

    fn add(self, samples: u64) -> SampleInGeneration {
        SampleInGeneration(self.0.saturating_add(samples))
    }
}

/// No further back than its beginning.
impl Sub<u64> for SampleInGeneration {
    type Output = SampleInGeneration;

    fn sub(self, samples: u64) -> SampleInGeneration {
        SampleInGeneration(self.0.saturating_sub(samples))
    }
}

/// How many samples lie between; none where it lies before.
impl Sub for SampleInGeneration {
    type Output = u64;

    fn sub(self, before: SampleInGeneration) -> u64 {
        self.0.saturating_sub(before.0)
    }
}

#[derive(Debug)]
pub struct Generation {
    start: u64,
    sent: SampleInGeneration,
    /// Where its audio ends, once the final commit was sent.
    end: Option<u64>,
    padding: u64,
    /// Samples of its audio that were there when it began.
    waited: u64,
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
    /// `waited`: samples of its audio that are there; `heard_before`: some of it was; `before`:
    /// words of the utterance given out before it.
    pub fn new(start: u64, waited: u64, heard_before: bool, before: usize) -> Self {
        Generation {
            start,
            sent: SampleInGeneration::START,
            end: None,
            padding: 0,
            waited,
            over: false,
            before,
            again: 0,
            partial: String::new(),
            text: Text::default(),
            told: ServerTimes::default(),
            placed: PlacedWords::new(heard_before),
            segments: Progress::default(),
        }
    }

    pub fn start(&self) -> u64 {
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
    pub fn end_audio(&mut self, end: u64, padding: u64) {
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
    pub fn at(&self, sample: SampleInGeneration) -> u64 {
        sample.position(self.start)
    }

    /// Its sample at this position.
    pub fn sample(&self, position: u64) -> SampleInGeneration {
        SampleInGeneration(position.saturating_sub(self.start))
    }

    /// No word ends behind this position.
    pub fn limit(&self) -> u64 {
        self.at(self.audio_end())
    }

    /// Samples of its audio that were there when it began.
    pub fn waited(&self) -> u64 {
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
