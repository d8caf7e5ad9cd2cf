// SPDX-License-Identifier: MPL-2.0

//! What the engine makes of the audio of one generation.

use std::collections::VecDeque;

use serde_json::json;

use super::{FRAME, Kind, Meaning, Micros, Poison, Reply, SEGMENT, Spec};
use crate::truth::Truth;
use vllm_standin::Random;

/// A generation; kept for the checks.
#[derive(Debug, Default)]
pub struct Generation {
    pub id: usize,
    /// Samples heard so far.
    pub heard: u64,
    /// What was heard: position and length, or nothing and length for padding.
    pub spans: Vec<(Option<u64>, u64)>,
    /// Words heard, by the sample of the generation at which they ended.
    pub(super) words: VecDeque<(u64, usize)>,
    /// A word whose middle was heard and whose end was not.
    pub(super) open: Option<usize>,
    /// Where the audio began that goes on without a break.
    pub(super) from: Option<u64>,
    /// Where the audio goes on without a break.
    pub(super) goes_on_at: Option<u64>,
    pub(super) ended: bool,
    /// Tokens made.
    pub(super) tokens: u64,
    /// Sub-words that wait for their turn.
    pub(super) pending: VecDeque<String>,
    pub(super) text: String,
    /// Text that is merged with the next delta's, and how many more are merged.
    pub(super) merging: Option<(String, u64)>,
    pub(super) deltas: u64,
    pub(super) segments: u64,
    /// Samples that a server without a clock has worked through.
    pub(super) worked: u64,
    /// The last word of the last segment.
    pub(super) last_said: Option<String>,
    /// It will not say another word.
    pub rut: bool,
    /// Words that may be missing.
    pub swallowed: Vec<usize>,
    /// It ends at the next step although nobody asked.
    pub ends_unasked: bool,
    pub(super) ready_at: Micros,
}

pub(super) enum Step {
    GoesOn,
    Done,
    /// Nobody asked, or not all is said.
    EndsEarly,
    Fails,
    Dies,
    Cut,
}

impl Generation {
    /// Takes audio.
    pub(super) fn hear(&mut self, at: Option<u64>, count: u64, truth: &Truth) {
        if at.is_none() || self.goes_on_at != at {
            self.finish_word(truth);
            self.from = at;
        }
        let offset = self.heard;
        self.heard += count;
        self.spans.push((at, count));
        self.goes_on_at = at.map(|at| at + count);
        let Some(at) = at else { return };
        let to = at + count;
        for (i, w) in truth.words.iter().enumerate().skip(truth.first_behind(at)) {
            if w.begin >= to {
                break;
            }
            if (at..to).contains(&w.middle()) {
                self.open = Some(i);
            }
            if w.end <= to && self.open == Some(i) {
                self.words.push_back((offset + w.end - at, i));
                self.open = None;
            }
        }
    }

    /// The audio breaks off: a word that was heard well enough counts.
    pub(super) fn finish_word(&mut self, truth: &Truth) {
        let half = || truth.half_a_word(self.from?, self.goes_on_at?);
        if let Some(i) = self.open.take().or_else(half) {
            self.words.push_back((self.heard, i));
        }
    }

    /// Samples that what was said so far is about.
    pub(super) fn worked(&self, spec: &Spec) -> u64 {
        match spec.kind {
            Kind::Frames { .. } => self.tokens * FRAME,
            Kind::Segments => self.segments * SEGMENT,
            Kind::Arrival { .. } => self.worked,
            Kind::Utterance { .. } => 0,
        }
    }

    /// Whether the next step works through audio that is poison.
    pub(super) fn comes_to(&self, poison: &Poison, spec: &Spec) -> bool {
        let from = self.worked(spec);
        let to = match spec.kind {
            Kind::Frames { .. } => from + FRAME,
            Kind::Segments => from + SEGMENT,
            Kind::Arrival { .. } => self.heard,
            Kind::Utterance { .. } => self.heard,
        };
        let mut offset = 0;
        self.spans.iter().any(|&(at, count)| {
            let (first, last) = (from.max(offset), to.min(offset + count));
            let hit = at.filter(|_| first < last).is_some_and(|at| {
                let (begin, end) = (at + first - offset, at + last - offset);
                begin < poison.end && poison.begin < end
            });
            offset += count;
            hit
        })
    }

    pub(super) fn has_work(&self, spec: &Spec) -> bool {
        self.ends_unasked
            || match spec.kind {
                Kind::Frames { delay } => {
                    self.ended || self.heard >= (1 + delay + self.tokens) * FRAME + 40
                }
                Kind::Segments => self.ended || self.heard >= (self.segments + 1) * SEGMENT,
                Kind::Arrival { delay, .. } => {
                    self.ended || self.heard >= self.worked + delay.max(FRAME)
                }
                Kind::Utterance { .. } => self.ended,
            }
    }

    /// Engine time of the next step.
    pub(super) fn cost(&self, spec: &Spec) -> Micros {
        match spec.kind {
            Kind::Frames { .. } => spec.frame_time,
            Kind::Segments => {
                let samples = (self.heard - self.segments * SEGMENT).min(SEGMENT);
                spec.frame_time * samples / FRAME
            }
            Kind::Arrival { .. } => spec.frame_time * (self.heard - self.worked) / FRAME,
            Kind::Utterance { .. } => spec.frame_time * self.heard / FRAME,
        }
    }

    /// Sends a delta, which tells that so much is worked through.
    pub(super) fn say(&mut self, text: String, samples: u64, out: &mut Vec<Reply>) {
        self.text += &text;
        self.deltas += 1;
        let event = json!({"type": "transcription.delta", "delta": text});
        let meaning = Meaning::Heard { generation: self.id, samples: samples.min(self.heard) };
        out.push(Reply::Send(event.to_string(), meaning));
    }

    pub(super) fn frame(
        &mut self,
        delay: u64,
        spec: &Spec,
        truth: &Truth,
        rng: &mut Random,
        out: &mut Vec<Reply>,
    ) -> Step {
        if spec.context.is_some_and(|c| 39 + delay + self.tokens >= c)
            || self.ends_unasked && self.tokens > 0
        {
            return Step::EndsEarly;
        }
        if self.ended && self.tokens >= (self.heard.max(40) - 40) / FRAME + 11 {
            return Step::Done;
        }
        let k = self.tokens;
        self.tokens += 1;
        let text = match self.pending.pop_front() {
            Some(piece) => {
                // A word that ended meanwhile may share the mark of the one before it.
                if self.pending.is_empty() && rng.chance(50) {
                    self.next_words(k * FRAME, truth);
                }
                piece
            }
            None => {
                self.next_words((k + 1) * FRAME, truth);
                String::new()
            }
        };
        let last = self.ended && self.tokens >= (self.heard.max(40) - 40) / FRAME + 11;
        let text = match self.merging.take() {
            None if !last && rng.range(1, 1000) <= spec.uneven.merged => {
                self.merging = Some((text, rng.range(0, spec.uneven.longest)));
                return Step::GoesOn;
            }
            None => text,
            Some((before, left)) if left > 0 && !last => {
                self.merging = Some((before + &text, left - 1));
                return Step::GoesOn;
            }
            Some((before, _)) => before + &text,
        };
        let known = k.min(self.deltas) * FRAME;
        self.say(text, known, out);
        let between = self.pending.is_empty();
        if between && rng.range(1, 1000) <= spec.uneven.spare {
            self.say(String::new(), known, out);
        }
        Step::GoesOn
    }

    /// Words that ended by then get their turn.
    pub(super) fn next_words(&mut self, by: u64, truth: &Truth) {
        while let Some(&(_, i)) = self.words.front().filter(|w| w.0 <= by) {
            self.words.pop_front();
            if self.rut {
                self.swallowed.push(i);
            } else {
                self.pending.extend(truth.words[i].pieces.iter().cloned());
            }
        }
    }

    pub(super) fn segment(
        &mut self,
        spec: &Spec,
        truth: &Truth,
        rng: &mut Random,
        out: &mut Vec<Reply>,
    ) -> Step {
        if self.ends_unasked {
            return Step::EndsEarly;
        }
        let left = self.heard - self.segments * SEGMENT;
        if spec.context.is_some_and(|c| 40 + (self.segments + 1) * 155 > c) {
            return Step::Dies;
        }
        if left == 0 {
            return Step::Done;
        }
        if left < 320 {
            return Step::Fails;
        }
        self.segments += 1;
        let to = self.segments * SEGMENT;
        let mut said = Vec::new();
        while let Some(&(_, i)) = self.words.front().filter(|w| w.0 <= to) {
            self.words.pop_front();
            // The same word on both sides of an edge: who hears that can only guess.
            let twice = said.is_empty() && self.last_said.as_ref() == Some(&truth.words[i].text);
            said.push(truth.words[i].text.clone());
            if self.rut || twice {
                self.swallowed.push(i);
            }
        }
        self.last_said = said.last().cloned();
        let said = if self.rut { String::new() } else { said.join(" ") };
        let language = if said.is_empty() { "None" } else { "English" };
        let text = format!("language {language}<asr_text>{said}");
        let last = left < SEGMENT;
        self.say_in_pieces(&text, to.min(self.heard), rng, out);
        if last { Step::Done } else { Step::GoesOn }
    }

    pub(super) fn arrival(
        &mut self,
        (delay, space_behind): (u64, bool),
        truth: &Truth,
        rng: &mut Random,
        out: &mut Vec<Reply>,
    ) -> Step {
        if self.ends_unasked {
            return Step::EndsEarly;
        }
        self.worked = self.heard;
        let by = if self.ended { u64::MAX } else { self.heard.saturating_sub(delay) };
        while let Some(&(end, i)) = self.words.front().filter(|w| w.0 <= by) {
            self.words.pop_front();
            if self.rut {
                self.swallowed.push(i);
                continue;
            }
            // At times the rest of a word comes with the next one.
            let mut text = truth.words[i].pieces.concat();
            if space_behind {
                text = text.trim_start().to_owned() + " ";
            }
            if rng.chance(20) {
                let rest = text.split_off(rng.range(1, text.len() as u64) as usize);
                self.say(text, end, out);
                text = rest;
            }
            if !text.is_empty() {
                self.say(text, end, out);
            }
        }
        if self.ended { Step::Done } else { Step::GoesOn }
    }

    pub(super) fn utterance(
        &mut self,
        deltas: bool,
        truth: &Truth,
        rng: &mut Random,
        out: &mut Vec<Reply>,
    ) -> Step {
        if self.rut {
            self.swallowed.extend(self.words.iter().map(|w| w.1));
        }
        let words = self.words.drain(..).map(|(_, i)| truth.words[i].text.as_str());
        let text = words.collect::<Vec<_>>().join(" ");
        let text = if self.rut { String::new() } else { text };
        if deltas {
            self.say_in_pieces(&text, 0, rng, out);
        } else {
            self.text = text;
        }
        Step::Done
    }

    /// Text cut anywhere, and an empty delta at its end; only that tells that all of it is said.
    pub(super) fn say_in_pieces(
        &mut self,
        text: &str,
        samples: u64,
        rng: &mut Random,
        out: &mut Vec<Reply>,
    ) {
        let before = samples.saturating_sub(SEGMENT);
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rng.range(1, 12).min(rest.len() as u64) as usize);
            rest = left;
            self.say(piece.to_owned(), before, out);
            // Half a character.
            if !piece.ends_with(' ') && left.starts_with(char::is_alphabetic) && rng.chance(2) {
                self.say(String::new(), before, out);
            }
        }
        self.say(String::new(), samples, out);
    }
}
