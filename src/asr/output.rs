// SPDX-License-Identifier: MPL-2.0

//! The task of the source pad: pushes words as text buffers, and GAPs for the rest.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::cursor::Cursor;
use super::imp::{CAT, Flow, VllmRealtimeAsr, lock};
use super::outbox::{Item, Late, Next, Spoken};
use crate::conventions;

/// What the task keeps from turn to turn.
#[derive(Debug, Default)]
struct Task {
    cursor: Cursor,
    /// Samples that had come when there was nothing to do for a while.
    idle_at: Option<crate::Position>,
}

impl VllmRealtimeAsr {
    /// The source pad is activated or deactivated.
    pub(super) fn activate_src(
        &self,
        mode: gst::PadMode,
        active: bool,
    ) -> Result<(), gst::LoggableError> {
        if mode != gst::PadMode::Push {
            return Err(gst::loggable_error!(CAT, "The source pad can only push"));
        }
        *lock(&self.src_active) = active;
        let result = if active {
            self.start_output()
        } else {
            self.outbox.stop();
            self.srcpad.stop_task()
        };
        Ok(result?)
    }

    /// FLUSH_STOP: takes items again, and a new task begins.
    pub(super) fn restart_output(&self) -> Result<(), glib::BoolError> {
        // A pad that has a task already keeps the old function, and leaks the new one.
        self.srcpad.stop_task()?;
        self.start_output()
    }

    fn start_output(&self) -> Result<(), glib::BoolError> {
        // Locked, so that no task begins on a pad that is being deactivated.
        let active = lock(&self.src_active);
        if !*active {
            return Ok(());
        }
        self.outbox.start();
        let weak = self.obj().downgrade();
        let mut task = Task::default();
        self.srcpad.start_task(move || {
            let Some(element) = weak.upgrade() else { return };
            element.imp().iterate(&mut task);
        })
    }

    /// One turn of the task: waits for something to do, and does it.
    fn iterate(&self, task: &mut Task) {
        let Task { cursor, idle_at } = task;
        let was_idle_at = idle_at.take();
        let result = match self.outbox.next(cursor, &self.obj()) {
            Next::Idle => {
                *idle_at = Some(self.look_for_standstill(was_idle_at));
                return;
            }
            Next::Stop => {
                let _ = self.srcpad.pause_task();
                return;
            }
            Next::Fill(until) => return self.push_gap(cursor.fill(until)),
            Next::Preroll => {
                gst::debug!(CAT, imp = self, "GAP at {} to preroll with", cursor.pts());
                let gap = gst::event::Gap::builder(cursor.pts()).duration(gst::ClockTime::ZERO);
                return self.push_gap(Some(gap.build()));
            }
            Next::Do(item) => self.push_item(cursor, item),
            Next::Late(late) => {
                cursor.know(late.known);
                self.push_joined(cursor, &late, None)
            }
            Next::Known(known) => {
                let now = self.running_time().unwrap_or(cursor.pts());
                self.push_joined(cursor, &known, Some(now))
            }
        };
        if let Err(error) = result {
            self.downstream_failed(error);
        }
    }

    /// One buffer for all of these words, at this time where it is not theirs.
    fn push_joined(&self, cursor: &mut Cursor, late: &Late, at: Option<gst::ClockTime>) -> Flow {
        let result = self.push_words(cursor, &late.words, at);
        if late.ends {
            self.srcpad.push_event(conventions::final_transcript());
        }
        result
    }

    fn push_item(&self, cursor: &mut Cursor, item: Item) -> Flow {
        match item {
            Item::Event(event) => self.push_stream_event(cursor, event),
            Item::Gap { until } => self.push_gap(cursor.step_to(until)),
            Item::Final => {
                self.srcpad.push_event(conventions::final_transcript());
            }
            Item::Word(word) => return self.push_words(cursor, &[word], None),
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn push_stream_event(&self, cursor: &mut Cursor, event: gst::Event) {
        let ends = match event.view() {
            gst::EventView::Segment(_) if self.is_unsynchronised() => {
                return self.begin_unsynchronised(cursor, event.seqnum());
            }
            gst::EventView::Segment(segment) => {
                self.push_gap(cursor.fill_known());
                if let Ok(segment) = segment.segment().clone().downcast() {
                    cursor.begin_segment(segment);
                }
                None
            }
            gst::EventView::Eos(_) => {
                self.push_gap(cursor.fill_known());
                Some(event.seqnum())
            }
            _ => None,
        };
        if let gst::EventView::StreamStart(start) = event.view() {
            self.unsynced().begin(start);
        }
        self.srcpad.push_event(event);
        if let Some(seqnum) = ends {
            cursor.end();
            self.unsynced().end(seqnum);
            self.end_of_stream(seqnum);
        }
    }

    /// Where words leave when they are known, PTS are running times, in one segment for all.
    fn begin_unsynchronised(&self, cursor: &mut Cursor, seqnum: gst::Seqnum) {
        if cursor.has_segment() {
            return;
        }
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.srcpad.push_event(gst::event::Segment::builder(&segment).seqnum(seqnum).build());
        cursor.begin_segment(segment);
        if let Some(now) = self.running_time() {
            cursor.place(now, gst::ClockTime::ZERO);
        }
    }

    /// One buffer, where the output is if it has passed the words' time, or this one in place of it.
    fn push_words(
        &self,
        cursor: &mut Cursor,
        words: &[Spoken],
        at: Option<gst::ClockTime>,
    ) -> Flow {
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let due = at.unwrap_or(first.pts);
        self.push_gap(cursor.fill(due));
        // As long as the last one: what was said long ago must not hold up what comes now.
        let duration = last.duration();
        let pts = match at {
            Some(now) => cursor.place_now(now, duration),
            None => cursor.place(due, duration),
        };
        let late = if at.is_none() && pts > due { words.len() as u64 } else { 0 };
        if late > 0 {
            gst::debug!(
                CAT,
                imp = self,
                "{late} words from {} on are late, output is at {pts}",
                first.pts
            );
        }
        let mut text = String::new();
        for word in words {
            if word.space_before && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&word.text);
            self.sinkpad.push_event(conventions::new_item(
                word.speaker.as_deref(),
                &word.text,
                cursor.running_time(if at.is_some() { pts } else { word.pts }),
                word.duration(),
            ));
        }
        let mut buffer = gst::Buffer::from_slice(text.into_bytes());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_duration(duration);
            if words.iter().any(|w| w.discont) {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        self.state().count_buffer(late);
        gst::log!(CAT, imp = self, "Pushing {buffer:?}");
        self.srcpad.push(buffer)
    }

    fn push_gap(&self, gap: Option<gst::Event>) {
        if let Some(gap) = gap {
            self.state().count_gap();
            self.srcpad.push_event(gap);
        }
    }

    fn downstream_failed(&self, error: gst::FlowError) {
        match error {
            // Nobody there: the words are on the bus.
            gst::FlowError::NotLinked => return,
            gst::FlowError::Flushing => {}
            gst::FlowError::Eos => gst::debug!(CAT, imp = self, "Downstream wants no more"),
            error => {
                gst::warning!(CAT, imp = self, "Downstream failed: {error}");
                // Upstream has ended and sees no more flow returns: nobody else would tell.
                let ended = self.state().input.has_ended();
                if ended {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Failed,
                        ("Downstream stopped taking text: {error}"),
                        ["flow return {error:?}"]
                    );
                }
            }
        }
        self.outbox.refuse(error);
    }
}
