// SPDX-License-Identifier: MPL-2.0

//! One generation's text under way: from deltas to whole words that wait for their times.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use super::{
    Word,
    align::Bounds,
    clock::{Frame, SEGMENT},
    script,
    server_times::{ServerTimes, letters},
    tags::Tags,
    words::{Cut, Late, Splitter},
};

/// Text that waits, in bytes, at most.
const PENDING: usize = 64 * 1024;

/// Bytes of text for each second of audio at most, beside [`FREE`].
const PER_SECOND: u64 = 1024;

/// Bytes of text that any generation may have.
const FREE: u64 = 16 * 1024;

/// Samples sent between two bursts of text, at least.
const BURST: u64 = crate::SAMPLE_RATE / 2;

/// A delta's text in the stream of text.
#[derive(Debug, Clone)]
struct Mark {
    /// Its first character.
    at: u64,
    frame: Frame,
    /// Samples that were sent when it came, and at the end of the burst of text before.
    sent: u64,
    since: u64,
    logprob: Option<f64>,
}

/// A word that is whole and waits for its time.
#[derive(Debug, Clone)]
pub struct Said {
    pub text: String,
    pub space_before: bool,
    /// The first one of a generation or a segment.
    pub edge: bool,
    pub segment: u64,
    /// The frame of its first text.
    pub frame: Option<Frame>,
    pub confidence: Option<f32>,
    /// Samples that were sent when it came, and at the end of the burst of text before.
    pub sent: u64,
    pub since: u64,
    /// Letters of the generation before it.
    pub letters: u64,
}

#[derive(Debug)]
pub struct Generation {
    pub start: u64,
    /// Samples sent so far, padding included.
    pub sent: u64,
    /// Where its audio ends, once the final commit was sent.
    pub end: Option<u64>,
    pub padding: u64,
    /// All its text is there.
    pub over: bool,
    pub tags: Tags,
    pub splitter: Splitter,
    marks: VecDeque<Mark>,
    /// Whole words without times.
    pub ready: VecDeque<Said>,
    /// All words so far, as they were cut.
    pub cuts: Vec<(String, bool)>,
    letters: u64,
    /// Samples that were sent when the last text came, and at the end of the burst before it.
    pub said_at: u64,
    since: u64,
    /// Samples of its audio that were there when it began.
    pub waited: u64,
    /// Segment under way; tags so far.
    pub segment: u64,
    pub tagged: u64,
    /// Segments whose words are all out.
    pub segments_out: u64,
    /// Words that the segment under way had when it seemed over.
    pub early: Option<(u64, usize)>,
    edge: bool,
    pub told: ServerTimes,
    /// Words heard again after a failure, until it is known which of them are new.
    pub join: Option<Vec<Word>>,
    /// End of the last word that was placed.
    pub placed: u64,
    /// The bounds of the last ones.
    pub neighbours: VecDeque<Bounds>,
    /// Words with times that wait: for audio to lie in, ...
    pub waiting: VecDeque<Word>,
    /// ... or for the next segment's first word.
    pub withheld: Option<(Word, u64)>,
    /// What closes the last word that was given out.
    pub late: Option<Late>,
    /// Empty deltas since the last text.
    pub quiet: u64,
    /// Whether the last word was given out because of them.
    pub flushed: bool,
    /// Empty deltas right before the next one, as [`Frame`] counts them.
    empty: u64,
    pub any_text: bool,
    bytes: u64,
    digest: DefaultHasher,
    pub overrun: Option<String>,
    /// Words of the utterance given out before this generation.
    pub before: usize,
    /// Some words found no room, or were mended.
    pub lost: bool,
    pub partial: String,
}

impl Generation {
    pub fn new(start: u64, join: bool, before: usize) -> Self {
        Generation {
            start,
            sent: 0,
            end: None,
            padding: 0,
            over: false,
            tags: Tags::default(),
            splitter: Splitter::default(),
            marks: VecDeque::new(),
            ready: VecDeque::new(),
            cuts: Vec::new(),
            letters: 0,
            said_at: 0,
            since: 0,
            waited: 0,
            segment: 0,
            tagged: 0,
            segments_out: 0,
            early: None,
            edge: true,
            told: ServerTimes::default(),
            join: join.then(Vec::new),
            placed: 0,
            neighbours: VecDeque::new(),
            waiting: VecDeque::new(),
            withheld: None,
            late: None,
            quiet: 0,
            flushed: false,
            empty: 2,
            any_text: false,
            bytes: 0,
            digest: DefaultHasher::new(),
            overrun: None,
            before,
            lost: false,
            partial: String::new(),
        }
    }

    /// Samples of audio without the padding.
    pub fn samples(&self) -> u64 {
        match self.end {
            Some(end) => end.saturating_sub(self.start),
            None => self.sent.saturating_sub(self.padding),
        }
    }

    /// No word ends behind this position.
    pub fn limit(&self) -> u64 {
        self.start.saturating_add(self.samples())
    }

    /// Counts a delta's text in. Whether it may be taken.
    pub fn admit(&mut self, text: &str) -> bool {
        self.digest.write(text.as_bytes());
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.overrun.is_some() {
            return false;
        }
        let seconds = self.sent / crate::SAMPLE_RATE;
        let allowed = self.allowed();
        let pending = self.pending_bytes().saturating_add(text.len());
        if self.bytes > allowed {
            self.overrun = Some(format!(
                "the server sent {} bytes of text for {seconds} s of audio; {allowed} are allowed",
                self.bytes
            ));
        } else if pending > PENDING {
            self.overrun =
                Some(format!("{pending} bytes of text wait for their end; {PENDING} are allowed"));
        }
        self.overrun.is_none()
    }

    /// Bytes of text that so much audio can have.
    pub fn allowed(&self) -> u64 {
        FREE.saturating_add((self.sent / crate::SAMPLE_RATE).saturating_mul(PER_SECOND))
    }

    fn pending_bytes(&self) -> usize {
        self.ready.iter().map(|w| w.text.len()).sum::<usize>()
            + self.waiting.iter().map(|w| w.text.len()).sum::<usize>()
            + self.join.iter().flatten().map(|w| w.text.len()).sum::<usize>()
    }

    /// Whether `text` is all that came in deltas.
    pub fn is_all(&self, text: &str) -> bool {
        let mut digest = DefaultHasher::new();
        digest.write(text.as_bytes());
        self.bytes == text.len() as u64 && self.digest.finish() == digest.finish()
    }

    /// Takes text that is no tag. `k`, `more`: as [`Frame`] has them.
    pub fn text(&mut self, text: &str, (k, more): (u64, u64), logprob: Option<f64>) {
        if text.is_empty() {
            return;
        }
        if self.sent.saturating_sub(self.said_at) > BURST {
            self.since = self.said_at;
        }
        self.said_at = self.sent;
        let settled = self.splitter.settled();
        while self.marks.get(1).is_some_and(|m| m.at <= settled) {
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|m| m.frame.k != k) {
            self.marks.push_back(Mark {
                at: self.splitter.position(),
                frame: Frame { k, more, empty: self.empty },
                sent: self.sent,
                since: self.since,
                logprob: logprob.filter(|l| !l.is_nan()),
            });
        }
        self.splitter.push(text);
        let cuts = self.splitter.take();
        self.whole(cuts);
    }

    /// Notes whether the delta was empty, after its text was taken.
    pub fn note_empty(&mut self, empty: bool) {
        self.empty = if empty { 2.min(self.empty + 1) } else { 0 };
    }

    /// The text so far is complete: all of it becomes words.
    pub fn flush(&mut self) {
        let cuts = self.splitter.flush();
        self.whole(cuts);
    }

    /// A segment ends, another begins.
    pub fn next_segment(&mut self) {
        self.flush();
        if self.tagged > 0 {
            self.segment += 1;
        }
        self.tagged += 1;
        self.edge = true;
        self.splitter.set_space(true);
    }

    fn whole(&mut self, cuts: Vec<Cut>) {
        if let Some(late) = self.splitter.take_late() {
            self.close_last(late);
        }
        for cut in cuts {
            let said = self.said(&cut);
            self.letters += letters(&cut.text);
            self.edge = false;
            self.cuts.push((cut.text, said.space_before));
            self.ready.push_back(said);
        }
    }

    /// A mark that comes late joins its word while that is still inside.
    fn close_last(&mut self, late: Late) {
        if let Some((cut, _)) = self.cuts.last_mut() {
            late.close(cut);
        }
        let withheld = self.withheld.as_mut().map(|(word, _)| word);
        let heard = self.join.as_mut().and_then(|j| j.last_mut());
        let placed = withheld.or(self.waiting.back_mut()).or(heard).map(|w| &mut w.text);
        match self.ready.back_mut().map(|w| &mut w.text).or(placed) {
            Some(word) => late.close(word),
            None => self.late = Some(late),
        }
    }

    /// The word with what is known of it.
    pub fn said(&self, cut: &Cut) -> Said {
        let marks: Vec<&Mark> = self
            .marks
            .iter()
            .enumerate()
            .filter(|(i, m)| {
                let end = self.marks.get(i + 1).map_or(u64::MAX, |n| n.at);
                m.at < cut.to && end > cut.from
            })
            .map(|(_, m)| m)
            .collect();
        let probs: Vec<f64> = marks.iter().filter_map(|m| m.logprob).collect();
        let confidence = (!probs.is_empty())
            .then(|| (probs.iter().sum::<f64>() / probs.len() as f64).exp().clamp(0.0, 1.0) as f32);
        let frame = marks.first().map(|m| m.frame);
        Said {
            text: cut.text.clone(),
            space_before: cut.space_before,
            edge: self.edge,
            segment: self.segment,
            frame,
            confidence,
            sent: marks.last().map_or(self.sent, |m| m.sent),
            since: marks.first().map_or(0, |m| m.since),
            letters: self.letters,
        }
    }

    /// The word under way: its text so far, and its frame.
    pub fn under_way(&self) -> Option<(String, Frame)> {
        let from = self.splitter.settled();
        let mark = self.marks.iter().rev().find(|m| m.at <= from)?;
        let text = self.splitter.peek().into_iter().next()?.text;
        Some((text, mark.frame))
    }

    /// Bounds of a word by what the server told, within the clock's.
    pub fn told_bounds(&self, word: &Said, bounds: &mut Bounds) {
        if self.told.is_empty() {
            return;
        }
        let to = word.letters + letters(&word.text);
        let (earliest, latest) = self.told.bounds(word.letters, to);
        let at = |n: u64| self.start.saturating_add(n);
        if let Some(e) = earliest.map(at).filter(|e| *e < bounds.latest) {
            bounds.earliest = bounds.earliest.max(e);
            bounds.end_after = bounds.end_after.max(bounds.earliest);
        }
        if let Some(l) = latest.map(at).filter(|l| *l > bounds.earliest) {
            bounds.latest = bounds.latest.min(l);
            bounds.end_after = bounds.end_after.min(bounds.latest);
        }
    }

    /// Where a segment lies.
    pub fn segment_span(&self, segment: u64) -> (u64, u64) {
        let at = |n: u64| self.start.saturating_add(n.saturating_mul(SEGMENT)).min(self.limit());
        (at(segment), at(segment.saturating_add(1)))
    }

    /// The text that may still grow.
    pub fn pending_text(&self) -> String {
        let mut text = String::new();
        let mut add = |word: &str, space: bool| {
            if space && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        };
        if let Some((word, _)) = &self.withheld {
            add(&word.text, word.space_before);
        }
        for word in &self.waiting {
            add(&word.text, word.space_before);
        }
        let mut before = String::new();
        for word in &self.ready {
            let space = if word.edge {
                script::space_between(&before, &word.text)
            } else {
                word.space_before
            };
            add(&word.text, space);
            before.clone_from(&word.text);
        }
        for cut in self.splitter.peek() {
            add(&cut.text, cut.space_before);
        }
        text
    }
}
