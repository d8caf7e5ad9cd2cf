// SPDX-License-Identifier: MPL-2.0

//! Which audio is kept, and sent again after a failure; and which is given up.

use super::super::Output;
use super::{Generation, Session, TAIL};
use crate::{Length, Position, mechanism::Mechanism};

impl Session {
    /// Position from which the audio is kept, and sent again were the generation lost now: no word
    /// that is not out begins before it. That is what the clock tells, or where the server fell
    /// into a rut; and the last of it is kept until `done`, so that there is something to ask for:
    /// or nobody would tell that the utterance is over.
    pub(super) fn keep_from(&self, g: &Generation) -> Position {
        let tail = if Mechanism::EndKept.is_on() { TAIL } else { Length::ZERO };
        self.words_from(g).min(g.at() - tail).max(g.start())
    }

    /// Position from which on there may be words that are not out.
    pub(super) fn words_from(&self, g: &Generation) -> Position {
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

    /// Gives up audio, and tells.
    pub(super) fn drop_audio(&mut self, from: Position, to: Position, reason: &str) {
        // What comes next may be another utterance.
        self.in_pause = false;
        for (begin, end) in self.utterances.give_up(from, to, self.wanted().is_some()) {
            self.history.forget(begin, end);
            self.outputs.push(Output::Dropped { begin, end, reason: reason.to_owned() });
        }
    }

    /// The backlog's bound for a live source: its oldest audio that was not sent yet is lost.
    pub(super) fn drop_beyond_bound(&mut self) {
        let most = Self::backlog_most(&self.config);
        // In steps, so that a long outage is not told sample by sample.
        let beyond = self.history.kept() - most;
        if beyond < Length::of_s(1).min(most / 4) {
            return;
        }
        if self.generation.is_none() {
            // What was kept to be heard again has its words.
            self.utterances.confirm(self.outputs.horizon());
        }
        let sent_to = self.wanted().map_or(Position::START, |g| g.at());
        let Some(from) = self.utterances.next_from(sent_to) else { return };
        let to = (from + beyond).min(self.history.end());
        if to > from {
            self.drop_audio(from, to, "the backlog is longer than property max-backlog");
        }
    }

    /// The backlog's bound for any other source, which waits: an utterance that cannot get on
    /// without more audio is cut. `false`: there is no need.
    pub(super) fn cut_at_bound(&mut self) -> bool {
        let Some(g) = self.generation.filter(Generation::is_running) else { return false };
        let full = self.history.kept() >= Self::backlog_most(&self.config);
        let waits = g.due_since().is_some() || self.first_text_awaited_until(&g).is_some();
        if !full || waits || self.utterances.front().is_none_or(|front| front.end.is_some()) {
            return false;
        }
        let (at, end) = (g.at(), self.history.end());
        let at = self.transcript.sound().quietest(at, end).clamp(at, end);
        self.utterances.split_front(at);
        true
    }
}
