// SPDX-License-Identifier: MPL-2.0

//! The shape of the sound, by position: what words are placed by.

use std::collections::VecDeque;
use std::collections::vec_deque::Iter;

use super::class::Row;
use super::filterbank::{BANDS, Filterbank, Level, WINDOW};
use super::network::{BLOCK, LAG, Listener};
use super::surroundings::{self, Surroundings};
use super::voice::{self, Voice};
use crate::SAMPLE_RATE;

/// Samples from one frame to the next (10 ms).
pub const HOP: u64 = 160;
/// A frame's window begins this many samples before the frame.
const LEAD: u64 = (WINDOW as u64 - HOP) / 2;
/// Frames that are kept at most: as much as the audio that may wait (property `max-backlog`) and
/// some, 25 MB. What is older is forgotten, and counts as speech.
pub const MOST_FRAMES: usize = 400_000;
/// A longer gap takes no frames. What words are placed by never reaches over it.
const LONG_GAP: u64 = 10 * SAMPLE_RATE;
/// After this much unknown sound the detector begins anew.
const FORGETS_AFTER: u64 = 8_000;
/// A score above this may be speech: low, for a word lost to a GAP is worse than a GAP that is
/// short.
const MAYBE: u8 = 90;
/// Frames that are kept before those that are asked for: the network hears by them.
const CONTEXT: u64 = surroundings::WINDOW + 7 * BLOCK;
/// What is louder by so many steps of [`Frame`] (15 dB) is not the same sound.
const CLEARLY: f32 = 35.0;

/// Of the first frame whose middle is not before this position.
fn index(position: u64) -> u64 {
    position.saturating_add(HOP / 2 - 1) / HOP
}

/// The sound around one 10 ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frame {
    /// Log energy by band.
    pub levels: [Level; BANDS],
    /// How much it is like a voice, 0 to 255.
    pub voice: u8,
}

impl Frame {
    /// Bands where voices are loud (300 Hz to 4 kHz).
    pub(super) const SUMMED: u32 = 11;

    /// Their log energies in all.
    pub(super) fn sum(&self) -> u32 {
        self.levels[2..13].iter().map(|&l| u32::from(l)).sum()
    }

    /// Their log energy, in steps.
    pub fn loudness(&self) -> f32 {
        self.sum() as f32 / Self::SUMMED as f32
    }

    /// The log energy of the bands above these, where friction is loud, in steps.
    fn friction(&self) -> f32 {
        mean(&self.levels[13..])
    }
}

fn mean(bands: &[Level]) -> f32 {
    bands.iter().map(|&l| f32::from(l)).sum::<f32>() / bands.len() as f32
}

/// What the network heard in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    pub row: Row,
    /// How far the speech around is above its background: nepers of power.
    pub clarity: f32,
}

/// Frames without a gap between them.
#[derive(Debug, Default)]
struct Stretch {
    /// Index of its first frame, before any were forgotten; frame `i` is of the samples from
    /// `i * HOP` on.
    began: u64,
    /// Of the first one that is asked about.
    first: u64,
    /// Of the first one that is kept.
    kept: u64,
    frames: VecDeque<Frame>,
    /// Of those that are asked about, as far as what is behind them is known.
    heard: VecDeque<Heard>,
    /// Up to the last whole block.
    listener: Option<Listener>,
}

impl Stretch {
    /// Index of the frame behind the last.
    fn next(&self) -> u64 {
        self.kept + self.frames.len() as u64
    }

    /// The frames from the index `begin` up to `end`.
    fn range(&self, begin: u64, end: u64) -> (u64, Iter<'_, Frame>) {
        let begin = begin.clamp(self.first, self.next());
        (begin, self.all(begin, end))
    }

    /// Those from `begin` up to `end`, whether they are asked about or not.
    fn all(&self, begin: u64, end: u64) -> Iter<'_, Frame> {
        let begin = begin.clamp(self.kept, self.next());
        let end = end.clamp(begin, self.next());
        self.frames.range((begin - self.kept) as usize..(end - self.kept) as usize)
    }

    fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
        let end = self.next();
        if end.is_multiple_of(BLOCK) && end >= self.began + surroundings::WINDOW {
            let mut listener = self.listener.take();
            // The first time all that is there.
            let begin = if listener.is_some() { end - BLOCK } else { self.first_block() };
            for at in (begin..end).step_by(BLOCK as usize) {
                let heard = self.listen(&mut listener, at, end);
                self.heard
                    .extend(heard.filter(|(at, _)| *at >= self.first).map(|(_, heard)| heard));
            }
            self.listener = listener;
        }
    }

    fn first_block(&self) -> u64 {
        self.kept - self.kept % BLOCK
    }

    /// Takes the block from `begin` on, as far as it is known up to `end`, the last frame again and
    /// again behind that. What was heard, with the frames' indices.
    fn listen(
        &self,
        listener: &mut Option<Listener>,
        begin: u64,
        end: u64,
    ) -> impl Iterator<Item = (u64, Heard)> + use<> {
        // As long as there is no more before it, what comes later tells as well.
        let last = end.min((begin + BLOCK).max(self.began + surroundings::WINDOW));
        let around = self.all(last.saturating_sub(surroundings::WINDOW), last);
        let surroundings = Surroundings::of(around);
        let near = std::array::from_fn(|i| {
            let at = (begin + i as u64).clamp(self.kept, end - 1) - self.kept;
            surroundings.less(&self.frames[at as usize].levels)
        });
        let background = &surroundings.background;
        let listener = listener.get_or_insert_with(|| Listener::new(&near[0], background));
        let rows = listener.block(&near, background);
        let clarity = surroundings.clarity();
        let heard = rows.into_iter().map(move |row| Heard { row, clarity });
        (begin..).zip(heard).filter_map(|(at, heard)| Some((at.checked_sub(LAG)?, heard)))
    }

    /// What is heard in the frames `begin..end` where no more is known than up to the frame `until`,
    /// and the index of the first of them.
    fn heard(&self, begin: u64, end: u64, until: u64) -> (u64, Vec<Heard>) {
        let until = until.clamp(self.first, self.next());
        let begin = begin.clamp(self.first, until);
        let end = end.clamp(begin, until);
        let whole = until - until % BLOCK;
        let mut all = Vec::with_capacity((end - begin) as usize);
        let mut listener = None;
        let mut at = self.first_block();
        if until >= self.began + surroundings::WINDOW {
            let settled = end.min(whole.saturating_sub(LAG));
            let count = settled.saturating_sub(self.first) as usize;
            all.extend(self.heard.iter().take(count).skip((begin - self.first) as usize));
            if begin + all.len() as u64 >= settled {
                // The network goes on from where it is, or from what it needs to know.
                at = at.max(whole.saturating_sub(6 * BLOCK));
                if self.next() - self.next() % BLOCK == whole && self.listener.is_some() {
                    (listener, at) = (self.listener.clone(), whole);
                }
            } else {
                all.clear();
            }
        }
        while begin + (all.len() as u64) < end {
            for (index, heard) in self.listen(&mut listener, at, until) {
                if index == begin + all.len() as u64 && index < end {
                    all.push(heard);
                }
            }
            at += BLOCK;
        }
        (begin, all)
    }

    /// Asks for nothing before so many frames more. How many it lets go of.
    fn forget(&mut self, count: u64) -> usize {
        self.first += count;
        self.heard.drain(..self.heard.len().min(count as usize));
        let gone = self.first.saturating_sub(self.kept + CONTEXT).min(self.frames.len() as u64);
        self.frames.drain(..gone as usize);
        self.kept += gone;
        gone as usize
    }
}

/// The shape of the sound (energy by band, likeness to a voice) over a bounded part of the
/// audio, by position.
#[derive(Debug, Default)]
pub struct Features {
    /// Position behind the last sample.
    end: u64,
    /// What lies before the last long gaps, none of it empty.
    before: VecDeque<Stretch>,
    /// The one that goes on.
    last: Stretch,
    /// Frames in all.
    count: usize,
    /// Frames before this position were more than can be kept.
    lost_to: u64,
    /// Samples from the beginning of the next frame's window on.
    tail: Vec<i16>,
    spectrum: Filterbank,
    voice: Voice,
    /// Position behind the last sample that the detector judged.
    judged: u64,
    /// The score of that judgement.
    score: u8,
}

impl Features {
    /// Adds samples; `position` never goes back, and a step forward is unknown sound (silence).
    /// Samples before [`Features::end`] are known already and left out.
    pub fn push(&mut self, position: u64, samples: &[i16]) {
        self.push_judged(position, samples, &mut |_, _| ());
    }

    /// As [`Features::push`]; `judged` is told how much each 16 ms are like a voice, 0 to 1, with the
    /// position behind them.
    pub fn push_judged(
        &mut self,
        position: u64,
        samples: &[i16],
        judged: &mut impl FnMut(u64, f32),
    ) {
        let known = self.end.saturating_sub(position).min(samples.len() as u64);
        let samples = &samples[known as usize..];
        if samples.is_empty() {
            return;
        }
        self.skip_to(position.max(self.end), judged);
        // In small pieces, so that each judgement finds its frames.
        for piece in samples.chunks(HOP as usize) {
            self.add(piece, judged);
        }
    }

    fn skip_to(&mut self, position: u64, judged: &mut impl FnMut(u64, f32)) {
        const SILENCE: [i16; HOP as usize] = [0; HOP as usize];
        // So much silence that no window reaches over it.
        let mut left = position - self.end;
        if left > FORGETS_AFTER {
            for _ in 0..WINDOW as u64 / HOP + 2 {
                self.add(&SILENCE, judged);
            }
            self.restart(position);
            left = position - self.end;
        }
        while left > 0 {
            let now = left.min(HOP);
            self.add(&SILENCE[..now as usize], judged);
            left -= now;
        }
    }

    /// Goes on at the last frame before `position`, with silence up to there.
    fn restart(&mut self, position: u64) {
        let next = position / HOP;
        let missing = next.saturating_sub(self.last.next());
        if missing > LONG_GAP / HOP {
            let new = Stretch { began: next, first: next, kept: next, ..Stretch::default() };
            let old = std::mem::replace(&mut self.last, new);
            if old.first < old.next() {
                self.before.push_back(Stretch { listener: None, ..old });
            } else {
                self.count -= old.frames.len();
            }
        } else {
            for _ in 0..missing {
                self.keep(Frame::default());
            }
        }
        self.voice.reset();
        self.end = self.last.next() * HOP;
        self.judged = self.end;
        self.score = 0;
        self.tail.clear();
        self.tail.resize(LEAD as usize, 0);
    }

    fn add(&mut self, samples: &[i16], judged: &mut impl FnMut(u64, f32)) {
        let mut rest = samples;
        while !rest.is_empty() {
            let (taken, score) = self.voice.push(rest);
            rest = &rest[taken..];
            if let Some(score) = score {
                self.score = (score * 255.0) as u8;
                // The judgement's middle is some frames back.
                let from = self.judged.saturating_sub(voice::LAG - voice::FRAME as u64 / 2);
                self.judged += voice::FRAME as u64;
                judged(self.judged, score);
                let begin = (from / HOP).saturating_sub(self.last.kept) as usize;
                for frame in self.last.frames.iter_mut().skip(begin) {
                    frame.voice = self.score;
                }
            }
        }
        self.end += samples.len() as u64;
        if self.tail.is_empty() && self.last.next() == 0 {
            self.tail.resize(LEAD as usize, 0);
        }
        self.tail.extend_from_slice(samples);
        let mut done = 0;
        while let Some(window) = self.tail[done..].first_chunk::<WINDOW>() {
            let frame = Frame { levels: self.spectrum.levels(window), voice: self.score };
            done += HOP as usize;
            self.keep(frame);
        }
        self.tail.drain(..done);
    }

    fn keep(&mut self, frame: Frame) {
        while self.count >= MOST_FRAMES {
            let oldest = self.before.front_mut().unwrap_or(&mut self.last);
            self.count -= oldest.forget(1);
            self.lost_to = oldest.first * HOP;
            if self.before.front().is_some_and(|s| s.first >= s.next()) {
                self.count -= self.before.pop_front().map_or(0, |s| s.frames.len());
            }
        }
        self.last.push(frame);
        self.count += 1;
    }

    /// In their order.
    fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.before.iter().chain([&self.last])
    }

    /// Position behind the last sample.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What lies before this is not asked for any more. A second at a time.
    pub fn forget_before(&mut self, position: u64) {
        let next = position / HOP;
        while self.before.front().is_some_and(|s| s.next() <= next) {
            self.count -= self.before.pop_front().map_or(0, |s| s.frames.len());
        }
        let first = self.before.front_mut().unwrap_or(&mut self.last);
        let gone = next.min(first.next()).saturating_sub(first.first);
        if gone * HOP >= SAMPLE_RATE {
            self.count -= first.forget(gone);
        }
    }

    /// The frames known of those whose middle lies in `from..to`, with the index of the first
    /// (a frame's samples begin at index times [`HOP`]). Up to the first long gap.
    pub fn frames(&self, from: u64, to: u64) -> (u64, impl Iterator<Item = &Frame>) {
        let (begin, end) = (index(from), index(to));
        let stretch = self.before.iter().find(|s| begin < s.next()).unwrap_or(&self.last);
        stretch.range(begin, end)
    }

    /// What is heard in the frames that have any of `from..to`, where no more is known than up to
    /// `until`; with the index of the first.
    pub fn heard(&self, from: u64, to: u64, until: u64) -> (u64, Vec<Heard>) {
        let (begin, end) = (from / HOP, to.div_ceil(HOP));
        let stretch = self.before.iter().find(|s| begin < s.next()).unwrap_or(&self.last);
        stretch.heard(begin, end, index(until.saturating_sub(WINDOW as u64 / 2)))
    }

    /// Whether any of `from..to` that is not still to come may be speech.
    pub fn speech_within(&self, from: u64, to: u64) -> bool {
        let speech = |s: &Stretch| s.range(index(from), index(to)).1.any(|f| f.voice > MAYBE);
        (from < self.lost_to && from < to) || self.stretches().any(speech)
    }

    /// Where in `from..to` speech begins; `to` where there is none.
    ///
    /// So a GAP may reach to there: no word begins earlier.
    pub fn next_speech(&self, from: u64, to: u64) -> u64 {
        /// Speech may begin this long before the detector finds it.
        const MARGIN: u64 = 3200;
        let (begin, end) = (index(from), index(to.saturating_add(MARGIN)));
        let speech = |s: &Stretch| {
            let (first, mut frames) = s.range(begin, end);
            Some(first + frames.position(|f| f.voice > MAYBE)? as u64)
        };
        let at = match self.stretches().find_map(speech) {
            _ if from < self.lost_to => from,
            Some(speech) => (speech * HOP).saturating_sub(MARGIN),
            // What is not known yet may be speech.
            None => (self.last.next().min(end) * HOP).saturating_sub(MARGIN),
        };
        at.clamp(from, to.max(from))
    }

    /// How many samples of `from..to` are surely voice.
    pub fn voiced(&self, from: u64, to: u64) -> u64 {
        const SURELY: u8 = 160;
        self.frames(from, to).1.filter(|f| f.voice > SURELY).count() as u64 * HOP
    }

    /// How loud a frame of a pause is at most: about 15 dB less than the voice that is heard in
    /// `from..to`. `None`: nothing is known of it.
    pub fn quiet(&self, from: u64, to: u64) -> Option<f32> {
        self.ranked(from, to, Frame::loudness, 8).map(|voice| voice - CLEARLY)
    }

    /// What is not exceeded by so many tenths of the frames of `from..to`.
    fn ranked(&self, from: u64, to: u64, of: fn(&Frame) -> f32, tenths: usize) -> Option<f32> {
        let mut all: Vec<f32> = self.frames(from, to).1.map(of).collect();
        let at = all.len() * tenths / 10;
        (at < all.len()).then(|| *all.select_nth_unstable_by(at, f32::total_cmp).1)
    }

    /// Whether all of `from..to` is a pause: no speech, or softer than the voice in `since..from`, and
    /// no friction in its second half. That of a consonant is soft, but well above the background in
    /// bands of its own. In the first half it ends a word, in the second one it is of one that goes on.
    pub fn is_pause(&self, since: u64, from: u64, to: u64) -> bool {
        let background = self.ranked(since, from, Frame::friction, 1);
        let Some((quiet, background)) = self.quiet(since, from).zip(background) else {
            return false;
        };
        let speech = |from, loud: &dyn Fn(&Frame) -> bool| {
            self.frames(from, to).1.any(|f| f.voice > MAYBE && loud(f))
        };
        !speech(from, &|f| f.loudness() >= quiet)
            && !speech(from.midpoint(to), &|f| f.friction() >= background + CLEARLY)
    }

    /// The quietest place in `from..to`: where to cut with the least harm.
    pub fn quietest(&self, from: u64, to: u64) -> u64 {
        let (first, frames) = self.frames(from, to);
        let loudness: Vec<f32> =
            frames.map(|f| f.loudness() + f32::from(f.voice) * VOICE_LOUDNESS).collect();
        // A cut needs room on both sides: the mean of 70 ms.
        let room = |i: usize| {
            let near = &loudness[i.saturating_sub(3)..(i + 4).min(loudness.len())];
            near.iter().sum::<f32>() / near.len() as f32
        };
        let rooms = (0..loudness.len()).map(|i| (i, room(i)));
        let quietest = rooms.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i);
        match quietest {
            Some(i) => ((first + i as u64) * HOP + HOP / 2).clamp(from, to.max(from)),
            None => from.midpoint(to.max(from)),
        }
    }
}

/// A surely voiced frame counts as 11 dB louder than one that is surely not.
const VOICE_LOUDNESS: f32 = 0.1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::speech::sample::voice;

    fn tone(count: usize) -> Vec<i16> {
        (0..count).map(|i| (8000.0 * (i as f32 * 0.4).sin()) as i16).collect()
    }

    /// White noise, as loud as can be.
    fn noise(count: usize) -> Vec<i32> {
        let step = |s: &u32| Some(s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let states = std::iter::successors(Some(1_u32), step);
        states.map(|s| i32::from((s >> 16) as i16)).take(count).collect()
    }

    fn all(sound: &Features) -> (u64, Vec<Frame>) {
        let (first, frames) = sound.frames(0, u64::MAX);
        (first, frames.copied().collect())
    }

    #[test]
    fn a_frame_is_where_its_sound_is() {
        let mut sound = Features::default();
        sound.push(0, &[0; 16_000]);
        sound.push(16_000, &tone(16_000));
        sound.push(32_000, &[0; 16_000]);
        let (first, frames) = all(&sound);
        assert_eq!(first, 0);
        let loud: Vec<usize> = (0..frames.len()).filter(|&i| frames[i].loudness() > 50.0).collect();
        // The window is wider than the frame by less than a frame on either side.
        assert!((99..=100).contains(loud.first().unwrap()), "{loud:?}");
        assert!((199..=200).contains(loud.last().unwrap()), "{loud:?}");
        let quiet = sound.quietest(8_000, 24_000);
        assert!(quiet < 16_000, "{quiet}");
    }

    #[test]
    fn how_it_is_cut_does_not_matter() {
        let samples = tone(20_000);
        let mut whole = Features::default();
        whole.push(0, &samples);
        for piece in [1, 159, 160, 161, 4096] {
            let mut sound = Features::default();
            for (i, p) in samples.chunks(piece).enumerate() {
                sound.push((i * piece) as u64, p);
            }
            let (a, b) = (all(&sound), all(&whole));
            assert_eq!(a.0, b.0);
            let levels = |f: &[Frame]| f.iter().map(|f| f.levels).collect::<Vec<_>>();
            assert_eq!(levels(&a.1), levels(&b.1));
        }
    }

    #[test]
    fn a_step_forward_is_silence_at_its_place() {
        for step in [1, 100, 5_000, 8_001, 100_000, 1 << 40] {
            let mut sound = Features::default();
            sound.push(0, &tone(16_000));
            let from = 16_000 + step;
            sound.push(from, &tone(16_000));
            assert_eq!(sound.end(), from + 16_000);
            let (first, frames) = sound.frames(from + 800, from + 8_000);
            assert!((first * HOP + HOP / 2).abs_diff(from + 800) <= HOP);
            let frames: Vec<_> = frames.collect();
            assert_eq!(frames.len(), 45);
            assert!(frames.iter().all(|f| f.loudness() > 20.0), "{step}");
            if step > 1600 {
                let (_, mut between) = sound.frames(16_400, 16_000 + step - 400);
                assert!(between.all(|f| f.loudness() < 1.0), "{step}");
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let mut sound = Features::default();
        let second = tone(16_000);
        let frames = |s: &Features| s.stretches().map(|s| s.frames.len()).sum::<usize>();
        for i in 0..MOST_FRAMES as u64 * HOP / LONG_GAP + 3 {
            sound.push(i * LONG_GAP, &second[..160]);
            assert_eq!(sound.count, frames(&sound));
        }
        assert_eq!(sound.count, MOST_FRAMES);
        assert!(sound.tail.len() < WINDOW);
        // What could not be kept counts as speech, and all behind it is known.
        assert!(sound.speech_within(0, HOP));
        assert_eq!(sound.next_speech(HOP, LONG_GAP), HOP);
        assert!(sound.lost_to > 0 && !sound.speech_within(sound.lost_to, LONG_GAP / 2));
        sound.forget_before(sound.end());
        assert!(frames(&sound) as u64 <= CONTEXT + 1 && sound.count == frames(&sound));
        sound.forget_before(u64::MAX);
        let end = sound.end();
        sound.push(end, &second);
        assert_eq!(sound.end(), end + 16_000);
    }

    #[test]
    fn sound_before_a_long_gap_is_kept() {
        let mut sound = Features::default();
        let speech = voice(32_000, 8000.0);
        let gap = LONG_GAP * 1000;
        for i in 0..100 {
            sound.push(i * gap, &speech);
        }
        assert!(sound.count < 100 * 220, "{}", sound.count);
        for i in 0..99 {
            let at = i * gap;
            assert!(sound.voiced(at, at + 32_000) > 16_000);
            assert!(sound.speech_within(at, at + 16_000) && sound.speech_within(at, at + gap));
            assert!(!sound.speech_within(at + 40_000, at + gap - 16_000));
            assert_eq!(sound.next_speech(at + 4800, at + gap), at + 4800);
            let quiet = sound.next_speech(at + 40_000, at + gap);
            assert!(quiet > at + gap - 16_000, "{quiet} of {gap}");
        }
        sound.forget_before(50 * gap + 16_000);
        assert_eq!(sound.before.len(), 49);
        assert!(!sound.speech_within(0, 49 * gap + 40_000));
        assert!(sound.speech_within(50 * gap, 50 * gap + 32_000));
        sound.forget_before(u64::MAX);
        assert!(sound.before.is_empty() && sound.count as u64 <= CONTEXT);
    }

    #[test]
    fn an_affricate_is_no_pause_but_the_background_is() {
        for background in [2, 20, 200] {
            // Voice, 60 ms of closure, 120 ms of friction, voice, 120 ms of friction, silence.
            let white = noise(34_880);
            let friction = white.windows(3).map(|w| ((w[0] - 2 * w[1] + w[2]) / 64) as i16);
            let mut samples = voice(16_000, 8000.0);
            samples.resize(16_960, 0);
            samples.extend(friction.clone().take(1920));
            samples.extend(voice(8000, 8000.0));
            samples.extend(friction.take(1920));
            samples.resize(white.len(), 0);
            for (s, w) in samples.iter_mut().zip(&white) {
                *s = s.saturating_add((w * background / 32_768) as i16);
            }
            let mut sound = Features::default();
            sound.push(0, &samples);
            // A frame at each end has some of the voice in its window.
            let pauses = |from, to| sound.is_pause(0, from + HOP, to - HOP);
            assert!(pauses(16_000, 16_960), "{background}: the closure alone is as a pause");
            assert!(!pauses(16_000, 18_880), "{background}: friction that goes on is speech");
            assert!(pauses(26_880, 32_000), "{background}: friction that ends is not");
            assert!(pauses(28_800, 34_880), "{background}: the background is none");
        }
    }

    #[test]
    fn silence_has_no_speech_and_is_told_early() {
        let mut sound = Features::default();
        sound.push(0, &[0; 160_000]);
        // What comes next is not known: a margin is left.
        let next = sound.next_speech(0, 300_000);
        assert!((150_000..160_000).contains(&next), "{next}");
        assert_eq!(sound.next_speech(10_000, 20_000), 20_000);
        assert_eq!(sound.next_speech(20_000, 10_000), 20_000);
    }

    /// What is heard is told by position alone, however much more is known, or was forgotten.
    #[test]
    fn what_is_heard_does_not_depend_on_when_it_is_asked() {
        let samples: Vec<i16> = (0..8)
            .flat_map(|n| {
                let silence = vec![n as i16; 9_000 + 1_234 * n];
                voice(20_000 - 777 * n, 2000.0 + 900.0 * n as f32).into_iter().chain(silence)
            })
            .collect();
        let known = |to: usize| {
            let mut sound = Features::default();
            sound.push(0, &samples[..to]);
            sound
        };
        let mut all = known(samples.len());
        for forgotten in [0, 40_000, 90_000] {
            all.forget_before(forgotten);
            for until in (30_000..samples.len() as u64).step_by(11_111) {
                let mut from = until.saturating_sub(60_000).max(forgotten + SAMPLE_RATE);
                while from < until {
                    let rows = |sound: &Features| {
                        let (first, heard) = sound.heard(from, until, until);
                        (first, heard.into_iter().map(|h| (h.row, h.clarity)).collect::<Vec<_>>())
                    };
                    assert_eq!(rows(&all), rows(&known(until as usize)), "{forgotten} {until}");
                    from += 7_777;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_question_panics_and_answers_lie_within(
            pushes in prop::collection::vec((0_u64..40_000, 0_usize..3000), 0..8),
            from in 0_u64..200_000, length in 0_u64..200_000, forget in 0_u64..200_000,
        ) {
            let mut sound = Features::default();
            for (jump, count) in pushes {
                let at = sound.end() + if jump > 20_000 { jump } else { 0 };
                sound.push(at, &tone(count));
            }
            for _ in 0..2 {
                let to = from + length;
                prop_assert!((from..=to).contains(&sound.next_speech(from, to)));
                prop_assert!((from..=to).contains(&sound.quietest(from, to)));
                sound.forget_before(forget);
            }
        }
    }
}
