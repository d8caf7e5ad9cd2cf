// SPDX-License-Identifier: MPL-2.0

//! What the server says.

use std::sync::Arc;

use serde::Deserialize;

use crate::log::GenerationLog;

pub mod aligned;
pub mod moonshine;
pub mod pocketsphinx;
mod reference;
pub mod script;
pub mod tiny;

pub use aligned::Aligned;
pub use moonshine::Moonshine;
pub use pocketsphinx::Pocketsphinx;
pub use script::Script;

/// Samples a second.
pub const RATE: u64 = 16_000;

/// Where the words come from.
#[derive(Debug, Clone)]
pub enum Voice {
    /// What the tiny models of `vllm/make_models.py` say: ` Hello world, café 日 😀 "q\"` over and
    /// over while it is louder than about -42 dBFS (frames), `Hello world, café.` for each
    /// segment (segments).
    Tiny,
    /// Text from a file or a program, the n-th utterance in the n-th generation.
    Script(Arc<Script>),
    /// Words with times, said where the audio holds them.
    Aligned(Arc<Aligned>),
    /// Recognised on the CPU; English. Without word times: for cadences `arrival` and
    /// `utterance`.
    Pocketsphinx(Pocketsphinx),
    /// Recognised on the CPU while one speaks; English. For cadences `arrival` and `segments`.
    Moonshine(Moonshine),
}

/// A word and its time in a recording, in seconds: one entry of a `NAME.words.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TimedWord {
    pub word: String,
    pub start: f64,
    pub end: f64,
}

/// A word as it is to be said, with the samples of the generation that hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// A space behind it, where the voice knows that no more belongs to the word; none before it.
    pub text: String,
    pub begin: u64,
    pub end: u64,
    /// Grows along a generation; the same for [`Speech::underway`] and [`Speech::words`].
    pub id: u64,
}

/// The voice in one generation: audio goes in, words come out.
pub trait Speech: Send {
    /// All audio of the generation, in order.
    fn hear(&mut self, samples: &[i16]);

    /// The audio is over. What is still to be said comes out of [`Speech::words`].
    fn end(&mut self);

    /// The next word that was heard to its end.
    fn next_word(&mut self) -> Option<Word>;

    /// The word that is being heard, where its end is known before.
    fn underway(&self) -> Option<Word> {
        None
    }

    /// Whether it wants no more audio for now.
    fn busy(&self) -> bool {
        false
    }

    /// Whether words may come without further audio.
    fn is_hearing(&mut self) -> bool {
        false
    }

    /// Whether all words before this sample are there.
    fn has_heard(&mut self, _sample: u64) -> bool {
        true
    }

    /// After [`Speech::end`]: whether all words are there.
    fn finished(&mut self) -> bool {
        true
    }

    /// Text of delta `k`, for a voice that has its own frames.
    fn frame(&mut self, _k: u64) -> Option<String> {
        None
    }

    /// Tokens of segment `i`, for a voice that has its own.
    fn segment(&mut self, _i: u64) -> Option<Vec<String>> {
        None
    }

    /// Exact deltas and text of `done`, for a voice that has them.
    fn deltas(&mut self) -> Option<(Vec<String>, Option<String>)> {
        None
    }

    /// Notes what was heard. Called when something may have changed, and at the generation's end
    /// (`over`; `cut`: by the connection's end, so that nothing counts as damaged).
    fn note(&mut self, _log: &mut GenerationLog, _over: bool, _cut: bool) {}

    /// Voice `aligned`: where the audio is in the recording; a hint for the next generation.
    fn place(&self) -> Option<usize> {
        None
    }

    /// Voice `aligned`: word of the reference and the part of it that was heard, since the last
    /// call.
    fn coverage(&mut self) -> Vec<(usize, f32)> {
        Vec::new()
    }
}

/// Whether a space stands between two pieces of text.
pub fn space_between(before: &str, after: &str) -> bool {
    let joined = |c: char| {
        matches!(c,
            '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{2e80}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{20000}'..='\u{3ffff}')
    };
    match (before.chars().next_back(), after.chars().next()) {
        (Some(before), Some(after)) => !(joined(before) && joined(after)),
        _ => true,
    }
}
