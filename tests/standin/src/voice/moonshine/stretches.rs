// SPDX-License-Identifier: MPL-2.0

//! What is given to the model: speech, with a margin. To silence and noise it says words of its own.

use std::collections::VecDeque;

use earshot::Detector;

use super::super::RATE;

/// Samples that are judged at once (16 ms).
const FRAME: usize = 256;
/// A frame of this score is a voice.
const VOICE: f32 = 0.5;
/// So many of them in a row begin a stretch.
const BEGINS: usize = 4;
/// The detector takes the beginning of any sound for a voice's.
const SETTLING: usize = 4;
/// Kept before the first of them: a soft first sound.
const BEFORE: usize = RATE as usize * 3 / 10;
/// Without a voice for so long a stretch is over.
const OVER: usize = RATE as usize * 6 / 10;
/// A stretch with less voice than this is a click.
const LEAST: usize = RATE as usize / 5;
/// A stretch is cut at the latest here, at the quietest place of its last part: the cost of hearing
/// it once more grows with its length.
const LONGEST: usize = RATE as usize * 15;
const CUT_WITHIN: usize = RATE as usize * 4;

/// Sound that holds speech.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Stretch {
    pub samples: Vec<f32>,
    /// Nothing is added any more.
    pub whole: bool,
    /// No pause is behind it: the speech goes on in the next one.
    pub cut: bool,
}

/// Cuts the sound of a generation into stretches of speech.
pub struct Stretches {
    detector: Box<Detector>,
    frame: Vec<i16>,
    frames: usize,
    /// Voices in a row.
    row: usize,
    /// Silence so far, the end of which a stretch begins with.
    silence: VecDeque<f32>,
    /// Of the stretch under way: its samples with a voice, and those since.
    voiced: usize,
    since: usize,
    open: bool,
    /// Those that are not heard whole yet, the one under way last.
    found: VecDeque<Stretch>,
}

impl Default for Stretches {
    fn default() -> Self {
        Stretches {
            detector: Detector::default_boxed(),
            frame: Vec::with_capacity(FRAME),
            frames: 0,
            row: 0,
            silence: VecDeque::new(),
            voiced: 0,
            since: 0,
            open: false,
            found: VecDeque::new(),
        }
    }
}

impl Stretches {
    pub fn push(&mut self, samples: &[i16]) {
        for &sample in samples {
            self.frame.push(sample);
            if self.frame.len() == FRAME {
                self.judge();
            }
        }
    }

    /// The sound is over.
    pub fn end(&mut self) {
        let rest = std::mem::take(&mut self.frame);
        self.add(&rest);
        self.close();
    }

    /// The first stretch that is not taken yet.
    pub fn first(&self) -> Option<&Stretch> {
        // A click may be no more than that.
        self.found.front().filter(|s| s.whole || self.voiced >= LEAST)
    }

    /// It is heard whole.
    pub fn take_first(&mut self) -> Option<Stretch> {
        self.found.pop_front()
    }

    /// Samples in all of them.
    pub fn samples(&self) -> usize {
        self.found.iter().map(|s| s.samples.len()).sum()
    }

    fn judge(&mut self) {
        let frame = std::mem::replace(&mut self.frame, Vec::with_capacity(FRAME));
        let score = self.detector.predict_i16(&frame);
        self.frames += 1;
        let voice = score >= VOICE && self.frames > SETTLING;
        self.row = if voice { self.row + 1 } else { 0 };
        if !self.open && self.row >= BEGINS {
            self.open = true;
            (self.voiced, self.since) = ((BEGINS - 1) * FRAME, 0);
            let samples = self.silence.drain(..).collect();
            self.found.push_back(Stretch { samples, ..Stretch::default() });
        }
        self.add(&frame);
        if !self.open {
            return;
        }
        if voice {
            self.voiced += FRAME;
            self.since = 0;
        } else {
            self.since += FRAME;
        }
        if self.since >= OVER {
            self.close();
        } else {
            self.cut();
        }
    }

    fn add(&mut self, frame: &[i16]) {
        let samples = frame.iter().map(|&s| f32::from(s) / 32768.0);
        match self.found.back_mut().filter(|_| self.open) {
            Some(stretch) => stretch.samples.extend(samples),
            None => {
                self.silence.extend(samples);
                let old = self.silence.len().saturating_sub(BEFORE);
                self.silence.drain(..old);
            }
        }
    }

    fn close(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let click = self.voiced < LEAST;
        if click {
            self.found.pop_back();
        } else if let Some(stretch) = self.found.back_mut() {
            stretch.whole = true;
        }
    }

    fn cut(&mut self) {
        let Some(stretch) = self.found.back_mut().filter(|s| s.samples.len() >= LONGEST) else {
            return;
        };
        let from = stretch.samples.len() - CUT_WITHIN;
        let loudness = |i: &usize| {
            let near = &stretch.samples[from + i * FRAME..][..4 * FRAME];
            near.iter().map(|s| f64::from(s * s)).sum::<f64>()
        };
        let quietest = (0..CUT_WITHIN / FRAME - 4)
            .min_by(|a, b| loudness(a).total_cmp(&loudness(b)))
            .map_or(from, |i| from + (i + 2) * FRAME);
        let samples = stretch.samples.split_off(quietest);
        (stretch.whole, stretch.cut) = (true, true);
        self.found.push_back(Stretch { samples, ..Stretch::default() });
    }
}
