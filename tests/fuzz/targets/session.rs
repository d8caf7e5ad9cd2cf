// SPDX-License-Identifier: MPL-2.0

//! The session on any sequence of audio, messages, connections and time; at the end an honest
//! server, with which all that was asked for must come to its end.

use std::sync::LazyLock;
use std::time::Duration;

use gstvllmrealtime::realtime::session::{Lost, Session};
use gstvllmrealtime::realtime::{Config, Error, ErrorKind, Output, Reconnect, ServerUrl};
use gstvllmrealtime::transcript::{Timing, TranscriptConfig};
use gstvllmrealtime::{Length, Position, SAMPLE_RATE};
use serde_json::json;

use super::bytes::Bytes;
use super::memory::Memory;
use super::outputs::Outputs;
use super::voice::{self, SOUNDS};
use super::wire::{self, Kind, Wire};

/// Audio in a run at most.
const AUDIO: u64 = 25 * SAMPLE_RATE;
/// Actions or outputs that one input brings about at most, beside one for each byte of it.
const AT_ONCE: usize = 12_000;
/// Held at most, beside the backlog.
const HELD: usize = 24 << 20;
/// Steps in which an honest server brings everything to its end.
const STEPS: usize = 60_000;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Well-formed, each of its kind; also what is mutated.
const MESSAGES: [&str; 12] = [
    r#"{"type":"session.created","id":"sess-1","created":1}"#,
    r#"{"type":"session.updated"}"#,
    r#"{"type":"transcription.delta","delta":" Hello"}"#,
    r#"{"type":"transcription.delta","delta":"language English<asr_text>Hi"}"#,
    r#"{"type":"transcription.delta","delta":"a","segments":[{"text":"a","end":1.5}],"logprobs":[{"logprob":-0.5}]}"#,
    r#"{"type":"transcription.done","text":"","usage":{"prompt_tokens":39,"completion_tokens":9,"total_tokens":48}}"#,
    r#"{"type":"error","error":"x","code":"processing_error"}"#,
    r#"{"type":"error","error":"x","code":"invalid_audio"}"#,
    r#"{"type":"error","error":{"message":"m"},"code":null}"#,
    r#"{"type":"error","error":"x","code":"model_not_found"}"#,
    r#"{"type":"session.created","session":{"id":"x"}}"#,
    r#"{"type":"something.new"}"#,
];

/// With `FUZZ_TRACE` in the environment all that goes in and out is printed.
static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_TRACE").is_some());

macro_rules! trace {
    ($($what:tt)*) => {
        if *TRACE {
            eprintln!($($what)*);
        }
    };
}

struct Run {
    session: Session,
    config: Config,
    wire: Wire,
    outputs: Outputs,
    live: bool,
    now: Duration,
    /// Position behind the last audio.
    audio: u64,
    /// Samples that count as taken.
    taken: u64,
    horizon: Position,
    /// Drains and flushes under way, and the last number given.
    drains: Vec<u64>,
    flushes: Vec<u64>,
    number: u64,
    dropped: u64,
    failed: bool,
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let memory = Memory::new();
    let mut run = Run::new(&mut bytes);
    let most = HELD + 4 * Session::backlog_most(&run.config).samples().min(AUDIO) as usize;
    while !bytes.is_empty() {
        let call = bytes.u8();
        let (peak, ()) = Memory::most(|| run.step(call, &mut bytes));
        assert!(peak <= 80 << 20, "{peak} bytes for one input");
        assert!(memory.held() <= most, "{} bytes are held", memory.held());
    }
    run.finish();
}

impl Run {
    fn new(bytes: &mut Bytes) -> Run {
        let timings =
            [Timing::Auto, Timing::Frames, Timing::Segments, Timing::Utterance, Timing::Arrival];
        let kinds = [Kind::Frames, Kind::Segments, Kind::Utterance, Kind::Arrival];
        let timing = bytes.pick(&timings);
        let kind = match timing {
            Timing::Auto => bytes.pick(&kinds),
            Timing::Arrival => Kind::Arrival,
            Timing::Frames => Kind::Frames,
            Timing::Segments => Kind::Segments,
            Timing::Utterance => Kind::Utterance,
        };
        trace!("{kind:?}");
        let config = Config {
            servers: vec![ServerUrl::default(); bytes.pick(&[1, 1, 3])],
            reconnect: bytes.pick(&[
                Reconnect::Forever,
                Reconnect::Auto,
                Reconnect::Attempts(0),
                Reconnect::Attempts(3),
            ]),
            response_timeout: bytes.pick(&[30 * S, S, 1 * MS]),
            max_backlog: bytes.pick(&[60 * S, S, 5 * S, 12 * S]),
            chunk: bytes.pick(&[80 * MS, 10 * MS, S, 5 * S]),
            silence_commit: bytes.pick(&[800 * MS, 100 * MS, 60 * S]),
            voice_activity: bytes.pick(&[true, false]),
            max_utterance: bytes.pick(&[None, Some(1 * MS), Some(2 * S), Some(7 * S)]),
            transcript: TranscriptConfig { timing, language: None },
            ..Config::default()
        };
        trace!("{config:?}");
        Run {
            session: Session::new(config.clone(), bytes.u8().into()),
            config,
            wire: Wire::new(kind),
            outputs: Outputs::default(),
            live: false,
            now: Duration::ZERO,
            audio: 0,
            taken: 0,
            horizon: Position::START,
            drains: Vec::new(),
            flushes: Vec::new(),
            number: 0,
            dropped: 0,
            failed: false,
        }
    }

    fn step(&mut self, call: u8, bytes: &mut Bytes) {
        match call % 24 {
            0..=2 => {
                let sound = bytes.pick(&SOUNDS);
                self.feed(sound, u64::from(bytes.u8()) * 320 + u64::from(call) % 7);
            }
            3 => self.pass(u32::from(bytes.u8()) * 10 * MS),
            4 => self.pass(u32::from(bytes.u8()) * S),
            5 => {
                if let Some(at) = self.session.wake_at() {
                    self.pass(at.saturating_sub(self.now));
                }
            }
            6 => {
                let position = self.audio + u64::from(bytes.u16());
                self.taken += position - self.audio;
                trace!("end of an utterance at {position}");
                self.audio = position;
                self.session.end_utterance(Position::new(position), self.now);
                self.settle(0);
            }
            7 => self.drain(),
            8 => {
                self.number += 1;
                self.flushes.push(self.number);
                trace!("flush {}", self.number);
                self.drains.clear();
                self.session.flush(self.number, self.now);
                self.settle(0);
            }
            9 => {
                self.wire.connected();
                self.session.connected(self.now);
                self.settle(0);
            }
            10 => self.message(MESSAGES[0]),
            11 => {
                trace!("lost");
                let permanent = bytes.u8().is_multiple_of(8);
                let kind = ErrorKind::Unreachable;
                let (message, detail) = ("Lost.".to_owned(), String::new());
                self.wire.lost();
                let lost = Lost { error: Error { kind, message, detail }, permanent };
                self.session.disconnected(lost, self.now);
                self.settle(0);
            }
            12 => {
                let text = bytes.text();
                self.message(&wire::delta(&text));
            }
            13 => {
                for _ in 0..bytes.u8() {
                    self.message(&wire::delta(""));
                }
            }
            14 | 15 => {
                for _ in 0..=bytes.u8() {
                    self.answer();
                }
            }
            16 => {
                let text = bytes.text();
                let usage = json!({ "prompt_tokens": bytes.u8(), "completion_tokens": bytes.u8() });
                let done = json!({ "type": "transcription.done", "text": text, "usage": usage });
                self.message(&done.to_string());
            }
            17 => self.message(bytes.pick(&MESSAGES)),
            18 => {
                let text = bytes.text();
                self.message(&text);
            }
            19 => {
                let mut message = bytes.pick(&MESSAGES).as_bytes().to_vec();
                let at = usize::from(bytes.u8()) % message.len();
                message[at] = bytes.u8();
                self.message(&String::from_utf8_lossy(&message));
            }
            20 => {
                self.live = bytes.u8().is_multiple_of(2);
                self.session.set_live(self.live);
            }
            21 => self.session.set_context(bytes.pick(&[
                None,
                Some(0),
                Some(64),
                Some(170),
                Some(4096),
                Some(u64::MAX),
            ])),
            22 => {
                // A server that floods, up to what one message holds.
                let text = bytes.text();
                let times = usize::from(bytes.u16()).min((1 << 19) / text.len().max(1));
                let text = text.repeat(times);
                let end = f32::from(bytes.u8()) / 8.0;
                let message = match bytes.u8() % 4 {
                    0 => wire::delta(&text),
                    1 => json!({ "type": "transcription.done", "text": text }).to_string(),
                    2 => json!({ "type": text }).to_string(),
                    _ => json!({ "type": "transcription.delta", "delta": "",
                        "segments": [{ "text": text, "end": end }] })
                    .to_string(),
                };
                self.message(&message);
            }
            _ => {
                self.session.connect(self.now);
                self.settle(0);
            }
        }
    }

    /// Audio as the element hands it on: a second at a time.
    fn feed(&mut self, sound: voice::Features, count: u64) {
        let to = (self.audio + count).min(AUDIO);
        while self.audio < to {
            // A source that can wait does so.
            let full = self.session.backlog() >= Session::backlog_most(&self.config);
            if full && !self.live {
                return;
            }
            let count = (to - self.audio).min(SAMPLE_RATE);
            let samples = voice::samples(sound, self.audio, count);
            trace!("{count} samples of {sound:?} at {}", self.audio);
            if !self.failed {
                self.taken += count;
            }
            self.session.audio(Position::new(self.audio), samples, self.now);
            self.audio += count;
            self.settle(0);
        }
    }

    fn drain(&mut self) {
        self.number += 1;
        self.drains.push(self.number);
        trace!("drain {}", self.number);
        self.session.drain(self.number, self.now);
        self.settle(0);
    }

    /// Time passes, and the session is woken as the transport would.
    fn pass(&mut self, by: Duration) {
        self.now += by;
        trace!("{:?}", self.now);
        self.session.time(self.now);
        self.settle(0);
        for _ in 0..8 {
            if self.session.wake_at().is_none_or(|at| at > self.now) {
                return;
            }
            self.session.time(self.now);
            self.settle(0);
        }
        panic!("it wants to be woken at {:?}, and it is that late", self.now);
    }

    fn message(&mut self, message: &str) {
        if self.wire.is_up() {
            trace!("< {message:.150}");
            self.wire.says(message);
            self.session.message(message, self.now);
            self.settle(message.len());
        }
    }

    /// What an honest server does next; whether there was anything.
    fn answer(&mut self) -> bool {
        match self.wire.honest() {
            None => return false,
            Some(None) => {
                self.wire.connected();
                self.session.connected(self.now);
                self.settle(0);
            }
            Some(Some(message)) => self.message(&message),
        }
        true
    }

    /// Takes what comes out after an input of so many bytes, and checks all that must hold.
    fn settle(&mut self, bytes: usize) {
        let mut count = 0;
        while let Some(action) = self.session.poll_action() {
            trace!("> {:.150}", format!("{action:?}"));
            self.wire.take(&action);
            count += 1;
        }
        while let Some(output) = self.session.poll_output() {
            trace!("  {output:?}");
            self.output(&output);
            count += 1;
        }
        assert!(count <= AT_ONCE + bytes, "{count} actions and outputs at once");
        assert_eq!(self.session.has_failed(), self.failed);
        let s = self.session.stats();
        let sum = s.samples_confirmed + s.samples_skipped + s.samples_dropped + s.samples_flushed;
        assert!(sum <= s.samples_in, "{s:?}");
        if !self.failed {
            assert_eq!(s.samples_in, self.taken, "{s:?}");
            assert_eq!(sum + s.samples_unconfirmed, s.samples_in, "{s:?}");
        }
        assert!(s.samples_replayed <= s.samples_sent, "{s:?}");
        assert!(s.samples_dropped <= self.dropped, "{} told, {s:?}", self.dropped);
        let most = Session::backlog_most(&self.config);
        if self.live && !self.failed {
            // One buffer more, and what is under way at the server.
            let more = Length::of_s(6 + 20);
            assert!(self.session.backlog() <= most + more, "{}", self.session.backlog());
        }
    }

    fn output(&mut self, output: &Output) {
        if self.failed {
            assert!(matches!(output, Output::Flushed(_) | Output::Drained(_)), "{output:?}");
        }
        if !self.flushes.is_empty() {
            assert!(matches!(output, Output::Flushed(_)), "{output:?} before the flush");
        }
        self.outputs.audio = Position::new(self.audio);
        match output {
            Output::Transcript(output) => self.outputs.take(output),
            Output::Horizon(at) => {
                assert!(
                    *at > self.horizon && at.samples() <= self.audio,
                    "{at} after {}",
                    self.horizon
                );
                self.horizon = *at;
                self.outputs.floor = self.outputs.floor.max(*at);
            }
            Output::Dropped { begin, end, reason } => {
                assert!(
                    begin < end && end.samples() <= self.audio && !reason.is_empty(),
                    "{output:?}"
                );
                self.dropped += (*end - *begin).samples();
            }
            Output::Drained(number) => {
                assert_eq!(self.drains.first(), Some(number));
                self.drains.remove(0);
            }
            Output::Flushed(number) => {
                assert_eq!(self.flushes, [*number]);
                self.flushes.clear();
                self.outputs.flushed();
                self.outputs.floor = self.outputs.floor.max(Position::new(self.audio));
            }
            Output::Failed(error) => {
                short(&error.message);
                short(&error.detail);
                self.failed = true;
                self.drains.clear();
            }
            Output::Warning(text) => short(text),
            Output::ServerWarning { text, server_text } => {
                short(text);
                short(server_text);
            }
            Output::Connection { reason, .. } => {
                if self.failed {
                    panic!("{output:?} after the end");
                }
                short(reason);
            }
        }
    }

    /// From here on the server is honest, and no one does anything but wait for words.
    fn finish(&mut self) {
        if !self.live {
            let most = Session::backlog_most(&self.config);
            self.until("the input waits for room", |run| run.session.backlog() < most);
        }
        self.drain();
        self.until("all words", |run| run.drains.is_empty());
        if !self.failed {
            let s = self.session.stats();
            assert_eq!(s.samples_unconfirmed, 0, "{s:?}");
            assert_eq!(self.session.backlog(), Length::ZERO, "{s:?}");
        }
        self.session.shut_down();
    }

    fn until(&mut self, what: &str, done: impl Fn(&Run) -> bool) {
        for _ in 0..STEPS {
            if self.failed || done(self) {
                return;
            }
            if self.answer() {
                continue;
            }
            match self.session.wake_at() {
                Some(at) => self.pass(at.saturating_sub(self.now)),
                None => panic!("{what}: nobody is waited for; {:#?}", self.session),
            }
        }
        panic!("{what}: no end; {:?}", self.session.stats());
    }
}

/// Servers' texts do not make messages long.
fn short(text: &str) {
    assert!(text.len() <= 2000, "{} bytes: {text:.100}", text.len());
}
