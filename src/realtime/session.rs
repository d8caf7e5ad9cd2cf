// SPDX-License-Identifier: MPL-2.0

//! The state machine: no I/O, no clock of its own.
//!
//! `audio in`, `message in`, `connection up / down`, `time is now T` go in; `connect`, `send
//! this`, words, `wake me at T` come out. Time is a [`Duration`] since any beginning. So it can be
//! run under a virtual clock against any server and any fault.
//!
//! Audio goes through three hands: the [`History`] keeps the samples, the [`Utterances`] says which
//! stretches are utterances, the generation (`Run`) carries the front one to the server. A
//! sample leaves the history when its words are out, or when it was silence, or when it had to
//! be given up; [`Stats`] counts each of them.

use std::collections::VecDeque;
use std::time::Duration;

use self::extras::Extras;
use self::failures::{Cause, Failures};
use self::limits::Limits;
use self::stall::Stall;
use super::history::History;
use super::retry::Retry;
use super::utterances::Utterances;
use super::{Config, ConnectionState, Error, Output, Stats};
use crate::SAMPLE_RATE;
use crate::speech::{Activity, ActivityConfig, Change};
use crate::transcript::Transcript;
use crate::transcript::clock::Clock;

mod extras;
mod failures;
mod lifecycle;
mod limits;
mod pauses;
mod receiving;
mod retention;
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

/// State of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// There is none, and no need of one.
    Idle,
    /// The next attempt is due then.
    Waiting {
        until: Duration,
    },
    /// The transport is at it.
    Connecting {
        deadline: Duration,
    },
    /// `session.created` is awaited.
    Greeting {
        deadline: Duration,
    },
    Ready,
    /// For good.
    Failed,
}

/// State of the generation on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// The next one may begin then.
    None { not_before: Duration },
    /// It takes audio.
    Running(Run),
    /// The final commit was sent, `done` is awaited.
    Finishing(Run),
    /// What it says is of no interest; the next one may begin after `done`.
    Abandoned { until: Duration, run: Run },
}

/// A generation that carries the front utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Position of its first sample.
    start: u64,
    /// Position of the next sample to send.
    at: u64,
    /// Position up to which audio was sent before this generation.
    sent_before: u64,
    /// Position up to which words were out before this generation, and it should not be cut.
    known_to: u64,
    /// Samples sent, padding included.
    sent: u64,
    deltas: u64,
    /// Whether the first of them, if there is one, was empty.
    begins_blank: bool,
    /// When the server last made progress, or was first asked to.
    progress: Duration,
    /// Whether an answer has been due since `progress`.
    due: bool,
    /// Position up to which the server had heard when it last said a word.
    spoken_at: u64,
    /// Samples of voice that it has heard since, and said nothing.
    blank: u64,
    /// Pauses were looked for up to here.
    no_pause_to: u64,
    /// Where it ends before its utterance does, and how.
    until: Option<(u64, Ending)>,
    ending: Ending,
    /// Deltas when a burst of text was last taken to be over.
    burst: u64,
}

/// What comes behind a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Another utterance.
    Utterance,
    /// It is cut in the middle of speech: its last words are not taken, the next one says them.
    Overlap,
    /// There was a pause: the utterance goes on in the next one, from this position on.
    Pause { from: u64 },
    /// The audio has stopped. Where it goes on, the word at the cut is heard again whole.
    Stall,
}

/// Longest utterance for a server that speaks only at the end of one.
const UTTERANCE_AHEAD: u64 = 20 * SAMPLE_RATE;
/// How long a server whose kind is not known may be silent before it is taken for one that speaks
/// only at the end.
const SHY: Duration = Duration::from_secs(5);
/// `done` is sent a moment before the server empties its queue: what is sent in that same moment
/// could be lost.
const SETTLE: Duration = Duration::from_millis(25);
/// How long a generation that nobody wants may take to end before the connection is given up.
const ABANDON: Duration = Duration::from_secs(2);
/// Audio in one append at most, when catching up.
const APPEND_MOST: u64 = SAMPLE_RATE / 2;

/// A segmented server's burst of text is over when nothing has come for so long.
const BURST: Duration = Duration::from_millis(300);

/// Voice without a word after which a generation counts as stuck in a blank rut (vllm#47614):
/// longer than any natural pause of the words behind the voice.
const BLANK_RUT: u64 = 10 * SAMPLE_RATE;
/// A generation that is tried again for a blank rut begins so much before it.
const BEFORE_RUT: u64 = SAMPLE_RATE;

/// Audio before a cut in the middle of speech whose words the next generation says.
const OVERLAP: u64 = SAMPLE_RATE;

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
/// the answers to drains and flushes.
#[derive(Debug)]
pub struct Session {
    config: Config,
    live: bool,
    paused: bool,
    stall: Stall,
    /// What comes next of the front utterance may be the rest of a pause.
    in_pause: bool,
    now: Duration,
    history: History,
    utterances: Utterances,
    activity: Option<Activity>,
    changes: Vec<Change>,
    transcript: Transcript,
    connection: Connection,
    generation: Generation,
    retry: Retry,
    /// Whether this outage was told of already.
    warned: bool,
    extras: Extras,
    /// Binary frames came, and were told of.
    told_binary: bool,
    /// The server said something that only a server of this protocol says.
    proven: bool,
    /// How often the server's queue was full.
    full_queues: u32,
    /// How long a generation may be.
    limits: Limits,
    /// No utterance begins before this: the audio broke off here.
    broken_off: u64,
    /// Position up to which all must be over, and the number of the drain that waits for it.
    drains: VecDeque<(u64, u64)>,
    /// No audio follows: since when nothing has moved.
    finishing: Option<Duration>,
    horizon: u64,
    /// Position up to which audio was ever sent.
    sent_to: u64,
    /// Failures over the same audio.
    failures: Failures,
    /// Of the failure under way.
    cause: Cause,
    /// Generations over the same audio that ended early: its position and how often.
    early_ends: (u64, u32),
    /// Voice up to here was blank twice: there are no words in it.
    wordless_to: u64,
    actions: VecDeque<Action>,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl Session {
    /// `seed` makes the jitter of the waits.
    pub fn new(config: Config, seed: u64) -> Session {
        let activity = config
            .voice_activity
            .then(|| Activity::new(ActivityConfig { silence: samples(config.silence_commit) }));
        let servers = config.servers.len();
        Session {
            retry: Retry::new(config.reconnect, config.connect_timeout, servers, seed),
            transcript: Transcript::new(config.transcript.clone()),
            activity,
            limits: Limits::new(&config),
            config,
            live: false,
            paused: false,
            stall: Stall::default(),
            in_pause: false,
            now: Duration::ZERO,
            history: History::default(),
            utterances: Utterances::default(),
            changes: Vec::new(),
            connection: Connection::Idle,
            generation: Generation::None { not_before: Duration::ZERO },
            warned: false,
            extras: Extras::new(servers),
            told_binary: false,
            proven: false,
            full_queues: 0,
            broken_off: 0,
            drains: VecDeque::new(),
            finishing: None,
            horizon: 0,
            sent_to: 0,
            failures: Failures::default(),
            cause: Cause::default(),
            early_ends: (0, 0),
            wordless_to: 0,
            actions: VecDeque::new(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
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
        self.paused = paused;
        if paused {
            self.stall.stop(self.history.end());
        }
        self.pump();
    }

    /// When the utterance under way ends unless audio comes. A source that is not live is only
    /// slow.
    fn stall_due(&self) -> Option<Duration> {
        let watched = (self.live || self.paused) && self.utterances.is_open();
        watched.then(|| self.stall.due(self.config.silence_commit)).flatten()
    }

    /// Whether no utterance waits for its words.
    fn is_all_said(&self) -> bool {
        self.utterances.is_empty()
            || self.utterances.is_open() && self.stall.is_said(self.history.end())
    }

    /// Connect now, before there is audio.
    pub fn connect(&mut self, now: Duration) {
        self.now = now;
        if self.connection == Connection::Idle {
            self.attempt();
        }
    }

    /// Audio that begins at `position`: where the last one ended, or later after
    /// [`Session::end_utterance`].
    pub fn audio(&mut self, position: u64, samples: Vec<i16>, now: Duration) {
        self.now = now;
        if self.connection == Connection::Failed || samples.is_empty() {
            return;
        }
        self.finishing = None;
        self.stall.audio(samples.len() as u64, now);
        self.stats.samples_in += samples.len() as u64;
        self.transcript.audio(position, &samples);
        match &mut self.activity {
            Some(activity) => {
                activity.push(position, &samples, &mut self.changes);
                self.history.push(position, samples);
                for change in self.changes.drain(..) {
                    match change {
                        Change::Begin(at) => self.utterances.open(at),
                        Change::End(at) => self.utterances.close(at),
                    }
                }
            }
            None => {
                if !self.utterances.is_open() {
                    self.utterances.open(position);
                }
                self.history.push(position, samples);
            }
        }
        self.pump();
    }

    /// A pause: what there is, is committed; the next audio begins a new utterance. No audio
    /// comes before `position` any more.
    pub fn end_utterance(&mut self, position: u64, now: Duration) {
        self.now = now;
        self.break_off(position);
        self.pump();
    }

    /// As [`Session::end_utterance`]; [`Output::Drained`] with this number follows the last word.
    pub fn drain(&mut self, number: u64, now: Duration) {
        self.now = now;
        self.break_off(self.history.end());
        self.drains.push_back((self.history.end(), number));
        self.pump();
    }

    fn break_off(&mut self, position: u64) {
        if let Some(activity) = &mut self.activity {
            activity.reset();
        }
        if self.is_all_said() {
            // Nothing came behind what was said: it will not be heard again.
            self.utterances.close(self.history.end());
            self.utterances.finish();
        }
        self.utterances.close(self.history.end());
        // Audio that was left out counts as silence.
        self.stats.samples_in += position.saturating_sub(self.history.end());
        self.history.skip_to(position);
        self.broken_off = self.history.end();
    }

    /// As [`Session::drain`], and no audio follows: where the words do not come, it ends with an
    /// error once nothing has moved for twice `response_timeout` and `connect_timeout` (so one
    /// dead connection is made good), unless the user wants to wait for ever.
    pub fn finish(&mut self, number: u64, now: Duration) {
        self.finishing = Some(now);
        self.drain(number, now);
    }

    /// Forgets all audio and all words not yet out; [`Output::Flushed`] comes next.
    pub fn flush(&mut self, number: u64, now: Duration) {
        self.now = now;
        let end = self.history.end();
        if let Some(activity) = &mut self.activity {
            activity.reset();
        }
        self.utterances.flush(end);
        self.in_pause = false;
        self.broken_off = end;
        self.history.forget_before(end);
        self.transcript.flush();
        self.finishing = None;
        self.drains.clear();
        let of_the_past = |o: &Output| {
            matches!(o, Output::Transcript(_) | Output::Horizon(_) | Output::Drained(_))
        };
        self.outputs.retain(|o| !of_the_past(o));
        self.horizon = self.horizon.max(end);
        if let Generation::Running(mut run) | Generation::Finishing(mut run) = self.generation {
            if matches!(self.generation, Generation::Running(_)) && run.sent > 0 {
                run.sent += self.send_final(&run);
            }
            self.generation = Generation::Abandoned { until: now + ABANDON, run };
        }
        self.outputs.push_back(Output::Flushed(number));
        self.pump();
    }

    /// The element goes: whatever is under way ends as gently as one message allows.
    pub fn shut_down(&mut self) {
        if let (Connection::Ready, Generation::Running(run)) = (self.connection, self.generation)
            && run.sent > 0
        {
            self.send_final(&run);
        }
        self.actions.push_back(Action::Disconnect);
        self.connection = Connection::Failed;
    }

    /// Time passes.
    pub fn time(&mut self, now: Duration) {
        self.now = now;
        self.check_deadlines();
        if self.stall_due().is_some_and(|due| self.now >= due) {
            self.stall.stop(self.history.end());
        }
        if self.burst_over_at().is_some_and(|at| self.now >= at)
            && let Generation::Running(run) | Generation::Finishing(run) = &mut self.generation
        {
            run.burst = run.deltas;
            self.transcript.burst_over();
        }
        self.pump();
    }

    /// When the burst of text under way is over, unless more of it comes.
    fn burst_over_at(&self) -> Option<Duration> {
        let run = self.run().filter(|run| run.deltas > run.burst)?;
        self.transcript.burst_may_be_over().then(|| run.progress + BURST)
    }

    /// What the transport is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Audio kept because its words are not safe, in samples.
    pub fn backlog(&self) -> u64 {
        self.history.kept()
    }

    /// Audio that a source which can wait may have ahead of its words, in samples.
    pub fn backlog_most(config: &Config) -> u64 {
        samples(config.max_backlog)
    }

    /// Whether it ended with [`Output::Failed`].
    pub fn has_failed(&self) -> bool {
        self.connection == Connection::Failed
    }

    pub fn stats(&self) -> Stats {
        Stats {
            repetitions: self.transcript.repetitions(),
            clock: self.transcript.timing(),
            samples_confirmed: self.utterances.confirmed(),
            samples_skipped: self.utterances.skipped(),
            samples_dropped: self.utterances.dropped(),
            samples_flushed: self.utterances.flushed(),
            samples_unconfirmed: self.stats.samples_in.saturating_sub(
                self.utterances.confirmed()
                    + self.utterances.skipped()
                    + self.utterances.dropped()
                    + self.utterances.flushed(),
            ),
            ..self.stats
        }
    }

    /// What is known of the server's kind.
    fn clock(&self) -> &'static dyn Clock {
        self.transcript.timing().clock()
    }

    /// The generation that words come from.
    fn run(&self) -> Option<Run> {
        match self.generation {
            Generation::Running(run) | Generation::Finishing(run) => Some(run),
            Generation::None { .. } | Generation::Abandoned { .. } => None,
        }
    }

    /// All that follows from any input: sends what can be sent, gives out what is known.
    fn pump(&mut self) {
        if self.connection != Connection::Failed {
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
        while matches!(self.generation, Generation::None { .. } | Generation::Abandoned { .. })
            && self.utterances.front().is_some_and(|s| s.end.is_some_and(|e| e <= s.begin))
        {
            self.utterances.finish();
        }
    }
}

impl Run {
    /// A delta came.
    fn count(&mut self, text: &str) {
        self.deltas += 1;
        self.begins_blank &= self.deltas > 1 || text.is_empty();
    }

    /// Position from which on words may still come after all, if the server is in a blank rut.
    fn words_may_come_from(&self) -> u64 {
        if self.blank > 0 { self.spoken_at } else { u64::MAX }
    }
}

/// How many samples last so long.
fn samples(d: Duration) -> u64 {
    crate::timeline::samples(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

fn output_connection(
    outputs: &mut VecDeque<Output>,
    config: &Config,
    server: usize,
    state: ConnectionState,
    reason: &str,
) {
    let server = config.servers.get(server).map(ToString::to_string).unwrap_or_default();
    outputs.push_back(Output::Connection { state, server, reason: reason.to_owned() });
}

#[cfg(test)]
mod tests;
