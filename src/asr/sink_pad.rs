// SPDX-License-Identifier: MPL-2.0

//! The sink pad: buffers, gaps and events to the session.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, Flow, VllmRealtimeAsr};
use super::input::{Refused, Taken};
use super::resync::Step;
use crate::realtime::Client;
use crate::realtime::transport::Room;
use crate::{Length, Position, SAMPLE_RATE, conventions};

/// Samples given to the session at a time, at most (1 s): it can ask to wait in between.
const PIECE: usize = SAMPLE_RATE as usize;

/// Whether all words come out before the event: where another one speaks, it is another utterance.
fn drains(event: &gst::Event) -> bool {
    matches!(event.type_(), gst::EventType::Eos | gst::EventType::SegmentDone)
        || conventions::speaker_change(event).is_some()
}

impl VllmRealtimeAsr {
    pub(super) fn sink_chain(&self, buffer: gst::Buffer) -> Flow {
        let client = self.state().flowing()?;
        if self.sinkpad.current_caps().is_none() {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("Audio came without a CAPS event before it"),
                ["{buffer:?}"]
            );
            return Err(gst::FlowError::NotNegotiated);
        }
        self.find_out_whether_live();
        // Nothing is posted under the lock.
        let taken = self.state().input.buffer(buffer);
        match taken {
            Ok(None) => {
                gst::log!(CAT, imp = self, "No whole sample of the segment");
                Ok(gst::FlowSuccess::Ok)
            }
            Ok(Some(Taken { steps, arrived })) => {
                if let Some((position, spoken)) = arrived {
                    self.observe_audio(position, spoken);
                }
                self.carry_out(&client, steps)?;
                Ok(gst::FlowSuccess::Ok)
            }
            Err(Refused::Eos) => Err(gst::FlowError::Eos),
            Err(Refused::Wrong(message)) => {
                self.post_error_message(message);
                Err(gst::FlowError::Error)
            }
        }
    }

    /// Gives to the session what is to be given, waiting where it asks to.
    fn carry_out(&self, client: &Client, steps: Vec<Step>) -> Result<(), gst::FlowError> {
        for step in steps {
            match step {
                Step::Anchor { position, pts, jump } => {
                    if jump {
                        gst::debug!(CAT, imp = self, "Time breaks off at position {position}");
                    }
                    self.state().order.anchor(position, pts, jump);
                }
                Step::Audio { position, samples } => self.give(client, position, &samples)?,
                Step::Silence { position, length } => {
                    self.give(client, position, &vec![0; length.count()])?;
                }
                Step::EndUtterance { position } => {
                    gst::debug!(CAT, imp = self, "Pause up to position {position}");
                    client.end_utterance(position);
                }
                Step::Unsteady => gst::element_imp_warning!(
                    self,
                    gst::CoreError::Clock,
                    ("The timestamps of the audio are discontinuous again and again, so the times of words are unreliable. Insert audiorate or audiobuffersplit before this element, or keep the source from timestamping each buffer on arrival (property do-timestamp).")
                ),
            }
        }
        Ok(())
    }

    fn give(&self, client: &Client, at: Position, samples: &[i16]) -> Result<(), gst::FlowError> {
        for (n, piece) in samples.chunks(PIECE).enumerate() {
            self.outbox.wait_for_room()?;
            match client.wait_for_room() {
                Room::Yes => client.audio(at + Length::new((n * PIECE) as u64), piece.to_vec()),
                Room::Interrupted => return Err(gst::FlowError::Flushing),
                // The error flow comes once the ERROR is posted, with a buffer after this one.
                Room::Failed => {}
            }
        }
        Ok(())
    }

    pub(super) fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        gst::log!(CAT, obj = pad, "Handling {event:?}");
        let out = match event.view() {
            gst::EventView::FlushStart(_) => {
                // From any thread, at once: takes no stream lock.
                self.state().flush_start();
                self.outbox.stop();
                self.unsynced().close();
                return gst::Pad::event_default(pad, Some(&*self.obj()), event);
            }
            gst::EventView::FlushStop(_) => return self.flush_stop(pad, event),
            gst::EventView::Segment(segment) => return self.segment(segment.segment(), &event),
            gst::EventView::Gap(gap) => {
                let (pts, duration) = gap.get();
                return self.gap(pts, duration);
            }
            _ if drains(&event) => {
                let _ = self.outbox.wait_for_room();
                self.ordered(|state| state.drain_for(event, None));
                return true;
            }
            gst::EventView::Caps(_) => {
                if let Some(client) = self.state().client() {
                    client.connect();
                }
                let Some(caps) = self.srcpad.pad_template().map(|t| t.caps().clone()) else {
                    return false;
                };
                gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build()
            }
            gst::EventView::StreamStart(start) => {
                self.state().input.begin_stream();
                // Another stream, of another kind than the audio: text comes now and then.
                gst::event::StreamStart::builder(&format!("{}/text", start.stream_id()))
                    .flags(start.stream_flags() | gst::StreamFlags::SPARSE)
                    .seqnum(event.seqnum())
                    .group_id_if_some(start.group_id())
                    .build()
            }
            gst::EventView::Tag(tag) => self.state().order.tag_event(tag).unwrap_or(event),
            _ if event.is_serialized() => event,
            _ => return gst::Pad::event_default(pad, Some(&*self.obj()), event),
        };
        // Where nobody takes what goes out, events wait as audio does.
        let _ = self.outbox.wait_for_room();
        self.ordered(|state| state.queue(out));
        true
    }

    fn segment(&self, segment: &gst::Segment, event: &gst::Event) -> bool {
        let (code, text) = match segment.clone().downcast::<gst::ClockTime>() {
            Ok(segment) if segment.rate() >= 0.0 => {
                self.segment_in_time(segment, event.seqnum());
                return true;
            }
            Ok(segment) => (
                gst::StreamError::NotImplemented,
                format!(
                    "The rate is {}: speech that is played backwards is not recognised",
                    segment.rate()
                ),
            ),
            Err(segment) => (
                gst::StreamError::Format,
                format!(
                    "The segment's format is {:?}: words have times only in a segment in time. Put an element that makes one (a parser, a demuxer) before this one.",
                    segment.format()
                ),
            ),
        };
        let news = self.state().input.refuse();
        if news {
            gst::element_imp_error!(self, code, ("{text}"), ["{segment:?}"]);
        }
        false
    }

    fn segment_in_time(&self, segment: gst::FormattedSegment<gst::ClockTime>, seqnum: gst::Seqnum) {
        let mut output = segment.clone();
        let base = segment.base().unwrap_or(gst::ClockTime::ZERO);
        output.set_base(base.saturating_add(self.settings().lateness()));
        let event = gst::event::Segment::builder(&output).seqnum(seqnum).build();
        let _ = self.outbox.wait_for_room();
        self.ordered(|state| {
            if !state.input.is_new_segment(&segment, seqnum) {
                return;
            }
            let first = state.input.begin_segment(segment.clone());
            state.drain_for(event, Some(segment));
            if let Some(language) = state.order.language_event().filter(|_| first) {
                state.queue(language);
            }
        });
    }

    fn gap(&self, pts: gst::ClockTime, duration: Option<gst::ClockTime>) -> bool {
        let Ok(client) = self.state().flowing() else { return false };
        self.find_out_whether_live();
        let steps = self.state().input.gap(pts, duration);
        steps.is_some_and(|steps| self.carry_out(&client, steps).is_ok())
    }

    /// Asked before the first audio: the answer decides whether audio may be dropped.
    fn find_out_whether_live(&self) {
        let ask = self.state().has_to_ask();
        if ask {
            self.ask_upstream();
        }
    }

    /// On the streaming thread.
    fn flush_stop(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        // FLUSH_STOP can come alone.
        self.outbox.stop();
        self.unsynced().close();
        // The tasks have seen the end of their turn: nothing old is pushed any more.
        drop(self.srcpad.stream_lock());
        let stopped = self.unsynced().stop();
        let resets = match event.view() {
            gst::EventView::FlushStop(stop) => stop.resets_time(),
            _ => false,
        };
        if resets {
            self.outbox.set_back(self.obj().base_time());
        }
        let mut kept = self.outbox.take_saved();
        kept.extend(self.state().flush_stop());
        let handled = gst::Pad::event_default(pad, Some(&*self.obj()), event);
        for event in kept {
            let lost = matches!(event.type_(), gst::EventType::Segment | gst::EventType::Eos);
            if let gst::EventView::StreamStart(start) = event.view() {
                self.unsynced().begin(start);
            }
            if event.is_sticky() && !lost {
                let _ = self.srcpad.store_sticky_event(&event);
            }
        }
        if let Err(err) = stopped.and_then(|()| self.unsynced().open()) {
            gst::error!(CAT, imp = self, "No more of the server's events: {err}");
        }
        if let Err(err) = self.restart_output() {
            gst::error!(CAT, imp = self, "The task does not start: {err}");
            return false;
        }
        handled
    }
}
