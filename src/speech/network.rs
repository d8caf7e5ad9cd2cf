// SPDX-License-Identifier: MPL-2.0

//! The network that tells how likely each class of sounds is in a frame, from the levels around it
//! less their mean in speech, and the background's.
//!
//! Three layers of rectifiers, each of which sees some outputs of the one before, so that a frame is
//! heard with 0.72 s before it and 0.15 s behind it (a time delay network: Waibel and others, 1989; the
//! upper layers work for two frames at once: Vanhoucke and others, 2013). It goes on from block to
//! block, so each frame is worked out once. `scripts/train-sounds.sh` taught it (`sounds.bin`), on
//! speech in rooms, crowds and codecs; `docs/timing.md` tells on which.

use std::sync::LazyLock;

use wide::{i16x8, i32x4};

use super::class::{CLASSES, Row, STEPS};
use super::filterbank::BANDS;

/// Frames that are taken at once.
pub const BLOCK: u64 = AT_A_TIME as u64;
const AT_A_TIME: usize = 16;
/// What comes of a block is of so many frames before its own.
pub const LAG: u64 = 14;

/// Frames that a neuron of the first layer sees, side by side; it works for the middle one.
const NEAR: usize = 7;
/// Outputs that those of the second one see, every third, the last of which is this much later...
const MIDDLE: [usize; 6] = [0, 3, 6, 9, 12, 15];
/// ...than the first. And those of the third, which are of every other frame.
const FAR: [usize; 6] = [0, 12, 21, 26, 30, 33];
const FIRST: usize = 64;
const SECOND: usize = 80;
const THIRD: usize = 80;
/// Frames that are told at once.
const TOLD: usize = 2;

/// In registers of eight numbers.
const FIRST_LANES: usize = (NEAR + 1) * BANDS / 8;
const SECOND_LANES: usize = MIDDLE.len() * FIRST / 8;
const THIRD_LANES: usize = FAR.len() * SECOND / 8;
const LAST_LANES: usize = THIRD / 8;

/// Inputs that are asked about at once, so that each weight is read for all of them.
const AT_ONCE: usize = 4;
/// An output is at most 8.0, and has this many steps in 1.0.
const FINE: f32 = 256.0;
const MOST: f32 = 8.0;

static WEIGHTS: &[u8] = include_bytes!("sounds.bin");
const _: () = assert!(
    WEIGHTS.len()
        == FIRST * (8 + FIRST_LANES * 8)
            + SECOND * (8 + SECOND_LANES * 8)
            + THIRD * (8 + THIRD_LANES * 8)
            + TOLD * CLASSES * (8 + LAST_LANES * 8)
            + CLASSES * 4
);

type Near = [i16; BANDS];

/// The share of each class in all speech.
pub fn priors() -> &'static [f32; CLASSES] {
    &NETWORK.priors
}

/// One neuron's scale, bias and weights.
struct Neuron<const LANES: usize> {
    scale: f32,
    bias: f32,
    weights: [i16x8; LANES],
}

struct Layer<const LANES: usize>(Vec<Neuron<LANES>>);

struct Network {
    first: Layer<FIRST_LANES>,
    second: Layer<SECOND_LANES>,
    third: Layer<THIRD_LANES>,
    last: Layer<LAST_LANES>,
    priors: [f32; CLASSES],
}

static NETWORK: LazyLock<Network> = LazyLock::new(|| {
    let mut rest = WEIGHTS;
    Network {
        first: Layer::read(&mut rest, FIRST),
        second: Layer::read(&mut rest, SECOND),
        third: Layer::read(&mut rest, THIRD),
        last: Layer::read(&mut rest, TOLD * CLASSES),
        priors: std::array::from_fn(|_| float(&mut rest)),
    }
});

fn float(rest: &mut &[u8]) -> f32 {
    let (now, later) = rest.split_first_chunk().expect("as long as is asserted");
    *rest = later;
    f32::from_le_bytes(*now)
}

impl<const LANES: usize> Layer<LANES> {
    /// Each neuron's scale and bias, and a byte for each weight.
    fn read(rest: &mut &[u8], neurons: usize) -> Self {
        let neuron = |_| {
            let (scale, bias) = (float(rest), float(rest));
            let (now, later) = rest.split_at(LANES * 8);
            *rest = later;
            let whole: Vec<i16> = now.iter().map(|&b| i16::from(b as i8)).collect();
            Neuron { scale, bias, weights: lanes([whole.as_slice()].into_iter()) }
        };
        Layer((0..neurons).map(neuron).collect())
    }

    /// What each neuron makes of several inputs.
    fn of(&self, inputs: &[[i16x8; LANES]; AT_ONCE], mut told: impl FnMut(usize, [f32; AT_ONCE])) {
        for (n, neuron) in self.0.iter().enumerate() {
            let mut sums = [i32x4::ZERO; AT_ONCE];
            for (i, weights) in neuron.weights.iter().enumerate() {
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    *sum += weights.dot(input[i]);
                }
            }
            told(n, sums.map(|sum| sum.reduce_add() as f32 * neuron.scale + neuron.bias));
        }
    }

    /// `count` further outputs: rectified, in steps. `input` tells what each is made of.
    fn rectified<const OUTPUTS: usize>(
        &self,
        count: usize,
        out: &mut Vec<[i16; OUTPUTS]>,
        input: impl Fn(usize) -> [i16x8; LANES],
    ) {
        for at in (0..count).step_by(AT_ONCE) {
            let inputs = std::array::from_fn(|i| input((at + i).min(count - 1)));
            let begin = out.len();
            out.resize(begin + AT_ONCE.min(count - at), [0; OUTPUTS]);
            self.of(&inputs, |n, values| {
                for (out, value) in out[begin..].iter_mut().zip(values) {
                    out[n] = (value.clamp(0.0, MOST) * FINE + 0.5) as i16;
                }
            });
        }
    }
}

/// Numbers one behind the other, in registers.
fn lanes<'a, const LANES: usize>(parts: impl Iterator<Item = &'a [i16]>) -> [i16x8; LANES] {
    let mut all = [[0; 8]; LANES];
    let mut rest = all.as_flattened_mut();
    for part in parts {
        let (now, later) = rest.split_at_mut(part.len());
        now.copy_from_slice(part);
        rest = later;
    }
    all.map(i16x8::from)
}

/// The network at work: what it needs of the frames that it has heard.
#[derive(Debug, Clone)]
pub struct Listener {
    near: Vec<Near>,
    background: Near,
    first: Vec<[i16; FIRST]>,
    /// Of every other frame.
    second: Vec<[i16; SECOND]>,
}

impl Listener {
    /// Before the first frame it was always as in that.
    pub fn new(near: &Near, background: &Near) -> Self {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        NETWORK.first.rectified(1, &mut first, |_| around(&[*near; NEAR], background));
        first.resize(MIDDLE[5], first[0]);
        let middle = |_| lanes(MIDDLE.iter().map(|_| first[0].as_slice()));
        NETWORK.second.rectified(1, &mut second, middle);
        second.resize(FAR[5], second[0]);
        Listener { near: vec![*near; NEAR - 1], background: *background, first, second }
    }

    /// Takes a block of frames, and tells of as many: they begin [`LAG`] before it.
    pub fn block(&mut self, near: &[Near; AT_A_TIME], background: &Near) -> [Row; AT_A_TIME] {
        self.near.extend_from_slice(near);
        let before = std::mem::replace(&mut self.background, *background);
        NETWORK.first.rectified(AT_A_TIME, &mut self.first, |i| {
            let background = if i < NEAR / 2 { &before } else { background };
            around(&self.near[i..i + NEAR], background)
        });
        NETWORK.second.rectified(AT_A_TIME / 2, &mut self.second, |i| {
            lanes(MIDDLE.iter().map(|tap| self.first[2 * i + 1 + tap].as_slice()))
        });
        let mut third: Vec<[i16; THIRD]> = Vec::with_capacity(AT_A_TIME / 2);
        NETWORK.third.rectified(AT_A_TIME / 2, &mut third, |i| {
            lanes(FAR.iter().map(|tap| self.second[i + tap].as_slice()))
        });
        self.near.drain(..AT_A_TIME);
        self.first.drain(..AT_A_TIME);
        self.second.drain(..AT_A_TIME / 2);
        let mut rows = [[0; CLASSES]; AT_A_TIME];
        for (four, rows) in third.chunks_exact(AT_ONCE).zip(rows.chunks_exact_mut(AT_ONCE * TOLD)) {
            let inputs = std::array::from_fn(|i| lanes([four[i].as_slice()].into_iter()));
            let mut outputs = [[0.0; TOLD * CLASSES]; AT_ONCE];
            NETWORK.last.of(&inputs, |n, values| {
                for (output, value) in outputs.iter_mut().zip(values) {
                    output[n] = value;
                }
            });
            for (row, told) in rows.iter_mut().zip(outputs.as_flattened().chunks_exact(CLASSES)) {
                *row = unlikely(told);
            }
        }
        rows
    }
}

fn around(near: &[Near], background: &Near) -> [i16x8; FIRST_LANES] {
    lanes([near.as_flattened(), background].into_iter())
}

/// Outputs to what they say, by the softmax of them.
fn unlikely(outputs: &[f32]) -> Row {
    let most = outputs.iter().copied().fold(f32::MIN, f32::max);
    let all = most + outputs.iter().map(|o| (o - most).exp()).sum::<f32>().ln();
    std::array::from_fn(|class| ((all - outputs[class]) * STEPS + 0.5) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_is_started_is_forgotten() {
        let noise = |i: usize| std::array::from_fn(|b| ((i * 7919 + b * 104_729) % 97) as i16 - 60);
        let background = [-50; BANDS];
        let mut listeners = [[0; BANDS], [-90; BANDS]].map(|n| Listener::new(&n, &background));
        for block in 0..8 {
            let near = std::array::from_fn(|i| noise(block * AT_A_TIME + i));
            let rows = listeners.each_mut().map(|l| l.block(&near, &background));
            assert_eq!(rows[0] == rows[1], block > 5, "{block}");
            let sum: f32 = super::super::class::likely(&rows[0][3]).iter().sum();
            assert!((sum - 1.0).abs() < 0.05, "{sum}");
        }
    }
}
