// SPDX-License-Identifier: MPL-2.0

//! Words to begin and end, from the sound within the bounds that the clock gives.

use super::Timing;
use crate::speech::Sound;

/// What is known of a word's time before the sound is asked. Positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    pub text: String,
    /// The word begins no earlier than this.
    pub earliest: u64,
    /// The word ends after this, where the clock marks its end; else equal to `earliest`.
    pub end_after: u64,
    /// The word ends no later than this.
    pub latest: u64,
}

/// Where a word was placed. `begin < end`; positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    pub begin: u64,
    pub end: u64,
    /// How far the times can be trusted, 0 to 1.
    pub confidence: f32,
}

/// Places consecutive words in the sound: in order, without overlap, each within its bounds.
///
/// `language` is an ISO 639 code where known. In the frame-synchronous cadence words come one at
/// a time (or a few that share a mark), in the others all words of a segment or an utterance.
pub fn place(
    sound: &Sound,
    timing: Timing,
    language: Option<&str>,
    words: &[Bounds],
) -> Vec<Placed> {
    let _ = (sound, timing, language);
    // Shared by length until the sound is asked.
    words
        .iter()
        .map(|w| Placed { begin: w.earliest, end: w.latest.max(w.earliest + 1), confidence: 0.0 })
        .collect()
}
