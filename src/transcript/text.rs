// SPDX-License-Identifier: MPL-2.0

//! One generation's text: from deltas to whole words that wait for their times.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

mod reconcile;

use super::{
    clock::Frame,
    generation::SampleInGeneration,
    script::space_between,
    server_times::letters,
    tags::{Item, Tags},
    words::{self, Late, Piece, Splitter},
};
use crate::{Length, SAMPLE_RATE};

/// Text that waits, in bytes, at most.
const PENDING: usize = 64 * 1024;

/// Bytes of text for each second of audio at most, beside [`FREE`].
const PER_SECOND: u64 = 1024;

/// Bytes of text that any generation may have.
const FREE: u64 = 16 * 1024;

/// Audio sent between two bursts of text, at least.
const BURST: Length = Length::of_ms(500);

/// A delta's text in the stream of text.
#[derive(Debug, Clone)]
struct Mark {
    /// Its first character.
    at: u64,
    frame: Frame,
    /// What was sent when it came, and at the end of the burst of text before.
    sent: SampleInGeneration,
    since: SampleInGeneration,
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
    /// What was sent when it came, and at the end of the burst of text before.
    pub sent: SampleInGeneration,
    pub since: SampleInGeneration,
    /// Letters of the generation before it.
    pub letters: u64,
}

/// A generation's text under way.
#[derive(Debug)]
pub struct Text {
    tags: Tags,
    splitter: Splitter,
    marks: VecDeque<Mark>,
    /// Whole words without times.
    ready: VecDeque<Said>,
    /// All words so far, as they were cut: text, and whether a space is before it.
    cuts: Vec<(String, bool)>,
    letters: u64,
    /// What was sent when the last text came, and at the end of the burst before it.
    said_at: SampleInGeneration,
    since: SampleInGeneration,
    /// Tags so far: each begins a segment.
    tagged: u64,
    /// What comes next is the first word of a generation or a segment.
    edge: bool,
    /// Empty deltas since the last text.
    quiet: u64,
    /// Whether the last word was taken for whole because of them.
    flushed: bool,
    /// Empty deltas right before the next one, as [`Frame`] counts them.
    empty: u64,
    begun: bool,
    bytes: u64,
    digest: DefaultHasher,
    overrun: Option<String>,
    /// What closes the last word that was taken.
    late: Vec<Late>,
}

impl Default for Text {
    fn default() -> Text {
        Text {
            tags: Tags::default(),
            splitter: Splitter::default(),
            marks: VecDeque::new(),
            ready: VecDeque::new(),
            cuts: Vec::new(),
            letters: 0,
            said_at: SampleInGeneration::START,
            since: SampleInGeneration::START,
            tagged: 0,
            edge: true,
            quiet: 0,
            flushed: false,
            empty: 2,
            begun: false,
            bytes: 0,
            digest: DefaultHasher::new(),
            overrun: None,
            late: Vec::new(),
        }
    }
}

impl Text {
    /// Counts a delta's text in; so much was sent, `waiting` bytes have no place yet. What
    /// of it may be taken: nothing once it is more than speech can be.
    pub fn admit<'a>(
        &mut self,
        text: &'a str,
        sent: SampleInGeneration,
        waiting: usize,
    ) -> &'a str {
        self.digest.write(text.as_bytes());
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.overrun.is_some() {
            return "";
        }
        let (bytes, allowed) = (self.bytes, allowed(sent));
        let pending = self.ready.iter().map(|w| w.text.len()).sum::<usize>();
        let pending = pending.saturating_add(waiting).saturating_add(text.len());
        if bytes > allowed {
            let seconds = sent.samples() / SAMPLE_RATE;
            self.overrun = Some(format!(
                "the server sent {bytes} bytes of text for {seconds} s of audio; {allowed} are allowed"
            ));
        } else if pending > PENDING {
            self.overrun =
                Some(format!("{pending} bytes of text wait for their end; {PENDING} are allowed"));
        }
        if self.overrun.is_none() { text } else { "" }
    }

    /// Why the text is more than speech can be, once it is.
    pub fn overrun(&self) -> Option<&str> {
        self.overrun.as_deref()
    }

    /// Text and tags of a delta. A tag is looked for where one may come: at the beginning, and
    /// `with_tags`.
    pub fn items(&mut self, text: &str, with_tags: bool) -> VecDeque<Item> {
        if self.begun && !with_tags {
            return VecDeque::from([Item::Text(text.to_owned())]);
        }
        self.tags.push(text)
    }

    /// Whether these first items may yet turn out to be a tag, or are one.
    pub fn may_be_tag(&self, items: &VecDeque<Item>) -> bool {
        let any_text = items.iter().any(|i| matches!(i, Item::Text(_)));
        let undecided = !self.begun && self.is_in_tag() && !any_text;
        undecided || matches!(items.front(), Some(Item::Tag(_)))
    }

    /// What might begin a tag is held back.
    pub fn is_in_tag(&self) -> bool {
        !self.tags.held().is_empty()
    }

    /// What was held back was no tag.
    pub fn no_tag(&mut self) -> String {
        self.tags.flush()
    }

    /// Whether there was any text, or a tag.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes text that is no tag. `k`, `more`: as [`Frame`] has them; so much was sent.
    pub fn push(
        &mut self,
        text: &str,
        (k, more): (u64, u64),
        sent: SampleInGeneration,
        logprob: Option<f64>,
    ) {
        self.begun |= !text.trim().is_empty();
        if text.is_empty() {
            return;
        }
        self.flushed = false;
        if sent - self.said_at > BURST {
            self.since = self.said_at;
        }
        self.said_at = sent;
        let settled = self.splitter.settled();
        while self.marks.get(1).is_some_and(|m| m.at <= settled) {
            self.marks.pop_front();
        }
        if self.marks.back().is_none_or(|m| m.frame.k != k) {
            self.marks.push_back(Mark {
                at: self.splitter.position(),
                frame: Frame { k, more, empty: self.empty },
                sent,
                since: self.since,
                logprob: logprob.filter(|l| !l.is_nan()),
            });
        }
        self.splitter.push(text);
        let pieces = self.splitter.take();
        self.whole(pieces);
    }

    /// Whether `text` goes on with a word that was taken for whole because of an empty delta.
    pub fn goes_on_with(&self, text: &str) -> bool {
        self.quiet == 1 && self.flushed && words::goes_on(text)
    }

    /// Notes whether a delta was empty, after its text was taken.
    pub fn note_empty(&mut self, empty: bool) {
        self.empty = if empty { 2.min(self.empty + 1) } else { 0 };
        self.quiet = if empty { self.quiet.saturating_add(1) } else { 0 };
    }

    /// Empty deltas since the last text.
    pub fn quiet(&self) -> u64 {
        self.quiet
    }

    /// What was sent when the last text came.
    pub fn said_at(&self) -> SampleInGeneration {
        self.said_at
    }

    /// The text so far is complete: all of it becomes words.
    pub fn complete(&mut self) {
        let pieces = self.splitter.flush();
        self.whole(pieces);
    }

    /// Whether the last word has space behind it.
    pub fn ends_in_space(&self) -> bool {
        self.splitter.ends_in_space()
    }

    /// As [`Text::complete`], because of an empty delta: the last word may yet go on.
    pub fn complete_for_now(&mut self) {
        self.complete();
        self.flushed = true;
    }

    /// A tag: a segment ends, another begins.
    pub fn next_segment(&mut self) {
        self.begun = true;
        self.complete();
        self.tagged += 1;
        self.edge = true;
        self.splitter.set_space(true);
    }

    /// The segment under way.
    pub fn segment(&self) -> u64 {
        self.tagged.saturating_sub(1)
    }

    pub fn is_tagged(&self) -> bool {
        self.tagged > 0
    }

    fn whole(&mut self, pieces: Vec<Piece>) {
        if let Some(late) = self.splitter.take_late() {
            if let Some((piece, _)) = self.cuts.last_mut() {
                late.close(piece);
            }
            match self.ready.back_mut() {
                Some(word) => late.close(&mut word.text),
                None => self.late.push(late),
            }
        }
        for piece in pieces {
            let said = self.said(&piece);
            self.letters += letters(&piece.text);
            self.edge = false;
            self.cuts.push((piece.text, said.space_before));
            self.ready.push_back(said);
        }
    }

    /// What closes the last word that was taken.
    pub fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }

    /// Whole words that were not taken yet.
    pub fn ready(&self) -> &VecDeque<Said> {
        &self.ready
    }

    /// Takes the first words that are whole.
    pub fn take(&mut self, count: usize) -> Vec<Said> {
        self.ready.drain(..count.min(self.ready.len())).collect()
    }

    /// Takes all words that are whole.
    pub fn take_all(&mut self) -> Vec<Said> {
        self.ready.drain(..).collect()
    }

    /// A word that was taken and stays.
    pub fn put_back(&mut self, word: Said) {
        self.ready.push_front(word);
    }

    /// All words so far, and those that were taken.
    pub fn words(&self) -> &[(String, bool)] {
        &self.cuts
    }

    pub fn taken(&self) -> &[(String, bool)] {
        &self.cuts[..self.cuts.len().saturating_sub(self.ready.len())]
    }

    /// Whether there is text of which no word is whole.
    pub fn has_rest(&self) -> bool {
        !self.splitter.is_empty()
    }

    /// The words of that text, were it complete.
    pub fn rest(&self) -> Vec<Said> {
        self.splitter.peek().iter().map(|piece| self.said(piece)).collect()
    }

    /// The word with what is known of it.
    fn said(&self, piece: &Piece) -> Said {
        let ends = self.marks.iter().skip(1).map(|m| m.at).chain([u64::MAX]);
        let marks = self.marks.iter().zip(ends);
        let marks = marks.filter(|(m, end)| m.at < piece.to && *end > piece.from).map(|(m, _)| m);
        let marks: Vec<&Mark> = marks.collect();
        let probs: Vec<f64> = marks.iter().filter_map(|m| m.logprob).collect();
        let mean = probs.iter().sum::<f64>() / probs.len() as f64;
        Said {
            text: piece.text.clone(),
            space_before: piece.space_before,
            edge: self.edge,
            segment: self.segment(),
            frame: marks.first().map(|m| m.frame),
            confidence: (!probs.is_empty()).then(|| mean.exp().clamp(0.0, 1.0) as f32),
            sent: marks.last().map_or(self.said_at, |m| m.sent),
            since: marks.first().map_or(SampleInGeneration::START, |m| m.since),
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

    /// Adds the text that may still grow.
    pub fn add_to(&self, text: &mut String) {
        let mut before = "";
        for word in &self.ready {
            let space =
                if word.edge { space_between(before, &word.text) } else { word.space_before };
            words::add(text, &word.text, space);
            before = &word.text;
        }
        for piece in self.splitter.peek() {
            words::add(text, &piece.text, piece.space_before);
        }
    }
}

/// Bytes of text that so much audio can have.
fn allowed(sent: SampleInGeneration) -> u64 {
    FREE.saturating_add((sent.samples() / SAMPLE_RATE).saturating_mul(PER_SECOND))
}
