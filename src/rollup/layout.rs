// SPDX-License-Identifier: MPL-2.0

//! Timed words to captions: which text stands on the screen, and from when to when. Pure.
//!
//! `lines` breaks text into lines, `roll_up` and `cues` decide what a caption is, `standing` how
//! long it stays. All times are in ns of the stream that the words come from.

use std::collections::VecDeque;
use std::ops::Range;

mod cues;
pub mod language;
mod lines;
mod roll_up;
mod standing;
#[cfg(test)]
mod tests;

use cues::Cues;
use language::Language;
use roll_up::RollUp;

pub const MS: u64 = 1_000_000;

/// What is spoken without times of its own words is no longer than this.
const LONGEST: u64 = 60_000 * MS;

/// What a caption is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Each word is painted when it is spoken; the lines scroll.
    #[default]
    RollUp,
    /// Whole captions.
    PopOn,
    /// A caption for each sentence, on one line.
    Sentence,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub mode: Mode,
    pub lines: usize,
    pub columns: usize,
    /// Times in ns.
    pub min_duration: u64,
    pub max_duration: u64,
    pub hold: u64,
    pub gap: u64,
    /// Characters a second; 0: as fast as may be.
    pub reading_speed: u32,
    pub language: Language,
}

/// Text that is shown at once: a word, or several that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub begin: u64,
    pub end: u64,
}

/// What stands on the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caption {
    pub lines: Vec<String>,
    /// The word that is being spoken: its line, and where in it.
    pub spoken: Option<(usize, Range<usize>)>,
}

/// What goes out. Each begins where the one before it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    Caption {
        caption: Caption,
        begin: u64,
        end: u64,
    },
    /// Nothing is on the screen.
    Gap {
        begin: u64,
        end: u64,
    },
    /// Where [`Layout::mark`] was called.
    Mark,
}

/// What was made of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub words: u64,
    /// Captions that were new.
    pub captions: u64,
    /// Words shown later than they were spoken.
    pub late: u64,
    /// Words that left the screen before they had stood on it.
    pub unread: u64,
    /// Captions that stand shorter than their text takes to read.
    pub too_fast: u64,
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            words: self.words + other.words,
            captions: self.captions + other.captions,
            late: self.late + other.late,
            unread: self.unread + other.unread,
            too_fast: self.too_fast + other.too_fast,
        }
    }
}

/// Where the output is, and what goes there next.
#[derive(Debug, Default)]
struct Output {
    at: u64,
    items: VecDeque<Out>,
}

impl Output {
    /// The caption stands up to `end`.
    fn show(&mut self, caption: &Caption, end: u64) {
        if end > self.at {
            self.items.push_back(Out::Caption { caption: caption.clone(), begin: self.at, end });
            self.at = end;
        }
    }

    /// Nothing is shown up to `end`.
    fn gap(&mut self, end: u64) {
        if end <= self.at {
            return;
        }
        match self.items.back_mut() {
            Some(Out::Gap { end: last, .. }) => *last = end,
            _ => self.items.push_back(Out::Gap { begin: self.at, end }),
        }
        self.at = end;
    }

    fn mark(&mut self) {
        self.items.push_back(Out::Mark);
    }
}

#[derive(Debug)]
enum Kind {
    RollUp(RollUp),
    Cues(Cues),
}

/// Words go in, in order; captions come out.
#[derive(Debug)]
pub struct Layout {
    kind: Kind,
    out: Output,
    counts: Counts,
    /// The next word begins a line, with this before it.
    prefix: Option<String>,
}

impl Layout {
    /// The output begins at `at`.
    pub fn new(settings: &Settings, at: u64) -> Layout {
        let kind = match settings.mode {
            Mode::RollUp => Kind::RollUp(RollUp::new(settings)),
            Mode::PopOn | Mode::Sentence => Kind::Cues(Cues::new(settings)),
        };
        let out = Output { at, items: VecDeque::new() };
        Layout { kind, out, counts: Counts::default(), prefix: None }
    }

    /// How much later than a word begins its caption may leave, with such settings.
    pub fn latency(settings: &Settings) -> u64 {
        match settings.mode {
            Mode::RollUp => 0,
            Mode::PopOn => cues::latency(settings, settings.max_duration),
            Mode::Sentence => cues::latency(settings, cues::LONGEST_SENTENCE),
        }
    }

    /// The language of what comes.
    pub fn set_language(&mut self, language: Language) {
        match &mut self.kind {
            Kind::RollUp(r) => r.set_language(language),
            Kind::Cues(c) => c.set_language(language),
        }
    }

    /// Up to here the output is complete.
    pub fn at(&self) -> u64 {
        self.out.at
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A word. One that begins before the output's position is shown there.
    pub fn word(&mut self, mut word: Word) {
        word.end = word.end.min(word.begin.saturating_add(LONGEST));
        let tokens = lines::tokens(&word.text);
        if tokens.is_empty() {
            return;
        }
        self.counts.words += tokens.len() as u64;
        if word.begin < self.out.at {
            self.counts.late += tokens.len() as u64;
        }
        let (out, counts, prefix) = (&mut self.out, &mut self.counts, &mut self.prefix);
        match &mut self.kind {
            Kind::RollUp(r) => r.word(&word, tokens, prefix, out, counts),
            Kind::Cues(c) => c.word(&word, tokens, prefix, out, counts),
        }
    }

    /// No word begins before this time.
    pub fn silence(&mut self, until: u64) {
        match &mut self.kind {
            Kind::RollUp(r) => r.standing.silence(until, &mut self.out),
            Kind::Cues(c) => c.silence(until, &mut self.out, &mut self.counts),
        }
    }

    /// The output has to be further on now, whatever is still to come: what is known leaves, and
    /// where that is nothing no word is taken to begin before this time.
    pub fn due(&mut self, until: u64) {
        match &mut self.kind {
            Kind::RollUp(r) => r.standing.due(until, &mut self.out),
            Kind::Cues(c) => c.due(until, &mut self.out, &mut self.counts),
        }
    }

    /// [`Out::Mark`] is to come out behind all words so far.
    pub fn mark(&mut self) {
        match &mut self.kind {
            Kind::RollUp(_) => self.out.mark(),
            Kind::Cues(c) => c.mark(&mut self.out),
        }
    }

    /// Another one speaks: the next word begins a line, or a caption, with this before it.
    pub fn speaker(&mut self, prefix: &str) {
        if let Kind::Cues(c) = &mut self.kind {
            c.close(&mut self.out, &mut self.counts);
        }
        self.prefix = Some(prefix.to_owned());
    }

    /// No word comes any more. What stands has its time.
    pub fn finish(&mut self) {
        match &mut self.kind {
            Kind::RollUp(r) => r.standing.finish(&mut self.out),
            Kind::Cues(c) => c.finish(&mut self.out, &mut self.counts),
        }
    }

    /// What goes out by now.
    pub fn take(&mut self) -> impl Iterator<Item = Out> + '_ {
        self.out.items.drain(..)
    }
}
