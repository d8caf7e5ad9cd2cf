// SPDX-License-Identifier: MPL-2.0

//! How well each 10 ms of sound fits each broad class of speech sounds.
//!
//! A network of one hidden layer (64 neurons, `sounds.bin`) looks at the band levels around a
//! frame, each less its mean in the speech around, so that loudness and the microphone's colour
//! fall away. It was taught by `scripts/train-sounds.py` on espeak-ng and flite speech in fifteen
//! languages and on prompts that Allison Smith recorded for Asterisk, clean and with noise from 20
//! to 5 dB; no recording of the benchmark was among it.

use crate::speech::Features;
use crate::speech::features::{Frame, HOP};
use crate::speech::filterbank::{BANDS, WINDOW};

/// Broad classes of speech sounds, which all languages share. Sets of them are bit masks.
pub mod class {
    // The first, bit 0, is silence: of no word.
    pub const VOWEL: u8 = 1 << 1;
    pub const NASAL: u8 = 1 << 2;
    /// Liquids and glides.
    pub const LIQUID: u8 = 1 << 3;
    pub const SIBILANT: u8 = 1 << 4;
    /// Fricatives that are not sibilants.
    pub const FRICATIVE: u8 = 1 << 5;
    /// Stops, from closure to burst.
    pub const STOP: u8 = 1 << 6;
}

/// Classes in all.
pub const CLASSES: usize = 7;

const AROUND: [isize; 7] = [-6, -3, -1, 0, 1, 3, 6];
const INPUTS: usize = BANDS * AROUND.len();
static WEIGHTS: &[u8] = include_bytes!("sounds.bin");
/// Neurons: each has a scale, a bias and its weights, and a weight for each class.
const HIDDEN: usize = (WEIGHTS.len() - CLASSES * 12) / (INPUTS + CLASSES + 8);

/// Samples of sound before and behind the words that tell how speech sounds here.
const CONTEXT: u64 = 4 * crate::SAMPLE_RATE;
/// A frame up to this many steps (20 dB) below the loudest counts as speech for the mean.
const SPEECH_RANGE: f32 = 45.0;

/// No class is less likely than this, in nats: the network can be surely wrong.
const DOUBT: f32 = -4.0;

/// For each frame of a stretch of sound, ln p(sound | class) - ln p(sound), by class.
pub struct AcousticModel {
    /// Index of the first frame.
    pub first: u64,
    pub rows: Vec<[f32; CLASSES]>,
}

impl AcousticModel {
    /// Of the sound known in `from..to` (positions). What lies behind `until` is not looked at.
    pub fn of(sound: &Features, from: u64, to: u64, until: u64) -> Self {
        let behind = to.saturating_add(CONTEXT).min(until.saturating_sub(WINDOW as u64 / 2));
        let (context, frames) = sound.frames(from.saturating_sub(CONTEXT), behind);
        let frames: Vec<Frame> = frames.copied().collect();
        let inputs = normalised(&frames);
        let at = |p: u64| ((p / HOP).max(context) - context).min(frames.len() as u64) as usize;
        let (begin, end) = (at(from), at(to.saturating_add(HOP - 1)));
        let network = Network::read();
        let rows = (begin..end.max(begin)).map(|t| network.row(&inputs, t)).collect();
        AcousticModel { first: context + begin as u64, rows }
    }
}

/// Band levels less their mean in speech; about -4 to 2.
fn normalised(frames: &[Frame]) -> Vec<[f32; BANDS]> {
    let loudness: Vec<f32> = frames.iter().map(Frame::loudness).collect();
    let mut sorted = loudness.clone();
    sorted.sort_by(f32::total_cmp);
    let share = sorted.len().saturating_sub(1) * 95 / 100;
    let loud = sorted.get(share).copied().unwrap_or_default();
    let (mut mean, mut count) = ([0.0_f32; BANDS], 0.0_f32);
    for (frame, l) in frames.iter().zip(&loudness) {
        if *l >= loud - SPEECH_RANGE {
            count += 1.0;
            for (m, v) in mean.iter_mut().zip(frame.levels) {
                *m += f32::from(v);
            }
        }
    }
    mean = mean.map(|m| m / count.max(1.0));
    let one = |frame: &Frame| {
        std::array::from_fn(|b| ((f32::from(frame.levels[b]) - mean[b]) / 20.0).clamp(-4.0, 2.0))
    };
    frames.iter().map(one).collect()
}

/// Weights by neuron, as the file has them: scale, bias, then a byte each.
struct Network {
    hidden: Vec<(f32, f32, &'static [u8])>,
    output: Vec<(f32, f32, &'static [u8])>,
    log_priors: [f32; CLASSES],
}

impl Network {
    fn read() -> Self {
        let mut rest = WEIGHTS;
        let mut bytes = |count: usize| {
            let (now, later) = rest.split_at(count);
            rest = later;
            now
        };
        let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let mut layer = |neurons: usize, inputs: usize| {
            (0..neurons).map(|_| (float(bytes(4)), float(bytes(4)), bytes(inputs))).collect()
        };
        let hidden = layer(HIDDEN, INPUTS);
        let output = layer(CLASSES, HIDDEN);
        let log_priors = std::array::from_fn(|_| float(bytes(4)));
        Network { hidden, output, log_priors }
    }

    fn row(&self, inputs: &[[f32; BANDS]], t: usize) -> [f32; CLASSES] {
        let neuron = |(scale, bias, weights): &(f32, f32, &[u8]), values: &[f32]| {
            let sum: f32 = weights.iter().zip(values).map(|(w, v)| f32::from(*w as i8) * v).sum();
            sum * scale + bias
        };
        let mut around = [0.0; INPUTS];
        for (part, step) in around.chunks_exact_mut(BANDS).zip(AROUND) {
            let near = t.saturating_add_signed(step).min(inputs.len() - 1);
            part.copy_from_slice(&inputs[near]);
        }
        let mut hidden = [0.0; HIDDEN];
        for (h, n) in hidden.iter_mut().zip(&self.hidden) {
            *h = neuron(n, &around).max(0.0);
        }
        let mut row = [0.0; CLASSES];
        for (r, n) in row.iter_mut().zip(&self.output) {
            *r = neuron(n, &hidden);
        }
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let sum = row.iter().map(|r| (r - most).exp()).sum::<f32>().ln() + most;
        for (r, prior) in row.iter_mut().zip(self.log_priors) {
            *r = (*r - sum - prior).max(DOUBT);
        }
        row
    }
}
