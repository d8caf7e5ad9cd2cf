// SPDX-License-Identifier: MPL-2.0

//! The protocol's state on one connection, without I/O: messages and time in, messages out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cadence::{Audio, Cadence, Rhythm, Step, rhythm};
use crate::events::{self, Request, Segment};
use crate::fault::When;
use crate::random::Random;
use crate::server::Shared;
use crate::voice::{RATE, Speech};

mod faults;

/// Of so many deltas one is followed by a stall of the API side: 10 s on the average.
const STALLS_EACH: u64 = 125;

/// Messages that wait to be sent, before the engine rests.
const OUT_LIMIT: usize = 64;

/// What the connection does next.
#[derive(Debug)]
pub enum Out {
    Text(String),
    Binary(Vec<u8>),
    Close(u16, String),
    /// The TCP connection goes.
    Cut,
    /// The next text goes out a byte at a time.
    Dribble(Duration),
    /// Neither reads nor writes until then; `None`: for ever.
    Stall(Option<Instant>),
    Kill,
    Stop,
}

enum Item {
    Audio(Vec<i16>),
    Final,
}

struct Generation {
    index: u64,
    speech: Box<dyn Speech>,
    rhythm: Box<dyn Rhythm>,
    audio: Audio,
    appends: u64,
    deltas: u64,
    text: String,
    segments: Vec<Segment>,
    /// Before that moment the engine gives out nothing.
    free_at: Instant,
    /// While the API side stalls: until when, and the output that waits, merged.
    stall: Option<(Instant, String, Vec<Segment>)>,
    stalls: Random,
    /// When `done` may be sent.
    done_at: Instant,
    done: Option<Step>,
    blank: bool,
    endless: bool,
    flood: (u64, String),
    /// Whether a seat is held.
    seated: bool,
    struck: Vec<usize>,
}

impl Generation {
    /// What goes out with this delta: nothing while the API side stalls, and all of that time in
    /// one once it is over. vLLM merges the outputs that wait for it.
    fn merged(
        &mut self,
        text: String,
        segments: Vec<Segment>,
        now: Instant,
        stalls: bool,
    ) -> Option<(String, Vec<Segment>)> {
        match &mut self.stall {
            Some((_, waiting, all)) => {
                waiting.push_str(&text);
                all.extend(segments);
                None
            }
            None if stalls && self.stalls.below(STALLS_EACH) == 0 => {
                let length = Duration::from_millis(200 + self.stalls.below(1800));
                self.stall = Some((now + length, text, segments));
                None
            }
            None => Some((text, segments)),
        }
    }
}

pub struct Session {
    shared: Arc<Shared>,
    id: u64,
    validated: bool,
    queue: VecDeque<Item>,
    queued: u64,
    generation: Option<Generation>,
    started: u64,
    /// Where the last generation ended (voice `aligned`).
    place: Option<usize>,
    /// `done` was sent; until then the queue is still being emptied.
    clearing: Option<Instant>,
    /// Segments and log probabilities were asked for, and are offered.
    timestamps: bool,
    logprobs: bool,
    pub out: VecDeque<Out>,
}

impl Session {
    pub fn new(shared: Arc<Shared>, id: u64) -> Self {
        Session {
            shared,
            id,
            validated: false,
            queue: VecDeque::new(),
            queued: 0,
            generation: None,
            started: 0,
            place: None,
            clearing: None,
            timestamps: false,
            logprobs: false,
            out: VecDeque::new(),
        }
    }

    /// The upgrade is done.
    pub fn start(&mut self, now: Instant) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut random = Random::new(self.id ^ (u64::from(self.shared.port) << 32) ^ time << 20);
        let id = format!("sess-{:016x}", random.draw());
        self.send(events::created(&id, time));
        self.faults(When::Created, now);
    }

    /// A text message of the client.
    pub fn text(&mut self, message: &str, now: Instant) {
        self.settle(now);
        self.log(|log| log.messages += 1);
        match events::read(message, &self.shared.config.model, self.validated) {
            Err(refusal) => self.error(&refusal.text, Some(refusal.code), false),
            Ok(Request::Update { event, .. }) if self.refuses(&event) => self.validated = false,
            Ok(Request::Update { model, event }) => {
                self.validated = true;
                self.log(|log| {
                    if log.models.len() < 64 {
                        log.models.push(model)
                    }
                });
                self.offers(&event);
                self.faults(When::Updated, now);
            }
            Ok(Request::Append(samples)) => {
                self.log(|log| {
                    log.samples += samples.len() as u64;
                    log.appends += 1;
                    log.largest_append = log.largest_append.max(samples.len());
                });
                self.queued += samples.len() as u64;
                self.queue.push_back(Item::Audio(samples));
                self.feed(now);
                if self.queued > self.shared.config.max_queue {
                    self.out.push_back(Out::Close(1011, "audio queue is full".into()));
                    self.queue.clear();
                    self.queued = 0;
                }
            }
            Ok(Request::Commit { last: true }) => {
                self.log(|log| log.final_commits += 1);
                self.queue.push_back(Item::Final);
                self.feed(now);
            }
            Ok(Request::Commit { last: false }) => {
                self.log(|log| log.commits += 1);
                if self.generation.is_some() || self.clearing.is_some() {
                    self.log(|log| log.commits_ignored += 1);
                    return;
                }
                self.begin(now);
                self.feed(now);
            }
        }
    }

    /// Whether an update is refused for what it asks for beside the model, and says so.
    fn refuses(&mut self, event: &serde_json::Value) -> bool {
        let asks = ["timestamp_granularities", "include"].iter().any(|f| event.get(f).is_some());
        let Some(code) = self.shared.config.refuses.clone().filter(|_| asks) else { return false };
        if code == "close" {
            self.out.push_back(Out::Close(1011, "cannot do that".into()));
        } else {
            self.error("Segment timestamps are not supported here.", Some(&code), false);
        }
        true
    }

    /// Extensions that were proposed upstream, where this server offers them.
    fn offers(&mut self, event: &serde_json::Value) {
        let config = &self.shared.config;
        let has = |field: &str, value: &str| {
            event[field].as_array().is_some_and(|a| a.iter().any(|v| v == value))
        };
        let asked = has("timestamp_granularities", "segment");
        self.timestamps = config.timestamps && asked;
        self.logprobs =
            config.logprobs && has("include", "item.input_audio_transcription.logprobs");
        if self.timestamps {
            let granularities = event["timestamp_granularities"].clone();
            let answer = serde_json::json!({
                "type": "session.updated",
                "timestamp_granularities": granularities,
            });
            self.send(answer.to_string());
        }
    }

    fn begin(&mut self, now: Instant) {
        let config = &self.shared.config;
        let index = self.started;
        let seed = config.seed ^ self.id << 32 ^ index << 16;
        let speech = self.shared.speech(index, self.place);
        self.generation = Some(Generation {
            index,
            speech,
            rhythm: rhythm(config, seed),
            audio: Audio { samples: 0, ended: false },
            appends: 0,
            deltas: 0,
            text: String::new(),
            segments: Vec::new(),
            free_at: now,
            stall: None,
            stalls: Random::new(seed ^ 0x57a11),
            done_at: now,
            done: None,
            blank: false,
            endless: false,
            flood: (0, String::new()),
            seated: false,
            struck: Vec::new(),
        });
        self.started += 1;
        self.log(|log| log.begin());
        self.faults(When::Start, now);
    }

    /// Moves audio from the queue to the generation, until its final commit.
    fn feed(&mut self, now: Instant) {
        let keep = self.shared.config.keep_audio;
        while let Some(generation) = &mut self.generation {
            if generation.audio.ended || generation.speech.busy() {
                break;
            }
            match self.queue.pop_front() {
                None => break,
                Some(Item::Audio(samples)) => {
                    self.queued -= samples.len() as u64;
                    if generation.audio.samples == 0 {
                        generation.free_at = generation.free_at.max(now);
                    }
                    generation.speech.hear(&samples);
                    generation.audio.samples += samples.len() as u64;
                    generation.appends += 1;
                    let count = generation.audio.samples;
                    let ahead = count.saturating_sub(generation.rhythm.consumed());
                    let appends = generation.appends;
                    self.log_generation(|log| {
                        log.samples = count;
                        log.appends = appends;
                        log.most_ahead = log.most_ahead.max(ahead);
                        if keep {
                            log.audio.extend_from_slice(&samples);
                        }
                    });
                    self.faults(When::Samples(count), now);
                }
                Some(Item::Final) => {
                    generation.audio.ended = true;
                    generation.done_at = now + self.shared.config.tail;
                    if generation.audio.samples > 0 {
                        generation.speech.end();
                    } else {
                        generation.done_at = now;
                    }
                    self.log_generation(|log| log.final_commit = true);
                    self.faults(When::Final, now);
                }
            }
        }
    }

    /// Whether nothing may be read or worked on, as what waits to be sent ends or stalls the
    /// connection.
    pub fn halted(&self) -> bool {
        let halts = |out: &Out| !matches!(out, Out::Text(_) | Out::Binary(_) | Out::Dribble(_));
        self.out.iter().any(halts)
    }

    /// Lets the engine work; returns when it wants to be called again.
    pub fn step(&mut self, now: Instant) -> Option<Instant> {
        let config = &self.shared.config;
        let stalls = config.stalls && config.cadence == Cadence::Frames;
        self.settle(now);
        self.feed(now);
        loop {
            if self.out.len() >= OUT_LIMIT || self.halted() {
                return Some(now);
            }
            let Some(generation) = &mut self.generation else { return self.clearing };
            if let Some((_, text, segments)) = generation.stall.take_if(|(end, ..)| *end <= now) {
                self.delta(text, segments, now);
                continue;
            }
            let stall_end = generation.stall.as_ref().map(|(end, ..)| *end);
            if generation.free_at > now {
                return Some(
                    stall_end.map_or(generation.free_at, |end| end.min(generation.free_at)),
                );
            }
            if generation.endless || generation.flood.0 > 0 {
                let text = match &mut generation.flood {
                    (0, _) => " word".to_owned(),
                    (left, text) => {
                        *left -= 1;
                        text.clone()
                    }
                };
                self.delta(text, Vec::new(), now);
                continue;
            }
            if generation.audio.samples == 0 && !generation.audio.ended {
                return None;
            }
            // A seat is held from the first work to the end.
            if !generation.seated && generation.rhythm.ready(generation.audio) {
                if !self.shared.seats.take(self.id) {
                    return None;
                }
                generation.seated = true;
            }
            let step = match generation.done.take() {
                Some(step) => step,
                None => generation.rhythm.step(generation.audio, generation.speech.as_mut(), now),
            };
            match step {
                Step::Wait(mut until) => {
                    // Rest is not saved up.
                    generation.free_at = generation.free_at.max(now);
                    if generation.speech.busy() && !self.queue.is_empty() {
                        until = Some(now + Duration::from_millis(20));
                    }
                    self.note(false, false);
                    return [until, stall_end].into_iter().flatten().min().map(|t| t.max(now));
                }
                Step::Delta { text, cost, segment } => {
                    let segment: Vec<Segment> = segment.into_iter().collect();
                    let pace = self.shared.config.pace;
                    if pace > 0.0 {
                        let cost = cost as f64 / RATE as f64 / pace;
                        generation.free_at += Duration::from_secs_f64(cost);
                    }
                    let text = if generation.blank { String::new() } else { text };
                    if let Some((text, segments)) = generation.merged(text, segment, now, stalls) {
                        self.delta(text, segments, now);
                    }
                }
                step @ Step::Done { unasked, .. } => {
                    let at = stall_end.unwrap_or(now).max(generation.done_at);
                    if (!unasked || stall_end.is_some()) && now < at {
                        generation.done = Some(step);
                        return Some(at);
                    }
                    self.faults(When::Done, now);
                    match &mut self.generation {
                        // A pause comes before it.
                        Some(generation) if generation.free_at > now => {
                            generation.done = Some(step);
                        }
                        Some(_) => self.done(step, now),
                        None => {}
                    }
                }
                Step::Fail(text) => self.fail(&text),
                Step::Die => {
                    self.shared.die(now);
                    self.fail(
                        "EngineCore encountered an issue. See stack trace (above) for the \
                               root cause.",
                    );
                }
            }
        }
    }

    fn delta(&mut self, text: String, segments: Vec<Segment>, now: Instant) {
        let (timestamps, logprobs) = (self.timestamps, self.logprobs);
        let Some(generation) = &mut self.generation else { return };
        generation.deltas += 1;
        let count = generation.deltas;
        if generation.text.len() < 1 << 24 {
            generation.text.push_str(&text);
        }
        let words = generation.rhythm.words();
        let segments = timestamps.then_some(segments);
        if let Some(segments) = &segments {
            generation.segments.extend(segments.iter().cloned());
        }
        let logprob = (logprobs && !text.is_empty()).then(|| {
            // Known beforehand, and different for different text.
            (text.bytes().map(u64::from).sum::<u64>() % 100) as f64 / -50.0
        });
        let message = events::delta(&text, segments.as_deref(), logprob);
        self.log(|log| {
            log.deltas += 1;
            if let Some(log) = log.generations.back_mut() {
                log.delta(&text);
                log.words = words;
            }
        });
        self.send(message);
        self.faults(When::Deltas(count), now);
    }

    /// `done`, and the queue is emptied.
    fn done(&mut self, step: Step, now: Instant) {
        let Step::Done { prompt, completion, text, unasked } = step else { return };
        self.note(true, false);
        let Some(generation) = self.generation.take() else { return };
        let text = text.unwrap_or(generation.text);
        let segments = self.timestamps.then_some(generation.segments.as_slice());
        self.send(events::done(&text, prompt, completion, segments));
        if generation.seated {
            self.shared.seats.free(self.id);
        }
        let unasked = unasked || !generation.audio.ended;
        self.log(|log| {
            log.done += 1;
            if let Some(log) = log.generations.back_mut() {
                log.done = true;
                log.unasked = unasked;
            }
        });
        let clear = self.shared.config.clear_time;
        self.clearing = Some(now + clear);
        if clear.is_zero() {
            self.settle(now);
        }
        // The place of a fault is the generation that is over.
        self.strike(When::AfterDone, generation.index, &mut Vec::new(), now);
    }

    /// Empties the queue when its time has come.
    fn settle(&mut self, now: Instant) {
        if self.clearing.is_some_and(|at| at <= now) {
            self.clearing = None;
            let lost = std::mem::take(&mut self.queued);
            self.queue.clear();
            if lost > 0 {
                self.log(|log| log.samples_lost += lost);
            }
        }
    }

    /// The generation is over with `processing_error`: no `done`, and the queue stays.
    fn fail(&mut self, text: &str) {
        self.error(text, Some("processing_error"), false);
        self.end_generation(text);
    }

    fn end_generation(&mut self, why: &str) {
        self.note(true, false);
        self.log_generation(|log| log.error = Some(why.to_owned()));
        if self.generation.take().is_some_and(|g| g.seated) {
            self.shared.seats.free(self.id);
        }
    }

    /// The engine is dead: said once to whoever is generating.
    pub fn engine_died(&mut self) {
        if self.generation.is_some() {
            self.fail(
                "EngineCore encountered an issue. See stack trace (above) for the root \
                       cause.",
            );
        }
    }

    /// The connection is over.
    pub fn end(&mut self) {
        self.note(true, true);
        if self.generation.take().is_some() {
            self.log_generation(|log| log.cut = true);
        }
        self.shared.seats.free(self.id);
    }

    fn error(&mut self, text: &str, code: Option<&str>, object: bool) {
        self.send(events::error(text, code, object));
        self.log(|log| log.error(code, text));
    }

    fn send(&mut self, message: String) {
        self.out.push_back(Out::Text(message));
    }

    fn log(&self, change: impl FnOnce(&mut crate::log::ConnectionLog)) {
        self.shared.log.on(self.id, change);
    }

    fn log_generation(&self, change: impl FnOnce(&mut crate::log::GenerationLog)) {
        self.log(|log| {
            if let Some(generation) = log.generations.back_mut() {
                change(generation)
            }
        });
    }

    /// What the voice has to say about what it heard.
    fn note(&mut self, over: bool, cut: bool) {
        let Some(generation) = &mut self.generation else { return };
        self.place = generation.speech.place();
        let (id, shared) = (self.id, &self.shared);
        shared.log.write(|log| {
            let found = log.connection(id).and_then(|c| c.generations.back_mut());
            if let Some(found) = found {
                generation.speech.note(found, over, cut);
            }
            for (word, part) in generation.speech.coverage() {
                if log.reference.len() <= word {
                    log.reference.resize(word + 1, 0.0);
                }
                log.reference[word] = log.reference[word].max(part);
            }
        });
    }
}
