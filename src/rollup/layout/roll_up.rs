// SPDX-License-Identifier: MPL-2.0

//! Each word is painted when it is spoken, and nothing that stands moves but by scrolling up.

use super::language::Language;
use super::lines::{Screen, Token};
use super::standing::Standing;
use super::{Counts, MS, Output, Settings, Word};

/// A word that is late stands so long before the next one is painted, at least.
const SHORTEST: u64 = 20 * MS;

/// What goes on standing is told so long at a time, where the output need not be further on.
const GATHER: u64 = 1000 * MS;

#[derive(Debug)]
pub struct RollUp {
    screen: Screen,
    pub standing: Standing,
    hold: u64,
    min_duration: u64,
}

impl RollUp {
    pub fn new(s: &Settings) -> RollUp {
        RollUp {
            screen: Screen::new(s.lines, s.columns, s.language),
            standing: Standing::new(s.gap, GATHER),
            hold: s.hold,
            min_duration: s.min_duration,
        }
    }

    pub fn set_language(&mut self, language: Language) {
        self.screen.set_language(language);
    }

    pub fn word(
        &mut self,
        word: &Word,
        tokens: Vec<Token>,
        prefix: &mut Option<String>,
        out: &mut Output,
        counts: &mut Counts,
    ) {
        self.standing.silence(word.begin, out);
        if self.standing.is_empty() {
            self.screen.clear();
        }
        self.standing.next_at(word.begin, out);
        let begin = out.at;
        counts.unread += self.screen.paint(tokens, prefix);
        // Punctuation whose word has gone.
        if self.screen.is_empty() {
            return;
        }
        counts.captions += 1;
        let end = word.end.max(begin.saturating_add(SHORTEST));
        out.show(&self.screen.caption(true), end);
        let until = end.saturating_add(self.hold).max(begin.saturating_add(self.min_duration));
        self.standing.set(self.screen.caption(false), until);
    }
}
