// SPDX-License-Identifier: MPL-2.0

//! The transcript on any sequence of its calls: positions are the client's own and true, what
//! comes from the server is arbitrary.

use gstvllmrealtime::transcript::{
    SampleInGeneration, ServerSegment, Timing, Transcript, TranscriptConfig, Usage,
};
use gstvllmrealtime::{Length, Position, SAMPLE_RATE};

use super::bytes::Bytes;
use super::memory::Memory;
use super::outputs::Outputs;
use super::voice::{self, SOUNDS};

/// Audio in a run at most.
const AUDIO: u64 = 25 * SAMPLE_RATE;
/// Held at most: 64 KiB of words that wait, the text of a generation, some minutes of sound.
const HELD: usize = 24 << 20;

/// How often a text fits into one message of the server.
fn most(text: &str) -> usize {
    (1 << 20) / text.len().max(1)
}

struct Run {
    transcript: Transcript,
    outputs: Outputs,
    audio: u64,
    horizon: Position,
    /// First sample of the generation, those sent, and whether its audio has ended.
    generation: Option<(u64, u64, bool)>,
}

pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let memory = Memory::new();
    let config = TranscriptConfig {
        timing: bytes.pick(&[
            Timing::Auto,
            Timing::Frames,
            Timing::Segments,
            Timing::Utterance,
            Timing::Arrival,
        ]),
        language: bytes.pick(&[None, Some("de".to_owned())]),
    };
    let mut run = Run {
        transcript: Transcript::new(config),
        outputs: Outputs::default(),
        audio: 0,
        horizon: Position::START,
        generation: None,
    };
    while !bytes.is_empty() {
        let before = bytes.u8();
        let (most, ()) = Memory::most(|| run.step(before, &mut bytes));
        assert!(most <= 64 << 20, "{most} bytes for one call");
        run.check();
        assert!(memory.held() <= HELD, "{} bytes are held", memory.held());
    }
}

impl Run {
    fn step(&mut self, call: u8, bytes: &mut Bytes) {
        match call % 16 {
            0 | 1 => {
                let sound = bytes.pick(&SOUNDS);
                let count = u64::from(bytes.u8()) * 160 + u64::from(bytes.u8() % 160);
                let count = count.min(AUDIO.saturating_sub(self.audio));
                let sound = voice::samples(sound, self.audio, count);
                self.transcript.audio(Position::new(self.audio), &sound);
                self.audio += count;
            }
            2 => self.audio += u64::from(bytes.u16()).min(AUDIO.saturating_sub(self.audio)),
            // All audio is sent, or a part of it.
            3 => self.send(u64::MAX),
            4 => self.send(u64::from(bytes.u16())),
            5 => {
                if self.generation.is_none() {
                    self.begin(self.audio.saturating_sub(u64::from(bytes.u16())));
                }
            }
            6 => self.begin(self.transcript.resume_at().samples()),
            7 => self.audio_end(u64::from(bytes.u8())),
            8 | 9 => {
                let text = bytes.text();
                self.delta(&text, &[], None);
            }
            10 => {
                for _ in 0..bytes.u8() {
                    self.delta("", &[], None);
                }
            }
            11 => {
                let text = bytes.text();
                let times = 1 + usize::from(bytes.u16());
                let end = f64::from_bits(bytes.u64());
                let pieces = usize::from(bytes.u8() % 4);
                let text = text.repeat(times.min(most(&text) / pieces.max(1)));
                let pieces = vec![ServerSegment { text, end }; pieces];
                let logprob = f64::from_bits(bytes.u64());
                self.delta("a", &pieces, Some(logprob));
            }
            12 => {
                // A server that floods.
                let text = bytes.text();
                let times = usize::from(bytes.u16()).min(most(&text));
                if bytes.u8().is_multiple_of(2) {
                    self.delta(&text.repeat(times), &[], None);
                } else {
                    self.done(&text.repeat(times), None);
                }
            }
            13 => {
                let text = bytes.text();
                let usage = match bytes.u8() % 3 {
                    0 => None,
                    1 => Some(Usage {
                        prompt_tokens: 39,
                        completion_tokens: u64::from(bytes.u8()),
                        total_tokens: 0,
                    }),
                    _ => Some(Usage {
                        prompt_tokens: bytes.u64(),
                        completion_tokens: bytes.u64(),
                        total_tokens: bytes.u64(),
                    }),
                };
                self.done(&text, usage);
            }
            14 => {
                self.transcript.abort();
                self.generation = None;
            }
            _ => {
                self.transcript.flush();
                self.outputs.flushed();
                self.generation = None;
            }
        }
    }

    /// The session begins where the last one left off, or behind it, and only where there was
    /// audio.
    fn begin(&mut self, start: u64) {
        let start = start.max(self.transcript.resume_at().samples()).min(self.audio);
        self.transcript.begin(Position::new(start));
        self.generation = Some((start, 0, false));
    }

    fn send(&mut self, count: u64) {
        if let Some((start, sent, false)) = &mut self.generation {
            *sent += count.min(self.audio - *start - *sent);
        }
    }

    fn audio_end(&mut self, padding: u64) {
        if let Some((start, sent, ended)) = &mut self.generation
            && !*ended
        {
            self.transcript.audio_end(Position::new(*start + *sent), Length::new(padding));
            *sent += padding;
            *ended = true;
        }
    }

    fn delta(&mut self, text: &str, segments: &[ServerSegment], logprob: Option<f64>) {
        let sent = self.generation.map_or(0, |(_, sent, _)| sent);
        self.transcript.delta(text, SampleInGeneration::new(sent), segments, logprob);
    }

    fn done(&mut self, text: &str, usage: Option<Usage>) {
        self.transcript.done(text, usage, &[]);
        self.generation = None;
    }

    fn check(&mut self) {
        self.outputs.audio = Position::new(self.audio);
        while let Some(output) = self.transcript.poll() {
            self.outputs.take(&output);
        }
        let t = &self.transcript;
        assert!(t.horizon() >= self.horizon, "the horizon went back to {}", t.horizon());
        self.horizon = t.horizon();
        self.outputs.floor = self.outputs.floor.max(self.horizon);
        assert!(self.horizon <= self.outputs.audio, "horizon {} of {}", self.horizon, self.audio);
        let resume = t.resume_at();
        assert!(resume <= self.outputs.audio, "resume at {resume} of {}", self.audio);
        if let Some((start, sent, _)) = self.generation {
            assert!(resume.samples() >= start, "resume at {resume} before {start}");
            let heard = t.heard().samples();
            assert!(heard <= sent, "{heard} heard of {sent}");
        }
    }
}
