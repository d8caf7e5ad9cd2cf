// SPDX-License-Identifier: MPL-2.0

//! How long a generation may be: what the server tells of its model's context, and what it
//! teaches by its failures.

use super::{Config, Generation, Session, UTTERANCE_AHEAD, pauses};
use crate::{Length, Position, transcript::Timing};

/// Longest generation where the model's context is not known.
const LONGEST: Length = Length::of_s(600);
/// Longest one that the user asks for: the most that property `max-utterance` takes.
const DAY: Length = Length::of_s(86_400);
/// Longest one however large the context is: 25 MB is all that a server may take (vllm#48130).
const LARGEST: Length = Length::of_s(780);
/// Shortest generation that rotation makes.
const SHORTEST: Length = Length::of_s(1);
/// Nothing is learnt about the context's length from generations shorter than this.
const SHORTEST_CONTEXT: Length = Length::of_s(5);

/// How long a generation may be: by the user, by the model's context as far as it is known, by the
/// server's kind, and after failures.
#[derive(Debug, Default)]
pub(super) struct Limits {
    by_user: Option<Length>,
    /// Of a server that does not tell how far it has heard: all of it is kept until `done`.
    whole: Length,
    /// `max_model_len` in tokens (`GET /v1/models`), and which server told it.
    told: Option<u64>,
    server: usize,
    /// Generations longer than this are not tried any more.
    learned: Option<Length>,
    /// The last one that failed: its length, and the position where it ended.
    failed: Option<(Length, Position)>,
    /// The longest one that ended as it should.
    worked: Length,
}

/// What a generation's length depends on beside the limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// It ends at pauses.
    pub at_pauses: bool,
    /// So much was sent before, and is not cut where it was not cut then.
    pub again: Length,
    /// Longest one after failures over the same audio.
    pub after_failures: Option<Length>,
}

impl Limits {
    pub fn new(config: &Config) -> Limits {
        Limits {
            by_user: config.max_utterance.map(Length::lasting),
            whole: UTTERANCE_AHEAD.min(Session::backlog_most(config) / 2),
            ..Limits::default()
        }
    }

    /// The session turns to this server: what another one told is of no use.
    pub fn turn_to(&mut self, server: usize) {
        self.told = self.told.filter(|_| self.server == server);
        self.server = server;
    }

    /// Another model: what the one before it told and taught is of no use.
    pub fn forget_model(&mut self) {
        (self.told, self.learned, self.failed, self.worked) = Default::default();
    }

    /// What the server answers; no answer changes nothing.
    pub fn tell(&mut self, max_model_len: Option<u64>) {
        self.told = max_model_len.or(self.told);
    }

    /// A generation of this length ended as it should.
    pub fn note_success(&mut self, length: Length) {
        self.worked = self.worked.max(length);
    }

    /// Whether the context can be full after this length: not where it is short, nor far from what
    /// the server tells.
    pub fn may_be_full(&self, length: Length, timing: Timing) -> bool {
        let told = self.by_model(timing);
        length >= SHORTEST_CONTEXT && told.is_none_or(|told| length >= told / 5 * 4)
    }

    /// The server ended a generation by itself after this length: no longer ones.
    pub fn note_end(&mut self, length: Length) {
        if length >= SHORTEST_CONTEXT {
            let limit = length / 5 * 4;
            self.learned = Some(self.learned.map_or(limit, |l| l.min(limit)));
        }
    }

    /// A generation failed after this length, and the server says no more than that. One failure
    /// can have any cause; two after about the same length, over different audio, where no longer
    /// one ever worked, are taken for the context's end. Whether they are.
    pub fn note_failure(&mut self, start: Position, length: Length) -> bool {
        let Some((before, end)) = self.failed.replace((length, start + length)) else {
            return false;
        };
        let (shorter, longer) = (length.min(before), length.max(before));
        let alike = longer - shorter <= longer / 4;
        // Not the same sound that the server cannot take.
        let elsewhere = (start + length).abs_diff(end) >= shorter / 2;
        let full =
            alike && elsewhere && shorter >= SHORTEST_CONTEXT && self.worked <= longer / 4 * 5;
        if full {
            self.failed = None;
            self.note_end(shorter);
        }
        full
    }

    /// Longest generation by what the server tells of its model.
    fn by_model(&self, timing: Timing) -> Option<Length> {
        self.told.map(|tokens| timing.clock().context(tokens))
    }

    /// Longest generation of a server of this kind.
    pub fn longest(&self, timing: Timing, needs: Needs) -> Length {
        let by_model = self.by_model(timing).map(|n| n.min(LARGEST));
        // Half as much more, so that it gets on; but not each time, for ever.
        let again = needs.again.max((needs.again / 2 * 3).min(self.whole / 2 * 3));
        let by_kind = if needs.at_pauses {
            Some(pauses::LONGEST.max(again))
        } else {
            (!timing.clock().tells_heard()).then(|| self.whole.max(again))
        };
        let limit = self.by_user.or(by_model).unwrap_or(LONGEST);
        let others = [self.learned, by_kind, needs.after_failures];
        others.into_iter().flatten().fold(limit, Length::min).clamp(SHORTEST, DAY)
    }
}

impl Session {
    /// The model's context length in tokens (`GET /v1/models`).
    pub fn set_context(&mut self, max_model_len: Option<u64>) {
        self.limits.tell(max_model_len);
    }

    /// The server failed: whether that is the context's end.
    pub(super) fn learn_from_failure(&mut self) -> bool {
        let Some(g) = self.wanted() else { return false };
        self.limits.note_failure(g.start(), self.transcript.heard().min(g.sent()).length())
    }

    /// Longest generation.
    pub(super) fn longest_generation(&self, g: &Generation) -> Length {
        // Audio that is sent again is not cut anew where its words are joined to those that were
        // given out by where they stand.
        let whole = !self.clock().tells_heard() && !self.transcript.may_be_cut_anew();
        let again = if whole { g.again() } else { Length::ZERO };
        let end = self.utterances.front().and_then(|f| f.end);
        let left = end.map(|end| end - g.start());
        let needs = Needs {
            at_pauses: self.ends_at_pauses(g),
            again,
            after_failures: self.failures.longest(g.known(), left),
        };
        self.limits.longest(self.transcript.timing(), needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{len, pos};

    const S: Length = Length::of_s(1);

    fn limits() -> Limits {
        Limits::new(&Config::default())
    }

    #[test]
    fn two_failures_after_about_the_same_length_teach() {
        let mut c = limits();
        assert!(!c.note_failure(pos(0), S * 25));
        assert!(c.note_failure(pos(0) + S * 22, S * 30));
        assert_eq!(c.learned, Some(S * 20));
        // Still too long: again.
        assert!(!c.note_failure(pos(0) + S * 100, S * 20));
        assert!(c.note_failure(pos(0) + S * 120, S * 20));
        assert_eq!(c.learned, Some(S * 16));
    }

    #[test]
    fn other_failures_teach_nothing() {
        // Once; at different lengths; over the same audio; too early to be a context.
        for failures in [
            &[(0, 25)][..],
            &[(0, 25), (25, 12), (37, 40), (77, 6)],
            &[(0, 25), (1, 24), (2, 23), (1, 24)],
            &[(0, 4), (100, 4), (200, 4)],
        ] {
            let mut c = limits();
            for &(start, length) in failures {
                assert!(!c.note_failure(pos(0) + S * start, S * length), "{failures:?}");
            }
            assert_eq!(c.learned, None, "{failures:?}");
        }
        // A longer one has worked.
        let mut c = limits();
        c.note_success(S * 40);
        assert!(!c.note_failure(pos(0), S * 25));
        assert!(!c.note_failure(pos(0) + S * 100, S * 25));
    }

    /// Each connection dies before the generation is over, and each time a little more has words.
    #[test]
    fn what_is_sent_again_does_not_grow_for_ever() {
        let c = limits();
        let longest = |again| {
            let needs = Needs { at_pauses: false, again, after_failures: None };
            c.longest(Timing::Arrival, needs)
        };
        let whole = longest(len(0));
        assert_eq!(longest(whole / 2), whole);
        assert_eq!(longest(whole / 5 * 4), whole / 5 * 4 / 2 * 3);
        assert_eq!(longest(whole), whole / 2 * 3);
        assert_eq!(longest(longest(whole)), whole / 2 * 3);
    }

    #[test]
    fn no_answer_does_not_take_back_an_answer() {
        let mut c = limits();
        c.tell(Some(1000));
        c.tell(None);
        c.turn_to(0);
        assert_eq!(c.by_model(Timing::Segments), Some(S * 25));
        c.turn_to(1);
        assert_eq!(c.by_model(Timing::Segments), None);
    }
}
