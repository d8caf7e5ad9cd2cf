// SPDX-License-Identifier: MPL-2.0

//! The session by hand, where things go wrong: what the simulation found, and its neighbours.

use std::time::Duration;

use super::super::{ErrorKind, Reconnect, ServerUrl};
use super::*;
use crate::transcript::{Timing, Word};

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
    position: u64,
    out: Vec<Output>,
}

impl Bench {
    fn new(config: Config) -> Bench {
        Bench { s: Session::new(config, 7), now: Duration::ZERO, position: 0, out: Vec::new() }
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
        let audio = (self.position..self.position + samples).map(value).collect();
        self.s.audio(self.position, audio, self.now);
        self.position += samples;
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
        let usage = serde_json::json!({"prompt_tokens": 39, "completion_tokens": frames});
        let done = serde_json::json!({"type": "transcription.done", "text": text, "usage": usage});
        self.hear(&done.to_string());
    }

    fn error(&mut self, code: &str) {
        let e = serde_json::json!({"type": "error", "error": "It is so", "code": code});
        self.hear(&e.to_string());
    }

    fn lose(&mut self) {
        let error =
            Error { kind: ErrorKind::Unreachable, message: "Lost.".into(), detail: String::new() };
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
        assert_eq!((s.samples_in, sum), (self.position, self.position), "{s:?}");
        s
    }
}

fn config() -> Config {
    Config { voice_activity: false, ..Config::default() }
}

fn frames() -> Config {
    let mut config = config();
    config.transcript.timing = Timing::Frames;
    config
}

fn has(outputs: &[Output], wanted: impl Fn(&Output) -> bool) -> bool {
    outputs.iter().any(wanted)
}

#[test]
fn drains_end_in_order_and_only_when_their_audio_is_over() {
    let mut b = Bench::ready(config());
    b.audio(3200);
    b.s.drain(1, b.now);
    b.audio(3200);
    b.s.drain(2, b.now);
    b.s.drain(3, b.now);
    b.outputs();
    b.done("", 13);
    assert!(b.outputs().ends_with(&[Output::Drained(1)]));
    b.wake();
    b.done("", 13);
    assert!(b.outputs().ends_with(&[Output::Drained(2), Output::Drained(3)]));
}

#[test]
fn a_cut_of_the_utterance_does_not_end_a_drain_early() {
    let mut b = Bench::ready(Config { max_utterance: Some(3 * S), ..frames() });
    b.audio(5 * SAMPLE_RATE);
    b.s.drain(1, b.now);
    let mut generations = 0;
    while !b.outputs().contains(&Output::Drained(1)) {
        assert!(generations < 10);
        generations += 1;
        let mut samples = 0;
        for _ in 0..100 {
            for sent in b.sent() {
                if let Audio(n, _) = sent {
                    samples += n;
                }
            }
            if matches!(b.s.generation, Generation::Finishing(_)) {
                break;
            }
            b.delta("");
        }
        let Generation::Finishing(run) = b.s.generation else { panic!("no final commit") };
        let due = (samples - 40) / 1280 + 11;
        (run.deltas..due).for_each(|_| b.delta(""));
        b.done("", due);
        b.pass(SETTLE);
    }
    assert!(generations > 1);
    assert_eq!(b.balanced().samples_confirmed, 5 * SAMPLE_RATE);
}

#[test]
fn another_protocol_is_refused_at_once() {
    for first in [
        r#"{"type":"session.created","session":{"id":"x"}}"#,
        r#"{"type":"conversation.created"}"#,
        "<html>",
    ] {
        let mut b = Bench::new(Config { reconnect: Reconnect::Forever, ..config() });
        b.s.connect(b.now);
        b.s.connected(b.now);
        b.hear(first);
        assert!(has(&b.outputs(), |o| matches!(
            o,
            Output::Failed(e) if e.kind == ErrorKind::Protocol
        )));
    }
}

#[test]
fn each_step_of_connecting_has_its_limit() {
    let mut b = Bench::new(Config { connect_timeout: 3 * S, ..config() });
    b.s.connect(b.now);
    b.sent();
    assert_eq!(b.s.wake_at(), Some(3 * S));
    b.pass(2 * S);
    b.s.connected(b.now);
    // One limit for all of them.
    assert_eq!(b.s.wake_at(), Some(3 * S));
    b.wake();
    let out = b.outputs();
    assert!(has(&out, |o| matches!(o, Output::Failed(e) if e.kind == ErrorKind::Timeout)));
    assert_eq!(b.sent(), [Disconnect]);
}

#[test]
fn a_server_that_answered_once_is_waited_for() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.sent();
    b.lose();
    for _ in 0..50 {
        b.wake();
        assert!(b.sent().contains(&Connect(0)));
        b.lose();
    }
    assert!(!b.s.has_failed());
    let out = b.outputs();
    assert_eq!(out.iter().filter(|o| matches!(o, Output::Warning(_))).count(), 1);
}

#[test]
fn no_answer_to_the_final_commit_is_a_lost_connection() {
    let mut b = Bench::ready(Config { response_timeout: 5 * S, ..config() });
    b.audio(16_000);
    b.pass(100 * S);
    // Nothing is due yet: the server may be one that speaks at the end.
    assert_eq!(b.s.wake_at(), None);
    b.end_utterance();
    assert_eq!(b.s.wake_at(), Some(b.now + 5 * S));
    b.pass(4 * S);
    // Any delta is progress.
    b.delta("");
    assert_eq!(b.s.wake_at(), Some(b.now + 5 * S));
    b.sent();
    b.wake();
    assert_eq!(b.sent(), [Disconnect]);
    b.wake();
    b.greet();
    let sent = b.sent_in_all();
    assert_eq!(sent, [Connect(0), Update, Begin, Audio(16_000, 1), Final]);
}

#[test]
fn frames_are_due_while_the_utterance_goes_on() {
    let mut b = Bench::ready(Config { response_timeout: 5 * S, ..frames() });
    b.audio(SAMPLE_RATE);
    assert_eq!(b.s.wake_at(), None);
    b.audio(SAMPLE_RATE);
    assert_eq!(b.s.wake_at(), Some(5 * S));
}

#[test]
fn how_far_ahead_of_a_frame_synchronous_server() {
    let mut b = Bench::ready(frames());
    b.audio(60 * SAMPLE_RATE);
    assert_eq!(b.sent_in_all(), [Begin, Audio(FRAMES_AHEAD, 1)]);
    // The first delta tells of nothing but the delay; each one after it of 80 ms.
    (0..101).for_each(|_| b.delta(""));
    let sent: u64 = b.sent().iter().map(|s| if let Audio(n, _) = s { *n } else { 0 }).sum();
    assert!((99 * 1280..=101 * 1280).contains(&sent), "{sent}");
}

#[test]
fn a_server_of_unknown_kind_is_given_six_seconds_and_then_an_utterance() {
    let mut b = Bench::ready(config());
    b.audio(50 * SAMPLE_RATE);
    assert_eq!(b.sent_in_all(), [Begin, Audio(FIRST_WORDS, 1)]);
    assert_eq!(b.s.wake_at(), Some(SHY));
    b.wake();
    let sent = b.sent_in_all();
    assert!(
        matches!(sent[..], [Audio(n, _), Final] if n <= UTTERANCE_AHEAD - FIRST_WORDS),
        "{sent:?}"
    );
}

#[test]
fn what_was_said_is_not_asked_again() {
    let mut b = Bench::ready(frames());
    b.audio(10 * SAMPLE_RATE);
    // A word that ended at 4 s.
    (0..60).for_each(|k| b.delta(if k == 50 { " early" } else { "" }));
    assert_eq!(b.texts(), ["early"]);
    b.sent();
    b.lose();
    b.wake();
    b.greet();
    let sent = b.sent_in_all();
    let Audio(_, first) = sent[4] else { panic!("{sent:?}") };
    assert!((2..=5).contains(&first), "from second {} on", first - 1);
    let Generation::Running(run) = b.s.generation else { panic!() };
    assert!(run.start > SAMPLE_RATE && run.start < 5 * SAMPLE_RATE);
    // The word comes again, and is not told again.
    let word = (64_000 - run.start).div_ceil(1280);
    (0..60).for_each(|k| b.delta(if k == word { " early" } else { "" }));
    b.delta(" later");
    b.delta("");
    assert_eq!(b.texts(), ["early", "later"]);
    b.balanced();
}

#[test]
fn servers_in_turn() {
    let servers = ServerUrl::parse_list("ws://a/v1/realtime,ws://b/v1/realtime").unwrap();
    let mut b = Bench::ready(Config { servers, ..config() });
    b.audio(16_000);
    b.sent();
    b.lose();
    b.pass(Duration::ZERO);
    assert!(b.sent().contains(&Connect(1)));
    b.lose();
    b.wake();
    assert!(b.sent().contains(&Connect(0)));
}

#[test]
fn unasked_done_begins_again_on_a_new_connection_and_keeps_shorter() {
    let mut b = Bench::ready(frames());
    b.audio(30 * SAMPLE_RATE);
    b.sent();
    (0..100).for_each(|_| b.delta(""));
    b.done("", 100);
    assert!(b.sent().contains(&Disconnect));
    assert!(b.s.learned_limit.is_some_and(|l| l < 8 * SAMPLE_RATE && l > 4 * SAMPLE_RATE));
    b.wake();
    b.greet();
    let samples: u64 = b.sent().iter().map(|s| if let Audio(n, _) = s { *n } else { 0 }).sum();
    assert!(samples <= 8 * SAMPLE_RATE);
    b.balanced();
}

#[test]
fn done_that_crossed_the_final_commit_is_unasked_too() {
    let mut b = Bench::ready(frames());
    b.audio(4 * SAMPLE_RATE);
    (0..20).for_each(|_| b.delta(""));
    b.s.drain(1, b.now);
    b.sent();
    b.done("", 20);
    // The final commit that it had not seen would end the next generation.
    assert!(b.sent().contains(&Disconnect));
    assert!(!b.outputs().contains(&Output::Drained(1)));
    b.wake();
    b.greet();
    (0..60).for_each(|_| b.delta(""));
    b.done("", 60);
    assert_eq!(b.outputs().last(), Some(&Output::Drained(1)));
    b.balanced();
}

#[test]
fn a_server_that_always_counts_otherwise_is_believed_in_the_end() {
    let mut b = Bench::ready(frames());
    b.audio(2 * SAMPLE_RATE);
    b.s.drain(1, b.now);
    for _ in 0..5 {
        b.delta("");
        b.done("", 1);
        if b.outputs().contains(&Output::Drained(1)) {
            return;
        }
        b.wake();
        b.greet();
    }
    panic!("it never ends");
}

#[test]
fn audio_over_which_every_generation_fails_is_given_up() {
    let mut b = Bench::ready(config());
    b.s.proven = true;
    b.audio(16_000);
    b.end_utterance();
    b.audio(16_000);
    b.s.drain(1, b.now);
    for n in 0..blame::POISON / 5 {
        assert!(!has(&b.outputs(), |o| matches!(o, Output::Dropped { .. })), "after {n}");
        b.error("processing_error");
        b.wake();
        b.greet();
    }
    let out = b.outputs();
    let dropped = |o: &Output| matches!(o, Output::Dropped { begin: 0, end: 16_000, .. });
    assert!(has(&out, dropped), "{out:?}");
    b.sent();
    b.done("", 23);
    assert_eq!(b.outputs().last(), Some(&Output::Drained(1)));
    let stats = b.balanced();
    assert_eq!((stats.samples_dropped, stats.samples_confirmed), (16_000, 16_000));
}

#[test]
fn what_was_sent_is_not_dropped_when_the_server_is_slow() {
    let mut b = Bench::ready(Config { max_backlog: 5 * S, ..config() });
    b.s.set_live(true);
    b.audio(SAMPLE_RATE);
    b.end_utterance();
    b.outputs();
    for _ in 0..100 {
        b.audio(1600);
    }
    let dropped: Vec<(u64, u64)> = b
        .outputs()
        .iter()
        .filter_map(|o| match o {
            Output::Dropped { begin, end, .. } => Some((*begin, *end)),
            _ => None,
        })
        .collect();
    assert_eq!(dropped[0].0, SAMPLE_RATE);
    assert!(dropped.windows(2).all(|d| d[0].1 == d[1].0), "{dropped:?}");
    b.sent();
    b.done("", 23);
    let stats = b.balanced();
    assert_eq!(stats.samples_dropped, dropped.iter().map(|d| d.1 - d.0).sum::<u64>());
    assert_eq!(stats.samples_confirmed, SAMPLE_RATE);
}

#[test]
fn any_other_source_gets_on_however_small_its_backlog() {
    for chunk in [20, 80, 500, 2000] {
        let chunk = Duration::from_millis(chunk);
        let mut b = Bench::ready(Config { max_backlog: 3 * S, chunk, ..config() });
        while b.s.backlog() < Session::backlog_most(&b.s.config) {
            b.audio(333);
        }
        let mut sent = b.sent_in_all();
        while !sent.contains(&Final) {
            b.wake();
            sent.extend(b.sent_in_all());
        }
        assert_eq!(b.balanced().samples_dropped, 0);
    }
}

#[test]
fn flush_in_every_state() {
    type Prepare = fn(&mut Bench);
    let states: [(&str, Prepare); 8] = [
        ("idle", |_| {}),
        ("connecting", |b| b.audio(16_000)),
        ("greeting", |b| {
            b.audio(16_000);
            b.s.connected(b.now);
        }),
        ("running", |b| {
            b.audio(16_000);
            b.greet();
            b.delta("");
        }),
        ("finishing", |b| {
            b.audio(16_000);
            b.greet();
            b.end_utterance();
        }),
        ("settling", |b| {
            b.audio(16_000);
            b.greet();
            b.end_utterance();
            b.done("", 23);
        }),
        ("waiting", |b| {
            b.audio(16_000);
            b.greet();
            b.lose();
        }),
        ("flushed", |b| {
            b.audio(16_000);
            b.greet();
            b.s.flush(99, b.now);
        }),
    ];
    for (state, prepare) in states {
        let mut b = Bench::new(frames());
        prepare(&mut b);
        b.s.flush(1, b.now);
        b.sent();
        let out = b.outputs();
        assert_eq!(out.last(), Some(&Output::Flushed(1)), "{state}: {out:?}");
        assert_eq!((b.s.backlog(), b.balanced().samples_unconfirmed), (0, 0), "{state}");
        // A late word of before belongs to nobody.
        if b.s.connection == Connection::Ready {
            b.delta(" late");
            b.delta("");
        }
        let flushed = b.position;
        b.audio(16_000);
        b.s.drain(1, b.now);
        // Whatever it is doing, it comes to the new audio by itself.
        for _ in 0..5 {
            let sent = b.sent();
            if sent.contains(&Audio(8000, 2)) || sent.contains(&Audio(8000, 1)) {
                break;
            }
            match b.s.connection {
                Connection::Connecting { .. } | Connection::Greeting { .. } => b.greet(),
                _ if b.s.wake_at().is_some() => b.wake(),
                _ => break,
            }
        }
        assert!(
            matches!(b.s.generation, Generation::Finishing(run) if run.start == flushed),
            "{state}: {:?}",
            b.s.generation
        );
        (0..23).for_each(|k| b.delta(if k == 9 { " new" } else { "" }));
        b.done(" new", 23);
        assert_eq!(b.texts(), ["new"], "{state}");
        assert!(b.words()[0].begin >= flushed, "{state}");
        assert_eq!(b.out.last(), Some(&Output::Drained(1)), "{state}");
        assert_eq!(b.balanced().samples_unconfirmed, 0);
    }
}

#[test]
fn a_flush_keeps_what_was_told_of_the_connection() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.lose();
    b.s.flush(1, b.now);
    b.s.flush(2, b.now);
    let out = b.outputs();
    assert!(has(&out, |o| matches!(o, Output::Warning(_))));
    assert!(out.ends_with(&[Output::Flushed(1), Output::Flushed(2)]));
}

#[test]
fn the_end_is_as_gentle_as_one_message_allows() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.sent();
    b.s.shut_down();
    assert_eq!(b.sent(), [Final, Disconnect]);
    b.audio(16_000);
    b.hear(CREATED);
    b.pass(100 * S);
    assert_eq!((b.sent(), b.s.wake_at()), (vec![], None));
}

#[test]
fn what_a_server_should_not_say() {
    let mut b = Bench::ready(config());
    // Out of the blue.
    b.delta(" word");
    b.done(" word", 1);
    b.hear(r#"{"type":"news","of":["the","day"]}"#);
    assert_eq!((b.sent(), b.texts()), (vec![], vec![]));
    // Once it has proven to be the right one, rubbish is a broken connection only.
    b.audio(16_000);
    b.sent();
    b.delta("");
    b.hear("{");
    assert_eq!(b.sent(), [Disconnect]);
    assert!(!b.s.has_failed());
}

#[test]
fn endless_text_ends_in_a_new_connection() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.sent();
    for _ in 0..100_000 {
        b.delta(" a");
        b.outputs();
        if b.sent().contains(&Disconnect) {
            return;
        }
    }
    panic!("it goes on");
}
