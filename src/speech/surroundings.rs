// SPDX-License-Identifier: MPL-2.0

//! What speech sounds like here: how loud and in which colour, and what is behind it.

use super::features::Frame;
use super::filterbank::{BANDS, Level, STEP};

/// Frames that tell it: 4 s.
pub const WINDOW: u64 = 400;
/// A frame up to this many steps (20 dB) below the loudest counts as speech for the mean.
const SPEECH_RANGE: u32 = 45;
/// Levels less their mean, at least and at most.
const RANGE: (i16, i16) = (-100, 60);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surroundings {
    /// The mean level of each band in speech.
    mean: [i16; BANDS],
    /// The level that nine of ten frames are above, less that mean.
    pub background: [i16; BANDS],
}

impl Surroundings {
    pub fn of<'a>(frames: impl Iterator<Item = &'a Frame> + Clone) -> Surroundings {
        let mut loudness: Vec<u32> = frames.clone().map(Frame::sum).collect();
        let at = loudness.len().saturating_sub(1) * 95 / 100;
        let loud = match loudness.is_empty() {
            true => 0,
            false => *loudness.select_nth_unstable(at).1,
        };
        let soft = loud.saturating_sub(SPEECH_RANGE * Frame::SUMMED);
        let (mut sums, mut speech, mut count) = ([0_u32; BANDS], 0, 0);
        let mut counts = [[0_u16; 256]; BANDS];
        for frame in frames {
            let of_speech = u32::from(frame.sum() >= soft);
            speech += of_speech;
            count += 1;
            for ((sum, counts), level) in sums.iter_mut().zip(&mut counts).zip(frame.levels) {
                *sum += u32::from(level) * of_speech;
                counts[usize::from(level)] += 1;
            }
        }
        let mean = sums.map(|sum| ((sum + speech / 2) / speech.max(1)) as i16);
        let rank = count / 10;
        let behind = counts.map(|counts| {
            let mut below = 0;
            let level = counts.iter().position(|count| {
                below += count;
                below > rank
            });
            level.unwrap_or_default() as Level
        });
        let mut found = Surroundings { mean, background: [0; BANDS] };
        found.background = found.less(&behind);
        found
    }

    /// Levels less the mean in speech, so that loudness and the microphone's colour fall away.
    pub fn less(&self, levels: &[Level; BANDS]) -> [i16; BANDS] {
        std::array::from_fn(|band| {
            (i16::from(levels[band]) - self.mean[band]).clamp(RANGE.0, RANGE.1)
        })
    }

    /// How far the speech is above its background: nepers of power.
    pub fn clarity(&self) -> f32 {
        -f32::from(self.background.iter().sum::<i16>()) * STEP / BANDS as f32
    }
}
