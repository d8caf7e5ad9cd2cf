// SPDX-License-Identifier: MPL-2.0

//! Real speech with the times of its words: the LibriVox readings of Debian's
//! `pocketsphinx-testdata`, with the words that the project's own tool aligned.

use std::path::Path;

use vllm_standin::{Aligned, TimedWord, read_wav, read_words};

const READINGS: [&str; 5] = ["0870", "0880", "0890", "0920", "0930"];
const RATE: usize = 16_000;

pub struct Speech {
    pub samples: Vec<i16>,
    pub words: Vec<TimedWord>,
}

impl Speech {
    /// The readings, over and over, until `seconds` are full. Each time is a little different
    /// (the last bit of the samples), so that the stand-in knows one from the other.
    pub fn new(seconds: usize) -> Speech {
        let readings = READINGS.map(|name| {
            let audio = format!(
                "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-{name}.wav"
            );
            let words = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(format!("tests/data/real/{name}.words.json"));
            let samples = read_wav(Path::new(&audio))
                .unwrap_or_else(|e| panic!("{e}: scripts/setup.sh installs it"));
            (samples, read_words(&words).unwrap())
        });
        let mut speech = Speech { samples: Vec::new(), words: Vec::new() };
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for (samples, words) in readings.iter().cycle() {
            let at = speech.samples.len() as f64 / RATE as f64;
            if at >= seconds as f64 {
                break;
            }
            speech.words.extend(words.iter().map(|w| TimedWord {
                word: w.word.clone(),
                start: at + w.start,
                end: at + w.end,
            }));
            speech.samples.extend(samples.iter().map(|s| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                s.saturating_add((random & 1) as i16)
            }));
        }
        speech
    }

    /// What the stand-in says of it.
    pub fn voice(&self) -> Aligned {
        Aligned::in_recordings([(self.samples.as_slice(), self.words.as_slice())])
    }

    pub fn text(&self) -> Vec<String> {
        self.words.iter().map(|w| w.word.clone()).collect()
    }
}
