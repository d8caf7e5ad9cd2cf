// SPDX-License-Identifier: MPL-2.0

//! Classes of speech sounds, by which the network tells them apart, and how well a frame fits them.

use std::sync::LazyLock;

use super::network::priors;

/// Some classes: a bit mask.
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
/// Stops, from closure to burst, voiced or not: with the lips ...
pub const P: Set = 1 << 18;
/// ... the tip of the tongue ...
pub const T: Set = 1 << 19;
/// ... and its back.
pub const K: Set = 1 << 20;

pub const VOWEL: Set = A | E | I | O | U;
pub const NASAL: Set = M | N;
/// Liquids and glides.
pub const LIQUID: Set = L | R | W | Y;
pub const SIBILANT: Set = S | SH | Z;
/// Fricatives that are not sibilants.
pub const FRICATIVE: Set = F | V | H;
pub const STOP: Set = P | T | K;
/// All but silence.
pub const SPEECH: Set = VOWEL | NASAL | LIQUID | SIBILANT | FRICATIVE | STOP;
/// What all languages share, and silence.
pub const BROAD: [Set; 7] = [SILENCE, VOWEL, NASAL, LIQUID, SIBILANT, FRICATIVE, STOP];

/// Classes in all.
pub const CLASSES: usize = 21;

/// How unlikely each class is in a frame: -ln p, in steps of 1/16.
pub type Row = [u8; CLASSES];

/// Steps of a [`Row`] in a neper.
pub const STEPS: f32 = 16.0;

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
        Asked { set, prior: share(&likely(&nothing()), set) }
    }

    /// How well a frame fits one of the classes: ln p(sound | set) - ln p(sound).
    pub fn fit(self, likely: &[f32; CLASSES]) -> f32 {
        (share(likely, self.set) / self.prior).max(1e-9).ln().max(DOUBT)
    }
}

/// How likely each class is.
pub fn likely(row: &Row) -> [f32; CLASSES] {
    static LIKELY: LazyLock<[f32; 256]> =
        LazyLock::new(|| std::array::from_fn(|steps| (steps as f32 * (-1.0 / STEPS)).exp()));
    row.map(|steps| LIKELY[usize::from(steps)])
}

/// Of sound that is not known: each class is as likely as ever.
pub fn nothing() -> Row {
    priors().map(|p| (-p.ln() * STEPS + 0.5) as u8)
}

fn share(likely: &[f32; CLASSES], set: Set) -> f32 {
    let (mut left, mut sum) = (set, 0.0);
    while left != 0 {
        sum += likely.get(left.trailing_zeros() as usize).unwrap_or(&0.0);
        left &= left - 1;
    }
    sum
}
