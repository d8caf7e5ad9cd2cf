// SPDX-License-Identifier: MPL-2.0

//! Which kind of server this is, and what its rhythm says about time.
//!
//! A frame-synchronous server sends a delta for each 80 ms of audio, a segmented one begins each
//! 5 s of audio with a tag. Both claims are checked with each delta, and at the end against the
//! count of deltas; a claim that fails is dropped for a weaker one. Of text that comes by neither
//! before the final commit only its arrival tells something.
//!
//! The count of frames is a lower bound, not a guarantee: a server that falls behind merges deltas. So a
//! delta stands for at least one frame, and for none whose audio was not sent; between the two
//! lies its frame (`slips.rs`).

use super::{
    Length, SEGMENT,
    frames::{DELAYS, PROMPT, USUAL, frames_in_all, whole_frames},
    slips::{DeltaIndex, Slips},
};
use crate::transcript::{SampleInGeneration, Timing, Usage};

/// Frames of delay where the server has not told it: 480 ms.
const DELAY: u64 = 6;

/// Deltas of text at the beginning after which their rhythm must have shown.
const SHOWN: u64 = 4;

/// Deltas without an empty one among them that are those of a server without a clock.
const STREAMS: u64 = 3;

/// Deltas that a generation may have too many or too few in all, and for how many one more, to be
/// known as one by frames when it is over.
const FEW: u64 = 2;
const EACH_FEW: u64 = 32;

/// Generations in a row that do not fit the frame clock, after which it is not tried again until
/// the server is lost: a server of another kind never fits.
const MISFITS: u32 = 3;

/// The clock of a server, found out and checked.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    forced: Timing,
    /// The clock of this generation; `Auto` while it is not known.
    clock: Timing,
    /// The clock of the generation before: what is expected of this one.
    before: Timing,
    /// A check has failed on this server.
    no_frames: bool,
    no_segments: bool,
    delay: u64,
    /// Whether the server has told its delay.
    learnt: bool,
    /// Of this generation: deltas so far, those without text, tags.
    deltas: u64,
    empty: u64,
    tags: u64,
    early: bool,
    /// Frames that merged and spare deltas of this generation are off.
    slips: Slips,
    /// Generations in a row that did not fit the frame clock, and whether that was told.
    misfits: u32,
    told: bool,
}

/// A check that failed: from, to, why.
pub type Fallback = (Timing, Timing, String);

impl Detector {
    pub fn new(forced: Timing) -> Self {
        Detector { forced, clock: forced, delay: DELAY, ..Detector::default() }
    }

    /// Of another server, of which nothing is known.
    pub fn anew(&self) -> Detector {
        let mut new = Detector::new(self.forced);
        new.set_live(self.is_live());
        new
    }

    /// A live source's audio is sent as it is spoken: only then does its end show how far behind
    /// the server is, and is it of use to have words early.
    pub fn set_live(&mut self, live: bool) {
        self.slips.set_live(live);
    }

    pub fn is_live(&self) -> bool {
        self.slips.is_live()
    }

    /// The clock that words can be placed by now; `Auto` while it is not known.
    pub fn timing(&self) -> Timing {
        self.clock
    }

    /// The clock as it is known from this generation or the one before.
    pub fn known(&self) -> Timing {
        if self.clock == Timing::Auto { self.before } else { self.clock }
    }

    /// The frame of the newest delta, at least, and how many more it may be.
    pub fn frame(&self) -> (u64, u64) {
        self.slips.frame()
    }

    /// The server's delay in frames, as far as it is known.
    pub fn delay(&self) -> u64 {
        self.delay
    }

    pub fn begin(&mut self) {
        let misfit = self.misfits > 0 && !self.no_frames && self.before == Timing::Frames;
        if self.clock != Timing::Auto && !misfit {
            self.before = self.clock;
        }
        self.slips.begin();
        self.clock = self.forced;
        (self.deltas, self.empty, self.tags, self.early) = (0, 0, 0, false);
    }

    /// The server was lost: the next one may be of another kind.
    pub fn forget(&mut self) {
        (self.no_frames, self.no_segments, self.before) = (false, false, Timing::Auto);
        (self.delay, self.learnt) = (DELAY, false);
        (self.misfits, self.told) = (0, false);
        self.slips.forget();
    }

    /// A delta came when so much was sent; `last`: the final commit was sent, so that is all. `undecided`: its text may yet turn out to be the beginning of a tag.
    pub fn delta(
        &mut self,
        text: &str,
        sent: SampleInGeneration,
        last: bool,
        undecided: bool,
    ) -> Option<Fallback> {
        let k = self.deltas;
        self.deltas += 1;
        self.empty += u64::from(text.is_empty());
        if !last && !self.learnt {
            // A shorter delay than usual shows in early deltas, not always in the first.
            let shown = whole_frames(sent).saturating_sub(1 + k);
            self.delay = self.delay.min(shown.max(*DELAYS.start()));
        }
        // Frames whose audio is there.
        let there =
            if last { frames_in_all(sent) } else { whole_frames(sent).saturating_sub(self.delay) };
        self.early |= k >= there && !(last && Slips::fits(self.deltas, there));
        self.slips.delta(DeltaIndex(k), there, sent, last);
        match self.clock {
            Timing::Frames if self.forced == Timing::Auto && !self.slips.fit(DeltaIndex(k)) => {
                let why = format!("delta {k} came when only {sent} samples of its audio were sent");
                self.misfit(self.no_clock(last), why)
            }
            Timing::Auto if self.early || self.no_frames => {
                // Neither frames nor, so far, segments.
                if !undecided && !text.is_empty() {
                    self.clock = self.no_clock(last);
                }
                None
            }
            Timing::Auto if !undecided => {
                let rhythm = k == 0 && text.is_empty()
                    || self.deltas >= SHOWN && self.empty * 2 >= self.deltas;
                let streams = self.before == Timing::Arrival || self.deltas >= STREAMS;
                // After the final commit the rhythm shows nothing: what was before holds, or
                // the count at the end decides.
                if self.before == Timing::Frames || rhythm && !last {
                    self.clock = Timing::Frames;
                } else if streams && self.empty == 0 && !last && self.is_live() {
                    self.clock = Timing::Arrival;
                }
                None
            }
            _ => None,
        }
    }

    /// A segment's tag came.
    pub fn tag(
        &mut self,
        sent: SampleInGeneration,
        last: bool,
        first_text: bool,
    ) -> Option<Fallback> {
        let (index, audio) = (self.tags, sent.length());
        self.tags += 1;
        let begun = SEGMENT * index < audio.max(Length::new(1));
        let possible = if last { begun } else { audio >= SEGMENT * (index + 1) };
        match self.clock {
            _ if self.forced != Timing::Auto => None,
            Timing::Segments if !possible => {
                self.no_segments = true;
                let why = format!("segment {index} began when only {sent} samples were sent");
                Some(self.fall_back(self.no_clock(last), why))
            }
            Timing::Auto | Timing::Frames | Timing::Arrival | Timing::Utterance
                if first_text && possible && !self.no_segments =>
            {
                self.clock = Timing::Segments;
                None
            }
            _ => None,
        }
    }

    /// The generation is over. `audio`: the end of what was sent, where the client ended it.
    pub fn done(
        &mut self,
        audio: Option<SampleInGeneration>,
        usage: Option<Usage>,
    ) -> Option<Fallback> {
        let expected = audio.map(frames_in_all);
        let billed = usage.map(|u| u.completion_tokens).filter(|n| *n > 0);
        let delay = usage.and_then(|u| u.prompt_tokens.checked_sub(PROMPT));
        let delay = delay.filter(|d| DELAYS.contains(d));
        // The usage tells what was merged; where the deltas are all there it tells nothing. A few
        // may be spare, with the rhythm of frames and the prompt of a server by frames.
        let of_frames = delay.is_some_and(|d| d <= USUAL) && self.empty * 2 >= self.deltas;
        let all_there = expected.is_some_and(|n| {
            let few = || n.abs_diff(self.deltas) <= FEW + n / EACH_FEW;
            let merged = || billed == Some(n) && Slips::fits(self.deltas, n);
            n == self.deltas || of_frames && (few() || merged())
        });
        match self.clock {
            Timing::Auto if self.deltas > 0 => {
                // All came after the final commit: only the count tells.
                let certain = all_there && !self.early;
                self.clock =
                    if certain && !self.no_frames { Timing::Frames } else { Timing::Utterance };
            }
            Timing::Frames if self.forced == Timing::Auto => {
                // Merged deltas are counted in the usage. One that is off counts only where nothing else has
                // shown what kind of server it is.
                let odd = |due: u64| match billed {
                    _ if due == self.deltas => false,
                    Some(n) if n.abs_diff(due) > FEW && !self.learnt => true,
                    Some(n) if n == due && self.deltas < due => false,
                    _ => !Slips::fits(self.deltas, due),
                };
                if let Some(due) = expected.filter(|n| odd(*n)) {
                    let why = format!("{} deltas came, {due} were due", self.deltas);
                    return self.misfit(Timing::Utterance, why);
                }
                self.misfits = 0;
            }
            Timing::Segments if self.forced == Timing::Auto => {
                let due = audio.map(|end| end.samples().div_ceil(SEGMENT.samples()).max(1));
                if let Some(due) = due.filter(|n| *n != self.tags) {
                    self.no_segments = true;
                    let why = format!("{} segments came, {due} were due", self.tags);
                    return Some(self.fall_back(Timing::Utterance, why));
                }
            }
            _ => {}
        }
        if self.clock == Timing::Frames
            && let Some(delay) = delay
        {
            (self.delay, self.learnt) = (delay, true);
        }
        None
    }

    /// This generation speaks for itself alone; the next one is tried by frames again, unless
    /// several in a row did not fit. Told once.
    fn misfit(&mut self, to: Timing, why: String) -> Option<Fallback> {
        self.before = Timing::Frames;
        self.misfits += 1;
        self.no_frames |= self.misfits >= MISFITS;
        let fallback = self.fall_back(to, why);
        (!std::mem::replace(&mut self.told, true)).then_some(fallback)
    }

    /// What text without a clock tells: before the final commit at least that it was spoken before.
    /// Where the audio is not sent as it is spoken, that tells nothing.
    fn no_clock(&self, last: bool) -> Timing {
        if last || !self.is_live() { Timing::Utterance } else { Timing::Arrival }
    }

    fn fall_back(&mut self, to: Timing, why: String) -> Fallback {
        let from = std::mem::replace(&mut self.clock, to);
        (from, to, why)
    }
}
