// SPDX-License-Identifier: MPL-2.0

//! The session, the network and the servers under a virtual clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use gstvllmrealtime::Position;
use gstvllmrealtime::realtime::Output;
use gstvllmrealtime::realtime::session::{Action, Lost, Session};

use crate::checks::Checks;
use crate::element::Element;
use crate::schedule::{Input, MS, SECOND, Schedule, Trouble, When};
use crate::server::{Meaning, Micros};
use vllm_standin::Random;

mod faults;
mod network;

use network::{Link, lost};

/// Steps after which a run counts as endless.
const MOST_STEPS: u64 = 1_000_000;
/// How long outputs may lie until they are taken.
const OUTPUTS_WAIT: Micros = SECOND;

/// What is told to the client.
#[derive(Debug)]
enum News {
    Binary(usize),
    Connected,
    Message(String, Meaning),
    Lost(Lost),
}

#[derive(Debug)]
enum Event {
    Input,
    Up(usize, String),
    /// The client closed.
    Closed(usize),
    Down(usize, News),
    Step(usize),
    Fault(usize),
    /// A connection has lived long enough.
    Dies(usize),
    Calm,
}

pub struct World<'a> {
    schedule: &'a Schedule,
    session: Session,
    checks: Checks<'a>,
    element: Option<Element>,
    rng: Random,
    /// Time that has not passed yet for the audio of a bunch.
    owed: Micros,
    now: Micros,
    events: BinaryHeap<Reverse<(Micros, u64)>>,
    /// What the events are, by number.
    pending: std::collections::HashMap<u64, Event>,
    numbers: u64,
    links: Vec<Link>,
    /// The one that the client has, and whether it is open.
    active: Option<(usize, bool)>,
    down_until: Vec<Micros>,
    jam_until: Micros,
    slow: (u64, Micros),
    troubles: VecDeque<Trouble>,
    faults_by_count: Vec<(u64, usize)>,
    messages: u64,
    generations: usize,
    /// The client heard words.
    proven: bool,
    inputs: VecDeque<Input>,
    position: u64,
    /// The input waits for room.
    blocked: bool,
    /// The input waits for this drain.
    waits_for: Option<u64>,
    drains: u64,
    flushes: u64,
    trace: Option<Vec<String>>,
}

impl<'a> World<'a> {
    pub fn new(schedule: &'a Schedule, mut rng: Random, trace: bool) -> World<'a> {
        let mut session = Session::new(schedule.config.clone(), rng.draw());
        session.set_live(schedule.live);
        if schedule.context_known {
            session.set_context(schedule.servers[0].context);
        }
        let mut world = World {
            session,
            checks: Checks::new(schedule),
            element: schedule.source.as_ref().map(|source| {
                let silence = schedule.config.silence_commit.as_millis() as u64 * 16;
                Element::new(source, silence)
            }),
            rng,
            owed: 0,
            now: 0,
            events: BinaryHeap::new(),
            pending: Default::default(),
            numbers: 0,
            links: Vec::new(),
            active: None,
            down_until: vec![0; schedule.servers.len()],
            jam_until: 0,
            slow: (1, 0),
            troubles: VecDeque::new(),
            faults_by_count: Vec::new(),
            messages: 0,
            generations: 0,
            proven: false,
            inputs: schedule.inputs.iter().copied().collect(),
            position: 0,
            blocked: false,
            waits_for: None,
            drains: 0,
            flushes: 0,
            trace: trace.then(Vec::new),
            schedule,
        };
        world.at(0, Event::Input);
        world.at(schedule.calm_at, Event::Calm);
        for (i, (when, _)) in schedule.faults.iter().enumerate() {
            match *when {
                When::At(at) => world.at(at, Event::Fault(i)),
                When::Messages(n) => world.faults_by_count.push((n, i)),
            }
        }
        world
    }

    /// Runs to the end; what is wrong, and what happened.
    pub fn run(mut self) -> (Result<(), String>, Vec<String>) {
        let result = self.go();
        if let (Some(trace), Err(why)) = (&mut self.trace, &result) {
            trace.push(format!("{:>12} FAILED: {why}\n{:#?}", self.now, self.session.stats()));
        }
        (result, self.trace.unwrap_or_default())
    }

    fn go(&mut self) -> Result<(), String> {
        for _ in 0..MOST_STEPS {
            if self.is_over() {
                let generations = self.links.iter().flat_map(|l| l.connection.all_generations());
                return self.checks.finish(&self.session.stats(), generations);
            }
            self.turn()?;
            if self.now > self.checks.deadline() {
                return Err(format!("not over at {} ms", self.now / MS));
            }
        }
        Err("endless".into())
    }

    fn is_over(&self) -> bool {
        self.inputs.is_empty() && self.waits_for.is_none() || self.session.has_failed()
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9}.{:03} {}", self.now / MS, self.now % MS, line()));
        }
    }

    fn at(&mut self, at: Micros, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse((at, self.numbers)));
        self.pending.insert(self.numbers, event);
    }

    fn time(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// When the session wants to be woken.
    fn wake(&self) -> Option<Micros> {
        self.session.wake_at().map(|d| d.as_nanos().div_ceil(1000) as Micros)
    }

    /// Nothing but what goes wrong is still to come.
    fn is_idle(&self) -> bool {
        let under_way = |e: &Event| !matches!(e, Event::Fault(_) | Event::Dies(_) | Event::Calm);
        self.wake().is_none() && !self.pending.values().any(under_way)
    }

    /// When the next thing happens.
    fn next(&self) -> Option<Micros> {
        let event = self.events.peek().map(|Reverse((at, _))| *at);
        [event, self.wake()].into_iter().flatten().min()
    }

    /// The next thing happens.
    fn turn(&mut self) -> Result<(), String> {
        // No output is left lying for long, nor where nothing else goes on.
        if self.is_idle() || self.next().is_none_or(|next| next > self.now + OUTPUTS_WAIT) {
            self.deliver()?;
            if self.is_over() {
                return Ok(());
            }
        }
        if self.is_idle() {
            return Err("stuck: waits for nothing".into());
        }
        let next = self.events.peek().map(|Reverse((at, _))| *at);
        let wake = self.wake();
        match (next, wake) {
            (next, Some(wake)) if next.is_none_or(|next| wake <= next) => {
                let late = if self.rng.chance(30) { self.rng.range(0, 3 * MS) } else { 0 };
                self.now = self.now.max(wake + late);
                self.log(|| "wake".into());
                let mut again = 0;
                while again == 0 || self.session.wake_at().is_some_and(|w| w <= self.time()) {
                    self.session.time(self.time());
                    self.act()?;
                    again += 1;
                    if again > 3 {
                        return Err("spins: is woken for nothing".into());
                    }
                }
            }
            (Some(_), _) => {
                let Some(Reverse((at, number))) = self.events.pop() else { return Ok(()) };
                self.now = self.now.max(at);
                if let Some(event) = self.pending.remove(&number) {
                    self.happen(event)?;
                }
            }
            (None, _) => {}
        }
        self.act()?;
        if self.rng.chance(50) {
            self.session.time(self.time());
            self.act()?;
        }
        // Sometimes the outputs of several turns are taken at once.
        if self.rng.chance(70) || self.is_over() {
            self.deliver()?;
        }
        self.checks.memory(self.session.backlog().samples())?;
        if self.blocked && self.has_room() {
            self.blocked = false;
            self.at(self.now, Event::Input);
        }
        self.due_faults();
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Input => self.input()?,
            Event::Up(link, message) => self.up(link, &message)?,
            Event::Closed(link) => self.links[link].gone = true,
            Event::Down(link, news) => self.down(link, news),
            Event::Step(link) => self.step(link)?,
            Event::Fault(i) if self.now < self.schedule.calm_at => {
                let fault = self.schedule.faults[i].1.clone();
                self.log(|| format!("FAULT {fault:?}"));
                self.fault(fault);
            }
            Event::Fault(_) => {}
            Event::Dies(link) => self.dies(link),
            Event::Calm => {
                self.log(|| "CALM".into());
                self.troubles.clear();
                self.jam_until = 0;
                self.slow = (1, 0);
                self.down_until.fill(0);
                for i in 0..self.links.len() {
                    self.links[i].connection.stalled_until = 0;
                    self.plan_step(i);
                }
            }
        }
        Ok(())
    }

    // The element's side.

    fn has_room(&self) -> bool {
        self.schedule.live || self.session.backlog() < Session::backlog_most(&self.schedule.config)
    }

    fn input(&mut self) -> Result<(), String> {
        if self.waits_for.is_some() || self.session.has_failed() {
            return Ok(());
        }
        let Some(input) = self.inputs.pop_front() else { return Ok(()) };
        let now = self.time();
        let mut pause = 0;
        match input {
            Input::Audio(left) => {
                if !self.has_room() {
                    self.inputs.push_front(input);
                    self.blocked = true;
                    return Ok(());
                }
                let most = self.schedule.buffer;
                let size = if self.schedule.odd_sizes { self.rng.range(1, most) } else { most };
                let count = left.min(size);
                let audio = self.schedule.truth.audio(self.position, count as usize);
                let position = self.position;
                self.log(|| format!("audio {position} +{count}"));
                self.checks.audio(position, count);
                let audio = match &mut self.element {
                    Some(element) => element.audio(position, &audio)?,
                    None => audio,
                };
                if audio.len() as u64 != count {
                    return Err(format!("of {count} samples {} came through", audio.len()));
                }
                self.session.audio(Position::new(position), audio, now);
                self.position += count;
                if left > count {
                    self.inputs.push_front(Input::Audio(left - count));
                }
                pause = if self.schedule.live { count * SECOND / 16_000 } else { MS };
                if self.schedule.live && self.schedule.bunch > 0 && left > count {
                    self.owed += pause;
                    let whole = self.owed >= self.schedule.bunch;
                    pause = if whole { std::mem::take(&mut self.owed) } else { 0 };
                }
            }
            Input::EndUtterance => {
                self.log(|| "end of utterance".into());
                self.session.end_utterance(Position::new(self.position), now);
            }
            Input::Gap(samples) => {
                if let Some(element) = &mut self.element {
                    element.gap(self.position, samples);
                }
                self.position += samples;
                let position = self.position;
                self.log(|| format!("gap, goes on at {position}"));
                self.checks.gap(samples);
                self.session.end_utterance(Position::new(position), now);
                pause = if self.schedule.live { samples * SECOND / 16_000 } else { 0 };
            }
            Input::Drain { wait } => {
                self.drains += 1;
                let number = self.drains;
                let last = self.inputs.is_empty() && self.rng.chance(50);
                self.log(|| format!("{} {number}", if last { "finish" } else { "drain" }));
                self.checks.drain(number, self.position, last);
                if last {
                    self.session.finish(number, now);
                } else {
                    self.session.drain(number, now);
                }
                if wait {
                    self.waits_for = Some(number);
                }
            }
            Input::Flush => {
                self.flushes += 1;
                let number = self.flushes;
                self.log(|| format!("flush {number}"));
                self.checks.flush(number, self.position);
                if let Some(element) = &mut self.element {
                    element.flush();
                }
                self.session.flush(number, now);
            }
            Input::Stop { time, paused } => {
                self.log(|| format!("nothing for {} ms, paused: {paused}", time / MS));
                pause = time;
                if paused {
                    self.session.set_paused(true, now);
                    self.inputs.push_front(Input::Play);
                }
            }
            Input::Play => self.session.set_paused(false, now),
            Input::ShutDown => {
                self.log(|| "shut down".into());
                self.checks.shut_down();
                self.session.shut_down();
            }
        }
        self.checks.input_at(self.now + pause);
        self.at(self.now + pause, Event::Input);
        Ok(())
    }

    fn act(&mut self) -> Result<(), String> {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect { server } => self.connect(server)?,
                Action::Send(message) => {
                    let Some((link, true)) = self.active else {
                        return Err(format!("sent without a connection: {message:.60}"));
                    };
                    self.log(|| format!("-> {message:.60} ({} bytes)", message.len()));
                    let at = self.delayed(link, true);
                    self.at(at, Event::Up(link, message));
                }
                Action::Disconnect => {
                    self.log(|| "disconnect".into());
                    if let Some((link, _)) = self.active.take() {
                        let at = self.delayed(link, true);
                        self.at(at, Event::Closed(link));
                    }
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        while let Some(output) = self.session.poll_output() {
            self.log(|| format!("== {output:?}"));
            if let Output::Drained(number) = output
                && self.waits_for == Some(number)
            {
                self.waits_for = None;
                self.at(self.now, Event::Input);
            }
            if let Some(element) = &mut self.element {
                element.output(&output)?;
            }
            self.checks.output(output)?;
        }
        Ok(())
    }
}
