// SPDX-License-Identifier: MPL-2.0

//! From positions in the audio to stream time.

use std::collections::VecDeque;

use crate::Position;

/// Breaks that are kept at most; the oldest go first. Only a stream that breaks off with every
/// buffer gets there, and then the times of words long past become those of the oldest kept.
const MAX_ANCHORS: usize = 16_384;

/// From here on the audio runs without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    pub position: Position,
    /// In ns.
    pub pts: u64,
}

/// Maps each position (sample) to its PTS in nanoseconds, exactly, through any number of
/// discontinuities.
///
/// Bounded by [`Timeline::forget_before`], and in any case.
#[derive(Debug, Default, Clone)]
pub struct Timeline {
    anchors: VecDeque<Anchor>,
}

impl Timeline {
    /// The sample at `position` has this `pts` (ns); what follows runs on from there.
    pub fn anchor(&mut self, position: Position, pts: u64) {
        while self.anchors.back().is_some_and(|a| a.position >= position) {
            self.anchors.pop_back();
        }
        if self.anchors.len() >= MAX_ANCHORS {
            self.anchors.pop_front();
        }
        self.anchors.push_back(Anchor { position, pts });
    }

    /// PTS in ns of the beginning of the sample at `position`; `None` before the first anchor.
    pub fn pts(&self, position: Position) -> Option<u64> {
        let after = self.anchors.partition_point(|a| a.position <= position);
        let a = self.anchors.get(after.checked_sub(1)?)?;
        a.pts.checked_add((position - a.position).ns())
    }

    /// PTS in ns of the end of the sample before `position`.
    ///
    /// Where a break lies exactly there, this is the time before the break: a word that ends
    /// with the last sample before a gap does not end after the gap.
    pub fn pts_end(&self, position: Position) -> Option<u64> {
        let before = self.anchors.partition_point(|a| a.position < position).checked_sub(1);
        match before.and_then(|before| self.anchors.get(before)) {
            Some(a) => a.pts.checked_add((position - a.position).ns()),
            None => self.pts(position),
        }
    }

    /// Positions before this one are not asked for any more.
    pub fn forget_before(&mut self, position: Position) {
        while self.anchors.get(1).is_some_and(|a| a.position <= position) {
            self.anchors.pop_front();
        }
    }

    /// Another stream begins at `position`: the times of what was before it say nothing of it.
    pub fn begin_at(&mut self, position: Position) {
        self.anchors.retain(|a| a.position >= position);
    }

    /// Breaks that are kept.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    #[test]
    fn runs_on_from_the_last_anchor() {
        let mut t = Timeline::default();
        assert_eq!(t.pts(pos(0)), None);
        t.anchor(pos(0), 1_000);
        t.anchor(pos(16_000), 5_000_000_000);
        assert_eq!(t.pts(pos(8_000)), Some(500_001_000));
        assert_eq!(t.pts(pos(16_000)), Some(5_000_000_000));
        assert_eq!(t.pts(pos(32_000)), Some(6_000_000_000));
        assert_eq!(t.pts_end(pos(16_000)), Some(1_000_001_000));
        assert_eq!(t.pts_end(pos(16_001)), Some(5_000_062_500));
    }

    #[test]
    fn no_drift_over_a_week() {
        let mut t = Timeline::default();
        t.anchor(pos(0), 0);
        let week = 7 * 24 * 3600;
        assert_eq!(t.pts(pos(week * crate::SAMPLE_RATE)), Some(week * 1_000_000_000));
    }

    #[test]
    fn forgets_all_but_what_is_needed() {
        let mut t = Timeline::default();
        for i in 0..1000 {
            t.anchor(pos(i * 100), i * 1_000_000_000);
            t.forget_before(pos(i * 100));
            assert!(t.len() <= 2);
        }
        assert_eq!(t.pts(pos(99_950)), Some(999_003_125_000));
    }

    #[test]
    fn what_was_before_says_nothing_of_another_stream() {
        let mut t = Timeline::default();
        t.anchor(pos(0), 0);
        t.begin_at(pos(100));
        assert_eq!((t.pts(pos(100)), t.pts_end(pos(100))), (None, None));
        t.anchor(pos(100), 7);
        t.begin_at(pos(100));
        assert_eq!((t.pts(pos(100)), t.pts_end(pos(100))), (Some(7), Some(7)));
    }

    #[test]
    fn a_later_anchor_at_the_same_place_wins() {
        let mut t = Timeline::default();
        t.anchor(pos(0), 0);
        t.anchor(pos(0), 7);
        assert_eq!((t.len(), t.pts(pos(0))), (1, Some(7)));
    }

    #[test]
    fn bounded_whatever_the_stream_does() {
        let mut t = Timeline::default();
        for i in 0..20_000 {
            t.anchor(pos(i), 7 * i);
        }
        assert_eq!(t.len(), MAX_ANCHORS);
        assert_eq!(t.pts(pos(19_999)), Some(7 * 19_999));
    }
}
