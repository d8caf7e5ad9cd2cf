// SPDX-License-Identifier: MPL-2.0

//! Generations of a segmented server end at pauses, before their first segment is full.
//!
//! At each edge of 5 s it cuts words, and what it has said leaks into what it says next
//! (vllm#51374, vllm#51376). A generation that ends before has no edge, and a prompt of its own;
//! and its text comes at the pause.

use super::generation::Ending;
use super::{Generation, Phase, Session};
use crate::transcript::clock::AtCut;
use crate::{Length, Position, transcript::Timing};

/// Longest generation: a little before the edge.
pub(super) const LONGEST: Length = Length::of_ms(5000 - 200);
/// Where a generation is shorter than this, what lies before its end is not heard again.
const OVERLAP_FROM: Length = Length::of_s(4);
/// A pause so long ends a generation that has just begun ...
const LONG_PAUSE: Length = Length::of_ms(500);
/// ... one of a tenth of its length less ends it later, ...
const LESS: u64 = 10;
/// ... but no shorter one: the closure of a consonant is no pause.
const SHORT_PAUSE: Length = Length::of_ms(150);
/// Voice that must have been heard before, so that its absence means something.
const VOICE: Length = Length::of_ms(200);
/// How loud the voice and the background are shows in so much of the sound before.
const VOICE_OF_LATE: Length = Length::of_s(2);
/// Pauses are looked for in such steps.
const STEP: Length = Length::of_ms(20);
/// What the voice detector needs to make up its mind.
const DETECTED: Length = Length::of_ms(50);

/// The pause that ends a generation of this length.
fn needed(length: Length) -> Length {
    (LONG_PAUSE - length / LESS).max(SHORT_PAUSE)
}

impl Session {
    /// Whether a generation ends before its first segment is full, unless the user wants it
    /// otherwise: also while the server, which has said nothing yet, may be a segmented one.
    pub(super) fn ends_at_pauses(&self, g: &Generation) -> bool {
        let may_be = match self.transcript.timing() {
            Timing::Auto => g.deltas() == 0,
            known => known.clock().ends_at_pauses(),
        };
        may_be && self.config.max_utterance.is_none()
    }

    /// Whether the last words of a generation of this length are heard again in the next one.
    pub(super) fn overlaps_by_segments(&self, g: &Generation, limit: Length) -> bool {
        self.ends_at_pauses(g) && limit >= OVERLAP_FROM
    }

    /// Whether what was heard at the end of this generation is left to the next one, as the frame
    /// clock tells.
    pub(super) fn is_cut_by_clock(&self, g: &Generation) -> bool {
        g.phase() == Phase::Finishing(Ending::Overlap) && self.clock().cut() == AtCut::ByClock
    }

    /// The first good pause in what comes next, or the last one where all that the generation may
    /// have is here: where it ends, in the pause, and where the next one may begin.
    pub(super) fn pause(&self, g: &mut Generation, limit: Length) -> Option<(Position, Position)> {
        // One of unknown kind may have no slot yet, or be one that is better heard out.
        if !self.ends_at_pauses(g) || self.transcript.timing() == Timing::Auto {
            return None;
        }
        let sound = self.transcript.sound();
        let to = self.history.end().min(sound.end() - DETECTED);
        let most = g.start() + limit;
        // Nobody waits for its words while the audio behind it waits too.
        let all_there = to >= most;
        if all_there && self.utterances.front()?.ends_by(most) {
            return None;
        }
        let to = to.min(most);
        let mut found = None;
        let start = g.start();
        let mut at = g.unsearched();
        if at > to {
            return None;
        }
        let mut goes_on = false;
        while at <= to {
            let needed = needed(at - start);
            let begin = (at - needed).max(start);
            // Measured before each place: a voice becomes softer, and far more than a buffer may be there.
            let since = start.max(begin - VOICE_OF_LATE);
            let pauses = at - begin >= needed && sound.is_pause(since, begin, at);
            // Its end may be the soft beginning of a word.
            if pauses && !goes_on {
                if sound.voiced(start, begin) >= VOICE {
                    found = Some((at, at - needed / 2));
                }
                if !all_there {
                    return found;
                }
            }
            goes_on = pauses;
            at += STEP;
            if found.is_none() {
                g.note_no_pause(at);
            }
        }
        found
    }

    /// Behind a pause nothing is sent until somebody speaks again; where nobody does, the
    /// utterance is over.
    pub(super) fn leave_pause(&mut self) {
        let idle = self.generation.is_none();
        let Some(front) = self.utterances.front().filter(|_| self.in_pause && idle) else { return };
        let there = front.end_within(self.history.end());
        let sound = self.transcript.sound();
        let knows_silence = self.intake.knows_silence();
        if !knows_silence || sound.speech_within(front.begin, there) {
            if knows_silence {
                self.utterances.skip_front(sound.next_speech(front.begin, there));
            }
            self.in_pause = false;
        } else if front.end.is_some() || self.stall.ends(there) {
            self.in_pause = false;
            self.transcript.end_utterance();
            self.utterances.skip_front(there);
            self.utterances.finish();
            self.stall.said(there);
        } else {
            self.utterances.skip_front(sound.next_speech(front.begin, there));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_asked_of_a_pause_the_longer_the_generation_lasts() {
        let ms = |length: u64| needed(Length::of_ms(length)) / Length::of_ms(1);
        assert_eq!([0, 1000, 2000, 3500, 4800].map(ms), [500, 400, 300, 150, 150]);
    }
}
