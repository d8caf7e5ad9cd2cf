// SPDX-License-Identifier: MPL-2.0

//! The pad `unsynced_src`: what the server says, event by event, stamped with the running time of its
//! arrival. It has a thread of its own, and where nothing is linked to it neither thread nor events.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};

/// Events that wait at most while downstream takes none; of more, the oldest go.
const MOST: usize = 4096;

#[derive(Debug)]
enum Item {
    /// An event of the server, as JSON, and when it came.
    Json(String, Option<gst::ClockTime>),
    Event(gst::Event),
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// The pad is active, and not flushing.
    open: bool,
    /// The task runs.
    runs: bool,
    /// Downstream takes no more until a flush.
    refused: bool,
}

/// The pad, and what waits for it.
#[derive(Debug)]
pub struct Unsynced {
    pad: gst::Pad,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Unsynced {
    pub fn new(pad: gst::Pad) -> Unsynced {
        Unsynced { pad, queue: Mutex::default(), changed: Condvar::new() }
    }

    pub fn pad(&self) -> &gst::Pad {
        &self.pad
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody takes what the server says.
    pub fn is_wanted(&self) -> bool {
        let queue = self.lock();
        queue.runs && queue.open && !queue.refused && self.pad.is_linked()
    }

    fn push(&self, item: Item) {
        {
            let mut queue = self.lock();
            if !queue.runs || !queue.open || queue.refused {
                return;
            }
            let json = |item: &Item| matches!(item, Item::Json(..));
            if queue.items.len() >= MOST
                && let Some(oldest) = queue.items.iter().position(json)
            {
                gst::warning!(CAT, obj = self.pad, "Nobody takes the server's events: one is lost");
                queue.items.remove(oldest);
            }
            queue.items.push_back(item);
        }
        self.changed.notify_all();
    }

    /// An event of the server has come at this running time.
    pub fn json(&self, json: String, time: Option<gst::ClockTime>) {
        self.push(Item::Json(json, time));
    }

    /// STREAM_START of the audio: this is another stream.
    pub fn begin_stream(&self, start: &gst::event::StreamStart) {
        let event = gst::event::StreamStart::builder(&format!("{}/events", start.stream_id()))
            .flags(start.stream_flags() | gst::StreamFlags::SPARSE)
            .seqnum(start.seqnum())
            .group_id_if_some(start.group_id())
            .build();
        self.store(&event);
        if let Some(template) = self.pad.pad_template() {
            self.store(&gst::event::Caps::new(template.caps()));
        }
    }

    /// SEGMENT of the audio: times of this stream are running times in any case. A sink that waits for
    /// something to preroll with has it.
    pub fn begin_segment(&self, seqnum: gst::Seqnum) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.store(&gst::event::Segment::builder(&segment).seqnum(seqnum).build());
        let gap = gst::event::Gap::builder(gst::ClockTime::ZERO).duration(gst::ClockTime::ZERO);
        self.push(Item::Event(gap.build()));
    }

    /// What is linked, now or later, has it before all else.
    fn store(&self, event: &gst::Event) {
        if let Err(err) = self.pad.store_sticky_event(event) {
            gst::debug!(CAT, obj = self.pad, "{event:?} is not stored: {err}");
        }
    }

    /// EOS of the words: the server says no more.
    pub fn end(&self, seqnum: gst::Seqnum) {
        self.push(Item::Event(gst::event::Eos::builder().seqnum(seqnum).build()));
    }

    /// The pad is active, or takes events again after a flush.
    pub fn open(&self) -> Result<(), glib::BoolError> {
        {
            let mut queue = self.lock();
            queue.open = true;
            queue.refused = false;
        }
        self.update()
    }

    /// The pad is linked or open: the task begins, if both are.
    pub fn update(&self) -> Result<(), glib::BoolError> {
        {
            let mut queue = self.lock();
            if queue.runs || !queue.open || !self.pad.is_linked() {
                return Ok(());
            }
            queue.runs = true;
        }
        let weak = self.pad.downgrade();
        let started = self.pad.start_task(move || {
            let element = weak.upgrade().and_then(|pad| pad.parent_element());
            if let Some(element) = element.and_downcast_ref::<super::VllmRealtimeAsr>() {
                element.imp().unsynced().iterate();
            }
        });
        started.inspect_err(|_| self.lock().runs = false)
    }

    /// The pad is not active any more, or flushes: nothing waits, nothing is pushed.
    pub fn close(&self) {
        {
            let mut queue = self.lock();
            queue.open = false;
            queue.items.clear();
        }
        self.changed.notify_all();
    }

    /// Behind [`Unsynced::close`]: waits for the task to end.
    pub fn stop(&self) -> Result<(), glib::BoolError> {
        self.pad.stop_task()?;
        self.lock().runs = false;
        Ok(())
    }

    /// One turn of the task.
    fn iterate(&self) {
        let queue = self
            .changed
            .wait_while(self.lock(), |q| q.open && q.items.is_empty())
            .map(|mut q| q.items.pop_front().filter(|_| q.open));
        let Some(item) = queue.unwrap_or_default() else {
            let _ = self.pad.pause_task();
            return;
        };
        let (json, time) = match item {
            Item::Json(json, time) => (json, time),
            Item::Event(event) => {
                self.pad.push_event(event);
                return;
            }
        };
        let mut buffer = gst::Buffer::from_slice(json.into_bytes());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(time);
        }
        match self.pad.push(buffer) {
            Ok(_) | Err(gst::FlowError::NotLinked | gst::FlowError::Flushing) => {}
            Err(error) => {
                gst::info!(CAT, obj = self.pad, "Downstream takes no more events: {error}");
                self.lock().refused = true;
            }
        }
    }
}

impl VllmRealtimeAsr {
    /// The pad is activated or deactivated.
    pub(super) fn activate_unsynced(
        &self,
        mode: gst::PadMode,
        active: bool,
    ) -> Result<(), gst::LoggableError> {
        if mode != gst::PadMode::Push {
            return Err(gst::loggable_error!(CAT, "The pad can only push"));
        }
        let pad = self.unsynced();
        if active {
            pad.open()?;
        } else {
            pad.close();
            pad.stop()?;
        }
        Ok(())
    }

    pub(super) fn unsynced_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(query) = query.view_mut() {
            self.answer_unsynchronised(query);
            return true;
        }
        gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }
}
