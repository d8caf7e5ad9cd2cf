// SPDX-License-Identifier: MPL-2.0

//! Frame-synchronous: a delta for each 80 ms.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Audio, Rhythm, Step, subwords};
use crate::Config;
use crate::events::Segment;
use crate::random::Random;
use crate::voice::{RATE, Speech, Word, space_between};

/// Samples of a frame.
const FRAME: u64 = 1280;
/// 2.5 ms that the model looks ahead.
const LOOK_AHEAD: u64 = 40;
/// Left padding and begin-of-sequence, before the delay's tokens.
const PROMPT: u64 = 33;
/// Deltas behind the audio, whatever the delay is.
const TAIL: i64 = 11;

/// What was said in the frame before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Pad,
    Mark,
    Text,
}

#[derive(Debug)]
pub(super) struct Frames {
    delay: u64,
    max_model_len: u64,
    subword: usize,
    jitter: bool,
    segments: bool,
    random: Random,
    /// Index of the next delta.
    k: u64,
    last: Last,
    /// Words whose mark is not due yet, each with the frame at which its text may begin.
    words: VecDeque<(u64, Word)>,
    /// Sub-words that queue.
    queue: VecDeque<String>,
    /// Text of the word said last, for the space before the next.
    before: String,
    said: u64,
    /// Exact deltas of a script.
    exact: Option<(VecDeque<String>, Option<String>)>,
    asked: bool,
    /// A finished word's end is told with this delta.
    segment: Option<Segment>,
    /// The recogniser is asked again soon.
    patience: Duration,
}

impl Frames {
    pub fn new(config: &Config, seed: u64) -> Self {
        Frames {
            delay: config.delay,
            max_model_len: config.max_model_len,
            subword: config.subword,
            jitter: config.jitter,
            segments: config.timestamps,
            random: Random::new(seed),
            k: 0,
            last: Last::Pad,
            words: VecDeque::new(),
            queue: VecDeque::new(),
            before: String::new(),
            said: 0,
            exact: None,
            asked: false,
            segment: None,
            patience: Duration::from_millis(10),
        }
    }

    fn available(&self, audio: Audio) -> u64 {
        if audio.samples == 0 {
            return 0;
        }
        let frames = (audio.samples as i64 - LOOK_AHEAD as i64).div_euclid(FRAME as i64);
        if audio.ended {
            (frames + TAIL) as u64
        } else {
            (frames - self.delay as i64).max(0) as u64
        }
    }

    /// Takes words that were heard, with the frames of their marks.
    fn listen(&mut self, speech: &mut dyn Speech) {
        while let Some(word) = speech.next_word() {
            let mut k = word.end.div_ceil(FRAME).max(1);
            if self.jitter {
                k = (k + self.random.below(3)).saturating_sub(1).max(1);
            }
            // Marks stay in order, whatever the jitter does.
            k = k.max(self.words.back().map_or(0, |(k, _)| *k));
            self.words.push_back((k, word));
        }
    }

    /// Queues the sub-words of the next word, which is due by frame `by`.
    fn speak(&mut self, by: u64) -> bool {
        if self.words.front().is_none_or(|(k, _)| *k > by) {
            return false;
        }
        let Some((_, word)) = self.words.pop_front() else { return false };
        let lead = if space_between(&self.before, &word.text) { " " } else { "" };
        self.queue.extend(subwords(lead, &word.text, self.subword));
        if self.segments {
            let end = word.end as f64 / RATE as f64;
            self.segment = Some(Segment { text: format!("{lead}{}", word.text), end });
        }
        self.before = word.text;
        self.said += 1;
        true
    }

    /// The text of delta `k`, and what it is.
    fn text(&mut self) -> (String, Last) {
        let k = self.k;
        if self.queue.is_empty() {
            match self.last {
                // Behind: the next word shares the mark.
                Last::Text => {
                    self.speak(k.saturating_sub(1));
                }
                Last::Mark => {
                    self.speak(k);
                }
                Last::Pad => {}
            }
        }
        match self.queue.pop_front() {
            Some(text) => (text, Last::Text),
            None if self.words.front().is_some_and(|(at, _)| *at <= k + 1) => {
                (String::new(), Last::Mark)
            }
            None => (String::new(), Last::Pad),
        }
    }

    /// Behind the audio there may be fewer deltas left than sub-words: then they share deltas, so
    /// that no word is lost. (A real model drops them.)
    fn squeeze(&mut self, left: u64, speech: &mut dyn Speech) -> Option<String> {
        if left > TAIL as u64 {
            return None;
        }
        self.listen(speech);
        let waiting: u64 = self
            .words
            .iter()
            .map(|(_, w)| subwords("", &w.text, self.subword).len() as u64 + 1)
            .sum::<u64>()
            + self.queue.len() as u64;
        if waiting == 0 || waiting < left {
            return None;
        }
        let mut text = String::new();
        for _ in 0..waiting.div_ceil(left.max(1)) {
            if self.queue.is_empty() && !self.speak(self.k) {
                break;
            }
            text.extend(self.queue.pop_front());
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Rhythm for Frames {
    fn step(&mut self, audio: Audio, speech: &mut dyn Speech, now: Instant) -> Step {
        if !self.asked {
            self.asked = true;
            self.exact = speech.deltas().map(|(deltas, done)| (deltas.into(), done));
        }
        let prompt = PROMPT + self.delay;
        if self.max_model_len > 0 && prompt + self.k >= self.max_model_len {
            return Step::Done { prompt, completion: self.k, text: None, unasked: true };
        }
        let available = self.available(audio);
        if self.k >= available {
            if !audio.ended {
                return Step::Wait(None);
            }
            let text = self.exact.take().and_then(|(_, done)| done);
            let prompt = if self.k == 0 { 0 } else { prompt };
            return Step::Done { prompt, completion: self.k, text, unasked: false };
        }
        if audio.ended && !speech.finished() {
            return Step::Wait(Some(now + self.patience));
        }
        let (text, last) = if let Some((deltas, _)) = &mut self.exact {
            (deltas.pop_front().unwrap_or_default(), Last::Pad)
        } else if let Some(text) = speech.frame(self.k) {
            (text, Last::Pad)
        } else {
            self.listen(speech);
            let squeezed = audio.ended.then(|| self.squeeze(available - self.k, speech)).flatten();
            match squeezed {
                Some(text) => (text, Last::Text),
                None => self.text(),
            }
        };
        self.k += 1;
        self.last = last;
        let segment = if self.queue.is_empty() { self.segment.take() } else { None };
        Step::Delta { text, cost: FRAME, segment }
    }

    fn ready(&self, audio: Audio) -> bool {
        self.available(audio) > 0
    }

    fn consumed(&self) -> u64 {
        // Delta k is the model's answer to the frame `delay` behind it.
        if self.k == 0 { 0 } else { (self.k + self.delay) * FRAME + LOOK_AHEAD }
    }

    fn words(&self) -> u64 {
        self.said
    }
}
