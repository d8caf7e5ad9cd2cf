// SPDX-License-Identifier: MPL-2.0

//! How far the audio is heard, and from where it must be kept.

use super::{generation::Generation, state::Transcript};
use crate::{Length, Position, mechanism::Mechanism};

/// The horizon is no further behind what was heard than this.
const BEHIND: Length = Length::of_s(2);

/// Kept before speech that may be a word under way.
const ONSET: Length = Length::of_ms(100);

/// A pause between words, not one within a word; `Features` counts 150 ms before speech as speech.
/// Looked for in such steps.
pub const PAUSE: Length = Length::of_ms(150);
const STEP: Length = Length::of_ms(20);

/// A word may have begun so long before the audio stopped and not be known for speech.
const UNNOTICED: Length = Length::of_ms(250);

/// After a failure the audio begins so long before the last safe word's end.
const CONTEXT: std::ops::Range<Length> = Length::of_s(1)..Length::of_s(2);

impl Transcript {
    /// What was heard, and how far no word can come any more.
    pub(super) fn advance(&mut self, g: &mut Generation) {
        self.heard = self.clock().heard(self, g);
        if let Some(horizon) = self.clock().horizon(self, g) {
            self.emitter.raise_horizon(horizon);
        }
        self.forget();
    }

    /// Where the speech under way at `sure` began, so that a word there may have begun; `sure`
    /// itself in a pause. Speech before a pause has had its words by then.
    pub(super) fn onset(&self, sure: Position) -> Position {
        let bound = (sure - BEHIND).max(self.emitter.horizon());
        let mut at = sure;
        let mut quiet = Length::ZERO;
        while at > bound {
            let step = STEP.min(at - bound);
            at = at - step;
            if self.sound.next_speech(at, at + step) < at + step {
                quiet = Length::ZERO;
            } else {
                quiet += step;
                if quiet >= PAUSE {
                    let speech = at + quiet;
                    let onset = if Mechanism::OnsetKept.is_on() { ONSET } else { Length::ZERO };
                    return if speech >= sure { sure } else { speech - onset };
                }
            }
        }
        // Quiet all the way: nothing since the last word.
        if at + quiet >= sure { sure } else { bound }
    }

    pub(super) fn resume_in(&self, g: &Generation) -> Position {
        self.clock().resume(self, g)
    }

    /// Where nobody is known to speak at `end`, what is said there began no sooner than this.
    pub(super) fn begun_by(&self, end: Position) -> Position {
        end - UNNOTICED
    }

    /// Whether there is speech just before `end`, so that a word may be cut there.
    pub(super) fn speech_up_to(&self, end: Position) -> bool {
        self.sound.speech_within(self.begun_by(end), end)
    }

    /// A quiet place with enough context before `safe`.
    pub(super) fn before(&self, safe: Position, start: Position) -> Position {
        let from = (safe - CONTEXT.end).max(start);
        let to = (safe - CONTEXT.start).max(start);
        if from >= to { start.max(from) } else { self.sound.quietest(from, to).clamp(from, to) }
    }

    /// Lets go of sound that nobody will ask for.
    pub(super) fn forget(&mut self) {
        self.sound.0.forget_before(self.resume_at().min(self.emitter.horizon()).samples());
    }
}
