// SPDX-License-Identifier: MPL-2.0

//! The tiny models of `vllm/make_models.py`: their text means nothing, but is known beforehand.

use super::{Speech, Word};

const FRAME: usize = 1280;
/// Of 20 ms: how the loudness is measured.
const PART: usize = 320;
/// Mean square of a part at about -42 dBFS.
const LOUD: f64 = 32768.0 * 32768.0 * 6.3e-5;
/// Frames that the model looks ahead of a delta.
const DELAY: u64 = 6;

/// The tokens after the pad, round and round: empty ones are pads and word marks.
const ROUND: &[&[u8]] = &[
    b"",
    b"",
    b" Hello",
    b"",
    b"",
    b"",
    b" wor",
    b"ld",
    b"",
    b",",
    b"",
    b"",
    b" caf",
    b"\xc3",
    b"\xa9",
    b"",
    b"",
    b" \xe6",
    b"\x97",
    b"\xa5",
    b"",
    b"",
    b" \xf0\x9f",
    b"\x98",
    b"\x80",
    b"",
    b"",
    b" \"q\\\"",
    b"\n",
    b"",
    b".",
    b"",
    b"",
];
/// Where the tiny model with end tokens says one.
const END_AT: usize = 6;

const SEGMENT: &[&str] =
    &["language", " English", "<asr_text>", "Hello", " wor", "ld", ",", " caf", "", "é", ".", ""];

/// The tiny models' speech in one generation.
#[derive(Debug)]
pub struct Tiny {
    round: Vec<&'static [u8]>,
    /// Place in `round` of the token said last.
    at: usize,
    /// Loudness of each frame heard whole, from `first`.
    frames: std::collections::VecDeque<bool>,
    first: u64,
    rest: Vec<i16>,
    /// Bytes of a character that is not complete yet.
    held: Vec<u8>,
}

impl Tiny {
    /// `ends`: the model that also says the end token (`voxtral_eos`).
    pub fn new(ends: bool) -> Self {
        let mut round = ROUND.to_vec();
        if ends {
            round.insert(END_AT, b"");
        }
        Tiny {
            round,
            at: 0,
            frames: Default::default(),
            first: 0,
            rest: Vec::new(),
            held: Vec::new(),
        }
    }

    fn loud(frame: &[i16]) -> bool {
        let loud = frame.chunks(PART).filter(|part| {
            let power: f64 = part.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
            power / PART as f64 > LOUD
        });
        loud.count() * PART * 2 > FRAME
    }
}

impl Speech for Tiny {
    fn hear(&mut self, samples: &[i16]) {
        self.rest.extend_from_slice(samples);
        let whole = self.rest.len() / FRAME * FRAME;
        self.frames.extend(self.rest[..whole].chunks(FRAME).map(Self::loud));
        self.rest.drain(..whole);
    }

    fn end(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        self.frames.push_back(Self::loud(&rest));
    }

    fn next_word(&mut self) -> Option<Word> {
        None
    }

    fn frame(&mut self, k: u64) -> Option<String> {
        let mut loud = false;
        while self.first <= k + DELAY && !self.frames.is_empty() {
            loud = self.frames.pop_front().unwrap_or_default() && self.first == k + DELAY;
            self.first += 1;
        }
        if self.at > 0 || loud {
            self.at = (self.at + 1) % self.round.len();
        }
        self.held.extend_from_slice(self.round[self.at]);
        // A character that is cut between tokens holds back its whole token.
        let text = match std::str::from_utf8(&self.held) {
            Ok(text) => text.to_owned(),
            Err(_) => return Some(String::new()),
        };
        self.held.clear();
        Some(text)
    }

    fn segment(&mut self, _i: u64) -> Option<Vec<String>> {
        Some(SEGMENT.iter().map(|&t| t.to_owned()).collect())
    }
}
