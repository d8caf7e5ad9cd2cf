// SPDX-License-Identifier: MPL-2.0

//! Times that the server tells by itself: the ends of pieces of text (vllm#50783).

use super::{ServerSegment, generation::SampleInGeneration, script::normalised, tags::Tags, words};
use crate::SAMPLE_RATE;

/// Pieces of a generation that are kept.
const KEPT: usize = 4096;

/// Bytes of their text that are kept.
const BYTES: usize = 256 * 1024;

/// The ends that the server told, by the letters of the generation's text before them.
#[derive(Debug, Clone, Default)]
pub struct ServerTimes {
    /// The letters up to the piece's end, and that.
    ends: Vec<(u64, SampleInGeneration)>,
    pieces: Vec<ServerSegment>,
    bytes: usize,
}

/// Letters that count: those that [`normalised`] keeps.
pub fn letters(word: &str) -> u64 {
    normalised(word).chars().count() as u64
}

impl ServerTimes {
    /// Takes what came with a delta (the new pieces, or all of them so far) or with `done`.
    pub fn add(&mut self, segments: &[ServerSegment]) {
        let same = self.pieces.iter().zip(segments).take_while(|(a, b)| a == b).count();
        // All so far, once more: what is new stands behind.
        let again = same > 0 && same == self.pieces.len().min(segments.len());
        for s in segments.iter().skip(if again { same } else { 0 }) {
            self.bytes = self.bytes.saturating_add(s.text.len());
            let room = self.pieces.len() < KEPT && self.bytes <= BYTES;
            if !room || !s.end.is_finite() || s.end < 0.0 {
                continue;
            }
            let end = SampleInGeneration::new((s.end * SAMPLE_RATE as f64) as u64);
            let (before, last) = self.ends.last().copied().unwrap_or_default();
            if end < last {
                continue;
            }
            let mut tags = Tags::default();
            let text: String = tags
                .push(&s.text)
                .into_iter()
                .filter_map(|i| match i {
                    super::tags::Item::Text(t) => Some(t),
                    super::tags::Item::Tag(_) => None,
                })
                .chain([tags.flush()])
                .collect();
            let n: u64 = words::words(&text).iter().map(|w| letters(&w.text)).sum();
            self.ends.push((before + n, end));
            self.pieces.push(s.clone());
        }
    }

    /// Between which places a word was spoken that has `before` letters before it.
    pub fn bounds(
        &self,
        before: u64,
        word: &str,
    ) -> (Option<SampleInGeneration>, Option<SampleInGeneration>) {
        if self.ends.is_empty() {
            return (None, None);
        }
        let to = before + letters(word);
        let earliest = self.ends.iter().rev().find(|(n, _)| *n <= before).map(|(_, end)| *end);
        let latest = self.ends.iter().find(|(n, _)| *n >= to).map(|(_, end)| *end);
        (earliest, latest)
    }
}
