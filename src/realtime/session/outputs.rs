// SPDX-License-Identifier: MPL-2.0

//! What comes out, in order: words and reports, the horizon, the answers to drains and flushes.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::Output;
use super::Session;
use crate::{Position, transcript};

/// Taken after each call of the session.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    horizon: Position,
    /// Position up to which all must be over, and the number of the drain that waits for it.
    drains: VecDeque<(Position, u64)>,
    /// No audio follows: since when nothing has moved.
    finishing: Option<Duration>,
}

impl Outputs {
    pub fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// Position before which no word begins any more.
    pub fn horizon(&self) -> Position {
        self.horizon
    }

    pub fn move_horizon(&mut self, to: Position) {
        if to > self.horizon {
            self.horizon = to;
            self.push(Output::Horizon(to));
        }
    }

    pub fn drain(&mut self, position: Position, number: u64) {
        self.drains.push_back((position, number));
    }

    /// Answers the drains of all that is over, up to their positions.
    pub fn answer_drains(&mut self, is_over: impl Fn(Position) -> bool) {
        while let Some(&(_, number)) = self.drains.front().filter(|d| is_over(d.0)) {
            self.drains.pop_front();
            self.push(Output::Drained(number));
            self.finishing = self.finishing.filter(|_| !self.drains.is_empty());
        }
    }

    /// No drain will be answered any more.
    pub fn forget_drains(&mut self) {
        self.drains.clear();
    }

    /// No audio follows.
    pub fn finish(&mut self, now: Duration) {
        self.finishing = Some(now);
    }

    /// It does after all.
    pub fn go_on(&mut self) {
        self.finishing = None;
    }

    /// Something moves.
    pub fn moved(&mut self, now: Duration) {
        self.finishing = self.finishing.map(|_| now);
    }

    /// Since when nothing has moved although no audio follows.
    pub fn unmoved_since(&self) -> Option<Duration> {
        self.finishing
    }

    /// What is not taken of words, horizon and drains is not wanted any more; nothing comes of the
    /// audio before this position.
    pub fn flush(&mut self, position: Position) {
        let of_the_past = |o: &Output| {
            matches!(o, Output::Transcript(_) | Output::Horizon(_) | Output::Drained(_))
        };
        self.queue.retain(|o| !of_the_past(o));
        self.horizon = self.horizon.max(position);
        self.forget_drains();
        self.go_on();
    }
}

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_that_follows_after_all_is_not_waited_for_as_the_end_is() {
        let mut outputs = Outputs::default();
        outputs.finish(Duration::from_secs(1));
        outputs.moved(Duration::from_secs(2));
        assert_eq!(outputs.unmoved_since(), Some(Duration::from_secs(2)));
        outputs.go_on();
        outputs.moved(Duration::from_secs(3));
        assert_eq!(outputs.unmoved_since(), None);
    }
}
