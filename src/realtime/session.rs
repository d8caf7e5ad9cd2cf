// SPDX-License-Identifier: MPL-2.0

//! The state machine: no I/O, no clock of its own.
//!
//! `audio in`, `message in`, `connection up / down`, `time is now T` go in; `connect`, `send
//! this`, words, `wake me at T` come out. Time is a [`Duration`] since any beginning. So it can be
//! run under a virtual clock against any server and any fault.
//!
//! Audio goes through three hands: the [`History`] keeps the samples, the [`Utterances`] says which
//! stretches are utterances, the generation (`Generation`) carries the front one to the server. A
//! sample leaves the history when its words are out, or when it was silence, or when it had to
//! be given up; [`Stats`] counts each of them.
//!
//! What has a life of its own has an owner with private fields: the connection (`Link`), what goes
//! to the transport (`Actions`) and to the element (`Outputs`), which audio is an utterance (`Intake`),
//! how far ahead (`Pace`) and how long (`Limits`) a generation may be, and each kind of trouble
//! (`Stall`, `Failures`, `Ruts`). The session is the protocol between them.

use std::collections::VecDeque;
use std::time::Duration;

use self::actions::Actions;
use self::failures::Failures;
use self::generation::{Generation, Phase};
use self::intake::Intake;
use self::limits::Limits;
use self::link::{Connection, Link};
use self::outputs::Outputs;
use self::pace::Pace;
use self::ruts::Ruts;
use self::stall::Stall;
use super::history::History;
use super::utterances::Utterances;
use super::{Config, Error, ErrorKind, Output, Stats};
use crate::transcript::clock::Clock;
use crate::{Length, Position, transcript::Transcript};

mod actions;
mod extras;
mod failures;
mod generation;
mod intake;
mod lifecycle;
mod limits;
mod link;
mod masking;
mod outputs;
mod pace;
mod pauses;
mod receiving;
mod retention;
mod ruts;
mod sending;
mod stall;

/// What the transport is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect to the server with this index; a connection that there is, is given up.
    Connect { server: usize },
    /// Send this text message.
    Send(String),
    /// Close the connection, or give up the attempt.
    Disconnect,
}

/// How an attempt or a connection ended, as the transport saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub error: Error,
    /// This server can never work: not authorized, no such route, another protocol.
    pub permanent: bool,
}

impl Lost {
    pub(super) fn new(
        kind: ErrorKind,
        permanent: bool,
        message: impl Into<String>,
        detail: impl Into<String>,
    ) -> Lost {
        Lost { error: Error::new(kind, message, detail), permanent }
    }
}

/// Longest utterance for a server that speaks only at the end of one.
const UTTERANCE_AHEAD: Length = Length::of_s(20);
/// How long a server whose kind is not known may be silent before it is taken for one that speaks
/// only at the end.
const FIRST_TEXT: Duration = Duration::from_secs(5);
/// `done` is sent a moment before the server empties its queue: what is sent in that same moment
/// could be lost.
const SETTLE: Duration = Duration::from_millis(25);
/// How long a generation that nobody wants may take to end before the connection is given up.
const ABANDON: Duration = Duration::from_secs(2);

/// So much of an utterance's end is kept until it is done, and asked for again.
const TAIL: Length = Length::of_ms(100);
/// Audio before a cut in the middle of speech whose words the next generation says.
const OVERLAP: Length = Length::of_s(1);

/// The session of one element.
///
/// Its owner is the transport, or a test. It calls, each with the time that it is now:
///
/// - for the element: [`Session::connect`] (or the first audio does), [`Session::set_live`] and
///   [`Session::set_paused`] whenever they change, [`Session::audio`] at positions that only grow,
///   [`Session::end_utterance`] before a step in them, [`Session::drain`], [`Session::finish`],
///   [`Session::flush`], and [`Session::shut_down`] as the last one;
/// - for the network: after [`Action::Connect`] either [`Session::connected`] or
///   [`Session::disconnected`], then [`Session::message`] and [`Session::binary`] in the order in which
///   they came, and [`Session::disconnected`] once when the connection is gone, unless it was told to
///   [`Action::Disconnect`]: what comes of that connection afterwards is not handed on;
/// - [`Session::time`] when [`Session::wake_at`] has come.
///
/// After each call it takes [`Session::poll_action`] and [`Session::poll_output`] until there are none,
/// and asks [`Session::wake_at`] anew. Outputs are in order. Nothing comes behind [`Output::Failed`] but
/// the answers to flushes.
#[derive(Debug)]
pub struct Session {
    config: Config,
    now: Duration,
    live: bool,
    intake: Intake,
    stall: Stall,
    history: History,
    utterances: Utterances,
    transcript: Transcript,
    link: Link,
    /// The generation under way.
    generation: Option<Generation>,
    /// The next one does not begin before.
    not_before: Duration,
    /// What comes next of the front utterance may be the rest of a pause.
    in_pause: bool,
    limits: Limits,
    pace: Pace,
    failures: Failures,
    ruts: Ruts,
    actions: Actions,
    outputs: Outputs,
    /// Binary frames came, and were told of.
    told_binary: bool,
    /// Models and languages to come, each of the utterances from this position on.
    next_models: VecDeque<(Position, String, Option<String>)>,
    stats: Stats,
}

impl Session {
    /// `seed` makes the jitter of the waits.
    pub fn new(config: Config, seed: u64) -> Session {
        Session {
            now: Duration::ZERO,
            live: false,
            intake: Intake::new(&config),
            stall: Stall::default(),
            history: History::default(),
            utterances: Utterances::default(),
            transcript: Transcript::new(config.transcript.clone()),
            link: Link::new(&config, seed),
            generation: None,
            not_before: Duration::ZERO,
            in_pause: false,
            limits: Limits::new(&config),
            pace: Pace::new(&config),
            failures: Failures::default(),
            ruts: Ruts::default(),
            actions: Actions::default(),
            outputs: Outputs::default(),
            told_binary: false,
            next_models: VecDeque::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// A live source does not wait: its oldest audio is given up beyond the backlog.
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
        self.transcript.set_live(live);
    }

    /// Paused, no audio is expected: words that are under way come now.
    pub fn set_paused(&mut self, paused: bool, now: Duration) {
        self.now = now;
        self.stall.pause(paused, self.history.end());
        self.pump();
    }

    /// Model and language that are expected from the next utterance on.
    pub fn set_model(&mut self, model: String, language: Option<String>) {
        let from =
            self.utterances.back().map(|last| last.begin + Length::new(1)).unwrap_or_default();
        if self.next_models.back().is_some_and(|next| next.0 == from) {
            self.next_models.pop_back();
        }
        self.next_models.push_back((from, model, language));
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// When the utterance under way ends unless audio comes. A source that is not live is only
    /// slow.
    fn stall_due(&self) -> Option<Duration> {
        let watched = (self.live || self.stall.is_paused()) && self.utterances.is_open();
        watched.then(|| self.stall.due(self.config.silence_commit)).flatten()
    }

    /// Whether no utterance waits for its words.
    fn is_all_said(&self) -> bool {
        self.utterances.front().is_none()
            || self.utterances.is_open() && self.stall.is_said(self.history.end())
    }

    /// Connect now, before there is audio.
    pub fn connect(&mut self, now: Duration) {
        self.now = now;
        if self.link.state() == Connection::Idle {
            self.attempt();
        }
    }

    /// Audio that begins at `position`: where the last one ended, or later after
    /// [`Session::end_utterance`].
    pub fn audio(&mut self, position: Position, samples: Vec<i16>, now: Duration) {
        // It may have waited a little for the rest of a chunk.
        self.now = self.now.max(now);
        if self.link.has_failed() || samples.is_empty() {
            return;
        }
        self.outputs.go_on();
        self.stall.audio(Length::of(&samples), now);
        self.stats.samples_in += samples.len() as u64;
        let (intake, utterances) = (&mut self.intake, &mut self.utterances);
        intake.audio(position, utterances);
        self.transcript.audio_judged(position, &samples, &mut |end, score| {
            intake.judge(end, score, utterances);
        });
        self.history.push(position, samples);
        self.pump();
    }

    /// A pause: what there is, is committed; the next audio begins a new utterance. No audio
    /// comes before `position` any more.
    pub fn end_utterance(&mut self, position: Position, now: Duration) {
        self.now = now;
        self.break_off(position);
        self.pump();
    }

    /// The utterance that is open, if there is one, ends with what was given; the audio goes on.
    pub fn commit(&mut self, now: Duration) {
        if self.utterances.is_open() {
            self.end_utterance(self.history.end(), now);
        }
    }

    /// As [`Session::end_utterance`]; [`Output::Drained`] with this number follows the last word.
    pub fn drain(&mut self, number: u64, now: Duration) {
        self.now = now;
        self.break_off(self.history.end());
        self.outputs.drain(self.history.end(), number);
        self.pump();
    }

    fn break_off(&mut self, position: Position) {
        let end = self.history.end();
        let all_said = self.is_all_said();
        self.utterances.close(end);
        if all_said {
            // Nothing came behind what was said: it will not be heard again.
            self.utterances.finish();
        }
        // Audio that was left out counts as silence.
        self.stats.samples_in += (position - end).samples();
        self.history.skip_to(position);
        self.intake.break_off(self.history.end());
    }

    /// As [`Session::drain`], and no audio follows: where the words do not come, it ends with an
    /// error once nothing has moved for twice `response_timeout` and `connect_timeout` (so one
    /// dead connection is made good), unless the user wants to wait for ever.
    pub fn finish(&mut self, number: u64, now: Duration) {
        self.outputs.finish(now);
        self.drain(number, now);
    }

    /// Forgets all audio and all words not yet out; [`Output::Flushed`] comes next.
    pub fn flush(&mut self, number: u64, now: Duration) {
        self.now = now;
        let end = self.history.end();
        self.intake.break_off(end);
        self.utterances.flush(end);
        self.in_pause = false;
        self.history.forget_before(end);
        self.transcript.flush();
        self.outputs.flush(end);
        if let Some(g) = self.generation.as_mut().filter(|g| g.is_wanted()) {
            let ends = g.is_running() && !g.is_empty();
            let padding = if ends { self.actions.final_commit(g.sent()) } else { Length::ZERO };
            g.abandon(padding, now + ABANDON);
        }
        self.outputs.push(Output::Flushed(number));
        self.pump();
    }

    /// The element goes: whatever is under way ends as gently as one message allows.
    pub fn shut_down(&mut self) {
        if let Some(g) = self.generation.filter(|g| g.is_running() && !g.is_empty())
            && self.link.state() == Connection::Ready
        {
            self.actions.final_commit(g.sent());
        }
        self.actions.disconnect();
        self.link.fail();
    }

    /// Time passes.
    pub fn time(&mut self, now: Duration) {
        self.now = now;
        self.check_deadlines();
        if self.stall_due().is_some_and(|due| self.now >= due) {
            self.stall.stop(self.history.end());
        }
        if self.burst_over_at().is_some_and(|at| self.now >= at)
            && let Some(g) = &mut self.generation
        {
            g.burst_over();
            self.transcript.burst_over();
        }
        self.pump();
    }

    /// When the burst of text under way is over, unless more of it comes.
    fn burst_over_at(&self) -> Option<Duration> {
        let at = self.wanted()?.burst_over_at()?;
        self.transcript.burst_may_be_over().then_some(at)
    }

    /// What the transport is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.poll()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.poll()
    }

    /// Audio kept because its words are not safe.
    pub fn backlog(&self) -> Length {
        self.history.kept()
    }

    /// Audio that a source which can wait may have ahead of its words.
    pub fn backlog_most(config: &Config) -> Length {
        Length::lasting(config.max_backlog)
    }

    /// Whether it ended with [`Output::Failed`].
    pub fn has_failed(&self) -> bool {
        self.link.has_failed()
    }

    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            repetitions: self.transcript.repetitions(),
            clock: self.transcript.timing(),
            ..self.stats
        };
        self.actions.count(&mut stats);
        self.utterances.count(&mut stats);
        stats
    }

    /// What the server's kind tells, as it is known from this generation or the one before.
    fn clock(&self) -> &'static dyn Clock {
        self.transcript.timing().clock()
    }

    /// The generation that words come from.
    fn wanted(&self) -> Option<Generation> {
        self.generation.filter(Generation::is_wanted)
    }

    /// All that follows from any input: sends what can be sent, gives out what is known.
    fn pump(&mut self) {
        if !self.link.has_failed() {
            self.leave_pause();
            self.finish_empty();
            self.send();
            // Behind that, nothing is given up that could be sent.
            if self.live {
                self.drop_beyond_bound();
            }
            // Now that all is sent nothing else may move it on.
            if !self.live && self.cut_at_bound() {
                self.send();
            }
            self.collect();
        }
        self.forget();
    }

    /// Utterances with nothing in them are over at once.
    fn finish_empty(&mut self) {
        while self.wanted().is_none()
            && self.utterances.front().is_some_and(|front| front.ends_by(front.begin))
        {
            self.utterances.finish();
        }
    }
}

#[cfg(test)]
mod tests;
