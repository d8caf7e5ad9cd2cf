// SPDX-License-Identifier: MPL-2.0

//! Text to lines of so many columns. A column is the width of a Latin letter: characters of East Asia
//! take two, marks that stand on others none.

use std::collections::VecDeque;
use std::ops::Range;

use icu_segmenter::GraphemeClusterSegmenter;
use unicode_width::UnicodeWidthStr;

use super::Caption;
use super::language::{Break, Language};
use crate::transcript::script::{self, Class, class};

/// Columns that have to be left behind an article, or another word that belongs to what follows.
const BOUND: usize = 8;

/// The same behind a conjunction or a preposition.
const PHRASE: usize = 5;

/// A word, or what stands as one: nothing in it is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub columns: usize,
    /// A space stands before it, unless it begins a line.
    pub space: bool,
    /// Punctuation that closes the word before it.
    pub closes: bool,
}

impl Token {
    fn new(text: String, space: bool) -> Token {
        let closes = text.chars().all(|c| matches!(class(c), Class::Closing | Class::Extend));
        Token { columns: text.width(), space: space && !closes, closes, text }
    }

    /// What closes it, where so many columns have room for that.
    pub fn add(&mut self, marks: &Token, most: usize) {
        if self.columns + marks.columns <= most {
            self.text.push_str(&marks.text);
            self.columns += marks.columns;
        }
    }

    /// Puts a prefix before it.
    pub fn begin_with(&mut self, prefix: &str) {
        *self = Token::new(format!("{prefix}{}", self.text), self.space);
    }

    /// In pieces of so many columns at most.
    pub fn broken(self, columns: usize) -> Vec<Token> {
        if self.columns <= columns {
            return vec![self];
        }
        let (mut pieces, mut from, mut width) = (Vec::new(), 0, 0);
        let mut cut = |range: Range<usize>| {
            let space = self.space && range.start == 0;
            let piece = Token::new(self.text[range].to_owned(), space);
            pieces.push(Token { closes: false, ..piece });
        };
        let graphemes = GraphemeClusterSegmenter::new();
        let ends: Vec<usize> = graphemes.segment_str(&self.text).skip(1).collect();
        let mut last = 0;
        for end in ends {
            let grapheme = self.text[last..end].width();
            if width + grapheme > columns && last > from {
                cut(from..last);
                (from, width) = (last, 0);
            }
            width += grapheme;
            last = end;
        }
        if from < self.text.len() {
            cut(from..self.text.len());
        }
        pieces
    }
}

/// The words of a text. Spaces that must not be broken stay in them.
pub fn tokens(text: &str) -> Vec<Token> {
    let breaks = |c: char| c.is_whitespace() && !matches!(c, '\u{A0}' | '\u{202F}' | '\u{2007}');
    text.split(breaks)
        .map(|word| word.chars().filter(|c| !c.is_control()).collect::<String>())
        .filter(|word| !word.trim().is_empty())
        .map(|word| Token::new(word, true))
        .collect()
}

/// Whether a space stands between them on a line.
fn space(before: &str, token: &Token) -> bool {
    token.space && script::space_between(before, &token.text)
}

/// All of it on one line.
pub fn joined<'a>(tokens: impl Iterator<Item = &'a Token>) -> String {
    let mut line = String::new();
    for token in tokens {
        if space(&line, token) {
            line.push(' ');
        }
        line.push_str(&token.text);
    }
    line
}

/// The tokens on as few lines as they need, broken where a reader would, and balanced; `None` where
/// they need more than `most`.
pub fn wrap<'a>(
    tokens: impl Iterator<Item = &'a Token>,
    most: usize,
    columns: usize,
    language: Language,
) -> Option<Vec<String>> {
    let tokens: Vec<&Token> = tokens.collect();
    let count = tokens.len();
    // The width of the line from token i to token j.
    let mut ends = vec![0; count + 1];
    let mut spaces = vec![0; count + 1];
    for (i, token) in tokens.iter().enumerate() {
        let spaced = i > 0 && space(&tokens[i - 1].text, token);
        spaces[i] = usize::from(spaced);
        ends[i + 1] = ends[i] + spaces[i] + token.columns;
    }
    let width = |from: usize, to: usize| ends[to] - ends[from] - spaces[from];
    let quality = |at: usize| match at {
        0 => 0,
        at => language.break_between(&tokens[at - 1].text, &tokens[at].text).cost().into(),
    };
    if width(0, count) <= columns {
        return Some(vec![joined(tokens.into_iter())]);
    }
    (2..=most.min(count)).find_map(|n| {
        let ideal = width(0, count) / n;
        // Of the lines so far: what the first i tokens on them cost, and where the last one begins.
        let mut costs: Vec<Vec<Option<(u64, usize)>>> = vec![vec![None; count + 1]];
        costs[0][0] = Some((0, 0));
        for _ in 0..n {
            let before = &costs[costs.len() - 1];
            let mut row = vec![None; count + 1];
            for (to, cheapest) in row.iter_mut().enumerate().skip(1) {
                let lines = (0..to).rev().map_while(|from| {
                    let line = width(from, to);
                    (line <= columns).then_some((from, line))
                });
                *cheapest = lines
                    .filter_map(|(from, line)| {
                        let off = line.abs_diff(ideal) as u64 * 100 / columns.max(1) as u64;
                        Some((before[from]?.0 + off * off / 40 + quality(from), from))
                    })
                    .min();
            }
            costs.push(row);
        }
        costs[n][count].is_some().then(|| lines(&tokens, &costs))
    })
}

/// The lines of the cheapest way to break all tokens.
fn lines(tokens: &[&Token], costs: &[Vec<Option<(u64, usize)>>]) -> Vec<String> {
    let (mut lines, mut to) = (VecDeque::new(), tokens.len());
    for row in costs.iter().skip(1).rev() {
        let from = row[to].map_or(0, |(_, from)| from);
        lines.push_front(joined(tokens[from..to].iter().copied()));
        to = from;
    }
    lines.into()
}

/// A line that stands.
#[derive(Debug, Default)]
struct Row {
    text: String,
    columns: usize,
    /// Words that nobody has seen yet.
    unread: u64,
}

/// Lines that scroll. What stands in one never moves in it.
#[derive(Debug)]
pub struct Screen {
    rows: VecDeque<Row>,
    most: usize,
    columns: usize,
    language: Language,
    /// The last token, where it is whole in the last row.
    spoken: Option<Range<usize>>,
}

impl Screen {
    pub fn new(most: usize, columns: usize, language: Language) -> Screen {
        Screen { rows: VecDeque::new(), most: most.max(1), columns, language, spoken: None }
    }

    pub fn set_language(&mut self, language: Language) {
        self.language = language;
    }

    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Paints words at once; with a prefix the first one begins a line. Returns how many have
    /// scrolled through.
    pub fn paint(&mut self, tokens: Vec<Token>, prefix: &mut Option<String>) -> u64 {
        let mut gone = 0;
        for mut token in tokens {
            if token.closes {
                self.close(&token);
                continue;
            }
            let new_line = prefix.is_some();
            if let Some(prefix) = prefix.take() {
                token.begin_with(&prefix);
            }
            for (i, piece) in token.broken(self.columns).into_iter().enumerate() {
                if i == 0 && !new_line && self.has_room(&piece) {
                    self.append(&piece);
                } else {
                    self.rows.push_back(Row::default());
                    self.append(&piece);
                    if self.rows.len() > self.most {
                        gone += self.rows.pop_front().map_or(0, |row| row.unread);
                    }
                }
            }
            if let Some(row) = self.rows.back_mut() {
                row.unread += 1;
            }
        }
        gone
    }

    /// Punctuation behind the last word, where one is there and a column is left.
    fn close(&mut self, marks: &Token) {
        let columns = self.columns;
        let row = self.rows.back_mut().filter(|row| row.columns + marks.columns <= columns);
        if let Some(row) = row {
            row.text.push_str(&marks.text);
            row.columns += marks.columns;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether the token belongs on the last line.
    fn has_room(&self, token: &Token) -> bool {
        let Some(row) = self.rows.back() else { return false };
        let to = row.columns + usize::from(space(&row.text, token)) + token.columns;
        if to > self.columns {
            return false;
        }
        let left = self.columns - to;
        let last = row.text.rsplit(' ').next().unwrap_or_default();
        match self.language.break_between(last, &token.text) {
            Break::Sentence => row.columns * 2 < self.columns,
            Break::Clause => row.columns * 4 < self.columns * 3,
            Break::Phrase => left >= PHRASE,
            _ => left >= BOUND || !self.language.is_bound(&token.text),
        }
    }

    fn append(&mut self, token: &Token) {
        let Some(row) = self.rows.back_mut() else { return };
        if space(&row.text, token) {
            row.text.push(' ');
            row.columns += 1;
        }
        self.spoken = Some(row.text.len()..row.text.len() + token.text.len());
        row.text.push_str(&token.text);
        row.columns += token.columns;
    }

    /// What stands now, and is seen.
    pub fn caption(&mut self, spoken: bool) -> Caption {
        self.rows.iter_mut().for_each(|row| row.unread = 0);
        let last = self.rows.len().saturating_sub(1);
        Caption {
            lines: self.rows.iter().map(|row| row.text.clone()).collect(),
            spoken: self.spoken.clone().filter(|_| spoken).map(|range| (last, range)),
        }
    }
}
