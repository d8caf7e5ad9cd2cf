// SPDX-License-Identifier: MPL-2.0

//! What comes out: words, the horizon, drains; and which audio is let go of for that.

use super::super::Output;
use super::{Run, Session, TAIL};
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
                    self.outputs.push(Output::Warning(format!(
                        "Word times are less exact from here on: {why} (property timing: {from:?} fell back to {to:?})."
                    )));
                }
                _ => {}
            }
            self.outputs.push(Output::Transcript(output));
        }
        let said = self.transcript.horizon();
        self.outputs.move_horizon(match self.utterances.front() {
            _ if self.wanted().is_some() => self.ruts.words_from().map_or(said, |at| at.min(said)),
            Some(_) if self.is_all_said() => said,
            Some(front) => front.begin,
            None => self.intake.unwanted_to(self.history.end()),
        });
        self.outputs.answer_drains(|position| self.utterances.is_over(position));
    }

    /// Where a new generation would have to begin, were this one lost now.
    pub(super) fn resume_at(&self, run: &Run) -> u64 {
        let at = self.transcript.resume_at();
        self.ruts.resume_at().map_or(at, |rut| rut.min(at)).clamp(run.start(), run.at())
    }

    /// Lets go of the audio that is safe.
    pub(super) fn forget(&mut self) {
        if let Some(run) = self.wanted() {
            // The end of the utterance is kept until it is done, so that it can be asked again.
            let tail = if Mechanism::EndKept.is_on() { TAIL } else { 0 };
            let safe = self.resume_at(&run).min(run.at().saturating_sub(tail));
            self.utterances.confirm(safe.max(run.start()));
        }
        self.utterances.skip(self.intake.unwanted_to(self.history.end()));
        let needed = self.utterances.front().map_or(self.utterances.settled(), |s| s.begin);
        self.history.forget_before(needed);
    }
}
