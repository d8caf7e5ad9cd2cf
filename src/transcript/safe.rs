// SPDX-License-Identifier: MPL-2.0

//! How far the audio is heard, and from where it must be kept.

use super::{
    Timing,
    cadence::{FRAME, SEGMENT},
    generation::Generation,
    state::Transcript,
};
use crate::{SAMPLE_RATE, SAMPLES_PER_MS, mechanism::Mechanism};

/// The horizon is no further behind what was heard than this.
const BEHIND: u64 = 2 * SAMPLE_RATE;

/// Kept before speech that may be a word under way.
const ONSET: u64 = 100 * SAMPLES_PER_MS;

/// A pause between words, not one within a word; `Sound` counts 150 ms before speech as speech.
/// Looked for in such steps.
const PAUSE: u64 = 150 * SAMPLES_PER_MS;
const STEP: u64 = 20 * SAMPLES_PER_MS;

/// Speech without words is kept for another try this long: more than any word takes, and what a
/// "blank rut" may have swallowed.
const RUT: u64 = 20 * SAMPLE_RATE;

/// After a failure the audio begins so long before the last safe word's end.
const CONTEXT: std::ops::Range<u64> = SAMPLE_RATE..2 * SAMPLE_RATE;

impl Transcript {
    /// What was heard, and how far no word can come any more.
    pub(super) fn advance(&mut self, g: &mut Generation) {
        let idle = g.ready.is_empty()
            && g.waiting.is_empty()
            && g.withheld.is_none()
            && g.join.is_none()
            && g.splitter.is_empty();
        match self.cadence.clock() {
            Timing::Frames => {
                let (k, _) = self.cadence.frame();
                self.heard = k.saturating_mul(FRAME).min(g.sent);
                if idle && g.quiet > 0 {
                    // A mark may be a frame late.
                    let sure =
                        g.start.saturating_add(self.heard.saturating_sub(FRAME).min(g.samples()));
                    self.horizon = self.horizon.max(self.onset(sure));
                }
            }
            Timing::Segments => {
                self.heard = g.segments_out.saturating_mul(SEGMENT).min(g.sent);
                if g.waiting.is_empty() && g.withheld.is_none() && g.join.is_none() {
                    let (edge, _) = g.segment_span(g.segments_out);
                    self.horizon = self.horizon.max(edge);
                }
            }
            Timing::Auto | Timing::Arrival | Timing::Utterance => self.heard = 0,
        }
        self.forget();
    }

    /// Where the speech under way at `sure` began, so that a word there may have begun; `sure`
    /// itself in a pause. Speech before a pause has had its words by then.
    pub(super) fn onset(&self, sure: u64) -> u64 {
        let bound = sure.saturating_sub(BEHIND).max(self.horizon);
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
        match self.cadence.clock() {
            Timing::Frames => {
                let heard = g.start.saturating_add(self.heard);
                let from = self.last_end.max(g.start);
                // What sounds on just behind a word is the word's own end.
                let tail = from.saturating_add(PAUSE);
                let safe = if g.join.is_some() || heard <= tail {
                    from
                } else {
                    let speech = self.sound.next_speech(tail, heard);
                    let rut = if Mechanism::RutKept.is_on() { RUT } else { 0 };
                    speech.max(heard.saturating_sub(rut)).max(from)
                };
                self.before(safe, g.start)
            }
            Timing::Segments => {
                // The edge before which all is out: its words' own times are not sure enough. With
                // a pause there nothing is heard twice.
                let whole = g.waiting.is_empty() && g.withheld.is_none();
                let segment = g.segments_out.saturating_sub(u64::from(!whole));
                let (edge, _) = g.segment_span(segment);
                if g.join.is_some() {
                    g.start
                } else if edge > g.start && self.speech_across(edge) {
                    self.before(edge, g.start)
                } else {
                    edge.max(g.start)
                }
            }
            // Nothing tells how far it has heard.
            Timing::Auto | Timing::Arrival | Timing::Utterance => g.start,
        }
    }

    /// Whether there is speech just before `end`, so that a word may be cut there.
    pub(super) fn speech_up_to(&self, end: u64) -> bool {
        self.sound.speech_within(end.saturating_sub(PAUSE), end)
    }

    /// A quiet place with enough context before `safe`.
    pub(super) fn before(&self, safe: u64, start: u64) -> u64 {
        let from = safe.saturating_sub(CONTEXT.end).max(start);
        let to = safe.saturating_sub(CONTEXT.start).max(start);
        if from >= to { start.max(from) } else { self.sound.quietest(from, to).clamp(from, to) }
    }

    /// Lets go of sound that nobody will ask for.
    pub(super) fn forget(&mut self) {
        let needed = self.resume_at().min(self.horizon);
        if needed >= self.forgotten.saturating_add(SAMPLE_RATE) {
            self.sound.forget_before(needed);
            self.forgotten = needed;
        }
    }
}
