// SPDX-License-Identifier: MPL-2.0

//! Audio that just stops: silence is also time that passes without audio.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{Length, Position};

/// Buffers whose lengths are remembered.
const RECENT: usize = 8;

/// Audio that comes within so short a time is one buffer, or a bunch of them ...
const BUNCH: Duration = Duration::from_millis(20);
/// ... of so much at most, unless it is given in pieces as long as this.
const BUNCH_MOST: Length = Length::of_s(1);

/// How far the end of an utterance whose audio has stopped has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Audio comes.
    #[default]
    Flows,
    /// Nothing came behind this position for too long: its words are asked for.
    Stopped { at: Position },
    /// The words of all audio before this position are out.
    Said { at: Position },
}

/// Watches the audio come in.
#[derive(Debug, Default)]
pub(super) struct Stall {
    state: State,
    /// No audio is expected.
    paused: bool,
    /// When the last audio came.
    last: Duration,
    /// The recent bunches, the one under way last.
    bunches: VecDeque<Length>,
}

impl Stall {
    /// So much came.
    pub fn audio(&mut self, length: Length, now: Duration) {
        self.state = State::Flows;
        match self.bunches.back_mut() {
            Some(bunch)
                if now.saturating_sub(self.last) <= BUNCH
                    && (*bunch < BUNCH_MOST || length >= BUNCH_MOST) =>
            {
                *bunch += length;
            }
            _ => {
                if self.bunches.len() >= RECENT {
                    self.bunches.pop_front();
                }
                self.bunches.push_back(length);
            }
        }
        self.last = now;
    }

    /// When the audio counts as stopped, if nothing comes until then: after `silence`, and never
    /// before twice the longest of the recent buffers.
    pub fn due(&self, silence: Duration) -> Option<Duration> {
        let longest = *self.bunches.iter().max()?;
        let twice = Duration::from_nanos((longest * 2).ns());
        (self.state == State::Flows).then(|| self.last + silence.max(twice))
    }

    /// No audio is expected from now on, or it is again.
    pub fn pause(&mut self, paused: bool, end: Position) {
        self.paused = paused;
        if paused {
            self.stop(end);
        }
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The audio has stopped, at position `end`.
    pub fn stop(&mut self, end: Position) {
        if self.state == State::Flows {
            self.state = State::Stopped { at: end };
        }
    }

    /// Whether the generation that has taken all up to `end` is to end there.
    pub fn ends(&self, end: Position) -> bool {
        self.state == State::Stopped { at: end }
    }

    /// The generation has ended well that took all up to `at`.
    pub fn said(&mut self, at: Position) {
        if self.ends(at) {
            self.state = State::Said { at };
        }
    }

    /// Whether there is nothing to say of audio up to `end` that is not said yet.
    pub fn is_said(&self, end: Position) -> bool {
        self.state == State::Said { at: end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{len, pos};

    const S: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    const SILENCE: Duration = Duration::from_millis(800);

    #[test]
    fn silence_or_twice_the_longest_of_the_recent_buffers() {
        let mut stall = Stall::default();
        assert_eq!(stall.due(SILENCE), None, "nothing came yet");
        stall.audio(len(1600), S);
        assert_eq!(stall.due(SILENCE), Some(S + SILENCE));
        // A buffer of 3 s, in pieces.
        (0..3).for_each(|_| stall.audio(len(16_000), 4 * S));
        assert_eq!(stall.due(SILENCE), Some(10 * S));
        // It is forgotten when it is long ago.
        for n in 0..8 {
            stall.audio(len(1600), 4 * S + 100 * (n + 1) * MS);
        }
        assert_eq!(stall.due(SILENCE), Some(4 * S + 800 * MS + SILENCE));
    }

    #[test]
    fn it_stops_once_and_audio_begins_anew() {
        let mut stall = Stall::default();
        let (end, later) = (pos(1600), pos(3200));
        stall.audio(len(1600), S);
        stall.stop(end);
        assert!(stall.ends(end) && !stall.ends(later) && stall.due(SILENCE).is_none());
        stall.said(end);
        assert!(stall.is_said(end) && !stall.is_said(later) && !stall.ends(end));
        stall.stop(end);
        assert!(stall.is_said(end), "paused, too: nothing more is to be said");
        stall.audio(len(1600), 9 * S);
        assert!(!stall.is_said(end) && !stall.ends(later) && stall.due(SILENCE).is_some());
    }
}
