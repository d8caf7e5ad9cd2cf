// SPDX-License-Identifier: MPL-2.0

//! Audio to the server: when a generation begins, how far ahead it may run, where it is cut.

use std::time::Duration;

use super::super::event;
use super::super::utterances::Span;
use super::generation::Ending;
use super::{Connection, FIRST_TEXT, Generation, Phase, Session};
use crate::transcript::clock::{ALL_SPEAK, AtCut, FRAMES_SPEAK};
use crate::transcript::{SampleInGeneration, Timing};
use crate::{Length, Position, mechanism::Mechanism};

/// Speech-free time in which a generation can be cut without harm.
const PAUSE: Length = Length::of_ms(200);
/// Sound that must be known behind a pause to see that it is one.
const LOOK_AHEAD: Length = Length::of_ms(200);

/// Generations at least this long are cut with an overlap.
const OVERLAP_FROM: Length = Length::of_s(20);

/// How a generation ends before its utterance does.
enum Cut {
    /// At a pause or the quietest place: the utterance is two.
    Split(Position),
    /// The next generation goes on with the utterance. In the middle of speech it hears the end of
    /// this one again: only where it can be told which words are safe.
    Within(Position, Ending),
}

/// So much audio is listened to at once, at most: a voice that comes or goes is not found out later.
const LISTENS: Length = Length::of_ms(100);

impl Session {
    /// Audio without which more audio changes nothing: the rest of a chunk.
    pub fn lacks(&self) -> Length {
        if self.link.state() == Connection::Idle {
            return Length::new(1);
        }
        let running = self.generation.as_ref().filter(|g| g.is_running()).map(Generation::at);
        let from = running.or(self.utterances.front().map(|front| front.begin));
        let unsent = from.map_or(Length::ZERO, |from| self.history.end() - from);
        let chunk = self.pace.chunk();
        (chunk - unsent % chunk).min(LISTENS)
    }

    /// Sends all that may be sent now.
    pub(super) fn send(&mut self) {
        match self.link.state() {
            Connection::Idle if !self.is_all_said() => self.attempt(),
            Connection::Ready => while self.send_one() {},
            _ => {}
        }
    }

    /// One step; `false`: there is nothing to do until something happens.
    fn send_one(&mut self) -> bool {
        match self.generation.map(|g| (g, g.phase())) {
            None => self.now >= self.not_before && self.begin(),
            Some((g, Phase::Running { until })) => self.go_on(g, until),
            Some(_) => false,
        }
    }

    /// Begins a generation, when there is audio for it.
    fn begin(&mut self) -> bool {
        self.leave_pause();
        self.finish_empty();
        let nothing = self.in_pause || self.is_all_said();
        let Some(front) = self.utterances.front().filter(|_| !nothing) else { return false };
        let there = front.end_within(self.history.end());
        let grows = front.end.is_none() && !self.stall.ends(there);
        if there <= front.begin || (grows && there - front.begin < self.pace.chunk()) {
            return false;
        }
        let start = front.begin;
        self.turn_to_model(start);
        self.transcript.begin(start);
        self.actions.send(event::commit(false));
        self.stats.generations += 1;
        let whole = !self.transcript.may_be_cut_anew() && Mechanism::KnownTo.is_on();
        let known_to = if whole { self.transcript.out_to() } else { start };
        self.generation = Some(Generation::new(start, self.actions.sent_to(), known_to, self.now));
        self.ruts.spoken(start);
        true
    }

    /// A generation begins here: between two utterances the model may change.
    fn turn_to_model(&mut self, start: Position) {
        if self.transcript.is_in_utterance() {
            return;
        }
        let due = self.next_models.partition_point(|(from, ..)| *from <= start);
        let Some((_, model, language)) = self.next_models.drain(..due).next_back() else { return };
        if model != self.config.model {
            // It may speak by another clock, and have another context.
            self.transcript.forget_server();
            self.limits.forget_model();
        }
        self.transcript.expect_language(language.clone());
        self.config.model = model;
        self.config.transcript.language = language;
        let extras = self.link.updates();
        self.update(extras);
    }

    /// The generation goes on: it is cut, takes more of the front utterance, or ends.
    fn go_on(&mut self, mut g: Generation, until: Option<(Position, Ending)>) -> bool {
        let Some(front) = self.utterances.front() else { return false };
        let cut = if until.is_none() { self.place_to_cut(&mut g, front) } else { None };
        match cut {
            Some(Cut::Split(at)) => self.utterances.split_front(at),
            Some(Cut::Within(at, ending)) => g.end_at(at, ending),
            None => {}
        }
        self.generation = Some(g);
        if cut.is_some() {
            return true;
        }
        let here = self.history.end();
        let end = until.map_or(front.end, |(at, _)| Some(front.end_within(at)));
        let stopped = end.is_none() && self.stall.ends(here);
        let ending = match until {
            _ if front.ends_by(g.at()) => Some(Ending::Utterance),
            Some((at, ending)) => (g.at() >= at).then_some(ending),
            None => (stopped && g.at() >= here && !g.is_empty()).then_some(Ending::Stall),
        };
        match ending {
            Some(ending) => self.end_generation(g, ending),
            None => return self.append(&g, end, stopped),
        }
        false
    }

    /// Sends the next piece of the generation, which ends at `end` or, where the audio has stopped,
    /// with what there is.
    fn append(&mut self, g: &Generation, end: Option<Position>, stopped: bool) -> bool {
        let here = self.history.end();
        let mut there = end.map_or(here, |end| end.min(here));
        let closed = stopped || end == Some(there);
        let longest = self.longest_generation(g);
        if end.is_none() && !stopped && !self.ends_at_pauses(g) && g.length() >= longest / 3 * 2 {
            there = there.min(here - LOOK_AHEAD);
        }
        let left = there - g.at();
        let ahead = self.may_run_ahead(g).map_or(left, |ahead| ahead.min(left));
        let least = self.pace.least(g.sent() - self.transcript.worked());
        if ahead == Length::ZERO || (left < least && !closed) {
            return false;
        }
        let most = match end {
            // Where a cut is decided it stays, although the longest generation has shrunk since.
            Some(end) if g.is_cut() || end <= g.start() + longest => left,
            // No more will come for a while.
            _ if stopped => left,
            // Behind this the place to cut is looked for, with all of the sound at hand.
            _ => left.min(hold_at(g, longest) - g.at()),
        };
        let held = !closed && most < left;
        let most = most.min(ahead).min(self.pace.most());
        // What is left before the place where it waits anyway goes out as it is.
        if most == Length::ZERO || most < least.min(ahead) && !held && !closed {
            return false;
        }
        let audio = self.history.read(g.at(), g.at() + most, most.count());
        if audio.is_empty() {
            // Not kept any more: it cannot be sent, so it is over, and so is the generation.
            self.drop_audio(g.at(), there, "it was not kept");
            self.leave();
            self.send();
            return false;
        }
        if self.actions.audio(g.at(), &audio) {
            // The last audio goes out: that is movement too.
            self.outputs.moved(self.now);
        }
        if let Some(g) = &mut self.generation {
            g.append(Length::of(&audio));
        }
        self.note_due();
        true
    }

    /// The audio of the generation ends.
    fn end_generation(&mut self, mut g: Generation, ending: Ending) {
        let padding = self.actions.final_commit(g.sent());
        g.finish(ending, padding, self.now);
        self.transcript.audio_end(g.at(), padding);
        self.generation = Some(g);
    }

    /// How much more may be sent before the server has made progress; `None`: any length.
    fn may_run_ahead(&self, g: &Generation) -> Option<Length> {
        let most = match self.clock().ahead() {
            Some(ahead) => self.transcript.heard() + self.pace.ahead(ahead),
            None => self.first_text_awaited_until(g).map(|_| self.first_words(g))?,
        };
        Some(most - g.sent())
    }

    /// Until when to wait for the first words of a server whose kind is not known.
    pub(super) fn first_text_awaited_until(&self, g: &Generation) -> Option<Duration> {
        let until = g.progress() + FIRST_TEXT;
        let unknown = self.transcript.timing() == Timing::Auto;
        (unknown && g.sent() >= self.first_words(g) && self.now < until).then_some(until)
    }

    /// Audio that makes every server speak that can speak before the generation is over.
    fn first_words(&self, g: &Generation) -> SampleInGeneration {
        let length = if self.ends_at_pauses(g) { FRAMES_SPEAK } else { ALL_SPEAK };
        SampleInGeneration::START + length
    }

    /// Where the generation has to end before the utterance does, if it has to.
    fn place_to_cut(&self, g: &mut Generation, front: Span) -> Option<Cut> {
        if self.first_text_awaited_until(g).is_some() {
            return None;
        }
        let limit = self.longest_generation(g);
        if let Some((at, from)) = self.pause(g, limit) {
            return Some(Cut::Within(at, Ending::Pause { from }));
        }
        let (at, length) = (g.at(), g.length());
        // The limit may have shrunk meanwhile.
        let last = (g.start() + limit).max(at);
        if length < limit / 3 * 2 || g.is_empty() || front.ends_by(last) {
            return None;
        }
        let sound = self.transcript.sound();
        let pause = PAUSE.min(length);
        let paused = sound.next_speech(at - pause, at) == at;
        if paused && !self.ends_at_pauses(g) {
            return Some(Cut::Split(at));
        }
        // No pause came.
        if at < hold_at(g, limit) {
            return None;
        }
        let overlaps = self.clock().cut() == AtCut::ByClock && limit >= OVERLAP_FROM;
        if overlaps && Mechanism::OverlapAtCut.is_on() {
            return Some(Cut::Within(at, Ending::Overlap));
        }
        let there = self.history.end() >= last;
        let quietest = there.then(|| sound.quietest(at, last).clamp(at, last))?;
        Some(if self.overlaps_by_segments(g, limit) {
            Cut::Within(quietest, Ending::Overlap)
        } else {
            Cut::Split(quietest)
        })
    }
}

/// Where a generation that has found no pause stops to take audio, to be cut at the quietest
/// place between here and its limit.
fn hold_at(g: &Generation, limit: Length) -> Position {
    g.start() + limit - (limit / 8).min(Length::of_s(1))
}
