// SPDX-License-Identifier: MPL-2.0

//! Blank ruts: a frame-synchronous server says nothing over audible speech (vllm#47614).

use crate::SAMPLE_RATE;

/// Voice without a word after which a generation counts as stuck: longer than any natural pause of
/// the words behind the voice.
const BLANK_RUT: u64 = 10 * SAMPLE_RATE;
/// A generation that is tried again begins so much before its rut.
const BEFORE_RUT: u64 = SAMPLE_RATE;

/// How long the generation under way has been blank. Positions and lengths in samples.
#[derive(Debug, Default)]
pub(super) struct Ruts {
    /// Voice up to here was blank twice: there are no words in it.
    wordless_to: u64,
    /// Position up to which the server had heard when it last said a word.
    spoken_at: u64,
    /// Voice that it has heard since, and said nothing.
    blank: u64,
}

impl Ruts {
    /// A generation begins here, or the server has said a word of what it heard up to here.
    pub fn spoken(&mut self, at: u64) {
        (self.spoken_at, self.blank) = (at, 0);
    }

    /// The server has said nothing of what it heard from here on, with so much voice in it.
    pub fn blank(&mut self, from: u64, voiced: impl FnOnce() -> u64) {
        if from >= self.wordless_to {
            self.blank += voiced();
        }
    }

    /// For how long the server has been stuck, if it is.
    pub fn stuck(&self) -> Option<u64> {
        (self.blank >= BLANK_RUT).then_some(self.blank)
    }

    /// The same audio is tried once more; where it is blank up to here again, it has no words.
    pub fn leave(&mut self, to: u64) {
        self.wordless_to = to;
    }

    /// Position from which on words may still come after all.
    pub fn words_from(&self) -> Option<u64> {
        (self.blank > 0).then_some(self.spoken_at)
    }

    /// Where a generation would have to begin that takes the place of this one.
    pub fn resume_at(&self) -> Option<u64> {
        self.words_from().map(|at| at.saturating_sub(BEFORE_RUT))
    }
}
