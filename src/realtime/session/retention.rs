// SPDX-License-Identifier: MPL-2.0

//! What comes out: words, the horizon, drains; and which audio is let go of for that.

use super::super::Output;
use super::{BEFORE_RUT, Generation, Run, Session};
use crate::SAMPLE_RATE;
use crate::mechanism::Mechanism;
use crate::transcript;

impl Session {
    /// Words, horizon and drains come out.
    pub(super) fn collect(&mut self) {
        while let Some(output) = self.transcript.poll() {
            match &output {
                transcript::Output::Word(_) => self.stats.words += 1,
                transcript::Output::Utterance(_) => self.stats.utterances += 1,
                transcript::Output::ClockFellBack { from, to, why } => {
                    self.outputs.push_back(Output::Warning(format!(
                        "Word times are less exact from here on: {why} (property timing: {from:?} fell back to {to:?})."
                    )));
                }
                _ => {}
            }
            self.outputs.push_back(Output::Transcript(output));
        }
        let horizon = match (self.generation, self.utterances.front()) {
            (Generation::Running(run) | Generation::Finishing(run), _) => {
                self.transcript.horizon().min(run.words_may_come_from())
            }
            (_, Some(_)) if self.is_all_said() => self.transcript.horizon(),
            (_, Some(front)) => front.begin,
            (_, None) => self.unwanted_to(),
        };
        if horizon > self.horizon {
            self.horizon = horizon;
            self.outputs.push_back(Output::Horizon(horizon));
        }
        while self.drains.front().is_some_and(|d| self.utterances.is_over(d.0)) {
            if let Some((_, number)) = self.drains.pop_front() {
                self.outputs.push_back(Output::Drained(number));
                self.finishing = self.finishing.filter(|_| !self.drains.is_empty());
            }
        }
    }

    /// Position before which audio outside of utterances is not wanted.
    fn unwanted_to(&self) -> u64 {
        let end = self.history.end();
        self.activity.as_ref().map_or(end, |a| a.settled().max(self.broken_off).min(end))
    }

    /// Where a new generation would have to begin, were this one lost now.
    pub(super) fn resume_at(&self, run: &Run) -> u64 {
        let rut = run.words_may_come_from().saturating_sub(BEFORE_RUT);
        self.transcript.resume_at().min(rut).clamp(run.start, run.at)
    }

    /// Lets go of the audio that is safe.
    pub(super) fn forget(&mut self) {
        if let Generation::Running(run) | Generation::Finishing(run) = self.generation {
            let safe = self.resume_at(&run);
            // The end of the utterance is kept until it is done, so that it can be asked again.
            let end = if Mechanism::EndKept.is_on() { SAMPLE_RATE / 10 } else { 0 };
            self.utterances.confirm(safe.min(run.at.saturating_sub(end)).max(run.start));
        }
        self.utterances.skip(self.unwanted_to());
        let needed = self.utterances.front().map_or(self.utterances.settled(), |s| s.begin);
        self.history.forget_before(needed);
    }
}
