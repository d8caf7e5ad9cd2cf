// SPDX-License-Identifier: MPL-2.0

//! A generation on the server: what was sent of it, and what was heard.

use std::time::Duration;

use crate::SAMPLE_RATE;
use crate::transcript::clock::{self, Clock};
use crate::transcript::{SampleInGeneration, Timing, Usage};

/// A segmented server's burst of text is over when nothing has come for so long.
const BURST: Duration = Duration::from_millis(300);
/// More deltas than this beyond one for each 10 ms of audio are not speech.
const DELTAS_BEYOND: u64 = 1000;

/// How far a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes audio. Where it ends before its utterance does, and how.
    Running { until: Option<(u64, Ending)> },
    /// The final commit was sent, `done` is awaited.
    Finishing(Ending),
    /// What it says is of no interest; the next one may begin after `done`.
    Abandoned { until: Duration },
}

/// What comes behind a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Another utterance.
    Utterance,
    /// It is cut in the middle of speech: its last words are not taken, the next one says them.
    Overlap,
    /// There was a pause: the utterance goes on in the next one, from this position on.
    Pause { from: u64 },
    /// The audio has stopped. Where it goes on, the word at the cut is heard again whole.
    Stall,
}

/// A generation. Positions and lengths are in samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generation {
    phase: Phase,
    start: u64,
    /// Position of the next sample to send.
    at: u64,
    /// Position up to which audio was sent before this generation.
    sent_before: u64,
    /// Position up to which words were out before this generation, and it should not be cut.
    known_to: u64,
    sent: SampleInGeneration,
    deltas: u64,
    /// Whether the first of them, if there is one, was empty.
    begins_blank: bool,
    /// Deltas when a burst of text was last taken to be over.
    burst: u64,
    /// When the server last made progress, or was first asked to.
    progress: Duration,
    /// Whether an answer has been due since then.
    due: bool,
    /// Pauses were looked for up to here.
    no_pause_to: u64,
}

impl Generation {
    pub fn new(start: u64, sent_before: u64, known_to: u64, now: Duration) -> Generation {
        Generation {
            phase: Phase::Running { until: None },
            start,
            at: start,
            sent_before,
            known_to: known_to.max(start),
            sent: SampleInGeneration::START,
            deltas: 0,
            begins_blank: true,
            burst: 0,
            progress: now,
            due: false,
            no_pause_to: start,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether words come from it.
    pub fn is_wanted(&self) -> bool {
        !matches!(self.phase, Phase::Abandoned { .. })
    }

    /// Whether it is decided where it ends before its utterance does.
    pub fn is_cut(&self) -> bool {
        matches!(self.phase, Phase::Running { until: Some(_) })
    }

    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Position of its first sample.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Position behind what was sent.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Samples sent, padding left out.
    pub fn length(&self) -> u64 {
        self.at - self.start
    }

    /// Up to here it was sent.
    pub fn sent(&self) -> SampleInGeneration {
        self.sent
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.sent == SampleInGeneration::START
    }

    /// The position of a sample that was sent.
    pub fn position(&self, sample: SampleInGeneration) -> u64 {
        sample.min(self.sent).position(crate::Position::new(self.start)).samples()
    }

    /// Samples from its start on that were sent before it.
    pub fn again(&self) -> u64 {
        self.sent_before.saturating_sub(self.start)
    }

    /// Samples at its start whose words were out before it.
    pub fn known(&self) -> u64 {
        self.known_to - self.start
    }

    /// Samples sent whose words were not out before.
    pub fn tried(&self) -> u64 {
        self.at.saturating_sub(self.known_to)
    }

    pub fn deltas(&self) -> u64 {
        self.deltas
    }

    /// Where no pause was looked for yet.
    pub fn unsearched(&self) -> u64 {
        self.at.max(self.no_pause_to)
    }

    /// There is no pause up to here.
    pub fn note_no_pause(&mut self, to: u64) {
        self.no_pause_to = to;
    }

    /// So many samples more were sent.
    pub fn append(&mut self, samples: u64) {
        self.at += samples;
        self.sent = self.sent + crate::Length::new(samples);
    }

    /// It is to end there, in the middle of its utterance.
    pub fn end_at(&mut self, at: u64, ending: Ending) {
        self.phase = Phase::Running { until: Some((at, ending)) };
    }

    /// Its final commit was sent, behind so much padding.
    pub fn finish(&mut self, ending: Ending, padding: u64, now: Duration) {
        self.phase = Phase::Finishing(ending);
        self.sent = self.sent + crate::Length::new(padding);
        self.set_due(true, now);
    }

    /// Nobody wants its words any more; it may take until then to end.
    pub fn abandon(&mut self, padding: u64, until: Duration) {
        self.phase = Phase::Abandoned { until };
        self.sent = self.sent + crate::Length::new(padding);
    }

    /// A delta came.
    pub fn delta(&mut self, text: &str, now: Duration) {
        self.deltas += 1;
        self.begins_blank &= self.deltas > 1 || text.is_empty();
        self.progress = now;
    }

    /// Notes since when the server, which has heard so much, owes an answer.
    pub fn note_due(&mut self, clock: &dyn Clock, heard: SampleInGeneration, now: Duration) {
        self.set_due(clock.is_due(self.sent, heard, self.deltas), now);
    }

    fn set_due(&mut self, due: bool, now: Duration) {
        if due && !self.due {
            self.progress = now;
        }
        self.due = due;
    }

    /// Since when the server has made no progress.
    pub fn progress(&self) -> Duration {
        self.progress
    }

    /// Since when an answer has been due.
    pub fn due_since(&self) -> Option<Duration> {
        self.due.then_some(self.progress)
    }

    /// When the burst of text under way is over, unless more of it comes.
    pub fn burst_over_at(&self) -> Option<Duration> {
        (self.deltas > self.burst).then(|| self.progress + BURST)
    }

    pub fn burst_over(&mut self) {
        self.burst = self.deltas;
    }

    /// Whether more deltas came than speech can have; what is said of that.
    pub fn overrun(&self) -> Option<String> {
        let sent = self.sent.samples();
        let too_many = self.deltas > DELTAS_BEYOND + sent / (SAMPLE_RATE / 100);
        too_many.then(|| format!("{} deltas for {sent} samples", self.deltas))
    }

    /// Whether the server was done before it knew of the final commit.
    pub fn ended_early(&self, timing: Timing, usage: Option<Usage>) -> bool {
        let counts = (self.sent, self.deltas);
        usage.is_some_and(|u| clock::ended_early(timing, counts, self.begins_blank, u))
    }
}
