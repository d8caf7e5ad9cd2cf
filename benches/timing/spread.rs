// SPDX-License-Identifier: MPL-2.0

//! The even spread: what clients do today.

use gstvllmrealtime::transcript::Timing;

use crate::clock::{self, Dice, SEGMENT};
use crate::corpus::Clip;
use crate::score::{Timed, even_spread};
use crate::vad::utterances;

const RATE: f64 = 16_000.0;

/// Words of a clip spread evenly over the audio sent so far, anew with each text that comes, by a
/// client that sends in real time, one generation for each utterance (which is kind to it: the
/// longer a generation, the farther off it is).
pub fn spread(clip: &Clip, timing: Timing) -> Vec<Timed> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut out = Vec::new();
    let mut rest = &clip.words[..];
    let found = utterances(&clip.samples, 12_800);
    for (i, &(begin, end, decided)) in found.iter().enumerate() {
        let last = i + 1 == found.len();
        let inside = |w: &&Timed, to: u64| (w.start + w.end) / 2.0 * RATE < to as f64;
        let count = rest.iter().take_while(|w| last || inside(w, end)).count();
        let (words, later) = rest.split_at(count);
        rest = later;
        let start = begin as f64 / RATE;
        let mut known = Vec::new();
        let mut knows = |to: u64, count: usize| known.push(((to - begin) as f64 / RATE, count));
        match timing {
            Timing::Frames => {
                let marks = clock::marks(words, start, true, &mut dice);
                for (k, mark) in marks.iter().enumerate() {
                    knows((begin + clock::sent(mark.last)).min(decided), k + 1);
                }
            }
            Timing::Segments => {
                for edge in (begin + SEGMENT..end + SEGMENT).step_by(SEGMENT as usize) {
                    let count = words.iter().take_while(|w| edge >= end || inside(w, edge)).count();
                    knows(edge.min(end), count);
                }
            }
            _ => knows(end, words.len()),
        }
        let texts: Vec<String> = words.iter().map(|w| w.word.clone()).collect();
        out.extend(even_spread(&texts, &known).into_iter().map(|w| Timed {
            start: w.start + start,
            end: w.end + start,
            ..w
        }));
    }
    out
}
