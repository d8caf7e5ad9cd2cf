// SPDX-License-Identifier: MPL-2.0

//! After a failure, or behind a cut: which of the words heard again were given out before.
//!
//! Both are the same speech, heard twice. Of all ways to align the last words given out with the
//! first ones heard now, the likeliest counts. Each step is weighed by the logarithm of its
//! likelihood, against words that only happen to be the same.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use super::{Length, Position, Word, clock::FRAME, script::normalised};

/// Words given out that are remembered: more than can be said in the longest generation that is
/// heard again whole, 30 s.
pub const REMEMBERED: usize = 256;

/// How well the times of a word agree that is heard twice.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How far they are off on the average, in s, ...
    off: f32,
    /// ... but for this part of them, which are wrong by anything up to [`WRONG_BY`].
    wrong: f32,
    /// All times before the failure may be off by some frames, where the server merged deltas or
    /// sent spare ones.
    slips: bool,
}

/// All times may be off by this at most, whatever was heard again of them before.
const SLIP_MOST: u64 = Length::of_s(2).samples();
/// How likely it is that they are, and less so for each second.
const SLIPPED: f32 = -5.0;
const SLIPPED_EACH: f32 = -6.0;
/// So many are tried, those that most words agree on: a server may say the same word without end.
const SLIPS_TRIED: usize = 6;

/// In s.
const WRONG_BY: f32 = 10.0;

/// The most that a word's text tells.
const TEXT: f32 = 8.0;

/// Words that a speaker may use, beside those that are remembered.
const VOCABULARY: f32 = 1000.0;

/// Another word was heard in its place, or two, as in "22" and "twenty two".
const OTHER: f32 = -6.0;
/// A word that was heard the first time is not heard again, although it is in the audio; one that
/// was not is.
const NOT_AGAIN: f32 = -5.0;
const ONLY_NOW: f32 = -5.0;
/// A word is heard again that seemed to end before the audio.
const OUTSIDE: f32 = -3.0;
/// For each second by which a new word lies before the end of the last one given out; at most.
const EARLY: f32 = -2.0;
const EARLY_MOST: f32 = -4.0;

/// So near the beginning or the end of the audio a word may be heard or not.
const NEAR_EDGE: Length = Length::of_ms(200);

/// A word as it was heard.
#[derive(Debug, Clone)]
struct Heard {
    /// Normalised.
    text: String,
    begin: Position,
    end: Position,
}

impl Heard {
    fn new(word: &Word) -> Heard {
        Heard { text: normalised(&word.text), begin: word.begin, end: word.end }
    }

    fn middle(&self) -> Position {
        self.begin.midpoint(self.end)
    }

    fn span(&self) -> (Position, Position) {
        (self.begin, self.end)
    }

    fn moved(&self, by: i64) -> Heard {
        Heard { text: self.text.clone(), begin: self.begin.moved(by), end: self.end.moved(by) }
    }
}

/// How many of the `new` words, from the first, were given out before; by how much the times of the
/// old ones are off; and where the first of those begins, moved by that, which were said behind the
/// audio. `old`: the last words given out, and by how much their times are known to be off; `held`:
/// the one behind them, where it was left to this hearing; `audio`: what is heard again.
pub fn repeated<'a>(
    (old, slip): (impl Iterator<Item = &'a Word>, i64),
    held: Option<&Word>,
    new: &[Word],
    audio: Range<Position>,
    times: Times,
) -> (usize, i64, Option<Position>) {
    let old: Vec<Heard> = old.map(Heard::new).collect();
    // Of more than these the rest is new for certain.
    let new: Vec<Heard> = new.iter().take(2 * REMEMBERED).map(Heard::new).collect();
    let held = held.map(Heard::new);
    let mut best = (f32::NEG_INFINITY, (0, slip, None));
    for (slip, likely) in times.slips(&old, &new, slip) {
        let old: Vec<Heard> = old.iter().map(|w| w.moved(slip)).collect();
        let held = held.as_ref().map(|w| w.moved(slip));
        let (by_words, count, left) = likeliest(&old, held.as_ref(), &new, &audio, times);
        if by_words + likely > best.0 {
            best = (by_words + likely, (count, slip, left));
        }
    }
    best.1
}

/// How likely the likeliest number is, and that; where the old words behind the audio begin.
fn likeliest(
    old: &[Heard],
    held: Option<&Heard>,
    new: &[Heard],
    audio: &Range<Position>,
    times: Times,
) -> (f32, usize, Option<Position>) {
    let Some(last) = old.last() else { return (0.0, 0, None) };
    let outside = |w: &Heard| w.end + NEAR_EDGE < audio.start;
    let begun = |w: &Heard| w.middle() > audio.start + NEAR_EDGE;
    let missed = |w: &Heard| if w.middle() + NEAR_EDGE < audio.end { NOT_AGAIN } else { 0.0 };
    let same = |tells: f32, a: &Heard, b: &Heard| {
        let agree = if a.text == b.text { tells } else { OTHER };
        agree + times.tells(a.span(), b.span())
    };
    let text = Text::new(old);
    let two = |a: &Heard, b: &Heard| (a.begin, b.end);

    // The likeliest ways in which the old words up to here go with the first so many new ones:
    // before any was heard again, and from then on. Each row has one place more than `new`.
    let mut before: Vec<f32> = (0..=new.len()).map(|n| n as f32 * ONLY_NOW).collect();
    let mut since = vec![f32::NEG_INFINITY; before.len()];
    // All of the new ones are among them, and those behind were said behind the audio.
    let mut ended = (f32::NEG_INFINITY, None);
    let mut skipped = 0.0_f32;
    // Without the last of the old words.
    let mut shorter: Option<(&Heard, Vec<f32>)> = None;
    for word in old {
        let mut next = vec![f32::NEG_INFINITY];
        let first = if outside(word) { OUTSIDE } else { 0.0 };
        let tells = text.tells(&word.text);
        let mut behind: Option<&Heard> = None;
        for (n, again) in new.iter().enumerate() {
            let mut likely = since[n].max(before[n] + first) + same(tells, word, again);
            if let Some(one) = behind {
                let both = times.tells(word.span(), two(one, again));
                likely = likely.max(since[n - 1].max(before[n - 1] + first) + OTHER + both);
            }
            if let Some((one, shorter)) = &shorter {
                let both = times.tells(two(one, word), again.span());
                likely = likely.max(shorter[n] + first + OTHER + both);
            }
            next.push(likely.max(since[n + 1] + missed(word)).max(next[n] + ONLY_NOW));
            behind = Some(again);
        }
        let left = since[new.len()] + times.wrong_by(word.middle(), audio.end);
        if left > ended.0 {
            ended = (left, Some(word.begin));
        }
        let both = since.iter().zip(&before).map(|(a, b)| a.max(*b)).collect();
        shorter = Some((word, both));
        since = next;
        // Not for each: where the times are wrong of one, they are of those around it. With a word that
        // was left the audio may well begin right before that.
        let wrong = match held {
            Some(_) => times.wrong_by(audio.start, word.middle()),
            None if begun(word) => NOT_AGAIN,
            None => 0.0,
        };
        let skip = skipped.min(missed(word).max(wrong));
        before.iter_mut().for_each(|b| *b += skip - skipped);
        skipped = skip;
    }
    // All behind them are new.
    let mut early = 0.0;
    let mut best = (f32::NEG_INFINITY, 0, None);
    for n in (0..=new.len()).rev() {
        let next = new.get(n);
        early +=
            next.map_or(0.0, |word| ((last.end - word.middle()).seconds() * EARLY).max(EARLY_MOST));
        let comes = held.map_or(0.0, |held| match next {
            Some(next) if next.text == held.text => same(text.tells(&held.text), held, next),
            _ if begun(held) => missed(held),
            _ => 0.0,
        });
        let heard = since[n].max(before[n]);
        let (by, left) = if next.is_none() && ended.0 > heard { ended } else { (heard, None) };
        let likely = by + early + comes;
        if likely >= best.0 {
            best = (likely, n, left);
        }
    }
    best
}

fn whole_frames(samples: i64) -> i64 {
    samples - samples % FRAME.samples() as i64
}

impl Times {
    /// By frames; by segments and utterances; by arrival.
    pub const FRAMES: Times = Times { off: 0.1, wrong: 0.03, slips: true };
    pub const COARSE: Times = Times { off: 0.4, wrong: 0.15, slips: false };
    pub const LOOSE: Times = Times { off: 1.5, wrong: 0.3, slips: false };

    /// By how much the times of the old words may all be off, as words tell that are the same, and
    /// how likely that is. `known`: by so much they were off before.
    fn slips(self, old: &[Heard], new: &[Heard], known: i64) -> Vec<(i64, f32)> {
        let mut slips = vec![(known, 0.0)];
        if !self.slips {
            return slips;
        }
        let mut agree = BTreeMap::<i64, u32>::new();
        for a in old {
            for b in new.iter().filter(|b| a.text == b.text) {
                let off = b.end.later_than(a.end).filter(|off| off.unsigned_abs() <= SLIP_MOST);
                let more = off.map_or(0, |off| whole_frames(off.saturating_sub(known)));
                if more != 0 {
                    *agree.entry(more).or_default() += 1;
                }
            }
        }
        let mut agree: Vec<(i64, u32)> = agree.into_iter().collect();
        agree.sort_by_key(|(more, words)| (Reverse(*words), more.unsigned_abs()));
        slips.extend(agree.iter().take(SLIPS_TRIED).map(|(more, _)| {
            let seconds = Length::new(more.unsigned_abs()).seconds();
            (known.saturating_add(*more), SLIPPED + seconds * SLIPPED_EACH)
        }));
        slips
    }

    /// How much it tells that two words have about these times, from and to.
    fn tells(self, a: (Position, Position), b: (Position, Position)) -> f32 {
        // One of them may reach over a pause, or over a sound that is another word's.
        let off = a.0.abs_diff(b.0).min(a.1.abs_diff(b.1));
        let off = off.seconds() / self.off;
        ((1.0 - self.wrong) / (2.0 * self.off) * (-off).exp() + self.wrong / WRONG_BY).ln()
    }

    /// How likely it is that a word was said outside of the audio whose time is within it, so far from
    /// its edge.
    fn wrong_by(self, from: Position, to: Position) -> f32 {
        let by = (to - (from + NEAR_EDGE)).seconds();
        if by == 0.0 {
            return 0.0;
        }
        let wrong = self.wrong * (1.0 - by / WRONG_BY).max(0.0) / 2.0;
        ((1.0 - self.wrong) / 2.0 * (-by / self.off).exp() + wrong).ln().max(NOT_AGAIN)
    }
}

/// How often words come.
struct Text<'a> {
    words: &'a [Heard],
    /// How many of them are different.
    kinds: f32,
}

impl<'a> Text<'a> {
    fn new(words: &'a [Heard]) -> Self {
        let mut text = Text { words, kinds: 0.0 };
        text.kinds = words.iter().map(|w| 1.0 / text.count(&w.text)).sum();
        text
    }

    fn count(&self, name: &str) -> f32 {
        self.words.iter().filter(|w| w.text == name).count() as f32
    }

    /// How much it tells that two words are this one: the rarer it is, the more. How often it
    /// comes by chance is told by the others that are remembered, and for new words by how many
    /// of those there were (Witten and Bell, 1991).
    fn tells(&self, name: &str) -> f32 {
        let others = (self.count(name) - 1.0).max(0.0);
        let chance = (others + self.kinds / VOCABULARY) / (self.words.len() as f32 + self.kinds);
        (-chance.ln()).min(TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    /// A server may say the same word without end: what that costs has a bound.
    #[test]
    fn few_slips_are_tried() {
        let word = |i: u64| Heard {
            text: "no".into(),
            begin: pos(0) + FRAME * i,
            end: pos(0) + FRAME * (i + 1),
        };
        let (old, new): (Vec<_>, Vec<_>) =
            ((0..256).map(word).collect(), (9..521).map(word).collect());
        let slips = Times::FRAMES.slips(&old, &new, 0);
        assert!(slips.len() <= SLIPS_TRIED + 1, "{slips:?}");
        assert!(
            slips.contains(&(9 * FRAME.samples() as i64, SLIPPED + 0.72 * SLIPPED_EACH)),
            "{slips:?}"
        );
    }
}
