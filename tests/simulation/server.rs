// SPDX-License-Identifier: MPL-2.0

//! The server's end of a connection, as vLLM is: `docs/protocol.md`, trap by trap.
//!
//! What a client must never do is recorded as a breach.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::truth::{Truth, WINDOW};
use vllm_standin::Random;

mod generation;

pub use generation::Generation;
use generation::Step;

/// Microseconds of the virtual clock.
pub type Micros = u64;

/// Samples of a frame.
const FRAME: u64 = 1280;
/// Samples of a segment.
const SEGMENT: u64 = 80_000;

/// Appends that nothing has come for yet: a client has no more of them.
const APPENDS: usize = 128;

/// What kind of model is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A token for each 80 ms, this many frames behind the audio.
    Frames { delay: u64 },
    /// A burst of text for each 5 s.
    Segments,
    /// A delta for each word, so many samples behind its end.
    /// `space_behind`: a word's space comes with it, and not with the next one.
    Arrival { delay: u64, space_behind: bool },
    /// Text at the end only; by deltas, or by `done` alone.
    Utterance { deltas: bool },
}

/// Audio over which the engine fails whenever it comes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poison {
    pub begin: u64,
    pub end: u64,
    pub end_of: Fatal,
}

/// What a poison does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatal {
    /// `processing_error`, as vLLM says it.
    Generation,
    /// The connection goes, without a word.
    Connection,
    /// `processing_error`, 1012, and the server is gone for a while.
    Server,
}

/// A server whose API side falls behind merges deltas; some send more than there are frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uneven {
    /// Of 1000 deltas at so many those that follow are merged with it, ...
    pub merged: u64,
    /// ... one more than this at most.
    pub longest: u64,
    /// Of 1000 so many get an empty one behind them that stands for nothing.
    pub spare: u64,
}

/// What a server is like.
#[derive(Debug, Clone)]
pub struct Spec {
    pub kind: Kind,
    pub poison: Option<Poison>,
    /// How long each connection lives.
    pub life: Option<Micros>,
    /// What becomes of the deltas of a frame-synchronous server.
    pub uneven: Uneven,
    /// Engine time for a frame of audio.
    pub frame_time: Micros,
    /// Appends that it queues; one more is lost (vllm#48130).
    pub queue: usize,
    /// With this code it refuses what is asked for beside the model (vllm#50783).
    pub refuses: Option<&'static str>,
    /// `max_model_len`.
    pub context: Option<u64>,
    /// Time from `done` until the queue is emptied.
    pub empties_after: Micros,
    /// Least and most delay of a message, either way.
    pub delay: (Micros, Micros),
}

/// What a message to the client means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The generation's audio up to here is worked through, as far as the client can know.
    Heard {
        generation: usize,
        samples: u64,
    },
    Other,
}

/// What the server does.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Send(String, Meaning),
    /// A binary frame of so many bytes.
    Binary(usize),
    /// The close frame's code, and the end of the connection.
    Close(u16),
    /// The whole server goes, and every connection with it.
    Die,
}

#[derive(Debug)]
enum Item {
    /// Samples and their position; `None`: padding.
    Audio(Option<u64>, u64),
    Final,
}

/// What a connection went through.
#[derive(Debug)]
pub struct Connection {
    pub spec: Spec,
    greeted: bool,
    updated: bool,
    pub generation: Option<Generation>,
    /// Those that are over.
    generations: Vec<Generation>,
    queue: VecDeque<Item>,
    /// `done` was sent, the queue is emptied then.
    empties_at: Option<Micros>,
    /// It ended a generation unasked: what is on its way then is nobody's fault.
    unasked: bool,
    /// The engine does nothing any more here.
    broken: bool,
    /// The engine does nothing until then.
    pub stalled_until: Micros,
    last_audio: Option<u64>,
    /// Where the appends end that nothing has come for yet, in samples of the generation.
    uncovered: VecDeque<u64>,
    appended: u64,
    rng: Random,
    pub breaches: Vec<String>,
}

impl Connection {
    pub fn new(spec: Spec, rng: Random) -> Connection {
        Connection {
            spec,
            greeted: false,
            updated: false,
            generation: None,
            generations: Vec::new(),
            queue: VecDeque::new(),
            empties_at: None,
            unasked: false,
            broken: false,
            stalled_until: 0,
            last_audio: None,
            uncovered: VecDeque::new(),
            appended: 0,
            rng,
            breaches: Vec::new(),
        }
    }

    pub fn all_generations(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().chain(&self.generation)
    }

    pub fn has_greeted(&self) -> bool {
        self.greeted
    }

    pub fn greet(&mut self) -> String {
        self.greeted = true;
        json!({"type": "session.created", "id": "sess-1", "created": 1}).to_string()
    }

    fn breach(&mut self, what: impl Into<String>) {
        self.breaches.push(what.into());
    }

    /// A message of the client comes in. `next`: the number of the next generation.
    pub fn receive(
        &mut self,
        message: &str,
        now: Micros,
        truth: &Truth,
        next: &mut usize,
    ) -> Vec<Reply> {
        if !self.greeted {
            self.breach("a message before session.created");
        }
        const APPEND: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
        if let Some(audio) = message.strip_prefix(APPEND).and_then(|m| m.strip_suffix("\"}")) {
            return self.append(audio, now, truth);
        }
        let Ok(event) = serde_json::from_str::<Value>(message) else {
            self.breach(format!("not JSON: {message}"));
            return vec![];
        };
        match event["type"].as_str() {
            Some("session.update") => {
                if event["model"].as_str().is_none() {
                    self.breach("session.update without a model");
                }
                let asks =
                    ["timestamp_granularities", "include"].iter().any(|k| event.get(k).is_some());
                if let Some(code) = self.spec.refuses.filter(|_| asks) {
                    self.updated = false;
                    return vec![Reply::Send(error(code), Meaning::Other)];
                }
                self.updated = true;
            }
            // What was on its way when the update was refused.
            Some("input_audio_buffer.commit") if self.is_refused() => {
                return vec![Reply::Send(error("model_not_validated"), Meaning::Other)];
            }
            Some("input_audio_buffer.commit") => match event["final"].as_bool() {
                Some(false) => {
                    self.begin(now, next);
                    self.take(now, truth);
                }
                Some(true) => self.end(now, truth),
                None => self.breach("a commit that does not say whether it is final"),
            },
            other => self.breach(format!("unknown event {other:?}")),
        }
        vec![]
    }

    fn is_refused(&self) -> bool {
        !self.updated && self.spec.refuses.is_some()
    }

    fn begin(&mut self, now: Micros, next: &mut usize) {
        if !self.updated {
            self.breach("a commit before session.update");
        }
        if self.generation.is_some() || self.broken {
            self.breach("commit(final=false) while generating");
            return;
        }
        if self.empties_at.is_some() {
            self.breach("a generation begins before the queue of the last one is emptied");
        }
        if matches!(self.queue.front(), Some(Item::Final)) {
            self.breach("a stray final commit ends a generation that begins");
        }
        self.last_audio = None;
        self.uncovered.clear();
        self.appended = 0;
        *next += 1;
        self.generation = Some(Generation { id: *next - 1, ready_at: now, ..Default::default() });
    }

    fn end(&mut self, now: Micros, truth: &Truth) {
        match &self.generation {
            None if self.unasked => {}
            None => self.breach("a final commit without a generation"),
            Some(g) if g.ended => self.breach("a second final commit"),
            Some(g) if g.heard == 0 && !self.broken => self.breach("a final commit without audio"),
            Some(_) => {}
        }
        self.queue.push_back(Item::Final);
        self.take(now, truth);
    }

    fn append(&mut self, audio: &str, now: Micros, truth: &Truth) -> Vec<Reply> {
        let bytes = STANDARD.decode(audio).unwrap_or_default();
        if bytes.is_empty() || bytes.len() % 2 == 1 {
            self.breach(format!("an append of {} bytes: {audio}", bytes.len()));
            return vec![];
        }
        if audio.len() > 1 << 20 {
            self.breach("an append of more than 1 MiB");
        }
        match &self.generation {
            Some(g) if g.ended => self.breach("audio between the final commit and done"),
            None if !self.unasked && !self.is_refused() => {
                self.breach("audio without a generation");
            }
            _ => {}
        }
        let samples: Vec<i16> =
            bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let count = samples.len() as u64;
        let padding = samples.iter().all(|s| *s == 0);
        let at = if padding { None } else { truth.position(&samples, self.last_audio) };
        // Too few samples to tell where a generation begins are taken on trust.
        let few = count < WINDOW as u64 && self.last_audio.is_none();
        if at.is_none() && !few && !(padding && count < 320) {
            self.breach(format!("{count} samples that are not of the audio, or not in a row"));
        }
        self.last_audio = at.map(|p| p + count);
        let worked = self.generation.as_ref().map_or(0, |g| g.worked(&self.spec));
        while self.uncovered.front().is_some_and(|end| *end <= worked) {
            self.uncovered.pop_front();
        }
        // Who has no clock does not tell what it has covered.
        let bounded = matches!(self.spec.kind, Kind::Frames { .. } | Kind::Segments);
        // Of a generation that ended by itself the client may not have heard yet.
        if bounded && self.generation.is_some() && self.uncovered.len() > APPENDS {
            self.breach(format!("{} appends that nothing covers", self.uncovered.len()));
        }
        if bounded && self.uncovered.len() >= self.spec.queue {
            self.last_audio = None;
            self.unasked = true;
            return vec![Reply::Send(error("buffer_full"), Meaning::Other)];
        }
        self.appended += count;
        self.uncovered.push_back(self.appended);
        self.queue.push_back(Item::Audio(at, count));
        self.take(now, truth);
        vec![]
    }

    /// The generation takes what is queued.
    fn take(&mut self, now: Micros, truth: &Truth) {
        let Some(g) = self.generation.as_mut().filter(|g| !g.ended) else { return };
        let idle = !g.has_work(&self.spec);
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Audio(at, count) => g.hear(at, count, truth),
                Item::Final => {
                    g.finish_word(truth);
                    g.ended = true;
                    break;
                }
            }
        }
        if idle {
            g.ready_at = g.ready_at.max(now);
        }
    }

    /// When the engine has something to do next.
    pub fn next_step(&self) -> Option<Micros> {
        let work = self
            .generation
            .as_ref()
            .filter(|g| !self.broken && g.has_work(&self.spec))
            .map(|g| (g.ready_at + g.cost(&self.spec)).max(self.stalled_until));
        [self.empties_at, work].into_iter().flatten().min()
    }

    /// Whether a generation failed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the next step empties the queue.
    pub fn is_emptying(&self) -> bool {
        self.empties_at.is_some()
    }

    /// Audio taken and not worked through: what a client may be ahead.
    pub fn ahead(&self) -> u64 {
        self.generation.as_ref().map_or(0, |g| g.heard.saturating_sub(g.worked(&self.spec)))
    }

    /// The engine does its next step.
    pub fn step(&mut self, now: Micros, truth: &Truth) -> Vec<Reply> {
        if self.empties_at.is_some_and(|at| at <= now) {
            self.empties_at = None;
            let lost: u64 =
                self.queue.drain(..).map(|i| if let Item::Audio(_, n) = i { n } else { 0 }).sum();
            if lost > 0 && !self.unasked {
                self.breach(format!("{lost} samples were queued when done emptied the queue"));
            }
            return vec![];
        }
        let Some(mut g) = self.generation.take() else { return vec![] };
        g.ready_at = now;
        let mut out = vec![];
        let step = match self.spec.kind {
            _ if self.spec.poison.is_some_and(|p| g.comes_to(&p, &self.spec)) => {
                match self.spec.poison.map(|p| p.end_of) {
                    Some(Fatal::Server) => Step::Dies,
                    Some(Fatal::Connection) => Step::Cut,
                    _ => Step::Fails,
                }
            }
            Kind::Frames { delay } => g.frame(delay, &self.spec, truth, &mut self.rng, &mut out),
            Kind::Segments => g.segment(&self.spec, truth, &mut self.rng, &mut out),
            Kind::Arrival { delay, space_behind } => {
                g.arrival((delay, space_behind), truth, &mut self.rng, &mut out)
            }
            Kind::Utterance { deltas } => g.utterance(deltas, truth, &mut self.rng, &mut out),
        };
        match step {
            Step::GoesOn => self.generation = Some(g),
            Step::Done | Step::EndsEarly => {
                self.unasked |= !g.ended;
                self.empties_at = Some(now + self.spec.empties_after);
                let tokens = match self.spec.kind {
                    Kind::Frames { .. } => g.tokens,
                    // Deltas are of one token or more.
                    _ => g.text.len() as u64 / 2 + 2,
                };
                let prompt =
                    if let Kind::Frames { delay } = self.spec.kind { 33 + delay } else { 90 };
                let done = json!({
                    "type": "transcription.done",
                    "text": g.text,
                    "usage": {
                        "prompt_tokens": prompt,
                        "completion_tokens": tokens,
                        "total_tokens": prompt + tokens,
                    },
                });
                let meaning = if matches!(step, Step::Done) {
                    Meaning::Heard { generation: g.id, samples: g.heard }
                } else {
                    Meaning::Other
                };
                out.push(Reply::Send(done.to_string(), meaning));
                self.generations.push(g);
            }
            Step::Fails | Step::Dies | Step::Cut => {
                self.generations.push(g);
                self.broken = true;
                self.unasked = true;
                if !matches!(step, Step::Cut) {
                    out.push(Reply::Send(error("processing_error"), Meaning::Other));
                }
                match step {
                    Step::Dies => out.extend([Reply::Close(1012), Reply::Die]),
                    Step::Cut => out.push(Reply::Close(1006)),
                    _ => {}
                }
            }
        }
        out
    }

    /// The generation fails.
    pub fn fail(&mut self) -> Vec<Reply> {
        self.broken = true;
        self.unasked = true;
        vec![Reply::Send(error("processing_error"), Meaning::Other)]
    }
}

/// An error event.
pub fn error(code: &str) -> String {
    json!({"type": "error", "error": format!("It is a {code}"), "code": code}).to_string()
}
