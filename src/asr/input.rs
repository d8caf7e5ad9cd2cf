// SPDX-License-Identifier: MPL-2.0

//! The sink pad: buffers, gaps and events to the session.

use std::sync::{Arc, PoisonError};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};
use super::messages;
use super::resync::{Resync, Step};
use super::sequencer::{Control, Segments, When};
use crate::SAMPLE_RATE;
use crate::realtime::Client;
use crate::realtime::transport::Room;

/// Bytes of a sample.
const SAMPLE_BYTES: usize = 2;

/// Samples given to the session at a time, at most (1 s): it can ask to wait in between.
const PIECE: usize = SAMPLE_RATE as usize;

/// State of the sink pad, used on the streaming thread.
#[derive(Debug)]
pub struct Input {
    pub intake: Resync,
    /// Half a sample, whose other half comes with the next buffer.
    adapter: gst_base::UniqueAdapter,
    /// The source said that the time breaks off at the next sample.
    discont: bool,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// Of its event: a sticky event that is sent again is the same one. None: STREAM_START came
    /// behind it.
    segment_seqnum: Option<gst::Seqnum>,
    eos: bool,
    /// Up to here the session was told to drain.
    drained: u64,
    /// Whether the language's TAG was queued in this stream.
    language_told: bool,
    /// Whether upstream was asked if it is live since the start.
    live_asked: bool,
    /// The last segment was refused, and the user told: it is sent again with each buffer.
    refused: bool,
}

/// What a buffer brings about.
struct Taken {
    steps: Vec<Step>,
    /// Position of its first sample, and the running time at which that was spoken.
    arrived: Option<(u64, gst::ClockTime)>,
}

/// Why a buffer is not taken.
enum Refused {
    Eos,
    NoSegment,
    Unreadable(gst::glib::BoolError),
}

impl Input {
    pub fn new(silence_commit: u64) -> Self {
        Input {
            intake: Resync::new(silence_commit),
            adapter: gst_base::UniqueAdapter::new(),
            discont: false,
            segment: None,
            segment_seqnum: None,
            eos: false,
            drained: 0,
            language_told: false,
            live_asked: false,
            refused: false,
        }
    }

    /// A buffer.
    fn take(&mut self, buffer: gst::Buffer) -> Result<Option<Taken>, Refused> {
        if self.eos {
            return Err(Refused::Eos);
        }
        let segment = self.segment.as_ref().ok_or(Refused::NoSegment)?;
        let start = segment.start().unwrap_or(gst::ClockTime::ZERO).nseconds();
        let pts = buffer.pts();
        let silent = buffer.flags().contains(gst::BufferFlags::GAP);
        if buffer.flags().intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC) {
            self.adapter.clear();
            self.discont = true;
        }
        self.adapter.push(buffer);
        let bytes = self.adapter.available() / SAMPLE_BYTES * SAMPLE_BYTES;
        if bytes == 0 {
            return Ok(None);
        }
        let mut whole = self.adapter.take_buffer(bytes).map_err(Refused::Unreadable)?;
        whole.make_mut().set_pts(pts);
        // Behind the adapter: what is cut off at the segment's edges are whole samples.
        let clipped = gst_audio::audio_buffer_clip(
            whole,
            segment.upcast_ref(),
            SAMPLE_RATE as u32,
            SAMPLE_BYTES as u32,
        );
        let Some(buffer) = clipped else { return Ok(None) };
        let spoken = buffer.pts().and_then(|pts| segment.to_running_time(pts));
        let pts = buffer.pts().map(|t| t.nseconds());
        let map = buffer.map_readable().map_err(Refused::Unreadable)?;
        let (samples, _) = map.as_chunks::<SAMPLE_BYTES>();
        let samples: Vec<i16> = samples.iter().map(|s| i16::from_le_bytes(*s)).collect();
        let discont = std::mem::take(&mut self.discont);
        let count = samples.len() as u64;
        let mut steps = Vec::new();
        if silent {
            let length = crate::timeline::duration(count);
            self.intake.gap(pts, start, length, &mut steps);
        } else {
            self.intake.audio(pts, start, discont, samples, &mut steps);
        }
        let begin = self.intake.position().saturating_sub(count);
        Ok(Some(Taken { steps, arrived: spoken.map(|spoken| (begin, spoken)) }))
    }

    fn restart(&mut self) {
        self.intake.restart();
        self.adapter.clear();
        self.segment = None;
        self.eos = false;
        self.drained = self.intake.position();
    }
}

impl VllmRealtimeAsr {
    pub(super) fn sink_chain(
        &self,
        _pad: &gst::Pad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let client = self.flowing()?;
        if self.sinkpad.current_caps().is_none() {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("Audio came without a CAPS event before it"),
                ["{buffer:?}"]
            );
            return Err(gst::FlowError::NotNegotiated);
        }
        self.preroll();
        self.find_out_whether_live();
        // Nothing is posted under the lock.
        let taken = {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            input.take(buffer)
        };
        match taken {
            Ok(None) => {
                gst::log!(CAT, imp = self, "No whole sample of the segment");
                Ok(gst::FlowSuccess::Ok)
            }
            Ok(Some(Taken { steps, arrived })) => {
                if let Some((position, spoken)) = arrived {
                    self.observe_audio(position, spoken);
                }
                self.carry_out(&client, steps)
            }
            Err(Refused::Eos) => Err(gst::FlowError::Eos),
            Err(Refused::NoSegment) => {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    ("Audio came without a SEGMENT event before it")
                );
                Err(gst::FlowError::Error)
            }
            Err(Refused::Unreadable(err)) => {
                gst::element_imp_error!(
                    self,
                    gst::ResourceError::Read,
                    ("The memory of a buffer cannot be read"),
                    ["{err}"]
                );
                Err(gst::FlowError::Error)
            }
        }
    }

    /// Gives to the session what the intake found, waiting where it asks to.
    fn carry_out(
        &self,
        client: &Client,
        steps: Vec<Step>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        for step in steps {
            match step {
                Step::Anchor { position, pts, jump } => {
                    if jump {
                        gst::debug!(CAT, imp = self, "Time breaks off at position {position}");
                    }
                    self.order().anchor(position, pts, jump);
                }
                Step::Audio { position, samples } => {
                    if samples.len() <= PIECE {
                        self.give(client, position, samples)?;
                        continue;
                    }
                    for (n, piece) in samples.chunks(PIECE).enumerate() {
                        self.give(client, position + (n * PIECE) as u64, piece.to_vec())?;
                    }
                }
                Step::Silence { mut position, mut samples } => {
                    while samples > 0 {
                        let piece = samples.min(PIECE as u64);
                        self.give(client, position, vec![0; piece as usize])?;
                        position += piece;
                        samples -= piece;
                    }
                }
                Step::EndUtterance { position } => {
                    gst::debug!(CAT, imp = self, "Pause up to position {position}");
                    client.end_utterance(position);
                }
                Step::Unsteady => gst::element_imp_warning!(
                    self,
                    gst::CoreError::Clock,
                    ("The timestamps of the audio break off again and again: the times of words are as unsteady. Put audiorate or audiobuffersplit before this element, or stop the source from stamping each buffer when it arrives (property do-timestamp).")
                ),
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn give(
        &self,
        client: &Client,
        position: u64,
        samples: Vec<i16>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.outbox.wait_for_room()?;
        match client.wait_for_room() {
            Room::Yes => {
                client.audio(position, samples);
                Ok(gst::FlowSuccess::Ok)
            }
            Room::Interrupted => Err(gst::FlowError::Flushing),
            Room::Failed => Err(self.failed_flow()),
        }
    }

    /// The session, if audio may be given.
    fn flowing(&self) -> Result<Arc<Client>, gst::FlowError> {
        let client = {
            let run = self.run();
            run.client.clone().filter(|_| !run.flushing).ok_or(gst::FlowError::Flushing)?
        };
        if self.order().failed() { Err(self.failed_flow()) } else { Ok(client) }
    }

    /// Waits until the user was told of the failure: an error flow must not come first.
    fn failed_flow(&self) -> gst::FlowError {
        let order = self.order();
        drop(
            self.failure_posted
                .wait_while(order, |order| !order.failure_posted() && !self.run().flushing)
                .unwrap_or_else(PoisonError::into_inner),
        );
        if self.run().flushing { gst::FlowError::Flushing } else { gst::FlowError::Error }
    }

    /// Whether upstream sends no more buffers, and so sees no more flow returns.
    pub(super) fn input_ended(&self) -> bool {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).eos
    }

    pub(super) fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "Handling {event:?}");
        match event.view() {
            gst::EventView::FlushStart(_) => {
                self.flush_start();
                gst::Pad::event_default(pad, Some(&*self.obj()), event)
            }
            gst::EventView::FlushStop(_) => self.flush_stop(pad, event),
            gst::EventView::Segment(segment) => {
                let segment = segment.segment().clone();
                self.segment(segment, event)
            }
            gst::EventView::Gap(gap) => {
                let (pts, duration) = gap.get();
                self.gap(pts, duration)
            }
            gst::EventView::Eos(_) => {
                self.preroll();
                self.drain_for(Control::Eos(event), |input| input.eos = true);
                true
            }
            gst::EventView::SegmentDone(_) => {
                self.drain_for(Control::Event(event), |_| {});
                true
            }
            // Another one speaks: another utterance.
            gst::EventView::CustomDownstream(_) if messages::speaker_change(&event).is_some() => {
                self.drain_for(Control::Event(event), |_| {});
                true
            }
            gst::EventView::Caps(_) => {
                if let Some(client) = self.client() {
                    client.connect();
                }
                let Some(caps) = self.srcpad.pad_template().map(|t| t.caps().clone()) else {
                    return false;
                };
                self.queue(gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build())
            }
            gst::EventView::StreamStart(start) => {
                // Another stream, of another kind than the audio: text comes now and then.
                let id = format!("{}/text", start.stream_id());
                let text = gst::event::StreamStart::builder(&id)
                    .flags(start.stream_flags() | gst::StreamFlags::SPARSE)
                    .seqnum(event.seqnum());
                let text = match start.group_id() {
                    Some(group) => text.group_id(group),
                    None => text,
                }
                .build();
                {
                    let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
                    input.eos = false;
                    input.segment_seqnum = None;
                    input.adapter.clear();
                    input.language_told = false;
                }
                self.queue(text)
            }
            gst::EventView::Tag(tag) => {
                let merged = self.order().tag_event(tag);
                self.queue(merged.unwrap_or(event))
            }
            _ if event.is_serialized() => self.queue(event),
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    /// An event that goes out between the words from before it and those from after it.
    fn queue(&self, event: gst::Event) -> bool {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let when = When::Position(input.intake.position());
        self.control(when, Control::Event(event));
        true
    }

    /// An event behind the last word of all audio so far.
    fn drain_for(&self, control: Control, change: impl FnOnce(&mut Input)) {
        let client = self.client();
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut input);
        let position = input.intake.position();
        let when = match client {
            Some(client) if position > input.drained => {
                let ends = matches!(control, Control::Eos(_));
                let number = if ends { client.finish() } else { client.drain() };
                When::Drained { number, position }
            }
            _ => When::Position(input.drained),
        };
        input.drained = position;
        self.control(when, control);
    }

    fn control(&self, when: When, control: Control) {
        let mut items = Vec::new();
        let mut order = self.order();
        order.control(when, control, &mut items);
        self.outbox.push(&mut items);
    }

    fn segment(&self, segment: gst::Segment, event: gst::Event) -> bool {
        let segment = match segment.downcast::<gst::ClockTime>() {
            Ok(segment) if segment.rate() >= 0.0 => segment,
            Ok(segment) => return self.refuse_backwards(&segment),
            Err(segment) => return self.refuse_format(&segment),
        };
        {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            input.refused = false;
            let before = input.segment_seqnum.replace(event.seqnum());
            let another_stream = before.is_none();
            if let Some(was) = input.segment.as_ref().filter(|_| !another_stream) {
                let mut same = segment.clone();
                same.set_position(was.position());
                if same == *was {
                    if before != Some(event.seqnum()) {
                        // The times go on in it as they did, or begin anew: the next PTS tells.
                        input.adapter.clear();
                        input.discont = true;
                    }
                    return true;
                }
            }
        }
        let mut output = segment.clone();
        let base = segment.base().unwrap_or(gst::ClockTime::ZERO);
        output.set_base(base.saturating_add(self.settings().lateness));
        let out_event = gst::event::Segment::builder(&output).seqnum(event.seqnum()).build();
        let segments = Segments { input: segment.clone(), output };
        let mut tell_language = false;
        self.drain_for(Control::Segment(Box::new(segments), out_event), |input| {
            input.intake.restart();
            input.adapter.clear();
            input.segment = Some(segment);
            tell_language = !std::mem::replace(&mut input.language_told, true);
        });
        let language = self.order().language_event();
        if let Some(language) = language.filter(|_| tell_language) {
            self.queue(language);
        }
        true
    }

    /// Whether this is the first time.
    fn refuse(&self) -> bool {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut input.refused, true)
    }

    fn refuse_format(&self, segment: &gst::Segment) -> bool {
        if self.refuse() {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "The segment's format is {:?}: words have times only in a segment in time. Put an element that makes one (a parser, a demuxer) before this one.",
                    segment.format()
                ),
                ["{segment:?}"]
            );
        }
        false
    }

    fn refuse_backwards(&self, segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
        if self.refuse() {
            gst::element_imp_error!(
                self,
                gst::StreamError::NotImplemented,
                (
                    "The rate is {}: speech that is played backwards is not recognised",
                    segment.rate()
                ),
                ["{segment:?}"]
            );
        }
        false
    }

    fn gap(&self, pts: gst::ClockTime, duration: Option<gst::ClockTime>) -> bool {
        let Ok(client) = self.flowing() else { return false };
        self.preroll();
        self.find_out_whether_live();
        let mut steps = Vec::new();
        {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(segment) = input.segment.as_ref().filter(|_| !input.eos) else {
                return false;
            };
            let end = pts.saturating_add(duration.unwrap_or(gst::ClockTime::ZERO));
            let Some((from, to)) = segment.clip(pts, end) else { return true };
            let from = from.unwrap_or(pts);
            let length = to.unwrap_or(end).saturating_sub(from);
            let (from, length) = (from.nseconds(), length.nseconds());
            input.intake.gap(Some(from), from, length, &mut steps);
        }
        self.carry_out(&client, steps).is_ok()
    }

    /// Asked before the first audio, when upstream surely is linked: the answer decides whether
    /// audio may be dropped.
    fn find_out_whether_live(&self) {
        let asked = {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut input.live_asked, true)
        };
        if !asked {
            self.ask_upstream();
        }
    }

    /// From any thread, at once. Takes no stream lock.
    fn flush_start(&self) {
        let client = {
            let mut run = self.run();
            run.flushing = true;
            run.client.clone()
        };
        if let Some(client) = &client {
            client.interrupt();
        }
        self.order().begin_flush();
        self.outbox.stop();
        if let Some(client) = &client {
            let number = client.flush();
            self.order().flush_is(number);
        }
        self.wake_failed();
    }

    /// On the streaming thread.
    fn flush_stop(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        // FLUSH_STOP can come alone.
        self.outbox.stop();
        // The task has seen the end of its turn: nothing old is pushed any more.
        drop(self.srcpad.stream_lock());
        let client = self.client();
        let mut kept = self.outbox.take_saved();
        {
            let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
            input.restart();
            let mut order = self.order();
            order.begin_flush();
            kept.extend(order.restart(input.intake.position()));
        }
        if let Some(client) = &client {
            // What came in between FLUSH_START and now.
            let number = client.flush();
            self.order().flush_is(number);
            client.resume();
        }
        {
            let mut run = self.run();
            run.flushing = run.stopping;
            run.ended = None;
        }
        let handled = gst::Pad::event_default(pad, Some(&*self.obj()), event);
        for event in kept {
            let lost = matches!(event.type_(), gst::EventType::Segment | gst::EventType::Eos);
            if event.is_sticky() && !lost {
                let _ = self.srcpad.store_sticky_event(&event);
            }
        }
        if let Err(err) = self.restart_output() {
            gst::error!(CAT, imp = self, "The task does not start: {err}");
            return false;
        }
        handled
    }
}
