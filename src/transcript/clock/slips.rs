// SPDX-License-Identifier: MPL-2.0

//! How far the count of deltas is off the frames, as a server that merges deltas makes it.
//!
//! The audio that was sent when a delta came bounds its frame from above. Where the server is not
//! behind, that bound is the frame, but for what the way and the work usually take; so the least
//! of the recent bounds tells the offset, as clocks are disciplined by the least delay.

use std::collections::VecDeque;

use crate::transcript::generation::SampleInGeneration;

/// Sends over which the least bound must stand still before the count is moved by it: 0.8 s where it
/// rose in one delta ...
const WINDOW: usize = 10;

/// ... and 2.6 s where it rose bit by bit: in less, a server that is a little too slow looks the
/// same.
const LONG_WINDOW: usize = 32;

/// Frames that the bound may be above the count before the place counts as uncertain.
const JITTER: i64 = 2;

/// Frames that the bound may be above the frame, on the way and at work, where a server is in time.
const IN_TIME: i64 = 12;

/// Frames that a stall can merge: beyond it the server is behind, after an outage.
const MOST: i64 = 50;

/// Spare deltas that any generation may have, and of how many deltas one more.
const SPARE: u64 = 8;
const SPARE_EACH: u64 = 8;

/// Which delta of its generation, from 0 on: the frame of the same number where none was merged and
/// none is spare.
#[derive(Debug, Clone, Copy)]
pub struct DeltaIndex(pub u64);

/// Follows the offset of one generation's deltas; what is usual is kept for the next.
#[derive(Debug, Clone, Default)]
pub struct Slips {
    live: bool,
    /// Frames that the newest delta is ahead of its index (merged) or behind (spare).
    shift: i64,
    /// Frames that the bound is above the frame where the server is not behind.
    usual: Option<i64>,
    /// The server has worked through what had waited for it: from then on its deltas come in time.
    in_time: bool,
    /// The least of each of the last sends: frames that the bound is above the index.
    recent: VecDeque<i64>,
    /// What was sent when the last delta came, and the bound that it had.
    sent: SampleInGeneration,
    bound: i64,
    /// Frames that the bound rose by in single deltas, as it does where others were merged into
    /// them; a server that is too slow lets it rise bit by bit.
    jumped: i64,
    /// Spare deltas so far.
    spare: u64,
    frame: u64,
    more: u64,
}

impl Slips {
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    pub fn begin(&mut self) {
        *self = Slips { live: self.live, usual: self.usual, ..Slips::default() };
    }

    pub fn forget(&mut self) {
        self.usual = None;
    }

    /// See [`super::detect::Detector::frame`].
    pub fn frame(&self) -> (u64, u64) {
        (self.frame, self.more)
    }

    /// This delta came when the audio of so many frames was there. `last`: that is all of it.
    pub fn delta(
        &mut self,
        DeltaIndex(k): DeltaIndex,
        there: u64,
        sent: SampleInGeneration,
        last: bool,
    ) {
        let k = i64::try_from(k).unwrap_or(i64::MAX);
        let newest = i64::try_from(there).unwrap_or(i64::MAX).saturating_sub(1);
        let bound = newest.saturating_sub(k);
        if bound < self.shift {
            // No frame comes before its audio: a spare delta.
            self.spare = self.spare.saturating_add(1);
            self.shift = bound;
            self.recent.clear();
        }
        let mut more = 0;
        if !last && self.live {
            let lag = bound - self.shift;
            let usual = *self.usual.get_or_insert(lag);
            self.usual = Some(usual.min(lag));
            if lag < usual + JITTER {
                self.in_time |= usual <= IN_TIME;
                self.jumped = 0;
            } else if bound - self.bound >= JITTER {
                self.jumped += bound - self.bound;
            }
            if self.in_time {
                self.follow(bound, sent);
                let above = bound - self.shift - usual;
                more = if (JITTER..=MOST).contains(&above) { above } else { 0 };
            }
        }
        (self.sent, self.bound) = (sent, bound);
        self.frame = self.frame.max(u64::try_from(k.saturating_add(self.shift)).unwrap_or(0));
        self.more = u64::try_from(more).unwrap_or(0);
    }

    /// Moves the count where the recent bounds agree that it is too low.
    fn follow(&mut self, bound: i64, sent: SampleInGeneration) {
        match self.recent.back_mut() {
            // Of what came at one time the last counts.
            Some(least) if sent == self.sent => *least = bound.min(*least),
            _ => {
                // The one before this is complete.
                let level = self.usual.unwrap_or(0) + self.shift;
                let above = |least: i64| Some(least - level).filter(|n| (1..=MOST).contains(n));
                let sudden = self.still(WINDOW).and_then(above);
                let sudden = sudden.filter(|n| n.abs_diff(self.jumped) <= 1);
                if let Some(n) = sudden.or_else(|| self.still(LONG_WINDOW).and_then(above)) {
                    self.shift += n;
                    self.jumped = 0;
                    self.recent.clear();
                }
                self.recent.push_back(bound);
                if self.recent.len() > LONG_WINDOW {
                    self.recent.pop_front();
                }
            }
        }
    }

    /// The least bound of the last `window` sends, if it is that of each half: one that falls is
    /// that of a server which catches up, one that rises that of a server which falls behind.
    fn still(&self, window: usize) -> Option<i64> {
        let from = self.recent.len().checked_sub(window)?;
        let least = |from: usize| self.recent.iter().skip(from).take(window / 2).min().copied();
        least(from).filter(|a| Some(*a) == least(from + window / 2))
    }

    /// Whether the deltas up to this one can still be those of frames.
    pub fn fit(&self, DeltaIndex(k): DeltaIndex) -> bool {
        self.spare <= SPARE + k / SPARE_EACH
    }

    /// Whether so many deltas may be those of so many frames, some merged, some spare.
    pub fn fits(deltas: u64, due: u64) -> bool {
        deltas <= due + SPARE + due / SPARE_EACH && deltas >= due / 2
    }
}
