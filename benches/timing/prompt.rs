// SPDX-License-Identifier: MPL-2.0

//! How soon a word comes out, in frames of the server.

use gstvllmrealtime::transcript::script::space_between;
use gstvllmrealtime::transcript::{Output, SampleInGeneration, Transcript, TranscriptConfig};
use gstvllmrealtime::{Length, Position};

use crate::clock::{self, Dice, FRAME};
use crate::corpus::Clip;

/// For each word of the clip, as one generation: the index of the delta with which it came out
/// less the index of the delta with its last text. Those that only `done` brings count from the
/// last delta.
pub fn frames_late(clip: &Clip) -> Vec<u64> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let marks = clock::marks(&clip.words, 0.0, true, &mut dice);
    let frames = clip.samples.len() as u64 / FRAME;
    // 11 deltas come behind the audio, or as many as the text needs.
    let count = marks.last().map_or(0, |m| m.last + 1).max(frames + 11);
    let mut deltas = vec![String::new(); count as usize];
    let lead = |i: usize| i > 0 && space_between(&clip.words[i - 1].word, &clip.words[i].word);
    for (i, (w, m)) in clip.words.iter().zip(&marks).enumerate() {
        let letters: Vec<char> = w.word.chars().collect();
        for (k, part) in (m.first..).zip(letters.chunks(clock::SUBWORD)) {
            let space = if k == m.first && lead(i) { " " } else { "" };
            deltas[k as usize] = format!("{space}{}", part.iter().collect::<String>());
        }
    }
    let mut t = Transcript::new(TranscriptConfig::default());
    t.begin(Position::START);
    let (mut fed, mut came) = (0, Vec::new());
    let mut come = |t: &mut Transcript, k: u64| {
        while let Some(out) = t.poll() {
            if let Output::Word(w) = out {
                came.push((w.text.chars().count(), k));
            }
        }
    };
    for (k, delta) in deltas.iter().enumerate() {
        let sent = clock::sent(k as u64).min(clip.samples.len() as u64);
        t.audio(Position::new(fed), &clip.samples[fed as usize..sent as usize]);
        if sent > fed && sent == clip.samples.len() as u64 {
            t.audio_end(Position::new(sent), Length::ZERO);
        }
        fed = sent;
        t.delta(delta, SampleInGeneration::new(sent), &[], None);
        come(&mut t, k as u64);
    }
    t.done(&deltas.concat(), None, &[]);
    come(&mut t, count - 1);
    // Words may be cut otherwise than the truth's: found by the count of their letters.
    let mut ends = Vec::new();
    let mut letters = 0;
    for (w, m) in clip.words.iter().zip(&marks) {
        for n in 0..w.word.chars().count() {
            ends.push(m.first + (n / clock::SUBWORD) as u64);
        }
    }
    came.into_iter()
        .filter_map(|(count, k)| {
            letters += count;
            ends.get(letters - 1).map(|last| k.saturating_sub(*last))
        })
        .collect()
}
