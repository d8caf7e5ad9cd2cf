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
    changes: Vec<Change>,
    /// No utterance begins before this: the audio broke off here.
    broken_off: u64,
}

impl Intake {
    pub fn new(config: &Config) -> Intake {
        let silence = samples(config.silence_commit);
        let activity = config.voice_activity.then(|| Activity::new(ActivityConfig { silence }));
        Intake { activity, changes: Vec::new(), broken_off: 0 }
    }

    /// Audio came.
    pub fn audio(&mut self, position: u64, samples: &[i16], utterances: &mut Utterances) {
        let Some(activity) = &mut self.activity else {
            if !utterances.is_open() {
                utterances.open(position);
            }
            return;
        };
        activity.push(position, samples, &mut self.changes);
        for change in self.changes.drain(..) {
            match change {
                Change::Begin(at) => utterances.open(at),
                Change::End(at) => utterances.close(at),
            }
        }
    }

    /// What comes next has nothing to do with what came up to here.
    pub fn break_off(&mut self, at: u64) {
        if let Some(activity) = &mut self.activity {
            activity.reset();
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
