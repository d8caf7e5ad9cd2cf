// SPDX-License-Identifier: MPL-2.0

//! Sound for tests.

/// What a voice is to the detector: a buzz of 120 Hz through three formants that move.
pub fn voice(samples: usize, amplitude: f32) -> Vec<i16> {
    let mut out = Vec::with_capacity(samples);
    let mut phase = 0.0_f32;
    for i in 0..samples {
        let t = i as f32 / 16_000.0;
        phase = (phase + (120.0 + 20.0 * (3.0 * t).sin()) / 16_000.0).fract();
        let loud = 0.6 + 0.4 * (std::f32::consts::TAU * 4.0 * t).sin();
        let formants = [500.0 + 200.0 * (9.0 * t).sin(), 1500.0 + 400.0 * (7.0 * t).cos(), 2500.0];
        let sound: f32 = formants
            .iter()
            .map(|f| {
                let fading = (-phase * 4.0).exp();
                fading * (std::f32::consts::TAU * f * phase / 120.0).sin()
            })
            .sum();
        out.push((sound / 3.0 * loud * amplitude) as i16);
    }
    out
}
