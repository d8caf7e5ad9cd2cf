// SPDX-License-Identifier: MPL-2.0

//! Deltas to words, in every script.
//!
//! What is a word depends on the text alone, never on how it was cut into deltas: each decision
//! is made character by character, from what came before.
//!
//! - Spaces separate words. Where a script writes none, ICU's dictionaries and models do, over
//!   a run of that script, at most [`RUN`] characters at a time.
//! - Closing punctuation belongs to the word before it, opening punctuation to the word after
//!   it; where a space stands between, it becomes a no-break space inside the word.
//! - A word without an end is cut after [`LONGEST`] characters, between graphemes.

use icu_segmenter::{GraphemeClusterSegmenter, WordSegmenter, options::WordBreakInvariantOptions};

use super::script::{Class, class, clean};

/// Characters in a word at most, not counting the punctuation on it.
pub const LONGEST: usize = 200;

/// Characters in a run of a script without spaces that are looked at together.
pub const RUN: usize = 64;

/// Characters of punctuation on a word at most; what is more is left out.
const PUNCTUATION: usize = 16;

/// A word cut out of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub space_before: bool,
    /// Characters of the text, counted from the splitter's beginning: of the word's first
    /// character (that is no punctuation) and behind its last.
    pub from: u64,
    pub to: u64,
}

/// Closing punctuation that came when its word was out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    pub marks: String,
    space: bool,
}

impl Late {
    /// The word as it is with its marks.
    pub fn close(&self, word: &mut String) {
        close(word, &self.marks, self.space);
    }
}

/// What the server added behind a word since it was given out.
pub fn added_marks(given: &str, now: &str) -> Option<Late> {
    let marks = now.strip_prefix(given).filter(|m| !m.is_empty())?;
    let space = marks.starts_with('\u{A0}');
    let marks = marks.trim_start_matches('\u{A0}').to_owned();
    marks.chars().all(|c| !is_core(class(c))).then_some(Late { marks, space })
}

/// What a run of characters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Punctuation,
    /// It has a character that is none: a word, in a script with spaces.
    Word,
    /// Words of a script without spaces.
    Unspaced,
}

/// Cuts a stream of text into words.
#[derive(Debug, Clone, Default)]
pub struct Splitter {
    /// Characters taken so far.
    pos: u64,
    /// The characters under way, none of which is space.
    run: String,
    run_chars: usize,
    run_from: u64,
    kind: Kind,
    /// Whether space came before the run.
    space: bool,
    /// Whether the last character was a dash that may part two words.
    dash: bool,
    /// Opening punctuation for the next word, and whether space stood before it.
    prefix: String,
    prefix_space: bool,
    quoted: bool,
    /// Closes a word that was given out by a flush.
    late: Option<Late>,
    /// Whether the last word was given out by a flush.
    flushed: bool,
    /// Whole, but for punctuation that may follow.
    held: Option<Piece>,
    whole: Vec<Piece>,
}

impl Splitter {
    /// Takes text. Words that are whole by it can be taken.
    pub fn push(&mut self, text: &str) {
        for c in text.chars() {
            self.pos += 1;
            if let Some(c) = clean(c) {
                self.char(c);
            }
        }
    }

    /// The words that are whole by now.
    pub fn take(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.whole)
    }

    /// The text so far is complete: all of it becomes words. Punctuation that closes a word which
    /// is out is late; what opens one waits for it. What comes next without a space continues in a
    /// word of its own.
    pub fn flush(&mut self) -> Vec<Piece> {
        self.end_run();
        if let Some(held) = &mut self.held {
            let prefix = std::mem::take(&mut self.prefix);
            append(held, prefix.trim_end_matches('\u{A0}'), self.prefix_space, self.pos);
        }
        self.release();
        self.flushed |= !self.whole.is_empty();
        self.take()
    }

    /// Punctuation that closes the last word which was given out, before all that comes next.
    pub fn take_late(&mut self) -> Option<Late> {
        self.late.take()
    }

    /// What a flush would give now.
    pub fn peek(&self) -> Vec<Piece> {
        self.clone().flush()
    }

    /// Whether there is text of which no word is whole.
    pub fn is_empty(&self) -> bool {
        self.run.is_empty() && self.held.is_none() && self.whole.is_empty()
    }

    /// Whether a word is there with space behind it: no more than punctuation can be added to it.
    pub fn ends_in_space(&self) -> bool {
        self.space && self.run.is_empty() && self.prefix.is_empty() && self.held.is_some()
    }

    /// Characters taken so far.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// Where the first word begins that was not taken yet.
    pub fn settled(&self) -> u64 {
        let run = if self.run.is_empty() { self.pos } else { self.run_from };
        self.whole.first().or(self.held.as_ref()).map_or(run, |w| w.from.min(run))
    }

    /// The next word begins at a new piece of text, with space before it or not.
    pub fn set_space(&mut self, space: bool) {
        self.space = space;
    }

    fn char(&mut self, c: char) {
        let class = class(c);
        match class {
            Class::Space => {
                self.end_run();
                self.space = true;
                return;
            }
            // A mark with nothing to stand on shows nothing.
            Class::Extend if self.run.is_empty() => return,
            Class::Extend => {}
            Class::Unspaced if self.kind != Kind::Unspaced || self.run.is_empty() => {
                self.end_run();
                self.kind = Kind::Unspaced;
                self.release();
            }
            Class::Unspaced => {}
            _ if self.kind == Kind::Unspaced => self.end_run(),
            Class::Other if self.dash && self.kind == Kind::Word && c.is_alphanumeric() => {
                self.end_run();
            }
            _ => {}
        }
        if self.run.is_empty() {
            self.run_from = self.pos - 1;
            self.run_chars = 0;
        }
        if class == Class::Other && self.kind == Kind::Punctuation {
            // A word begins here: what was held can get nothing more.
            if !self.space {
                self.split_punctuation(true);
                if self.run.is_empty() {
                    self.run_from = self.pos - 1;
                }
            }
            self.release();
            self.kind = Kind::Word;
        }
        // Em dash and horizontal bar part words without a space; hyphens do not.
        self.dash = matches!(c, '\u{2014}' | '\u{2015}');
        self.run.push(c);
        self.run_chars += 1;
        let limit = if self.kind == Kind::Unspaced { RUN } else { LONGEST };
        if self.run_chars > limit {
            self.cut_run();
        }
    }

    /// The run is over: it becomes words or punctuation of words.
    fn end_run(&mut self) {
        let empty = self.run.is_empty();
        match std::mem::take(&mut self.kind) {
            _ if empty => {}
            Kind::Unspaced => {
                let run = std::mem::take(&mut self.run);
                let mut from = self.run_from;
                for word in unspaced_words(&run) {
                    let to = from + word.chars().count() as u64;
                    self.word(word, from, to);
                    from = to;
                }
            }
            Kind::Word => {
                let run = std::mem::take(&mut self.run);
                // Opening punctuation at its end belongs to what follows without a space.
                let body = run.trim_end_matches(|c| class(c) == Class::Opening);
                let to = self.run_from + run.chars().count() as u64;
                if body.is_empty() {
                    self.word(&run, self.run_from, to);
                } else {
                    self.word(body, self.run_from, to);
                    self.open(&run[body.len()..]);
                }
            }
            Kind::Punctuation => self.split_punctuation(false),
        }
        self.dash = false;
        if !empty {
            self.run.clear();
            self.run_chars = 0;
            self.space = false;
        }
    }

    /// The run is nothing but punctuation: shares it out. `joined`: a word follows without space.
    fn split_punctuation(&mut self, joined: bool) {
        let dash = self.space && self.run.chars().all(|c| class(c) == Class::Dash);
        let run = std::mem::take(&mut self.run);
        let mut open = None;
        for (at, c) in run.char_indices() {
            let opening = match class(c) {
                Class::Opening => true,
                Class::Quote => {
                    self.quoted = !self.quoted;
                    self.quoted
                }
                _ => false,
            };
            if opening {
                open = Some(at);
                break;
            }
        }
        let (close, open) = run.split_at(open.unwrap_or(run.len()));
        if !close.is_empty() {
            match &mut self.held {
                Some(held) => append(held, close, self.space, self.pos),
                // Its own word is out.
                None if self.flushed && !joined && !dash => {
                    let space = std::mem::take(&mut self.space);
                    let late = self.late.get_or_insert(Late { marks: String::new(), space });
                    if space && !late.marks.is_empty() {
                        late.marks.push('\u{A0}');
                    }
                    late.marks.push_str(close);
                }
                // Nothing to stand on: with the word after it.
                None => self.open(close),
            }
        }
        if !open.is_empty() {
            if close.is_empty() {
                self.open(open);
            } else {
                let space = std::mem::replace(&mut self.space, false);
                self.open(open);
                self.space = space;
            }
        }
        self.run_chars = 0;
    }

    fn open(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.prefix.is_empty() {
            self.prefix_space = self.space;
        } else if self.space {
            self.prefix.push('\u{A0}');
        }
        let room = PUNCTUATION.saturating_sub(self.prefix.chars().count());
        self.prefix.extend(text.chars().take(room));
        self.space = false;
    }

    fn word(&mut self, text: &str, from: u64, to: u64) {
        self.release();
        self.flushed = false;
        let mut whole = std::mem::take(&mut self.prefix);
        let space_before = if whole.is_empty() {
            self.space
        } else {
            if self.space {
                whole.push('\u{A0}');
            }
            self.prefix_space
        };
        whole.push_str(text);
        self.space = false;
        self.held = Some(Piece { text: whole, space_before, from, to });
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.whole.push(held);
        }
    }

    /// The run is too long: its beginning is given out, its end may go on.
    fn cut_run(&mut self) {
        let kind = self.kind;
        let keep = if kind == Kind::Unspaced {
            // All but the last word of the run, which may grow.
            let last = unspaced_words(&self.run).last().map_or(0, |w| w.len());
            self.run.len().saturating_sub(last)
        } else {
            0
        };
        let at = if keep > 0 {
            keep
        } else {
            // Between graphemes; one that is longer than all this is cut anywhere.
            let graphemes = GraphemeClusterSegmenter::new();
            let breaks = graphemes.segment_str(&self.run);
            match breaks.take_while(|at| *at < self.run.len()).last() {
                Some(at) if at > 0 => at,
                _ => self.run.char_indices().next_back().map_or(0, |(at, _)| at),
            }
        };
        if at == 0 {
            return;
        }
        let rest = self.run.split_off(at);
        let core = rest.chars().any(|c| is_core(class(c)));
        let from = self.pos - rest.chars().count() as u64;
        self.end_run();
        self.run_chars = rest.chars().count();
        self.run = rest;
        self.run_from = from;
        self.kind = if core || kind == Kind::Unspaced { kind } else { Kind::Punctuation };
        if core {
            self.release();
        }
    }
}

fn is_core(class: Class) -> bool {
    matches!(class, Class::Other | Class::Unspaced)
}

fn append(word: &mut Piece, punctuation: &str, space: bool, to: u64) {
    if punctuation.is_empty() {
        return;
    }
    close(&mut word.text, punctuation, space);
    word.to = to;
}

/// Closing punctuation on a word, with space before it or not.
fn close(word: &mut String, punctuation: &str, space: bool) {
    let tail = word.chars().rev().take_while(|c| !is_core(class(*c))).count();
    let room = PUNCTUATION.saturating_sub(tail);
    if room > 0 {
        if space {
            word.push('\u{A0}');
        }
        word.extend(punctuation.chars().take(room));
        // Spaces within the punctuation count too, and one may have come last.
        word.truncate(word.trim_end_matches('\u{A0}').len());
    }
}

/// The words of a run of a script without spaces; together they are the run.
fn unspaced_words(run: &str) -> Vec<&str> {
    let segmenter = WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
    let mut words = Vec::new();
    let mut from = 0;
    for to in segmenter.segment_str(run) {
        if let Some(word) = run.get(from..to).filter(|w| !w.is_empty()) {
            words.push(word);
            from = to;
        }
    }
    if let Some(rest) = run.get(from..).filter(|w| !w.is_empty()) {
        words.push(rest);
    }
    words
}

/// All words of a text.
pub fn words(text: &str) -> Vec<Piece> {
    let mut splitter = Splitter::default();
    splitter.push(text);
    splitter.flush()
}

/// Words as one text.
pub fn join<'a>(words: impl IntoIterator<Item = (&'a str, bool)>) -> String {
    let mut text = String::new();
    words.into_iter().for_each(|(word, space)| add(&mut text, word, space));
    text
}

/// A word more.
pub fn add(text: &mut String, word: &str, space_before: bool) {
    if space_before && !text.is_empty() {
        text.push(' ');
    }
    text.push_str(word);
}

/// Whether text continues the word before it.
pub fn goes_on(text: &str) -> bool {
    text.chars()
        .find_map(clean)
        .is_some_and(|c| !matches!(class(c), Class::Space | Class::Unspaced))
}
