// SPDX-License-Identifier: MPL-2.0

//! What is heard again, after a failure or behind a cut: which of its words are out.

use super::{
    Length, Position, Timing, Word, clock::Clock, clock::detect::Detector, generation::Generation,
    script::normalised, state::Transcript, stitch, words,
};

/// What was given out of audio that may be heard again.
#[derive(Debug, Default)]
pub struct Repeats {
    /// Words that are out are heard again only in audio before this position, but for the slip.
    out_to: Position,
    /// By how many samples the times of what is out are too early, as what was heard again tells:
    /// deltas were merged, or spare ones came.
    slip: i64,
    /// By how many more they are too early at least, as what was heard again ended before some of
    /// the words that were awaited in it.
    more: i64,
    /// The last word of a generation that was cut in speech, which is left to the next one, and
    /// where the cut was.
    held: Option<(Word, Position)>,
    /// The clock of what was lost, as far as it is known.
    lost: Timing,
    /// Of a generation that begins here so many words were all out before.
    asked: Option<(Position, usize)>,
}

impl Repeats {
    /// Words that are out are heard again only in audio before this position.
    pub fn out_to(&self) -> Position {
        self.out_to.moved(self.slip.max(0))
    }

    /// A word is out that was heard in audio up to here: what was left is, or was another word.
    pub fn note_out(&mut self, heard_in: Position) {
        self.held = None;
        (self.slip, self.more) = (0, 0);
        self.out_to = self.out_to.max(heard_in);
    }

    /// A generation is lost, or heard again from its end on.
    pub fn note_lost(&mut self, detector: &Detector, g: &Generation) {
        self.asked = None;
        self.lost = match detector.known() {
            Timing::Auto if g.placed.is_again() => self.lost,
            known => known,
        };
    }

    /// The clock of what was lost.
    pub fn clock(&self) -> &'static dyn Clock {
        self.lost.clock()
    }

    /// A generation was heard to its end, at `limit`: a word that was left by a cut before that is not
    /// awaited any more.
    pub fn heard_to(&mut self, limit: Position) {
        self.held.take_if(|(_, cut)| limit >= *cut);
    }

    /// Nothing before `limit` is sent again; what follows may begin a little sooner.
    pub fn not_again(&mut self, limit: Position) {
        if self.out_to() <= limit {
            (self.out_to, self.slip, self.more) = Default::default();
        }
    }

    /// A word is left to the next generation by a cut at `limit`; where none is, the one before may
    /// still be.
    pub fn hold(&mut self, word: Option<Word>, limit: Position) {
        if let Some(word) = word {
            self.held = Some((word, limit));
        }
    }

    pub fn flush(&mut self) {
        *self = Repeats { lost: self.lost, ..Repeats::default() };
    }
}

impl Transcript {
    /// Drops the words heard again that are out, once it is known which; `false`: not yet. `last`:
    /// no more will come.
    pub(super) fn resolve_repeats(&mut self, g: &mut Generation, last: bool) -> bool {
        let (start, limit) = (g.start(), g.limit());
        let Some(heard) = g.placed.heard_again() else { return true };
        let again = self.clock().rehearing();
        let heard_to = self.heard.position(start);
        let heard_to = heard.last().map_or(heard_to, |w| w.begin.midpoint(w.end).max(heard_to));
        let known = |repeats: &Repeats| last || heard_to >= repeats.out_to() + again.sure;
        let asked = Some((start, heard.len()));
        if !known(&self.repeats) || !last && self.repeats.asked == asked {
            return false;
        }
        let end = if last { limit } else { heard.last().map_or(limit, |w| w.end) };
        let held = self.repeats.held.as_ref().map(|(word, _)| word);
        let more = self.repeats.more;
        let old = (self.emitter.last_words(), self.repeats.slip.saturating_add(more));
        let (repeated, slip, left) = stitch::repeated(old, held, heard, start..end, again.times);
        self.repeats.slip = slip.saturating_sub(more);
        if !known(&self.repeats) {
            return false;
        }
        let some_new = repeated < heard.len();
        if !again.one_by_one && !some_new && !last {
            // The next one may have been given out too.
            self.repeats.asked = asked;
            return false;
        }
        let last_again = repeated.checked_sub(1).and_then(|i| heard.get(i)).cloned();
        let heard_last = last_again.as_ref().or(heard.first()).cloned();
        g.placed.drop_repeats(repeated);
        g.set_again(repeated);
        let pair = self.emitter.last().zip(last_again.as_ref());
        // Is there more to come that was given out before?
        let all = left.is_none()
            && pair.is_some_and(|(out, again)| {
                normalised(&out.text) == normalised(&again.text) && out.begin < limit
            });
        if let Some(marks) =
            pair.and_then(|(out, again)| words::added_marks(&out.text, &again.text))
        {
            self.emitter.correct(&marks);
        }
        if all || some_new {
            let heard_to = heard_last.map_or(Position::START, |w| self.heard_in(g, &w));
            self.repeats.out_to = self.repeats.out_to.min(heard_to.max(self.emitter.last_end()));
            self.repeats.more = 0;
        } else if last && again.one_by_one {
            // The others may come behind the end.
            self.repeats.out_to = self.repeats.out_to.max(limit + again.sure);
        } else if let Some(left) = left {
            // They do.
            let by = limit.later_than(left).unwrap_or(0).max(0);
            self.repeats.more = more.saturating_add(by);
            self.repeats.out_to = self.repeats.out_to.max(limit + Length::new(1));
        }
        true
    }
}
