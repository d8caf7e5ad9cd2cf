// SPDX-License-Identifier: MPL-2.0

//! Buffers and gaps with their times to positions in the audio. Pure.

use crate::timeline::{duration, samples as samples_in};

/// Times that differ from what the samples before them say by less are jitter and move nothing.
pub const JITTER_NS: u64 = 40_000_000;

/// A difference below one sample is none.
const SAMPLE_NS: u64 = 62_500;

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// From this position on the audio has these times (PTS in ns). `jump`: the time broke off
    /// here.
    Anchor { position: u64, pts: u64, jump: bool },
    /// Audio for the session.
    Audio { position: u64, samples: Vec<i16> },
    /// So many samples of silence for the session: a gap too short to end an utterance.
    Silence { position: u64, samples: u64 },
    /// The utterance is over; what lay before `position` and was not given is silence.
    EndUtterance { position: u64 },
}

/// Counts positions and finds discontinuities.
#[derive(Debug)]
pub struct Intake {
    /// Position of the next sample; only grows.
    position: u64,
    /// Position and PTS from which the time runs on; none before the first audio of a segment.
    anchor: Option<(u64, u64)>,
    /// Samples of gap up to here without audio in between.
    gap: u64,
    /// Gap that ends an utterance.
    silence_commit: u64,
}

impl Intake {
    pub fn new(silence_commit: u64) -> Self {
        Intake { position: 0, anchor: None, gap: 0, silence_commit: silence_commit.max(1) }
    }

    /// Position of the next sample.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The time of what follows has nothing to do with what went before: new segment, FLUSH.
    pub fn restart(&mut self) {
        self.anchor = None;
        self.gap = 0;
    }

    /// A buffer. Without a `pts` it follows the one before it (`start` where there was none).
    pub fn audio(
        &mut self,
        pts: Option<u64>,
        start: u64,
        discont: bool,
        samples: Vec<i16>,
        steps: &mut Vec<Step>,
    ) {
        if samples.is_empty() {
            return;
        }
        match (pts, self.expected()) {
            (Some(pts), _) => self.align(pts, discont, steps),
            (None, None) => self.set_anchor(start, false, steps),
            (None, Some(_)) => {}
        }
        let position = self.position;
        self.position = position.saturating_add(samples.len() as u64);
        self.gap = 0;
        steps.push(Step::Audio { position, samples });
    }

    /// A stretch without sound, `length` ns from `pts` on.
    pub fn gap(&mut self, pts: Option<u64>, start: u64, length: u64, steps: &mut Vec<Step>) {
        let pts = pts.or_else(|| self.expected()).unwrap_or(start);
        let end = pts.saturating_add(length);
        let Some(expected) = self.expected() else {
            self.set_anchor(pts, false, steps);
            return self.silence(samples_in(length), steps);
        };
        if end.saturating_add(JITTER_NS) < expected && pts.saturating_add(JITTER_NS) < expected {
            // Wholly in the past: time went back.
            self.align(pts, false, steps);
            return self.silence(samples_in(length), steps);
        }
        self.silence(samples_in(end.saturating_sub(expected)), steps);
    }

    /// PTS that the next sample has if nothing breaks off.
    fn expected(&self) -> Option<u64> {
        let (position, pts) = self.anchor?;
        Some(pts.saturating_add(duration(self.position - position)))
    }

    fn set_anchor(&mut self, pts: u64, jump: bool, steps: &mut Vec<Step>) {
        self.anchor = Some((self.position, pts));
        steps.push(Step::Anchor { position: self.position, pts, jump });
    }

    /// Brings the position to where `pts` says.
    fn align(&mut self, pts: u64, discont: bool, steps: &mut Vec<Step>) {
        let Some(expected) = self.expected() else {
            return self.set_anchor(pts, false, steps);
        };
        let off = pts.abs_diff(expected);
        if off <= JITTER_NS {
            if discont && off >= SAMPLE_NS {
                self.set_anchor(pts, false, steps);
            }
        } else if pts > expected {
            self.silence(samples_in(off), steps);
            self.set_anchor(pts, true, steps);
        } else {
            steps.push(Step::EndUtterance { position: self.position });
            self.set_anchor(pts, true, steps);
        }
    }

    /// So many samples that nobody gave.
    fn silence(&mut self, samples: u64, steps: &mut Vec<Step>) {
        if samples == 0 {
            return;
        }
        let position = self.position;
        self.position = position.saturating_add(samples);
        self.gap = self.gap.saturating_add(samples);
        steps.push(if self.gap >= self.silence_commit {
            Step::EndUtterance { position: self.position }
        } else {
            Step::Silence { position, samples }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// An intake with 100 ms of audio from 1 s on, and its steps forgotten.
    fn started() -> Intake {
        let mut i = Intake::new(800 * 16);
        let mut steps = Vec::new();
        i.audio(Some(1000 * MS), 0, true, vec![1; 1600], &mut steps);
        assert_eq!(steps[0], Step::Anchor { position: 0, pts: 1000 * MS, jump: false });
        assert_eq!(steps[1], Step::Audio { position: 0, samples: vec![1; 1600] });
        i
    }

    fn audio(i: &mut Intake, pts_ms: u64, discont: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        i.audio(Some(pts_ms * MS), 0, discont, vec![1; 1600], &mut steps);
        steps
    }

    #[test]
    fn jitter_moves_nothing() {
        let mut i = started();
        assert_eq!(audio(&mut i, 1139, false).len(), 1);
        assert_eq!(audio(&mut i, 1161, false).len(), 1);
        assert_eq!(i.expected(), Some(1300 * MS));
    }

    #[test]
    fn a_discont_within_the_jitter_is_taken_at_its_word() {
        let mut i = started();
        let steps = audio(&mut i, 1110, true);
        assert_eq!(steps[0], Step::Anchor { position: 1600, pts: 1110 * MS, jump: false });
        assert_eq!(steps.len(), 2);
        assert_eq!(audio(&mut i, 1210, true).len(), 1, "exactly in time: no anchor");
    }

    #[test]
    fn a_short_jump_is_filled() {
        let mut i = started();
        let steps = audio(&mut i, 1200, false);
        assert_eq!(steps[0], Step::Silence { position: 1600, samples: 1600 });
        assert_eq!(steps[1], Step::Anchor { position: 3200, pts: 1200 * MS, jump: true });
        assert_eq!(steps[2], Step::Audio { position: 3200, samples: vec![1; 1600] });
    }

    #[test]
    fn a_long_jump_ends_the_utterance() {
        let mut i = started();
        let steps = audio(&mut i, 11_100, false);
        assert_eq!(steps[0], Step::EndUtterance { position: 161_600 });
        assert_eq!(steps[1], Step::Anchor { position: 161_600, pts: 11_100 * MS, jump: true });
    }

    #[test]
    fn a_jump_back_ends_the_utterance_and_anchors_anew() {
        let mut i = started();
        let steps = audio(&mut i, 500, false);
        assert_eq!(steps[0], Step::EndUtterance { position: 1600 });
        assert_eq!(steps[1], Step::Anchor { position: 1600, pts: 500 * MS, jump: true });
        assert_eq!(i.expected(), Some(600 * MS));
    }

    #[test]
    fn short_gaps_are_sent_until_they_add_up() {
        let mut i = started();
        let mut steps = Vec::new();
        for n in 0..10 {
            i.gap(Some((1100 + 100 * n) * MS), 0, 100 * MS, &mut steps);
        }
        let silence = steps.iter().filter(|s| matches!(s, Step::Silence { samples: 1600, .. }));
        assert_eq!(silence.count(), 7);
        assert_eq!(steps[7], Step::EndUtterance { position: 1600 * 9 });
        assert_eq!(steps[9], Step::EndUtterance { position: 1600 * 11 });
        assert_eq!(audio(&mut i, 2100, false).len(), 1, "the time ran on");
        let mut steps = Vec::new();
        i.gap(None, 0, 100 * MS, &mut steps);
        assert_eq!(steps, [Step::Silence { position: 1600 * 12, samples: 1600 }]);
    }

    #[test]
    fn a_gap_at_the_beginning_anchors() {
        let mut i = Intake::new(800);
        let mut steps = Vec::new();
        i.gap(Some(5 * MS), 0, 1000 * MS, &mut steps);
        assert_eq!(steps[0], Step::Anchor { position: 0, pts: 5 * MS, jump: false });
        assert_eq!(steps[1], Step::EndUtterance { position: 16_000 });
        assert_eq!(audio(&mut i, 1005, false).len(), 1);
    }

    #[test]
    fn a_gap_that_repeats_the_past_does_nothing() {
        let mut i = started();
        let mut steps = Vec::new();
        i.gap(Some(1000 * MS), 0, 90 * MS, &mut steps);
        assert_eq!(steps, []);
        i.gap(Some(1000 * MS), 0, 200 * MS, &mut steps);
        assert_eq!(steps, [Step::Silence { position: 1600, samples: 1600 }]);
    }

    #[test]
    fn without_times_the_audio_follows_on() {
        let mut i = Intake::new(800);
        let mut steps = Vec::new();
        i.audio(None, 7, false, vec![0; 16], &mut steps);
        i.audio(None, 7, true, vec![0; 16], &mut steps);
        assert_eq!(steps[0], Step::Anchor { position: 0, pts: 7, jump: false });
        assert_eq!(steps.len(), 3);
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let mut i = started();
        for pts in [u64::MAX - 1, 0, u64::MAX / 2, 3] {
            let mut steps = Vec::new();
            i.audio(Some(pts), 0, false, vec![0; 16], &mut steps);
            i.gap(Some(pts), 0, u64::MAX - 1, &mut steps);
        }
    }
}
