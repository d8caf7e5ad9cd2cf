// SPDX-License-Identifier: MPL-2.0

//! After a failure: which of the words heard again were given out before.
//!
//! The last word given out is looked for among the new ones, by text and by time. The more words
//! before it agree too, the further its time may be off. Where nothing agrees, time alone
//! decides: a word whose middle lies before the end of the last one given out was given out.
//!
//! Where the clock is coarse, times tell no more than about which words are heard again: the text
//! decides.

use super::{Word, reconcile::distances, script::normalised};
use crate::SAMPLE_RATE;

/// Words given out that are remembered.
pub const REMEMBERED: usize = 64;

/// How far the end of a word that agrees alone may be off.
const ALONE: u64 = SAMPLE_RATE / 2;

/// How far off in time words may be where the clock is coarse.
pub const COARSE: u64 = 3 * SAMPLE_RATE;

/// And for each further word that agrees.
const EACH: u64 = SAMPLE_RATE * 3 / 10;

/// How much off in time one further word that agrees is worth.
const WORTH: u64 = SAMPLE_RATE / 5;

/// As [`repeated`], by the text: as many of the last of the `old` words as can be found at the
/// beginning of the new ones, with few changes. `None`: nothing agrees.
///
/// Where words follow that are new, all of the old ones were heard again: one of the new ones
/// stands for the last of them. Where all new ones were given out before, the audio may have been
/// cut among the old ones.
pub fn found<'a>(old: impl Iterator<Item = &'a Word>, new: &[Word]) -> Option<usize> {
    let old: Vec<String> = old.map(|w| normalised(&w.text)).collect();
    let new: Vec<String> = new.iter().map(|w| normalised(&w.text)).collect();
    let Some((end, before)) = old.split_last() else { return Some(0) };
    let mut best = (0, None);
    let mut better = |known: usize, changes: usize, n: usize| {
        let worth = known as i64 - changes as i64;
        // One word in the middle of others is no sign.
        if worth > best.0 && 2 * worth >= n as i64 {
            best = (worth, Some(n));
        }
    };
    for known in 1..=old.len() {
        let last = before.iter().skip(old.len() - known);
        for (n, (changes, word)) in distances(last, new.iter()).into_iter().zip(&new).enumerate() {
            better(known, changes + usize::from(word != end), n + 1);
        }
        let last = old.iter().skip(old.len() - known);
        if let Some(changes) = distances(last, new.iter()).last() {
            better(known, *changes, new.len());
        }
    }
    best.1
}

/// How many of the `new` words, from the first, were given out before; `old`: the last ones
/// given out.
pub fn repeated<'a>(old: impl DoubleEndedIterator<Item = &'a Word> + Clone, new: &[Word]) -> usize {
    let Some(last) = old.clone().next_back() else { return 0 };
    let old: Vec<(String, u64)> = old.rev().map(|w| (normalised(&w.text), w.end)).collect();
    let names: Vec<(String, u64)> = new.iter().map(|w| (normalised(&w.text), w.end)).collect();
    let mut best: Option<(i64, usize)> = None;
    for n in 1..=new.len() {
        let offs: Vec<u64> = names
            .get(..n)
            .unwrap_or_default()
            .iter()
            .rev()
            .zip(&old)
            .take_while(|((a, _), (b, _))| a == b)
            .map(|((_, a), (_, b))| a.abs_diff(*b))
            .collect();
        let agree = offs.len() as u64;
        // On the whole: one word that is said again and again agrees everywhere.
        let off = offs.iter().take(4).sum::<u64>() / agree.clamp(1, 4);
        if agree == 0 || off > ALONE + (agree - 1).min(4) * EACH {
            continue;
        }
        let cost = off as i64 - (agree.min(4) * WORTH) as i64;
        if best.is_none_or(|(c, _)| cost < c) {
            best = Some((cost, n));
        }
    }
    match best {
        Some((_, n)) => n,
        None => new.iter().take_while(|w| w.begin.midpoint(w.end) < last.end).count(),
    }
}
