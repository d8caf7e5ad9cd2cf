// SPDX-License-Identifier: MPL-2.0

//! A server of another kind: plain text while the audio comes, each word some time after it was
//! spoken; the rest after the final commit.

use std::time::{Duration, Instant};

use super::{Audio, Rhythm, Step};
use crate::Config;
use crate::voice::{Speech, Word, space_between};

/// Samples in a step of the delay.
const FRAME: u64 = 1280;

#[derive(Debug)]
pub(super) struct Arrival {
    /// Samples between a word's end and its text.
    delay: u64,
    /// It was heard to its end, and not said yet.
    next: Option<Word>,
    before: String,
    consumed: u64,
    said: u64,
}

impl Arrival {
    pub fn new(config: &Config) -> Self {
        Arrival {
            delay: config.delay * FRAME,
            next: None,
            before: String::new(),
            consumed: 0,
            said: 0,
        }
    }
}

impl Rhythm for Arrival {
    fn step(&mut self, audio: Audio, speech: &mut dyn Speech, now: Instant) -> Step {
        if self.next.is_none() {
            self.next = speech.next_word();
        }
        let due = |w: &mut Word| audio.ended || w.end + self.delay <= audio.samples;
        if let Some(word) = self.next.take_if(due) {
            // A mark alone closes the word before it.
            let mark = !word.text.chars().any(char::is_alphanumeric);
            let spaced =
                !mark && !self.before.ends_with(' ') && space_between(&self.before, &word.text);
            let lead = if spaced { " " } else { "" };
            let text = format!("{lead}{}", word.text);
            self.before = word.text;
            self.said += 1;
            let cost = audio.samples - self.consumed;
            self.consumed = audio.samples;
            return Step::Delta { text, cost, segment: None };
        }
        if !audio.ended {
            return Step::Wait(speech.is_hearing().then(|| now + Duration::from_millis(20)));
        }
        if !speech.finished() {
            return Step::Wait(Some(now + Duration::from_millis(20)));
        }
        // What came with the end of the recognition.
        self.next = speech.next_word();
        if self.next.is_some() {
            return Step::Wait(Some(now));
        }
        self.consumed = audio.samples;
        let prompt = audio.samples / FRAME;
        Step::Done { prompt, completion: self.said, text: None, unasked: false }
    }

    fn ready(&self, audio: Audio) -> bool {
        audio.samples > 0
    }

    fn consumed(&self) -> u64 {
        self.consumed
    }

    fn words(&self) -> u64 {
        self.said
    }
}
