// SPDX-License-Identifier: MPL-2.0

//! The voice that really recognises, on the readings of Debian's `pocketsphinx-testdata`.

mod common;

use std::path::Path;

use common::Client;
use vllm_standin::{Cadence, Pocketsphinx, Standin, Voice, read_wav};

const DATA: &str = "/usr/share/pocketsphinx/test/data/librivox";

/// Edits between two sequences of words.
fn edits(truth: &[&str], heard: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in truth.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()]
}

#[test]
fn word_error_rate_of_the_readings() {
    let transcripts = std::fs::read_to_string(Path::new(DATA).join("transcription"))
        .unwrap_or_else(|e| panic!("{DATA}: {e} (Debian package pocketsphinx-testdata)"));
    let voice = Pocketsphinx::new().unwrap_or_else(|why| panic!("{why}"));
    let server = Standin::builder()
        .voice(Voice::Pocketsphinx(voice))
        .cadence(Cadence::Arrival)
        .start()
        .unwrap();
    let mut client = Client::ready(&server.url());
    let (mut wrong, mut all) = (0, 0);
    for (i, line) in transcripts.lines().enumerate() {
        let (text, name) = line.split_once("</s>").unwrap();
        let name = name.trim().trim_matches(['(', ')']);
        let truth: Vec<&str> = text.trim_start_matches("<s>").split_whitespace().collect();
        let audio = read_wav(&Path::new(DATA).join(format!("{name}.wav"))).unwrap();
        client.utterance(&audio);
        client.wait("transcription.done", i + 1);
        let heard = client.done(i)["text"].as_str().unwrap().replace(" mr ", " mister ");
        let heard: Vec<&str> = heard.split_whitespace().collect();
        let errors = edits(&truth, &heard);
        println!("{errors:2} of {:2}: {}", truth.len(), heard.join(" "));
        wrong += errors;
        all += truth.len();
    }
    let rate = wrong as f64 / all as f64;
    println!("word error rate {rate:.3} ({wrong} of {all})");
    assert!(rate <= 0.45, "word error rate {rate:.3}");
    // Each word is a delta of its own.
    assert!(client.texts().iter().all(|t| t.starts_with(' ') && !t[1..].contains(' ')));
    assert_eq!(client.count("error"), 0);
}
