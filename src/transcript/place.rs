// SPDX-License-Identifier: MPL-2.0

//! Words to their times, and out.

use super::{
    Correction, Output, Timing, Word,
    align::{self, Bounds, Neighbours},
    generation::{Generation, Said},
    script::{normalised, space_between},
    state::Transcript,
    stitch,
    words::{self, Late},
};
use crate::{SAMPLES_PER_MS, mechanism::Mechanism};

/// A word lasts no shorter than this where there is room.
const SHORTEST: u64 = SAMPLES_PER_MS;

/// Room for each word that finds none in its own generation's audio, behind it.
const LATE: u64 = 50 * SAMPLES_PER_MS;

/// Kept free at the end of the audio for words that may yet come.
const RESERVE: u64 = 20 * SAMPLES_PER_MS;

/// Words that an utterance lists: some 20 minutes of fast speech. The ones after that are given
/// out all the same.
const LISTED: usize = 8192;

impl Transcript {
    /// No word that is placed now begins before this.
    pub(super) fn floor(&self, g: &Generation) -> u64 {
        let out = if g.join.is_some() { 0 } else { self.horizon };
        g.placed.max(out).max(g.start).min(g.limit())
    }

    /// Places words that can be anywhere in a span.
    pub(super) fn place_span(
        &mut self,
        g: &mut Generation,
        words: Vec<Said>,
        (from, to): (u64, u64),
        by_arrival: bool,
    ) {
        let bounds = words
            .iter()
            .map(|w| {
                let came = if by_arrival { g.start.saturating_add(w.sent) } else { u64::MAX };
                (from, from, to.min(came))
            })
            .collect();
        self.place(g, words, bounds, None);
    }

    /// Places words by the sound within these bounds: earliest, end after, latest. `after`: the
    /// word behind them, where the frame clock marks it already.
    pub(super) fn place(
        &mut self,
        g: &mut Generation,
        words: Vec<Said>,
        bounds: Vec<(u64, u64, u64)>,
        after: Option<Bounds>,
    ) {
        if words.is_empty() {
            return;
        }
        let limit = g.limit();
        let mut earliest_so_far = 0;
        let mut latest_so_far = 0;
        let mut bounds: Vec<Bounds> = words
            .iter()
            .zip(bounds)
            .map(|(w, (earliest, end_after, latest))| {
                let mut b =
                    Bounds { text: w.text.clone(), earliest, end_after, latest: latest.min(limit) };
                g.told_bounds(w, &mut b);
                b.earliest = b.earliest.max(earliest_so_far);
                b.latest = b.latest.max(latest_so_far).max(b.earliest.saturating_add(SHORTEST));
                b.end_after = b.end_after.min(b.latest);
                earliest_so_far = b.earliest;
                latest_so_far = b.latest;
                b
            })
            .collect();
        // Room for the words behind that must end by the same time.
        let mut latest = u64::MAX;
        for b in bounds.iter_mut().rev() {
            b.latest = b.latest.min(latest).max(b.earliest.saturating_add(1));
            b.end_after = b.end_after.min(b.latest);
            latest = b.latest.saturating_sub(SHORTEST);
        }
        let language = self.language.as_deref().or(self.config.language.as_deref());
        let timing = match self.detector.timing() {
            // Nothing was said behind its last word.
            Timing::Arrival if g.over => Timing::Utterance,
            known => known,
        };
        let before = g.neighbours.iter().cloned().collect();
        let neighbours = Neighbours { before, after };
        let placed = align::place(&self.sound, timing, language, &bounds, &neighbours);
        g.neighbours.extend(bounds.iter().cloned());
        let along = self.clock().searched_along();
        g.neighbours.drain(..g.neighbours.len().saturating_sub(along));
        let mut before = g
            .waiting
            .back()
            .or_else(|| g.join.as_ref().and_then(|j| j.last()))
            .or(self.last.back())
            .map(|w| w.text.clone())
            .unwrap_or_default();
        for (i, said) in words.into_iter().enumerate() {
            let (begin, end, trust) = match (placed.get(i), bounds.get(i)) {
                (Some(p), _) => (p.begin, p.end, p.confidence),
                (None, Some(b)) => (b.earliest, b.latest, 0.0),
                (None, None) => (limit, limit, 0.0),
            };
            let space_before =
                if said.edge { space_between(&before, &said.text) } else { said.space_before };
            before.clone_from(&said.text);
            g.placed = g.placed.max(end).min(limit);
            g.waiting.push_back(Word {
                space_before,
                text: said.text,
                begin,
                end,
                time_confidence: if trust.is_finite() { trust.clamp(0.0, 1.0) } else { 0.0 },
                confidence: said.confidence,
            });
        }
    }

    /// Gives out the words that have times. `last`: no more will come, so there is no room to
    /// wait for.
    pub(super) fn give(&mut self, g: &mut Generation, last: bool) {
        if let Some(late) = g.late.take() {
            self.correct(&late);
        }
        let limit = g.limit();
        if let Some(heard) = &mut g.join {
            heard.extend(g.waiting.drain(..));
            let again = self.detector.timing().clock().rehearing();
            let past = self.out_to.saturating_add(again.sure);
            let known = last
                || heard.last().is_some_and(|w| w.begin.midpoint(w.end) > past)
                || g.start.saturating_add(self.heard) >= past;
            if !known {
                return;
            }
            let end = if last { limit } else { heard.last().map_or(limit, |w| w.end) };
            let held = self.held.as_ref().map(|(word, _)| word);
            let audio = g.start..end;
            let repeated = stitch::repeated(self.last.iter(), held, heard, audio, again.times);
            if !again.one_by_one && repeated == heard.len() && !last {
                // The next one may have been given out too.
                return;
            }
            let heard = g.join.take().unwrap_or_default();
            self.held.take_if(|_| repeated < heard.len());
            // Is there more to come that was given out before?
            let again = repeated.checked_sub(1).and_then(|i| heard.get(i));
            let all = self.last.back().zip(again).is_some_and(|(last, again)| {
                normalised(&last.text) == normalised(&again.text) && last.begin < limit
            });
            let added = again.zip(self.last.back());
            let added = added.and_then(|(a, last)| words::added_marks(&last.text, &a.text));
            if let Some(late) = added {
                self.correct(&late);
            }
            if all || repeated < heard.len() {
                let last = heard.get(repeated.saturating_sub(1));
                let heard_to = last.map_or(0, |w| self.heard_in(g, w));
                self.out_to = self.out_to.min(heard_to.max(self.last_end));
            }
            g.waiting = heard.into_iter().skip(repeated).collect();
            g.before = g.before.saturating_sub(repeated);
        }
        while let Some(mut word) = g.waiting.pop_front() {
            let floor = self.horizon.max(g.start);
            let after = g.waiting.len() as u64;
            let mut limit = g.limit();
            if last
                && Mechanism::LateRoom.is_on()
                && limit < floor.saturating_add((after + 1) * SHORTEST)
            {
                // Words given out before, by a clock too coarse, took all the room. A word a
                // little late is better than none.
                limit = floor.saturating_add((after + 1) * LATE).min(self.sound.end()).max(limit);
            }
            let room = limit.saturating_sub(floor);
            let reserve =
                if last { after * SHORTEST.min(room / (after + 1)) } else { RESERVE.min(room / 2) };
            let room = room - reserve;
            if room == 0 {
                if last {
                    g.lost = true;
                    continue;
                }
                g.waiting.push_front(word);
                break;
            }
            let shortest = SHORTEST.min(room);
            word.begin = word.begin.clamp(floor, floor + room - shortest);
            word.end = word.end.clamp(word.begin + shortest, floor + room);
            self.out_to = self.out_to.max(self.heard_in(g, &word));
            self.give_word(word);
        }
    }

    /// Where the audio ends in which a word was heard.
    fn heard_in(&self, g: &Generation, word: &Word) -> u64 {
        self.clock().heard_in(g, word).min(g.limit())
    }

    /// Marks came when their word, the last one, was out.
    pub(super) fn correct(&mut self, late: &Late) {
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
        self.out.push_back(Output::Correction(Correction { word, marks }));
    }

    pub(super) fn give_word(&mut self, word: Word) {
        self.last_end = word.end;
        self.horizon = self.horizon.max(word.end);
        self.last.push_back(word.clone());
        if self.last.len() > stitch::REMEMBERED {
            self.last.pop_front();
        }
        if self.listed.len() < LISTED {
            self.listed.push(word.clone());
        }
        if matches!(self.out.back(), Some(Output::Partial(_))) {
            self.out.pop_back();
        }
        self.out.push_back(Output::Word(word));
    }
}
