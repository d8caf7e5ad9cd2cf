// SPDX-License-Identifier: MPL-2.0

//! How much a sound is like a voice: the network of the crate `earshot`.

use earshot::Detector;

/// Samples that are judged at once (16 ms).
pub const FRAME: usize = 256;
/// A judgement is on the three frames up to it, so its middle lies this many samples before its
/// end.
pub const LAG: u64 = 384;

/// The detector looks back three frames: it takes the beginning of any sound for a voice's.
pub const SETTLING: u32 = 3;
/// The detector was taught on speech of ordinary loudness: soft sound is raised for it so that
/// its loudest of late comes to this amplitude...
const TARGET: f32 = 8000.0;
/// ...by this factor at most (30 dB), so that the noise of a quiet room stays noise.
const MOST_GAIN: f32 = 32.0;
/// What was loudest fades by half in about 6 s.
const FADE: f32 = 0.9982;
/// Of a sound softer than this nothing is a voice.
const AUDIBLE: f32 = 12.0;

/// A voice detector over a stream of samples cut anywhere.
pub struct Voice {
    detector: Box<Detector>,
    pending: Vec<i16>,
    /// The largest amplitude of late, fading.
    loudest: f32,
    /// Frames left until the detector has forgotten the edge at which the audio began.
    settling: u32,
}

impl Default for Voice {
    fn default() -> Self {
        Voice {
            detector: Detector::default_boxed(),
            pending: Vec::with_capacity(FRAME),
            loudest: 0.0,
            settling: SETTLING,
        }
    }
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voice").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Voice {
    /// Takes samples up to the end of the frame that they are in, and tells how many; the score
    /// of that frame, 0 to 1, when it is whole.
    pub fn push(&mut self, samples: &[i16]) -> (usize, Option<f32>) {
        let taken = samples.len().min(FRAME - self.pending.len());
        self.pending.extend_from_slice(&samples[..taken]);
        if self.pending.len() < FRAME {
            return (taken, None);
        }
        let peak = self.pending.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        self.loudest = self.loudest.max(f32::from(peak));
        let gain = (TARGET / self.loudest.max(1.0)).clamp(1.0, MOST_GAIN);
        for s in &mut self.pending {
            *s = (f32::from(*s) * gain) as i16;
        }
        let score = self.detector.predict_i16(&self.pending).clamp(0.0, 1.0);
        self.pending.clear();
        let unsure = self.settling > 0 || self.loudest < AUDIBLE;
        self.settling = self.settling.saturating_sub(1);
        self.loudest *= FADE;
        (taken, Some(if unsure { 0.0 } else { score }))
    }

    /// Forgets all that was heard, but not how loud it was.
    pub fn reset(&mut self) {
        self.detector.reset();
        self.pending.clear();
        self.settling = SETTLING;
    }
}
