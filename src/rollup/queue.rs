// SPDX-License-Identifier: MPL-2.0

//! What waits between the sink pad and the task of the source pad.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

/// Items from which on the input waits.
const ROOM: usize = 256;

/// So long before the sinks need it the output is made to be there.
const LEAD: gst::ClockTime = gst::ClockTime::from_mseconds(30);

/// What comes in, in order.
#[derive(Debug)]
pub enum Input {
    Buffer(gst::Buffer),
    Event(gst::Event),
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
struct Items {
    items: VecDeque<Input>,
    gate: Gate,
    /// The wait that new items end.
    clock_wait: Option<gst::SingleShotClockId>,
    /// EOS came: upstream sees no more flow returns.
    ended: bool,
    /// In a live pipeline that plays the clock asks for output.
    playing: bool,
    /// Where the pipeline is live: upstream's latency and our own.
    latency: Option<gst::ClockTime>,
}

#[derive(Debug, Default)]
pub struct Queue {
    items: Mutex<Items>,
    changed: Condvar,
}

/// What the task does next.
pub enum Next {
    Take(Input),
    /// The sinks need the output now; they have for so long.
    Due(gst::ClockTime),
    Stop,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, f: impl FnOnce(&mut Items)) {
        let wait = {
            let mut items = self.lock();
            f(&mut items);
            items.clock_wait.take()
        };
        self.changed.notify_all();
        if let Some(id) = wait {
            id.unschedule();
        }
    }

    /// Appends an item; waits for room where a buffer is one too many. Where nothing is linked what
    /// is sticky is kept until something is.
    pub fn push(&self, input: Input) -> Result<(), gst::FlowError> {
        let is_sticky = matches!(&input, Input::Event(e) if e.is_sticky());
        let ends = matches!(&input, Input::Event(e) if e.type_() == gst::EventType::Eos);
        let is_full = |q: &mut Items| q.gate == Gate::Open && q.items.len() >= ROOM;
        let items = self.lock();
        let items = self.changed.wait_while(items, is_full).unwrap_or_else(PoisonError::into_inner);
        match items.gate {
            Gate::Stopped => return Err(gst::FlowError::Flushing),
            Gate::Refused(gst::FlowError::NotLinked) if is_sticky && !ends => drop(items),
            Gate::Refused(error) => return Err(error),
            Gate::Open => drop(items),
        }
        self.change(|items| {
            items.ended |= ends;
            items.items.push_back(input);
        });
        Ok(())
    }

    pub fn start(&self) {
        self.change(|items| (items.gate, items.ended) = (Gate::Open, false));
    }

    /// Something may be linked now.
    pub fn reconfigure(&self) {
        self.change(|items| {
            if items.gate == Gate::Refused(gst::FlowError::NotLinked) {
                items.gate = Gate::Open;
            }
        });
    }

    /// Ends all waits and forgets all items; returns the events that are sticky.
    pub fn stop(&self) -> Vec<gst::Event> {
        let mut sticky = Vec::new();
        self.change(|items| {
            items.gate = Gate::Stopped;
            sticky.extend(items.items.drain(..).filter_map(|input| match input {
                Input::Event(event) if event.is_sticky() => Some(event),
                _ => None,
            }));
        });
        sticky
    }

    /// Downstream takes no more. Whether upstream will not hear of it.
    pub fn refuse(&self, error: gst::FlowError) -> bool {
        let mut ended = false;
        self.change(|items| {
            if items.gate == Gate::Open {
                items.gate = Gate::Refused(error);
            }
            let kept = error == gst::FlowError::NotLinked;
            items.items.retain(|i| kept && matches!(i, Input::Event(e) if e.is_sticky()));
            ended = items.ended;
        });
        ended
    }

    pub fn set_playing(&self, playing: bool) {
        self.change(|items| items.playing = playing);
    }

    pub fn set_latency(&self, latency: Option<gst::ClockTime>) {
        self.change(|items| items.latency = latency);
    }

    /// What the task does next; waits for it. `front`: running time up to which the output is
    /// complete.
    pub fn next(&self, front: Option<gst::ClockTime>, element: &super::TextRollUp) -> Next {
        let mut items = self.lock();
        loop {
            match items.gate {
                Gate::Stopped => return Next::Stop,
                Gate::Refused(_) => {
                    items = self.changed.wait(items).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Gate::Open => {}
            }
            if let Some(input) = items.items.pop_front() {
                // The input may wait for room.
                self.changed.notify_all();
                return Next::Take(input);
            }
            let live = items.latency.filter(|_| items.playing);
            let due = live.and_then(|latency| {
                let clock = element.clock()?;
                let due = element.base_time()?.saturating_add(front?).saturating_add(latency);
                Some((clock, due.saturating_sub(LEAD)))
            });
            let Some((clock, due)) = due else {
                items = self.changed.wait(items).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let id = clock.new_single_shot_id(due);
            items.clock_wait = Some(id.clone());
            drop(items);
            let (result, _) = id.wait();
            items = self.lock();
            items.clock_wait = None;
            match result {
                Ok(_) | Err(gst::ClockError::Early) if items.items.is_empty() => {
                    return Next::Due(clock.time().saturating_sub(due));
                }
                Ok(_) | Err(gst::ClockError::Early | gst::ClockError::Unscheduled) => {}
                // A clock that cannot be waited on.
                Err(_) => {
                    items = self.changed.wait(items).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}
