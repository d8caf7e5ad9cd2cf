// SPDX-License-Identifier: MPL-2.0

//! The source pad: a queue, and a task that pushes words as text buffers and GAPs for the rest.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};
use super::messages;
use super::standstill::PATIENCE;

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
    /// An utterance is over.
    Final,
    Word(Spoken),
    /// No word begins before this time.
    Gap {
        until: gst::ClockTime,
    },
    /// FLUSH_STOP was here.
    Restart,
}

/// A word on its way out.
#[derive(Debug)]
pub struct Spoken {
    pub text: String,
    pub space_before: bool,
    pub speaker: Option<String>,
    /// When it was spoken.
    pub pts: gst::ClockTime,
    pub end: gst::ClockTime,
    pub discont: bool,
}

impl Spoken {
    fn duration(&self) -> gst::ClockTime {
        self.end.saturating_sub(self.pts).max(gst::ClockTime::NSECOND)
    }
}

impl Item {
    fn into_event(self) -> Option<gst::Event> {
        match self {
            Item::Event(e) | Item::Segment(_, e) | Item::Eos(e) => Some(e),
            Item::Final | Item::Word(_) | Item::Gap { .. } | Item::Restart => None,
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
    /// More items come in a moment, which may leave together with these.
    held: bool,
    /// What downstream answered last.
    flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// The wait that new items end.
    clock_wait: Option<gst::SingleShotClockId>,
    playing: bool,
    /// A sink behind the element may wait for something to preroll with.
    prerolls: bool,
    /// The user knows that the pipeline stands still, or has no need to.
    standstill_told: bool,
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
                held: false,
                flow: Ok(gst::FlowSuccess::Ok),
                clock_wait: None,
                playing: false,
                prerolls: true,
                standstill_told: false,
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
                    (_, Item::Word(_) | Item::Gap { .. }) if full => {
                        gst::warning!(CAT, "Output queue is full, dropping a word");
                    }
                    (_, item) => queue.items.push_back(item),
                }
            }
        });
    }

    /// Whether the task is to leave the items alone for a moment: more come.
    pub fn hold(&self, held: bool) {
        self.lock().held = held;
        // Not one that waits for the clock: items have woken it, if there were any.
        self.changed.notify_all();
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
            queue.prerolls = true;
            queue.standstill_told = false;
        });
    }

    pub fn set_playing(&self, playing: bool) {
        self.change(|queue| {
            queue.playing = playing;
            queue.prerolls = !playing;
        });
    }

    pub fn set_live(&self, live: Option<Live>) {
        self.change(|queue| queue.live = live);
    }

    pub fn set_standstill_told(&self) {
        self.lock().standstill_told = true;
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
struct OutputCursor {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// PTS up to which everything was pushed.
    pts: gst::ClockTime,
    /// PTS up to which it is known that there is nothing more to push.
    known: gst::ClockTime,
    /// Samples that had come when there was nothing to do for a while.
    idle_at: Option<u64>,
}

/// What the task does next.
enum Next {
    Do(Item),
    /// These words are late: one buffer for all of them.
    Late(Late),
    /// Live: nothing came in time, tell so up to this PTS.
    Fill(gst::ClockTime),
    /// Paused: whatever comes next, this is where the output is.
    Preroll,
    /// There was nothing to do for a while.
    Idle,
    Stop,
}

/// Words that are late, and what stood between them.
#[derive(Debug, Default)]
struct Late {
    words: Vec<Spoken>,
    /// Utterances ended among them or behind them.
    ends: bool,
    /// PTS up to which nothing more is to come.
    known: gst::ClockTime,
}

impl Late {
    /// Takes what is late from the front of the queue, up to the first thing that has a place of
    /// its own.
    fn take(items: &mut VecDeque<Item>, position: &OutputCursor) -> Late {
        let mut late = Late::default();
        while let Some(item) = items.pop_front() {
            match item {
                Item::Word(word) if word.pts < position.pts => late.words.push(word),
                Item::Gap { until } if until <= position.pts => late.known = until,
                Item::Final if !late.words.is_empty() => late.ends = true,
                other => {
                    items.push_front(other);
                    break;
                }
            }
        }
        late
    }
}

impl OutputCursor {
    /// A word that is this little late is moved, and no more is made of it.
    const A_LITTLE: gst::ClockTime = gst::ClockTime::from_mseconds(50);

    /// Whether the output has passed the time of this word.
    fn is_late(&self, item: &Item) -> bool {
        let Item::Word(word) = item else { return false };
        word.pts.saturating_add(OutputCursor::A_LITTLE) < self.pts
    }

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
        let mut position = OutputCursor::default();
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
    fn iterate(&self, position: &mut OutputCursor) {
        match self.next(position) {
            Next::Stop => {
                let _ = self.srcpad.pause_task();
            }
            Next::Fill(until) => self.fill(position, until, gst::ClockTime::ZERO),
            Next::Preroll => {
                gst::debug!(CAT, imp = self, "GAP at {} to preroll with", position.pts);
                self.count(|own| own.gaps += 1);
                let gap = gst::event::Gap::builder(position.pts).duration(gst::ClockTime::ZERO);
                self.srcpad.push_event(gap.build());
            }
            Next::Idle => {
                position.idle_at = Some(self.look_for_standstill(position.idle_at));
            }
            Next::Do(item) => {
                position.idle_at = None;
                let result = self.push_item(position, item);
                if let Err(error) = result {
                    self.downstream_failed(error);
                }
            }
            Next::Late(late) => {
                if let Err(error) = self.push_late(position, late) {
                    self.downstream_failed(error);
                }
            }
        }
    }

    fn next(&self, position: &OutputCursor) -> Next {
        let mut queue = self.outbox.lock();
        // Whether waiting for the clock can bring anything yet.
        let mut waits = true;
        loop {
            if queue.stopped {
                return Next::Stop;
            }
            if queue.held {
                queue = self.outbox.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let clock = queue.live.filter(|_| queue.playing).and_then(|live| {
                let clock = self.obj().clock()?;
                Some((live, clock, self.obj().base_time()?))
            });
            // Late words leave no sooner than the output gets there: until then more of them may
            // come, which leave with them. At the end of the stream none do.
            let late = clock.is_some() && queue.items.front().is_some_and(|i| position.is_late(i));
            let ends = matches!(queue.items.back(), Some(Item::Eos(_)));
            let due = clock.filter(|_| waits && !ends && (late || queue.items.is_empty()));
            let due = due.and_then(|(live, clock, base_time)| {
                let due = base_time.saturating_add(position.due(live)?);
                (queue.items.is_empty() || clock.time() < due)
                    .then_some((live, clock, base_time, due))
            });
            if due.is_none() && !queue.items.is_empty() {
                let was_full = queue.items.len() >= INPUT_WAITS_AT;
                let next = if late {
                    Next::Late(Late::take(&mut queue.items, position))
                } else {
                    queue.items.pop_front().map_or(Next::Stop, Next::Do)
                };
                let room = was_full && queue.items.len() < INPUT_WAITS_AT;
                drop(queue);
                if room {
                    self.outbox.changed.notify_all();
                }
                return next;
            }
            if !queue.playing && queue.prerolls && position.segment.is_some() {
                queue.prerolls = false;
                return Next::Preroll;
            }
            let Some((live, clock, base_time, due)) = due else {
                let changed = &self.outbox.changed;
                if queue.standstill_told {
                    queue = changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let wait = changed.wait_timeout(queue, PATIENCE);
                let (guard, wait) = wait.unwrap_or_else(PoisonError::into_inner);
                if wait.timed_out() {
                    return Next::Idle;
                }
                queue = guard;
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
                    waits = false;
                    false
                }
            };
            if reached && queue.items.is_empty() && !queue.stopped {
                let now = clock.time().saturating_sub(base_time);
                if let Some(until) = position.fill_to(live, now) {
                    return Next::Fill(until);
                }
                // Nothing left to fill here: only a new item changes that.
                waits = false;
            }
        }
    }

    fn push_item(
        &self,
        position: &mut OutputCursor,
        item: Item,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        match item {
            Item::Restart => *position = OutputCursor::default(),
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
            Item::Final => {
                self.srcpad.push_event(messages::final_transcript());
            }
            Item::Word(word) => {
                return self.push_words(position, vec![word]);
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Words whose time has passed: one buffer at the output's position.
    fn push_late(
        &self,
        position: &mut OutputCursor,
        late: Late,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        position.known = position.known.max(late.known);
        let result = self.push_words(position, late.words);
        if late.ends {
            self.srcpad.push_event(messages::final_transcript());
        }
        result
    }

    /// One buffer. Several words are late, all of them; a single one may be.
    fn push_words(
        &self,
        position: &mut OutputCursor,
        words: Vec<Spoken>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        self.fill(position, first.pts, gst::ClockTime::ZERO);
        let late = position.pts > first.pts;
        if late {
            gst::debug!(
                CAT,
                imp = self,
                "{} words from {} on are late, output is at {}",
                words.len(),
                first.pts,
                position.pts
            );
        }
        let pts = position.pts.max(first.pts);
        // As long as the last one: what was said long ago must not hold up what comes now.
        let duration = last.duration();
        let discont = words.iter().any(|w| w.discont);
        let mut text = String::new();
        for word in &words {
            if word.space_before && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&word.text);
            let spoken = position.segment.as_ref().and_then(|s| s.to_running_time(word.pts));
            self.sinkpad.push_event(messages::new_item(
                word.speaker.as_deref(),
                &word.text,
                spoken,
                word.duration(),
            ));
        }
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
            own.late += if late { words.len() as u64 } else { 0 };
        });
        gst::log!(CAT, imp = self, "Pushing {buffer:?}");
        self.srcpad.push(buffer)
    }

    /// GAP up to `until`, where that is at least `step` away.
    fn fill(&self, position: &mut OutputCursor, until: gst::ClockTime, step: gst::ClockTime) {
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
