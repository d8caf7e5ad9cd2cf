// SPDX-License-Identifier: MPL-2.0

//! Which audio is kept, and sent again after a failure.

use super::{Generation, Session, TAIL};
use crate::mechanism::Mechanism;

impl Session {
    /// Position from which the audio is kept, and sent again were the generation lost now: no word
    /// that is not out begins before it. That is what the clock tells, or where the server fell
    /// into a rut; and the last of it is kept until `done`, so that there is something to ask for:
    /// or nobody would tell that the utterance is over.
    pub(super) fn keep_from(&self, g: &Generation) -> u64 {
        let tail = if Mechanism::EndKept.is_on() { TAIL } else { 0 };
        self.words_from(g).min(g.at().saturating_sub(tail)).max(g.start())
    }

    /// Position from which on there may be words that are not out.
    pub(super) fn words_from(&self, g: &Generation) -> u64 {
        let at = self.transcript.resume_at();
        self.ruts.resume_at().map_or(at, |rut| rut.min(at)).clamp(g.start(), g.at())
    }

    /// Lets go of the audio that is safe.
    pub(super) fn forget(&mut self) {
        if let Some(g) = self.wanted() {
            self.utterances.confirm(self.keep_from(&g));
        }
        self.utterances.skip(self.intake.unwanted_to(self.history.end()));
        let needed = self.utterances.front().map_or(self.utterances.settled(), |s| s.begin);
        self.history.forget_before(needed);
    }
}
