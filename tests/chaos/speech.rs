// SPDX-License-Identifier: MPL-2.0

//! Real speech with the times of its words: the LibriVox readings of Debian's
//! `pocketsphinx-testdata`, with the words that the project's own tool aligned.

use std::path::Path;

use vllm_standin::{Aligned, TimedWord, read_wav, read_words};

const READINGS: [&str; 5] = ["0870", "0880", "0890", "0920", "0930"];
const FOLDER: &str = "/usr/share/pocketsphinx/test/data/librivox";
const RATE: usize = 16_000;

pub struct Speech {
    pub samples: Vec<i16>,
    pub words: Vec<TimedWord>,
}

/// The readings and their words.
fn load() -> [(Vec<i16>, Vec<TimedWord>); 5] {
    READINGS.map(|name| {
        let audio = format!("{FOLDER}/sense_and_sensibility_01_austen_64kb-{name}.wav");
        let words = format!("{}/tests/data/real/{name}.words.json", env!("CARGO_MANIFEST_DIR"));
        let samples = read_wav(Path::new(&audio))
            .unwrap_or_else(|e| panic!("{e}: scripts/setup.sh installs it"));
        (samples, read_words(Path::new(&words)).unwrap())
    })
}

#[allow(dead_code)]
impl Speech {
    /// Each reading once, `pause` samples of silence behind it.
    pub fn readings(pause: usize) -> Speech {
        let mut speech = Speech { samples: Vec::new(), words: Vec::new() };
        for (samples, words) in load() {
            speech.add(&samples, &words);
            speech.samples.resize(speech.samples.len() + pause, 0);
        }
        speech
    }

    fn add(&mut self, samples: &[i16], words: &[TimedWord]) {
        let at = self.samples.len() as f64 / RATE as f64;
        self.words.extend(words.iter().map(|w| TimedWord {
            word: w.word.clone(),
            start: at + w.start,
            end: at + w.end,
        }));
        self.samples.extend(samples);
    }

    /// The readings, over and over, until `seconds` are full. Each time is a little different
    /// (the last bit of the samples), so that the stand-in knows one from the other.
    pub fn new(seconds: usize) -> Speech {
        let readings = load();
        let mut speech = Speech { samples: Vec::new(), words: Vec::new() };
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for (samples, words) in readings.iter().cycle() {
            if speech.samples.len() >= seconds * RATE {
                break;
            }
            let samples: Vec<i16> = samples
                .iter()
                .map(|s| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    s.saturating_add((random & 1) as i16)
                })
                .collect();
            speech.add(&samples, words);
        }
        speech
    }

    /// As [`Speech::new`], with a pause behind each reading: one of these (s) in turn.
    pub fn paused(seconds: usize, pauses: &[f64]) -> Speech {
        let whole = Speech::new(seconds);
        let mut speech = Speech { samples: Vec::new(), words: Vec::new() };
        let (mut from, mut pauses) = (0, pauses.iter().cycle());
        let lengths = load().map(|(samples, _)| samples.len());
        for length in lengths.iter().cycle() {
            let to = from + length;
            if speech.samples.len() >= seconds * RATE || to > whole.samples.len() {
                break;
            }
            let (begin, end) = (from as f64 / RATE as f64, to as f64 / RATE as f64);
            let words = whole.words.iter().filter(|w| w.start >= begin && w.end <= end);
            let words: Vec<TimedWord> = words
                .map(|w| TimedWord {
                    word: w.word.clone(),
                    start: w.start - begin,
                    end: w.end - begin,
                })
                .collect();
            speech.add(&whole.samples[from..to], &words);
            let pause = pauses.next().map_or(0, |pause| (pause * RATE as f64) as usize);
            speech.samples.resize(speech.samples.len() + pause, 0);
            from = to;
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
