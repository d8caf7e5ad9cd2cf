// SPDX-License-Identifier: MPL-2.0

//! The best path of words through sound: a Viterbi search over the sounds of the words.

use super::phones::Unit;
use crate::speech::class::{self, Asked, Row};

/// What the search weighs, in nats. Chosen on the sets `choose` of `scripts/train-sounds.sh` (see
/// `docs/timing.md`).
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Share of the acoustics' nats that counts: neighbouring frames are no independent witnesses.
    pub acoustics: f32,
    /// Shortest vowel and shortest other sound, in frames.
    pub shortest: [usize; 2],
    /// Mean length beyond that, in frames: vowels, others.
    pub lasting: [f32; 2],
    /// To leave out a sound that may be silent.
    pub silent: f32,
    /// To pause between two words.
    pub pause: f32,
    /// Share of the best class that an unknown word gets: what follows the last word.
    pub unknown: f32,
    /// A frame of sound that is no silence, in a pause.
    pub stray: f32,
    /// Standard deviation of a marked end around the middle of its bounds, in frames.
    pub mark: f32,
    /// Standard deviation of the logarithm of a word's length around what its sounds let expect.
    pub length: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            acoustics: 0.5,
            shortest: [5, 4],
            lasting: [10.0, 4.0],
            silent: -1.5,
            pause: -3.0,
            unknown: 0.65,
            stray: -2.5,
            mark: 4.0,
            length: 0.4,
        }
    }
}

/// A word as the search has it. Times are frames of the stretch.
#[derive(Debug, Clone)]
pub struct Item {
    pub units: Vec<Unit>,
    pub earliest: usize,
    /// The word ends at this or later...
    pub end_from: usize,
    /// ...and at this or sooner.
    pub latest: usize,
    /// Where a mark puts its end.
    pub marked: Option<f32>,
    /// Frames that the word is expected to last.
    pub expected: f32,
}

/// A word's frames on the best path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    pub begin: usize,
    pub end: usize,
    /// Nats by frame that the acoustics give for it (unscaled).
    pub fit: f32,
}

const NEVER: f32 = f32::NEG_INFINITY;
/// Paths this much worse than the best are given up, in nats.
const BEAM: f32 = 120.0;

#[derive(Debug, Clone, Copy)]
struct Token {
    score: f32,
    /// Acoustics alone, at the word's begin.
    began: usize,
    fit: f32,
    /// Last word that ended, in `ends`; `usize::MAX` for none.
    before: usize,
}

const DEAD: Token = Token { score: NEVER, began: 0, fit: 0.0, before: usize::MAX };

impl Token {
    fn better(self, other: Token) -> Token {
        if other.score > self.score { other } else { self }
    }

    fn plus(self, score: f32) -> Token {
        Token { score: self.score + score, ..self }
    }
}

struct Ended {
    found: Found,
    before: usize,
}

/// The states of one word: a chain for each unit.
struct Word<'a> {
    item: &'a Item,
    /// For each unit: its first state and the one behind its last.
    chains: Vec<(usize, usize)>,
    /// For each unit: which of all sets of classes it is.
    sets: Vec<usize>,
    tokens: Vec<Token>,
    /// The pause before the word.
    pause: Token,
}

/// Finds the best path of `items` through `rows`. `ends_open`: speech goes on behind the last
/// word. `None` where the words do not fit into their bounds.
pub fn search(
    rows: &[Row],
    items: &[Item],
    ends_open: bool,
    weights: &Weights,
) -> Option<Vec<Found>> {
    // Each set is asked about once a frame, however many sounds are of it.
    let mut sets: Vec<Asked> = class::BROAD.map(Asked::new).to_vec();
    let mut words: Vec<Word> = items
        .iter()
        .map(|item| {
            let mut chains = Vec::with_capacity(item.units.len());
            let mut own = Vec::with_capacity(item.units.len());
            let mut states = 0;
            for unit in &item.units {
                let shortest = weights.shortest[kind(unit)].max(1);
                chains.push((states, states + shortest));
                states += shortest;
                own.push(sets.iter().position(|s| s.set == unit.classes).unwrap_or_else(|| {
                    sets.push(Asked::new(unit.classes));
                    sets.len() - 1
                }));
            }
            Word { item, chains, sets: own, tokens: vec![DEAD; states], pause: DEAD }
        })
        .collect();
    let mut fits = vec![0.0; sets.len()];
    let mut ends: Vec<Ended> = Vec::new();
    let mut behind = DEAD;
    let first = words.first_mut()?;
    // At once, or after a pause.
    first.pause = Token { score: weights.pause, ..DEAD };
    let (mut low, mut high) = (0, 0);
    let mut best_before = 0.0;
    for (t, row) in rows.iter().enumerate() {
        let likely = class::likely(row);
        for (fit, set) in fits.iter_mut().zip(&sets) {
            *fit = set.fit(&likely) * weights.acoustics;
        }
        let silence = fits[0];
        let best = fits[..class::BROAD.len()].iter().copied().fold(NEVER, f32::max);
        let stray = best * weights.unknown;
        let pause = silence.max(stray + weights.stray);
        let mut arriving = if t == 0 { Token { score: 0.0, ..DEAD } } else { DEAD };
        let mut best_now = NEVER;
        for w in low..words.len().min(high + 2) {
            let leaving = words[w].leaving(t, weights, best_before - BEAM);
            words[w].step(t, &fits, pause, arriving, weights);
            let most = words[w].best();
            if most > NEVER {
                high = high.max(w);
            }
            best_now = f32::max(best_now, most);
            arriving = record(leaving, t, &mut ends);
        }
        if high + 1 >= words.len() {
            let follows = if ends_open { silence.max(stray) } else { pause };
            behind = behind.better(arriving).plus(follows);
            best_now = best_now.max(behind.score);
        }
        while low < high && words[low].best() < best_now - BEAM {
            words[low].clear();
            low += 1;
        }
        best_before = best_now;
    }
    let last = words.last()?.leaving(rows.len(), weights, NEVER);
    let last = behind.better(record(last, rows.len(), &mut ends));
    if last.score == NEVER {
        return None;
    }
    let mut path = Vec::with_capacity(items.len());
    let mut at = last.before;
    while let Some(ended) = ends.get(at) {
        path.push(ended.found);
        at = ended.before;
    }
    path.reverse();
    (path.len() == items.len()).then_some(path)
}

/// Notes the end of a word; the token goes on to the next.
fn record(token: Token, t: usize, ends: &mut Vec<Ended>) -> Token {
    if token.score == NEVER {
        return DEAD;
    }
    let frames = t.saturating_sub(token.began).max(1);
    let found = Found { begin: token.began, end: t, fit: token.fit / frames as f32 };
    ends.push(Ended { found, before: token.before });
    Token { score: token.score, began: t, fit: 0.0, before: ends.len() - 1 }
}

/// Of a length so many standard deviations off, in nats: as a normal distribution has it where they
/// are few, and less beyond, for some words are drawn out (Huber's loss).
fn unlikely(off: f32) -> f32 {
    const FEW: f32 = 1.5;
    let off = off.abs();
    if off <= FEW { 0.5 * off * off } else { FEW * (off - 0.5 * FEW) }
}

fn kind(unit: &Unit) -> usize {
    usize::from(unit.classes & class::VOWEL == 0)
}

impl Word<'_> {
    fn best(&self) -> f32 {
        self.tokens.iter().fold(self.pause.score, |m, t| m.max(t.score))
    }

    fn clear(&mut self) {
        self.tokens.fill(DEAD);
        self.pause = DEAD;
    }

    /// The best token that ends the word at frame `t`.
    fn leaving(&self, t: usize, weights: &Weights, worth: f32) -> Token {
        let item = self.item;
        if t < item.end_from || t > item.latest {
            return DEAD;
        }
        let mut prior = 0.0;
        if let Some(middle) = item.marked {
            let off = (t as f32 - middle) / weights.mark;
            prior = -0.5 * off * off;
        }
        let mut best = DEAD;
        let mut skipped = prior;
        for (unit, chain) in item.units.iter().zip(&self.chains).rev() {
            let leave = -weights.lasting[kind(unit)].ln();
            best = best.better(self.tokens[chain.1 - 1].plus(leave + skipped));
            if !unit.optional {
                break;
            }
            skipped += weights.silent;
        }
        if best.score == NEVER {
            return DEAD;
        }
        let length = t.saturating_sub(best.began).max(1) as f32;
        let off = (length / item.expected.max(1.0)).ln() / weights.length;
        let best = best.plus(-unlikely(off));
        if best.score < worth { DEAD } else { best }
    }

    /// Takes one frame. `arriving`: the word before ended just before it.
    fn step(&mut self, t: usize, fits: &[f32], pause: f32, arriving: Token, weights: &Weights) {
        // Into the word from the pause before it, or straight from the word before.
        let entering = if t >= self.item.earliest && t < self.item.latest {
            let token = self.pause.better(arriving);
            Token { began: t, fit: 0.0, ..token }
        } else {
            DEAD
        };
        // From the back, so that each state still sees the frame before in those ahead of it.
        for u in (0..self.chains.len()).rev() {
            let (first, end) = self.chains[u];
            let unit = &self.item.units[u];
            let emission = fits[self.sets[u]];
            let stay = (1.0 - 1.0 / weights.lasting[kind(unit)]).ln();
            let mut coming = DEAD;
            let mut skipped = 0.0;
            let mut reaches_entry = true;
            for p in (0..u).rev() {
                let before = &self.item.units[p];
                let leave = -weights.lasting[kind(before)].ln();
                coming = coming.better(self.tokens[self.chains[p].1 - 1].plus(leave + skipped));
                if !before.optional {
                    reaches_entry = false;
                    break;
                }
                skipped += weights.silent;
            }
            if reaches_entry {
                coming = coming.better(entering.plus(skipped));
            }
            for s in (first..end).rev() {
                let mut token = if s > first { self.tokens[s - 1] } else { coming };
                if s + 1 == end {
                    token = token.better(self.tokens[s].plus(stay));
                }
                token.score += emission;
                token.fit += emission / weights.acoustics;
                self.tokens[s] = token;
            }
        }
        self.pause = self.pause.better(arriving.plus(weights.pause)).plus(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::super::phones::sounds;
    use super::class::{M, SIBILANT, SILENCE, VOWEL};
    use super::*;

    /// Rows that are sure of their classes: as many as told.
    fn rows(spans: &[(class::Set, usize)]) -> Vec<Row> {
        let row = |set: class::Set| {
            let less = |c: usize| if set & (1 << c) != 0 { 0 } else { 110 };
            let nothing = class::nothing();
            std::array::from_fn(|c| nothing[c].saturating_add(less(c)))
        };
        spans.iter().flat_map(|&(set, count)| vec![row(set); count]).collect()
    }

    fn item(word: &str, frames: usize) -> Item {
        Item {
            units: sounds(word),
            earliest: 0,
            end_from: 0,
            latest: frames,
            marked: None,
            expected: 20.0,
        }
    }

    #[test]
    fn words_are_found_by_their_sounds() {
        let rows =
            rows(&[(SILENCE, 20), (M, 8), (VOWEL, 12), (SIBILANT, 9), (VOWEL, 11), (SILENCE, 30)]);
        let items = [item("ma", 90), item("so", 90)];
        let found = search(&rows, &items, false, &Weights::default()).unwrap();
        assert_eq!((found[0].begin, found[0].end), (20, 40));
        assert_eq!((found[1].begin, found[1].end), (40, 60));
        assert!(found.iter().all(|f| f.fit.abs() < 0.01), "{found:?}");
    }

    #[test]
    fn a_pause_belongs_to_no_word() {
        let rows = rows(&[(M, 8), (VOWEL, 12), (SILENCE, 40), (SIBILANT, 9), (VOWEL, 11)]);
        let items = [item("ma", 80), item("so", 80)];
        let found = search(&rows, &items, false, &Weights::default()).unwrap();
        assert_eq!((found[0].begin, found[0].end), (0, 20));
        assert_eq!((found[1].begin, found[1].end), (60, 80));
    }

    #[test]
    fn a_mark_decides_where_the_sound_does_not() {
        let rows = rows(&[(VOWEL, 60)]);
        let mut word = item("a", 60);
        word.marked = Some(33.0);
        (word.end_from, word.latest) = (21, 45);
        let found = search(&rows, &[word], true, &Weights::default()).unwrap();
        assert!(found[0].end.abs_diff(33) <= 6, "{found:?}");
    }

    #[test]
    fn what_cannot_be_is_told() {
        let rows = rows(&[(VOWEL, 10)]);
        let weights = Weights::default();
        assert_eq!(search(&rows, &[], false, &weights), None);
        assert_eq!(search(&[], &[item("a", 0)], false, &weights), None);
        let long = [item("extraordinary", 10), item("considerable", 10)];
        assert_eq!(search(&rows, &long, false, &weights), None);
        let mut outside = item("a", 10);
        (outside.end_from, outside.latest) = (20, 30);
        assert_eq!(search(&rows, &[outside], false, &weights), None);
    }
}
