// SPDX-License-Identifier: MPL-2.0

//! How late words come, and why. Pure: times are in ns.

use std::collections::VecDeque;

use super::latency::Latency;
use crate::transcript::Timing;
use crate::{Length, Position, SAMPLE_RATE};

/// Audio that is late by less is in time.
const AUDIO_LATE: u64 = 100_000_000;

/// Notes of late audio that are kept; beyond it the oldest is forgotten.
const NOTES: usize = 1024;

/// Audio over which the server's speed is measured: at least, and at most where it is to say
/// something about now.
const MEASURED: Length = Length::of_s(3);
const MEASURED_MOST: Length = Length::of_s(15);

/// A server that works through less audio in a second (in s) falls behind.
const KEEPS_UP: f64 = 0.95;

/// Faster than any server keeps up with a speaker: words that were held back and came at once.
const AT_ONCE: f64 = 3.0;

/// Audio behind an outage that may be late for it, too: the server catches up.
const CATCHES_UP: Length = Length::of_s(10);

/// What the user is to be told, once for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// The latency is too short for this server.
    Latency,
    /// The audio itself came late by so much.
    Audio(u64),
    /// The server works through so many seconds of audio in a second.
    Slow(f64),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Outage {
    #[default]
    None,
    /// The connection is lost.
    Down,
    /// It is back; words from before this position were held up.
    Over { to: Position },
}

/// The delays of the words of one run.
#[derive(Debug, Default)]
pub struct Delay {
    most: u64,
    /// The longest of the outage under way.
    outage_most: u64,
    outage: Outage,
    /// Position of the next audio.
    position: Position,
    /// From these positions on the audio was so late.
    late_audio: VecDeque<(Position, u64)>,
    /// Words lately: position and time.
    lately: VecDeque<(Position, u64)>,
    /// The delay that was told last, and the causes that need no second telling.
    told: u64,
    told_slow: bool,
    told_audio: bool,
    /// What they ask for.
    latency: Latency,
}

impl Delay {
    pub fn new(latency: Latency) -> Delay {
        Delay { latency, ..Delay::default() }
    }

    /// What the words ask for.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// A server of this kind; whether the latency is another now.
    pub fn server(&mut self, timing: Timing) -> bool {
        self.latency.server(timing)
    }

    /// Nobody speaks, at this time; whether the latency is another now.
    pub fn pause(&mut self, time: u64) -> bool {
        self.latency.pause(time)
    }

    /// Audio at `position` came so long after its time.
    pub fn audio(&mut self, position: Position, late: u64) {
        self.position = position;
        let late = if late < AUDIO_LATE { 0 } else { late };
        let before = self.late_audio.back().map_or(0, |a| a.1);
        if late == before || (late > 0 && late.abs_diff(before) < AUDIO_LATE / 2) {
            return;
        }
        if self.late_audio.len() >= NOTES {
            self.late_audio.pop_front();
        }
        self.late_audio.push_back((position, late));
    }

    /// The connection is lost.
    pub fn lost(&mut self) {
        self.outage = Outage::Down;
    }

    /// A connection is made.
    pub fn connected(&mut self) {
        if self.outage == Outage::Down {
            self.outage = Outage::Over { to: self.position };
        }
    }

    /// The longest delay: of words that no outage held up, and of all while one goes on.
    pub fn most(&self) -> u64 {
        self.most.max(self.outage_most)
    }

    /// A word that begins at `position` came `delay` after it was spoken, at time `now`; `limit`:
    /// what the pipeline allows.
    pub fn word(&mut self, position: Position, delay: u64, now: u64, limit: u64) -> Option<Cause> {
        if self.is_held_up(position, delay, limit) {
            self.lately.clear();
            return None;
        }
        self.outage_most = 0;
        self.most = self.most.max(delay);
        let speed = self.speed(position, now);
        // No latency is enough where the server, or the audio itself, falls behind.
        if speed.is_none_or(|speed| speed >= KEEPS_UP) && self.late_audio(position) == 0 {
            self.latency.word(delay);
        }
        if delay <= limit {
            self.told_slow = false;
            return None;
        }
        let audio = self.late_audio(position);
        if audio > 0 && delay.saturating_sub(audio) <= limit {
            return (!std::mem::replace(&mut self.told_audio, true)).then_some(Cause::Audio(audio));
        }
        // Once for each step that matters, not for each word.
        if delay / 11 * 10 <= self.told || self.told_slow {
            return None;
        }
        let speed = speed?;
        self.told = delay;
        if speed >= KEEPS_UP {
            return Some(Cause::Latency);
        }
        self.told_slow = true;
        Some(Cause::Slow(speed))
    }

    /// Whether an outage is to blame.
    fn is_held_up(&mut self, position: Position, delay: u64, limit: u64) -> bool {
        let held_up = match self.outage {
            Outage::None => false,
            Outage::Down => true,
            Outage::Over { to } => position < to + CATCHES_UP && delay > limit,
        };
        if held_up {
            self.outage_most = self.outage_most.max(delay);
        } else {
            self.outage = Outage::None;
        }
        held_up
    }

    /// How late the audio at this position came.
    fn late_audio(&mut self, position: Position) -> u64 {
        while self.late_audio.get(1).is_some_and(|a| a.0 <= position) {
            self.late_audio.pop_front();
        }
        self.late_audio.front().filter(|a| a.0 <= position).map_or(0, |a| a.1)
    }

    /// Seconds of audio whose words came in a second, of late; `None`: nobody can tell yet.
    fn speed(&mut self, position: Position, now: u64) -> Option<f64> {
        self.lately.push_back((position, now));
        while self.lately.get(1).is_some_and(|l| l.0 + MEASURED_MOST < position) {
            self.lately.pop_front();
        }
        if self.lately.len() > NOTES {
            self.lately.pop_front();
        }
        let (from, then) = *self.lately.front()?;
        let audio = position - from;
        let passed = now.saturating_sub(then).max(1) as f64 / 1e9;
        let speed = audio.samples() as f64 / SAMPLE_RATE as f64 / passed;
        (audio > Length::ZERO && (audio >= MEASURED || speed >= AT_ONCE)).then_some(speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    const MS: u64 = 1_000_000;

    /// Words, three a second from `from` s on for so many seconds, by a server that begins 600 ms
    /// behind and works through `speed` s of audio in a second; what is told, and the last delay.
    fn words(d: &mut Delay, from: u64, seconds: u64, speed: f64, limit: u64) -> (Vec<Cause>, u64) {
        let mut told = Vec::new();
        let mut delay = 0;
        for n in 0..3 * seconds {
            let spoken = n * 1000 / 3;
            delay = 600 + (spoken as f64 * (1.0 / speed - 1.0)).max(0.0) as u64;
            let at = from * 1000 + spoken;
            told.extend(d.word(pos(at * 16), delay * MS, (at + delay) * MS, limit * MS));
        }
        (told, delay)
    }

    #[test]
    fn a_latency_that_is_too_short_is_told_once() {
        let mut d = Delay::default();
        assert_eq!(words(&mut d, 0, 60, 1.0, 3000).0, []);
        assert_eq!(d.most(), 600 * MS);
        assert_eq!(words(&mut d, 60, 60, 1.0, 500).0, [Cause::Latency]);
    }

    #[test]
    fn a_server_slower_than_speech_is_told_once_with_its_speed() {
        let mut d = Delay::default();
        let (told, delay) = words(&mut d, 0, 60, 0.7, 3000);
        assert!(matches!(told[..], [Cause::Slow(s)] if (s - 0.7).abs() < 0.05), "{told:?}");
        assert_eq!(d.most(), delay * MS);
        // It recovers, and falls behind again.
        assert_eq!(words(&mut d, 100, 20, 1.0, 3000).0, []);
        assert_eq!(words(&mut d, 120, 120, 0.6, 3000).0.len(), 1);
    }

    #[test]
    fn words_that_come_at_once_need_latency() {
        let mut d = Delay::default();
        let told: Vec<Cause> = (0..3)
            .filter_map(|n| d.word(pos(n * 5000), 9000 * MS - n, 10_000 * MS + n, 500 * MS))
            .collect();
        assert_eq!(told, [Cause::Latency]);
    }

    #[test]
    fn audio_that_is_late_itself_is_told_as_such() {
        let mut d = Delay::default();
        d.audio(pos(0), 50 * MS);
        d.audio(pos(16_000), 2500 * MS);
        assert_eq!(d.word(pos(8000), 600 * MS, 1100 * MS, 3000 * MS), None);
        let told: Vec<Cause> = (1..90)
            .filter_map(|n| {
                let at = 1000 + n * 1000 / 3;
                d.audio(pos(at * 16), (2500 + n % 3) * MS);
                d.word(pos(at * 16), 3622 * MS, (at + 3622) * MS, 3000 * MS)
            })
            .collect();
        assert!(matches!(told[..], [Cause::Audio(late)] if late.abs_diff(2500 * MS) < 100 * MS));
    }

    #[test]
    fn what_an_outage_held_up_is_no_matter_of_latency() {
        let mut d = Delay::default();
        words(&mut d, 0, 10, 1.0, 3000);
        d.audio(pos(160_000), 0);
        d.lost();
        d.audio(pos(35 * 16_000), 0);
        d.connected();
        for n in 0..60 {
            let at = 10_000 + n * 1000 / 3;
            let now = 35_500 + n;
            assert_eq!(d.word(pos(at * 16), (now - at) * MS, now * MS, 3000 * MS), None);
        }
        assert!(d.most() > 20_000 * MS);
        assert_eq!(words(&mut d, 36, 10, 1.0, 3000).0, []);
        assert_eq!(d.most(), 600 * MS, "it recovers");
        // An outage is no excuse for ever.
        d.lost();
        d.audio(pos(50 * 16_000), 0);
        d.connected();
        assert_eq!(words(&mut d, 50, 60, 1.0, 500).0, [Cause::Latency]);
    }

    #[test]
    fn nothing_grows() {
        let mut d = Delay::default();
        for n in 0..100_000 {
            d.audio(pos(n * 16), n % 7 * 1000 * MS);
            d.word(pos(n), u64::MAX, u64::MAX, 0);
        }
        assert!(d.late_audio.len() <= NOTES && d.lately.len() <= NOTES);
    }
}
