// SPDX-License-Identifier: MPL-2.0

//! A window of samples to the log energies of a few bands.

use std::f32::consts::PI;

use microfft::real::rfft_512;

/// Bands on the mel scale, 100 Hz to 7,600 Hz.
pub const BANDS: usize = 18;
/// Samples in a window (25 ms).
pub const WINDOW: usize = 400;
/// Points of the transform.
const POINTS: usize = 512;

const LOWEST_HZ: f32 = 100.0;
const HIGHEST_HZ: f32 = 7600.0;
/// Power of a spectral line that stands for silence: a dither of one unit. What is quieter is
/// alike, so digital silence is a level and not minus infinity.
const FLOOR: f32 = 150.0;

/// A quantised log energy: 0 is silence, a step 0.1 nepers of power (0.43 dB).
pub type Level = u8;
/// Nepers (of power) in one step of [`Level`].
pub const STEP: f32 = 0.1;

/// The window and the bands, made once.
pub struct Filterbank {
    window: [f32; WINDOW],
    /// First line, and the weights from there, of each band.
    bands: Vec<(usize, Vec<f32>)>,
}

impl Default for Filterbank {
    fn default() -> Self {
        let mut window = [0.0; WINDOW];
        for (i, w) in window.iter_mut().enumerate() {
            *w = 0.5 - 0.5 * (2.0 * PI * (i as f32 + 0.5) / WINDOW as f32).cos();
        }
        Filterbank { window, bands: mel_bands() }
    }
}

impl std::fmt::Debug for Filterbank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filterbank").finish_non_exhaustive()
    }
}

fn mel_bands() -> Vec<(usize, Vec<f32>)> {
    let mel = |hz: f32| (1.0 + hz / 700.0).ln();
    let hz = |mel: f32| (mel.exp() - 1.0) * 700.0;
    let edge = |i: usize| {
        let share = i as f32 / (BANDS + 1) as f32;
        let m = mel(LOWEST_HZ) + (mel(HIGHEST_HZ) - mel(LOWEST_HZ)) * share;
        hz(m) * POINTS as f32 / crate::SAMPLE_RATE as f32
    };
    (0..BANDS)
        .map(|b| {
            let (low, middle, high) = (edge(b), edge(b + 1), edge(b + 2));
            let first = low.ceil() as usize;
            let weights: Vec<f32> = (first..=high.floor() as usize)
                .map(|line| {
                    let x = line as f32;
                    let rise = (x - low) / (middle - low);
                    let fall = (high - x) / (high - middle);
                    rise.min(fall).max(0.0)
                })
                .collect();
            let sum: f32 = weights.iter().sum();
            (first, weights.iter().map(|w| w / sum).collect())
        })
        .collect()
}

impl Filterbank {
    /// The mean log power of each band in a window of samples.
    pub fn levels(&self, samples: &[i16; WINDOW]) -> [Level; BANDS] {
        let mean = samples.iter().map(|&s| i32::from(s)).sum::<i32>() as f32 / WINDOW as f32;
        let mut data = [0.0; POINTS];
        for ((d, &s), &w) in data.iter_mut().zip(samples).zip(&self.window) {
            *d = (f32::from(s) - mean) * w;
        }
        let lines = rfft_512(&mut data);
        let power = lines.map(|line| line.norm_sqr());
        let mut levels = [0; BANDS];
        for (level, (first, weights)) in levels.iter_mut().zip(&self.bands) {
            let sum: f32 = weights.iter().zip(&power[*first..]).map(|(w, p)| w * p).sum();
            *level = (((sum / FLOOR + 1.0).ln() / STEP) as i32).clamp(0, 255) as Level;
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, amplitude: f32) -> [i16; WINDOW] {
        std::array::from_fn(|i| {
            (amplitude * (2.0 * PI * hz * i as f32 / crate::SAMPLE_RATE as f32).sin()) as i16
        })
    }

    #[test]
    fn silence_and_dc_are_silent() {
        let s = Filterbank::default();
        assert_eq!(s.levels(&[0; WINDOW]), [0; BANDS]);
        assert_eq!(s.levels(&[20_000; WINDOW]), [0; BANDS]);
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_band() {
        let s = Filterbank::default();
        let loudest = |hz| {
            let levels = s.levels(&tone(hz, 8000.0));
            (0..BANDS).max_by_key(|&b| levels[b]).unwrap()
        };
        let found: Vec<_> = [200.0, 500.0, 1000.0, 2000.0, 4000.0, 7000.0].map(loudest).into();
        assert!(found.is_sorted() && found.windows(2).all(|w| w[0] < w[1]), "{found:?}");
        assert_eq!((found[0], found[5]), (0, BANDS - 1));
    }

    #[test]
    fn ten_times_the_amplitude_is_twenty_decibels() {
        let s = Filterbank::default();
        let level = |a| f32::from(s.levels(&tone(1000.0, a)).into_iter().max().unwrap());
        let step = (level(10_000.0) - level(1000.0)) * STEP;
        assert!((step - 100.0_f32.ln()).abs() < 0.15, "{step}");
    }

    #[test]
    fn the_loudest_sound_has_a_level() {
        let square: [i16; WINDOW] =
            std::array::from_fn(|i| if i / 8 % 2 == 0 { i16::MAX } else { i16::MIN });
        let levels = Filterbank::default().levels(&square);
        assert!(levels.iter().all(|&l| l < 255), "{levels:?}");
    }
}
