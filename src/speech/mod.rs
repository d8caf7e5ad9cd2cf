// SPDX-License-Identifier: MPL-2.0

//! Samples to speech or silence, and to the shape of the sound. Pure.

pub mod activity;

pub use activity::{Activity, ActivityConfig, Change};

/// The shape of the sound (energy and what else placing words needs) over a bounded stretch of
/// the audio, by position.
#[derive(Debug, Default)]
pub struct Sound {
    end: u64,
}

impl Sound {
    /// Adds samples; `position` never goes back, and a step forward is unknown sound (silence).
    pub fn push(&mut self, position: u64, samples: &[i16]) {
        self.end = position + samples.len() as u64;
    }

    /// Position behind the last sample.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What lies before this is not asked for any more.
    pub fn forget_before(&mut self, position: u64) {
        let _ = position;
    }

    /// Where in `from..to` speech begins; `to` where there is none.
    ///
    /// So a GAP may reach to there: no word begins earlier.
    pub fn next_speech(&self, from: u64, to: u64) -> u64 {
        let _ = to;
        from
    }

    /// The quietest place in `from..to`: where to cut with the least harm.
    pub fn quietest(&self, from: u64, to: u64) -> u64 {
        from.midpoint(to)
    }
}
