// SPDX-License-Identifier: MPL-2.0

//! Words out, and the utterance that they make. What is out is never taken back.

use std::collections::VecDeque;

use super::{
    Correction, Output, Usage, Utterance, Word,
    clock::detect::Fallback,
    generation::Generation,
    place::SHORTEST,
    script::space_between,
    state::Transcript,
    stitch,
    tags::language_code,
    words::{self, Late},
};
use crate::{Length, Position, mechanism::Mechanism};

/// Room for each word that finds none in its own generation's audio, behind it.
const LATE: Length = Length::of_ms(50);

/// Kept free at the end of the audio for words that may yet come.
const RESERVE: Length = Length::of_ms(20);

/// Words that an utterance lists: some 20 minutes of fast speech. The ones after that are given
/// out all the same.
const LISTED: usize = 8192;

/// Bytes of an utterance's text as the server has it; what comes later stays as it was given out.
const CORRECTED: usize = 256 * 1024;

/// What was given out.
#[derive(Debug, Default)]
pub struct Emitter {
    queue: VecDeque<Output>,
    /// The utterance under way: where its first generation began, what was given out, ...
    begin: Option<Position>,
    listed: Vec<Word>,
    /// ... which so many words of the server has in other words, ...
    corrected: Option<(usize, String)>,
    /// ... and the token usage of its generations.
    usage: Option<Usage>,
    /// The language that is spoken: as the user expects, as the server told.
    expected: Option<String>,
    told: Option<String>,
    /// The last words given out, of all utterances.
    last: VecDeque<Word>,
    /// No word that is still to come begins before this position.
    horizon: Position,
}

impl Emitter {
    pub fn new(language: Option<String>) -> Emitter {
        Emitter { expected: language, ..Emitter::default() }
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// A generation begins; the first one begins the utterance.
    pub fn begin(&mut self, start: Position) {
        self.begin.get_or_insert(start);
    }

    /// Whether an utterance is under way.
    pub fn is_open(&self) -> bool {
        self.begin.is_some()
    }

    /// Words of the utterance so far.
    pub fn listed(&self) -> &[Word] {
        &self.listed
    }

    /// The last words given out, the last one last.
    pub fn last_words(&self) -> impl DoubleEndedIterator<Item = &Word> {
        self.last.iter()
    }

    pub fn last(&self) -> Option<&Word> {
        self.last.back()
    }

    /// Where the last word ends.
    pub fn last_end(&self) -> Position {
        self.last().map_or(Position::START, |w| w.end)
    }

    /// No word that is still to come begins before this position.
    pub fn horizon(&self) -> Position {
        self.horizon
    }

    pub fn raise_horizon(&mut self, to: Position) {
        self.horizon = self.horizon.max(to);
    }

    pub fn word(&mut self, word: Word) {
        self.raise_horizon(word.end);
        self.last.push_back(word.clone());
        if self.last.len() > stitch::REMEMBERED {
            self.last.pop_front();
        }
        if self.listed.len() < LISTED {
            self.listed.push(word.clone());
        }
        self.drop_partial();
        self.queue.push_back(Output::Word(word));
    }

    /// Text that may still grow; replaces the one before.
    pub fn partial(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.drop_partial();
            self.queue.push_back(Output::Partial(text.to_owned()));
        }
    }

    fn drop_partial(&mut self) {
        if matches!(self.queue.back(), Some(Output::Partial(_))) {
            self.queue.pop_back();
        }
    }

    /// Marks came when their word, the last one, was out.
    pub fn correct(&mut self, late: &Late) {
        let Some(word) = self.last.back_mut() else { return };
        if word.text.ends_with(&late.marks) {
            // It is heard again.
            return;
        }
        let given = word.text.len();
        late.close(&mut word.text);
        // A word takes only so many.
        let Some(marks) = word.text.get(given..).filter(|m| !m.is_empty()) else { return };
        let marks = marks.trim_start_matches('\u{A0}').to_owned();
        let word = word.clone();
        if let Some(listed) = self.listed.last_mut().filter(|l| l.begin == word.begin) {
            listed.text.clone_from(&word.text);
        }
        self.queue.push_back(Output::Correction(Correction { word, marks }));
    }

    /// The user expects another language.
    pub fn expect_language(&mut self, language: Option<String>) {
        if self.expected != language {
            self.expected = language;
            self.told = None;
        }
    }

    /// The language that is spoken, as far as it is known.
    pub fn language(&self) -> Option<&str> {
        self.told.as_deref().or(self.expected.as_deref())
    }

    /// The server says which language is spoken: by its English name, or its code.
    pub fn tell_language(&mut self, name: &str) {
        if let Some(code) = language_code(name)
            && self.told.as_deref() != Some(code)
        {
            self.told = Some(code.to_owned());
            self.queue.push_back(Output::Language(code.to_owned()));
        }
    }

    pub fn fell_back(&mut self, fallback: Option<Fallback>) {
        if let Some((from, to, why)) = fallback {
            self.queue.push_back(Output::ClockFellBack { from, to, why });
        }
    }

    /// The token usage of one more generation.
    pub fn add_usage(&mut self, usage: Option<Usage>) {
        self.usage = match (self.usage, usage) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
    }

    /// Behind the first `count` words of the utterance the server has these: text, and whether a
    /// space is before it.
    pub fn correct_behind(&mut self, count: usize, theirs: &[(String, bool)]) {
        let mut text = self.text_so_far(count);
        let last = self.listed.iter().take(count).next_back();
        for (i, (word, space)) in theirs.iter().enumerate() {
            let edge = last.filter(|_| i == 0);
            words::add(&mut text, word, edge.map_or(*space, |l| space_between(&l.text, word)));
        }
        if text.len() <= CORRECTED {
            self.corrected = Some((self.listed.len(), text));
        }
    }

    /// The first words of the utterance, as the server has them.
    fn text_so_far(&self, to: usize) -> String {
        let known = self.corrected.as_ref().filter(|(known, _)| *known <= to);
        let (known, text) = known.map_or((0, ""), |(known, text)| (*known, text.as_str()));
        let rest = self.listed.iter().take(to).skip(known);
        let rest = rest.map(|w| (w.text.as_str(), w.space_before));
        words::join(std::iter::once((text, false)).chain(rest))
    }

    /// The utterance comes out; `limit`: where its audio ends.
    pub fn utterance(&mut self, limit: Position) {
        let start = self.begin.take().unwrap_or(limit);
        let corrected = self.text_so_far(self.listed.len());
        let listed = std::mem::take(&mut self.listed);
        let text = words::join(listed.iter().map(|w| (w.text.as_str(), w.space_before)));
        let correction = self.corrected.take().map(|_| corrected).filter(|c| *c != text);
        let utterance = Utterance {
            text,
            begin: listed.first().map_or(start.min(limit), |w| w.begin),
            end: listed.last().map_or(limit, |w| w.end),
            words: listed,
            usage: self.usage.take(),
            language: self.language().map(str::to_owned),
            correction,
        };
        self.queue.push_back(Output::Utterance(utterance));
    }

    /// Forgets the utterance under way, and all outputs not yet taken.
    pub fn flush(&mut self) {
        let (expected, told) = (self.expected.take(), self.told.take());
        *self = Emitter { expected, told, horizon: self.horizon, ..Emitter::default() };
    }
}

impl Transcript {
    /// Gives out the words that have times. `last`: no more will come, so there is no room to
    /// wait for.
    pub(super) fn give(&mut self, g: &mut Generation, last: bool) {
        self.close_late(g);
        if !self.resolve_repeats(g, last) {
            return;
        }
        while let Some(mut word) = g.placed.pop() {
            let floor = self.emitter.horizon().max(g.start());
            let after = g.placed.waiting() as u64;
            let mut limit = g.limit();
            if last && Mechanism::LateRoom.is_on() && limit < floor + SHORTEST * (after + 1) {
                // Words given out before, by a clock too coarse, took all the room. A word a
                // little late is better than none.
                limit = (floor + LATE * (after + 1)).min(self.sound.end()).max(limit);
            }
            let room = limit - floor;
            let reserve =
                if last { SHORTEST.min(room / (after + 1)) * after } else { RESERVE.min(room / 2) };
            let room = room - reserve;
            if room == Length::ZERO {
                if last {
                    g.placed.lose();
                    continue;
                }
                g.placed.put_back(word);
                break;
            }
            let shortest = SHORTEST.min(room);
            word.begin = word.begin.clamp(floor, floor + room - shortest);
            word.end = word.end.clamp(word.begin + shortest, floor + room);
            let heard_in = self.heard_in(g, &word);
            self.repeats.note_out(heard_in);
            self.emitter.word(word);
        }
    }

    /// Where the audio ends in which a word was heard.
    pub(super) fn heard_in(&self, g: &Generation, word: &Word) -> Position {
        self.clock().heard_in(g, word).min(g.limit())
    }
}
