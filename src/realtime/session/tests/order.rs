// SPDX-License-Identifier: MPL-2.0

//! What is sent when, while all is well; the traps of the protocol that need no failure.

use super::*;

#[test]
fn the_ordinary_order() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    assert_eq!(b.sent_in_all(), [Begin, Audio(16_000, 1)]);
    b.audio(1000);
    assert_eq!(b.sent(), [], "less than a chunk");
    b.end_utterance();
    assert_eq!(b.sent(), [Audio(1000, 2), Final]);
    b.done("hello there", 24);
    assert_eq!(b.texts(), ["hello", "there"]);
    let stats = b.balanced();
    assert_eq!((stats.samples_confirmed, stats.samples_unconfirmed), (17_000, 0));
    assert_eq!((stats.words, stats.utterances), (2, 1));
    assert_eq!((b.s.backlog(), b.s.wake_at()), (len(0), None));
}

/// Half a character in a delta is one of the deltas that are counted.
#[test]
fn a_damaged_delta_counts() {
    let mut b = Bench::ready(frames());
    b.audio(SAMPLE_RATE);
    b.sent();
    b.delta("");
    let heard = b.s.transcript.heard();
    b.hear(r#"{"type":"transcription.delta","delta":" a\ud83d"}"#);
    assert_eq!(b.s.stats().deltas, 2);
    assert!(b.s.transcript.heard() > heard);
}

/// Servers to come tell the language with `done`, too.
#[test]
fn the_language_of_done() {
    let mut b = Bench::ready(config());
    b.audio(SAMPLE_RATE);
    b.end_utterance();
    b.sent();
    b.hear(r#"{"type":"transcription.done","text":"ja","language":"de"}"#);
    let told = b.outputs().into_iter().find_map(|o| match o {
        Output::Transcript(transcript::Output::Language(code)) => Some(code),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("de"));
}

/// Paused, no audio is expected: what was said is told at once. A file that is slow is not silent.
#[test]
fn a_pause_of_the_pipeline_ends_the_generation() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.sent();
    b.pass(60 * S);
    assert_eq!(b.sent(), []);
    b.s.set_paused(true, b.now);
    assert_eq!(b.sent(), [Final]);
    b.done("one", 23);
    assert_eq!(b.texts(), ["one"]);
}

/// Trap: audio appended between the final commit and `done` is lost.
#[test]
fn audio_between_final_and_done_is_held_back() {
    let mut b = Bench::ready(config());
    b.audio(16_000);
    b.end_utterance();
    b.sent();
    b.audio(3200);
    assert_eq!(b.sent(), []);
    b.done("one", 23);
    // Not at once either: the server empties its queue a moment after `done`.
    assert_eq!(b.sent(), []);
    b.wake();
    assert_eq!(b.sent(), [Begin, Audio(3200, 2)]);
}

/// Trap: Qwen3-ASR fails on a tail of 1 to 319 samples. The padding has no words.
#[test]
fn a_short_tail_is_padded() {
    for (samples, sent) in [(100, 320), (319, 320), (320, 320), (80_100, 80_320)] {
        let mut b = Bench::ready(long());
        b.audio(samples);
        b.end_utterance();
        let all = b.sent();
        let length: u64 = all.iter().map(|s| if let Audio(n, _) = s { *n } else { 0 }).sum();
        assert_eq!((length, all.last()), (sent, Some(&Final)));
        b.done("word", 11);
        let words = b.words();
        assert!(words.len() == 1 && words[0].end <= pos(samples), "{words:?}");
    }
    // At the very end too.
    let mut b = Bench::ready(long());
    b.audio(76_000);
    b.audio(4100);
    assert_eq!(b.sent_in_all(), [Begin, Audio(80_100, 1)]);
    b.s.shut_down();
    assert_eq!(b.sent(), [Audio(220, 0), Final, Disconnect]);
}

/// Trap: a final commit with no audio.
#[test]
fn nothing_is_sent_where_there_is_no_audio() {
    let mut b = Bench::ready(config());
    b.end_utterance();
    b.s.drain(7, b.now);
    assert_eq!(b.sent(), []);
    assert!(b.outputs().contains(&Output::Drained(7)));
    // Nor is there any need of a connection.
    let mut b = Bench::new(config());
    b.s.finish(8, b.now);
    assert_eq!(b.sent(), []);
    assert!(b.outputs().contains(&Output::Drained(8)));
    assert_eq!(b.s.wake_at(), None);
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
            if b.finishing().is_some() {
                break;
            }
            b.delta("");
        }
        let Some(g) = b.finishing() else { panic!("no final commit") };
        let due = (samples - 40) / 1280 + 11;
        (g.deltas()..due).for_each(|_| b.delta(""));
        b.done("", due);
        b.pass(SETTLE);
    }
    assert!(generations > 1);
    assert_eq!(b.balanced().samples_confirmed, 5 * SAMPLE_RATE);
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
