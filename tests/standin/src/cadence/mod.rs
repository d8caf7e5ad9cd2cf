// SPDX-License-Identifier: MPL-2.0

//! The rhythm in which text comes: what the engine gives out, and when.

use std::time::Instant;

use crate::Config;
use crate::events::Segment;
use crate::voice::Speech;

mod arrival;
mod frames;
pub(crate) mod segments;
mod utterance;

/// The kinds of model there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cadence {
    /// A delta for each 80 ms (Voxtral Realtime).
    #[default]
    Frames,
    /// A burst for each 5 s (Qwen3-ASR).
    Segments,
    /// Plain deltas, each word some time after it was spoken (a server of another kind).
    Arrival,
    /// All text in plain deltas after the final commit (another one).
    Utterance,
}

impl std::str::FromStr for Cadence {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "frames" => Ok(Cadence::Frames),
            "segments" => Ok(Cadence::Segments),
            "arrival" => Ok(Cadence::Arrival),
            "utterance" => Ok(Cadence::Utterance),
            _ => {
                Err(format!("no cadence is called {name}: frames, segments, arrival or utterance"))
            }
        }
    }
}

/// What the engine knows of a generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audio {
    /// Samples so far.
    pub samples: u64,
    /// Whether that is all.
    pub ended: bool,
}

/// What the engine does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// A delta. `cost`: samples of audio that this worked through.
    Delta { text: String, cost: u64, segment: Option<Segment> },
    /// Nothing before more audio comes, or before that moment.
    Wait(Option<Instant>),
    /// All is said. `unasked`: `max_model_len` was reached.
    Done { prompt: u64, completion: u64, text: Option<String>, unasked: bool },
    /// The generation fails with `processing_error`.
    Fail(String),
    /// The engine dies of it, and the server with it.
    Die,
}

/// A rhythm in one generation.
pub(crate) trait Rhythm: Send {
    fn step(&mut self, audio: Audio, speech: &mut dyn Speech, now: Instant) -> Step;

    /// Whether there is work: from here on a seat is held.
    fn ready(&self, audio: Audio) -> bool;

    /// Samples that are worked through.
    fn consumed(&self) -> u64;

    /// Words said so far.
    fn words(&self) -> u64;
}

pub(crate) fn rhythm(config: &Config, seed: u64) -> Box<dyn Rhythm> {
    match config.cadence {
        Cadence::Frames => Box::new(frames::Frames::new(config, seed)),
        Cadence::Segments => Box::new(segments::Segments::new(config, seed)),
        Cadence::Arrival => Box::new(arrival::Arrival::new(config)),
        Cadence::Utterance => Box::new(utterance::Utterance::new(config)),
    }
}

/// Cuts a word into sub-words of about `size` characters; 0: not at all. `lead`: what comes before
/// the first, a space or nothing.
fn subwords(lead: &str, word: &str, size: usize) -> Vec<String> {
    let mut pieces = vec![lead.to_owned()];
    let mut length = 0;
    for c in word.chars() {
        if size > 0 && length == size {
            pieces.push(String::new());
            length = 0;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
        length += 1;
    }
    pieces
}
