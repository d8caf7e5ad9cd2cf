// SPDX-License-Identifier: MPL-2.0

//! Voice activity: where utterances begin and end.

use super::voice::{FRAME, Voice};
use crate::SAMPLES_PER_MS;

/// When an utterance ends.
#[derive(Debug, Clone)]
pub struct ActivityConfig {
    /// Samples without speech that end an utterance.
    pub silence: u64,
}

/// The voice comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An utterance begins: the audio from this position on belongs to it. It lies before the
    /// position at which this is found out by the pre-roll, and never before an earlier `End`.
    Begin(u64),
    /// The utterance ended at this position; the audio up to the next `Begin` is silence.
    End(u64),
}

/// Kept before the first frame found to be speech: a soft first sound, and what the detector
/// needs to make up its mind.
const PRE_ROLL: u64 = 320 * SAMPLES_PER_MS;
/// Kept behind the last frame found to be speech: a soft last sound.
const POST_ROLL: u64 = 240 * SAMPLES_PER_MS;

/// A frame of this score begins an utterance by itself.
const SURE: f32 = 0.6;
/// Frames in a row of this score do so too.
const LIKELY: f32 = 0.35;
const LIKELY_FRAMES: u32 = 4;
/// A frame below this is no speech in an utterance.
const GONE: f32 = 0.2;

/// The detector was taught on speech of ordinary loudness: soft sound is raised for it so that
/// its loudest of late comes to this amplitude...
const TARGET: f32 = 8000.0;
/// ...by this factor at most (30 dB), so that the noise of a quiet room stays noise.
const MOST_GAIN: f32 = 32.0;
/// What was loudest fades by half in about 6 s.
const FADE: f32 = 0.9982;
/// Of a sound softer than this nothing is speech.
const AUDIBLE: f32 = 12.0;

/// Finds utterances in a stream of samples.
///
/// Memory: one frame. Found out: a beginning within about 50 ms of its first sound, an end when
/// [`ActivityConfig::silence`] has passed since the last.
#[derive(Debug)]
pub struct Activity {
    config: ActivityConfig,
    voice: Voice,
    /// The largest amplitude of late, fading.
    loudest: f32,
    /// Position behind the last sample.
    end: u64,
    /// Position behind the last frame judged.
    judged: u64,
    /// No `Begin` before this: the last `End`, or where the audio began anew.
    floor: u64,
    likely: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Silence,
    /// Speech was last heard up to this position.
    Speech(u64),
}

impl Activity {
    pub fn new(config: ActivityConfig) -> Self {
        Activity {
            config,
            voice: Voice::default(),
            loudest: 0.0,
            end: 0,
            judged: 0,
            floor: 0,
            likely: 0,
            state: State::Silence,
        }
    }

    /// Takes samples (`position` never goes back) and appends what they changed to `changes`.
    ///
    /// A step forward is a break of the audio: see [`Activity::reset`]; an utterance that was
    /// open ends there.
    pub fn push(&mut self, position: u64, samples: &[i16], changes: &mut Vec<Change>) {
        if position > self.end {
            if self.state != State::Silence {
                changes.push(Change::End(self.end));
            }
            self.reset();
            self.end = position;
            self.judged = position;
            self.floor = position;
        }
        let known = (self.end - position).min(samples.len() as u64) as usize;
        let mut rest = &samples[known..];
        while !rest.is_empty() {
            // By frames, for the gain is one frame's.
            let room = FRAME - self.voice.pending();
            let (now, later) = rest.split_at(room.min(rest.len()));
            rest = later;
            self.end += now.len() as u64;
            self.frame(now, changes);
        }
    }

    fn frame(&mut self, samples: &[i16], changes: &mut Vec<Change>) {
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.loudest = self.loudest.max(f32::from(peak));
        let gain = (TARGET / self.loudest.max(1.0)).clamp(1.0, MOST_GAIN);
        let mut score = None;
        self.voice.push(samples, gain, |s| score = Some(s));
        let Some(score) = score else { return };
        self.loudest *= FADE;
        self.judged += FRAME as u64;
        let score = if self.loudest < AUDIBLE { 0.0 } else { score };
        self.likely = if score >= LIKELY { self.likely + 1 } else { 0 };
        match self.state {
            State::Silence => {
                if score >= SURE || self.likely >= LIKELY_FRAMES {
                    let first = self.judged - FRAME as u64 * u64::from(self.likely.max(1));
                    let begin = first.saturating_sub(PRE_ROLL).max(self.floor);
                    changes.push(Change::Begin(begin));
                    self.state = State::Speech(self.judged);
                }
            }
            State::Speech(_) if score >= GONE => self.state = State::Speech(self.judged),
            State::Speech(last) => {
                if self.judged >= last + self.config.silence {
                    let end = (last + POST_ROLL.min(self.config.silence)).min(self.judged);
                    changes.push(Change::End(end));
                    self.floor = end;
                    self.state = State::Silence;
                }
            }
        }
    }

    /// The audio breaks off here (GAP, EOS, FLUSH): the next sample may begin an utterance, and
    /// one that was open is over.
    pub fn reset(&mut self) {
        self.voice.reset();
        self.judged = self.end;
        self.floor = self.end;
        self.likely = 0;
        self.state = State::Silence;
    }

    /// Position before which no [`Change::Begin`] can lie any more: audio before it, while no
    /// utterance is open, is certainly not wanted.
    pub fn settled(&self) -> u64 {
        let undecided = PRE_ROLL + FRAME as u64 * u64::from(self.likely);
        self.judged.saturating_sub(undecided).max(self.floor)
    }
}
