// SPDX-License-Identifier: MPL-2.0

//! The session by hand, case by case; `tests/simulation` draws the cases at random.

use std::time::Duration;

use super::super::{ErrorKind, Reconnect, Secret, ServerUrl};
use super::*;
use crate::SAMPLE_RATE;
use crate::position::{len, pos};
use crate::transcript::{self, Timing, Word};

mod burst;
mod extras;
mod failures;
mod fates;
mod flush;
mod limits;
mod mechanisms;
mod order;
mod pauses;

const CREATED: &str = r#"{"type":"session.created","id":"sess-1","created":1}"#;
const S: Duration = Duration::from_secs(1);

/// What the session sends, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    Connect(usize),
    Disconnect,
    Update,
    Begin,
    /// So many samples, and the first of them.
    Audio(u64, i16),
    Final,
}
use Sent::*;

struct Bench {
    s: Session,
    now: Duration,
    position: Position,
    out: Vec<Output>,
}

impl Bench {
    fn new(config: Config) -> Bench {
        Bench { s: Session::new(config, 7), now: Duration::ZERO, position: pos(0), out: Vec::new() }
    }

    /// One that is connected and was greeted.
    fn ready(config: Config) -> Bench {
        let mut b = Bench::new(config);
        b.s.connect(b.now);
        assert_eq!(b.sent(), [Connect(0)]);
        b.greet();
        assert_eq!(b.sent(), [Update]);
        b
    }

    fn greet(&mut self) {
        self.s.connected(self.now);
        self.hear(CREATED);
    }

    /// Audio whose samples are its seconds, from 1 on.
    fn audio(&mut self, samples: u64) {
        let value = |p: u64| (p / SAMPLE_RATE + 1) as i16;
        let from = self.position.samples();
        let audio = (from..from + samples).map(value).collect();
        self.s.audio(self.position, audio, self.now);
        self.position += len(samples);
    }

    fn end_utterance(&mut self) {
        self.s.end_utterance(self.position, self.now);
    }

    fn hear(&mut self, message: &str) {
        self.s.message(message, self.now);
    }

    fn delta(&mut self, text: &str) {
        self.hear(&serde_json::json!({"type": "transcription.delta", "delta": text}).to_string());
    }

    /// `done` of a frame-synchronous server with a delay of 480 ms.
    fn done(&mut self, text: &str, frames: u64) {
        self.done_after(6, text, frames);
    }

    /// ... with a delay of so many frames.
    fn done_after(&mut self, delay: u64, text: &str, frames: u64) {
        let usage = serde_json::json!({"prompt_tokens": 33 + delay, "completion_tokens": frames});
        let done = serde_json::json!({"type": "transcription.done", "text": text, "usage": usage});
        self.hear(&done.to_string());
    }

    fn error(&mut self, code: &str) {
        self.error_with(code, "It is so");
    }

    fn error_with(&mut self, code: &str, message: &str) {
        let e = serde_json::json!({"type": "error", "error": message, "code": code});
        self.hear(&e.to_string());
    }

    fn lose(&mut self) {
        self.lose_with("Lost.", "");
    }

    fn lose_with(&mut self, message: &str, detail: &str) {
        let kind = ErrorKind::Unreachable;
        let error = Error { kind, message: message.into(), detail: detail.into() };
        self.s.disconnected(Lost { error, permanent: false }, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.s.time(self.now);
    }

    /// Time passes until the session has something to do.
    fn wake(&mut self) {
        self.now = self.s.wake_at().expect("something to wait for").max(self.now);
        self.s.time(self.now);
    }

    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(action) = self.s.poll_action() {
            sent.push(match action {
                Action::Connect { server } => Connect(server),
                Action::Disconnect => Disconnect,
                Action::Send(message) => self.read(&message),
            });
        }
        sent
    }

    fn read(&self, message: &str) -> Sent {
        use base64::Engine;
        let v: serde_json::Value = serde_json::from_str(message).unwrap();
        match v["type"].as_str().unwrap() {
            "session.update" => Update,
            "input_audio_buffer.commit" if v["final"] == true => Final,
            "input_audio_buffer.commit" => Begin,
            "input_audio_buffer.append" => {
                let audio = v["audio"].as_str().unwrap();
                let bytes = base64::engine::general_purpose::STANDARD.decode(audio).unwrap();
                let first = i16::from_le_bytes([bytes[0], bytes[1]]);
                Audio(bytes.len() as u64 / 2, first)
            }
            other => panic!("{other}"),
        }
    }

    /// All sent, the appends put together.
    fn sent_in_all(&mut self) -> Vec<Sent> {
        let mut all: Vec<Sent> = Vec::new();
        for sent in self.sent() {
            match (all.last_mut(), sent) {
                (Some(Audio(n, _)), Audio(more, first)) if first != 0 => *n += more,
                (_, sent) => all.push(sent),
            }
        }
        all
    }

    fn outputs(&mut self) -> Vec<Output> {
        let new: Vec<Output> = std::iter::from_fn(|| self.s.poll_output()).collect();
        self.out.extend(new.iter().cloned());
        new
    }

    /// The generation whose `done` is awaited.
    fn finishing(&self) -> Option<Generation> {
        self.s.generation.filter(|g| matches!(g.phase(), Phase::Finishing(_)))
    }

    fn failure(&mut self) -> Option<Error> {
        self.outputs().into_iter().find_map(|o| match o {
            Output::Failed(e) => Some(e),
            _ => None,
        })
    }

    fn words(&mut self) -> Vec<Word> {
        self.outputs();
        let word = |o: &Output| match o {
            Output::Transcript(transcript::Output::Word(w)) => Some(w.clone()),
            _ => None,
        };
        self.out.iter().filter_map(word).collect()
    }

    fn texts(&mut self) -> Vec<String> {
        self.words().into_iter().map(|w| w.text).collect()
    }

    /// Every sample has its account.
    fn balanced(&self) -> Stats {
        let s = self.s.stats();
        let sum = s.samples_confirmed
            + s.samples_skipped
            + s.samples_dropped
            + s.samples_flushed
            + s.samples_unconfirmed;
        assert_eq!([s.samples_in, sum], [self.position.samples(); 2], "{s:?}");
        s
    }
}

fn config() -> Config {
    Config { voice_activity: false, ..Config::default() }
}

/// Generations as long as the user wants, not up to the next pause.
fn long() -> Config {
    Config { max_utterance: Some(600 * S), ..config() }
}

fn frames() -> Config {
    let mut config = config();
    config.transcript.timing = Timing::Frames;
    config
}

fn has(outputs: &[Output], wanted: impl Fn(&Output) -> bool) -> bool {
    outputs.iter().any(wanted)
}
