// SPDX-License-Identifier: MPL-2.0

//! A generation under way: its audio, its text, its words on their way out.

use super::{
    align::Bounds, clock::Progress, place::Placed, server_times::ServerTimes, text::Said,
    text::Text,
};

#[derive(Debug)]
pub struct Generation {
    start: u64,
    /// Samples sent so far, padding included.
    sent: u64,
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
    pub placed: Placed,
    /// Of its segments, where it has any.
    pub segments: Progress,
}

impl Generation {
    /// `waited`: samples of its audio that are there; `heard_before`: some of it was; `before`:
    /// words of the utterance given out before it.
    pub fn new(start: u64, waited: u64, heard_before: bool, before: usize) -> Self {
        Generation {
            start,
            sent: 0,
            end: None,
            padding: 0,
            waited,
            over: false,
            before,
            again: 0,
            partial: String::new(),
            text: Text::default(),
            told: ServerTimes::default(),
            placed: Placed::new(heard_before),
            segments: Progress::default(),
        }
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// Samples sent so far, padding included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Notes samples that were sent.
    pub fn note_sent(&mut self, sent: u64) {
        if self.end.is_none() {
            self.sent = self.sent.max(sent);
        }
    }

    /// The final commit was sent.
    pub fn end_audio(&mut self, end: u64, padding: u64) {
        let end = end.max(self.start);
        self.end = Some(end);
        self.padding = padding;
        self.sent = end.saturating_sub(self.start).saturating_add(padding);
    }

    /// Whether the final commit was sent.
    pub fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Samples of audio without the padding.
    pub fn samples(&self) -> u64 {
        match self.end {
            Some(end) => end.saturating_sub(self.start),
            None => self.sent.saturating_sub(self.padding),
        }
    }

    /// The position of a sample of it.
    pub fn at(&self, sample: u64) -> u64 {
        self.start.saturating_add(sample)
    }

    /// No word ends behind this position.
    pub fn limit(&self) -> u64 {
        self.at(self.samples())
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
