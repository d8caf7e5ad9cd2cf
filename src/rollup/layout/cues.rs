// SPDX-License-Identifier: MPL-2.0

//! Whole captions: words are gathered until a caption is full, and it ends where a reader would pause.

use super::language::{Break, Language};
use super::lines::{self, Token};
use super::standing::Standing;
use super::{Caption, Counts, MS, Mode, Output, Settings, Word};

/// A sentence without an end is cut after so long.
pub const LONGEST_SENTENCE: u64 = 10_000 * MS;

/// So much speech beyond a full caption is looked at, to see where it is best cut.
const AHEAD: u64 = 1500 * MS;

/// Columns of a sentence at most.
const SENTENCE_COLUMNS: usize = 2000;

/// A word that waits for its caption.
#[derive(Debug)]
struct Waiting {
    token: Token,
    begin: u64,
    end: u64,
    /// Calls of [`Cues::mark`] behind it.
    marks: usize,
}

#[derive(Debug)]
pub struct Cues {
    waiting: Vec<Waiting>,
    standing: Standing,
    sentences: bool,
    lines: usize,
    columns: usize,
    longest: u64,
    min_duration: u64,
    pause: u64,
    reading_speed: u64,
    language: Language,
}

/// A caption is full after `longest` and [`AHEAD`]; how long it stands is known `gap` later, or at the
/// next word.
pub fn latency(s: &Settings, longest: u64) -> u64 {
    longest.saturating_add(AHEAD).saturating_add(s.gap.max(s.min_duration))
}

impl Cues {
    pub fn new(s: &Settings) -> Cues {
        let sentences = s.mode == Mode::Sentence;
        Cues {
            waiting: Vec::new(),
            standing: Standing::new(s.gap, u64::MAX),
            sentences,
            lines: if sentences { 1 } else { s.lines },
            columns: if sentences { SENTENCE_COLUMNS } else { s.columns },
            longest: if sentences { LONGEST_SENTENCE } else { s.max_duration },
            min_duration: s.min_duration,
            pause: s.gap,
            reading_speed: s.reading_speed.into(),
            language: s.language,
        }
    }

    pub fn set_language(&mut self, language: Language) {
        self.language = language;
    }

    pub fn word(
        &mut self,
        word: &Word,
        mut tokens: Vec<Token>,
        prefix: &mut Option<String>,
        out: &mut Output,
        counts: &mut Counts,
    ) {
        if prefix.is_some() || self.ends_before(word.begin) {
            self.close(out, counts);
        }
        // A mark that comes by itself closes the word before it.
        if tokens[0].closes {
            let mark = tokens.remove(0);
            match self.waiting.last_mut() {
                Some(last) => last.token.add(&mark, self.columns),
                None => self.standing.close(&mark, self.columns),
            }
            self.end_sentence(out, counts);
        }
        if let Some(first) = tokens.first_mut()
            && let Some(prefix) = prefix.take()
        {
            first.begin_with(&prefix);
        }
        let columns = self.columns;
        let tokens: Vec<Token> = tokens.into_iter().flat_map(|t| t.broken(columns)).collect();
        // What came together has its time by its length.
        let whole = tokens.iter().map(|t| t.columns.max(1) as u64).sum::<u64>().max(1);
        let (mut before, span) = (0, word.end.saturating_sub(word.begin));
        for token in tokens {
            let at = |columns: u64| {
                word.begin + (u128::from(span) * u128::from(columns) / u128::from(whole)) as u64
            };
            let begin = at(before);
            before += token.columns.max(1) as u64;
            self.add(Waiting { token, begin, end: at(before), marks: 0 }, out, counts);
        }
    }

    fn add(&mut self, word: Waiting, out: &mut Output, counts: &mut Counts) {
        if self.waiting.is_empty() {
            counts.too_fast += u64::from(!self.standing.next_at(word.begin, out));
        }
        self.waiting.push(word);
        while self.is_overfull() {
            self.cut(self.best_cut(out.at, false), out, counts);
        }
        self.end_sentence(out, counts);
    }

    /// Where each sentence is a caption: whether one is over.
    fn end_sentence(&mut self, out: &mut Output, counts: &mut Counts) {
        let last = self.waiting.last().map(|w| w.token.text.as_str()).unwrap_or_default();
        if self.sentences && self.language.break_between(last, "") == Break::Sentence {
            self.close(out, counts);
        }
    }

    /// Whether what comes at `begin` belongs to another caption.
    fn ends_before(&self, begin: u64) -> bool {
        self.waiting.last().is_some_and(|last| begin >= last.end.saturating_add(self.pause))
    }

    pub fn silence(&mut self, until: u64, out: &mut Output, counts: &mut Counts) {
        if self.ends_before(until) {
            self.close(out, counts);
        }
        if self.waiting.is_empty() {
            self.standing.silence(until, out);
        }
    }

    pub fn due(&mut self, until: u64, out: &mut Output, counts: &mut Counts) {
        self.close(out, counts);
        self.standing.due(until, out);
    }

    pub fn mark(&mut self, out: &mut Output) {
        match self.waiting.last_mut() {
            Some(word) => word.marks += 1,
            None if self.standing.is_empty() => out.mark(),
            None => self.standing.mark(),
        }
    }

    /// The words that wait are a caption.
    pub fn close(&mut self, out: &mut Output, counts: &mut Counts) {
        while self.waiting.len() > 1 && !self.fits(self.waiting.len()) {
            self.cut(self.best_cut(out.at, true), out, counts);
        }
        self.cut(self.waiting.len(), out, counts);
    }

    /// Whether there is more than a caption holds, by so much that the best place to cut it is seen.
    fn is_overfull(&self) -> bool {
        let (Some(first), Some(last)) = (self.waiting.first(), self.waiting.last()) else {
            return false;
        };
        let spoken = last.end.saturating_sub(first.begin);
        let room = self.lines * self.columns;
        self.waiting.len() > 1
            && !self.fits(self.waiting.len())
            && (spoken >= self.longest.saturating_add(AHEAD)
                || columns(&self.waiting) >= (room + self.columns / 2) as u64)
    }

    pub fn finish(&mut self, out: &mut Output, counts: &mut Counts) {
        self.close(out, counts);
        self.standing.finish(out);
    }

    /// Whether the first `count` words are a caption that is not too long.
    fn fits(&self, count: usize) -> bool {
        let words = &self.waiting[..count];
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return true };
        last.end.saturating_sub(first.begin) <= self.longest
            && lines::wrap(words.iter().map(|w| &w.token), self.lines, self.columns, self.language)
                .is_some()
    }

    /// How many of the first words are the best caption. `at`: where it begins; `all`: no word follows
    /// those that wait.
    fn best_cut(&self, at: u64, all: bool) -> usize {
        let half = (self.columns / 2).max(1) as u64;
        // Up to the end of the sentence, or of the speech: little of it makes a poor caption.
        let rest = |count: usize| {
            let rest = &self.waiting[count..];
            let ends =
                |w: &Waiting| self.language.break_between(&w.token.text, "") == Break::Sentence;
            let to = rest.iter().position(ends).map(|i| i + 1).or(all.then_some(rest.len()));
            to.map_or(half, |to| columns(&rest[..to]).min(half))
        };
        let room = (self.lines * self.columns) as u64;
        let cost = |count: &usize| {
            let (before, next) = (&self.waiting[*count - 1], &self.waiting[*count]);
            let columns = columns(&self.waiting[..*count]);
            let empty = 70 * room.saturating_sub(columns) / room.max(1);
            let lasts = next.begin.saturating_sub(at);
            let hurry = self.reading(columns).max(self.min_duration).saturating_sub(lasts);
            let pause = next.begin.saturating_sub(before.end) / (20 * MS);
            let quality = self.language.break_between(&before.token.text, &next.token.text);
            // A tenth of a second too short is worth as much as a tenth of the room.
            let orphan = 80 * (half - rest(*count)) / half;
            (u64::from(quality.cost()) + empty + orphan + hurry / (10 * MS))
                .saturating_sub(pause.min(50))
        };
        let fitting = (1..self.waiting.len()).take_while(|&count| self.fits(count));
        fitting.min_by_key(|count| (cost(count), std::cmp::Reverse(*count))).unwrap_or(1)
    }

    /// How long it takes to read so many columns.
    fn reading(&self, columns: u64) -> u64 {
        (columns * 1000 * MS).checked_div(self.reading_speed).unwrap_or(0)
    }

    /// The first words are a caption, which stands as long as it takes to read.
    fn cut(&mut self, count: usize, out: &mut Output, counts: &mut Counts) {
        let words: Vec<Waiting> = self.waiting.drain(..count).collect();
        let Some(last) = words.last() else { return };
        let columns = columns(&words);
        let tokens = words.iter().map(|w| &w.token);
        let lines = lines::wrap(tokens.clone(), self.lines, self.columns, self.language)
            .unwrap_or_else(|| vec![lines::joined(tokens)]);
        let needed = self.reading(columns).max(self.min_duration);
        let longest = last.end.max(out.at.saturating_add(self.longest));
        let until = last.end.max(out.at.saturating_add(needed)).min(longest);
        counts.captions += 1;
        self.standing.set(Caption { lines, spoken: None }, until);
        for _ in 0..words.iter().map(|w| w.marks).sum() {
            self.standing.mark();
        }
        if let Some(next) = self.waiting.first() {
            counts.too_fast += u64::from(!self.standing.next_at(next.begin, out));
        }
    }
}

fn columns(words: &[Waiting]) -> u64 {
    words.iter().map(|w| w.token.columns as u64 + u64::from(w.token.space)).sum()
}
