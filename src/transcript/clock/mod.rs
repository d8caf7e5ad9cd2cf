// SPDX-License-Identifier: MPL-2.0

//! The kinds of servers there are: a file for each, with all that is known of it.
//!
//! [`Clock`] is what a kind has to say: when a word was spoken, how far the audio is heard, from where
//! it would have to be sent again, how much of it may be ahead of the server. `detect` finds out which
//! kind it is, and checks that all along. CONTRIBUTING.md tells what a further kind takes.

use super::generation::{Generation, SampleInGeneration};
use super::state::Transcript;
use super::stitch::Times;
use super::{Timing, Word};
use crate::{Length, Position};

mod arrival;
pub mod detect;
mod frames;
mod segments;
mod slips;
mod utterance;

pub use frames::{FRAME, Frame, ended_early, frames_in_all};
pub use segments::{Progress, SEGMENT};

/// Audio that makes every frame-synchronous server speak at least once ...
pub const FRAMES_SPEAK: Length = Length::of_s(4);
/// ... and any server that speaks before the end.
pub const ALL_SPEAK: Length = Length::of_s(6);

/// What a kind of server tells of time, and what follows from it.
pub trait Clock: Sync {
    /// Whether text may have a segmented model's tags behind its beginning.
    fn has_tags(&self) -> bool {
        true
    }

    /// An empty delta came.
    fn empty(&self, _: &mut Transcript, _: &mut Generation) {}

    /// Whether a burst of text may be over without another delta that tells so.
    fn burst_may_be_over(&self, _: &Generation) -> bool {
        false
    }

    /// Nothing has come for a while: the burst of text is over.
    fn burst_over(&self, _: &mut Transcript, _: &mut Generation) {}

    /// Places the words whose time can be told by now.
    fn settle(&self, _: &mut Transcript, _: &mut Generation) {}

    /// All text is there. What is left behind this lies anywhere in the audio that is left.
    fn finish(&self, _: &mut Transcript, _: &mut Generation) {}

    /// How the sound is searched for words.
    fn search(&self) -> Search;

    /// Words given out before one that is placed, which are searched along with it.
    fn searched_along(&self) -> usize {
        0
    }

    /// Up to here the generation is certainly worked through; nothing of it where only `done` tells.
    fn heard(&self, _: &Transcript, _: &Generation) -> SampleInGeneration {
        SampleInGeneration::START
    }

    /// Position before which no word can begin any more, where the clock tells one.
    fn horizon(&self, _: &Transcript, _: &Generation) -> Option<Position> {
        None
    }

    /// Whether it tells, before `done`, how far the audio is heard.
    fn tells_heard(&self) -> bool {
        false
    }

    /// Position from which the audio would be sent again, were the generation lost now.
    fn resume(&self, _: &Transcript, g: &Generation) -> Position {
        g.start()
    }

    /// Where the audio ends in which a word was heard.
    fn heard_in(&self, _: &Generation, _: &Word) -> Position {
        Position::MAX
    }

    /// How words that are heard again are known again.
    fn rehearing(&self) -> Rehearing {
        Rehearing { times: Times::COARSE, sure: Length::ZERO, one_by_one: false }
    }

    /// Whether audio some of whose words are out may be cut where it was not cut before: they are
    /// known again by their text then, wherever the cut is.
    fn may_be_cut_anew(&self) -> bool {
        false
    }

    /// Whether an answer is due once so much was sent, so much heard, and so many deltas came.
    fn is_due(&self, _sent: SampleInGeneration, _heard: SampleInGeneration, _deltas: u64) -> bool {
        false
    }

    /// How much audio may be ahead of what was heard.
    fn ahead(&self) -> Option<Ahead> {
        None
    }

    /// How a generation ends that is cut in the middle of speech.
    fn cut(&self) -> AtCut {
        AtCut::Anywhere
    }

    /// Whether a blank delta tells that nothing was heard, so that many over speech are a rut.
    fn may_be_in_a_rut(&self) -> bool {
        false
    }

    /// Whether generations end at pauses, before the first segment is full.
    fn ends_at_pauses(&self) -> bool {
        false
    }

    /// Audio that so many tokens of context hold.
    fn context(&self, tokens: u64) -> Length {
        segments::context(tokens)
    }

    /// How long after it was spoken a word is known, in ms; `None`: with the end of its utterance.
    fn known_after(&self) -> Option<u32> {
        None
    }
}

/// What a server has shown of its kind, over all generations.
#[derive(Debug)]
pub struct Memory {
    /// By frames: empty deltas behind a word that make it whole.
    patience: u64,
    /// By segments: whether a segment's words may be given out before the next one begins.
    early: bool,
    /// By segments: those over silence that said what was said before.
    repetitions: u64,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { patience: 1, early: true, repetitions: 0 }
    }
}

impl Memory {
    /// Of another server, of which nothing is known but what is counted over all.
    pub fn anew(&self) -> Memory {
        Memory { repetitions: self.repetitions, ..Memory::default() }
    }
}

impl Memory {
    /// A word went on behind an empty delta: it is waited for longer from now on.
    pub fn word_went_on(&mut self) {
        self.patience = 2;
    }

    /// Segments over silence that said what was said before.
    pub fn repetitions(&self) -> u64 {
        self.repetitions
    }
}

/// How the sound is searched for words.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Words' ends are marked.
    pub marks: bool,
    /// Speech may go on behind the last word.
    pub open: bool,
    pub confidence: Curve,
}

/// What the sound says of how sure a word's place is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// How much better the sound fits the word than it fits anything: nats a frame.
    pub fit: f32,
    /// How far the speech is above its background: nepers of power.
    pub clarity: f32,
}

/// A logistic curve from the evidence to the share of words that are placed well, fitted by
/// `scripts/sounds/confidence.py` on speech that the network was not taught on.
#[derive(Debug, Clone, Copy)]
pub struct Curve {
    pub base: f32,
    pub fit: f32,
    pub clarity: f32,
}

impl Curve {
    /// Beyond this much clarity (26 dB) more of it changes nothing.
    const CLEAR: f32 = 6.0;

    pub fn confidence(&self, of: Evidence) -> f32 {
        let clarity = of.clarity.min(Self::CLEAR);
        1.0 / (1.0 + (-(self.base + self.fit * of.fit + self.clarity * clarity)).exp())
    }
}

/// How words that are heard again are known again.
#[derive(Debug, Clone, Copy)]
pub struct Rehearing {
    pub times: Times,
    /// So long after the last word given out nothing can be a repetition of it.
    pub sure: Length,
    /// A repetition may be told although the next word may be one too.
    pub one_by_one: bool,
}

/// How much audio may be ahead of what was heard.
#[derive(Debug, Clone, Copy)]
pub struct Ahead {
    pub usual: Length,
    /// In any case: what it takes to make it speak.
    pub least: Length,
}

/// How a generation ends that is cut in the middle of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCut {
    /// At the quietest place: the utterance is two.
    Anywhere,
    /// What was heard at its end is left to the next one, as the clock tells.
    ByClock,
    /// The next one hears its end again: the words are known by their text.
    ByText,
}

impl Timing {
    /// What is known of this kind; of one that is not known nothing but the utterance's span.
    pub fn clock(self) -> &'static dyn Clock {
        match self {
            Timing::Frames => &frames::Frames,
            Timing::Segments => &segments::Segments,
            Timing::Arrival => &arrival::Arrival,
            Timing::Auto | Timing::Utterance => &utterance::Utterance,
        }
    }
}
