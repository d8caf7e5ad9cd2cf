// SPDX-License-Identifier: MPL-2.0

//! Buffers and gaps with their times to positions in the audio.

use super::drift::Drift;
use crate::{Length, Position, timeline::Anchor};

/// PTS that differ from what the samples before them say by less are jitter and move nothing.
pub const JITTER: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// For so long a PTS has to be off by more than [`JITTER`] before it is believed.
const DISCONT_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// A step of the time by less (ns) sets the times anew, and that is all: no silence, no end of the
/// utterance.
const STEP_NS: u64 = 500_000_000;

/// Times of a stream beyond this (ns, 146 years) are not compared with each other.
const TIMES_NS: u64 = u64::MAX / 4;

/// So many breaks of the time ...
const BREAKS: usize = 5;
/// ... within so much audio are a fault of the source that the user is told of.
const BREAKS_WITHIN: Length = Length::of_s(10);

/// A difference below one sample is none.
const SAMPLE_NS: u64 = 62_500;

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// From this position on the audio has these times (PTS in ns). `jump`: the time broke off
    /// here.
    Anchor { position: Position, pts: u64, jump: bool },
    /// Audio for the session.
    Audio { position: Position, samples: Vec<i16> },
    /// So much silence for the session: a gap too short to end an utterance.
    Silence { position: Position, length: Length },
    /// The utterance is over; what lay before `position` and was not given is silence.
    EndUtterance { position: Position },
    /// The time breaks off again and again: the user is to be told. Comes once.
    Unsteady,
}

/// PTS that have been off, all to the same side, from this position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Off {
    since: Position,
    /// How much, and by how many ns it is off, weighted by its samples.
    length: Length,
    sum: i128,
}

impl Off {
    /// By how many ns they are off.
    fn mean(&self) -> i64 {
        i64::try_from(self.sum / i128::from(self.length.samples().max(1))).unwrap_or(i64::MAX)
    }
}

/// Counts positions and finds discontinuities.
#[derive(Debug)]
pub struct Resync {
    /// Position of the next sample; only grows.
    position: Position,
    /// None before the first audio of a segment.
    anchor: Option<Anchor>,
    /// GStreamer's own rule of when a PTS is believed.
    align: gst_audio::AudioStreamAlign,
    drift: Drift,
    off: Option<Off>,
    /// Where the time broke off lately; `None` once the user was told.
    breaks: Option<Vec<Position>>,
    /// Gap up to here without audio in between.
    gap: Length,
    /// Gap that ends an utterance.
    silence_commit: Length,
    /// Until they are given out.
    steps: Vec<Step>,
}

impl Default for Resync {
    fn default() -> Self {
        Resync::new(Length::new(1))
    }
}

impl Resync {
    pub fn new(silence_commit: Length) -> Self {
        Resync {
            position: Position::START,
            anchor: None,
            align: gst_audio::AudioStreamAlign::new(
                crate::SAMPLE_RATE as i32,
                JITTER,
                DISCONT_WAIT,
            ),
            drift: Drift::default(),
            off: None,
            breaks: Some(Vec::new()),
            gap: Length::ZERO,
            silence_commit,
            steps: Vec::new(),
        }
    }

    /// Position of the next sample.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The time of what follows has nothing to do with what went before: new segment, FLUSH.
    pub fn restart(&mut self) {
        self.anchor = None;
        self.gap = Length::ZERO;
    }

    /// A buffer. Without a `pts` it follows the one before it (`start` where there was none).
    /// `discont`: the source says that the time broke off here.
    pub fn audio(
        &mut self,
        pts: Option<u64>,
        start: u64,
        discont: bool,
        samples: Vec<i16>,
    ) -> Vec<Step> {
        if samples.is_empty() {
            return Vec::new();
        }
        let length = Length::of(&samples);
        match (pts, self.expected()) {
            (Some(pts), Some(expected)) if discont || pts.max(expected) > TIMES_NS => {
                self.step_to(pts, expected);
                self.trust(length);
            }
            (Some(pts), Some(expected)) => self.align(pts, expected, length),
            (pts, None) => {
                self.set_anchor(self.position, pts.unwrap_or(start), false);
                self.trust(length);
            }
            (None, Some(_)) => self.trust(length),
        }
        let position = self.position;
        self.position += length;
        self.gap = Length::ZERO;
        self.steps.push(Step::Audio { position, samples });
        std::mem::take(&mut self.steps)
    }

    /// A stretch without sound, `length` ns from `pts` on.
    pub fn gap(&mut self, pts: Option<u64>, start: u64, length: u64) -> Vec<Step> {
        let pts = pts.or_else(|| self.expected()).unwrap_or(start);
        let end = pts.saturating_add(length);
        let silent = match self.expected() {
            None => {
                self.set_anchor(self.position, pts, false);
                length
            }
            // Wholly in the past: time went back.
            Some(expected) if end.saturating_add(STEP_NS) < expected => {
                self.step_to(pts, expected);
                length
            }
            Some(expected) => end.saturating_sub(expected),
        };
        self.silence(Length::of_ns(silent));
        std::mem::take(&mut self.steps)
    }

    /// PTS that the next sample has if nothing breaks off.
    fn expected(&self) -> Option<u64> {
        let anchor = self.anchor?;
        Some(anchor.pts.saturating_add((self.position - anchor.position).ns()))
    }

    fn set_anchor(&mut self, position: Position, pts: u64, jump: bool) {
        self.anchor = Some(Anchor { position, pts });
        self.drift = Drift::default();
        self.off = None;
        self.steps.push(Step::Anchor { position, pts, jump });
    }

    /// What comes next is where it is expected, whatever the rule has seen before.
    fn trust(&mut self, length: Length) {
        if let Some(expected) = self.expected().filter(|e| *e <= TIMES_NS) {
            self.process(true, expected, length);
        }
    }

    /// GStreamer's rule. Whether it takes this PTS for the beginning of something new.
    fn process(&mut self, discont: bool, pts: u64, length: Length) -> bool {
        let samples = u32::try_from(length.samples()).unwrap_or(u32::MAX);
        self.align.process(discont, gst::ClockTime::from_nseconds(pts), samples).0
    }

    /// A step that the source itself tells of: at once.
    fn step_to(&mut self, pts: u64, expected: u64) {
        let off = pts.abs_diff(expected);
        if off < SAMPLE_NS {
            return;
        }
        if off >= STEP_NS {
            if pts > expected {
                self.silence(Length::of_ns(off));
            } else {
                self.steps.push(Step::EndUtterance { position: self.position });
            }
        }
        let jump = off > JITTER.nseconds();
        self.set_anchor(self.position, pts, jump);
        if jump && (pts < expected || off < STEP_NS) {
            self.note_break();
        }
    }

    /// A PTS that nobody says is a new beginning: it is believed once it has been off for long
    /// enough, to the same side. Clocks that run apart are followed by what their PTS have in
    /// common.
    fn align(&mut self, pts: u64, expected: u64, length: Length) {
        let off = signed(pts, expected);
        self.off = match self.off {
            _ if off.unsigned_abs() <= JITTER.nseconds() => None,
            Some(o) if (o.sum < 0) == (off < 0) => Some(o),
            _ => Some(Off { since: self.position, length: Length::ZERO, sum: 0 }),
        };
        if let Some(o) = &mut self.off {
            o.length += length;
            o.sum = o.sum.saturating_add(i128::from(off) * i128::from(length.samples()));
        }
        let drifted = self.drift.push(off, length);
        if self.process(false, pts, length) {
            let waited = Length::of_ns(DISCONT_WAIT.nseconds() / 10 * 9);
            let off = self.off.filter(|o| self.position - o.since >= waited);
            let step = off.map_or(0, |o| o.mean().saturating_sub(self.drift.usual()));
            match off.filter(|_| step.unsigned_abs() > JITTER.nseconds()) {
                Some(off) => self.accept(off.since, step, expected),
                // To and fro, or as ever: that is jitter, however large.
                None => self.trust(length),
            }
        } else if let Some(by) = drifted {
            self.follow(by, expected);
            self.trust(length);
        }
    }

    /// The time broke off where the PTS began to be off, by so many ns.
    fn accept(&mut self, since: Position, step: i64, expected: u64) {
        if step.unsigned_abs() >= STEP_NS {
            // The samples since then were heard as what goes on.
            self.steps.push(Step::EndUtterance { position: self.position });
        }
        let then = expected.saturating_sub((self.position - since).ns());
        self.set_anchor(since, then.saturating_add_signed(step), true);
        self.note_break();
    }

    /// The PTS have drifted by so many ns: from here on the times do, too.
    fn follow(&mut self, by: i64, expected: u64) {
        let pts = expected.saturating_add_signed(by);
        self.anchor = Some(Anchor { position: self.position, pts });
        self.off = None;
        self.steps.push(Step::Anchor { position: self.position, pts, jump: false });
    }

    fn note_break(&mut self) {
        let position = self.position;
        let Some(breaks) = &mut self.breaks else { return };
        breaks.retain(|b| *b + BREAKS_WITHIN > position);
        breaks.push(position);
        if breaks.len() >= BREAKS {
            self.breaks = None;
            self.steps.push(Step::Unsteady);
        }
    }

    /// Samples that nobody gave.
    fn silence(&mut self, length: Length) {
        if length == Length::ZERO {
            return;
        }
        let position = self.position;
        self.position += length;
        self.gap += length;
        // The rule knows nothing of gaps.
        self.trust(Length::ZERO);
        self.steps.push(if self.gap >= self.silence_commit {
            Step::EndUtterance { position: self.position }
        } else {
            Step::Silence { position, length }
        });
    }
}

/// How much later `a` is than `b`.
fn signed(a: u64, b: u64) -> i64 {
    let off = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { off } else { -off }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{len, pos};

    const MS: u64 = 1_000_000;

    fn intake(silence_commit: u64) -> Resync {
        gst::init().unwrap();
        Resync::new(len(silence_commit))
    }

    /// An intake with 100 ms of audio from 1 s on, and its steps forgotten.
    fn started() -> Resync {
        let mut i = intake(800 * 16);
        let steps = i.audio(Some(1000 * MS), 0, true, vec![1; 1600]);
        let position = pos(0);
        assert_eq!(steps[0], Step::Anchor { position, pts: 1000 * MS, jump: false });
        assert_eq!(steps[1], Step::Audio { position, samples: vec![1; 1600] });
        i
    }

    fn audio(i: &mut Resync, pts_ms: u64, discont: bool) -> Vec<Step> {
        i.audio(Some(pts_ms * MS), 0, discont, vec![1; 1600])
    }

    #[test]
    fn jitter_moves_nothing() {
        let mut i = started();
        assert_eq!(audio(&mut i, 1139, false).len(), 1);
        assert_eq!(audio(&mut i, 1161, false).len(), 1);
        assert_eq!(i.expected(), Some(1300 * MS));
    }

    /// What lasts for a second is no jitter, beyond 40 ms and not below.
    #[test]
    fn the_threshold_and_the_wait_are_those_of_gstreamer() {
        for (by, steps) in [(39, 0), (41, 1), (-39, 0), (-41, 1)] {
            let mut i = started();
            assert_eq!(unmarked(&mut i, 30, |_| by).len(), steps, "{by}");
        }
        for (lasts, steps) in [(9, 0), (12, 1)] {
            let mut i = started();
            let off = |n: i64| if (10..10 + lasts).contains(&n) { 200 } else { 0 };
            assert_eq!(unmarked(&mut i, 10 + lasts, off).len(), steps, "{lasts}");
        }
    }

    #[test]
    fn a_discont_within_the_jitter_is_taken_at_its_word() {
        let mut i = started();
        let steps = audio(&mut i, 1110, true);
        assert_eq!(steps[0], Step::Anchor { position: pos(1600), pts: 1110 * MS, jump: false });
        assert_eq!(steps.len(), 2);
        assert_eq!(audio(&mut i, 1210, true).len(), 1, "exactly in time: no anchor");
    }

    #[test]
    fn a_short_jump_sets_the_times_and_nothing_else() {
        for (to, from) in [(1200, 1100), (1599, 1100), (1000, 1100), (601, 1100)] {
            let mut i = started();
            let steps = audio(&mut i, to, true);
            assert_eq!(steps[0], Step::Anchor { position: pos(1600), pts: to * MS, jump: true });
            let audio = Step::Audio { position: pos(1600), samples: vec![1; 1600] };
            assert_eq!(steps[1], audio, "{from}");
        }
    }

    #[test]
    fn a_jump_of_half_a_second_is_filled() {
        let mut i = started();
        let steps = audio(&mut i, 1600, true);
        assert_eq!(steps[0], Step::Silence { position: pos(1600), length: len(8000) });
        assert_eq!(steps[1], Step::Anchor { position: pos(9600), pts: 1600 * MS, jump: true });
        assert_eq!(steps[2], Step::Audio { position: pos(9600), samples: vec![1; 1600] });
    }

    #[test]
    fn a_long_jump_ends_the_utterance() {
        let mut i = started();
        let steps = audio(&mut i, 11_100, true);
        assert_eq!(steps[0], Step::EndUtterance { position: pos(161_600) });
        assert_eq!(steps[1], Step::Anchor { position: pos(161_600), pts: 11_100 * MS, jump: true });
    }

    #[test]
    fn a_jump_back_ends_the_utterance_and_anchors_anew() {
        let mut i = started();
        let steps = audio(&mut i, 500, true);
        assert_eq!(steps[0], Step::EndUtterance { position: pos(1600) });
        assert_eq!(steps[1], Step::Anchor { position: pos(1600), pts: 500 * MS, jump: true });
        assert_eq!(i.expected(), Some(600 * MS));
    }

    /// The steps of buffers of 100 ms from 1.1 s on, each off by what `off` says in ms.
    fn unmarked(i: &mut Resync, count: i64, off: impl Fn(i64) -> i64) -> Vec<Step> {
        let all = (0..count).flat_map(|n| audio(i, (1100 + 100 * n + off(n)) as u64, false));
        all.filter(|s| !matches!(s, Step::Audio { .. })).collect()
    }

    #[test]
    fn an_unmarked_jump_is_believed_after_a_second() {
        for (by, ends) in [(300, false), (-300, false), (3000, true), (-900, true)] {
            let mut i = started();
            assert_eq!(unmarked(&mut i, 5, |_| 0), []);
            let pts = (1600 + by) as u64 * MS;
            let steps: Vec<Step> = (0..12)
                .flat_map(|n| audio(&mut i, (1600 + 100 * n + by) as u64, false))
                .filter(|s| !matches!(s, Step::Audio { .. }))
                .collect();
            // From where it was first seen.
            let anchor = Step::Anchor { position: pos(6 * 1600), pts, jump: true };
            assert_eq!(steps.last(), Some(&anchor), "{by}");
            assert_eq!(steps.len(), 1 + usize::from(ends), "{by}: {steps:?}");
            assert_eq!(matches!(steps[0], Step::EndUtterance { .. }), ends, "{by}");
        }
    }

    #[test]
    fn jitter_to_and_fro_moves_nothing() {
        for wide in [60, 120, 250] {
            let mut i = started();
            let steps = unmarked(&mut i, 600, |n| n * 7919 % (2 * wide + 1) - wide);
            let moved = i.expected().unwrap().abs_diff((1100 + 60_000) * MS);
            assert!(moved < 60 * MS, "{wide}: {moved}, {steps:?}");
            assert!(steps.iter().all(|s| matches!(s, Step::Anchor { .. })), "{wide}: {steps:?}");
        }
    }

    #[test]
    fn bunches_and_a_drifting_clock() {
        for drift in [-25, 25] {
            let mut i = started();
            // Bunches of 200 ms, all stamped with the time of their first sample.
            for n in 0..900 {
                let off = -(n % 2) * 100 + n * drift / 50;
                let steps = audio(&mut i, (1100 + 100 * n + off) as u64, false);
                let only_times = |s: &Step| matches!(s, Step::Anchor { .. } | Step::Audio { .. });
                assert!(steps.iter().all(only_times), "{steps:?}");
            }
            let truth = (1100 + 90_000 + 900 * drift / 50) as u64 * MS;
            let wrong = i.expected().unwrap().abs_diff(truth);
            assert!(wrong < 60 * MS, "{drift}: {wrong}");
        }
    }

    #[test]
    fn who_breaks_off_again_and_again_is_told_of_once() {
        let mut i = started();
        let steps: Vec<Step> =
            (0..100).flat_map(|n| audio(&mut i, 1100 + 100 * n + 200 * (n % 2), true)).collect();
        assert_eq!(steps.iter().filter(|s| **s == Step::Unsteady).count(), 1);
        assert!(!steps.iter().any(|s| matches!(s, Step::EndUtterance { .. })));
        // A source with pauses is well.
        let mut i = started();
        let steps: Vec<Step> =
            (0..100).flat_map(|n| audio(&mut i, 1100 + 2000 * n, true)).collect();
        assert!(!steps.contains(&Step::Unsteady));
    }

    #[test]
    fn short_gaps_are_sent_until_they_add_up() {
        let mut i = started();
        let mut steps = Vec::new();
        for n in 0..10 {
            steps.extend(i.gap(Some((1100 + 100 * n) * MS), 0, 100 * MS));
        }
        let silent = |s: &&Step| matches!(s, Step::Silence { length, .. } if *length == len(1600));
        let silence = steps.iter().filter(silent);
        assert_eq!(silence.count(), 7);
        assert_eq!(steps[7], Step::EndUtterance { position: pos(1600 * 9) });
        assert_eq!(steps[9], Step::EndUtterance { position: pos(1600 * 11) });
        assert_eq!(audio(&mut i, 2100, false).len(), 1, "the time ran on");
        let steps = i.gap(None, 0, 100 * MS);
        assert_eq!(steps, [Step::Silence { position: pos(1600 * 12), length: len(1600) }]);
    }

    #[test]
    fn a_gap_at_the_beginning_anchors() {
        let mut i = intake(800);
        let steps = i.gap(Some(5 * MS), 0, 1000 * MS);
        assert_eq!(steps[0], Step::Anchor { position: pos(0), pts: 5 * MS, jump: false });
        assert_eq!(steps[1], Step::EndUtterance { position: pos(16_000) });
        assert_eq!(audio(&mut i, 1005, false).len(), 1);
    }

    #[test]
    fn a_gap_that_repeats_the_past_does_nothing() {
        let mut i = started();
        assert_eq!(i.gap(Some(1000 * MS), 0, 90 * MS), []);
        let steps = i.gap(Some(1000 * MS), 0, 200 * MS);
        assert_eq!(steps, [Step::Silence { position: pos(1600), length: len(1600) }]);
    }

    #[test]
    fn without_times_the_audio_follows_on() {
        let mut i = intake(800);
        let mut steps = i.audio(None, 7, false, vec![0; 16]);
        steps.extend(i.audio(None, 7, true, vec![0; 16]));
        assert_eq!(steps[0], Step::Anchor { position: pos(0), pts: 7, jump: false });
        assert_eq!(steps.len(), 3);
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let mut i = started();
        for pts in [u64::MAX - 1, 0, u64::MAX / 2, 3] {
            i.audio(Some(pts), 0, false, vec![0; 16]);
            i.gap(Some(pts), 0, u64::MAX - 1);
        }
    }
}
