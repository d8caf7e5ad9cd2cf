// SPDX-License-Identifier: MPL-2.0

//! How the words sound: syllables of a consonant and a vowel, each with its formants or its noise.

use std::f64::consts::TAU;
use std::sync::OnceLock;

/// Samples of each sound, to be repeated.
const SECOND: u64 = 16_000;
/// Of a throat, in Hz.
const PITCH: f64 = 125.0;
/// Of a hundred parts of a syllable its consonant has these; a stop is closed for the first of them.
const CONSONANT: u64 = 40;
const CLOSED: u64 = 25;

/// Part of a sound's spectrum: centre and width in Hz, and level.
type Band = (f64, f64, f64);

/// What a sound is made of.
struct Sound {
    /// Root of the mean square.
    loud: f64,
    throat: &'static [Band],
    /// What the throat adds to all of its harmonics.
    floor: f64,
    breath: &'static [Band],
}

fn made_of(letter: u8) -> Sound {
    let vowel = |throat| Sound { loud: 4000.0, throat, floor: 0.05, breath: &[] };
    let murmur = |throat| Sound { loud: 2500.0, throat, floor: 0.01, breath: &[] };
    let breath = |loud, breath| Sound { loud, throat: &[], floor: 0.0, breath };
    match letter {
        b'a' => vowel(&[(730.0, 150.0, 1.0), (1090.0, 150.0, 0.6), (2440.0, 250.0, 0.2)]),
        b'e' => vowel(&[(530.0, 150.0, 1.0), (1840.0, 200.0, 0.5), (2480.0, 250.0, 0.3)]),
        b'i' => vowel(&[(280.0, 120.0, 1.0), (2290.0, 200.0, 0.4), (3010.0, 250.0, 0.3)]),
        b'o' => vowel(&[(570.0, 130.0, 1.0), (840.0, 130.0, 0.6), (2410.0, 250.0, 0.1)]),
        b'u' => vowel(&[(300.0, 120.0, 1.0), (870.0, 130.0, 0.3), (2240.0, 250.0, 0.05)]),
        b'm' => murmur(&[(250.0, 90.0, 0.6), (1100.0, 200.0, 0.05), (2100.0, 300.0, 0.03)]),
        b'n' => murmur(&[(250.0, 90.0, 0.6), (1450.0, 200.0, 0.06), (2300.0, 300.0, 0.04)]),
        b'l' => murmur(&[(360.0, 120.0, 0.6), (1300.0, 200.0, 0.15), (2700.0, 250.0, 0.1)]),
        b'r' => murmur(&[(310.0, 120.0, 0.6), (1060.0, 150.0, 0.25), (1380.0, 150.0, 0.2)]),
        b'v' => Sound { breath: &[(1500.0, 2500.0, 0.01)], ..murmur(&[(250.0, 120.0, 0.3)]) },
        b'z' => Sound { breath: &[(5500.0, 1300.0, 0.1)], ..murmur(&[(250.0, 120.0, 0.3)]) },
        b's' => breath(1500.0, &[(5500.0, 1300.0, 1.0)]),
        b'j' => breath(1500.0, &[(3000.0, 800.0, 1.0)]),
        b'h' => breath(800.0, &[(1000.0, 700.0, 1.0), (2500.0, 500.0, 0.7)]),
        b'b' | b'p' => breath(1500.0, &[(900.0, 800.0, 1.0)]),
        b'd' | b't' => breath(1500.0, &[(4000.0, 1200.0, 1.0)]),
        // g and k.
        _ => breath(1500.0, &[(2000.0, 600.0, 1.0)]),
    }
}

fn sound(letter: u8) -> Vec<i16> {
    let made = made_of(letter);
    let level = |bands: &[Band], hz: f64| -> f64 {
        bands.iter().map(|(f, width, level)| level * (-((hz - f) / width).powi(2)).exp()).sum()
    };
    let harmonics = (1..30).map(|h| PITCH * f64::from(h));
    let voiced = harmonics.map(|hz| (hz, level(made.throat, hz) + made.floor, 0.0));
    // Whole numbers of Hz, so that the sound can be repeated.
    let noise = (100..7800_u32).step_by(13).map(|hz| {
        let phase = f64::from(hz.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
        (f64::from(hz), level(made.breath, f64::from(hz)), phase)
    });
    let tones: Vec<_> = voiced.chain(noise).filter(|(_, level, _)| *level > 0.001).collect();
    let power: f64 = tones.iter().map(|(_, level, _)| level * level / 2.0).sum();
    let scale = made.loud / power.sqrt();
    (0..SECOND)
        .map(|n| {
            let at = n as f64 / SECOND as f64;
            let tone =
                |(hz, level, phase): &(f64, f64, f64)| level * (TAU * (hz * at + phase)).sin();
            (tones.iter().map(tone).sum::<f64>() * scale) as i16
        })
        .collect()
}

/// The sample at this position of a word from `begin` to `end`.
pub fn sample(word: &str, position: u64, begin: u64, end: u64) -> i16 {
    static SOUNDS: OnceLock<Vec<Vec<i16>>> = OnceLock::new();
    let sounds = SOUNDS.get_or_init(|| (b'a'..=b'z').map(sound).collect());
    let letters = word.as_bytes();
    let (length, syllables) = (end - begin, letters.len() as u64 / 2);
    let at = (position - begin) * syllables;
    let (syllable, part) = ((at / length) as usize, at % length * 100 / length);
    let letter = letters[2 * syllable + usize::from(part >= CONSONANT)];
    let is_stop = matches!(letter, b'b' | b'p' | b'd' | b't' | b'g' | b'k' | b'j');
    if is_stop && part < CLOSED {
        return 0;
    }
    sounds[usize::from(letter - b'a')][(position % SECOND) as usize]
}
