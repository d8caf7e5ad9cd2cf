// SPDX-License-Identifier: MPL-2.0

//! Limits of time and of amount.

use super::super::failures::Cause;
use super::super::pauses::LONGEST;
use super::mechanisms::Server;
use super::*;
use crate::speech::sample::voice;
use crate::transcript::clock::FRAMES_SPEAK;

fn frames_ahead() -> u64 {
    Timing::Frames.clock().ahead().unwrap().usual.samples()
}

#[test]
fn limits_of_time() {
    let config = Config { reconnect: Reconnect::Attempts(0), ..config() };
    let mut b = Bench::new(config.clone());
    b.s.connect(b.now);
    b.pass(config.connect_timeout);
    let e = b.failure().expect("a failure");
    assert!(e.kind == ErrorKind::Timeout && e.message.contains("connect-timeout"), "{e}");

    let mut b = Bench::new(config.clone());
    b.s.connect(b.now);
    b.s.connected(b.now);
    b.pass(config.connect_timeout);
    assert_eq!(b.failure().map(|e| e.kind), Some(ErrorKind::Timeout));

    // It runs from the last progress, not from the request.
    let mut b = Bench::ready(config.clone());
    b.audio(32_000);
    b.end_utterance();
    for _ in 0..5 {
        b.pass(config.response_timeout - S);
        b.delta("");
        assert_eq!(b.failure(), None);
    }
    b.pass(config.response_timeout);
    let e = b.failure().expect("a failure");
    assert!(e.kind == ErrorKind::Timeout && e.message.contains("response-timeout"), "{e}");
    assert!(!e.message.contains("slots"), "it did answer: {e}");

    // Accepted, and never a delta.
    let mut b = Bench::ready(config.clone());
    b.audio(32_000);
    b.end_utterance();
    b.sent();
    b.pass(config.response_timeout);
    let e = b.failure().expect("a failure");
    assert!(e.message.contains("--max-num-seqs") && e.message.contains("--stream-interval"), "{e}");
}

/// A server that is away is waited for, but not for ever once the audio has ended.
#[test]
fn the_end_of_the_audio_is_not_waited_for_endlessly() {
    for (reconnect, ends) in [(Reconnect::Auto, true), (Reconnect::Forever, false)] {
        let config = Config { reconnect, ..config() };
        let mut b = Bench::ready(config.clone());
        b.audio(16_000);
        b.s.finish(1, b.now);
        b.lose();
        let mut failure = None;
        for _ in 0..200 {
            if b.s.wake_at().is_none() {
                break;
            }
            b.wake();
            if b.sent().contains(&Connect(0)) {
                b.lose();
            }
            failure = failure.or(b.failure());
        }
        assert_eq!(failure.is_some(), ends, "{failure:?}");
        assert!(!ends || b.now == 2 * config.response_timeout + config.connect_timeout);
    }
}

#[test]
fn a_live_source_loses_its_oldest_audio_and_is_told() {
    let mut b = Bench::new(Config { max_backlog: 10 * S, ..config() });
    b.s.set_live(true);
    for _ in 0..200 {
        b.audio(1600);
        assert!(b.s.backlog() <= len(11 * SAMPLE_RATE));
    }
    let dropped = |o: &Output| match o {
        Output::Dropped { begin, end, .. } => (*end - *begin).samples(),
        _ => 0,
    };
    let dropped: u64 = b.outputs().iter().map(dropped).sum();
    let stats = b.balanced();
    assert_eq!(stats.samples_dropped, dropped);
    assert_eq!(stats.samples_in, dropped + stats.samples_unconfirmed);
    assert!(dropped >= 9 * SAMPLE_RATE, "{dropped}");
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
fn frames_are_due_while_the_utterance_goes_on() {
    let mut b = Bench::ready(Config { response_timeout: 5 * S, ..frames() });
    b.audio(3 * SAMPLE_RATE);
    assert_eq!(b.s.wake_at(), None);
    b.audio(SAMPLE_RATE);
    assert_eq!(b.s.wake_at(), Some(5 * S));
}

/// A file may stop for longer than an answer may take, and a model hears up to 2.4 s behind.
#[test]
fn what_the_model_delays_is_not_due() {
    for delay in [6, 12, 30] {
        let mut b = Bench::ready(Config { response_timeout: 5 * S, ..frames() });
        b.audio(5 * SAMPLE_RATE);
        for _ in 0..(5 * SAMPLE_RATE - 40) / 1280 - delay {
            b.delta("");
        }
        b.sent();
        b.pass(60 * S);
        assert_eq!(b.sent(), [], "{delay}");
    }
}

#[test]
fn how_far_ahead_of_a_frame_synchronous_server() {
    let mut b = Bench::ready(frames());
    b.audio(60 * SAMPLE_RATE);
    assert_eq!(b.sent_in_all(), [Begin, Audio(frames_ahead(), 1)]);
    // The first delta tells of nothing but the delay; each one after it of 80 ms.
    (0..101).for_each(|_| b.delta(""));
    let sent: u64 = b.sent().iter().map(|s| if let Audio(n, _) = s { *n } else { 0 }).sum();
    assert!((99 * 1280..=101 * 1280).contains(&sent), "{sent}");
}

#[test]
fn a_server_of_unknown_kind_is_waited_for_before_its_first_segment_is_full() {
    let mut b = Bench::ready(config());
    b.audio(50 * SAMPLE_RATE);
    assert_eq!(b.sent_in_all(), [Begin, Audio(FRAMES_SPEAK.samples(), 1)]);
    assert_eq!(b.s.wake_at(), Some(FIRST_TEXT));
    b.wake();
    let sent = b.sent_in_all();
    let most = (LONGEST - FRAMES_SPEAK).samples();
    assert!(matches!(sent[..], [Audio(n, _), Final] if n <= most), "{sent:?}");
}

#[test]
fn a_server_that_speaks_at_the_end_only_is_given_an_utterance() {
    let mut config = config();
    config.transcript.timing = Timing::Utterance;
    let mut b = Bench::ready(config);
    b.audio(50 * SAMPLE_RATE);
    let sent = b.sent_in_all();
    let most = UTTERANCE_AHEAD.samples();
    assert!(matches!(sent[..], [Begin, Audio(n, _), Final] if n <= most), "{sent:?}");
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
            Output::Dropped { begin, end, .. } => Some((begin.samples(), end.samples())),
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

/// More text than speech can be ends the connection.
fn assert_text_ends(b: &mut Bench) {
    let left = (0..100_000).any(|_| {
        b.delta(" a");
        b.outputs();
        b.sent().contains(&Disconnect)
    });
    assert!(left, "it goes on");
}

#[test]
fn endless_text_ends_in_a_new_connection() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.sent();
    assert_text_ends(&mut b);
}

/// Also where its words are not taken any more: behind a cut with an overlap.
#[test]
fn endless_text_behind_a_cut_ends_in_a_new_connection() {
    let mut b = Bench::ready(Config { max_utterance: Some(30 * S), ..frames() });
    let mut sent = Vec::new();
    for frame in 0..2000 {
        // Speech without a pause.
        if b.position < pos(60 * SAMPLE_RATE) {
            let audio = (0..1280).map(|n| if n % 160 < 80 { 8000 } else { -8000 }).collect();
            b.s.audio(b.position, audio, b.now);
            b.position += len(1280);
        }
        if frame > 7 {
            b.delta(if frame % 5 == 0 { " a" } else { "" });
        }
        sent.extend(b.sent());
        b.outputs();
        if sent.contains(&Final) {
            break;
        }
    }
    assert!(sent.contains(&Final) && !sent.contains(&Disconnect));
    assert_text_ends(&mut b);
}

/// Of one live buffer that is longer than the backlog only what is beyond it is given up,
/// however long the server takes.
#[test]
fn one_buffer_longer_than_the_backlog() {
    let mut b = Bench::ready(Config { max_backlog: 60 * S, ..config() });
    b.s.set_live(true);
    b.audio(62 * SAMPLE_RATE);
    for _ in 0..10 {
        b.sent();
        b.pass(S / 10);
    }
    let dropped = b.s.stats().samples_dropped;
    assert!(dropped <= 2 * SAMPLE_RATE, "{dropped}");
}

/// A server queues 256 appends (vllm#48130), and loses the next one.
#[test]
fn few_appends_wait_for_a_server_that_is_slow() {
    for timing in
        [Timing::Frames, Timing::Segments, Timing::Utterance, Timing::Arrival, Timing::Auto]
    {
        let mut config = Config { chunk: S / 100, ..long() };
        config.transcript.timing = timing;
        let mut b = Bench::ready(config);
        let (mut appends, mut longest) = (0, 0);
        for _ in 0..3000 {
            b.audio(160);
            for sent in b.sent() {
                if let Audio(samples, _) = sent {
                    appends += 1;
                    longest = longest.max(samples);
                }
            }
        }
        assert!((20..=128).contains(&appends), "{timing:?}: {appends}");
        assert!(longest <= SAMPLE_RATE / 2, "{timing:?}: {longest}");
    }
}

#[test]
fn behind_a_full_queue_the_audio_stays_nearer() {
    let ahead = |b: &mut Bench| {
        b.audio(20 * SAMPLE_RATE);
        let sent = b.sent();
        sent.iter().map(|s| if let Audio(n, _) = s { *n } else { 0 }).sum::<u64>()
    };
    let mut b = Bench::ready(frames());
    let before = ahead(&mut b);
    b.error("buffer_full");
    b.wake();
    b.greet();
    let after = ahead(&mut b);
    assert!(before == frames_ahead() && after <= before / 2 + SAMPLE_RATE / 2, "{before}, {after}");
    assert_eq!(b.failure(), None);
}

/// What is no full context is not called one.
#[test]
fn a_transcription_that_ends_early_is_not_always_a_full_context() {
    for (seconds, context, full) in [(3, None, false), (30, None, true), (30, Some(65_536), false)]
    {
        let mut b = Bench::ready(frames());
        b.s.set_context(context);
        for n in 0..seconds * 12 {
            b.audio(1600);
            if n > 10 {
                b.delta("");
            }
        }
        b.done("", 5);
        let told = b.outputs().into_iter().find_map(|o| match o {
            Output::Connection { reason, .. } if reason.contains("by itself") => Some(reason),
            _ => None,
        });
        let told = told.expect("a reason");
        assert_eq!(told.contains("context is full"), full, "{seconds}, {context:?}: {told}");
    }
}

/// 25 MB are all that a server may take for a generation.
#[test]
fn no_automatic_generation_lasts_longer_than_thirteen_minutes() {
    let mut b = Bench::ready(frames());
    b.s.set_context(Some(1 << 30));
    b.audio(SAMPLE_RATE);
    let g = b.s.wanted().unwrap();
    assert_eq!(b.s.longest_generation(&g), len(13 * 60 * SAMPLE_RATE));
}

/// A cut that is decided stays, although the longest generation has shrunk before it is reached
/// (simulation, seed 9008120).
#[test]
fn a_cut_that_is_decided_is_reached() {
    let mut b = Bench::ready(config());
    // Two failures over this audio: generations of 4.5 s are tried.
    for _ in 0..2 {
        assert!(!b.s.failures.failed(pos(0), Cause::Told, len(9 * SAMPLE_RATE)));
    }
    let quiet = 71_000..72_000;
    let sound = voice(10 * SAMPLE_RATE as usize, 8000.0).into_iter().zip(0..);
    let sound = sound.map(|(s, at)| if quiet.contains(&at) { 1 } else { s }).collect();
    b.s.audio(pos(0), sound, b.now);
    b.position = pos(10 * SAMPLE_RATE);
    let sent = b.sent_in_all();
    // It has said nothing: the rest of what the cut leaves waits for its first words.
    assert!(matches!(sent[..], [Begin, Audio(70_000..=71_400, _)]), "{sent:?}");
    // With its end known, the utterance falls into shorter parts.
    b.end_utterance();
    assert_eq!(b.sent(), []);
    b.wake();
    let sent = b.sent_in_all();
    assert!(matches!(sent[..], [Audio(1..=2000, _), Final]), "{sent:?}");
}

/// Behind the final commit a server by frames says what was within its delay, also at a cut whose
/// last words are heard again: these keep their times (simulation, seed 9007606).
#[test]
fn words_within_the_delay_before_a_cut_keep_their_times() {
    for (delay, live) in [(1, false), (12, true), (30, false), (30, true)] {
        let mut b = Bench::ready(Config { max_utterance: Some(30 * S), ..config() });
        b.s.set_live(live);
        let mut server = Server::new(200).with_delay(delay);
        // The delay is in the bill of the first utterance.
        server.hear(&mut b, 4 * SAMPLE_RATE);
        b.end_utterance();
        server.answer(&mut b);
        server.hear(&mut b, 80 * SAMPLE_RATE);
        server.finish(&mut b);
        assert_eq!(b.texts(), server.texts(), "{delay}, {live}");
        let mut may_be_wide = live && delay == 30;
        for (word, n) in b.words().iter().zip(0..) {
            let spoken = 6400 * n;
            // The sound is no word's: the mark holds the end, and nothing the begin within the word.
            let early = word.begin + len(2 * 1280) < pos(spoken);
            let off = word.end.abs_diff(pos(spoken + 6400));
            // Live, what so long a delay hides leaves one mark two frames wider.
            let holds =
                off <= len(1280) || std::mem::take(&mut may_be_wide) && off <= len(3 * 1280);
            assert!(!early && holds, "{delay}, {live}: {spoken}: {word:?}");
        }
    }
}

/// The session is not woken for each buffer: what would it do before a chunk is whole?
#[test]
fn less_audio_than_the_rest_of_a_chunk_changes_nothing() {
    let b = Bench::new(config());
    assert_eq!(b.s.lacks(), len(1), "the first audio connects");
    let mut b = Bench::ready(config());
    let chunk = b.s.lacks();
    assert_eq!(chunk, len(1280));
    b.audio(chunk.samples());
    assert_eq!(b.sent().len(), 2);
    for n in 1..4 {
        b.audio(320);
        assert_eq!((b.sent().len(), b.s.lacks()), (0, chunk - len(n * 320)));
    }
    b.audio(320);
    assert_eq!((b.sent().len(), b.s.lacks()), (1, chunk));
    // However long a chunk is, voices are listened for.
    let b = Bench::ready(Config { chunk: 10 * S, ..config() });
    assert_eq!(b.s.lacks(), len(1600));
}
