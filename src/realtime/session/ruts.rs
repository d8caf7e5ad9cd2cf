// SPDX-License-Identifier: MPL-2.0

//! Blank ruts: a frame-synchronous server says nothing over audible speech (vllm#47614).

use crate::{Length, Position};

/// Voice without a word after which a generation counts as stuck: longer than any natural pause of
/// the words behind the voice.
const BLANK_RUT: Length = Length::of_s(10);
/// A generation that is tried again begins so much before its rut.
const BEFORE_RUT: Length = Length::of_s(1);

/// How long the generation under way has been blank.
#[derive(Debug, Default)]
pub(super) struct Ruts {
    /// Voice up to here was blank twice: there are no words in it.
    wordless_to: Position,
    /// Position up to which the server had heard when it last said a word.
    spoken_at: Position,
    /// Voice that it has heard since, and said nothing.
    blank: Length,
}

impl Ruts {
    /// A generation begins here, or the server has said a word of what it heard up to here.
    pub fn spoken(&mut self, at: Position) {
        (self.spoken_at, self.blank) = (at, Length::ZERO);
    }

    /// The server has said nothing of what it heard from here on, with so much voice in it.
    pub fn blank(&mut self, from: Position, voiced: impl FnOnce() -> Length) {
        if from >= self.wordless_to {
            self.blank += voiced();
        }
    }

    /// For how long the server has been stuck, if it is.
    pub fn stuck(&self) -> Option<Length> {
        (self.blank >= BLANK_RUT).then_some(self.blank)
    }

    /// The same audio is tried once more; where it is blank up to here again, it has no words.
    pub fn leave(&mut self, to: Position) {
        self.wordless_to = to;
    }

    /// Position from which on words may still come after all.
    pub fn words_from(&self) -> Option<Position> {
        (self.blank > Length::ZERO).then_some(self.spoken_at)
    }

    /// Where a generation would have to begin that takes the place of this one.
    pub fn resume_at(&self) -> Option<Position> {
        self.words_from().map(|at| at - BEFORE_RUT)
    }
}
