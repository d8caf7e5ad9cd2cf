// SPDX-License-Identifier: MPL-2.0

//! Which of the audio that comes in is an utterance.

use super::super::Config;
use super::super::utterances::Utterances;
use super::samples;
use crate::speech::{Activity, ActivityConfig, Change};

/// Finds where utterances begin and end: by voice, or all of the audio is one up to its next break.
#[derive(Debug)]
pub(super) struct Intake {
    activity: Option<Activity>,
    /// No utterance begins before this: the audio broke off here.
    broken_off: u64,
}

impl Intake {
    pub fn new(config: &Config) -> Intake {
        let silence = samples(config.silence_commit);
        let activity = config.voice_activity.then(|| Activity::new(ActivityConfig { silence }));
        Intake { activity, broken_off: 0 }
    }

    /// Audio came at `position`.
    pub fn audio(&mut self, position: u64, utterances: &mut Utterances) {
        if self.activity.is_none() && !utterances.is_open() {
            utterances.open(position);
        }
    }

    /// Audio up to `end` is so much like a voice, 0 to 1.
    pub fn judge(&mut self, end: u64, score: f32, utterances: &mut Utterances) {
        match self.activity.as_mut().and_then(|a| a.judge(end, score)) {
            Some(Change::Begin(at)) => utterances.open(at),
            Some(Change::End(at)) => utterances.close(at),
            None => {}
        }
    }

    /// What comes next has nothing to do with what came up to here.
    pub fn break_off(&mut self, at: u64) {
        if let Some(activity) = &mut self.activity {
            activity.reset(at);
        }
        self.broken_off = at;
    }

    /// Whether silence is told from speech.
    pub fn knows_silence(&self) -> bool {
        self.activity.is_some()
    }

    /// Position before which audio outside of utterances is not wanted; it ends at `end`.
    pub fn unwanted_to(&self, end: u64) -> u64 {
        self.activity.as_ref().map_or(end, |a| a.settled().max(self.broken_off).min(end))
    }
}
