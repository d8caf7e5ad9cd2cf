// SPDX-License-Identifier: MPL-2.0

//! The pad `unsynced_src`: what the server says, event by event, stamped with the running time of its
//! arrival. It has a thread of its own, and where nothing is linked to it neither thread nor events.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};

/// Events that wait at most while downstream takes none, and their bytes; of more, the oldest go.
const MOST: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug)]
enum Item {
    /// Another stream, with this STREAM_START.
    Begin(gst::Event),
    /// An event of the server, as JSON, and when it came.
    Json(String, Option<gst::ClockTime>),
    End(gst::Seqnum),
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Of the JSON in them.
    bytes: usize,
    /// STREAM_START of the stream, and its end once that has come.
    stream: Option<gst::Event>,
    ended: Option<gst::Seqnum>,
    /// Its beginning was pushed, and its end was not.
    begun: bool,
    active: bool,
    /// Active, and not flushing.
    open: bool,
    /// The task runs.
    runs: bool,
    /// Downstream takes no more of this stream.
    refused: bool,
}

impl Queue {
    /// What is pushed next. The server may greet before the stream has begun.
    fn next(&mut self) -> Option<Item> {
        let begins = |item: &Item| matches!(item, Item::Begin(_));
        let at = if self.begun { 0 } else { self.items.iter().position(begins)? };
        let next = self.items.remove(at)?;
        match next {
            Item::Begin(_) => (self.begun, self.refused) = (true, false),
            Item::End(_) => self.begun = false,
            Item::Json(ref json, _) => self.bytes -= json.len(),
        }
        Some(next)
    }

    /// Lets go of the oldest of the server's events; `false`: there is none.
    fn lose_one(&mut self) -> bool {
        let json =
            |item: &Item| if let Item::Json(json, _) = item { Some(json.len()) } else { None };
        let oldest = self.items.iter().enumerate().find_map(|(n, item)| Some((n, json(item)?)));
        if let Some((n, bytes)) = oldest {
            self.items.remove(n);
            self.bytes -= bytes;
        }
        oldest.is_some()
    }
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

    /// An event of the server has come at this running time.
    pub fn json(&self, json: String, time: Option<gst::ClockTime>) {
        {
            let mut queue = self.lock();
            if !queue.runs || !queue.open || queue.refused {
                return;
            }
            while (queue.items.len() >= MOST || queue.bytes + json.len() > MOST_BYTES)
                && queue.lose_one()
            {
                gst::warning!(CAT, obj = self.pad, "Nobody takes the server's events: one is lost");
            }
            queue.bytes += json.len();
            queue.items.push_back(Item::Json(json, time));
        }
        self.changed.notify_all();
    }

    /// Behind STREAM_START of the words: this is another stream beside them.
    pub fn begin(&self, words: &gst::event::StreamStart) {
        let id = words.stream_id();
        let id = id.strip_suffix("/text").unwrap_or(id);
        let event = gst::event::StreamStart::builder(&format!("{id}/events"))
            .flags(words.stream_flags())
            .seqnum(words.seqnum())
            .group_id_if_some(words.group_id())
            .build();
        {
            let mut queue = self.lock();
            (queue.stream, queue.ended) = (Some(event.clone()), None);
            if queue.runs && queue.open {
                queue.items.push_back(Item::Begin(event));
            }
        }
        self.changed.notify_all();
    }

    /// Behind EOS of the words: the server says no more.
    pub fn end(&self, seqnum: gst::Seqnum) {
        {
            let mut queue = self.lock();
            queue.ended = Some(seqnum);
            if queue.runs && queue.open {
                queue.items.push_back(Item::End(seqnum));
            }
        }
        self.changed.notify_all();
    }

    /// The pad is active.
    pub fn activate(&self) -> Result<(), glib::BoolError> {
        self.lock().active = true;
        self.open()
    }

    pub fn deactivate(&self) -> Result<(), glib::BoolError> {
        self.lock().active = false;
        self.close();
        self.stop()
    }

    /// It takes events again after a flush.
    pub fn open(&self) -> Result<(), glib::BoolError> {
        {
            let mut queue = self.lock();
            (queue.open, queue.ended) = (queue.active, None);
        }
        self.update()
    }

    /// The pad is linked or open: the task begins, if both are.
    pub fn update(&self) -> Result<(), glib::BoolError> {
        // Locked, so that no task begins on a pad that is being closed.
        let mut queue = self.lock();
        if queue.runs || !queue.open || !self.pad.is_linked() {
            return Ok(());
        }
        (queue.begun, queue.refused) = (false, false);
        let (stream, ended) = (queue.stream.clone(), queue.ended);
        queue.items.extend(stream.map(Item::Begin));
        queue.items.extend(ended.map(Item::End));
        let weak = self.pad.downgrade();
        self.pad.start_task(move || {
            let element = weak.upgrade().and_then(|pad| pad.parent_element());
            if let Some(element) = element.and_downcast_ref::<super::VllmRealtimeAsr>() {
                element.imp().unsynced().iterate();
            }
        })?;
        queue.runs = true;
        Ok(())
    }

    /// The pad is not active any more, or flushes: nothing waits, nothing is pushed.
    pub fn close(&self) {
        {
            let mut queue = self.lock();
            queue.open = false;
            queue.items.clear();
            queue.bytes = 0;
        }
        self.changed.notify_all();
    }

    /// Behind [`Unsynced::close`]: waits for the task to end.
    pub fn stop(&self) -> Result<(), glib::BoolError> {
        self.pad.stop_task()?;
        self.lock().runs = false;
        Ok(())
    }

    /// The run is over.
    pub fn forget(&self) {
        let mut queue = self.lock();
        (queue.stream, queue.ended) = (None, None);
    }

    /// One turn of the task.
    fn iterate(&self) {
        let next = {
            let mut queue = self.lock();
            loop {
                if !queue.open {
                    break None;
                }
                if let Some(next) = queue.next() {
                    break Some(next);
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        match next {
            None => {
                let _ = self.pad.pause_task();
            }
            Some(Item::Begin(start)) => self.push_begin(start),
            Some(Item::Json(json, time)) => self.push_json(json, time),
            Some(Item::End(seqnum)) => {
                self.pad.push_event(gst::event::Eos::builder().seqnum(seqnum).build());
            }
        }
    }

    /// Times of this stream are running times in any case. A sink that waits for something to preroll
    /// with has it.
    fn push_begin(&self, start: gst::Event) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let gap = gst::event::Gap::builder(gst::ClockTime::ZERO).duration(gst::ClockTime::ZERO);
        self.pad.push_event(start);
        if let Some(template) = self.pad.pad_template() {
            self.pad.push_event(gst::event::Caps::new(template.caps()));
        }
        self.pad.push_event(gst::event::Segment::new(&segment));
        self.pad.push_event(gap.build());
    }

    fn push_json(&self, json: String, time: Option<gst::ClockTime>) {
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
        Ok(if active { pad.activate() } else { pad.deactivate() }?)
    }

    pub(super) fn unsynced_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(query) = query.view_mut() {
            self.answer_unsynchronised(query);
            return true;
        }
        gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }
}
