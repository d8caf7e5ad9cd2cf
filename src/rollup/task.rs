// SPDX-License-Identifier: MPL-2.0

//! The task of the source pad: what comes in goes to the layout, what that makes of it goes out.

use std::collections::VecDeque;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::Stamp;
use super::imp::{CAT, TextRollUp};
use super::layout::language::Language;
use super::layout::{Caption, Counts, Layout, MS, Out, Word};
use super::queue::{Input, Next};
use super::replace::{Replacer, Rules};
use super::settings::Settings;

/// Where nothing is known, the output goes on by this when the sinks need it.
const STEP: u64 = 100 * MS;

/// A phrase that is to be replaced waits no longer than this for its next word.
const PHRASE: u64 = 1000 * MS;

type Flow = Result<gst::FlowSuccess, gst::FlowError>;

/// What the task keeps from turn to turn.
pub struct Task {
    settings: Settings,
    language: Language,
    rules: Rules,
    stream: Option<Stream>,
    /// Nothing was pushed since the segment began: sinks may wait for something to preroll with.
    prerolls: bool,
    discont: bool,
    /// Of the streams before.
    counts: Counts,
}

/// What belongs to a segment.
struct Stream {
    segment: gst::FormattedSegment<gst::ClockTime>,
    layout: Layout,
    replacer: Replacer,
    /// Those that wait for their place.
    events: VecDeque<gst::Event>,
}

impl Stream {
    /// All words so far are there.
    fn flush_words(&mut self) {
        for word in self.replacer.flush() {
            self.layout.word(word);
        }
    }

    fn word(&mut self, word: Word) {
        for word in self.replacer.word(word) {
            self.layout.word(word);
        }
    }

    fn silence(&mut self, until: u64) {
        let waiting = self.replacer.waiting();
        if waiting.as_ref().is_some_and(|w| until >= w.end.saturating_add(PHRASE)) {
            self.flush_words();
        }
        let known = self.replacer.waiting().map_or(until, |w| until.min(w.start));
        self.layout.silence(known);
    }

    fn mark(&mut self, event: gst::Event) {
        self.flush_words();
        self.layout.mark();
        self.events.push_back(event);
    }
}

impl Task {
    pub fn new(settings: Settings, rules: Rules, language: Language, counts: Counts) -> Task {
        Task { settings, rules, counts, language, stream: None, prerolls: true, discont: true }
    }

    fn counts(&self) -> Counts {
        self.stream.as_ref().map_or(self.counts, |s| self.counts + s.layout.counts())
    }

    /// The running time up to which the output is complete.
    fn front(&self) -> Option<gst::ClockTime> {
        let stream = self.stream.as_ref()?;
        stream.segment.to_running_time(gst::ClockTime::from_nseconds(stream.layout.at()))
    }

    fn begin(&mut self, segment: gst::FormattedSegment<gst::ClockTime>) {
        self.counts = self.counts();
        self.prerolls = true;
        // Played backwards, words come last first: no captions can be made of them.
        self.stream = (segment.rate() > 0.0).then(|| {
            let settings = self.settings.layout(segment.rate(), self.language);
            let start = segment.start().unwrap_or_default().nseconds();
            Stream {
                layout: Layout::new(&settings, start),
                replacer: Replacer::new(self.rules.clone()),
                events: VecDeque::new(),
                segment,
            }
        });
    }
}

impl TextRollUp {
    /// One turn of the task.
    pub(super) fn iterate(&self, task: &mut Task) {
        let result = match self.queue.next(task.front(), &self.obj()) {
            Next::Stop => {
                let _ = self.srcpad.pause_task();
                return;
            }
            Next::Due(by) => {
                if let Some(stream) = &mut task.stream {
                    stream.flush_words();
                    let until =
                        stream.layout.at().saturating_add(STEP.saturating_add(by.nseconds()));
                    stream.layout.due(until);
                }
                self.push_all(task)
            }
            Next::Take(Input::Buffer(buffer)) => self.take_buffer(task, buffer),
            Next::Take(Input::Event(event)) => self.take_event(task, event),
        };
        self.set_counts(task.counts());
        if let Err(error) = result {
            self.downstream_failed(error);
        }
    }

    fn take_buffer(&self, task: &mut Task, buffer: gst::Buffer) -> Flow {
        let Some(stream) = &mut task.stream else { return self.srcpad.push(buffer) };
        task.discont |= buffer.flags().contains(gst::BufferFlags::DISCONT);
        let begin = buffer.pts().unwrap_or(gst::ClockTime::from_nseconds(stream.layout.at()));
        let end = begin.saturating_add(buffer.duration().unwrap_or_default());
        let Some((begin, end)) = stream.segment.clip(begin, end) else {
            gst::debug!(CAT, imp = self, "Outside of the segment: {buffer:?}");
            return Ok(gst::FlowSuccess::Ok);
        };
        let Ok(map) = buffer.map_readable() else {
            gst::element_imp_error!(self, gst::ResourceError::Read, ("A buffer cannot be read"));
            return Err(gst::FlowError::Error);
        };
        let [begin, end] = [begin, end].map(|t| t.unwrap_or_default().nseconds());
        let text = String::from_utf8_lossy(&map).into_owned();
        stream.word(Word { text, begin, end });
        self.push_all(task)
    }

    fn take_event(&self, task: &mut Task, event: gst::Event) -> Flow {
        match event.view() {
            gst::EventView::Segment(segment) => {
                // Whatever becomes of what was before it.
                let ended = self.end_stream(task);
                let Ok(segment) = segment.segment().clone().downcast::<gst::ClockTime>() else {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Format,
                        ("The words come in a segment that is not of times"),
                        ["{event:?}"]
                    );
                    return Err(gst::FlowError::NotNegotiated);
                };
                task.begin(segment);
                let event = match task.settings.stamp {
                    Stamp::Segment => Some(event),
                    Stamp::RunningTime if task.discont => {
                        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                        Some(gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build())
                    }
                    // The one that is out goes on.
                    Stamp::RunningTime => None,
                };
                event.map(|event| self.srcpad.push_event(event));
                return ended;
            }
            gst::EventView::Gap(gap) => {
                let (begin, duration) = gap.get();
                let until = begin.saturating_add(duration.unwrap_or_default());
                let Some(stream) = &mut task.stream else {
                    self.srcpad.push_event(event);
                    return Ok(gst::FlowSuccess::Ok);
                };
                stream.silence(until.nseconds());
                self.push_all(task)?;
                if let Some(stream) = task.stream.as_ref().filter(|_| task.prerolls) {
                    self.push_gap(task, stream.layout.at(), stream.layout.at());
                    task.prerolls = false;
                }
            }
            gst::EventView::Eos(_)
            | gst::EventView::StreamStart(_)
            | gst::EventView::SegmentDone(_) => {
                let ended = self.end_stream(task);
                if !matches!(event.view(), gst::EventView::SegmentDone(_)) {
                    task.counts = task.counts();
                    task.stream = None;
                }
                self.srcpad.push_event(event);
                return ended;
            }
            gst::EventView::Caps(_) => {
                let caps = task.settings.caps();
                self.srcpad
                    .push_event(gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build());
            }
            gst::EventView::Tag(tag) => {
                let code = tag.tag().get::<gst::tags::LanguageCode>();
                if let Some(code) = code.as_ref().map(|code| code.get()) {
                    task.language = Language::of(code);
                    self.set_language(task.language);
                    if let Some(stream) = &mut task.stream {
                        stream.layout.set_language(task.language);
                    }
                }
                self.srcpad.push_event(event);
            }
            _ => {
                let speaker = crate::conventions::speaker_change(&event);
                match &mut task.stream {
                    Some(stream) if !event.is_sticky() => {
                        stream.mark(event);
                        if let Some(speaker) = speaker {
                            stream.layout.speaker(&task.settings.prefix(speaker.as_deref()));
                        }
                        self.push_all(task)?;
                    }
                    _ => {
                        self.srcpad.push_event(event);
                    }
                }
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// No further word belongs to what is there.
    fn end_stream(&self, task: &mut Task) -> Flow {
        if let Some(stream) = &mut task.stream {
            stream.flush_words();
            stream.layout.finish();
        }
        self.push_all(task)
    }

    /// Pushes what the layout has made.
    fn push_all(&self, task: &mut Task) -> Flow {
        let Some(stream) = &mut task.stream else { return Ok(gst::FlowSuccess::Ok) };
        let all: Vec<Out> = stream.layout.take().collect();
        let mut result = Ok(gst::FlowSuccess::Ok);
        for out in all {
            match out {
                // What is refused is refused; the events behind it keep their order.
                Out::Caption { caption, begin, end } if result.is_ok() => {
                    result = self.push_caption(task, &caption, begin, end);
                    task.prerolls = false;
                }
                Out::Caption { .. } => {}
                Out::Gap { begin, end } => {
                    self.push_gap(task, begin, end);
                    task.prerolls = false;
                }
                Out::Mark => {
                    let event = task.stream.as_mut().and_then(|s| s.events.pop_front());
                    event.map(|event| self.srcpad.push_event(event));
                }
            }
        }
        result
    }

    /// Times as they go out: from and to.
    fn times(task: &Task, begin: u64, end: u64) -> Option<(gst::ClockTime, gst::ClockTime)> {
        let [begin, end] = [begin, end].map(gst::ClockTime::from_nseconds);
        let segment = &task.stream.as_ref()?.segment;
        match task.settings.stamp {
            Stamp::Segment => Some((begin, end)),
            // What stands on beyond the segment's end has no running time there.
            Stamp::RunningTime => {
                let stop = segment.stop().map_or(end, |stop| stop.min(end)).max(begin);
                let running = (segment.to_running_time(begin)?, segment.to_running_time(stop)?);
                (running.1 > running.0 || begin == end).then_some(running)
            }
        }
    }

    fn push_caption(&self, task: &mut Task, caption: &Caption, begin: u64, end: u64) -> Flow {
        let Some((begin, end)) = Self::times(task, begin, end) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let text = task.settings.writing().text(caption);
        let mut buffer = gst::Buffer::from_slice(text.into_bytes());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(begin);
            buffer.set_duration(end.saturating_sub(begin));
            if std::mem::take(&mut task.discont) {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        gst::log!(CAT, imp = self, "Pushing {buffer:?}");
        self.srcpad.push(buffer)
    }

    fn push_gap(&self, task: &Task, begin: u64, end: u64) {
        let times = Self::times(task, begin, end).filter(|_| task.settings.gaps);
        if let Some((begin, end)) = times {
            let gap = gst::event::Gap::builder(begin).duration(end.saturating_sub(begin)).build();
            self.srcpad.push_event(gap);
        }
    }

    /// Upstream hears of it with the next buffer; where none follows, the application does.
    fn downstream_failed(&self, error: gst::FlowError) {
        gst::debug!(CAT, imp = self, "Downstream answered {error:?}");
        let ended = self.queue.refuse(error);
        match error {
            gst::FlowError::Flushing => {}
            // Meanwhile something was linked.
            gst::FlowError::NotLinked if self.srcpad.is_linked() => self.queue.reconfigure(),
            gst::FlowError::Eos => {
                self.srcpad.push_event(gst::event::Eos::new());
            }
            error if ended => {
                self.post_flow_error(error);
                self.srcpad.push_event(gst::event::Eos::new());
            }
            _ => {}
        }
    }

    pub(super) fn post_flow_error(&self, error: gst::FlowError) {
        gst::element_imp_error!(
            self,
            gst::StreamError::Failed,
            ("Internal data stream error."),
            ["streaming stopped, reason {error}"]
        );
    }
}
