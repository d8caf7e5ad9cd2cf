// SPDX-License-Identifier: MPL-2.0

//! Failures over the same audio: what is done so that neither a server that dies again and again
//! nor audio that no server survives holds up what comes behind it.
//!
//! First the generations are made shorter, so that `done` comes before the next failure, or what
//! is good before the poison gets its words; then, where nothing helps, a little audio is given
//! up. Any progress begins the count anew: a server that lives long enough for one word or one
//! `done` at a time loses nothing, however often it dies.

use crate::{Length, Position, mechanism::Mechanism};

/// What a failure says about the audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server tells of it, or stops in the middle of its answers: it had the audio and failed.
    Told,
    /// The server was done before all was said: shorter generations for good are another matter
    /// (`Limits::note_end`).
    Ended,
    /// The connection is lost, or the answer never began: the network's, a restart's or a missing
    /// slot's fault more likely than the audio's.
    Lost,
}

impl Cause {
    fn weight(self) -> u32 {
        match self {
            Cause::Told | Cause::Ended => 5,
            Cause::Lost => 1,
        }
    }
}

/// Weight at which audio is given up: 8 failures told or 40 connections lost. With the waits of
/// `retry` (0.25 s doubled up to 8 s while no answer comes) these take half a minute and some five
/// minutes: longer than a server with a large model is away while it restarts.
pub(super) const POISON: u32 = 40;
/// How much is given up at a time, at most: a segment, the least that some servers hear at once.
/// By then generations are so short that it is hardly ever more than a second.
pub(super) const POISONED: Length = Length::of_s(5);

/// Failures over the same audio from which on generations are shorter. One is nothing special; two
/// without a word between them come of a server that does not live long enough.
const TWICE: u32 = 2;
/// Failures over the same audio from which on haste does not help.
const STUBBORN: u32 = 8;
/// Shortest generation that is tried: a word or two.
const SHORTEST: Length = Length::of_s(1);
/// Shortened generations that end well in a row before longer ones are tried again. One alone is
/// what a server manages that dies soon after.
const WELL: u32 = 2;
/// A generation so long is no longer a short one.
const LONG: Length = Length::of_s(600);

/// How often a generation over the same audio may end early until that is believed.
const EARLY_ENDS: u32 = 3;

/// The record of failures.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Position from which on the audio failed last.
    at: Position,
    /// Weight of the failures in a row over it, and how many they are.
    weight: u32,
    failures: u32,
    /// Longest generation that is tried meanwhile, in audio that has no words yet.
    shorter: Option<Length>,
    /// Generations in a row that ended well since it is so short.
    well: u32,
    /// Generations over the same audio that ended early: its position and how often.
    early_ends: Option<(Position, u32)>,
}

impl Failures {
    /// A generation failed, and the audio from `at` on will be sent again. `tried`: so much of it
    /// without words was sent. Whether that audio is to be given up.
    pub fn failed(&mut self, at: Position, cause: Cause, tried: Length) -> bool {
        let weight = cause.weight();
        if at == self.at {
            self.weight = self.weight.saturating_add(weight);
            self.failures += 1;
        } else {
            (self.at, self.weight, self.failures) = (at, weight, 1);
        }
        self.well = 0;
        if self.failures >= TWICE && cause != Cause::Ended {
            let tried = self.shorter.map_or(tried, |shorter| shorter.min(tried));
            self.shorter = Some((tried / 2).max(SHORTEST));
        }
        self.weight >= POISON
    }

    /// Whether the same audio has failed so often that the next attempt has time: hurried, they
    /// would be over before a server is back.
    pub fn is_stubborn(&self) -> bool {
        self.failures >= STUBBORN
    }

    /// The audio was given up: what follows it has no blame yet.
    pub fn given_up(&mut self) {
        (self.weight, self.failures) = (0, 0);
    }

    /// A generation of this length ended as it should.
    pub fn done(&mut self, length: Length) {
        (self.weight, self.failures) = (0, 0);
        let Some(shorter) = self.shorter else { return };
        // A short end of an utterance shows nothing.
        self.well += u32::from(length >= shorter / 2);
        if self.well >= WELL {
            self.well = 0;
            self.shorter = Some(shorter * 2).filter(|n| *n < LONG);
        }
    }

    /// The server was done before it knew of the final commit; the audio from `at` on is sent again.
    pub fn ended_early(&mut self, at: Position) {
        let before = self.early_ends.filter(|early| early.0 == at).map_or(0, |early| early.1);
        self.early_ends = Some((at, before + 1));
    }

    /// Whether it has been so often that this is what the server makes of the audio.
    pub fn ends_early(&self) -> bool {
        self.early_ends.is_some_and(|early| early.1 >= EARLY_ENDS)
    }

    /// It was not.
    pub fn ended_in_time(&mut self) {
        self.early_ends = None;
    }

    /// Longest generation now; `None`: no need of one. `known`: what has words at its
    /// beginning; `left`: all that is left of the utterance, where its end is known.
    pub fn longest(&self, known: Length, left: Option<Length>) -> Option<Length> {
        let n = self.shorter? + known;
        // In equal parts: a stub at the end could be the middle of a word.
        let parts = left.filter(|left| *left > n && Mechanism::EqualParts.is_on());
        Some(parts.map_or(n, |left| left / left.samples().div_ceil(n.samples())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::pos;

    const S: Length = Length::of_s(1);

    #[test]
    fn one_failure_changes_nothing() {
        let mut b = Failures::default();
        for at in 1..1000 {
            assert!(!b.failed(pos(at * 100), Cause::Told, S * 10));
            assert_eq!(b.shorter, None);
        }
    }

    #[test]
    fn generations_shrink_to_a_second_before_anything_is_given_up() {
        for (cause, most) in [(Cause::Told, 8), (Cause::Lost, 40)] {
            let mut b = Failures::default();
            let mut tried = S * 15;
            for n in 1..most {
                assert!(!b.failed(pos(7), cause, tried), "after {n}");
                tried = b.shorter.unwrap_or(tried);
            }
            assert_eq!(tried, S);
            assert!(b.failed(pos(7), cause, tried));
        }
    }

    #[test]
    fn what_follows_audio_that_was_given_up_has_no_blame() {
        let mut b = Failures::default();
        while !b.failed(pos(7), Cause::Told, S) {}
        assert!(b.is_stubborn());
        b.given_up();
        assert!(!b.is_stubborn() && !b.failed(pos(7), Cause::Told, S));
    }

    #[test]
    fn they_grow_again_where_two_end_well() {
        let mut b = Failures::default();
        (0..3).for_each(|_| assert!(!b.failed(pos(7), Cause::Lost, S * 6)));
        assert_eq!(b.shorter, Some(S * 3 / 2));
        // A server that dies after each.
        for at in 1..100 {
            b.done(S);
            assert!(!b.failed(pos(0) + S * at, Cause::Lost, S));
            assert_eq!(b.shorter, Some(S * 3 / 2));
        }
        (0..100).for_each(|_| b.done(S / 2));
        assert_eq!(b.shorter, Some(S * 3 / 2), "ends of utterances");
        (0..2).for_each(|_| b.done(S));
        assert_eq!(b.shorter, Some(S * 3));
        (0..2).for_each(|_| b.done(S * 3));
        assert_eq!(b.shorter, Some(S * 6));
        (0..20).for_each(|_| b.done(S * 300));
        assert_eq!(b.shorter, None);
    }
}
