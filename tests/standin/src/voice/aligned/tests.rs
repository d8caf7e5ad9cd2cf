// SPDX-License-Identifier: MPL-2.0

use super::*;

fn noise(samples: usize) -> Vec<i16> {
    let mut random = crate::random::Random::new(7);
    (0..samples).map(|_| (random.below(6000) as i16) - 3000).collect()
}

/// Ten words, each 0.4 s long, one each 0.5 s.
fn words() -> Vec<TimedWord> {
    let word = |i| {
        let start = f64::from(i) * 0.5 + 0.05;
        TimedWord { word: format!("w{i}"), start, end: start + 0.4 }
    };
    (0..10).map(word).collect()
}

/// What is said of this audio, in pieces of `size`: (word, begin, end); and what is damaged.
fn said(audio: &[i16], reference: &[i16], size: usize) -> (Vec<(String, u64, u64)>, Vec<String>) {
    let aligned = Aligned::in_recordings([(reference, words().as_slice())]);
    let mut hearing = Arc::new(aligned).speech(None);
    for part in audio.chunks(size) {
        hearing.hear(part);
    }
    hearing.end();
    let mut log = GenerationLog::default();
    hearing.note(&mut log, true, false);
    let mut said = Vec::new();
    while let Some(word) = hearing.next_word() {
        said.push((word.text, word.begin, word.end));
    }
    (said, log.words_damaged)
}

#[test]
fn all_words_of_the_recording() {
    let reference = noise(80_000);
    for size in [1, 7, 80, 1280, 80_000] {
        let (said, damaged) = said(&reference, &reference, size);
        assert_eq!(said.len(), 10);
        assert_eq!(said[3], ("w3".into(), 24_800, 31_200), "appends of {size}");
        assert!(damaged.is_empty());
    }
}

#[test]
fn silence_inserted_and_audio_left_out() {
    let reference = noise(80_000);
    let mut audio = vec![0; 5000];
    audio.extend_from_slice(&reference[..7500]);
    audio.extend_from_slice(&[0; 3000]);
    // Goes on behind what was left out, in the middle of w2 (16800 to 23200).
    audio.extend_from_slice(&reference[21_000..32_000]);
    let (said, damaged) = said(&audio, &reference, 1280);
    assert_eq!(said, [("w0".into(), 5800, 12_200), ("w3".into(), 19_300, 25_700)]);
    assert_eq!(damaged, ["w2"]);
}

#[test]
fn a_word_cut_behind_its_middle_is_said() {
    let reference = noise(80_000);
    let (said, damaged) = said(&reference[..13_500], &reference, 333);
    assert_eq!(said, [("w0".into(), 800, 7200), ("w1".into(), 8800, 13_500)]);
    assert_eq!(damaged, ["w1"]);
}

#[test]
fn a_few_samples_that_differ_do_no_harm() {
    let reference = noise(80_000);
    let mut audio = reference.clone();
    audio[10_000] ^= 1;
    audio[40_000..40_100].fill(0);
    let (said, damaged) = said(&audio, &reference, 1600);
    assert_eq!(said.len(), 10);
    assert!(damaged.is_empty(), "{damaged:?}");
    assert_eq!(said[1], ("w1".into(), 8800, 15_200));
}

#[test]
fn unknown_audio_has_no_words() {
    let reference = noise(80_000);
    let other: Vec<i16> = reference.iter().map(|s| s.wrapping_add(1)).collect();
    assert_eq!(said(&other, &reference, 1600), (vec![], vec![]));
}

#[test]
fn a_passage_that_comes_twice() {
    let mut reference = noise(80_000);
    reference.copy_within(..2000, 40_000);
    for size in [100, 1280, 8000] {
        let (said, _) = said(&reference[40_000..], &reference, size);
        let names: Vec<_> = said.iter().map(|w| w.0.as_str()).collect();
        assert_eq!(names, ["w5", "w6", "w7", "w8", "w9"], "appends of {size}");
    }
}
