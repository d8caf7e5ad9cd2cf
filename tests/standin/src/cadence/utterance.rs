// SPDX-License-Identifier: MPL-2.0

//! A server of another kind: plain text after the final commit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Audio, Rhythm, Step};
use crate::Config;
use crate::voice::{Speech, space_between};

#[derive(Debug)]
pub(super) struct Utterance {
    /// Deltas that the text is divided into.
    parts: usize,
    text: String,
    before: String,
    deltas: Option<VecDeque<String>>,
    done: Option<String>,
    consumed: u64,
    said: u64,
    tokens: u64,
}

impl Utterance {
    pub fn new(config: &Config) -> Self {
        Utterance {
            parts: config.utterance_deltas.max(1),
            text: String::new(),
            before: String::new(),
            deltas: None,
            done: None,
            consumed: 0,
            said: 0,
            tokens: 0,
        }
    }

    /// The next word, with the space before it.
    fn word(&mut self, speech: &mut dyn Speech) -> Option<String> {
        let word = speech.next_word()?.text;
        let lead = if space_between(&self.before, &word) { " " } else { "" };
        let text = format!("{lead}{word}");
        self.before = word;
        self.said += 1;
        Some(text)
    }

    /// The text in a few parts, cut at its words.
    fn cut(&self) -> VecDeque<String> {
        let text = self.text.trim_start();
        let size = text.len().div_ceil(self.parts).max(1);
        let mut parts = VecDeque::new();
        let mut part = String::new();
        for word in text.split_inclusive(' ') {
            part.push_str(word);
            if part.len() >= size {
                parts.push_back(std::mem::take(&mut part));
            }
        }
        if !part.is_empty() {
            parts.push_back(part);
        }
        parts
    }
}

impl Rhythm for Utterance {
    fn step(&mut self, audio: Audio, speech: &mut dyn Speech, now: Instant) -> Step {
        if self.deltas.is_none() {
            while let Some(text) = self.word(speech) {
                self.text.push_str(&text);
            }
            if !audio.ended {
                return Step::Wait(None);
            }
            if !speech.finished() {
                return Step::Wait(Some(now + Duration::from_millis(20)));
            }
            // What came with the end of the recognition.
            if let Some(text) = self.word(speech) {
                self.text.push_str(&text);
                return Step::Wait(Some(now));
            }
            self.deltas = Some(match speech.deltas() {
                Some((deltas, done)) => {
                    self.done = done;
                    deltas.into()
                }
                None => self.cut(),
            });
        }
        if let Some(text) = self.deltas.as_mut().and_then(VecDeque::pop_front) {
            self.tokens += 1;
            let cost = audio.samples - self.consumed;
            self.consumed = audio.samples;
            return Step::Delta { text, cost, segment: None };
        }
        self.consumed = audio.samples;
        let text = self.done.take();
        Step::Done { prompt: audio.samples / 1280, completion: self.tokens, text, unasked: false }
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
