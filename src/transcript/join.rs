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
const COARSE: u64 = 3 * SAMPLE_RATE;

/// So many words that agree leave no doubt: more of them say no more. Else one word that is said
/// again and again would be found as often as it can.
const ENOUGH: i64 = 5;

/// And for each further word that agrees.
const EACH: u64 = SAMPLE_RATE * 3 / 10;

/// How much off in time one further word that agrees is worth.
const WORTH: u64 = SAMPLE_RATE / 5;

/// As [`repeated`], by the text: as many of the last of the `old` words as can be found at the
/// beginning of the new ones, with few changes. `None`: nothing agrees.
///
/// Where words follow that are new, all of the old ones were heard again: one of the new ones
/// stands for the last of them, at about its time: phrases come again. Where all new ones were
/// given out before, the audio may have been cut among the old ones.
pub fn found<'a>(old: impl Iterator<Item = &'a Word>, new: &[Word]) -> Option<usize> {
    let (old, ends): (Vec<String>, Vec<u64>) = old.map(|w| (normalised(&w.text), w.end)).collect();
    let names: Vec<String> = new.iter().map(|w| normalised(&w.text)).collect();
    let (Some((end, before)), Some(at)) = (old.split_last(), ends.last()) else { return Some(0) };
    let mut best: Option<((bool, i64, i64, i64), usize)> = None;
    let mut better = |known: usize, changes: usize, n: usize, off: u64, cut: bool| {
        let worth = known as i64 - changes as i64;
        // One word in the middle of others is no sign.
        if worth <= 0 || 2 * worth < n as i64 {
            return;
        }
        // Where phrases come again the one that agrees in full is meant.
        let agree = worth - if cut { 1 } else { 2 } * changes as i64;
        let score = agree.min(ENOUGH) * WORTH as i64 - off.saturating_sub(COARSE) as i64;
        // Whatever the times say: the last word may have the rest of its segment.
        let sure = changes == 0 && known as i64 >= ENOUGH;
        let rank = (sure, score, -(changes as i64), -(off as i64));
        if best.is_none_or(|(r, _)| rank > r) {
            best = Some((rank, n));
        }
    };
    for known in 1..=old.len() {
        let skipped = old.len() - known;
        let changes = distances(before.iter().skip(skipped), names.iter());
        for (i, ((changes, name), word)) in changes.into_iter().zip(&names).zip(new).enumerate() {
            let off = word.end.abs_diff(*at);
            // The same word, or another one in its place.
            if name == end || off <= ALONE {
                better(known, changes + usize::from(name != end), i + 1, off, false);
            }
        }
        if let Some((end, before)) = before.split_last() {
            // The last one was not heard again.
            let changes = distances(before.iter().skip(skipped), names.iter());
            for (i, ((changes, name), word)) in changes.into_iter().zip(&names).zip(new).enumerate()
            {
                if name == end && known > 1 {
                    better(known, changes + 1, i + 1, word.end.abs_diff(*at), false);
                }
            }
        }
        let changes = distances(old.iter().skip(skipped), names.iter());
        if let (Some(changes), Some(word)) = (changes.last(), new.last())
            && names.last().is_some_and(|name| old.contains(name))
        {
            better(known, *changes, new.len(), word.end.saturating_sub(*at), true);
        }
    }
    best.map(|(_, n)| n)
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
