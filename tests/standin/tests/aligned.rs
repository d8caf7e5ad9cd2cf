// SPDX-License-Identifier: MPL-2.0

//! The voice that knows beforehand what is said, over the wire, in each cadence.

mod common;

use common::{Client, LIMIT, noise};
use vllm_standin::{Aligned, Builder, Cadence, Edges, Standin, TimedWord};

const DELTA: &str = "transcription.delta";
const DONE: &str = "transcription.done";

/// Words of 0.3 s, one each 0.4 s, in `seconds` of sound.
fn reading(seconds: usize) -> (Vec<i16>, Vec<TimedWord>) {
    let names = ["one", "two", "three", "seventeen", "internationally"];
    let words = (0..seconds * 5 / 2).map(|i| {
        let start = i as f64 * 0.4 + 0.05;
        let name = names[i % names.len()];
        TimedWord { word: format!("{name}{i}"), start, end: start + 0.3 }
    });
    (noise(seconds * 16_000), words.collect())
}

fn server(words: &[TimedWord], audio: &[i16], set: impl FnOnce(Builder) -> Builder) -> Standin {
    let builder = Standin::builder().aligned(Aligned::in_recordings([(audio, words)]));
    set(builder).start().unwrap()
}

fn plain(text: &str) -> Vec<String> {
    let text = text.replace("language English<asr_text>", " ");
    text.replace("language None<asr_text>", " ").split_whitespace().map(Into::into).collect()
}

/// Words and the deltas at which their text begins.
fn starts(deltas: &[String]) -> Vec<(String, usize)> {
    let mut words: Vec<(String, usize)> = Vec::new();
    for (k, delta) in deltas.iter().enumerate() {
        match delta.strip_prefix(' ') {
            Some(rest) => words.push((rest.into(), k)),
            None => {
                if let Some((word, _)) = words.last_mut() {
                    word.push_str(delta);
                }
            }
        }
    }
    words
}

#[test]
fn each_word_at_its_frame_behind_an_empty_delta() {
    let (audio, words) = reading(10);
    let server = server(&words, &audio, |b| b.subword(0));
    let mut client = Client::ready(&server.url());
    client.utterance(&audio);
    client.wait(DONE, 1);
    let texts = client.texts();
    let said = starts(&texts);
    assert_eq!(said.len(), words.len());
    for (word, (text, k)) in words.iter().zip(&said) {
        assert_eq!(*text, word.word);
        assert_eq!(*k, (word.end * 1000.0 / 80.0 - 1e-9).ceil() as usize, "{text}");
        assert_eq!(texts[k - 1], "");
        assert_eq!(texts[k + 1], "");
    }
    assert!(server.wait(|log| log.words_damaged() == 0 && log.reference.len() == 25, LIMIT));
}

#[test]
fn subwords_queue_and_words_share_marks() {
    // Four words a second of 12 letters: three sub-words and a mark each, in 3.1 frames.
    let word = |i| {
        let start = i as f64 * 0.25;
        TimedWord { word: format!("abcdefghij{i:02}"), start, end: start + 0.25 }
    };
    let words: Vec<_> = (0..40).map(word).collect();
    let audio = noise(160_000);
    let server = server(&words, &audio, |b| b);
    let mut client = Client::ready(&server.url());
    client.utterance(&audio);
    client.wait(DONE, 1);
    let texts = client.texts();
    assert_eq!(texts.len(), 135);
    let said = starts(&texts);
    let names: Vec<_> = said.iter().map(|(w, _)| w.as_str()).collect();
    assert_eq!(names, words.iter().map(|w| w.word.as_str()).collect::<Vec<_>>());
    let shared = said.iter().filter(|(_, k)| !texts[k - 1].is_empty()).count();
    assert!(shared > 10, "{shared} words share a mark");
    assert!(texts.iter().all(|t| t.trim().chars().count() <= 4));
    // None is said before it was heard.
    for (word, (_, k)) in words.iter().zip(&said) {
        assert!(*k as f64 * 80.0 + 1e-6 >= word.end * 1000.0);
    }
}

#[test]
fn marks_jitter_by_a_frame() {
    let (audio, words) = reading(20);
    let server = server(&words, &audio, |b| b.subword(0).jitter(true).seed(3));
    let mut client = Client::ready(&server.url());
    client.utterance(&audio);
    client.wait(DONE, 1);
    let said = starts(&client.texts());
    let offs: Vec<i64> = words
        .iter()
        .zip(&said)
        .map(|(w, (_, k))| *k as i64 - (w.end * 1000.0 / 80.0 - 1e-9).ceil() as i64)
        .collect();
    assert_eq!(offs.len(), words.len());
    assert!(offs.iter().all(|o| o.abs() <= 1), "{offs:?}");
    assert!((-1..=1).all(|o| offs.contains(&o)), "{offs:?}");
}

#[test]
fn no_word_is_lost_in_any_cadence_and_cutting() {
    let (audio, words) = reading(23);
    let all: Vec<&str> = words.iter().map(|w| w.word.as_str()).collect();
    for cadence in [Cadence::Frames, Cadence::Segments, Cadence::Utterance] {
        let server = server(&words, &audio, |b| b.cadence(cadence).jitter(true));
        let mut client = Client::ready(&server.url());
        // Cut in pauses: between 0.35 and 0.45 s of each 0.4 s there is no word.
        let cut = |i: usize| i * 6400;
        let mut heard = Vec::new();
        for (i, part) in [0..cut(20), cut(20)..cut(21), cut(21)..audio.len()].iter().enumerate() {
            client.utterance(&audio[part.clone()]);
            client.wait(DONE, i + 1);
            heard.extend(plain(client.done(i)["text"].as_str().unwrap()));
        }
        assert_eq!(heard, all, "{cadence:?}");
        assert_eq!(client.texts().concat(), {
            (0..3).map(|i| client.done(i)["text"].as_str().unwrap()).collect::<String>()
        });
        let log = server.log();
        assert_eq!(log.words_damaged(), 0);
        assert!(log.reference.iter().all(|&part| part == 1.0));
        assert_eq!(log.generations().map(|g| g.words).sum::<u64>(), words.len() as u64);
    }
}

#[test]
fn audio_played_again_after_a_reconnect_is_said_again() {
    let (audio, words) = reading(10);
    let server = server(&words, &audio, |b| b);
    let mut client = Client::ready(&server.url());
    client.commit();
    client.feed(&audio[..80_000]);
    client.wait(DELTA, 56);
    drop(client);
    let mut client = Client::ready(&server.url());
    // From the pause before word 8 on.
    client.utterance(&audio[51_200..]);
    client.wait(DONE, 1);
    let heard = plain(client.done(0)["text"].as_str().unwrap());
    assert_eq!(heard, words[8..].iter().map(|w| w.word.clone()).collect::<Vec<_>>());
    // What the lost connection had not heard to the end is not damaged.
    assert!(server.wait(
        |log| log.generations().count() == 2 && log.generations().all(|g| g.done || g.cut),
        LIMIT
    ));
    assert_eq!(server.log().words_damaged(), 0);
}

#[test]
fn words_across_the_edge_of_segments() {
    let word = |text: &str, start, end| TimedWord { word: text.into(), start, end };
    let words = [word("first", 1.0, 2.0), word("acrossing", 4.7, 5.2), word("second", 6.0, 6.5), {
        word("over", 9.9, 10.6)
    }];
    let audio = noise(12 * 16_000);
    let tag = "language English<asr_text>";
    for (edges, text) in [
        (Edges::Whole, format!("{tag}first acrossing{tag}second{tag}over")),
        (Edges::Repeat, format!("{tag}first acrossing{tag}acrossing second over{tag}over")),
        (Edges::Cut, format!("{tag}first acros{tag}sing second{tag}over")),
    ] {
        let server = server(&words, &audio, |b| b.cadence(Cadence::Segments).edges(edges));
        let mut client = Client::ready(&server.url());
        client.utterance(&audio);
        client.wait(DONE, 1);
        assert_eq!(client.done(0)["text"], text, "{edges:?}");
    }
}

#[test]
fn what_was_said_before_leaks_over_silence() {
    let word = |text: &str, start, end| TimedWord { word: text.into(), start, end };
    let words = [word("first", 1.0, 2.0), word("second", 2.5, 2.9)];
    let mut audio = noise(12 * 16_000);
    audio[60_000..].fill(0);
    let tag = "language English<asr_text>";
    let server = server(&words, &audio, |b| b.cadence(Cadence::Segments).leak(true));
    let mut client = Client::ready(&server.url());
    client.utterance(&audio);
    client.wait(DONE, 1);
    let said = format!("{tag}first second");
    assert_eq!(client.done(0)["text"], said.repeat(3));
    // The next generation has a prompt of its own.
    client.utterance(&audio[60_000..]);
    client.wait(DONE, 2);
    assert!(!client.done(1)["text"].as_str().unwrap().contains("first"));
}

#[test]
fn timestamps_and_logprobs_for_who_asks() {
    let (audio, words) = reading(4);
    let server = server(&words, &audio, |b| b.timestamps(true).logprobs(true));
    let mut client = Client::connect(&server.url());
    client.wait("session.created", 1);
    client.send(
        r#"{"type":"session.update","model":"","timestamp_granularities":["segment"],
            "include":["item.input_audio_transcription.logprobs"]}"#,
    );
    client.wait("session.updated", 1);
    client.utterance(&audio);
    client.wait(DONE, 1);
    let segments = client.done(0)["segments"].as_array().unwrap();
    assert_eq!(segments.len(), words.len());
    for (segment, word) in segments.iter().zip(&words) {
        assert_eq!(segment["text"].as_str().unwrap().trim(), word.word);
        assert!((segment["end"].as_f64().unwrap() - word.end).abs() < 1e-3);
    }
    assert!(client.events.iter().any(|e| e["logprobs"][0]["logprob"].is_number()));
    // Who does not ask is not told.
    let mut client = Client::ready(&server.url());
    client.utterance(&audio);
    client.wait(DONE, 1);
    assert!(client.done(0)["segments"].is_null());
}

#[test]
fn words_from_the_start_without_a_recording() {
    let (_, words) = reading(4);
    let server = Standin::builder().aligned(Aligned::from_start(&words)).start().unwrap();
    let mut client = Client::ready(&server.url());
    client.utterance(&noise(32_000));
    client.wait(DONE, 1);
    let heard = plain(client.done(0)["text"].as_str().unwrap());
    assert_eq!(heard, words[..5].iter().map(|w| w.word.clone()).collect::<Vec<_>>());
}
