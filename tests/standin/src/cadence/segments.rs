// SPDX-License-Identifier: MPL-2.0

//! Segmented: a burst of deltas for each 5 s.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Audio, Rhythm, Step, subwords};
use crate::Config;
use crate::events::Segment;
use crate::random::Random;
use crate::voice::{RATE, Speech, Word, space_between};

/// Samples of a segment.
const SEGMENT: u64 = 80_000;
/// Tails below this fail: below 201 samples the feature extractor, below 320 the encoder.
const SHORTEST: u64 = 320;
/// Tokens of a segment's answer at most, the tag included.
const TOKENS: usize = 64;
/// Tokens of the prompt around the audio's.
const PROMPT: u64 = 21;

/// What becomes of a word that lies across the edge of two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edges {
    /// It is said in the segment that holds more of it.
    #[default]
    Whole,
    /// It is said in both.
    Repeat,
    /// The first segment says its beginning, the second its end.
    Cut,
}

impl std::str::FromStr for Edges {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "whole" => Ok(Edges::Whole),
            "repeat" => Ok(Edges::Repeat),
            "cut" => Ok(Edges::Cut),
            _ => Err(format!("words at edges cannot be {name}: whole, repeat or cut")),
        }
    }
}

#[derive(Debug)]
pub(super) struct Segments {
    max_model_len: u64,
    language: String,
    subword: usize,
    edges: Edges,
    time: Duration,
    timestamps: bool,
    merge: bool,
    /// What was said before in the generation leaks into what is said now.
    leak: bool,
    /// The words of the last segment that had some.
    last: Vec<String>,
    random: Random,
    /// Segments worked through.
    index: u64,
    /// When the segment under way is ready.
    ready: Option<Instant>,
    /// Deltas of the burst under way.
    burst: VecDeque<String>,
    segment: Option<Segment>,
    /// Words that were heard and not said yet.
    words: VecDeque<Word>,
    /// The last word that was said or begun before it was heard whole.
    early: Option<(u64, String)>,
    said: u64,
    /// Tokens of the context so far.
    context: u64,
    prompt: u64,
    completion: u64,
    exact_done: Option<String>,
}

impl Segments {
    pub fn new(config: &Config, seed: u64) -> Self {
        Segments {
            max_model_len: config.max_model_len,
            language: config.language.clone(),
            subword: config.subword,
            edges: config.edges,
            time: config.segment_time,
            timestamps: config.timestamps,
            merge: config.merge,
            leak: config.leak,
            last: Vec::new(),
            random: Random::new(seed),
            index: 0,
            ready: None,
            burst: VecDeque::new(),
            segment: None,
            words: VecDeque::new(),
            early: None,
            said: 0,
            context: 0,
            prompt: 0,
            completion: 0,
            exact_done: None,
        }
    }

    /// Audio tokens of a segment, as the model's encoder counts them.
    fn audio_tokens(samples: u64) -> u64 {
        let features = samples / 160;
        let rest = features % 100;
        let part = |n: u64| (n as i64 - 1).div_euclid(2) + 1;
        let rest = part(part(part(rest) as u64) as u64);
        rest as u64 + features / 100 * 13
    }

    /// The words of the segment that ends at sample `edge`; `last`: there is no other behind it.
    fn take_words(&mut self, edge: u64, last: bool, speech: &mut dyn Speech) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(word) = speech.next_word() {
            self.words.push_back(word);
        }
        let begin = edge.saturating_sub(SEGMENT);
        while self.words.front().is_some_and(|w| last || self.belongs(w, edge)) {
            let Some(word) = self.words.pop_front() else { break };
            let early = self.early.take_if(|(id, _)| *id == word.id).map(|(_, text)| text);
            match (early, self.edges) {
                (None, Edges::Repeat) if word.begin < begin => said.push(word.text),
                (None, _) => said.push(word.text),
                (Some(_), Edges::Whole) => continue,
                (Some(_), Edges::Repeat) => said.push(word.text),
                (Some(part), Edges::Cut) => {
                    let rest = word.text.strip_prefix(&part).unwrap_or_default();
                    if !rest.is_empty() {
                        said.push(rest.to_owned());
                    }
                }
            }
        }
        // The word across the edge is heard in part.
        let across = self.words.front().cloned().or_else(|| speech.underway());
        if let Some(word) = across.filter(|w| !last && w.begin < edge && w.end > edge) {
            let taken = self.early.as_ref().is_some_and(|(id, _)| *id == word.id);
            let inside = edge - word.begin.max(begin);
            let text = match self.edges {
                _ if taken => None,
                Edges::Whole => (2 * inside >= word.end - word.begin).then(|| word.text.clone()),
                Edges::Repeat => Some(word.text.clone()),
                Edges::Cut => {
                    let chars = word.text.chars().count() as u64;
                    let part = chars * inside / (word.end - word.begin).max(1);
                    let text: String = word.text.chars().take(part as usize).collect();
                    (!text.is_empty()).then_some(text)
                }
            };
            if let Some(text) = text {
                self.early = Some((word.id, text.clone()));
                said.push(text);
            }
        }
        said
    }

    /// Its prompt holds what was said before in the generation (vllm#51374, #51376): over silence
    /// the last words come again, and one time in four in place of what is said.
    fn leaked(&mut self, words: Vec<String>) -> Vec<String> {
        if self.leak && !self.last.is_empty() && (words.is_empty() || self.random.below(4) == 0) {
            return self.last.clone();
        }
        if !words.is_empty() {
            self.last.clone_from(&words);
        }
        words
    }

    /// A word that was heard to its end is said in the segment of its end.
    fn belongs(&self, word: &Word, edge: u64) -> bool {
        word.end <= edge
    }

    /// The answer to a segment, as tokens.
    fn tokens(&mut self, words: &[String]) -> Vec<String> {
        let language = if words.is_empty() { "None" } else { &self.language };
        let mut tokens =
            vec!["language".to_owned(), format!(" {language}"), "<asr_text>".to_owned()];
        let mut before = "";
        for word in words {
            let spaced = !before.is_empty() && space_between(before, word);
            tokens.extend(subwords(if spaced { " " } else { "" }, word, self.subword));
            before = word;
        }
        // The last token ends the answer and has no text.
        tokens.truncate(TOKENS - 1);
        tokens.push(String::new());
        tokens
    }

    /// Tokens to deltas: some of them merged, the tag at times cut anywhere.
    fn deltas(&mut self, mut tokens: Vec<String>) -> VecDeque<String> {
        let mut deltas: VecDeque<String> = VecDeque::new();
        if !self.merge {
            return tokens.into();
        }
        if tokens.len() > 3 && tokens[0] == "language" && self.random.below(4) == 0 {
            let tag: Vec<char> = tokens.drain(..3).collect::<String>().chars().collect();
            let mut rest = tag.as_slice();
            while !rest.is_empty() {
                let n = 1 + self.random.below(12) as usize;
                let (head, tail) = rest.split_at(n.min(rest.len()));
                deltas.push_back(head.iter().collect());
                rest = tail;
            }
        }
        let mut merge = false;
        for token in tokens {
            match deltas.back_mut() {
                Some(last) if merge => last.push_str(&token),
                _ => deltas.push_back(token),
            }
            merge = self.random.below(4) == 0;
        }
        deltas
    }
}

impl Rhythm for Segments {
    fn step(&mut self, audio: Audio, speech: &mut dyn Speech, now: Instant) -> Step {
        let tail = audio.samples % SEGMENT;
        // The tail's failure overtakes what is not delivered yet.
        if audio.ended && tail > 0 && tail < SHORTEST {
            return Step::Fail(if tail < 201 {
                "Failed to apply Qwen3ASRProcessor on data={'text': '<|audio_pad|>', 'audio': \
                 [array([...], dtype=float32)]} with kwargs={'truncation': False, \
                 'return_tensors': 'pt'}"
                    .into()
            } else {
                "self.stride(-1) must be 1 to view Int as Byte (different element sizes), but \
                 got 160"
                    .into()
            });
        }
        if let Some(text) = self.burst.pop_front() {
            let segment = if self.burst.is_empty() { self.segment.take() } else { None };
            let cost = if self.burst.is_empty() { SEGMENT } else { 0 };
            return Step::Delta { text, cost, segment };
        }
        let begin = self.index * SEGMENT;
        let left = audio.samples.saturating_sub(begin);
        let last = audio.ended && left <= SEGMENT;
        if left == 0 && audio.ended {
            return Step::Done {
                prompt: self.prompt,
                completion: self.completion,
                text: self.exact_done.take(),
                unasked: false,
            };
        }
        if left < SEGMENT && !last {
            self.ready = None;
            return Step::Wait(None);
        }
        let ready = *self.ready.get_or_insert(now + self.time);
        if now < ready {
            return Step::Wait(Some(ready));
        }
        let length = left.min(SEGMENT);
        if audio.ended && !speech.finished() || !speech.has_heard(begin + length) {
            return Step::Wait(Some(now + Duration::from_millis(10)));
        }
        self.ready = None;
        let prompt = PROMPT + Self::audio_tokens(length);
        if self.max_model_len > 0 && self.context + prompt >= self.max_model_len {
            return Step::Die;
        }
        let edge = begin + length;
        let tokens = match speech.segment(self.index) {
            Some(tokens) => tokens,
            None => match (self.index, speech.deltas()) {
                (0, Some((deltas, done))) => {
                    self.exact_done = done;
                    deltas
                }
                (_, Some(_)) => Vec::new(),
                (_, None) => {
                    let words = self.take_words(edge, last, speech);
                    let words = self.leaked(words);
                    self.said += words.len() as u64;
                    self.tokens(&words)
                }
            },
        };
        self.context += prompt + tokens.len() as u64;
        self.completion += tokens.len() as u64;
        if self.index == 0 {
            self.prompt = prompt;
        }
        if self.timestamps {
            let text = tokens.concat();
            self.segment = Some(Segment { text, end: edge as f64 / RATE as f64 });
        }
        self.index += 1;
        self.burst = self.deltas(tokens);
        if self.burst.is_empty() {
            return Step::Wait(Some(now));
        }
        self.step(audio, speech, now)
    }

    fn ready(&self, audio: Audio) -> bool {
        audio.samples >= SEGMENT || audio.ended && audio.samples > 0
    }

    fn consumed(&self) -> u64 {
        (self.index * SEGMENT).saturating_sub(if self.burst.is_empty() { 0 } else { SEGMENT })
    }

    fn words(&self) -> u64 {
        self.said
    }
}

#[cfg(test)]
mod tests {
    use super::Segments;

    #[test]
    fn audio_tokens_as_recorded() {
        let seen = [(320, 22), (800, 22), (1600, 23), (16000, 34), (32000, 47), (48000, 60)];
        for (samples, prompt) in seen.into_iter().chain([(79999, 86), (80000, 86)]) {
            assert_eq!(21 + Segments::audio_tokens(samples), prompt, "{samples} samples");
        }
    }
}
