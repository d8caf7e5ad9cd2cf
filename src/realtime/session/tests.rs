// SPDX-License-Identifier: MPL-2.0

//! The session by hand, case by case; `tests/simulation` draws the cases at random.

use serde_json::Value;

use super::super::{ErrorKind, Reconnect, ServerUrl};
use super::*;

const CREATED: &str = r#"{"type":"session.created","id":"sess-1","created":1}"#;
const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    s: Session,
    now: Duration,
    position: u64,
}

impl Rig {
    fn new(config: Config) -> Rig {
        let s = Session::new(Config { voice_activity: false, ..config }, 1);
        Rig { s, now: SECOND, position: 0 }
    }

    /// Connected, greeted, the first `session.update` taken.
    fn ready(config: Config) -> Rig {
        let mut r = Rig::new(config);
        r.s.connect(r.now);
        assert_eq!(r.greeted(), [""; 0]);
        r
    }

    /// Returns what follows the first `session.update`.
    fn greeted(&mut self) -> Vec<String> {
        assert_eq!(self.s.poll_action(), Some(Action::Connect { server: 0 }));
        self.s.connected(self.now);
        self.s.message(CREATED, self.now);
        let sent = self.sent();
        assert_eq!(sent[0], "session.update");
        sent[1..].to_vec()
    }

    fn audio(&mut self, samples: u64) {
        self.s.audio(self.position, vec![1; samples as usize], self.now);
        self.position += samples;
    }

    fn end_utterance(&mut self) {
        self.s.end_utterance(self.position, self.now);
    }

    fn pass(&mut self, d: Duration) {
        self.now += d;
        self.s.time(self.now);
    }

    fn say(&mut self, event: &str) {
        self.s.message(event, self.now);
    }

    fn done(&mut self, text: &str) {
        self.say(&format!(r#"{{"type":"transcription.done","text":"{text}"}}"#));
    }

    fn error(&mut self, code: &str) {
        self.say(&format!(r#"{{"type":"error","error":"because","code":"{code}"}}"#));
    }

    fn lose(&mut self) {
        let error =
            Error { kind: ErrorKind::Unreachable, message: "gone".into(), detail: "x".into() };
        self.s.disconnected(Lost { error, permanent: false }, self.now);
    }

    /// What was sent: names of events, appends as their number of samples, added up; other
    /// actions by name.
    fn sent(&mut self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let mut samples = 0;
        let flush = |samples: &mut usize, out: &mut Vec<String>| {
            if *samples > 0 {
                out.push(format!("{samples} samples"));
                *samples = 0;
            }
        };
        while let Some(action) = self.s.poll_action() {
            let message = match action {
                Action::Send(message) => message,
                other => {
                    flush(&mut samples, &mut out);
                    out.push(format!("{other:?}"));
                    continue;
                }
            };
            let v: Value = serde_json::from_str(&message).unwrap();
            let kind = v["type"].as_str().unwrap();
            if let Some(audio) = v["audio"].as_str() {
                let pad = audio.bytes().rev().take_while(|b| *b == b'=').count();
                samples += (audio.len() / 4 * 3 - pad) / 2;
                continue;
            }
            flush(&mut samples, &mut out);
            out.push(match v["final"].as_bool() {
                Some(true) => "final".into(),
                Some(false) => "commit".into(),
                None => kind.into(),
            });
        }
        flush(&mut samples, &mut out);
        out
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.s.poll_output()).collect()
    }

    fn words(&mut self) -> Vec<String> {
        self.outputs()
            .into_iter()
            .filter_map(|o| match o {
                Output::Transcript(transcript::Output::Word(w)) => Some(w.text),
                _ => None,
            })
            .collect()
    }

    fn failure(&mut self) -> Option<Error> {
        self.outputs().into_iter().find_map(|o| match o {
            Output::Failed(e) => Some(e),
            _ => None,
        })
    }
}

#[test]
fn the_ordinary_order() {
    let mut r = Rig::ready(Config::default());
    r.audio(16_000);
    assert_eq!(r.sent(), ["commit", "16000 samples"]);
    r.audio(1000);
    assert_eq!(r.sent(), [""; 0], "less than a chunk");
    r.end_utterance();
    assert_eq!(r.sent(), ["1000 samples", "final"]);
    r.done("hello there");
    assert_eq!(r.words(), ["hello", "there"]);
    let stats = r.s.stats();
    assert_eq!((stats.samples_confirmed, stats.samples_unconfirmed), (17_000, 0));
    assert_eq!((r.s.backlog(), r.s.wake_at()), (0, None));
}

/// Trap: audio appended between the final commit and `done` is lost.
#[test]
fn audio_between_final_and_done_is_held_back() {
    let mut r = Rig::ready(Config::default());
    r.audio(16_000);
    r.end_utterance();
    r.sent();
    r.audio(3200);
    assert_eq!(r.sent(), [""; 0]);
    r.done("one");
    // Not at once either: the server empties its queue a moment after `done`.
    assert_eq!(r.sent(), [""; 0]);
    r.now = r.s.wake_at().expect("the moment's end");
    r.s.time(r.now);
    assert_eq!(r.sent(), ["commit", "3200 samples"]);
}

/// Trap: Qwen3-ASR fails on a tail of 1 to 319 samples.
#[test]
fn a_short_tail_is_padded_and_the_padding_has_no_words() {
    for (samples, sent) in [(100, 320), (319, 320), (320, 320), (80_100, 80_320)] {
        let mut r = Rig::ready(Config::default());
        r.audio(samples);
        r.end_utterance();
        assert_eq!(r.sent(), ["commit".to_owned(), format!("{sent} samples"), "final".into()]);
        r.done("word");
        let ends: Vec<u64> = r
            .outputs()
            .into_iter()
            .filter_map(|o| match o {
                Output::Transcript(transcript::Output::Word(w)) => Some(w.end),
                _ => None,
            })
            .collect();
        assert!(ends.len() == 1 && ends[0] <= samples, "{ends:?}");
    }
}

/// Trap: a final commit with no audio.
#[test]
fn nothing_is_sent_where_there_is_no_audio() {
    let mut r = Rig::ready(Config::default());
    r.end_utterance();
    r.s.drain(7, r.now);
    assert_eq!(r.sent(), [""; 0]);
    assert!(r.outputs().contains(&Output::Drained(7)));
    // Nor is there any need of a connection.
    let mut r = Rig::new(Config::default());
    r.s.finish(8, r.now);
    assert_eq!(r.sent(), [""; 0]);
    assert!(r.outputs().contains(&Output::Drained(8)));
    assert_eq!(r.s.wake_at(), None);
}

#[test]
fn a_lost_connection_sends_the_audio_again() {
    let mut r = Rig::ready(Config { reconnect: Reconnect::Forever, ..Config::default() });
    r.audio(16_000);
    r.end_utterance();
    r.sent();
    r.lose();
    assert_eq!(r.sent(), ["Disconnect"]);
    assert!(r.outputs().iter().any(|o| matches!(o, Output::Warning(_))));
    r.pass(SECOND);
    assert_eq!(r.greeted(), ["commit", "16000 samples", "final"]);
    r.done("one");
    assert_eq!(r.words(), ["one"]);
    let stats = r.s.stats();
    assert_eq!((stats.samples_sent, stats.samples_replayed), (32_000, 16_000));
    assert_eq!(stats.samples_confirmed, 16_000);
}

#[test]
fn an_idle_connection_may_go() {
    let mut r = Rig::ready(Config::default());
    r.lose();
    assert_eq!((r.sent(), r.s.wake_at()), (vec![], None));
    assert!(!r.outputs().iter().any(|o| matches!(o, Output::Warning(_) | Output::Failed(_))));
    r.audio(1600);
    assert_eq!(r.sent(), ["Connect { server: 0 }"]);
}

#[test]
fn errors_by_their_code() {
    for (code, kind) in [
        ("model_not_found", Some(ErrorKind::NotFound)),
        ("model_not_validated", Some(ErrorKind::NotFound)),
        ("invalid_event", Some(ErrorKind::Protocol)),
        ("unknown_event", Some(ErrorKind::Protocol)),
        ("processing_error", None),
        ("idle_timeout", None),
        ("something_new", None),
    ] {
        let mut r = Rig::ready(Config::default());
        r.audio(16_000);
        r.sent();
        r.error(code);
        assert_eq!(r.failure().map(|e| e.kind), kind, "{code}");
        assert_eq!(r.sent(), ["Disconnect"], "{code}");
    }
}

/// Trap: `done` without a final commit, what was queued is lost.
#[test]
fn done_that_nobody_asked_for_is_a_new_connection_and_replay() {
    let mut r = Rig::ready(Config::default());
    r.audio(16_000);
    r.sent();
    r.done("");
    assert_eq!(r.sent(), ["Disconnect"]);
    r.pass(SECOND);
    assert_eq!(r.greeted(), ["commit", "16000 samples"]);
    r.end_utterance();
    assert_eq!(r.sent(), ["final"]);
}

#[test]
fn limits_of_time() {
    let config = Config { reconnect: Reconnect::Attempts(0), ..Config::default() };
    let mut r = Rig::new(config.clone());
    r.s.connect(r.now);
    r.pass(config.connect_timeout);
    let e = r.failure().expect("a failure");
    assert!(e.kind == ErrorKind::Timeout && e.message.contains("connect-timeout"), "{e}");

    let mut r = Rig::new(config.clone());
    r.s.connect(r.now);
    r.s.connected(r.now);
    r.pass(config.connect_timeout);
    assert_eq!(r.failure().map(|e| e.kind), Some(ErrorKind::Timeout));

    // It runs from the last progress, not from the request.
    let mut r = Rig::ready(config.clone());
    r.audio(32_000);
    r.end_utterance();
    let before = config.response_timeout - SECOND;
    for _ in 0..5 {
        r.pass(before);
        r.say(r#"{"type":"transcription.delta","delta":""}"#);
        assert_eq!(r.failure(), None);
    }
    r.pass(config.response_timeout);
    let e = r.failure().expect("a failure");
    assert!(e.kind == ErrorKind::Timeout && e.message.contains("response-timeout"), "{e}");
}

/// A server that is away is waited for, but not for ever once the audio has ended.
#[test]
fn the_end_of_the_audio_is_not_waited_for_endlessly() {
    for (reconnect, ends) in [(Reconnect::Auto, true), (Reconnect::Forever, false)] {
        let config = Config { reconnect, ..Config::default() };
        let mut r = Rig::ready(config.clone());
        r.audio(16_000);
        r.s.finish(1, r.now);
        r.lose();
        let mut failure = None;
        for _ in 0..200 {
            let Some(at) = r.s.wake_at() else { break };
            r.now = r.now.max(at);
            r.s.time(r.now);
            if r.sent().iter().any(|a| a.starts_with("Connect")) {
                r.lose();
            }
            failure = failure.or(r.failure());
        }
        assert_eq!(failure.is_some(), ends, "{failure:?}");
        assert!(!ends || r.now == SECOND + 2 * config.response_timeout + config.connect_timeout);
    }
}

#[test]
fn a_live_source_loses_its_oldest_audio_and_is_told() {
    let config = Config {
        max_backlog: 10 * SECOND,
        servers: vec![ServerUrl::default()],
        ..Config::default()
    };
    let mut r = Rig::new(config);
    r.s.set_live(true);
    for _ in 0..200 {
        r.audio(1600);
        assert!(r.s.backlog() <= 11 * 16_000);
    }
    let dropped: u64 = r
        .outputs()
        .iter()
        .map(|o| if let Output::Dropped { begin, end, .. } = o { end - begin } else { 0 })
        .sum();
    let stats = r.s.stats();
    assert_eq!(stats.samples_dropped, dropped);
    assert_eq!(stats.samples_in, dropped + stats.samples_unconfirmed);
    assert!(dropped >= 9 * 16_000, "{dropped}");
}
