// SPDX-License-Identifier: MPL-2.0

//! The connection: made, greeted, lost, tried again; and what fails for good.

use std::time::Duration;

use super::super::retry::Next;
use super::super::{ConnectionState, Error, ErrorKind, Output, Reconnect, event};
use super::failures::{Cause, POISONED};
use super::{Action, Connection, Generation, Lost, Run, Session, output_connection};
use crate::mechanism::Mechanism;

/// Bytes of a text that are shown at most: servers repeat whole arrays.
const LONGEST_SHOWN: usize = 1000;

impl Session {
    /// The transport has a WebSocket: the server's greeting is awaited.
    pub fn connected(&mut self, now: Duration) {
        self.now = now;
        if let Connection::Connecting { deadline } = self.connection {
            self.connection = Connection::Greeting { deadline };
        }
    }

    /// The attempt failed or the connection is gone.
    pub fn disconnected(&mut self, lost: Lost, now: Duration) {
        self.now = now;
        let mut lost = self.fit_to_show(lost);
        if self.connection == Connection::Ready && self.stats().samples_confirmed > 0 {
            // It took the key, and worked: a limit of its own. The next attempt tells.
            lost.permanent &= self.retry.failures() > 0;
        }
        match self.connection {
            Connection::Idle | Connection::Waiting { .. } | Connection::Failed => {}
            Connection::Ready if self.is_at_rest() && !lost.permanent => {
                // Nothing was under way: the next audio connects again.
                self.extras.lost(self.retry.server());
                self.connection = Connection::Idle;
                self.report(ConnectionState::Closed, &lost.error.message);
            }
            _ => {
                self.cause = Cause::Lost;
                self.lose(lost);
            }
        }
        self.pump();
    }

    /// Whether nothing is under way on this connection.
    pub(super) fn is_at_rest(&self) -> bool {
        !matches!(self.generation, Generation::Running(_) | Generation::Finishing(_))
            && self.is_all_said()
    }

    /// An attempt begins.
    pub(super) fn attempt(&mut self) {
        self.retry.attempt(self.now);
        self.limits.turn_to(self.retry.server());
        let deadline = self.now + self.config.connect_timeout;
        self.connection = Connection::Connecting { deadline };
        self.stats.connections += 1;
        self.report(ConnectionState::Connecting, "");
        self.actions.push_back(Action::Connect { server: self.retry.server() });
    }

    /// The server greets: it is told what is wanted.
    pub(super) fn greet(&mut self) {
        self.retry.answered();
        self.connection = Connection::Ready;
        self.warned = false;
        self.generation = Generation::None { not_before: self.now };
        let extras = self.extras.ask(self.retry.server());
        self.update(extras);
        self.report(ConnectionState::Connected, "");
    }

    pub(super) fn update(&mut self, extras: bool) {
        let language = self.config.transcript.language.as_deref();
        let update = event::session_update(&self.config.model, language, extras);
        self.send_control(update);
    }

    fn report(&mut self, state: ConnectionState, reason: &str) {
        let server = self.retry.server();
        output_connection(&mut self.outputs, &self.config, server, state, reason);
    }

    /// Gives the connection up, keeps the audio, and tries again or fails for good.
    pub(super) fn lose(&mut self, lost: Lost) {
        let lost = self.fit_to_show(lost);
        self.stats.errors += 1;
        self.extras.lost(self.retry.server());
        if !matches!(self.connection, Connection::Idle | Connection::Waiting { .. }) {
            self.actions.push_back(Action::Disconnect);
        }
        self.report(ConnectionState::Lost, &lost.error.message);
        self.interrupt_generation();
        let waits = self.live && !self.is_all_said() && !self.failures.is_stubborn();
        match self.retry.failed(self.now, lost.permanent, waits) {
            Next::At(until) => {
                if !self.warned {
                    self.warned = true;
                    let text = format!("{} The audio is kept and sent again.", lost.error.message);
                    let server_text = lost.error.detail;
                    self.outputs.push_back(if server_text.is_empty() {
                        Output::Warning(text)
                    } else {
                        Output::ServerWarning { text, server_text }
                    });
                }
                self.connection = Connection::Waiting { until };
            }
            Next::GiveUp => {
                let error = self.retry.explain(&lost.error);
                self.fail(error);
            }
        }
    }

    /// Servers and gateways have a say in what is told: without the key, which some repeat, and
    /// without what a terminal or a log would take for more than text.
    fn fit_to_show(&self, mut lost: Lost) -> Lost {
        for text in [&mut lost.error.message, &mut lost.error.detail] {
            for secret in self.config.secrets() {
                *text = text.replace(secret, "***");
            }
            *text = text.replace(char::is_control, " ");
            // Not before the key is masked: half of it is no key any more, but too much to show.
            let end = text.floor_char_boundary(LONGEST_SHOWN);
            text.truncate(end);
        }
        lost
    }

    /// The generation is lost: the audio whose words are not out will be sent again.
    fn interrupt_generation(&mut self) {
        let cause = std::mem::take(&mut self.cause);
        if let Generation::Running(run) | Generation::Finishing(run) = self.generation {
            let resume = self.resume_at(&run);
            self.transcript.abort();
            // Something is left to ask for, or the utterance would never be told to be over.
            let latest = self.utterances.front().and_then(|s| s.end).unwrap_or(u64::MAX);
            let end = if Mechanism::EndAskedAgain.is_on() { crate::SAMPLE_RATE / 10 } else { 0 };
            let resume = resume.min(latest.saturating_sub(end)).max(run.start);
            self.utterances.confirm(resume);
            self.note_failure(run, resume, cause);
        }
        self.generation = Generation::None { not_before: self.now };
    }

    /// Audio over which every generation fails must not hold up what comes after it.
    fn note_failure(&mut self, run: Run, resume: u64, cause: Cause) {
        let tried = run.at.saturating_sub(run.known_to);
        // What has words is not to blame, though it is heard again; unless all of it has.
        let resume = Some(self.horizon).filter(|h| *h < run.at).map_or(resume, |h| h.max(resume));
        if run.sent > 0 && self.failures.failed(resume, cause, tried) && self.proven {
            self.failures.given_up();
            // No more than a server can take at once: what is behind it may be good.
            let to = run.at.min(resume + POISONED);
            self.drop_audio(resume, to, "every attempt to recognise it failed");
        }
    }

    /// A binary frame that is no text.
    pub fn binary(&mut self, bytes: usize, now: Duration) {
        self.now = now;
        if !std::mem::replace(&mut self.told_binary, true) {
            self.outputs.push_back(Output::Warning(format!(
                "The server at {} sent a binary frame of {bytes} bytes that is no text; vLLM's realtime API has none. It is ignored, and so are those that follow.",
                self.server_name()
            )));
        }
        self.pump();
    }

    /// Ends the session.
    pub(super) fn fail(&mut self, error: Error) {
        // The last words: nothing follows the failure.
        self.collect();
        self.connection = Connection::Failed;
        self.drains.clear();
        self.report(ConnectionState::Closed, &error.message);
        self.outputs.push_back(Output::Failed(error));
    }

    /// What is overdue by now.
    pub(super) fn check_deadlines(&mut self) {
        if self.finish_by().is_some_and(|by| self.now >= by) {
            let error = self.timeout(
                "The audio has ended, and its last words did not come, not even by another connection",
                "response-timeout",
            );
            self.actions.push_back(Action::Disconnect);
            return self.fail(error);
        }
        match self.connection {
            Connection::Waiting { until } if self.now >= until => self.attempt(),
            Connection::Connecting { deadline } if self.now >= deadline => {
                let e = self.timeout("The server could not be reached", "connect-timeout");
                self.lose(Lost { error: e, permanent: false });
            }
            Connection::Greeting { deadline } if self.now >= deadline => {
                let e = self.timeout(
                    "The server accepted the connection but did not begin a session",
                    "connect-timeout",
                );
                self.lose(Lost { error: e, permanent: false });
            }
            Connection::Ready => self.check_progress(),
            _ => {}
        }
    }

    /// A new connection when there is need of one. Not a failure: the server only takes longer
    /// than anybody wants to wait, or nobody knows what it waits for.
    pub(super) fn leave(&mut self) {
        self.actions.push_back(Action::Disconnect);
        self.generation = Generation::None { not_before: self.now };
        self.connection = Connection::Idle;
    }

    /// The server does not keep a connection on which nothing goes on: the next audio connects
    /// again.
    pub(super) fn close_idle(&mut self) {
        self.leave();
        self.report(ConnectionState::Closed, "nothing was said for long");
    }

    fn check_progress(&mut self) {
        match self.generation {
            Generation::Abandoned { until, .. } if self.now >= until => self.leave(),
            Generation::Running(run) | Generation::Finishing(run)
                if run.due && self.now >= run.progress + self.config.response_timeout =>
            {
                let mut e = self.timeout(
                    "The server stopped answering while words were due",
                    "response-timeout",
                );
                if run.deltas == 0 {
                    // It may have had no slot.
                    self.cause = Cause::Lost;
                    e.message += " A server that takes the audio and never says anything has all its sequence slots taken (vLLM's --max-num-seqs), or was started with --stream-interval above 1, which its realtime API does not answer.";
                }
                self.lose(Lost { error: e, permanent: false });
            }
            _ => {}
        }
    }

    fn timeout(&self, what: &str, property: &str) -> Error {
        let limit = if property == "connect-timeout" {
            self.config.connect_timeout
        } else {
            self.config.response_timeout
        };
        Error {
            kind: ErrorKind::Timeout,
            message: format!(
                "{what} ({}, after {} ms). Check that a vLLM server with a realtime model runs there and has a free slot, or raise property {property}.",
                self.server_name(),
                limit.as_millis()
            ),
            detail: String::new(),
        }
    }

    pub(super) fn server_name(&self) -> String {
        self.config.servers.get(self.retry.server()).map(ToString::to_string).unwrap_or_default()
    }

    /// When to stop waiting for the last words: long enough to find the connection dead, make
    /// another, and wait for its answer.
    fn finish_by(&self) -> Option<Duration> {
        let since = self.finishing.filter(|_| self.connection != Connection::Failed)?;
        let patient = self.config.reconnect == Reconnect::Forever;
        let limit = 2 * self.config.response_timeout + self.config.connect_timeout;
        (!patient).then(|| since + limit)
    }

    /// When [`Session::time`] has something to do.
    pub fn wake_at(&self) -> Option<Duration> {
        let all = [self.finish_by(), self.stall_wake_at(), self.connection_wake_at()];
        all.into_iter().flatten().min()
    }

    fn stall_wake_at(&self) -> Option<Duration> {
        self.stall_due().filter(|_| self.connection != Connection::Failed)
    }

    fn connection_wake_at(&self) -> Option<Duration> {
        match self.connection {
            Connection::Idle | Connection::Failed => None,
            Connection::Waiting { until } => Some(until),
            Connection::Connecting { deadline } | Connection::Greeting { deadline } => {
                Some(deadline)
            }
            Connection::Ready => match self.generation {
                Generation::None { not_before } => {
                    (!self.is_all_said() && not_before > self.now).then_some(not_before)
                }
                Generation::Abandoned { until, .. } => Some(until),
                Generation::Running(run) | Generation::Finishing(run) => {
                    let timeout = run.due.then(|| run.progress + self.config.response_timeout);
                    let waits = [timeout, self.shy_until(&run), self.burst_over_at()];
                    waits.into_iter().flatten().min()
                }
            },
        }
    }
}
