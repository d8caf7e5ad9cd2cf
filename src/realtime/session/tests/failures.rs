// SPDX-License-Identifier: MPL-2.0

//! Where things go wrong: what the simulation found, and its neighbours.

use super::super::super::connect_error::not_authorized;
use super::*;
use crate::speech::sample::voice;

#[test]
fn a_lost_connection_sends_the_audio_again() {
    let mut b = Bench::ready(Config { reconnect: Reconnect::Forever, ..config() });
    b.audio(16_000);
    b.end_utterance();
    b.sent();
    b.lose();
    assert_eq!(b.sent(), [Disconnect]);
    assert!(has(&b.outputs(), |o| matches!(o, Output::Warning(_))));
    b.wake();
    b.greet();
    assert_eq!(b.sent_in_all(), [Connect(0), Update, Begin, Audio(16_000, 1), Final]);
    b.done("one", 23);
    assert_eq!(b.texts(), ["one"]);
    let stats = b.balanced();
    assert_eq!((stats.samples_sent, stats.samples_replayed), (32_000, 16_000));
    assert_eq!(stats.samples_confirmed, 16_000);
}

#[test]
fn an_idle_connection_may_go() {
    let mut b = Bench::ready(config());
    b.lose();
    assert_eq!((b.sent(), b.s.wake_at()), (vec![], None));
    assert!(!has(&b.outputs(), |o| matches!(o, Output::Warning(_) | Output::Failed(_))));
    b.audio(1600);
    assert_eq!(b.sent(), [Connect(0)]);
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
        let mut b = Bench::ready(config());
        b.audio(16_000);
        b.sent();
        if code == "invalid_event" {
            // At first it may be what was asked for beside the model.
            b.error(code);
            assert_eq!(b.sent(), [Update, Begin]);
        }
        b.error(code);
        assert_eq!(b.failure().map(|e| e.kind), kind, "{code}");
        assert_eq!(b.sent(), [Disconnect], "{code}");
    }
}

/// Trap: `done` without a final commit, what was queued is lost.
#[test]
fn done_that_nobody_asked_for_is_a_new_connection_and_replay() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.sent();
    b.done("", 0);
    assert_eq!(b.sent(), [Disconnect]);
    b.wake();
    b.greet();
    assert_eq!(b.sent_in_all(), [Connect(0), Update, Begin, Audio(16_000, 1)]);
    b.end_utterance();
    assert_eq!(b.sent(), [Final]);
}

/// A segment of text comes, of which nothing is kept.
fn segment(b: &mut Bench) {
    b.delta("language English<asr_text> word");
    b.delta(" and");
}

/// Trap: Qwen3-ASR over `max_model_len` answers with `processing_error`, and nobody has told how
/// long that is.
#[test]
fn failures_after_as_much_audio_make_generations_shorter() {
    let mut segments = long();
    segments.transcript.timing = Timing::Segments;
    let mut b = Bench::ready(segments);
    let longest = |b: &Bench| b.s.wanted().map(|g| b.s.longest_generation(&g));
    for failure in 0..2 {
        for _ in 0..8 {
            b.audio(5 * SAMPLE_RATE);
            b.sent();
            segment(&mut b);
        }
        let before = longest(&b).unwrap();
        assert!(before >= len(600 * SAMPLE_RATE), "not by one failure: {before} after {failure}");
        b.error("processing_error");
        b.wake();
        b.greet();
    }
    let Some(limit) = longest(&b) else { panic!("{:?}", b.s.generation) };
    assert!((20 * SAMPLE_RATE..40 * SAMPLE_RATE).contains(&limit.samples()), "{limit}");
    let told = |o: &Output| match o {
        Output::Connection { reason, .. } => reason.contains("max-utterance"),
        _ => false,
    };
    assert!(has(&b.outputs(), told));
    b.balanced();
}

/// What a server or a gateway says is shown: not the key that it repeats, nor what moves the
/// cursor of a terminal.
#[test]
fn what_is_told_of_a_server_is_fit_to_be_shown() {
    let bad = "Wrong key\r\nsekrit-1 \u{1b}[31m";
    let say: [fn(&mut Bench, &str); 4] = [
        |b, bad| b.error_with("model_not_found", bad),
        |b, bad| b.error_with(bad, ""),
        |b, bad| b.lose_with(bad, bad),
        |b, bad| {
            // A connection that nobody needs goes.
            b.end_utterance();
            b.done("", 23);
            b.lose_with(bad, bad);
        },
    ];
    let secret = || Secret::new("sekrit-1");
    let all = [
        Config { api_key: Some(secret()), ..config() },
        Config { headers: vec![("X-Key".into(), secret())], ..config() },
    ];
    for (n, (say, config)) in say.iter().flat_map(|s| all.iter().map(move |c| (s, c))).enumerate() {
        let mut b = Bench::ready(config.clone());
        b.audio(16_000);
        say(&mut b, bad);
        let shown = format!("{:?}", b.outputs());
        assert!(shown.contains("Wrong key  *** "), "{n}: {shown}");
        for bad in ["sekrit", "\\u{1b}", "\\r", "\\n"] {
            assert!(!shown.contains(bad), "{n}: {bad} in {shown}");
        }
    }
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
    // Some greet as vLLM does.
    for (event, name) in [
        (r#"{"type":"response.created"}"#, "response.created"),
        (r#"{"type":"transcription.segment","text":"x"}"#, "transcription.segment"),
        (r#"{"type":"transcription.completed"}"#, "transcription.completed"),
        (r#"{"type":"conversation.item.created"}"#, "conversation.item.created"),
    ] {
        let mut b = Bench::ready(Config { reconnect: Reconnect::Forever, ..config() });
        b.audio(16_000);
        b.hear(event);
        let error = b.failure().unwrap();
        assert_eq!(error.kind, ErrorKind::Protocol, "{name}");
        assert!(error.detail.contains(&format!("It sent {name}.")), "{error:?}");
    }
}

/// While live audio waits its words are late already: the server is tried once a second at least.
#[test]
fn live_audio_is_waited_with_for_a_second_at_most() {
    let waits = |live, spoken: u64| {
        let mut b = Bench::ready(Config { reconnect: Reconnect::Forever, ..config() });
        b.s.set_live(live);
        b.audio(spoken);
        b.sent();
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            b.lose();
            let Some(at) = b.s.wake_at() else { break };
            longest = longest.max(at - b.now);
            b.wake();
            b.sent();
        }
        longest
    };
    let (live, file) = (waits(true, 16_000), waits(false, 16_000));
    assert!(live > Duration::ZERO && live <= S, "{live:?}");
    assert!(file > 5 * S && file <= 10 * S, "{file:?}");
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
    let Some(g) = b.s.generation.filter(Generation::is_running) else { panic!() };
    assert!(g.start() > pos(SAMPLE_RATE) && g.start() < pos(5 * SAMPLE_RATE));
    // The word comes again, and is not told again.
    let word = (64_000 - g.start().samples()).div_ceil(1280);
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
    b.wake();
    b.greet();
    let limit = b.s.wanted().map(|g| b.s.longest_generation(&g).samples());
    assert!(limit.is_some_and(|l| l < 8 * SAMPLE_RATE && l > 4 * SAMPLE_RATE), "{limit:?}");
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

/// Also where it has merged some of its first deltas, so that its clock is not known yet.
#[test]
fn done_that_crossed_the_final_commit_is_unasked_with_merged_deltas_too() {
    let mut b = Bench::ready(config());
    b.audio(4 * SAMPLE_RATE);
    b.s.drain(1, b.now);
    ["", " no", " then"].into_iter().for_each(|text| b.delta(text));
    b.sent();
    b.done(" no then", 6);
    assert!(b.sent().contains(&Disconnect));
    assert!(!b.outputs().contains(&Output::Drained(1)));
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

/// vllm#47614: blank deltas over speech. The same audio is tried once more; where it is blank again
/// there are no words in it.
#[test]
fn a_server_that_says_nothing_of_speech_is_left_once() {
    let mut b = Bench::ready(frames());
    let mut left = Vec::new();
    for piece in voice(24 * SAMPLE_RATE as usize, 8000.0).chunks(1280) {
        b.s.audio(b.position, piece.to_vec(), b.now);
        b.position += len(1280);
        b.pass(Duration::from_millis(80));
        if b.s.wanted().is_some_and(|g| g.deltas() * 1280 < g.sent().samples()) {
            b.delta("");
        }
        if b.sent().contains(&Disconnect) {
            left.push(b.position);
            b.wake();
            b.greet();
        }
    }
    let [at] = left[..] else { panic!("{left:?}") };
    assert!((pos(10 * SAMPLE_RATE)..pos(14 * SAMPLE_RATE)).contains(&at), "{at}");
}

#[test]
fn audio_over_which_every_generation_fails_is_given_up() {
    let mut b = Bench::ready(config());
    b.s.link.heard();
    b.audio(16_000);
    b.end_utterance();
    b.audio(16_000);
    b.s.drain(1, b.now);
    for n in 0..super::super::failures::POISON / 5 {
        assert!(!has(&b.outputs(), |o| matches!(o, Output::Dropped { .. })), "after {n}");
        b.error("processing_error");
        b.wake();
        b.greet();
    }
    let out = b.outputs();
    let all = (pos(0), pos(16_000));
    let dropped =
        |o: &Output| matches!(o, Output::Dropped { begin, end, .. } if (*begin, *end) == all);
    assert!(has(&out, dropped), "{out:?}");
    b.sent();
    b.done("", 23);
    assert_eq!(b.outputs().last(), Some(&Output::Drained(1)));
    let stats = b.balanced();
    assert_eq!((stats.samples_dropped, stats.samples_confirmed), (16_000, 16_000));
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

/// A server that ends connections on which nothing goes on (vllm#46926).
#[test]
fn an_idle_connection_that_the_server_ends_is_no_failure() {
    let mut b = Bench::ready(config());
    b.pass(30 * S);
    b.error("idle_timeout");
    assert_eq!(b.sent(), [Disconnect]);
    let out = b.outputs();
    let warns = |o: &Output| matches!(o, Output::Warning(_) | Output::ServerWarning { .. });
    assert!(!has(&out, warns), "{out:?}");
    assert_eq!((b.s.stats().errors, b.s.wake_at()), (0, None));
    b.audio(16_000);
    assert_eq!(b.sent(), [Connect(0)]);
}

/// Between two utterances, too: closed or with an error, by whoever.
#[test]
fn a_connection_that_is_closed_between_utterances_is_no_failure() {
    for told in [true, false] {
        let mut b = Bench::ready(config());
        b.audio(16_000);
        b.end_utterance();
        b.sent();
        b.done("one", 23);
        b.outputs();
        b.pass(30 * S);
        if told {
            b.error("idle_timeout");
        } else {
            b.lose();
        }
        let out = b.outputs();
        let warns = |o: &Output| matches!(o, Output::Warning(_) | Output::ServerWarning { .. });
        assert!(!has(&out, warns), "{out:?}");
        assert_eq!((b.s.stats().errors, b.s.wake_at()), (0, None));
        b.sent();
        b.audio(16_000);
        assert_eq!(b.sent(), [Connect(0)], "with the next speech");
    }
}

/// A key is refused with a close code for policy, also while nothing is due. A server that
/// took it and worked has another reason, such as a limit on how long a connection may last.
#[test]
fn a_close_for_policy_is_final_where_nothing_ever_worked() {
    let refuse = |b: &mut Bench| b.s.disconnected(not_authorized("ws://a/", "1008"), b.now);
    let mut b = Bench::ready(config());
    refuse(&mut b);
    assert_eq!(b.failure().map(|e| e.kind), Some(ErrorKind::NotAuthorized), "at rest, too");

    for at_rest in [true, false] {
        let mut b = Bench::ready(config());
        b.audio(16_000);
        b.end_utterance();
        b.sent();
        b.done("one", 23);
        if !at_rest {
            b.audio(16_000);
        }
        refuse(&mut b);
        assert!(!b.s.has_failed());
        b.audio(16_000);
        if !at_rest {
            b.wake();
        }
        b.sent();
        b.greet();
        refuse(&mut b);
        // Two in a row are one too many.
        if !b.s.has_failed() {
            b.wake();
            b.greet();
            refuse(&mut b);
        }
        assert_eq!(b.failure().map(|e| e.kind), Some(ErrorKind::NotAuthorized));
    }
}
