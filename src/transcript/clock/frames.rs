// SPDX-License-Identifier: MPL-2.0

//! Frame-synchronous servers (Voxtral Realtime): a delta for each 80 ms of audio, often an empty one.

use std::ops::RangeInclusive;

use super::{
    Ahead, AtCut, Clock, Curve, FRAMES_SPEAK, Length, Position, Rehearing, Search, slips::Slips,
};
use crate::{
    mechanism::Mechanism,
    transcript::{
        Timing, Usage, Word,
        align::Bounds,
        generation::{Generation, SampleInGeneration},
        retention::PAUSE,
        state::Transcript,
        stitch::Times,
        text::Said,
    },
};

pub const FRAME: Length = Length::of_ms(80);

/// Audio ahead of it at most.
const AHEAD: Length = Length::of_s(8);

/// What is on its way when the first delta comes.
const ON_ITS_WAY: SampleInGeneration = SampleInGeneration::new(9000);

/// Speech without words is kept for another try this long: more than any word takes, and what a
/// "blank rut" may have swallowed.
const RUT: Length = Length::of_s(20);

/// Delays that a model can have, in frames; the longest that models are made for (2.4 s).
pub const DELAYS: RangeInclusive<u64> = 1..=64;
pub const USUAL: u64 = 30;

/// Prompt tokens beside the delay.
pub const PROMPT: u64 = 33;

/// What the model needs before the first frame.
const LEAD: Length = Length::new(40);

/// Frames whose audio is there once so much was sent.
pub fn whole_frames(sent: SampleInGeneration) -> u64 {
    (sent.length() - LEAD) / FRAME
}

/// Deltas that are due in all where so much was sent.
pub fn frames_in_all(sent: SampleInGeneration) -> u64 {
    if sent.length() < LEAD { 10 } else { whole_frames(sent) + 11 }
}

/// Where so many frames end.
fn behind_frames(frames: u64) -> SampleInGeneration {
    SampleInGeneration::START + FRAME * frames
}

/// When a word's first text came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The frame, at least.
    pub k: u64,
    /// It may be so many frames later, where deltas may have been merged.
    pub more: u64,
    /// Empty deltas right before it, the last of which is a word mark: 2 stands for more, too.
    pub empty: u64,
}

impl Frame {
    /// The bounds of a word: it ended after the first position and no later than the second.
    /// `start`: of the generation; `next`: the frame of the word after it, where that is known.
    ///
    /// A word ended at its mark, which may be a frame early or late; one more where it may have
    /// waited for the last text of the word before. Words that share a mark ended before it. Of
    /// several words in one delta the mark is the last one's.
    fn bounds(self, next: Option<Frame>, start: Position) -> (Position, Position) {
        let k = self.k;
        let most = k.saturating_add(self.more);
        let at = |frames: u64| behind_frames(frames).position(start);
        let after = match self.empty {
            0 => start,
            1 => at(k.saturating_sub(3)),
            _ => at(k.saturating_sub(2)),
        };
        match next {
            Some(next) if next.k == k => (after, at(most.saturating_add(1))),
            _ if self.empty > 0 => (after, at(most.saturating_add(1))),
            _ => (after, at(most.max(1))),
        }
    }
}

/// Whether a server was done before it knew of the final commit: it has billed fewer frames than the
/// audio has. `begins_blank`: its first delta was empty.
pub fn ended_early(
    timing: Timing,
    (sent, deltas): (SampleInGeneration, u64),
    begins_blank: bool,
    usage: Usage,
) -> bool {
    let due = frames_in_all(sent);
    deltas < due
        && match timing {
            // Deltas may have been merged: what is billed tells.
            Timing::Frames => usage.completion_tokens < due,
            // By its usage: the prompt and the delay in frames, and a token for each delta. With a
            // delay as models have it, deltas may be merged or spare.
            Timing::Auto => {
                let billed = usage.completion_tokens;
                deltas > 0
                    && begins_blank
                    && billed < due
                    && match usage.prompt_tokens.checked_sub(PROMPT) {
                        Some(1..=USUAL) => Slips::fits(deltas, billed),
                        Some(delay) if DELAYS.contains(&delay) => deltas == billed,
                        _ => false,
                    }
            }
            Timing::Segments | Timing::Arrival | Timing::Utterance => false,
        }
}

/// Places words; `next`: the text and the frame of the word behind them.
fn place_by_frames(
    t: &mut Transcript,
    g: &mut Generation,
    words: Vec<Said>,
    next: Option<(String, Frame)>,
) {
    let behind = words.iter().skip(1).map(|w| Some((w.text.clone(), w.frame?)));
    let nexts: Vec<_> = behind.chain([next]).collect();
    // One at a time, so that it does not matter which deltas came together.
    for (w, next) in words.into_iter().zip(nexts) {
        let floor = t.floor(g);
        let (end_after, latest) = match w.frame {
            Some(frame) => frame.bounds(next.as_ref().map(|n| n.1), g.start()),
            None => (g.start(), g.limit()),
        };
        // Where the word before took the room, some is made.
        let latest = latest.max(floor + FRAME / 2);
        let end_after = end_after.min(latest - FRAME / 4);
        let after = next.map(|(text, frame)| {
            let (end_after, latest) = frame.bounds(None, g.start());
            Bounds { text, earliest: floor, end_after, latest }
        });
        t.place(g, vec![w], vec![(floor, end_after, latest)], after);
    }
}

pub struct Frames;

impl Clock for Frames {
    /// None but, maybe, at the very beginning: nothing is held back.
    fn has_tags(&self) -> bool {
        false
    }

    fn empty(&self, t: &mut Transcript, g: &mut Generation) {
        if g.text.quiet() >= t.memory.patience && g.text.has_rest() {
            g.text.complete_for_now();
        }
    }

    fn settle(&self, t: &mut Transcript, g: &mut Generation) {
        let words = g.text.take_all();
        // Its text so far is looked at only where a word before it is placed by it.
        let next = (!words.is_empty()).then(|| g.text.under_way()).flatten();
        place_by_frames(t, g, words, next);
    }

    fn finish(&self, t: &mut Transcript, g: &mut Generation) {
        let words = g.text.take_all();
        place_by_frames(t, g, words, None);
    }

    fn search(&self) -> Search {
        Search {
            marks: true,
            open: true,
            confidence: Curve { base: 0.38, fit: 0.78, clarity: 0.13 },
        }
    }

    fn searched_along(&self) -> usize {
        1
    }

    fn heard(&self, t: &Transcript, g: &Generation) -> SampleInGeneration {
        let (k, _) = t.detector.frame();
        behind_frames(k).min(g.sent())
    }

    fn horizon(&self, t: &Transcript, g: &Generation) -> Option<Position> {
        let idle = g.text.ready().is_empty()
            && g.placed.is_empty()
            && !g.placed.is_again()
            && !g.text.has_rest();
        (idle && g.text.quiet() > 0).then(|| {
            // A mark may be a frame late.
            let sure = (t.heard - FRAME).min(g.audio_end());
            t.onset(g.at(sure))
        })
    }

    fn tells_heard(&self) -> bool {
        true
    }

    fn resume(&self, t: &Transcript, g: &Generation) -> Position {
        let heard = g.at(t.heard);
        let from = t.emitter.last_end().max(g.start());
        // What sounds on just behind a word is the word's own end.
        let tail = from + PAUSE;
        let safe = if g.placed.is_again() || heard <= tail {
            from
        } else {
            let speech = t.sound.next_speech(tail, heard);
            let rut = if Mechanism::RutKept.is_on() { RUT } else { Length::ZERO };
            speech.max(heard - rut).max(from)
        };
        t.before(safe, g.start())
    }

    fn heard_in(&self, _: &Generation, word: &Word) -> Position {
        word.end
    }

    fn rehearing(&self) -> Rehearing {
        Rehearing { times: Times::FRAMES, sure: Length::of_s(1), one_by_one: true }
    }

    fn is_due(&self, sent: SampleInGeneration, heard: SampleInGeneration, _: u64) -> bool {
        // What the model delays is not late, nor a frame more, which may be on its way.
        sent >= heard.max(ON_ITS_WAY) + FRAME * (USUAL + 2)
    }

    fn ahead(&self) -> Option<Ahead> {
        Some(Ahead { usual: AHEAD, least: FRAMES_SPEAK })
    }

    fn may_be_in_a_rut(&self) -> bool {
        true
    }

    fn cut(&self) -> AtCut {
        AtCut::ByClock
    }

    /// A token for each frame, 11 to flush, 39 for the prompt; a little less than that.
    fn context(&self, tokens: u64) -> Length {
        FRAME * tokens.saturating_sub(39 + 11 + 15)
    }

    fn known_after(&self) -> Option<u32> {
        Some(3000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    /// SIM_SEED=23017038: the first of two words in one delta was placed 1.6 s too early.
    #[test]
    fn words_of_one_delta_ended_behind_the_empty_ones_before_it() {
        let word = Frame { k: 30, more: 0, empty: 2 };
        let next = Frame { k: 30, more: 0, empty: 0 };
        let alone = word.bounds(None, pos(0));
        let together = word.bounds(Some(next), pos(0));
        assert_eq!(together.0, alone.0);
        assert!(together.1 >= alone.1 && together.0 > pos(0) + FRAME * 20, "{together:?}");
        // Behind a word, they may have waited for its text.
        let word = Frame { empty: 0, ..word };
        assert_eq!(word.bounds(Some(next), pos(0)).0, pos(0));
    }
}
