// SPDX-License-Identifier: MPL-2.0

//! Qwen3-ASR's tags, `language English<asr_text>`, found wherever they are cut between deltas.

use std::collections::VecDeque;

const HEAD: &str = "language ";
const TAIL: &str = "<asr_text>";

/// Characters of a language's name at most.
const NAME: usize = 32;

/// What the text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Text(String),
    /// A segment begins; the language's English name, or `None` in so many letters.
    Tag(String),
}

/// Takes the tags out of a stream of text. Only the whole pattern is a tag.
#[derive(Debug, Clone, Default)]
pub struct Tags {
    /// The beginning of what may become a tag.
    held: String,
}

/// How far a text goes as a tag.
enum Match {
    No,
    /// It may become one.
    Open,
    Whole,
}

fn matches(text: &str) -> Match {
    if text.len() <= HEAD.len() {
        return if HEAD.starts_with(text) { Match::Open } else { Match::No };
    }
    let Some(rest) = text.strip_prefix(HEAD) else { return Match::No };
    match rest.split_once('<') {
        None if rest.chars().count() <= NAME && rest.chars().all(is_name) => Match::Open,
        Some((name, tail)) if !name.is_empty() && name.chars().count() <= NAME => {
            let tail = format!("<{tail}");
            if !name.chars().all(is_name) || !TAIL.starts_with(tail.as_str()) {
                Match::No
            } else if tail == TAIL {
                Match::Whole
            } else {
                Match::Open
            }
        }
        _ => Match::No,
    }
}

fn is_name(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '-' | ',' | '_')
}

impl Tags {
    /// Takes text, and gives out what is certain by now.
    pub fn push(&mut self, text: &str) -> VecDeque<Item> {
        let mut items = VecDeque::new();
        for c in text.chars() {
            self.held.push(c);
            loop {
                match matches(&self.held) {
                    Match::Open => break,
                    Match::Whole => {
                        let name = self
                            .held
                            .get(HEAD.len()..self.held.len() - TAIL.len())
                            .unwrap_or_default()
                            .to_owned();
                        self.held.clear();
                        items.push_back(Item::Tag(name));
                        break;
                    }
                    Match::No => {
                        let first = self.held.remove(0);
                        match items.back_mut() {
                            Some(Item::Text(text)) => text.push(first),
                            _ => items.push_back(Item::Text(first.into())),
                        }
                        if self.held.is_empty() {
                            break;
                        }
                    }
                }
            }
        }
        items
    }

    /// The text ends: what was held back is no tag.
    pub fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// What is held back because it may become a tag.
    pub fn held(&self) -> &str {
        &self.held
    }
}

/// ISO 639 code of a language that Qwen3-ASR names; `None` for silence and unknown names.
pub fn language_code(name: &str) -> Option<&'static str> {
    // Where there are several, the first one is the main one.
    let name = name.split(',').next().unwrap_or_default().trim();
    // Of a code ("pt-BR") only the language counts.
    let primary = name.split(['-', '_']).next().unwrap_or_default();
    let is = |(n, code): &&(&str, &str)| {
        n.eq_ignore_ascii_case(name) || code.eq_ignore_ascii_case(primary)
    };
    CODES.iter().find(is).map(|(_, code)| *code)
}

/// Two letters (ISO 639-1) where there are, else three.
const CODES: &[(&str, &str)] = &[
    ("Chinese", "zh"),
    ("English", "en"),
    ("Cantonese", "yue"),
    ("Arabic", "ar"),
    ("German", "de"),
    ("French", "fr"),
    ("Spanish", "es"),
    ("Portuguese", "pt"),
    ("Indonesian", "id"),
    ("Italian", "it"),
    ("Korean", "ko"),
    ("Russian", "ru"),
    ("Thai", "th"),
    ("Vietnamese", "vi"),
    ("Japanese", "ja"),
    ("Turkish", "tr"),
    ("Hindi", "hi"),
    ("Malay", "ms"),
    ("Dutch", "nl"),
    ("Swedish", "sv"),
    ("Danish", "da"),
    ("Finnish", "fi"),
    ("Polish", "pl"),
    ("Czech", "cs"),
    ("Filipino", "fil"),
    ("Persian", "fa"),
    ("Greek", "el"),
    ("Romanian", "ro"),
    ("Hungarian", "hu"),
    ("Macedonian", "mk"),
    ("Ukrainian", "uk"),
    ("Hebrew", "he"),
    ("Norwegian", "no"),
    ("Bulgarian", "bg"),
    ("Croatian", "hr"),
    ("Serbian", "sr"),
    ("Slovak", "sk"),
    ("Slovenian", "sl"),
    ("Catalan", "ca"),
    ("Bengali", "bn"),
    ("Tamil", "ta"),
    ("Telugu", "te"),
    ("Urdu", "ur"),
    ("Swahili", "sw"),
];
