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

    /// Position from which the audio is kept, and sent again were the generation lost now: no word
    /// that is not out begins before it. That is what the clock tells, or where the server fell
    /// into a rut; and the last of it is kept until `done`, so that there is something to ask for:
    /// or nobody would tell that the utterance is over.
    pub(super) fn keep_from(&self, run: &Run) -> u64 {
        let tail = if Mechanism::EndKept.is_on() { TAIL } else { 0 };
        self.words_from(run).min(run.at().saturating_sub(tail)).max(run.start())
    }

    /// Position from which on there may be words that are not out.
    pub(super) fn words_from(&self, run: &Run) -> u64 {
        let at = self.transcript.resume_at();
        self.ruts.resume_at().map_or(at, |rut| rut.min(at)).clamp(run.start(), run.at())
    }

    /// Lets go of the audio that is safe.
    pub(super) fn forget(&mut self) {
        if let Some(run) = self.wanted() {
            self.utterances.confirm(self.keep_from(&run));
        }
        self.utterances.skip(self.intake.unwanted_to(self.history.end()));
        let needed = self.utterances.front().map_or(self.utterances.settled(), |s| s.begin);
        self.history.forget_before(needed);
    }
}
