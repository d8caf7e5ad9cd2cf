// SPDX-License-Identifier: MPL-2.0

//! Sound that the voice detector takes for a voice: pulses of a throat through two formants, in
//! syllables.

use std::f32::consts::TAU;
use std::sync::LazyLock;

use gstvllmrealtime::SAMPLE_RATE;

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    Silence,
    Voice,
    Noise,
    /// As loud as can be.
    Clipped,
}

pub const SOUNDS: [Features; 4] =
    [Features::Voice, Features::Silence, Features::Noise, Features::Clipped];

/// One second of voice, to be repeated.
static VOICE: LazyLock<Vec<i16>> = LazyLock::new(|| {
    // Formants of [a], [i] and [o].
    const VOWELS: [[f32; 2]; 3] = [[700.0, 1220.0], [300.0, 2300.0], [500.0, 900.0]];
    let rate = SAMPLE_RATE as f32;
    let mut past = [[0.0f32; 2]; 2];
    let mut phase = 0.0f32;
    (0..SAMPLE_RATE)
        .map(|n| {
            let t = n as f32 / rate;
            phase += (120.0 + 20.0 * (TAU * t).sin()) / rate;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            let vowel = VOWELS[(n * 3 / SAMPLE_RATE) as usize];
            let mut sum = 0.0;
            for (p, f) in past.iter_mut().zip(vowel) {
                let r = 0.97;
                let y = pulse + 2.0 * r * (TAU * f / rate).cos() * p[0] - r * r * p[1];
                *p = [y, p[0]];
                sum += y;
            }
            let syllable = (TAU * 1.5 * t).sin().abs().max(0.05);
            (sum * syllable * 3000.0).clamp(-32000.0, 32000.0) as i16
        })
        .collect()
});

/// So many samples of it from `position` on.
pub fn samples(sound: Features, position: u64, count: u64) -> Vec<i16> {
    let at = |p: u64| match sound {
        Features::Silence => 0,
        Features::Voice => VOICE[(p % SAMPLE_RATE) as usize],
        Features::Noise => (p.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52) as i16 - 2048,
        Features::Clipped => {
            if p.is_multiple_of(2) {
                i16::MIN
            } else {
                i16::MAX
            }
        }
    };
    (position..position + count).map(at).collect()
}
