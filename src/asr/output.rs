// SPDX-License-Identifier: MPL-2.0

//! The source pad: a queue, and a task that pushes words as text buffers and GAPs for the rest.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};
use super::notify;

/// Items in the queue from which on the input waits, so that a blocked sink holds up the source
/// and nothing piles up.
const INPUT_WAITS_AT: usize = 4096;

/// Items in the queue at most. Beyond the input's bound only a server can get there that makes up
/// more words than there is audio for: its words are dropped then, and a log line tells.
const MAX_ITEMS: usize = 65_536;

/// The least that a GAP event tells, where nothing else follows it.
const GAP_STEP: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// What goes out, in order.
#[derive(Debug)]
pub enum Item {
    Event(gst::Event),
    Segment(gst::FormattedSegment<gst::ClockTime>, gst::Event),
    Eos(gst::Event),
    Word {
        text: String,
        pts: gst::ClockTime,
        end: gst::ClockTime,
        discont: bool,
    },
    /// No word begins before this time.
    Gap {
        until: gst::ClockTime,
    },
    /// FLUSH_STOP was here.
    Restart,
}

impl Item {
    fn into_event(self) -> Option<gst::Event> {
        match self {
            Item::Event(e) | Item::Segment(_, e) | Item::Eos(e) => Some(e),
            Item::Word { .. } | Item::Gap { .. } | Item::Restart => None,
        }
    }
}

/// What the task needs to know where the pipeline is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Upstream's latency and our own.
    pub latency: gst::ClockTime,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Item>,
    /// Flushing, or not started.
    stopped: bool,
    /// What downstream answered last.
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// The wait that new items end.
    clock_wait: Option<gst::SingleShotClockId>,
    playing: bool,
    live: Option<Live>,
    /// Events that a flush took out of the queue: sticky ones must not be lost.
    saved: Vec<gst::Event>,
}

/// Queue between the order and the task.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            queue: Mutex::new(Queue {
                items: VecDeque::new(),
                stopped: true,
                flow: Ok(gst::FlowSuccess::Ok),
                clock_wait: None,
                playing: false,
                live: None,
                saved: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that the task or the input may wait for.
    fn change(&self, f: impl FnOnce(&mut Queue)) {
        let clock_wait = {
            let mut queue = self.lock();
            f(&mut queue);
            queue.clock_wait.take()
        };
        self.changed.notify_all();
        if let Some(id) = clock_wait {
            id.unschedule();
        }
    }

    /// Appends items; while stopped only what is sticky is kept.
    pub fn push(&self, items: &mut Vec<Item>) {
        if items.is_empty() {
            return;
        }
        self.change(|queue| {
            if queue.stopped {
                queue.saved.extend(items.drain(..).filter_map(Item::into_event));
            }
            for item in items.drain(..) {
                let full = queue.items.len() >= MAX_ITEMS;
                match (queue.items.back_mut(), item) {
                    (Some(Item::Gap { until }), Item::Gap { until: later }) => {
                        *until = later.max(*until);
                    }
                    (_, Item::Word { .. } | Item::Gap { .. }) if full => {
                        gst::warning!(CAT, "Output queue is full, dropping a word");
                    }
                    (_, item) => queue.items.push_back(item),
                }
            }
        });
    }

    /// Waits until the queue has room; not while stopped or after an error downstream.
    pub fn wait_for_room(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let queue = self
            .changed
            .wait_while(self.lock(), |q| {
                !q.stopped && q.flow.is_ok() && q.items.len() >= INPUT_WAITS_AT
            })
            .unwrap_or_else(PoisonError::into_inner);
        if queue.stopped { Err(gst::FlowError::Flushing) } else { queue.flow }
    }

    /// Ends all waits and forgets all items but the events.
    pub fn stop(&self) {
        self.change(|queue| {
            queue.stopped = true;
            queue.saved.extend(queue.items.drain(..).filter_map(Item::into_event));
        });
    }

    /// The events that [`Outbox::stop`] kept.
    pub fn take_saved(&self) -> Vec<gst::Event> {
        std::mem::take(&mut self.lock().saved)
    }

    /// Takes items again.
    pub fn start(&self) {
        self.change(|queue| {
            queue.stopped = false;
            queue.flow = Ok(gst::FlowSuccess::Ok);
            queue.items.push_back(Item::Restart);
        });
    }

    pub fn set_playing(&self, playing: bool) {
        self.change(|queue| queue.playing = playing);
    }

    pub fn set_live(&self, live: Option<Live>) {
        self.change(|queue| queue.live = live);
    }

    fn set_flow(&self, error: gst::FlowError) {
        self.change(|queue| {
            queue.flow = Err(error);
            queue.items.clear();
        });
    }
}

/// Where the output is. Belongs to the task alone.
#[derive(Debug, Default)]
struct Position {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// PTS up to which everything was pushed.
    pts: gst::ClockTime,
    /// PTS up to which it is known that there is nothing more to push.
    known: gst::ClockTime,
}

/// What the task does next.
enum Next {
    Do(Item),
    /// Live: nothing came in time, tell so up to this PTS.
    Fill(gst::ClockTime),
    Stop,
}

impl Position {
    /// Running time at which sinks need more than what was pushed.
    fn due(&self, live: Live) -> Option<gst::ClockTime> {
        let segment = self.segment.as_ref()?;
        if segment.stop().is_some_and(|stop| self.pts >= stop) {
            return None;
        }
        let running_time = segment.to_running_time(self.pts)?;
        Some(running_time.saturating_add(live.latency).saturating_sub(GAP_STEP / 2))
    }

    /// PTS up to which to fill at running time `now`.
    fn fill_to(&self, live: Live, now: gst::ClockTime) -> Option<gst::ClockTime> {
        let segment = self.segment.as_ref()?;
        let running_time = now.saturating_add(GAP_STEP).checked_sub(live.latency)?;
        let pts = match segment.position_from_running_time(running_time) {
            Some(pts) => pts,
            // Behind the end of the segment.
            None => segment.stop().filter(|_| segment.base() < Some(running_time))?,
        };
        (pts > self.pts).then_some(pts)
    }
}

impl VllmRealtimeAsr {
    /// The source pad is activated or deactivated.
    pub(super) fn activate_src(&self, active: bool) -> Result<(), glib::BoolError> {
        {
            let mut task = self.task_allowed.lock().unwrap_or_else(PoisonError::into_inner);
            *task = active;
            if active {
                self.outbox.start();
            } else {
                self.outbox.stop();
            }
        }
        if active { self.start_task() } else { self.srcpad.stop_task() }
    }

    /// Starts the task of a pad that has none; not on one that is being deactivated.
    pub(super) fn start_task(&self) -> Result<(), glib::BoolError> {
        let task = self.task_allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*task {
            return Ok(());
        }
        let weak = self.obj().downgrade();
        let mut position = Position::default();
        self.srcpad.start_task(move || {
            let Some(element) = weak.upgrade() else { return };
            element.imp().iterate(&mut position);
        })
    }

    /// FLUSH_STOP: takes items again, and a new task begins.
    pub(super) fn restart_output(&self) -> Result<(), glib::BoolError> {
        // A pad that has a task already keeps the old function, and leaks the new one.
        self.srcpad.stop_task()?;
        {
            let task = self.task_allowed.lock().unwrap_or_else(PoisonError::into_inner);
            if *task {
                self.outbox.start();
            }
        }
        self.start_task()
    }

    /// One turn of the task: waits for an item and pushes it.
    fn iterate(&self, position: &mut Position) {
        match self.next(position) {
            Next::Stop => {
                let _ = self.srcpad.pause_task();
            }
            Next::Fill(until) => self.fill(position, until, gst::ClockTime::ZERO),
            Next::Do(item) => {
                let result = self.push_item(position, item);
                if let Err(error) = result {
                    self.downstream_failed(error);
                }
            }
        }
    }

    fn next(&self, position: &Position) -> Next {
        let mut queue = self.outbox.lock();
        let mut filled = false;
        loop {
            if queue.stopped {
                return Next::Stop;
            }
            if let Some(item) = queue.items.pop_front() {
                let room = queue.items.len() + 1 == INPUT_WAITS_AT;
                drop(queue);
                if room {
                    self.outbox.changed.notify_all();
                }
                return Next::Do(item);
            }
            let wait = queue.live.filter(|_| queue.playing && !filled).and_then(|live| {
                let clock = self.obj().clock()?;
                let base_time = self.obj().base_time()?;
                let due = base_time.saturating_add(position.due(live)?);
                Some((live, clock, base_time, due))
            });
            let Some((live, clock, base_time, due)) = wait else {
                queue = self.outbox.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let id = clock.new_single_shot_id(due);
            queue.clock_wait = Some(id.clone());
            drop(queue);
            let (result, _) = id.wait();
            queue = self.outbox.lock();
            // Another wait cannot have begun: this task alone waits on the clock.
            queue.clock_wait = None;
            let reached = match result {
                // Early: it is past that time already, after a push that took long.
                Ok(_) | Err(gst::ClockError::Early) => true,
                Err(gst::ClockError::Unscheduled) => false,
                // A clock that cannot be waited on: only a new item changes that.
                Err(_) => {
                    filled = true;
                    false
                }
            };
            if reached && queue.items.is_empty() && !queue.stopped {
                let now = clock.time().saturating_sub(base_time);
                if let Some(until) = position.fill_to(live, now) {
                    return Next::Fill(until);
                }
                // Nothing left to fill here: only a new item changes that.
                filled = true;
            }
        }
    }

    fn push_item(
        &self,
        position: &mut Position,
        item: Item,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        match item {
            Item::Restart => *position = Position::default(),
            Item::Event(event) => {
                self.srcpad.push_event(event);
            }
            Item::Segment(segment, event) => {
                self.fill(position, position.known, gst::ClockTime::ZERO);
                position.pts =
                    segment.position().or(segment.start()).unwrap_or(gst::ClockTime::ZERO);
                position.known = position.pts;
                position.segment = Some(segment);
                self.srcpad.push_event(event);
            }
            Item::Eos(event) => {
                self.fill(position, position.known, gst::ClockTime::ZERO);
                let seqnum = event.seqnum();
                self.srcpad.push_event(event);
                self.end_of_stream(seqnum);
            }
            Item::Gap { until } => {
                position.known = position.known.max(until);
                self.fill(position, until, GAP_STEP);
            }
            Item::Word { text, pts, end, discont } => {
                return self.push_word(position, text, pts, end, discont);
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn push_word(
        &self,
        position: &mut Position,
        text: String,
        spoken: gst::ClockTime,
        end: gst::ClockTime,
        discont: bool,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let duration = end.saturating_sub(spoken).max(gst::ClockTime::NSECOND);
        let running_time = position.segment.as_ref().and_then(|s| s.to_running_time(spoken));
        self.fill(position, spoken, gst::ClockTime::ZERO);
        let late = position.pts > spoken;
        if late {
            gst::debug!(
                CAT,
                imp = self,
                "A word at {spoken} is late, output is at {}",
                position.pts
            );
        }
        let pts = position.pts.max(spoken);
        self.sinkpad.push_event(notify::new_item(&text, running_time, duration));

        let mut buffer = gst::Buffer::from_slice(text.into_bytes());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_duration(duration);
            if discont {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        position.pts = pts.saturating_add(duration);
        self.count(|own| {
            own.buffers += 1;
            own.late += u64::from(late);
        });
        gst::log!(CAT, imp = self, "Pushing {buffer:?}");
        self.srcpad.push(buffer)
    }

    /// GAP up to `until`, where that is at least `step` away.
    fn fill(&self, position: &mut Position, until: gst::ClockTime, step: gst::ClockTime) {
        let Some(segment) = &position.segment else { return };
        let until = segment.stop().map_or(until, |stop| until.min(stop));
        let Some(duration) = until.checked_sub(position.pts).filter(|d| !d.is_zero()) else {
            return;
        };
        if duration < step {
            return;
        }
        let gap = gst::event::Gap::builder(position.pts).duration(duration).build();
        position.pts = until;
        self.count(|own| own.gaps += 1);
        self.srcpad.push_event(gap);
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
                if self.input_ended() {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Failed,
                        ("Downstream stopped taking text: {error}"),
                        ["flow return {error:?}"]
                    );
                }
            }
        }
        self.outbox.set_flow(error);
    }
}
