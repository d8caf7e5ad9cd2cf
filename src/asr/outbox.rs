// SPDX-License-Identifier: MPL-2.0

//! The queue between the order of the stream and the task of the source pad.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;

use super::cursor::{Cursor, GAP_STEP};
use super::imp::CAT;
use super::standstill::{PATIENCE, pipeline_plays};

/// Items in the queue from which on the input waits, so that a blocked sink holds up the source
/// and nothing piles up.
const INPUT_WAITS_AT: usize = 4096;

/// Items in the queue at most. Beyond the input's bound only a server can get there that makes up
/// more words than there is audio for: its words are dropped then, and a log line tells.
const MAX_ITEMS: usize = 65_536;

/// While the pipeline has not set its base time anew, it is looked at so often.
const LOOKS: Duration = Duration::from_millis(20);

/// With this latency the GAPs are never further behind the clock than half of it.
const FOLLOWS: gst::ClockTime = GAP_STEP;

/// What goes out, in order.
#[derive(Debug)]
pub enum Item {
    Event(gst::Event),
    /// An utterance is over.
    Final,
    Word(Spoken),
    /// No word begins before this time.
    Gap {
        until: gst::ClockTime,
    },
}

/// A word on its way out.
#[derive(Debug, Default)]
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
    pub fn duration(&self) -> gst::ClockTime {
        self.end.saturating_sub(self.pts).max(gst::ClockTime::NSECOND)
    }
}

impl Item {
    fn into_event(self) -> Option<gst::Event> {
        if let Item::Event(event) = self { Some(event) } else { None }
    }

    pub fn is_eos(&self) -> bool {
        matches!(self, Item::Event(event) if event.type_() == gst::EventType::Eos)
    }
}

/// Whether items are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Gate {
    /// Flushing, or not started.
    #[default]
    Stopped,
    Open,
    /// Downstream answered this: the input has to know.
    Refused(gst::FlowError),
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    gate: Gate,
    /// More items come in a moment, which may leave together with these.
    held: bool,
    /// The wait that new items end.
    clock_wait: Option<gst::SingleShotClockId>,
    playing: bool,
    /// Sinks behind the element have something to preroll with. They may wait for it in PLAYING, too,
    /// which may come first.
    prerolled: bool,
    /// FLUSH_STOP has set the running time back, and this base time does not count any more.
    stale_base: Option<gst::ClockTime>,
    /// Behind that, a sink may wait for something to preroll with.
    prerolls_again: bool,
    /// The user knows that the pipeline stands still, or has no need to.
    standstill_told: bool,
    /// In a live pipeline: upstream's latency and our own.
    latency: Option<gst::ClockTime>,
    /// Words leave when they are known.
    unsynchronised: bool,
    /// Events that a flush took out of the queue: sticky ones must not be lost.
    saved: Vec<gst::Event>,
}

impl Queue {
    /// Whether the base time is still that from before a flush: the pipeline sets another one once its
    /// sinks have prerolled. Where none of them does, it stays.
    fn is_stale(&self, element: &super::VllmRealtimeAsr) -> bool {
        self.stale_base.is_some()
            && self.stale_base == element.base_time()
            && !pipeline_plays(element)
    }
}

/// Queue between the order and the task.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
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
    pub fn push(&self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        self.change(|queue| {
            if queue.gate == Gate::Stopped {
                queue.saved.extend(items.into_iter().filter_map(Item::into_event));
                return;
            }
            for item in items {
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
    pub fn wait_for_room(&self) -> Result<(), gst::FlowError> {
        let queue = self
            .changed
            .wait_while(self.lock(), |q| q.gate == Gate::Open && q.items.len() >= INPUT_WAITS_AT)
            .unwrap_or_else(PoisonError::into_inner);
        match queue.gate {
            Gate::Open => Ok(()),
            Gate::Stopped => Err(gst::FlowError::Flushing),
            Gate::Refused(error) => Err(error),
        }
    }

    /// Ends all waits and forgets all items but the events.
    pub fn stop(&self) {
        self.change(|queue| {
            queue.gate = Gate::Stopped;
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
            queue.gate = Gate::Open;
            queue.prerolled &= queue.playing;
            queue.standstill_told = false;
        });
    }

    pub fn set_playing(&self, playing: bool) {
        self.change(|queue| {
            (queue.playing, queue.stale_base) = (playing, None);
            queue.prerolled &= playing;
        });
    }

    /// FLUSH_STOP sets the running time back: it counts from another base time than this one.
    pub fn set_back(&self, base_time: Option<gst::ClockTime>) {
        self.change(|queue| (queue.stale_base, queue.prerolls_again) = (base_time, true));
    }

    /// Whether the element's running time is that of the pipeline.
    pub fn knows_time(&self, element: &super::VllmRealtimeAsr) -> bool {
        let queue = self.lock();
        queue.playing && !queue.is_stale(element)
    }

    /// Where the pipeline is live: its latency, ours with it.
    pub fn set_latency(&self, latency: Option<gst::ClockTime>) {
        self.change(|queue| queue.latency = latency);
    }

    /// Words leave when they are known, whatever their time, and GAPs follow the clock.
    pub fn set_unsynchronised(&self, unsynchronised: bool) {
        self.change(|queue| {
            queue.unsynchronised = unsynchronised;
            queue.latency = unsynchronised.then_some(FOLLOWS);
        });
    }

    pub fn set_standstill_told(&self) {
        self.lock().standstill_told = true;
    }

    /// Downstream takes no more.
    pub fn refuse(&self, error: gst::FlowError) {
        self.change(|queue| {
            if queue.gate == Gate::Open {
                queue.gate = Gate::Refused(error);
            }
            // EOS above all.
            queue.items.retain(|item| matches!(item, Item::Event(_)));
        });
    }

    /// Waits for a change; nothing tells that the base time is another one.
    fn wait_while_stale<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        stale: bool,
    ) -> MutexGuard<'a, Queue> {
        let most = if stale { LOOKS } else { Duration::MAX };
        self.changed.wait_timeout(queue, most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// What the task does next; waits for it.
    pub fn next(&self, cursor: &Cursor, element: &super::VllmRealtimeAsr) -> Next {
        let mut queue = self.lock();
        // Whether waiting for the clock can bring anything yet.
        let mut waits = true;
        loop {
            if queue.gate == Gate::Stopped {
                return Next::Stop;
            }
            if queue.held {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let stale = queue.is_stale(element);
            let playing = queue.playing && !stale;
            if stale && cursor.has_segment() && std::mem::take(&mut queue.prerolls_again) {
                return Next::Preroll;
            }
            if queue.unsynchronised && !queue.items.is_empty() {
                match queue.items.pop_front() {
                    // In the time of the stream, which is not that of the output.
                    Some(Item::Gap { .. }) => continue,
                    Some(word @ Item::Word(_)) => {
                        queue.items.push_front(word);
                        if playing {
                            self.changed.notify_all();
                            return Next::Known(Late::take_all(&mut queue.items));
                        }
                        // The running time stands still.
                        queue = self.wait_while_stale(queue, stale);
                        continue;
                    }
                    next => {
                        self.changed.notify_all();
                        return next.map_or(Next::Stop, Next::Do);
                    }
                }
            }
            let live = queue.latency.filter(|_| playing);
            let clock =
                live.and_then(|latency| Some((latency, element.clock()?, element.base_time()?)));
            // Late words leave no sooner than the output gets there: until then more of them may
            // come, which leave with them. At the end of the stream none do.
            let late = clock.is_some() && queue.items.front().is_some_and(|i| cursor.is_late(i));
            let ends = queue.items.back().is_some_and(Item::is_eos);
            let due = clock.filter(|_| waits && !ends && (late || queue.items.is_empty()));
            let due = due.and_then(|(latency, clock, base_time)| {
                let due = base_time.saturating_add(cursor.due(latency)?);
                (queue.items.is_empty() || clock.time() < due)
                    .then_some((latency, clock, base_time, due))
            });
            if due.is_none() && !queue.items.is_empty() {
                let next = if late {
                    Next::Late(Late::take(&mut queue.items, cursor))
                } else {
                    queue.items.pop_front().map_or(Next::Stop, Next::Do)
                };
                // The input may wait for room.
                self.changed.notify_all();
                return next;
            }
            if !queue.prerolled && cursor.has_segment() && !queue.unsynchronised {
                queue.prerolled = true;
                return Next::Preroll;
            }
            let Some((latency, clock, base_time, due)) = due else {
                if stale {
                    queue = self.wait_while_stale(queue, true);
                    continue;
                }
                let patience = if queue.standstill_told { Duration::MAX } else { PATIENCE };
                let wait = self.changed.wait_timeout(queue, patience);
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
            queue = self.lock();
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
            let same = element.base_time() == Some(base_time);
            if reached && same && queue.items.is_empty() && queue.gate != Gate::Stopped {
                let now = clock.time().saturating_sub(base_time);
                if let Some(until) = cursor.fill_to(latency, now) {
                    return Next::Fill(until);
                }
                // Nothing left to fill here: only a new item changes that.
                waits = false;
            }
        }
    }
}

/// What the task does next.
pub enum Next {
    Do(Item),
    /// These words are late: one buffer for all of them.
    Late(Late),
    /// Not synchronised: these words are known now, one buffer for all of them.
    Known(Late),
    /// Live: nothing came in time, tell so up to this PTS.
    Fill(gst::ClockTime),
    /// Whatever comes next, this is where the output is.
    Preroll,
    /// There was nothing to do for a while.
    Idle,
    Stop,
}

/// Words that are late, and what stood between them.
#[derive(Debug, Default)]
pub struct Late {
    pub words: Vec<Spoken>,
    /// Utterances ended among them or behind them.
    pub ends: bool,
    /// PTS up to which nothing more is to come.
    pub known: gst::ClockTime,
}

impl Late {
    /// Takes all words up to the next event, whatever their times.
    fn take_all(items: &mut VecDeque<Item>) -> Late {
        let mut all = Late::default();
        while let Some(item) = items.pop_front() {
            match item {
                Item::Word(word) => all.words.push(word),
                Item::Gap { .. } => {}
                Item::Final => {
                    all.ends = true;
                    break;
                }
                Item::Event(_) => {
                    items.push_front(item);
                    break;
                }
            }
        }
        all
    }

    /// Takes what is late from the front of the queue, up to the first thing that has a place of
    /// its own.
    fn take(items: &mut VecDeque<Item>, cursor: &Cursor) -> Late {
        let mut late = Late::default();
        while let Some(item) = items.pop_front() {
            match item {
                Item::Word(word) if word.pts < cursor.pts() => late.words.push(word),
                Item::Gap { until } if until <= cursor.pts() => late.known = until,
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
