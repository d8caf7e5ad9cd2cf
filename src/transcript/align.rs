// SPDX-License-Identifier: MPL-2.0

//! Words to begin and end, from the sound within the bounds that the clock gives.

use super::Timing;
use super::acoustics::{Acoustics, CLASSES};
use super::path::{self, Item, Weights};
use super::sounds::{sounds, syllables};
use crate::speech::Sound;
use crate::speech::sound::HOP;

/// What is known of a word's time before the sound is asked. Positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    pub text: String,
    /// The word begins no earlier than this.
    pub earliest: u64,
    /// The word ends after this, where the clock marks its end; else equal to `earliest`.
    pub end_after: u64,
    /// The word ends no later than this.
    pub latest: u64,
}

/// Where a word was placed. `begin < end`; positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    pub begin: u64,
    pub end: u64,
    /// How far the times can be trusted, 0 to 1.
    pub confidence: f32,
}

/// Sound behind the last word that is looked at, where its end is marked: the next word begins
/// in it.
const BEHIND: u64 = 30 * HOP;
/// Longest stretch that is searched; longer ones are shared by length.
const LONGEST: u64 = 600 * crate::SAMPLE_RATE;

/// Places consecutive words in the sound: in order, without overlap, each within its bounds
/// where all bounds can be kept at once.
///
/// `language` is an ISO 639 code where known. In the frame-synchronous cadence words come one at
/// a time (or a few that share a mark), in the others all words of a segment or an utterance.
pub fn place(
    sound: &Sound,
    timing: Timing,
    language: Option<&str>,
    words: &[Bounds],
) -> Vec<Placed> {
    place_weighed(sound, timing, language, words, &Weights::default())
}

/// As [`place`], with weights of one's own: for those who measure.
#[doc(hidden)]
pub fn place_weighed(
    sound: &Sound,
    timing: Timing,
    _language: Option<&str>,
    words: &[Bounds],
    weights: &Weights,
) -> Vec<Placed> {
    let placed = search(sound, timing, words, weights).unwrap_or_else(|| shared(words));
    fitted(words, placed)
}

/// By the sound; `None` where that is not possible.
fn search(
    sound: &Sound,
    timing: Timing,
    words: &[Bounds],
    weights: &Weights,
) -> Option<Vec<Placed>> {
    let from = words.iter().map(|w| w.earliest).min()?;
    let to = words.iter().map(|w| w.latest).max()?;
    if to <= from || to - from > LONGEST {
        return None;
    }
    let open = timing == Timing::Frames;
    let behind = if open { BEHIND } else { 0 };
    let base = from / HOP;
    let frames = (to + behind).div_ceil(HOP) - base;
    let acoustics = Acoustics::of(sound, from, to + behind);
    // Sound that is not known says nothing.
    let mut rows = vec![[0.0; CLASSES]; frames as usize];
    let lead = acoustics.first.saturating_sub(base) as usize;
    for (row, known) in rows.iter_mut().skip(lead).zip(&acoustics.rows) {
        *row = *known;
    }
    if open {
        // Only what is known follows.
        rows.truncate((lead + acoustics.rows.len()).max(((to).div_ceil(HOP) - base) as usize));
    }
    let items: Vec<Item> = words
        .iter()
        .map(|w| Item {
            units: sounds(&w.text),
            earliest: (w.earliest.div_ceil(HOP).saturating_sub(base)) as usize,
            end_from: (w.end_after.div_ceil(HOP).saturating_sub(base)) as usize,
            latest: (w.latest.div_ceil(HOP).saturating_sub(base)) as usize,
            marked: w.end_after > w.earliest,
        })
        .collect();
    let hasty = Weights { shortest: [1, 1], ..*weights };
    let found = path::search(&rows, &items, open, weights)
        .or_else(|| path::search(&rows, &items, open, &hasty))?;
    Some(
        found
            .iter()
            .map(|f| Placed {
                begin: (base + f.begin as u64) * HOP,
                end: (base + f.end as u64) * HOP,
                confidence: f.fit,
            })
            .collect(),
    )
}

/// Without the sound: by the words' syllables.
fn shared(words: &[Bounds]) -> Vec<Placed> {
    let sizes: Vec<u64> =
        words.iter().map(|w| (syllables(&sounds(&w.text)) as u64) * 2 + 1).collect();
    let mut at = 0;
    let mut out = Vec::with_capacity(words.len());
    for (i, w) in words.iter().enumerate() {
        let begin = w.earliest.max(at);
        // Words up to one that must end sooner share what is left.
        let left: u64 = sizes[i..].iter().sum();
        let room = words.last().map_or(w.latest, |l| l.latest).saturating_sub(begin);
        let end = (begin + room * sizes[i] / left.max(1)).max(w.end_after).min(w.latest);
        out.push(Placed { begin, end, confidence: 0.0 });
        at = end.max(begin);
    }
    out
}

/// In order, without overlap, none empty, and within bounds as far as these allow it.
fn fitted(words: &[Bounds], mut placed: Vec<Placed>) -> Vec<Placed> {
    // A sample at least is left for each word behind.
    let mut limits = vec![u64::MAX; words.len()];
    let mut limit = u64::MAX;
    for (l, w) in limits.iter_mut().zip(words).rev() {
        limit = limit.saturating_sub(1).min(w.latest);
        *l = limit;
    }
    let mut at = 0;
    for ((p, w), limit) in placed.iter_mut().zip(words).zip(limits) {
        let floor = w.earliest.max(at);
        p.begin = p.begin.min(limit.saturating_sub(1)).max(floor);
        p.end = p.end.max(w.end_after).min(limit).max(p.begin + 1);
        at = p.end;
    }
    placed
}
