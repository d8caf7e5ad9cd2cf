// SPDX-License-Identifier: MPL-2.0

//! Words and phrases that are to be written otherwise, or masked. Pure.

use std::collections::{HashMap, VecDeque};

use super::layout::Word;
use crate::transcript::script::normalised;

/// Words of a phrase at most.
const LONGEST: usize = 16;

/// What to write in place of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    rules: HashMap<Vec<String>, String>,
    longest: usize,
}

impl Rules {
    /// Adds a rule. Case and punctuation of `what` do not count.
    ///
    /// # Errors
    /// `what` has no word, or more than 16.
    pub fn add(&mut self, what: &str, with: &str) -> Result<(), String> {
        let words: Vec<String> = what.split_whitespace().map(normalised).collect();
        match words.len() {
            0 => return Err(format!("nothing is to be replaced with {with:?}")),
            count if count > LONGEST => {
                return Err(format!("{what:?} has {count} words; {LONGEST} are allowed"));
            }
            count => self.longest = self.longest.max(count),
        }
        self.rules.insert(words, with.trim().to_owned());
        Ok(())
    }

    /// Rules from a file: a line each, `WHAT = WITH`. Empty lines and those with `#` before them do
    /// not count.
    ///
    /// # Errors
    /// A line is none of these.
    pub fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((what, with)) = line.split_once('=') else {
                return Err(format!("line {}, {line:?}, is not WHAT = WITH", n + 1));
            };
            rules.add(what, with).map_err(|why| format!("line {}: {why}", n + 1))?;
        }
        Ok(rules)
    }

    /// Those of `other` count more.
    pub fn extend(&mut self, other: Rules) {
        self.longest = self.longest.max(other.longest);
        self.rules.extend(other.rules);
    }

    fn get(&self, words: &[Part]) -> Option<&str> {
        let key: Vec<String> = words.iter().map(|w| w.plain.clone()).collect();
        self.rules.get(&key).map(String::as_str)
    }

    /// Whether these may be the first words of something longer.
    fn may_go_on(&self, words: &[Part]) -> bool {
        self.rules.keys().any(|key| {
            key.len() > words.len() && key.iter().zip(words).all(|(key, word)| *key == word.plain)
        })
    }
}

#[derive(Debug)]
struct Part {
    text: String,
    plain: String,
    begin: u64,
    end: u64,
}

/// Words go in, and come out as the rules have them. The first words of a phrase wait for the rest.
#[derive(Debug, Default)]
pub struct Replacer {
    rules: Rules,
    waiting: VecDeque<Part>,
}

impl Replacer {
    pub fn new(rules: Rules) -> Replacer {
        Replacer { rules, waiting: VecDeque::new() }
    }

    /// Takes a word; those that are decided now.
    pub fn word(&mut self, word: Word) -> Vec<Word> {
        if self.rules.rules.is_empty() {
            return vec![word];
        }
        let parts = word.text.split_whitespace().map(|text| Part {
            text: text.to_owned(),
            plain: normalised(text),
            begin: word.begin,
            end: word.end,
        });
        self.waiting.extend(parts);
        self.decide(false)
    }

    /// From when to when those that wait were spoken.
    pub fn waiting(&self) -> Option<std::ops::Range<u64>> {
        Some(self.waiting.front()?.begin..self.waiting.back()?.end)
    }

    /// No further word belongs to those that wait.
    pub fn flush(&mut self) -> Vec<Word> {
        self.decide(true)
    }

    fn decide(&mut self, all: bool) -> Vec<Word> {
        let mut out: Vec<Word> = Vec::new();
        while !self.waiting.is_empty() {
            let words = self.waiting.make_contiguous();
            if !all && self.rules.may_go_on(words) {
                break;
            }
            let longest = words.len().min(self.rules.longest);
            let found = (1..=longest).rev().find_map(|count| {
                let with = self.rules.get(&words[..count])?;
                Some((count, in_place_of(&words[..count], with)))
            });
            let count = found.as_ref().map_or(1, |found| found.0);
            let text = found.map_or_else(|| words[0].text.clone(), |found| found.1);
            let (begin, end) = (words[0].begin, words[count - 1].end);
            self.waiting.drain(..count);
            match out.last_mut() {
                // They came together.
                Some(last) if last.begin == begin && last.end == end => {
                    last.text.push(' ');
                    last.text.push_str(&text);
                }
                _ => out.push(Word { text, begin, end }),
            }
        }
        out
    }
}

/// With the punctuation that stood around the words, and with their capital.
fn in_place_of(words: &[Part], with: &str) -> String {
    let (first, last) = (&words[0].text, &words[words.len() - 1].text);
    let mark = |c: char| !c.is_alphanumeric();
    let before = &first[..first.len() - first.trim_start_matches(mark).len()];
    let after = &last[last.trim_end_matches(mark).len()..];
    if with.is_empty() {
        return String::new();
    }
    let capital = first.trim_start_matches(mark).starts_with(char::is_uppercase);
    let mut chars = with.chars();
    let with = match chars.next().filter(|_| capital) {
        Some(c) => c.to_uppercase().chain(chars).collect(),
        None => with.to_owned(),
    };
    format!("{before}{with}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(rules: &str, text: &str) -> Vec<(String, u64, u64)> {
        let mut replacer = Replacer::new(Rules::parse(rules).unwrap());
        let words = text.split(' ').enumerate();
        let mut out: Vec<Word> = words
            .flat_map(|(i, text)| {
                let i = i as u64;
                replacer.word(Word { text: text.into(), begin: 10 * i, end: 10 * i + 9 })
            })
            .collect();
        out.extend(replacer.flush());
        out.into_iter().map(|w| (w.text, w.begin, w.end)).collect()
    }

    #[test]
    fn words_and_phrases_keep_their_times() {
        let rules = "# names\nv l l m = vLLM\ndamn = d***\n\nv l = VL\n";
        assert_eq!(
            replaced(rules, "The v l l m, damn! Damn v l so"),
            [
                ("The".into(), 0, 9),
                ("vLLM,".into(), 10, 49),
                ("d***!".into(), 50, 59),
                ("D***".into(), 60, 69),
                ("VL".into(), 70, 89),
                ("so".into(), 90, 99),
            ]
        );
        assert_eq!(replaced(rules, "v l l"), [("VL".into(), 0, 19), ("l".into(), 20, 29)]);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told() {
        for (text, says) in [
            ("a = b\nc", "line 2, \"c\", is not WHAT = WITH"),
            (" = b", "line 1: nothing is to be replaced with \" b\""),
        ] {
            assert_eq!(Rules::parse(text).unwrap_err(), says);
        }
        assert!(Rules::parse(&format!("{} = b", "a ".repeat(17))).is_err());
    }
}
