// SPDX-License-Identifier: MPL-2.0

//! A generation on the server: what was sent of it, and what was heard.

use std::time::Duration;

use crate::transcript::clock::{self, Clock};
use crate::transcript::{SampleInGeneration, Timing, Usage};
use crate::{Length, Position};

/// A segmented server's burst of text is over when nothing has come for so long.
const BURST: Duration = Duration::from_millis(300);
/// More deltas than this beyond one for each 10 ms of audio are not speech.
const DELTAS_BEYOND: u64 = 1000;

/// How far a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes audio. Where it ends before its utterance does, and how.
    Running { until: Option<(Position, Ending)> },
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
    Pause { from: Position },
    /// The audio has stopped. Where it goes on, the word at the cut is heard again whole.
    Stall,
}

/// A generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generation {
    phase: Phase,
    start: Position,
    /// The next sample to send.
    at: Position,
    /// Position up to which audio was sent before this generation.
    sent_before: Position,
    /// Position up to which words were out before this generation, and it should not be cut.
    known_to: Position,
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
    no_pause_to: Position,
}

impl Generation {
    pub fn new(start: Position, sent_before: Position, known_to: Position, now: Duration) -> Self {
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

    /// Its first sample.
    pub fn start(&self) -> Position {
        self.start
    }

    /// Position behind what was sent.
    pub fn at(&self) -> Position {
        self.at
    }

    /// What was sent, padding left out.
    pub fn length(&self) -> Length {
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
    pub fn position(&self, sample: SampleInGeneration) -> Position {
        sample.min(self.sent).position(self.start)
    }

    /// What was sent before it, from its start on.
    pub fn again(&self) -> Length {
        self.sent_before - self.start
    }

    /// What had its words out before it, from its start on.
    pub fn known(&self) -> Length {
        self.known_to - self.start
    }

    /// What was sent and had its words not out before.
    pub fn tried(&self) -> Length {
        self.at - self.known_to
    }

    pub fn deltas(&self) -> u64 {
        self.deltas
    }

    /// Where no pause was looked for yet.
    pub fn unsearched(&self) -> Position {
        self.at.max(self.no_pause_to)
    }

    /// There is no pause up to here.
    pub fn note_no_pause(&mut self, to: Position) {
        self.no_pause_to = to;
    }

    /// So much more was sent.
    pub fn append(&mut self, length: Length) {
        self.at += length;
        self.sent += length;
    }

    /// It is to end there, in the middle of its utterance.
    pub fn end_at(&mut self, at: Position, ending: Ending) {
        self.phase = Phase::Running { until: Some((at, ending)) };
    }

    /// Its final commit was sent, behind so much padding.
    pub fn finish(&mut self, ending: Ending, padding: Length, now: Duration) {
        self.phase = Phase::Finishing(ending);
        self.sent += padding;
        self.set_due(true, now);
    }

    /// Nobody wants its words any more; it may take until then to end.
    pub fn abandon(&mut self, padding: Length, until: Duration) {
        self.phase = Phase::Abandoned { until };
        self.sent += padding;
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
        let sent = self.sent.length();
        let too_many = self.deltas > DELTAS_BEYOND + sent / Length::of_ms(10);
        too_many.then(|| format!("{} deltas for {sent} samples", self.deltas))
    }

    /// Whether the server was done before it knew of the final commit.
    pub fn ended_early(&self, timing: Timing, usage: Option<Usage>) -> bool {
        let counts = (self.sent, self.deltas);
        usage.is_some_and(|u| clock::ended_early(timing, counts, self.begins_blank, u))
    }
}
