// SPDX-License-Identifier: MPL-2.0

//! The transcript's state: over all generations of a session.

use std::collections::VecDeque;

use super::{
    Output, ServerSegment, Timing, TranscriptConfig, Usage, Utterance, Word,
    align::{self, Bounds},
    cadence::{Cadence, FRAME, Fallback, SEGMENT},
    generation::{Generation, Said, frame_bounds},
    join, reconcile,
    script::{Class, class, clean, ends_sentence, normalised, space_between},
    tags::{Item, Tags, language_code},
    words::{self, Splitter},
};
use crate::{SAMPLE_RATE, SAMPLES_PER_MS, speech::Sound};

/// A word lasts no shorter than this where there is room.
const SHORTEST: u64 = SAMPLES_PER_MS;

/// Kept free at the end of the audio for words that may yet come.
const RESERVE: u64 = 20 * SAMPLES_PER_MS;

/// The horizon is no further behind what was heard than this.
const BEHIND: u64 = 2 * SAMPLE_RATE;

/// Kept before speech that may be a word under way.
const ONSET: u64 = 100 * SAMPLES_PER_MS;

/// A pause between words, not one within a word; looked for in such steps.
const PAUSE: u64 = 250 * SAMPLES_PER_MS;
const STEP: u64 = 20 * SAMPLES_PER_MS;

/// Speech without words is kept for another try this long: more than any word takes, and what a
/// "blank rut" may have swallowed.
const RUT: u64 = 20 * SAMPLE_RATE;

/// After a failure the audio begins so long before the last safe word's end.
const CONTEXT: std::ops::Range<u64> = SAMPLE_RATE..2 * SAMPLE_RATE;

/// So long after the last word given out nothing can be a repetition of it.
const JOIN: u64 = SAMPLE_RATE;

/// How far a word that lies across a segment's edge reaches over it at most.
const ACROSS: u64 = 300 * SAMPLES_PER_MS;

/// Words that an utterance lists: some 20 minutes of fast speech. The ones after that are given
/// out all the same.
const LISTED: usize = 8192;

/// Text to words with times, over all generations of a session.
#[derive(Debug)]
pub struct Transcript {
    config: TranscriptConfig,
    out: VecDeque<Output>,
    sound: Sound,
    forgotten: u64,
    cadence: Cadence,
    generation: Option<Generation>,
    /// The utterance under way: what was given out, and where its first generation began.
    listed: Vec<Word>,
    utterance_start: Option<u64>,
    language: Option<String>,
    /// The last words given out.
    last: VecDeque<Word>,
    last_end: u64,
    horizon: u64,
    resume: u64,
    heard: u64,
    overrun: Option<String>,
    /// Whether a segment's words may be given out before the next one begins; a server that went
    /// on after it seemed over loses this.
    early: bool,
    /// Empty frames after a word that make it whole: 1, or 2 once a word went on after one.
    patience: u64,
}

impl Transcript {
    pub fn new(config: TranscriptConfig) -> Self {
        let cadence = Cadence::new(config.timing);
        Transcript {
            config,
            out: VecDeque::new(),
            sound: Sound::default(),
            forgotten: 0,
            cadence,
            generation: None,
            listed: Vec::new(),
            utterance_start: None,
            language: None,
            last: VecDeque::new(),
            last_end: 0,
            horizon: 0,
            resume: 0,
            heard: 0,
            overrun: None,
            early: true,
            patience: 1,
        }
    }

    /// The sound, as it comes in, before it is sent. `position` never goes back; a step forward
    /// leaves out audio that nobody will ask for (silence that is not sent).
    pub fn audio(&mut self, position: u64, samples: &[i16]) {
        if position >= self.sound.end() {
            self.sound.push(position, samples);
        }
    }

    /// A generation begins: its first sample is the one at position `start`.
    ///
    /// Where `start` lies before the end of the last word given out (audio that is sent again
    /// after a failure), the words that come twice are dropped, found by time and by text.
    pub fn begin(&mut self, start: u64) {
        if self.generation.is_some() {
            self.abort();
        }
        self.cadence.begin();
        self.generation = Some(Generation::new(start, start < self.last_end, self.listed.len()));
        self.utterance_start.get_or_insert(start);
        self.overrun = None;
        self.heard = 0;
        self.horizon = self.horizon.max(start);
        self.resume = start;
    }

    /// The generation's audio ends at position `end` (the final commit was sent); `padding`
    /// samples of silence were added behind it.
    pub fn audio_end(&mut self, end: u64, padding: u64) {
        if let Some(g) = &mut self.generation {
            let end = end.max(g.start);
            g.end = Some(end);
            g.padding = padding;
            g.sent = end.saturating_sub(g.start).saturating_add(padding);
        }
    }

    /// A `transcription.delta`, the empty ones included. `sent`: samples of this generation sent
    /// so far, padding included. `segments` and `logprob` where the server offers them.
    pub fn delta(
        &mut self,
        text: &str,
        sent: u64,
        segments: &[ServerSegment],
        logprob: Option<f64>,
    ) {
        let Some(mut g) = self.generation.take() else { return };
        if g.end.is_none() {
            g.sent = g.sent.max(sent);
        }
        g.told.add(segments);
        let k = self.cadence.deltas();
        let admitted = g.admit(text);
        let text_or_none = if admitted { text } else { "" };
        if g.overrun.is_some() {
            self.overrun.clone_from(&g.overrun);
        }
        // A tag is looked for where one may come: at the beginning, and where there are tags.
        let tagging = !g.any_text || self.cadence.clock() != Timing::Frames;
        let items = if tagging {
            g.tags.push(text_or_none)
        } else {
            let held = g.tags.flush();
            VecDeque::from([Item::Text(held + text_or_none)])
        };
        let undecided = !g.any_text
            && !g.tags.held().is_empty()
            && !items.iter().any(|i| matches!(i, Item::Text(_)));
        let tag_first = matches!(items.front(), Some(Item::Tag(_)));
        let fallback = self.cadence.delta(text, g.sent, g.end.is_some(), undecided || tag_first);
        self.fell_back(fallback);
        for item in items {
            match item {
                Item::Text(text) => {
                    g.any_text |= !text.trim().is_empty();
                    if g.quiet == 1 && g.flushed && goes_on(&text) {
                        // The word was not whole: wait longer from now on.
                        self.patience = 2;
                    }
                    g.flushed &= text.is_empty();
                    g.text(&text, k, logprob);
                }
                Item::Tag(name) => self.tag(&mut g, &name),
            }
        }
        g.note_empty(text.is_empty());
        if text.is_empty() {
            g.quiet = g.quiet.saturating_add(1);
            match self.cadence.clock() {
                Timing::Frames if g.quiet >= self.patience && !g.splitter.is_empty() => {
                    g.flush();
                    g.flushed = true;
                }
                Timing::Segments => self.segment_seems_over(&mut g),
                _ => {}
            }
        } else {
            g.quiet = 0;
        }
        self.settle(&mut g);
        self.advance(&mut g);
        self.partial(&mut g);
        self.generation = Some(g);
    }

    /// `transcription.done`: all that is left comes out, then the utterance.
    pub fn done(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment]) {
        let Some(mut g) = self.generation.take() else { return };
        g.told.add(segments);
        let held = g.tags.flush();
        if !held.is_empty() {
            g.text(&held, self.cadence.deltas().saturating_sub(1), None);
        }
        g.flush();
        let audio = g.end.map(|_| g.sent);
        let fallback = self.cadence.done(audio, usage);
        self.fell_back(fallback);
        let correction = self.reconcile(&mut g, text);
        self.finish(&mut g);

        let asked_for = g.end.is_some();
        let start = self.utterance_start.take().unwrap_or(g.start);
        let listed = std::mem::take(&mut self.listed);
        let utterance = Utterance {
            text: words::join(listed.iter().map(|w| (w.text.as_str(), w.space_before))),
            begin: listed.first().map_or(start.min(g.limit()), |w| w.begin),
            end: listed.last().map_or(g.limit(), |w| w.end),
            words: listed,
            usage,
            language: self.language.clone().or_else(|| self.config.language.clone()),
            correction,
        };
        self.out.push_back(Output::Utterance(utterance));
        if asked_for {
            self.heard = g.sent;
            self.horizon = self.horizon.max(g.limit());
            self.resume = g.limit();
        } else {
            self.resume = self.resume_in(&g);
        }
        self.forget();
    }

    /// The generation is lost. What was given out stays; the rest is forgotten, and the audio
    /// from [`Transcript::resume_at`] on will be sent again in a new one. No utterance comes out
    /// here: it goes on with the next `begin`.
    pub fn abort(&mut self) {
        if let Some(g) = self.generation.take() {
            self.resume = self.resume_in(&g);
            self.cadence.forget();
        }
        self.overrun = None;
    }

    /// FLUSH: forget the utterance under way and all outputs not yet taken.
    pub fn flush(&mut self) {
        if let Some(g) = self.generation.take() {
            self.horizon = self.horizon.max(g.start);
            self.resume = g.limit();
        }
        self.out.clear();
        self.listed.clear();
        self.last.clear();
        self.utterance_start = None;
        self.overrun = None;
    }

    /// Position before which no audio is needed any more, were the generation lost now: a little
    /// before the end of the last word given out, at a pause where there is one; never before the
    /// beginning of the utterance's generation; the end of the audio after `done`.
    ///
    /// Speech that got no words is kept too, for 20 s, should the server have missed it.
    pub fn resume_at(&self) -> u64 {
        self.generation.as_ref().map_or(self.resume, |g| self.resume_in(g))
    }

    /// No word that is still to come begins before this position.
    pub fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Samples of this generation that the server has certainly worked through (by frames, by
    /// segments; 0 where only `done` tells).
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// The sound of the audio that is not safe yet.
    pub fn sound(&self) -> &Sound {
        &self.sound
    }

    /// The clock in use now; [`Timing::Auto`] while it is not known.
    pub fn timing(&self) -> Timing {
        self.cadence.known()
    }

    /// Why the server's text is more than speech can be, once it is: a failure of the protocol.
    /// What comes beyond the limit is ignored until the next `begin`.
    ///
    /// Limits for a generation: 16 KiB and 1 KiB for each second of audio in all; 64 KiB of words
    /// that wait for their times.
    pub fn overrun(&self) -> Option<String> {
        self.overrun.clone()
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn fell_back(&mut self, fallback: Option<Fallback>) {
        if let Some((from, to, why)) = fallback {
            self.out.push_back(Output::ClockFellBack { from, to, why });
        }
    }

    /// A segment begins.
    fn tag(&mut self, g: &mut Generation, name: &str) {
        let first_text = !g.any_text;
        g.any_text = true;
        let fallback = self.cadence.tag(g.sent, g.end.is_some(), first_text);
        g.next_segment();
        self.fell_back(fallback);
        if let Some(code) = language_code(name)
            && self.language.as_deref() != Some(code)
        {
            self.language = Some(code.to_owned());
            self.out.push_back(Output::Language(code.to_owned()));
        }
    }

    /// Gives out the words whose time can be told by now.
    fn settle(&mut self, g: &mut Generation) {
        match self.cadence.clock() {
            Timing::Frames => {
                let words: Vec<Said> = g.ready.drain(..).collect();
                let shares = g.next_shares();
                self.place_frames(g, words, shares);
            }
            Timing::Segments => {
                self.late(g);
                while g.segments_out < g.segment {
                    self.segment_over(g, g.segments_out, false);
                }
                self.mend(g);
            }
            Timing::Auto | Timing::Utterance => {}
        }
        self.give(g, false);
    }

    /// The generation is over: all that is left gets its times.
    fn finish(&mut self, g: &mut Generation) {
        match self.cadence.clock() {
            Timing::Frames => {
                let words: Vec<Said> = g.ready.drain(..).collect();
                self.place_frames(g, words, false);
            }
            Timing::Segments => {
                let last = g.ready.back().map_or(g.segment, |w| w.segment.max(g.segment));
                while g.segments_out <= last {
                    self.segment_over(g, g.segments_out, true);
                }
            }
            Timing::Auto | Timing::Utterance => {
                if let Some((word, _)) = g.withheld.take() {
                    g.waiting.push_back(word);
                }
                let words: Vec<Said> = g.ready.drain(..).collect();
                let span = (self.floor(g), g.limit());
                self.place_span(g, words, span, true);
            }
        }
        self.give(g, true);
    }

    /// No word that is placed now begins before this.
    fn floor(&self, g: &Generation) -> u64 {
        let last = g
            .waiting
            .back()
            .or_else(|| g.join.as_ref().and_then(|j| j.last()))
            .or(g.withheld.as_ref().map(|(w, _)| w))
            .map_or(0, |w| w.end);
        let out = if g.join.is_some() { g.start } else { self.horizon };
        last.max(out).max(g.start)
    }

    fn place_frames(&mut self, g: &mut Generation, words: Vec<Said>, next_shares: bool) {
        let floor = self.floor(g);
        let shares: Vec<bool> = words
            .iter()
            .skip(1)
            .map(|w| w.frame.is_some_and(|(_, marked)| !marked))
            .chain([next_shares])
            .collect();
        let bounds = words
            .iter()
            .zip(shares)
            .map(|(w, shares)| {
                let (end_after, latest) = match w.frame {
                    Some((k, marked)) => frame_bounds(k, marked, shares, g.start),
                    None => (g.start, g.limit()),
                };
                (floor, end_after, latest)
            })
            .collect();
        self.place(g, words, bounds);
    }

    /// Places words that can be anywhere in a span.
    fn place_span(
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
        self.place(g, words, bounds);
    }

    /// Places words by the sound within these bounds: earliest, end after, latest.
    fn place(&mut self, g: &mut Generation, words: Vec<Said>, bounds: Vec<(u64, u64, u64)>) {
        if words.is_empty() {
            return;
        }
        let limit = g.limit();
        let mut earliest_so_far = 0;
        let mut latest_so_far = 0;
        let bounds: Vec<Bounds> = words
            .iter()
            .zip(bounds)
            .map(|(w, (earliest, end_after, latest))| {
                let mut b =
                    Bounds { text: w.text.clone(), earliest, end_after, latest: latest.min(limit) };
                g.told_bounds(w, &mut b);
                b.earliest = b.earliest.max(earliest_so_far);
                b.latest = b.latest.max(latest_so_far).max(b.earliest.saturating_add(SHORTEST));
                b.end_after = b.end_after.clamp(b.earliest, b.latest);
                earliest_so_far = b.earliest;
                latest_so_far = b.latest;
                b
            })
            .collect();
        let language = self.language.as_deref().or(self.config.language.as_deref());
        let placed = align::place(&self.sound, self.cadence.clock(), language, &bounds);
        let offset = self.config.timing_offset;
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
            g.waiting.push_back(Word {
                space_before,
                text: said.text,
                begin: begin.saturating_add_signed(offset),
                end: end.saturating_add_signed(offset),
                time_confidence: if trust.is_finite() { trust.clamp(0.0, 1.0) } else { 0.0 },
                confidence: said.confidence,
            });
        }
    }

    /// Places the words of a segment that is over.
    fn segment_over(&mut self, g: &mut Generation, segment: u64, last: bool) {
        self.mend(g);
        let count = g.ready.iter().take_while(|w| w.segment <= segment).count();
        if let Some((at, n)) = g.early.take_if(|(at, _)| *at == segment) {
            let whole = g.cuts.len() - (g.ready.len() - count);
            if whole > n && at == segment {
                // It went on with further words: no more guessing.
                self.early = false;
            }
        }
        if let Some((word, _)) = g.withheld.take() {
            g.waiting.push_back(word);
        }
        let words: Vec<Said> = g.ready.drain(..count).collect();
        let (from, to) = g.segment_span(segment);
        let span = (from.max(self.floor(g)), if last { g.limit() } else { to });
        self.place_span(g, words, span, false);
        g.segments_out = segment + 1;
        if !last {
            self.withhold(g, segment);
        }
    }

    /// Words of a segment whose words seemed to be all out.
    fn late(&mut self, g: &mut Generation) {
        let count = g.ready.iter().take_while(|w| w.segment < g.segments_out).count();
        if count > 0 {
            self.early = false;
            let words: Vec<Said> = g.ready.drain(..count).collect();
            let (edge, _) = g.segment_span(g.segments_out);
            let from = self.floor(g);
            self.place_span(g, words, (from, edge.max(from)), false);
        }
    }

    /// The last word of a segment waits for the next segment's first one where speech runs on
    /// over the edge: the edge may have cut it.
    fn withhold(&mut self, g: &mut Generation, segment: u64) {
        let (_, edge) = g.segment_span(segment);
        let may_go_on = |w: &Word| !ends_sentence(&w.text) || fragment(&w.text).is_some();
        let cut = g.waiting.back().is_some_and(may_go_on);
        if cut && self.speech_across(edge) {
            g.withheld = g.waiting.pop_back().map(|w| (w, edge));
        }
    }

    fn speech_across(&self, edge: u64) -> bool {
        let step = 50 * SAMPLES_PER_MS;
        [edge.saturating_sub(step), edge, edge.saturating_add(step)]
            .into_iter()
            .all(|at| self.sound.next_speech(at, at.saturating_add(step / 2)) == at)
    }

    /// Mends what the edge did to the words on both sides of it, where the text shows it.
    ///
    /// - A word that ends in a hyphen or dots is one with the first word of the next segment: of
    ///   the two halves, or the second alone where it begins with the first.
    /// - A word that is said again at once, without punctuation or a pause between, was cut in
    ///   two by the edge and heard twice: it stays once, and reaches over the edge. With a pause
    ///   or punctuation between, both stay.
    fn mend(&mut self, g: &mut Generation) {
        if !g.withheld.as_ref().is_some_and(|(_, edge)| {
            g.ready.front().is_some_and(|w| w.edge && g.segment_span(w.segment).0 >= *edge)
        }) {
            return;
        }
        let (Some((mut word, edge)), Some(next)) = (g.withheld.take(), g.ready.pop_front()) else {
            return;
        };
        let reach = |this: &Self| {
            let latest = edge.saturating_add(ACROSS).min(g.limit());
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
                g.ready.push_front(next);
            }
        } else if plain && normalised(&word.text) == normalised(&next.text) {
            word.end = reach(self);
            word.text = next.text;
        } else {
            g.ready.push_front(next);
        }
        g.waiting.push_back(word);
    }

    /// An empty delta may be the end of a segment's burst: its words are given out without
    /// waiting for the next one, but for the last, which may still grow.
    fn segment_seems_over(&mut self, g: &mut Generation) {
        let out = g.segments_out > g.segment;
        if !self.early || out || g.tagged == 0 || g.sent < (g.segment + 1).saturating_mul(SEGMENT) {
            return;
        }
        self.settle(g);
        let rest = g.splitter.peek();
        if g.ready.is_empty() && rest.is_empty() {
            return;
        }
        g.early = Some((g.segment, g.cuts.len() + rest.len()));
        if rest.last().is_some_and(|w| ends_sentence(&w.text)) || rest.is_empty() {
            g.flush();
        }
        let give = g.ready.len();
        let rest: Vec<Said> = g.splitter.peek().iter().map(|c| g.said(c)).collect();
        let words: Vec<Said> = g.ready.drain(..).chain(rest).collect();
        let (from, to) = g.segment_span(g.segment);
        let already = g.waiting.len();
        let span = (from.max(self.floor(g)), to);
        self.place_span(g, words, span, false);
        g.waiting.truncate(already + give);
        if g.splitter.is_empty() {
            g.early = None;
            g.segments_out = g.segment + 1;
            self.withhold(g, g.segment);
        }
    }

    /// Gives out the words that have times. `last`: no more will come, so there is no room to
    /// wait for.
    fn give(&mut self, g: &mut Generation, last: bool) {
        if let Some(heard) = &mut g.join {
            heard.extend(g.waiting.drain(..));
            let past = self.last_end.saturating_add(JOIN);
            let known = last
                || heard.last().is_some_and(|w| w.begin.midpoint(w.end) > past)
                || g.start.saturating_add(self.heard) > past;
            if !known {
                return;
            }
            let heard = g.join.take().unwrap_or_default();
            let repeated = join::repeated(self.last.iter(), &heard);
            g.waiting = heard.into_iter().skip(repeated).collect();
            g.before = g.before.saturating_sub(repeated);
        }
        let limit = g.limit();
        while let Some(mut word) = g.waiting.pop_front() {
            let floor = self.horizon.max(g.start);
            let room = limit.saturating_sub(floor);
            let after = g.waiting.len() as u64;
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
            self.give_word(word);
        }
    }

    fn give_word(&mut self, word: Word) {
        self.last_end = word.end;
        self.horizon = self.horizon.max(word.end);
        self.last.push_back(word.clone());
        if self.last.len() > join::REMEMBERED {
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

    /// What was heard, and how far no word can come any more.
    fn advance(&mut self, g: &mut Generation) {
        let idle = g.ready.is_empty()
            && g.waiting.is_empty()
            && g.withheld.is_none()
            && g.join.is_none()
            && g.splitter.is_empty();
        match self.cadence.clock() {
            Timing::Frames => {
                let k = self.cadence.deltas().saturating_sub(1);
                self.heard = k.saturating_mul(FRAME).min(g.sent);
                if idle && g.quiet > 0 {
                    // A mark may be a frame late.
                    let sure =
                        g.start.saturating_add(self.heard.saturating_sub(FRAME).min(g.samples()));
                    self.horizon = self.horizon.max(self.onset(sure));
                }
            }
            Timing::Segments => {
                self.heard = g.segments_out.saturating_mul(SEGMENT).min(g.sent);
                if g.waiting.is_empty() && g.withheld.is_none() && g.join.is_none() {
                    let (edge, _) = g.segment_span(g.segments_out);
                    self.horizon = self.horizon.max(edge);
                }
            }
            Timing::Auto | Timing::Utterance => self.heard = 0,
        }
        self.forget();
    }

    /// Where the speech under way at `sure` began, so that a word there may have begun; `sure`
    /// itself in a pause. Speech before a pause has had its words by then.
    fn onset(&self, sure: u64) -> u64 {
        let bound = sure.saturating_sub(BEHIND).max(self.horizon);
        let mut at = sure;
        let mut quiet = 0;
        while at > bound {
            let step = STEP.min(at - bound);
            at -= step;
            if self.sound.next_speech(at, at + step) < at + step {
                quiet = 0;
            } else {
                quiet += step;
                if quiet >= PAUSE {
                    let speech = at.saturating_add(quiet);
                    return if speech >= sure { sure } else { speech.saturating_sub(ONSET) };
                }
            }
        }
        // Quiet all the way: nothing since the last word.
        if at.saturating_add(quiet) >= sure { sure } else { bound }
    }

    fn resume_in(&self, g: &Generation) -> u64 {
        match self.cadence.clock() {
            Timing::Frames => {
                let heard = g.start.saturating_add(self.heard);
                let from = self.last_end.max(g.start);
                // What sounds on just behind a word is the word's own end.
                let tail = from.saturating_add(PAUSE);
                let safe = if g.join.is_some() || heard <= tail {
                    from
                } else {
                    let speech = self.sound.next_speech(tail, heard);
                    speech.max(heard.saturating_sub(RUT)).max(from)
                };
                self.before(safe, g.start)
            }
            Timing::Segments => {
                let whole = g.waiting.is_empty() && g.withheld.is_none() && g.join.is_none();
                let (edge, _) = g.segment_span(g.segments_out);
                if whole && self.last_end <= edge {
                    // Exact: nothing is heard twice.
                    edge.max(g.start)
                } else {
                    self.before(self.last_end, g.start)
                }
            }
            Timing::Auto | Timing::Utterance => g.start,
        }
    }

    /// A quiet place with enough context before `safe`.
    fn before(&self, safe: u64, start: u64) -> u64 {
        let from = safe.saturating_sub(CONTEXT.end).max(start);
        let to = safe.saturating_sub(CONTEXT.start).max(start);
        if from >= to { start.max(from) } else { self.sound.quietest(from, to).clamp(from, to) }
    }

    /// Lets go of sound that nobody will ask for.
    fn forget(&mut self) {
        let needed = self.resume_at().min(self.horizon);
        if needed >= self.forgotten.saturating_add(SAMPLE_RATE) {
            self.sound.forget_before(needed);
            self.forgotten = needed;
        }
    }

    fn partial(&mut self, g: &mut Generation) {
        let text = g.pending_text();
        if text == g.partial {
            return;
        }
        g.partial.clone_from(&text);
        if text.trim().is_empty() {
            return;
        }
        if matches!(self.out.back(), Some(Output::Partial(_))) {
            self.out.pop_back();
        }
        self.out.push_back(Output::Partial(text));
    }

    /// Settles the tail by the server's final text; tells the text where words that were given
    /// out differ from it.
    fn reconcile(&self, g: &mut Generation, text: &str) -> Option<String> {
        if text.len() as u64 > g.allowed() {
            // No speech is that long: the deltas stand.
            return None;
        }
        let mut tags = Tags::default();
        let mut splitter = Splitter::default();
        let mut done: Vec<(words::Cut, u64, bool)> = Vec::new();
        let (mut segment, mut tagged, mut edge) = (0, false, true);
        let mut items = tags.push(text);
        items.push_back(Item::Text(tags.flush()));
        let take = |cuts: Vec<words::Cut>, segment: u64, edge: &mut bool| -> Vec<_> {
            cuts.into_iter().map(|c| (c, segment, std::mem::take(edge))).collect()
        };
        for item in items {
            match item {
                Item::Text(t) => splitter.push(&t),
                Item::Tag(_) => {
                    done.extend(take(splitter.flush(), segment, &mut edge));
                    segment += u64::from(tagged);
                    tagged = true;
                    edge = true;
                    splitter.set_space(true);
                }
            }
        }
        done.extend(take(splitter.flush(), segment, &mut edge));
        if done.is_empty() {
            // The server does not tell, or heard nothing: what the deltas said stands.
            return None;
        }
        let given = g.cuts.len().saturating_sub(g.ready.len());
        if !g.is_all(text) {
            let name = |w: &str| normalised(w);
            let given_names: Vec<String> =
                g.cuts.iter().take(given).map(|(w, _)| name(w)).collect();
            let pending: Vec<String> = g.ready.iter().map(|w| name(&w.text)).collect();
            let names: Vec<String> = done.iter().map(|(c, _, _)| name(&c.text)).collect();
            let from = reconcile::split(&given_names, &pending, &names);
            let tail = names.get(from..).unwrap_or_default();
            let pairs = reconcile::pairs(&pending, tail);
            let old: Vec<Said> = g.ready.drain(..).collect();
            let mut near = old.first().cloned();
            for ((cut, segment, edge), pair) in done.iter().skip(from).zip(pairs) {
                let twin = pair.and_then(|i| old.get(i));
                if twin.is_some() {
                    near = twin.cloned();
                }
                g.ready.push_back(Said {
                    text: cut.text.clone(),
                    space_before: cut.space_before,
                    edge: *edge,
                    segment: *segment,
                    frame: twin.and_then(|w| w.frame),
                    confidence: twin.and_then(|w| w.confidence),
                    sent: g.sent,
                    letters: near.as_ref().map_or(0, |w| w.letters),
                });
            }
            g.cuts.truncate(given);
            g.cuts.extend(g.ready.iter().map(|w| (w.text.clone(), w.space_before)));
        }
        let plain =
            |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        let ours: String = g.cuts.iter().map(|(w, _)| plain(w)).collect();
        let theirs: String = done.iter().map(|(c, _, _)| plain(&c.text)).collect();
        if ours == theirs {
            return None;
        }
        let before = self.listed.iter().take(g.before).map(|w| (w.text.as_str(), w.space_before));
        let after = done.iter().map(|(c, _, edge)| (c.text.as_str(), c.space_before || *edge));
        Some(words::join(before.chain(after)))
    }
}

/// Whether text continues the word before it.
fn goes_on(text: &str) -> bool {
    text.chars()
        .find_map(clean)
        .is_some_and(|c| !matches!(class(c), Class::Space | Class::Unspaced))
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
