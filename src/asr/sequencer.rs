// SPDX-License-Identifier: MPL-2.0

//! One order for what the session says and for the serialized events of the stream: an event
//! goes out after the words spoken before it and before the words spoken after it.
//!
//! No thread waits here. An event that cannot go yet is kept, until the session's outputs, on
//! the client's thread, have passed it.

use std::collections::VecDeque;

use super::imp::CAT;
use super::input::Segment;
use super::messages::{self, Span};
use super::outbox::{Item, Spoken};
use crate::realtime::Output;
use crate::timeline::Timeline;
use crate::transcript::{self, Correction, Utterance, Word};
use crate::{Length, Position, conventions};

/// Discontinuities that are remembered until a word passes them: beyond it the oldest is
/// forgotten, and with it one DISCONT flag.
const MAX_BREAKS: usize = 1024;

/// Events that wait at most: of more, the newest of a kind stays. Of segments and ends only those go
/// that have no audio behind them.
const MAX_WAITING: usize = 4096;

/// How long ago (30 min) times are still asked for while no utterance ends.
const TIMES_KEPT: Length = Length::of_s(1800);

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
    Position(Position),
    /// When the drain with this number is over; it was asked for at `position`.
    Drained { number: u64, position: Position },
}

impl When {
    fn position(self) -> Position {
        let (When::Position(position) | When::Drained { position, .. }) = self;
        position
    }
}

/// An event that is not yet due.
#[derive(Debug)]
struct Waiting {
    when: When,
    event: gst::Event,
    /// Of the input: what comes behind the event is in it.
    segment: Option<Segment>,
}

/// What is to be told once no lock is held.
#[derive(Debug)]
pub enum Effect {
    Message(gst::Structure),
    Warning(String),
    /// A word has arrived that began at this position, at this running time of the input.
    Observed {
        position: Position,
        spoken: gst::ClockTime,
    },
}

/// How far the news of the session's failure has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Failure {
    #[default]
    None,
    /// The ERROR message is under way: nothing overtakes it, EOS above all.
    Pending,
    /// It is posted: nothing holds the events up any more.
    Posted,
}

#[derive(Debug, Default)]
pub struct Sequencer {
    timeline: Timeline,
    /// Property `timing-offset`, in ns: added where positions become times, and nowhere else.
    offset: i64,
    /// Of the input: in it words get their times.
    segment: Option<Segment>,
    /// In the order of the stream.
    waiting: VecDeque<Waiting>,
    horizon: Position,
    /// Number of the last drain that is over.
    drained: Option<u64>,
    failure: Failure,
    /// Positions at which the time broke off and no word has passed yet.
    breaks: VecDeque<Position>,
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
    /// What goes to the output queue, and what is to be told, until it is taken.
    items: Vec<Item>,
    effects: Vec<Effect>,
}

impl Sequencer {
    /// `language`: ISO 639 code that the user expects. `offset`: added to all times of words, in
    /// ns.
    pub fn new(language: Option<String>, offset: i64) -> Self {
        Sequencer { language, offset, discont: true, ..Sequencer::default() }
    }

    /// From `position` on the audio has these times.
    pub fn anchor(&mut self, position: Position, pts: u64, jump: bool) {
        self.timeline.anchor(position, pts);
        if jump {
            if self.breaks.len() >= MAX_BREAKS {
                self.breaks.pop_front();
            }
            self.breaks.push_back(position);
        }
    }

    /// An event of the stream: goes out now or when its time comes. What comes behind it is in
    /// `segment` of the input, if that is another one.
    pub fn event(&mut self, when: When, event: gst::Event, segment: Option<Segment>) {
        if self.waiting.len() >= MAX_WAITING {
            let kind = event.type_();
            let bounds = segment.is_some() || kind == gst::EventType::Eos;
            let alike = |w: &Waiting| {
                let same = w.event.type_() == kind && w.segment.is_some() == segment.is_some();
                same && (!bounds || w.when.position() == when.position())
            };
            if let Some(old) = self.waiting.iter().rposition(alike) {
                gst::warning!(CAT, "Too many events wait for words: one goes for {event:?}");
                self.waiting.remove(old);
            }
        }
        self.waiting.push_back(Waiting { when, event, segment });
        self.release();
    }

    /// What may go out by now, in order.
    pub fn take_items(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
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

    /// The user expects this language (ISO 639 code) from here on. Whether it is another one.
    pub fn set_language(&mut self, language: Option<String>) -> bool {
        std::mem::replace(&mut self.language, language) != self.language
    }

    /// No words come of the audio so far: what waits for them goes out.
    pub fn clear(&mut self) {
        if self.failure == Failure::Pending {
            return;
        }
        self.partial.clear();
        self.discont = true;
        while !self.waiting.is_empty() {
            self.release_first();
        }
    }

    /// The TAG event that tells the language; `None` where it is not known.
    pub fn language_event(&self) -> Option<gst::Event> {
        let language = self.language.as_deref()?;
        let mut tags = self.tags.clone().unwrap_or_default();
        let all = tags.make_mut();
        all.set_scope(gst::TagScope::Stream);
        all.add::<gst::tags::LanguageCode>(&language, gst::TagMergeMode::Replace);
        Some(gst::event::Tag::new(tags))
    }

    /// Something that the session says. Returns what is to be told.
    pub fn output(&mut self, output: Output) -> Vec<Effect> {
        match output {
            Output::Drained(number) => {
                self.drained = self.drained.max(Some(number));
                self.release();
            }
            Output::Horizon(position) => self.horizon_to(position),
            Output::Dropped { begin, end, reason } => {
                self.discont = true;
                let span = self.span(begin, end);
                self.message(messages::dropped(&span, &reason));
                if !std::mem::replace(&mut self.losing, true) {
                    self.effects.push(Effect::Warning(format!(
                        "Audio from {} on is given up and has no words: {reason}. Messages vllmrealtimeasr/dropped and property stats tell how much.",
                        span.start
                    )));
                }
            }
            Output::Transcript(output) => self.transcript(output),
            // Of the session, not of the stream.
            Output::Connection { .. }
            | Output::Warning(_)
            | Output::ServerWarning { .. }
            | Output::Flushed(_)
            | Output::Failed(_) => {}
        }
        std::mem::take(&mut self.effects)
    }

    fn message(&mut self, structure: gst::Structure) {
        self.effects.push(Effect::Message(structure));
    }

    fn transcript(&mut self, output: transcript::Output) {
        match output {
            transcript::Output::Word(word) => self.word(&word),
            transcript::Output::Partial(text) => {
                if text != self.partial {
                    self.message(messages::partial(&text));
                    self.partial = text;
                }
            }
            transcript::Output::Correction(Correction { word, marks }) => {
                let span = self.span(word.begin, word.end);
                self.message(messages::correction(&word, &span, self.speaker.as_deref()));
                let late = LateMarks { marks: String::new(), pts: span.end };
                self.late_marks.get_or_insert(late).marks += &marks;
            }
            transcript::Output::Utterance(utterance) => self.utterance(&utterance),
            transcript::Output::Language(code) => {
                self.message(messages::language(&code));
                if self.language.as_deref() != Some(&code) {
                    self.language = Some(code);
                    let event = self.language_event();
                    self.items.extend(event.map(Item::Event));
                }
            }
            transcript::Output::ClockFellBack { from, to, why } => {
                // The session's own warning comes beside it.
                self.message(messages::clock(from, to, &why));
            }
        }
    }

    fn word(&mut self, word: &Word) {
        // Words come in order: what stands before this one has no other word before it.
        self.raise_horizon(word.begin);
        self.release();
        self.losing = false;
        while self.breaks.front().is_some_and(|b| *b <= word.begin) {
            self.breaks.pop_front();
            self.discont = true;
        }
        let span = self.span(word.begin, word.end);
        let position = word.begin;
        self.effects.extend(span.running_time.map(|spoken| Effect::Observed { position, spoken }));
        self.message(messages::word(word, &span, self.speaker.as_deref()));
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
        self.items.push(Item::Word(Spoken {
            text,
            pts: span.start,
            end: span.end,
            discont: std::mem::take(&mut self.discont),
            space_before,
            speaker: self.speaker.clone(),
        }));
    }

    /// No word is to come that they could stand before.
    fn give_late_marks(&mut self) {
        let Some(late) = self.late_marks.take() else { return };
        self.items.push(Item::Word(Spoken {
            text: late.marks,
            pts: late.pts,
            end: late.pts.saturating_add(MARKS_SHOWN),
            speaker: self.speaker.clone(),
            ..Spoken::default()
        }));
    }

    fn utterance(&mut self, utterance: &Utterance) {
        let span = self.span(utterance.begin, utterance.end);
        let speaker = self.speaker.as_deref();
        let words =
            utterance.words.iter().map(|w| messages::word(w, &self.span(w.begin, w.end), speaker));
        let words: Vec<_> = words.collect();
        self.message(messages::utterance(utterance, &span, speaker, words));
        self.partial.clear();
        if !utterance.words.is_empty() {
            self.items.push(Item::Final);
        }
        self.timeline.forget_before(utterance.end);
    }

    fn horizon_to(&mut self, position: Position) {
        self.raise_horizon(position);
        self.release();
        // The time before a step forward, the time after a step back.
        let times = [self.timeline.pts(self.horizon), self.timeline.pts_end(self.horizon)];
        let Some(time) = times.into_iter().flatten().min() else { return };
        self.items.push(Item::Gap { until: self.shown_at(time) });
        self.timeline.forget_before(self.horizon - TIMES_KEPT);
    }

    fn raise_horizon(&mut self, position: Position) {
        self.horizon = self.horizon.max(position);
    }

    /// Moves the events that are due from `waiting` to `items`.
    fn release(&mut self) {
        let drained = |w: &Waiting| match w.when {
            When::Drained { number, .. } => Some(number) <= self.drained,
            When::Position(_) => false,
        };
        // A drain that is over lets everything before it go too; a session that has failed answers
        // no drain.
        let due = match self.failure {
            Failure::Posted => self.waiting.len(),
            Failure::Pending => return,
            Failure::None => self.waiting.iter().rposition(drained).map_or(0, |last| last + 1),
        };
        for _ in 0..due {
            self.release_first();
        }
        while let Some(Waiting { when: When::Position(position), .. }) = self.waiting.front()
            && *position <= self.horizon
        {
            self.release_first();
        }
    }

    fn release_first(&mut self) {
        let Some(Waiting { when, event, segment }) = self.waiting.pop_front() else { return };
        if segment.is_some() || event.type_() == gst::EventType::Eos {
            self.give_late_marks();
        }
        if let When::Drained { position, .. } = when {
            self.raise_horizon(position);
            if let Some(time) = self.timeline.pts_end(position) {
                // No word comes any more, wherever it would be shown.
                let heard = gst::ClockTime::from_nseconds(time);
                self.items.push(Item::Gap { until: self.shown_at(time).max(heard) });
            }
            self.timeline.forget_before(position);
        }
        if let Some(speaker) = conventions::speaker_change(&event) {
            self.speaker = speaker;
        }
        if segment.is_some() {
            self.segment = segment;
            self.discont = true;
            self.breaks.clear();
            self.timeline.begin_at(when.position());
        }
        self.items.push(Item::Event(event));
    }

    /// The time (ns) with the offset.
    fn shown_at(&self, time: u64) -> gst::ClockTime {
        let time = time.saturating_add_signed(self.offset);
        gst::ClockTime::try_from(time).unwrap_or(gst::ClockTime::MAX)
    }

    /// Times of the positions from `begin` to `end`, within the segment.
    fn span(&self, begin: Position, end: Position) -> Span {
        let segment = self.segment.as_ref();
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

    /// FLUSH_STOP: everything begins anew at `position`. Returns the events that waited.
    pub fn restart(&mut self, position: Position) -> Vec<gst::Event> {
        self.segment = None;
        self.timeline = Timeline::default();
        self.horizon = self.horizon.max(position);
        self.breaks.clear();
        self.discont = true;
        self.partial.clear();
        self.late_marks = None;
        self.waiting.drain(..).map(|w| w.event).collect()
    }

    /// Whether words of audio before `position` may be to come.
    pub fn awaits_words(&self, position: Position) -> bool {
        self.horizon < position
    }

    /// The session has failed, and the user is about to be told. Whether that is news.
    pub fn begin_failure(&mut self) -> bool {
        let news = self.failure == Failure::None;
        if news {
            self.failure = Failure::Pending;
        }
        news
    }

    /// Whether the session has failed and the user was told.
    pub fn has_failed(&self) -> bool {
        self.failure == Failure::Posted
    }

    /// The user was told of the failure: EOS may go.
    pub fn fail(&mut self) {
        self.failure = Failure::Posted;
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    /// The session says how far it is before there is audio in the new segment, whose times begin anew.
    #[test]
    fn times_of_before_are_not_those_of_a_new_segment() {
        gst::init().expect("GStreamer");
        let mut order = Sequencer::new(None, 0);
        order.anchor(pos(0), 60_000_000_000, false);
        let segment = Segment::new();
        let event = gst::event::Segment::new(&segment);
        let when = When::Drained { number: 1, position: pos(100) };
        order.event(when, event, Some(segment));
        order.output(Output::Horizon(pos(100)));
        order.output(Output::Drained(1));
        order.output(Output::Horizon(pos(100)));
        let items = order.take_items();
        assert!(items.last().is_some_and(|i| matches!(i, Item::Event(_))), "{items:?}");
        order.anchor(pos(100), 0, false);
        order.restart(pos(200));
        order.output(Output::Horizon(pos(200)));
        assert!(order.take_items().is_empty());
    }

    /// A source that sends nothing but events, while the server is away.
    #[test]
    fn no_more_events_wait_than_the_bound() {
        gst::init().expect("GStreamer");
        let mut order = Sequencer::new(None, 0);
        for n in 0..2 * MAX_WAITING as u64 {
            let text = gst::Structure::builder("x").field("n", n).build();
            let event = match n % 3 {
                0 => gst::event::CustomDownstream::new(text),
                1 => gst::event::CustomDownstreamSticky::new(text),
                _ => gst::event::Tag::new(gst::TagList::new()),
            };
            order.event(When::Position(pos(1)), event, None);
        }
        assert_eq!(order.waiting.len(), MAX_WAITING);
        // What ends the stream stays where there is audio behind it, and once where there is none.
        for n in 0..10 {
            let when = When::Drained { number: n, position: pos(1 + n / 9) };
            order.event(when, gst::event::Eos::new(), None);
        }
        order.output(Output::Horizon(pos(1)));
        order.output(Output::Drained(9));
        let items = order.take_items();
        assert_eq!(items.len(), MAX_WAITING + 2);
        assert!(items.last().is_some_and(Item::is_eos));
    }
}
