// SPDX-License-Identifier: MPL-2.0

//! What must hold for all that a transcript gives out, whatever the server said.

use gstvllmrealtime::Position;
use gstvllmrealtime::transcript::{Output, Word};

/// The words so far.
#[derive(Debug, Default)]
pub struct Outputs {
    /// No word begins before this.
    pub floor: Position,
    /// No word ends behind this.
    pub audio: Position,
    /// Words since the last utterance.
    utterance: Vec<Word>,
}

impl Outputs {
    pub fn flushed(&mut self) {
        self.utterance.clear();
    }

    pub fn take(&mut self, output: &Output) {
        match output {
            Output::Word(w) => {
                assert!(!w.text.trim().is_empty() && w.text.trim() == w.text, "{w:?}");
                assert!(w.begin < w.end, "{w:?}");
                assert!(w.begin >= self.floor, "{w:?} before {}", self.floor);
                assert!(w.end <= self.audio, "{w:?} beyond {}", self.audio);
                assert!((0.0..=1.0).contains(&w.time_confidence), "{w:?}");
                assert!(w.confidence.is_none_or(|c| (0.0..=1.0).contains(&c)), "{w:?}");
                self.floor = w.end;
                self.utterance.push(w.clone());
            }
            Output::Correction(c) => {
                assert!(!c.marks.is_empty() && c.word.end <= self.floor, "{c:?}");
                if let Some(word) = self.utterance.last_mut().filter(|w| w.begin == c.word.begin) {
                    assert!(c.word.text.starts_with(&word.text), "{c:?}");
                    word.clone_from(&c.word);
                }
            }
            Output::Partial(text) => {
                assert!(!text.trim().is_empty());
                assert!(text.len() <= 256 * 1024, "{} bytes wait", text.len());
            }
            Output::Utterance(u) => {
                let ours = std::mem::take(&mut self.utterance);
                assert!(u.words.len() == ours.len() || u.words.len() == 8192, "{u:?} {ours:?}");
                assert!(u.words.iter().eq(ours.iter().take(u.words.len())), "{u:?} {ours:?}");
                assert!(u.begin <= u.end && u.end <= self.audio, "{u:?}");
                assert!(u.words.iter().all(|w| u.text.contains(&w.text)), "{u:?}");
            }
            Output::Language(code) => assert!((2..=3).contains(&code.len()), "{code:?}"),
            Output::ClockFellBack { from, to, why } => {
                assert!(from != to && !why.is_empty(), "{from:?} {to:?} {why}");
            }
        }
    }
}
