// SPDX-License-Identifier: MPL-2.0

//! One order for what the session says and for the serialized events of the stream: an event
//! goes out after the words spoken before it and before the words spoken after it.
//!
//! No thread waits here. An event that cannot go yet is kept, until the session's outputs, on
//! the client's thread, have passed it.

use std::collections::VecDeque;

use super::messages::{self, Span};
use super::output::{Item, Spoken};
use crate::realtime::{ConnectionState, Error, Output};
use crate::timeline::Timeline;
use crate::transcript::{self, Correction, Utterance, Word};

/// Discontinuities that are remembered until a word passes them: beyond it the oldest is
/// forgotten, and with it one DISCONT flag.
const MAX_BREAKS: usize = 1024;

/// How long ago (in samples, 30 min) times are still asked for while no utterance ends.
const TIMES_KEPT: u64 = 1800 * crate::SAMPLE_RATE;

/// Marks that leave alone, at the end of the stream, last so long.
const MARKS_SHOWN: gst::ClockTime = gst::ClockTime::from_mseconds(80);

/// Punctuation whose word was out, for the buffer of the next one.
#[derive(Debug)]
struct LateMarks {
    marks: String,
    pts: gst::ClockTime,
}

/// When an event may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When no word from before this position is still to come.
    Position(u64),
    /// When the drain with this number is over; it was asked for at `position`.
    Drained { number: u64, position: u64 },
}

/// An event of the stream.
#[derive(Debug)]
pub enum Control {
    Event(gst::Event),
    Segment(Box<Segments>, gst::Event),
    Eos(gst::Event),
}

/// The segment of the input, in which words get their times, and that of the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments {
    pub input: gst::FormattedSegment<gst::ClockTime>,
    pub output: gst::FormattedSegment<gst::ClockTime>,
}

/// What is to be told once no lock is held.
#[derive(Debug)]
pub enum Effect {
    Message(gst::Structure),
    Warning(String),
    /// And what the server itself said.
    ServerWarning {
        text: String,
        server_text: String,
    },
    Connection {
        state: ConnectionState,
        server: String,
        reason: String,
    },
    /// A word has arrived that began at this position, at this running time of the input.
    Observed {
        position: u64,
        spoken: gst::ClockTime,
    },
    /// The session is over: an ERROR is due.
    Failed(Error),
}

/// How far the news of the session's failure has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    None,
    /// The ERROR message is under way: nothing that could end the pipeline may overtake it.
    Pending,
    Posted,
}

#[derive(Debug)]
pub struct Sequencer {
    timeline: Timeline,
    /// Property `timing-offset`, in ns: added where positions become times, and nowhere else.
    offset: i64,
    segments: Option<Segments>,
    /// Events not yet due, in the order of the stream. Bounded by what upstream sends while the
    /// session answers; the audio in between is bounded, so this is in any sane stream.
    waiting: VecDeque<(When, Control)>,
    horizon: u64,
    /// Number of the last drain that is over.
    drained: Option<u64>,
    /// Outputs are from before the flush; and the flush whose end is waited for, once known.
    flushing: bool,
    flush: Option<u64>,
    flushed: Option<u64>,
    failure: Failure,
    /// Positions at which the time broke off and no word has passed yet.
    breaks: VecDeque<u64>,
    discont: bool,
    /// Tags of the stream itself, with the language merged in.
    tags: Option<gst::TagList>,
    language: Option<String>,
    partial: String,
    late_marks: Option<LateMarks>,
    /// Who speaks, as the stream said.
    speaker: Option<String>,
    /// Audio was given up since the last word, and a WARNING told so: a long outage is not told
    /// second by second.
    losing: bool,
}

impl Sequencer {
    /// `language`: ISO 639 code that the user expects. `offset`: added to all times of words, in
    /// ns.
    pub fn new(language: Option<String>, offset: i64) -> Self {
        Sequencer {
            timeline: Timeline::default(),
            offset,
            segments: None,
            waiting: VecDeque::new(),
            horizon: 0,
            drained: None,
            flushing: false,
            flush: None,
            flushed: None,
            failure: Failure::None,
            breaks: VecDeque::new(),
            discont: true,
            tags: None,
            language,
            partial: String::new(),
            late_marks: None,
            speaker: None,
            losing: false,
        }
    }

    /// From `position` on the audio has these times.
    pub fn anchor(&mut self, position: u64, pts: u64, jump: bool) {
        self.timeline.anchor(position, pts);
        if jump {
            if self.breaks.len() >= MAX_BREAKS {
                self.breaks.pop_front();
            }
            self.breaks.push_back(position);
        }
    }

    /// An event of the stream: goes out now or when its time comes.
    pub fn control(&mut self, when: When, control: Control, items: &mut Vec<Item>) {
        self.waiting.push_back((when, control));
        self.release(items);
    }

    /// Tags from upstream, and the language if it is known.
    pub fn tag_event(&mut self, event: &gst::event::Tag) -> Option<gst::Event> {
        let tags = event.tag_owned();
        if tags.scope() != gst::TagScope::Stream {
            return None;
        }
        self.tags = Some(tags);
        self.language_event()
    }

    /// The TAG event that tells the language; `None` where it is not known.
    pub fn language_event(&self) -> Option<gst::Event> {
        let language = self.language.as_deref()?;
        let mut tags = self.tags.clone().unwrap_or_default();
        {
            let tags = tags.make_mut();
            tags.set_scope(gst::TagScope::Stream);
            tags.add::<gst::tags::LanguageCode>(&language, gst::TagMergeMode::Replace);
        }
        Some(gst::event::Tag::new(tags))
    }

    /// Something of the session. Returns what to tell; `items` are for the output queue.
    pub fn output(&mut self, output: Output, items: &mut Vec<Item>, effects: &mut Vec<Effect>) {
        match output {
            Output::Connection { state, server, reason } => {
                effects.push(Effect::Connection { state, server, reason });
            }
            Output::Warning(text) => effects.push(Effect::Warning(text)),
            Output::ServerWarning { text, server_text } => {
                effects.push(Effect::ServerWarning { text, server_text });
            }
            Output::Failed(error) => {
                if self.failure == Failure::None {
                    self.failure = Failure::Pending;
                    effects.push(Effect::Failed(error));
                }
            }
            Output::Flushed(number) => {
                self.flushed = self.flushed.max(Some(number));
                self.end_flush();
            }
            Output::Drained(number) => {
                self.drained = self.drained.max(Some(number));
                self.release(items);
            }
            _ if self.flushing => {}
            Output::Horizon(position) => self.horizon_to(position, items),
            Output::Dropped { begin, end, reason } => {
                self.discont = true;
                let span = self.span(begin, end);
                effects.push(Effect::Message(messages::dropped(&span, &reason)));
                if !std::mem::replace(&mut self.losing, true) {
                    effects.push(Effect::Warning(format!(
                        "Audio from {} on is given up and has no words: {reason}. Messages vllmrealtimeasr/dropped and property stats tell how much.",
                        span.start
                    )));
                }
            }
            Output::Transcript(output) => self.transcript(output, items, effects),
        }
    }

    fn transcript(
        &mut self,
        output: transcript::Output,
        items: &mut Vec<Item>,
        effects: &mut Vec<Effect>,
    ) {
        match output {
            transcript::Output::Word(word) => self.word(&word, items, effects),
            transcript::Output::Partial(text) => {
                if text != self.partial {
                    effects.push(Effect::Message(messages::partial(&text)));
                    self.partial = text;
                }
            }
            transcript::Output::Correction(Correction { word, marks }) => {
                let span = self.span(word.begin, word.end);
                let speaker = self.speaker.as_deref();
                effects.push(Effect::Message(messages::correction(&word, &span, speaker)));
                let late = LateMarks { marks: String::new(), pts: span.end };
                self.late_marks.get_or_insert(late).marks += &marks;
            }
            transcript::Output::Utterance(utterance) => self.utterance(&utterance, items, effects),
            transcript::Output::Language(code) => {
                effects.push(Effect::Message(messages::language(&code)));
                if self.language.as_deref() != Some(&code) {
                    self.language = Some(code);
                    items.extend(self.language_event().map(Item::Event));
                }
            }
            transcript::Output::ClockFellBack { from, to, why } => {
                // The session's own warning comes beside it.
                effects.push(Effect::Message(messages::clock(from, to, &why)));
            }
        }
    }

    fn word(&mut self, word: &Word, items: &mut Vec<Item>, effects: &mut Vec<Effect>) {
        // Words come in order: what stands before this one has no other word before it.
        self.raise_horizon(word.begin);
        self.release(items);
        self.losing = false;
        while self.breaks.front().is_some_and(|b| *b <= word.begin) {
            self.breaks.pop_front();
            self.discont = true;
        }
        let span = self.span(word.begin, word.end);
        let position = word.begin;
        effects.extend(span.running_time.map(|spoken| Effect::Observed { position, spoken }));
        effects.push(Effect::Message(messages::word(word, &span, self.speaker.as_deref())));
        self.partial.clear();
        if word.text.trim().is_empty() {
            return;
        }
        let mut text = word.text.trim().to_owned();
        let mut space_before = word.space_before;
        if let Some(late) = self.late_marks.take() {
            let space = if space_before { " " } else { "" };
            text = late.marks + space + &text;
            space_before = false;
        }
        items.push(Item::Word(Spoken {
            text,
            pts: span.start,
            end: span.end,
            discont: std::mem::take(&mut self.discont),
            space_before,
            speaker: self.speaker.clone(),
        }));
    }

    /// No word is to come that they could stand before.
    fn give_late_marks(&mut self, items: &mut Vec<Item>) {
        let Some(late) = self.late_marks.take() else { return };
        items.push(Item::Word(Spoken {
            text: late.marks,
            pts: late.pts,
            end: late.pts.saturating_add(MARKS_SHOWN),
            discont: false,
            space_before: false,
            speaker: self.speaker.clone(),
        }));
    }

    fn utterance(
        &mut self,
        utterance: &Utterance,
        items: &mut Vec<Item>,
        effects: &mut Vec<Effect>,
    ) {
        let span = self.span(utterance.begin, utterance.end);
        let speaker = self.speaker.as_deref();
        let words =
            utterance.words.iter().map(|w| messages::word(w, &self.span(w.begin, w.end), speaker));
        effects.push(Effect::Message(messages::utterance(
            utterance,
            &span,
            speaker,
            words.collect::<Vec<_>>(),
        )));
        self.partial.clear();
        if !utterance.words.is_empty() {
            items.push(Item::Final);
        }
        self.timeline.forget_before(utterance.end);
    }

    fn horizon_to(&mut self, position: u64, items: &mut Vec<Item>) {
        self.raise_horizon(position);
        self.release(items);
        // The time before a step forward, the time after a step back.
        let time = match (self.timeline.pts(self.horizon), self.timeline.pts_end(self.horizon)) {
            (Some(a), Some(b)) => a.min(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => return,
        };
        items.push(Item::Gap { until: self.shown_at(time) });
        self.timeline.forget_before(self.horizon.saturating_sub(TIMES_KEPT));
    }

    fn raise_horizon(&mut self, position: u64) {
        self.horizon = self.horizon.max(position);
    }

    /// Moves the events that are due from `waiting` to `items`.
    fn release(&mut self, items: &mut Vec<Item>) {
        // A drain that is over lets everything before it go too; a session that has failed answers
        // no drain.
        let due = match self.failure {
            Failure::Posted => self.waiting.len(),
            Failure::Pending => 0,
            Failure::None => self
                .waiting
                .iter()
                .rposition(|(when, _)| match when {
                    When::Drained { number, .. } => Some(*number) <= self.drained,
                    When::Position(_) => false,
                })
                .map_or(0, |last| last + 1),
        };
        for _ in 0..due {
            self.release_first(items);
        }
        while let Some((When::Position(position), control)) = self.waiting.front() {
            let ends = matches!(control, Control::Eos(_)) && self.failure == Failure::Pending;
            if ends || *position > self.horizon {
                break;
            }
            self.release_first(items);
        }
    }

    fn release_first(&mut self, items: &mut Vec<Item>) {
        let Some((when, control)) = self.waiting.pop_front() else { return };
        if matches!(control, Control::Eos(_) | Control::Segment(..)) {
            self.give_late_marks(items);
        }
        if let When::Drained { position, .. } = when {
            self.raise_horizon(position);
            if let Some(time) = self.timeline.pts_end(position) {
                // No word comes any more, wherever it would be shown.
                let heard = gst::ClockTime::from_nseconds(time);
                items.push(Item::Gap { until: self.shown_at(time).max(heard) });
            }
            self.timeline.forget_before(position);
        }
        items.push(match control {
            Control::Event(event) => {
                if let Some(speaker) = messages::speaker_change(&event) {
                    self.speaker = speaker;
                }
                Item::Event(event)
            }
            Control::Eos(event) => Item::Eos(event),
            Control::Segment(segments, event) => {
                let output = segments.output.clone();
                self.segments = Some(*segments);
                self.discont = true;
                self.breaks.clear();
                Item::Segment(output, event)
            }
        });
    }

    /// The time (ns) with the offset.
    fn shown_at(&self, time: u64) -> gst::ClockTime {
        let time = time.saturating_add_signed(self.offset);
        gst::ClockTime::try_from(time).unwrap_or(gst::ClockTime::MAX)
    }

    /// Times of the positions from `begin` to `end`, within the segment.
    fn span(&self, begin: u64, end: u64) -> Span {
        let segment = self.segments.as_ref().map(|s| &s.input);
        let start_of_segment = segment.and_then(|s| s.start()).unwrap_or(gst::ClockTime::ZERO);
        let stop_of_segment = segment.and_then(|s| s.stop()).unwrap_or(gst::ClockTime::MAX);
        let within =
            |t: gst::ClockTime| t.clamp(start_of_segment, stop_of_segment.max(start_of_segment));
        let time = |ns: Option<u64>| ns.map(|ns| self.shown_at(ns));
        let start = within(time(self.timeline.pts(begin)).unwrap_or(start_of_segment));
        let end = within(time(self.timeline.pts_end(end)).unwrap_or(start)).max(start);
        Span {
            start,
            end,
            running_time: segment.and_then(|s| s.to_running_time(start)),
            stream_time: segment.and_then(|s| s.to_stream_time(start)),
        }
    }

    /// From now on outputs are of no interest, until the flush is over. Its number is told by
    /// [`Sequencer::flush_is`].
    pub fn begin_flush(&mut self) {
        self.flushing = true;
        self.flush = None;
    }

    /// The number of the flush, whose end may be here already.
    pub fn flush_is(&mut self, number: u64) {
        self.flush = Some(number);
        self.end_flush();
    }

    fn end_flush(&mut self) {
        if self.flush.is_some() && self.flush <= self.flushed {
            self.flushing = false;
            self.flush = None;
        }
    }

    /// FLUSH_STOP: everything begins anew at `position`. Returns the events that waited.
    pub fn restart(&mut self, position: u64) -> Vec<gst::Event> {
        self.segments = None;
        self.horizon = self.horizon.max(position);
        self.breaks.clear();
        self.discont = true;
        self.partial.clear();
        self.late_marks = None;
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(_, control)| match control {
                Control::Event(e) | Control::Segment(_, e) | Control::Eos(e) => e,
            })
            .collect()
    }

    /// Whether words of audio before `position` may be to come.
    pub fn awaits_words(&self, position: u64) -> bool {
        self.horizon < position
    }

    /// Whether the session has failed.
    pub fn failed(&self) -> bool {
        self.failure != Failure::None
    }

    /// Whether the session has failed and the user was told.
    pub fn failure_posted(&self) -> bool {
        self.failure == Failure::Posted
    }

    /// The user was told of the failure: EOS may go.
    pub fn set_failure_posted(&mut self, items: &mut Vec<Item>) {
        self.failure = Failure::Posted;
        self.release(items);
    }
}
