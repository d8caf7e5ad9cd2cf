// SPDX-License-Identifier: MPL-2.0

//! Sound for tests.

/// What a voice is to the detector: three formants that move.
pub fn voice(samples: usize, amplitude: f32) -> Vec<i16> {
    let formants =
        |t: f32| [500.0 + 200.0 * (9.0 * t).sin(), 1500.0 + 400.0 * (7.0 * t).cos(), 2500.0];
    buzz(samples, |t| amplitude * (0.6 + 0.4 * (std::f32::consts::TAU * 4.0 * t).sin()), formants)
}

/// A vowel with these formants, in Hz.
pub fn vowel(samples: usize, formants: [f32; 3]) -> Vec<i16> {
    buzz(samples, |_| 9000.0, |_| formants)
}

/// A buzz of about 120 Hz through formants.
fn buzz(
    samples: usize,
    amplitude: impl Fn(f32) -> f32,
    formants: impl Fn(f32) -> [f32; 3],
) -> Vec<i16> {
    let mut out = Vec::with_capacity(samples);
    let mut phase = 0.0_f32;
    for i in 0..samples {
        let t = i as f32 / 16_000.0;
        phase = (phase + (120.0 + 20.0 * (3.0 * t).sin()) / 16_000.0).fract();
        let sound: f32 = formants(t)
            .iter()
            .map(|f| {
                let fading = (-phase * 4.0).exp();
                fading * (std::f32::consts::TAU * f * phase / 120.0).sin()
            })
            .sum();
        out.push((sound / 3.0 * amplitude(t)) as i16);
    }
    out
}
