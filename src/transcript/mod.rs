// SPDX-License-Identifier: MPL-2.0

//! Text to words with times. Pure: no I/O, no clock, no GStreamer.
//!
//! [`Transcript`] takes what the session hears from the server, and the sound, and gives out
//! words, in stages: `text` makes whole words of a generation's deltas ([`tags`] takes a segmented
//! model's tags out, [`words`] cuts), and settles the last ones by the server's final text; `place`
//! finds their times ([`align`], by the sound, within what the [`clock`] of this kind of server
//! tells); `emit` gives them out, but for what was given out before, after a failure or behind a
//! cut (`repeats`, by `stitch`).

pub mod align;
pub mod clock;
mod edit_distance;
mod emit;
mod generation;
mod phones;
mod place;
mod repeats;
mod retention;
pub mod script;
mod server_times;
mod sound;
mod state;
mod stitch;
pub mod tags;
#[cfg(test)]
mod tests;
mod text;
#[doc(hidden)]
pub mod viterbi;
pub mod words;

pub use generation::SampleInGeneration;
pub use state::Transcript;

use crate::{Length, Position};

/// Which clock the word times stand on: property `timing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timing {
    /// Found out from the server's first deltas, and checked all along.
    #[default]
    Auto,
    /// Frame-synchronous: a delta for each 80 ms of audio (Voxtral Realtime).
    Frames,
    /// A burst of text for each 5 s of audio (Qwen3-ASR).
    Segments,
    /// Text comes while the audio does, some time after it was spoken.
    Arrival,
    /// Nothing but the span of the utterance.
    Utterance,
}

/// What a [`Transcript`] is told at its start.
#[derive(Debug, Clone, Default)]
pub struct TranscriptConfig {
    pub timing: Timing,
    /// BCP 47 or ISO 639 code of the language that is expected.
    pub language: Option<String>,
}

/// A word and when it was spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Never empty, never blank, no space around it.
    pub text: String,
    pub begin: Position,
    /// Always after `begin`.
    pub end: Position,
    /// How far the times can be trusted, 0 to 1.
    pub time_confidence: f32,
    /// The recogniser's own confidence in the word, 0 to 1, where the server tells it.
    pub confidence: Option<f32>,
    /// Whether a space stands between the word before and this one.
    pub space_before: bool,
}

/// The tokens that the server counted for a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
}

impl Usage {
    /// The sum of both.
    fn and(self, other: Usage) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
        }
    }
}

/// A piece of text whose end the server tells (vllm#50783).
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSegment {
    pub text: String,
    /// Seconds from the beginning of the generation.
    pub end: f64,
}

/// An utterance that is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Its words as they were given out, joined as the script asks.
    pub text: String,
    pub words: Vec<Word>,
    pub begin: Position,
    pub end: Position,
    pub usage: Option<Usage>,
    pub language: Option<String>,
    /// The text as the server has it at the end, where it differs from the words given out.
    pub correction: Option<String>,
}

/// A word that was given out has punctuation behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// The word with its punctuation.
    pub word: Word,
    pub marks: String,
}

/// What a [`Transcript`] gives out, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A word is known whole. It is never taken back.
    Word(Word),
    /// Text of which no word is whole yet; it may still grow. Replaces the partial before it.
    Partial(String),
    /// A mark came when its word was out.
    Correction(Correction),
    /// An utterance is over.
    Utterance(Utterance),
    /// The server says that this language is spoken (ISO 639 code).
    Language(String),
    /// A check of the clock failed: it fell back to a weaker one.
    ClockFellBack { from: Timing, to: Timing, why: String },
}
