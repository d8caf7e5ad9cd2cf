// SPDX-License-Identifier: MPL-2.0

//! The readings of Debian's `pocketsphinx-testdata`, and how much of them a voice hears.

use std::path::Path;

use vllm_standin::read_wav;

use super::Client;

const DATA: &str = "/usr/share/pocketsphinx/test/data/librivox";

/// A recording, and its words in small letters.
pub struct Reading {
    pub samples: Vec<i16>,
    pub words: Vec<String>,
}

pub fn readings() -> Vec<Reading> {
    let transcripts = std::fs::read_to_string(Path::new(DATA).join("transcription"))
        .unwrap_or_else(|e| panic!("{DATA}: {e} (Debian package pocketsphinx-testdata)"));
    let reading = |line: &str| {
        let (text, name) = line.split_once("</s>").unwrap();
        let name = name.trim().trim_matches(['(', ')']);
        let samples = read_wav(&Path::new(DATA).join(format!("{name}.wav"))).unwrap();
        Reading { samples, words: plain(text.trim_start_matches("<s>")) }
    };
    transcripts.lines().map(reading).collect()
}

/// Words as they are compared.
pub fn plain(text: &str) -> Vec<String> {
    let word = |w: &str| -> String {
        w.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let words = text.split([' ', '-']).map(word).filter(|w| !w.is_empty());
    words.map(|w| if w == "mr" { "mister".to_owned() } else { w }).collect()
}

/// Has the readings heard, one after the other, and prints how. The share of words that are wrong.
pub fn word_error_rate(client: &mut Client, readings: &[Reading]) -> f64 {
    let (mut wrong, mut all) = (0, 0);
    let before = client.count("transcription.done");
    for (i, reading) in readings.iter().enumerate() {
        client.utterance(&reading.samples);
        client.wait("transcription.done", before + i + 1);
        let text = client.done(before + i)["text"].as_str().unwrap().to_owned();
        // By segments each begins with its language.
        let said =
            text.split("<asr_text>").map(|part| part.rsplit_once("language").map_or(part, |p| p.0));
        let errors = edits(&reading.words, &plain(&said.collect::<Vec<_>>().join(" ")));
        println!("{errors:2} of {:2}: {text}", reading.words.len());
        wrong += errors;
        all += reading.words.len();
    }
    let rate = wrong as f64 / all as f64;
    println!("word error rate {rate:.3} ({wrong} of {all})");
    rate
}

/// Edits between two sequences of words.
fn edits(truth: &[String], heard: &[String]) -> usize {
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
