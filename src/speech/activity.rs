// SPDX-License-Identifier: MPL-2.0

//! Voice activity: where utterances begin and end.

/// When an utterance ends.
#[derive(Debug, Clone)]
pub struct ActivityConfig {
    /// Samples without speech that end an utterance.
    pub silence: u64,
}

/// The voice comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An utterance begins: the audio from this position on belongs to it. It lies before the
    /// position at which this is found out by the pre-roll, and never before an earlier `End`.
    Begin(u64),
    /// The utterance ended at this position; the audio up to the next `Begin` is silence.
    End(u64),
}

/// Finds utterances in a stream of samples.
#[derive(Debug)]
pub struct Activity {
    #[allow(dead_code)]
    config: ActivityConfig,
}

impl Activity {
    pub fn new(config: ActivityConfig) -> Self {
        Activity { config }
    }

    /// Takes samples (`position` never goes back) and appends what they changed to `changes`.
    pub fn push(&mut self, position: u64, samples: &[i16], changes: &mut Vec<Change>) {
        let _ = (position, samples, changes);
    }

    /// The audio breaks off here (GAP, EOS, FLUSH): the next sample may begin an utterance, and
    /// one that was open is over.
    pub fn reset(&mut self) {}

    /// Position before which no [`Change::Begin`] can lie any more: audio before it, while no
    /// utterance is open, is certainly not wanted.
    pub fn settled(&self) -> u64 {
        0
    }
}
