// SPDX-License-Identifier: MPL-2.0

//! What the server's cadences tell of words whose times are known: `docs/protocol.md`, offline.

use gstvllmrealtime::Position;
use gstvllmrealtime::transcript::align::Bounds;

use crate::score::Timed;

/// Samples in a frame of the frame-synchronous cadence.
pub const FRAME: u64 = 1280;
/// Samples in a segment of the segmented one.
pub const SEGMENT: u64 = 80_000;

/// Characters in a sub-word, about.
pub const SUBWORD: usize = 4;

/// Samples that a client has sent when delta `k` comes.
pub fn sent(k: u64) -> u64 {
    k * FRAME + DELAY
}

/// Samples behind which the first delta comes: seven frames and the model's look-ahead.
const DELAY: u64 = 9_000;

/// A small generator of numbers, the same each time.
pub struct Dice(pub u64);

impl Dice {
    /// Below 1.
    pub fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// When a word's text begins.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Index of the delta with its first text.
    pub first: u64,
    /// Index of its last text.
    pub last: u64,
    /// Whether the delta before the first was empty.
    pub own: bool,
    /// Whether that one may have waited for the text before it.
    pub waited: bool,
}

/// Deltas of words of a generation that begins at `start` (seconds), as the stand-in's `aligned`
/// voice speaks them; `jitter`: each mark comes a frame early, in time or a frame late.
pub fn marks(words: &[Timed], start: f64, jitter: bool, dice: &mut Dice) -> Vec<Mark> {
    let mut out: Vec<Mark> = Vec::new();
    let mut due = 0;
    for w in words {
        let frame = ((w.end - start) * 12.5).ceil().max(1.0) as u64;
        let early = if jitter { (dice.roll() * 3.0) as u64 } else { 1 };
        // Marks stay in order.
        due = (frame + early - 1).max(due).max(1);
        let free = out.last().map(|m| m.last + 1);
        let (first, own) = match free {
            // While the word before was still being told this one was heard: no mark of its own.
            Some(free) if due < free => (free, false),
            Some(free) => (due.max(free + 1), true),
            None => (due, true),
        };
        let subwords = w.word.chars().count().div_ceil(SUBWORD).max(1) as u64;
        let waited = own && free.is_some_and(|f| first == f + 1);
        out.push(Mark { first, last: first + subwords - 1, own, waited });
    }
    out
}

/// The bounds of a word from its mark, a frame wider for the jitter. Positions.
pub fn bounds(text: &str, mark: Mark, start: u64, before: u64) -> Bounds {
    let at = |k: u64| start + k * FRAME;
    let earliest = before.max(start);
    let (end_after, latest) = if mark.own {
        let back = if mark.waited { 3 } else { 2 };
        (at(mark.first.saturating_sub(back)), at(mark.first + 1))
    } else {
        (start, at(mark.first))
    };
    let [earliest, end_after, latest] =
        [earliest, end_after, latest.max(earliest + 16)].map(Position::new);
    Bounds { text: text.into(), earliest, end_after, latest }
}
