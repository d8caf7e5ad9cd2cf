// SPDX-License-Identifier: MPL-2.0

//! The readings of Debian's `pocketsphinx-testdata`, and how much of them a voice hears.

use std::path::Path;

use vllm_standin::read_wav;
use vllm_standin::score::word_errors;

use super::Client;

const DATA: &str = "/usr/share/pocketsphinx/test/data/librivox";

/// A recording, and what is said in it.
pub struct Reading {
    pub samples: Vec<i16>,
    pub text: String,
}

pub fn readings() -> Vec<Reading> {
    let transcripts = std::fs::read_to_string(Path::new(DATA).join("transcription"))
        .unwrap_or_else(|e| panic!("{DATA}: {e} (Debian package pocketsphinx-testdata)"));
    let reading = |line: &str| {
        let (text, name) = line.split_once("</s>").unwrap();
        let name = name.trim().trim_matches(['(', ')']);
        let samples = read_wav(&Path::new(DATA).join(format!("{name}.wav"))).unwrap();
        Reading { samples, text: text.trim_start_matches("<s>").to_owned() }
    };
    transcripts.lines().map(reading).collect()
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
        let (words, errors) = word_errors(&reading.text, &said.collect::<Vec<_>>().join(" "));
        println!("{errors:2} of {words:2}: {text}");
        wrong += errors;
        all += words;
    }
    let rate = wrong as f64 / all as f64;
    println!("word error rate {rate:.3} ({wrong} of {all})");
    rate
}
