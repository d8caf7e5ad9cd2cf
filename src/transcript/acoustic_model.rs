// SPDX-License-Identifier: MPL-2.0

//! How well each 10 ms of sound fits each class of speech sounds.
//!
//! A network of one hidden layer (160 neurons, `sounds.bin`) looks at the band levels around a
//! frame, each less its mean in the speech around, so that loudness and the microphone's colour fall
//! away, and at the background's, so that it knows what it hears through. `scripts/train-sounds.sh`
//! taught it, on speech in rooms, crowds and codecs; `docs/timing.md` tells on which.

use std::ops::Range;
use std::sync::LazyLock;

use wide::{i16x8, i32x4};

use crate::speech::Features;
use crate::speech::features::{Frame, HOP};
use crate::speech::filterbank::{BANDS, STEP, WINDOW};

/// Classes of speech sounds, by which the network tells them apart, and sets of these as bit masks.
pub mod class {
    /// Some classes.
    pub type Set = u32;

    /// Of no word: silence, and whatever sounds beside the speech.
    pub const SILENCE: Set = 1;
    /// Open vowels, and diphthongs that begin as such.
    pub const A: Set = 1 << 1;
    pub const E: Set = 1 << 2;
    pub const I: Set = 1 << 3;
    pub const O: Set = 1 << 4;
    pub const U: Set = 1 << 5;
    pub const M: Set = 1 << 6;
    /// And ng.
    pub const N: Set = 1 << 7;
    pub const L: Set = 1 << 8;
    /// And the vowel of "bird".
    pub const R: Set = 1 << 9;
    pub const W: Set = 1 << 10;
    /// As in "yes".
    pub const Y: Set = 1 << 11;
    pub const S: Set = 1 << 12;
    pub const SH: Set = 1 << 13;
    /// Voiced sibilants.
    pub const Z: Set = 1 << 14;
    /// And the th of "thin".
    pub const F: Set = 1 << 15;
    /// And the th of "this".
    pub const V: Set = 1 << 16;
    pub const H: Set = 1 << 17;
    /// Stops, from closure to burst.
    pub const STOP: Set = 1 << 18;

    pub const VOWEL: Set = A | E | I | O | U;
    pub const NASAL: Set = M | N;
    /// Liquids and glides.
    pub const LIQUID: Set = L | R | W | Y;
    pub const SIBILANT: Set = S | SH | Z;
    /// Fricatives that are not sibilants.
    pub const FRICATIVE: Set = F | V | H;
    /// All but silence.
    pub const SPEECH: Set = VOWEL | NASAL | LIQUID | SIBILANT | FRICATIVE | STOP;
    /// What all languages share, and silence.
    pub const BROAD: [Set; 7] = [SILENCE, VOWEL, NASAL, LIQUID, SIBILANT, FRICATIVE, STOP];
}

use class::Set;

/// Classes in all.
pub const CLASSES: usize = 19;

/// How likely each class is in a frame.
pub type Row = [f32; CLASSES];

/// Frames around the one that is asked about.
const TAPS: [isize; 15] = [-20, -14, -10, -6, -4, -2, -1, 0, 1, 2, 4, 6, 10, 14, 20];
/// Those frames' bands, and the background's.
const NEAR: usize = BANDS * TAPS.len();
const INPUTS: usize = NEAR + BANDS;
/// Of as many numbers as processors multiply and add in pairs at once.
const LANES: usize = NEAR.div_ceil(8);
/// Frames that are asked about at once, so that each weight is read for all of them.
const AT_ONCE: usize = 4;
static WEIGHTS: &[u8] = include_bytes!("sounds.bin");
/// Neurons: each has a scale, a bias and its weights, and a weight for each class.
const HIDDEN: usize = (WEIGHTS.len() - CLASSES * 12) / (INPUTS + CLASSES + 8);

/// Samples of sound before and behind the words that tell how speech sounds here.
const CONTEXT: u64 = 4 * crate::SAMPLE_RATE;
/// A frame up to this many steps (20 dB) below the loudest counts as speech for the mean.
const SPEECH_RANGE: f32 = 45.0;
/// Levels less their mean, at least and at most.
const RANGE: (i16, i16) = (-80, 40);

/// No sound is less likely than this, in nats: the network can be surely wrong.
const DOUBT: f32 = -4.0;

/// A set of classes that is asked about often.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub set: Set,
    /// How likely it is, whatever the sound.
    prior: f32,
}

impl Asked {
    pub fn new(set: Set) -> Asked {
        Asked { set, prior: share(nothing(), set) }
    }

    /// How well a frame fits one of the classes: ln p(sound | set) - ln p(sound).
    pub fn fit(self, row: &Row) -> f32 {
        (share(row, self.set) / self.prior).max(1e-9).ln().max(DOUBT)
    }
}

fn share(row: &Row, set: Set) -> f32 {
    let (mut left, mut sum) = (set, 0.0);
    while left != 0 {
        sum += row.get(left.trailing_zeros() as usize).unwrap_or(&0.0);
        left &= left - 1;
    }
    sum
}

/// Of sound that is not known: each class is as likely as ever.
pub fn nothing() -> &'static Row {
    &Network::get().priors
}

/// The classes of each frame of a stretch of sound.
pub struct AcousticModel {
    /// Index of the first frame.
    pub first: u64,
    pub rows: Vec<Row>,
    /// How far the speech is above its background: nepers of power.
    pub clarity: f32,
}

impl AcousticModel {
    /// Of the sound known in `from..to` (positions). What lies behind `until` is not looked at.
    pub fn of(sound: &Features, from: u64, to: u64, until: u64) -> Self {
        let behind = to.saturating_add(CONTEXT).min(until.saturating_sub(WINDOW as u64 / 2));
        let (context, frames) = sound.frames(from.saturating_sub(CONTEXT), behind);
        let frames: Vec<Frame> = frames.copied().collect();
        let at = |p: u64| ((p / HOP).max(context) - context).min(frames.len() as u64) as usize;
        let (begin, end) = (at(from), at(to.saturating_add(HOP - 1)));
        let (rows, clarity) = if begin < end { rows(&frames, begin..end) } else { (vec![], 0.0) };
        AcousticModel { first: context + begin as u64, rows, clarity }
    }
}

/// The rows of some frames, by all of them, and how clear the speech in these is.
fn rows(frames: &[Frame], wanted: Range<usize>) -> (Vec<Row>, f32) {
    let mean = mean_of_speech(frames);
    let less = |level: u8, band: usize| (i16::from(level) - mean[band]).clamp(RANGE.0, RANGE.1);
    let levels = |frame: &Frame| -> [i16; BANDS] {
        std::array::from_fn(|band| less(frame.levels[band], band))
    };
    let lead = TAPS[0].unsigned_abs();
    let first = wanted.start.saturating_sub(lead);
    let last = (wanted.end + TAPS[TAPS.len() - 1].unsigned_abs()).min(frames.len());
    let near: Vec<[i16; BANDS]> = frames[first..last].iter().map(levels).collect();
    let background = background(frames);
    let network = Network::get();
    let background: [i16; BANDS] = std::array::from_fn(|band| less(background[band], band));
    let clarity = background.iter().map(|b| -f32::from(*b)).sum::<f32>() * STEP / BANDS as f32;
    let biases = network.biases(&background);
    let mut rows = Vec::with_capacity(wanted.len().next_multiple_of(AT_ONCE));
    for t in wanted.clone().step_by(AT_ONCE) {
        rows.extend(network.rows(&near, t - first, &biases));
    }
    rows.truncate(wanted.len());
    (rows, clarity)
}

/// The mean level of each band in speech, so that loudness and the microphone's colour fall away.
fn mean_of_speech(frames: &[Frame]) -> [i16; BANDS] {
    let loudness: Vec<f32> = frames.iter().map(Frame::loudness).collect();
    let mut sorted = loudness.clone();
    let share = sorted.len().saturating_sub(1) * 95 / 100;
    if sorted.is_empty() {
        return [0; BANDS];
    }
    let loud = *sorted.select_nth_unstable_by(share, f32::total_cmp).1;
    let (mut sums, mut count) = ([0_u32; BANDS], 0_u32);
    for (frame, l) in frames.iter().zip(&loudness) {
        if *l >= loud - SPEECH_RANGE {
            count += 1;
            for (sum, level) in sums.iter_mut().zip(frame.levels) {
                *sum += u32::from(level);
            }
        }
    }
    sums.map(|sum| ((sum + count / 2) / count.max(1)) as i16)
}

/// The level of each band that nine of ten frames are above.
fn background(frames: &[Frame]) -> [u8; BANDS] {
    let rank = frames.len() as u32 / 10;
    std::array::from_fn(|band| {
        let mut counts = [0_u32; 256];
        for frame in frames {
            counts[usize::from(frame.levels[band])] += 1;
        }
        let mut below = 0;
        let level = counts.iter().position(|count| {
            below += count;
            below > rank
        });
        level.unwrap_or_default() as u8
    })
}

/// A layer's neurons: scale, bias and weights of each.
struct Layer<W> {
    scales: Vec<(f32, f32)>,
    weights: Vec<W>,
}

/// The file has, by neuron: scale, bias, then a byte for each weight.
struct Network {
    hidden: Layer<[i16x8; LANES]>,
    background: Vec<[i16; BANDS]>,
    output: Vec<(f32, [f32; HIDDEN])>,
    priors: Row,
}

impl Network {
    fn get() -> &'static Network {
        static NETWORK: LazyLock<Network> = LazyLock::new(Network::read);
        &NETWORK
    }

    fn read() -> Network {
        let mut rest = WEIGHTS;
        let mut bytes = |count: usize| {
            let (now, later) = rest.split_at(count);
            rest = later;
            now
        };
        let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let whole = |b: &u8| i16::from(*b as i8);
        let mut hidden = Layer { scales: Vec::new(), weights: Vec::new() };
        let mut background = Vec::new();
        for _ in 0..HIDDEN {
            hidden.scales.push((float(bytes(4)), float(bytes(4))));
            let (near, behind) = bytes(INPUTS).split_at(NEAR);
            hidden.weights.push(lanes(&near.iter().map(whole).collect::<Vec<_>>()));
            background.push(std::array::from_fn(|i| whole(&behind[i])));
        }
        let output = (0..CLASSES).map(|_| {
            let (scale, bias) = (float(bytes(4)), float(bytes(4)));
            let weights = bytes(HIDDEN);
            (bias, std::array::from_fn(|i| f32::from(whole(&weights[i])) * scale))
        });
        let output = output.collect();
        let priors = std::array::from_fn(|_| float(bytes(4)));
        Network { hidden, background, output, priors }
    }

    /// What the background adds to each neuron, in units of its scale, and its bias.
    fn biases(&self, levels: &[i16; BANDS]) -> [i32; HIDDEN] {
        std::array::from_fn(|i| dot(&self.background[i], levels))
    }

    /// Those of the frames from `t` on.
    fn rows(&self, near: &[[i16; BANDS]], t: usize, biases: &[i32; HIDDEN]) -> [Row; AT_ONCE] {
        let around: [[i16x8; LANES]; AT_ONCE] = std::array::from_fn(|i| {
            let mut around = [0; NEAR];
            for (part, step) in around.chunks_exact_mut(BANDS).zip(TAPS) {
                let tap = (t + i).saturating_add_signed(step).min(near.len() - 1);
                part.copy_from_slice(&near[tap]);
            }
            lanes(&around)
        });
        let mut hidden = [[0.0; HIDDEN]; AT_ONCE];
        let neurons = self.hidden.scales.iter().zip(&self.hidden.weights).zip(biases);
        for (n, (((scale, bias), weights), background)) in neurons.enumerate() {
            for (hidden, sum) in hidden.iter_mut().zip(dots(weights, &around)) {
                hidden[n] = ((sum + background) as f32 * scale + bias).max(0.0);
            }
        }
        hidden.map(|hidden| self.likely(&hidden))
    }

    fn likely(&self, hidden: &[f32; HIDDEN]) -> Row {
        let mut row = [0.0; CLASSES];
        for (r, (bias, weights)) in row.iter_mut().zip(&self.output) {
            *r = sum(weights, hidden) + bias;
        }
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        for r in &mut row {
            *r = (*r - most).exp();
        }
        let sum: f32 = row.iter().sum();
        row.map(|r| r / sum)
    }
}

/// Filled up with zeros.
fn lanes(values: &[i16]) -> [i16x8; LANES] {
    std::array::from_fn(|i| {
        let mut eight = [0; 8];
        let part = values.get(i * 8..).unwrap_or_default();
        let count = part.len().min(8);
        eight[..count].copy_from_slice(&part[..count]);
        i16x8::from(eight)
    })
}

/// The products of one neuron's weights with several inputs.
fn dots(weights: &[i16x8; LANES], inputs: &[[i16x8; LANES]; AT_ONCE]) -> [i32; AT_ONCE] {
    let mut sums = [i32x4::ZERO; AT_ONCE];
    for (i, part) in weights.iter().enumerate() {
        for (sum, input) in sums.iter_mut().zip(inputs) {
            *sum += part.dot(input[i]);
        }
    }
    sums.map(|sum| sum.reduce_add())
}

fn dot<const N: usize>(a: &[i16; N], b: &[i16; N]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// As eight sums, which a processor adds up at once.
fn sum(a: &[f32; HIDDEN], b: &[f32; HIDDEN]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
