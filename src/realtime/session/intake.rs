// SPDX-License-Identifier: MPL-2.0

//! Which of the audio that comes in is an utterance.

use super::super::Config;
use super::super::utterances::Utterances;
use crate::speech::{Activity, ActivityConfig, Change};
use crate::{Length, Position};

/// Finds where utterances begin and end: by voice, or all of the audio is one up to its next break.
#[derive(Debug)]
pub(super) struct Intake {
    activity: Option<Activity>,
    /// No utterance begins before this: the audio broke off here.
    broken_off: Position,
}

impl Intake {
    pub fn new(config: &Config) -> Intake {
        let silence = Length::lasting(config.silence_commit).samples();
        let activity = config.voice_activity.then(|| Activity::new(ActivityConfig { silence }));
        Intake { activity, broken_off: Position::START }
    }

    /// Audio came at `position`.
    pub fn audio(&mut self, position: Position, utterances: &mut Utterances) {
        if self.activity.is_none() && !utterances.is_open() {
            utterances.open(position);
        }
    }

    /// Audio up to `end` is so much like a voice, 0 to 1.
    pub fn judge(&mut self, end: Position, score: f32, utterances: &mut Utterances) {
        match self.activity.as_mut().and_then(|a| a.judge(end.samples(), score)) {
            Some(Change::Begin(at)) => utterances.open(Position::new(at)),
            Some(Change::End(at)) => utterances.close(Position::new(at)),
            None => {}
        }
    }

    /// What comes next has nothing to do with what came up to here.
    pub fn break_off(&mut self, at: Position) {
        if let Some(activity) = &mut self.activity {
            activity.reset(at.samples());
        }
        self.broken_off = at;
    }

    /// Whether silence is told from speech.
    pub fn knows_silence(&self) -> bool {
        self.activity.is_some()
    }

    /// Position before which audio outside of utterances is not wanted; it ends at `end`.
    pub fn unwanted_to(&self, end: Position) -> Position {
        let settled = self.activity.as_ref().map(|a| Position::new(a.settled()));
        settled.map_or(end, |settled| settled.max(self.broken_off).min(end))
    }
}
