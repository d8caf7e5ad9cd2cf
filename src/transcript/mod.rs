// SPDX-License-Identifier: MPL-2.0

//! Text to words with times. Pure: no I/O, no clock, no GStreamer.
//!
//! [`Transcript`] takes what the session hears from the server, and the sound, and gives out
//! words. Each room has one idea: [`words`] cuts text into words, [`cadence`] finds out what the
//! server's rhythm says about when a word was spoken, [`align`] places it by the sound.

use std::collections::VecDeque;

use crate::speech::Sound;

pub mod align;
pub mod cadence;
pub mod words;

/// Which clock the word times stand on: property `timing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timing {
    /// Found out from the server's first deltas, and checked all along.
    #[default]
    Auto,
    /// Frame-synchronous: a delta for each 80 ms of audio (Voxtral Realtime).
    Frames,
    /// A burst of text for each 5 s of audio (Qwen3-ASR).
    Segments,
    /// Nothing but the span of the utterance.
    Utterance,
}

/// What a [`Transcript`] is told at its start.
#[derive(Debug, Clone, Default)]
pub struct TranscriptConfig {
    pub timing: Timing,
    /// Added to all word times, in samples, before they are bounded by the audio.
    pub timing_offset: i64,
    /// BCP 47 or ISO 639 code of the language that is expected.
    pub language: Option<String>,
}

/// A word and when it was spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Never empty, never blank, no space around it.
    pub text: String,
    /// Position at which it begins.
    pub begin: u64,
    /// Position at which it ends; always after `begin`.
    pub end: u64,
    /// How far the times can be trusted, 0 to 1.
    pub time_confidence: f32,
    /// The recogniser's own confidence in the word, 0 to 1, where the server tells it.
    pub confidence: Option<f32>,
    /// Whether a space stands between the word before and this one.
    pub space_before: bool,
}

/// The server's bill for a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
}

/// A piece of text whose end the server tells (vllm#50783).
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSegment {
    pub text: String,
    /// Seconds from the beginning of the generation.
    pub end: f64,
}

/// An utterance that is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Its words as they were given out, joined as the script asks.
    pub text: String,
    pub words: Vec<Word>,
    pub begin: u64,
    pub end: u64,
    pub usage: Option<Usage>,
    pub language: Option<String>,
    /// The text as the server has it at the end, where it differs from the words given out.
    pub correction: Option<String>,
}

/// What a [`Transcript`] gives out, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A word is known whole. It is never taken back.
    Word(Word),
    /// Text of which no word is whole yet; it may still grow. Replaces the partial before it.
    Partial(String),
    /// An utterance is over.
    Utterance(Utterance),
    /// The server says that this language is spoken (ISO 639 code).
    Language(String),
    /// A check of the clock failed: it fell back to a weaker one.
    ClockFellBack { from: Timing, to: Timing, why: String },
}

/// Text to words with times, over all generations of a session.
#[derive(Debug)]
pub struct Transcript {
    #[allow(dead_code)]
    config: TranscriptConfig,
    out: VecDeque<Output>,
    sound: Sound,
}

impl Transcript {
    pub fn new(config: TranscriptConfig) -> Self {
        Transcript { config, out: VecDeque::new(), sound: Sound::default() }
    }

    /// The sound, as it comes in, before it is sent. `position` never goes back; a step forward
    /// leaves out audio that nobody will ask for (silence that is not sent).
    pub fn audio(&mut self, position: u64, samples: &[i16]) {
        let _ = (position, samples);
    }

    /// A generation begins: its first sample is the one at position `start`.
    ///
    /// Where `start` lies before the end of the last word given out (audio that is sent again
    /// after a failure), the words that come twice are dropped, found by time and by text.
    pub fn begin(&mut self, start: u64) {
        let _ = start;
    }

    /// The generation's audio ends at position `end` (the final commit was sent); `padding`
    /// samples of silence were added behind it.
    pub fn audio_end(&mut self, end: u64, padding: u64) {
        let _ = (end, padding);
    }

    /// A `transcription.delta`, the empty ones included. `sent`: samples of this generation sent
    /// so far, padding included. `segments` and `logprob` where the server offers them.
    pub fn delta(
        &mut self,
        text: &str,
        sent: u64,
        segments: &[ServerSegment],
        logprob: Option<f64>,
    ) {
        let _ = (text, sent, segments, logprob);
    }

    /// `transcription.done`: all that is left comes out, then the utterance.
    pub fn done(&mut self, text: &str, usage: Option<Usage>, segments: &[ServerSegment]) {
        let _ = (text, usage, segments);
    }

    /// The generation is lost. What was given out stays; the rest is forgotten, and the audio
    /// from [`Transcript::resume_at`] on will be sent again in a new one. No utterance comes out
    /// here: it goes on with the next `begin`.
    pub fn abort(&mut self) {}

    /// FLUSH: forget the utterance under way and all outputs not yet taken.
    pub fn flush(&mut self) {
        self.out.clear();
    }

    /// Position before which no audio is needed any more, were the generation lost now: a little
    /// before the end of the last word given out, at a pause where there is one; never before the
    /// beginning of the utterance's generation; the end of the audio after `done`.
    pub fn resume_at(&self) -> u64 {
        0
    }

    /// No word that is still to come begins before this position.
    pub fn horizon(&self) -> u64 {
        0
    }

    /// Samples of this generation that the server has certainly worked through (by frames, by
    /// segments; 0 where only `done` tells).
    pub fn heard(&self) -> u64 {
        0
    }

    /// The sound of the audio that is not safe yet.
    pub fn sound(&self) -> &Sound {
        &self.sound
    }

    /// Why the server's text cannot be of this audio (too much of it), if so.
    pub fn overrun(&self) -> Option<String> {
        None
    }

    /// The clock in use now; [`Timing::Auto`] while it is not known.
    pub fn timing(&self) -> Timing {
        Timing::Auto
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}
