// SPDX-License-Identifier: MPL-2.0

//! How far the audio is heard, and from where it must be kept.

use super::{generation::Generation, state::Transcript};
use crate::{SAMPLE_RATE, SAMPLES_PER_MS, mechanism::Mechanism};

/// The horizon is no further behind what was heard than this.
const BEHIND: u64 = 2 * SAMPLE_RATE;

/// Kept before speech that may be a word under way.
const ONSET: u64 = 100 * SAMPLES_PER_MS;

/// A pause between words, not one within a word; `Features` counts 150 ms before speech as speech.
/// Looked for in such steps.
pub const PAUSE: u64 = 150 * SAMPLES_PER_MS;
const STEP: u64 = 20 * SAMPLES_PER_MS;

/// A word may have begun so long before the audio stopped and not be known for speech.
const UNNOTICED: u64 = 250 * SAMPLES_PER_MS;

/// After a failure the audio begins so long before the last safe word's end.
const CONTEXT: std::ops::Range<u64> = SAMPLE_RATE..2 * SAMPLE_RATE;

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
    pub(super) fn onset(&self, sure: u64) -> u64 {
        let bound = sure.saturating_sub(BEHIND).max(self.emitter.horizon());
        let mut at = sure;
        let mut quiet = 0;
        while at > bound {
            let step = STEP.min(at - bound);
            at -= step;
            if self.sound.next_speech(at, at + step) < at + step {
                quiet = 0;
            } else {
                quiet += step;
                if quiet >= PAUSE {
                    let speech = at.saturating_add(quiet);
                    let onset = if Mechanism::OnsetKept.is_on() { ONSET } else { 0 };
                    return if speech >= sure { sure } else { speech.saturating_sub(onset) };
                }
            }
        }
        // Quiet all the way: nothing since the last word.
        if at.saturating_add(quiet) >= sure { sure } else { bound }
    }

    pub(super) fn resume_in(&self, g: &Generation) -> u64 {
        self.clock().resume(self, g)
    }

    /// Where nobody is known to speak at `end`, what is said there began no sooner than this.
    pub(super) fn begun_by(&self, end: u64) -> u64 {
        end.saturating_sub(UNNOTICED)
    }

    /// Whether there is speech just before `end`, so that a word may be cut there.
    pub(super) fn speech_up_to(&self, end: u64) -> bool {
        self.sound.speech_within(self.begun_by(end), end)
    }

    /// A quiet place with enough context before `safe`.
    pub(super) fn before(&self, safe: u64, start: u64) -> u64 {
        let from = safe.saturating_sub(CONTEXT.end).max(start);
        let to = safe.saturating_sub(CONTEXT.start).max(start);
        if from >= to { start.max(from) } else { self.sound.quietest(from, to).clamp(from, to) }
    }

    /// Lets go of sound that nobody will ask for.
    pub(super) fn forget(&mut self) {
        self.sound.forget_before(self.resume_at().min(self.emitter.horizon()));
    }
}
