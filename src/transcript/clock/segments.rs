// SPDX-License-Identifier: MPL-2.0

//! Segmented servers (Qwen3-ASR): a burst of text for each 5 s of audio, behind a tag. When a segment
//! is over, and what its edges did to words.

use super::{ALL_SPEAK, Ahead, AtCut, Clock, Curve, Length, Position, Search};
use crate::{
    mechanism::Mechanism,
    speech::features::HOP,
    transcript::{
        Word,
        generation::{Generation, SampleInGeneration},
        retention::PAUSE,
        script::{ends_sentence, normalised},
        state::Transcript,
    },
};

pub const SEGMENT: Length = Length::of_s(5);

/// Audio ahead of it at most: three segments.
const AHEAD: Length = Length::of_s(3 * 5);

/// How far a word that lies across a segment's edge reaches over it at most.
const ACROSS: Length = Length::of_ms(300);

/// Audio that so many tokens hold: about 65 for 5 s of audio, at most 64 of text, 25 around them.
pub fn context(tokens: u64) -> Length {
    SEGMENT * (tokens / 160).saturating_sub(1).max(1)
}

/// How far a generation's segments are out.
#[derive(Debug, Default)]
pub struct Progress {
    /// Segments whose words are all out.
    done: u64,
    /// Words that a segment had when it seemed over.
    seemed_over: Option<(u64, usize)>,
}

impl Generation {
    /// Where a segment lies.
    fn segment_span(&self, segment: u64) -> (Position, Position) {
        let at = |sample| self.at(sample).min(self.limit());
        (at(start_of(segment)), at(end_of(segment)))
    }
}

pub struct Segments;

impl Clock for Segments {
    fn empty(&self, t: &mut Transcript, g: &mut Generation) {
        t.segment_seems_over(g);
    }

    fn burst_may_be_over(&self, g: &Generation) -> bool {
        let segment = g.text.segment();
        g.text.is_tagged() && g.segments.done <= segment && g.sent() >= end_of(segment)
    }

    fn burst_over(&self, t: &mut Transcript, g: &mut Generation) {
        t.segment_seems_over(g);
    }

    fn settle(&self, t: &mut Transcript, g: &mut Generation) {
        t.late(g);
        while g.segments.done < g.text.segment() {
            t.segment_over(g, g.segments.done, false);
        }
        t.mend(g);
    }

    fn finish(&self, t: &mut Transcript, g: &mut Generation) {
        let segment = g.text.segment();
        let last = g.text.ready().back().map_or(segment, |w| w.segment.max(segment));
        t.late(g);
        while g.segments.done <= last {
            t.segment_over(g, g.segments.done, g.segments.done == last);
        }
    }

    fn search(&self) -> Search {
        Search {
            marks: false,
            open: false,
            confidence: Curve { base: -0.59, fit: 0.61, clarity: 0.39 },
        }
    }

    fn heard(&self, _: &Transcript, g: &Generation) -> SampleInGeneration {
        start_of(g.segments.done).min(g.sent())
    }

    fn horizon(&self, _: &Transcript, g: &Generation) -> Option<Position> {
        let whole = g.placed.is_empty() && !g.placed.is_again();
        whole.then(|| g.segment_span(g.segments.done).0)
    }

    fn tells_heard(&self) -> bool {
        true
    }

    /// The edge before which all is out: its words' own times are not sure enough. With a pause there
    /// nothing is heard twice.
    fn resume(&self, t: &Transcript, g: &Generation) -> Position {
        let segment = g.segments.done.saturating_sub(u64::from(!g.placed.is_empty()));
        let (edge, _) = g.segment_span(segment);
        let start = g.start();
        if g.placed.is_again() {
            start
        } else if edge > start && t.speech_across(edge) {
            t.before(edge, start)
        } else {
            edge.max(start)
        }
    }

    /// A word's own times tell no more than which segment it was.
    fn heard_in(&self, g: &Generation, word: &Word) -> Position {
        g.segment_span(g.sample(word.begin).length() / SEGMENT).1.max(word.end)
    }

    fn may_be_cut_anew(&self) -> bool {
        Mechanism::CutAnew.is_on()
    }

    fn is_due(&self, sent: SampleInGeneration, heard: SampleInGeneration, deltas: u64) -> bool {
        // That a segment's text is whole is told by the next one's.
        let told_by = if deltas == 0 { SEGMENT } else { SEGMENT * 2 };
        sent >= heard + told_by + Length::of_s(1)
    }

    fn ahead(&self) -> Option<Ahead> {
        Some(Ahead { usual: AHEAD, least: ALL_SPEAK })
    }

    fn cut(&self) -> AtCut {
        AtCut::ByText
    }

    fn ends_at_pauses(&self) -> bool {
        true
    }

    fn known_after(&self) -> Option<u32> {
        Some(8000)
    }
}

impl Transcript {
    /// Places the words of a segment that is over.
    fn segment_over(&mut self, g: &mut Generation, segment: u64, last: bool) {
        self.mend(g);
        let count = g.text.ready().iter().take_while(|w| w.segment <= segment).count();
        if let Some((_, had)) = g.segments.seemed_over.take_if(|(at, _)| *at == segment)
            && g.text.taken().len() + count > had
        {
            // It went on with further words: no more guessing.
            self.memory.early = false;
        }
        g.placed.release();
        let again = self.says_again(g, segment, count);
        let mut words = g.text.take(count);
        if again {
            words.clear();
            self.memory.repetitions += 1;
        }
        let (from, to) = g.segment_span(segment);
        let span = (from.max(self.floor(g)), if last { g.limit() } else { to });
        self.place_span(g, words, span, false);
        g.segments.done = segment + 1;
        // Where it has no words, the last one is of a segment before, and whole.
        if !last && count > 0 {
            self.withhold(g, segment);
        }
    }

    /// Whether the first `count` words that wait, which are all of this segment, are those before
    /// them once more, and nothing is to be heard in it: what was said before leaks into what is
    /// said over silence (vllm#51376).
    fn says_again(&self, g: &Generation, segment: u64, count: usize) -> bool {
        let taken = g.text.taken();
        let before = taken.get(taken.len().saturating_sub(count)..).unwrap_or_default();
        let words = g.text.ready().iter().take(count);
        let same = count > 0
            && before.len() == count
            && before.iter().zip(words).all(|(a, b)| normalised(&a.0) == normalised(&b.text));
        let (from, to) = g.segment_span(segment);
        same && !self.sound.speech_within(from, to)
    }

    /// Words of a segment whose words seemed to be all out.
    fn late(&mut self, g: &mut Generation) {
        let count = g.text.ready().iter().take_while(|w| w.segment < g.segments.done).count();
        if count > 0 {
            self.memory.early = false;
            g.placed.release();
            let words = g.text.take(count);
            let (edge, _) = g.segment_span(g.segments.done);
            let from = self.floor(g);
            self.place_span(g, words, (from, edge.max(from)), false);
        }
    }

    /// The last word of a segment waits for the next segment's first one where speech runs on
    /// over the edge: the edge may have cut it.
    fn withhold(&mut self, g: &mut Generation, segment: u64) {
        let (_, edge) = g.segment_span(segment);
        let may_go_on = |w: &Word| !ends_sentence(&w.text) || fragment(&w.text).is_some();
        if g.placed.last().is_some_and(may_go_on) && self.speech_across(edge) {
            g.placed.withhold(edge);
        }
    }

    /// Whether there is no pause at the edge.
    pub(in crate::transcript) fn speech_across(&self, edge: Position) -> bool {
        let far = Length::of_s(1);
        // As loud as the voice is.
        let Some(quiet) = self.sound.quiet(edge - far, edge + far) else { return true };
        if quiet <= 0.0 {
            // Nothing to be heard at all.
            return false;
        }
        let mut run = 0;
        let near = PAUSE + Length::new(HOP);
        !self.sound.frames(edge - near, edge + near).any(|f| {
            run = if f.loudness() < quiet { run + HOP } else { 0 };
            run >= PAUSE.samples()
        })
    }

    /// Mends what the edge did to the words on both sides of it, where the text shows it.
    ///
    /// - A word that ends in a hyphen or dots is one with the first word of the next segment: of
    ///   the two halves, or the second alone where it begins with the first.
    /// - A word that is said again at once, without punctuation or a pause between, was cut in
    ///   two by the edge and heard twice: it stays once, and reaches over the edge. With a pause
    ///   or punctuation between, both stay.
    fn mend(&mut self, g: &mut Generation) {
        self.close_late(g);
        let behind = |edge: Position| {
            g.text.ready().front().is_some_and(|w| w.edge && g.segment_span(w.segment).0 >= edge)
        };
        if !g.placed.withheld_at().is_some_and(behind) {
            return;
        }
        let (Some((mut word, edge)), Some(next)) = (g.placed.take_withheld(), g.text.take(1).pop())
        else {
            return;
        };
        let reach = |this: &Self| {
            let latest = (edge + ACROSS).min(g.limit());
            this.sound.quietest(edge.min(latest), latest).max(word.end)
        };
        let plain = word.text.chars().next_back().is_some_and(char::is_alphanumeric);
        if let Some(part) = fragment(&word.text) {
            let (a, b) = (normalised(part), normalised(&next.text));
            if b.starts_with(&a) {
                word.end = reach(self);
                word.text = next.text;
            } else if next.text.chars().next().is_some_and(char::is_lowercase)
                && word.text.ends_with('-')
            {
                word.end = reach(self);
                word.text.push_str(&next.text);
            } else {
                g.text.put_back(next);
            }
        } else if plain && normalised(&word.text) == normalised(&next.text) {
            word.end = reach(self);
            word.text = next.text;
        } else {
            g.text.put_back(next);
        }
        g.placed.push(word, g.limit());
    }

    /// An empty delta may be the end of a segment's burst: its words are given out without
    /// waiting for the next one, but for the last, which may still grow.
    fn segment_seems_over(&mut self, g: &mut Generation) {
        let segment = g.text.segment();
        let out = g.segments.done > segment;
        let early = self.memory.early && g.text.is_tagged() && !g.text.is_in_tag();
        if !early || out || g.sent() < end_of(segment) {
            return;
        }
        self.settle(g);
        let rest = g.text.rest();
        let first = g.text.ready().front().or(rest.first()).map(|w| normalised(&w.text));
        let Some(first) = first else { return };
        let (from, to) = g.segment_span(segment);
        let known = g.text.taken().iter().any(|(w, _)| normalised(w) == first);
        if known && !self.sound.speech_within(from, to) {
            // It may be what was said before, once more: the whole of it will tell.
            return;
        }
        g.segments.seemed_over = Some((segment, g.text.words().len() + rest.len()));
        if rest.last().is_none_or(|w| ends_sentence(&w.text)) {
            g.text.complete();
            // The word that was withheld goes before them.
            self.mend(g);
        }
        // What may still grow is placed along, and again when it is whole.
        let rest = g.text.rest();
        let mut words = g.text.take_all();
        let count = g.placed.waiting() + words.len();
        words.extend(rest);
        let end = g.placed.end();
        let span = (from.max(self.floor(g)), to);
        self.place_span(g, words, span, false);
        g.placed.truncate(count, end, g.limit());
        if !g.text.has_rest() {
            g.segments.seemed_over = None;
            g.segments.done = segment + 1;
            self.withhold(g, segment);
        }
    }
}

fn start_of(segment: u64) -> SampleInGeneration {
    SampleInGeneration::START + SEGMENT * segment
}

fn end_of(segment: u64) -> SampleInGeneration {
    start_of(segment.saturating_add(1))
}

/// What stands before the hyphen or the dots of a word that breaks off.
fn fragment(word: &str) -> Option<&str> {
    let part = word
        .strip_suffix('-')
        .or_else(|| word.strip_suffix('…'))
        .or_else(|| word.strip_suffix("..."))?;
    (part.chars().filter(|c| c.is_alphabetic()).count() >= 2
        && part.chars().next_back().is_some_and(char::is_alphabetic))
    .then_some(part)
}
