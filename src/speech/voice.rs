// SPDX-License-Identifier: MPL-2.0

//! How much a sound is like a voice: the network of the crate `earshot`.

use earshot::Detector;

/// Samples that are judged at once (16 ms).
pub const FRAME: usize = 256;
/// A judgement is on the three frames up to it, so its middle lies this many samples before its
/// end.
pub const LAG: u64 = 384;

/// A voice detector over a stream of samples cut anywhere.
pub struct Voice {
    detector: Box<Detector>,
    pending: Vec<i16>,
}

impl Default for Voice {
    fn default() -> Self {
        Voice { detector: Detector::default_boxed(), pending: Vec::with_capacity(FRAME) }
    }
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voice").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Voice {
    /// Takes samples, made louder by `gain`; `found` is called with the score, 0 to 1, of each
    /// frame that they complete.
    pub fn push(&mut self, mut samples: &[i16], gain: f32, mut found: impl FnMut(f32)) {
        while !samples.is_empty() {
            let taken = samples.len().min(FRAME - self.pending.len());
            let (now, later) = samples.split_at(taken);
            self.pending.extend(now.iter().map(|&s| (f32::from(s) * gain) as i16));
            samples = later;
            if self.pending.len() == FRAME {
                found(self.detector.predict_i16(&self.pending).clamp(0.0, 1.0));
                self.pending.clear();
            }
        }
    }

    /// Forgets all that was heard.
    pub fn reset(&mut self) {
        self.detector.reset();
        self.pending.clear();
    }

    /// Samples that wait for their frame to be whole.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}
