// SPDX-License-Identifier: MPL-2.0

//! Text from a file.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{RATE, Speech, TimedWord, Word};
use crate::fault::Fault;

/// What is said, and what goes wrong. As JSON:
///
/// ```json
/// {
///   "utterances": [
///     {"text": "hello big world", "rate": 3.0},
///     {"words": [{"word": "hello", "start": 0.2, "end": 0.5}]},
///     {"deltas": ["", " Hel", "lo"], "done": "Hello"}
///   ],
///   "repeat": true,
///   "faults": [
///     {"when": {"deltas": 20}, "do": "cut", "connection": 0},
///     {"when": "final", "do": {"close": {"code": 1012}}, "generation": 1, "times": 0}
///   ]
/// }
/// ```
///
/// All fields may be left out. A fault's `when` and `do` are named in [`crate::When`] and
/// [`crate::What`], in lower case with hyphens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// The n-th is said in the n-th generation of each connection.
    pub utterances: Vec<Utterance>,
    /// After the last utterance the first again; otherwise silence.
    pub repeat: bool,
    pub faults: Vec<Fault>,
}

/// What is said in one generation. One of `text`, `words` and `deltas`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Utterance {
    /// Words, separated by spaces.
    pub text: String,
    /// Words of `text` a second of audio. Default 3.
    pub rate: f64,
    /// Words with times, in seconds from the generation's beginning.
    pub words: Vec<TimedWord>,
    /// Exact deltas, in place of words: one for each frame or, where there are no frames, all of
    /// them at the final commit.
    pub deltas: Vec<String>,
    /// Text of `done`. Default: the deltas joined.
    pub done: Option<String>,
}

impl Default for Utterance {
    fn default() -> Self {
        let (text, words, deltas) = Default::default();
        Utterance { text, rate: 3.0, words, deltas, done: None }
    }
}

impl Script {
    /// One utterance in each generation, at 3 words a second.
    pub fn text(text: &str) -> Self {
        Script {
            utterances: vec![Utterance { text: text.into(), ..Default::default() }],
            repeat: true,
            ..Default::default()
        }
    }

    /// Reads a script file.
    ///
    /// # Errors
    /// The file cannot be read, or is not as described above.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, String> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read the script {}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("script {}: {e}", path.display()))
    }

    /// Words with times for generation `index`.
    fn words(&self, index: u64) -> (Vec<TimedWord>, Option<&Utterance>) {
        let n = self.utterances.len() as u64;
        let utterance = match index {
            _ if n == 0 => None,
            i if i >= n && !self.repeat => None,
            i => self.utterances.get((i % n) as usize),
        };
        let Some(utterance) = utterance else { return (Vec::new(), None) };
        if !utterance.words.is_empty() {
            return (utterance.words.clone(), Some(utterance));
        }
        let step = 1.0 / utterance.rate.max(0.01);
        let words = utterance.text.split_whitespace().enumerate().map(|(i, word)| {
            let start = i as f64 * step;
            TimedWord { word: word.into(), start, end: start + 0.9 * step }
        });
        (words.collect(), Some(utterance))
    }

    pub(crate) fn speech(self: &Arc<Self>, generation: u64) -> Scripted {
        let (words, utterance) = self.words(generation);
        let deltas = utterance.filter(|u| !u.deltas.is_empty() || u.done.is_some());
        let at = |seconds: f64| (seconds.max(0.0) * RATE as f64).round() as u64;
        let words = words.into_iter().zip(0..).map(|(w, id)| Word {
            begin: at(w.start),
            end: at(w.end).max(at(w.start) + 1),
            text: w.word,
            id,
        });
        Scripted {
            words: words.collect(),
            heard: 0,
            deltas: deltas.map(|u| (u.deltas.clone(), u.done.clone())),
        }
    }
}

/// A script's speech in one generation.
#[derive(Debug)]
pub struct Scripted {
    words: VecDeque<Word>,
    heard: u64,
    deltas: Option<(Vec<String>, Option<String>)>,
}

impl Speech for Scripted {
    fn hear(&mut self, samples: &[i16]) {
        self.heard += samples.len() as u64;
    }

    fn end(&mut self) {
        // A word is said if at least half of it was heard.
        let heard = self.heard;
        self.words.retain(|w| (w.begin + w.end).div_ceil(2) <= heard);
        for word in &mut self.words {
            word.end = word.end.min(heard);
        }
    }

    fn next_word(&mut self) -> Option<Word> {
        if self.words.front()?.end > self.heard {
            return None;
        }
        self.words.pop_front()
    }

    fn underway(&self) -> Option<Word> {
        self.words.front().filter(|w| w.begin < self.heard).cloned()
    }

    fn deltas(&mut self) -> Option<(Vec<String>, Option<String>)> {
        self.deltas.clone()
    }
}
