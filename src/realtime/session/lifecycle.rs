// SPDX-License-Identifier: MPL-2.0

//! The connection: made, greeted, lost, tried again; and what fails for good.

use std::time::Duration;

use super::super::{ConnectionState, Error, ErrorKind, Output, Reconnect, event};
use super::failures::{Cause, POISONED};
use super::{Connection, Generation, Lost, Phase, Position, Session};

impl Session {
    /// The transport has a WebSocket: the server's greeting is awaited.
    pub fn connected(&mut self, now: Duration) {
        self.now = now;
        self.link.connected();
    }

    /// The attempt failed or the connection is gone.
    pub fn disconnected(&mut self, mut lost: Lost, now: Duration) {
        self.now = now;
        let ready = self.link.state() == Connection::Ready;
        if ready && self.stats().samples_confirmed > 0 {
            // It took the key, and worked: a limit of its own. The next attempt tells.
            lost.permanent &= !self.link.has_worked();
        }
        match self.link.state() {
            Connection::Idle | Connection::Waiting { .. } | Connection::Failed => {}
            Connection::Ready if self.is_at_rest() && !lost.permanent => {
                // Nothing was under way: the next audio connects again.
                self.link.closed();
                let reason = self.fit_to_show(lost).error.message;
                self.report(ConnectionState::Closed, &reason);
            }
            _ => self.lose(Cause::Lost, lost),
        }
        self.pump();
    }

    /// Whether nothing is under way on this connection.
    pub(super) fn is_at_rest(&self) -> bool {
        self.wanted().is_none() && self.is_all_said()
    }

    /// An attempt begins.
    pub(super) fn attempt(&mut self) {
        let server = self.link.attempt(self.now);
        self.limits.turn_to(server);
        self.stats.connections += 1;
        self.report(ConnectionState::Connecting, "");
        self.actions.connect(server);
    }

    /// The server greets: it is told what is wanted.
    pub(super) fn greet(&mut self) {
        let extras = self.link.greeted();
        self.generation_is_over(Duration::ZERO);
        self.update(extras);
        self.report(ConnectionState::Connected, "");
    }

    pub(super) fn update(&mut self, extras: bool) {
        let language = self.config.transcript.language.as_deref();
        self.actions.send(event::session_update(&self.config.model, language, extras));
    }

    /// The generation is over; the next one may begin after this wait.
    pub(super) fn generation_is_over(&mut self, wait: Duration) {
        self.generation = None;
        self.not_before = self.now + wait;
    }

    fn report(&mut self, state: ConnectionState, reason: &str) {
        let (server, reason) = (self.link.name(), reason.to_owned());
        self.outputs.push(Output::Connection { state, server, reason });
    }

    /// Gives the connection up, keeps the audio, and tries again or fails for good.
    pub(super) fn lose(&mut self, cause: Cause, lost: Lost) {
        let Lost { error, permanent } = self.fit_to_show(lost);
        self.stats.errors += 1;
        if self.link.lost() {
            self.actions.disconnect();
        }
        self.report(ConnectionState::Lost, &error.message);
        self.interrupt_generation(cause);
        let hurry = self.live && !self.is_all_said() && !self.failures.is_stubborn();
        match self.link.try_again(self.now, permanent, hurry, &error) {
            Ok(true) => {}
            Ok(false) => {
                let text = format!("{} The audio is kept and sent again.", error.message);
                let server_text = error.detail;
                self.outputs.push(if server_text.is_empty() {
                    Output::Warning(text)
                } else {
                    Output::ServerWarning { text, server_text }
                });
            }
            Err(error) => self.fail(error),
        }
    }

    /// The generation is lost: the audio whose words are not out will be sent again.
    fn interrupt_generation(&mut self, cause: Cause) {
        if let Some(g) = self.wanted() {
            let resume = self.keep_from(&g);
            self.transcript.abort();
            self.utterances.confirm(resume);
            self.note_failure(&g, resume, cause);
        }
        self.generation_is_over(Duration::ZERO);
    }

    /// Audio over which every generation fails must not hold up what comes after it.
    fn note_failure(&mut self, g: &Generation, resume: Position, cause: Cause) {
        // What has words is not to blame, though it is heard again; unless all of it has.
        let horizon = self.outputs.horizon();
        let resume = if horizon < g.at() { resume.max(horizon) } else { resume };
        let fails = !g.is_empty() && self.failures.failed(resume, cause, g.tried());
        if fails && self.link.is_proven() {
            self.failures.given_up();
            // No more than a server can take at once: what is behind it may be good.
            let to = g.at().min(resume + POISONED);
            self.drop_audio(resume, to, "every attempt to recognise it failed");
        }
    }

    /// Ends the session.
    fn fail(&mut self, error: Error) {
        // The last words: nothing follows the failure.
        self.collect();
        self.link.fail();
        self.outputs.forget_drains();
        self.report(ConnectionState::Closed, &error.message);
        self.outputs.push(Output::Failed(error));
    }

    /// What is overdue by now.
    pub(super) fn check_deadlines(&mut self) {
        let response = ("response-timeout", self.config.response_timeout);
        let connect = ("connect-timeout", self.config.connect_timeout);
        let is_over = |at: Option<Duration>| at.is_some_and(|at| self.now >= at);
        if is_over(self.finish_by()) {
            let what = "The audio has ended, and its last words did not come, not even by another connection";
            let lost = self.timeout(what, response);
            self.actions.disconnect();
            return self.fail(lost.error);
        }
        let overdue = is_over(self.link.deadline());
        match self.link.state() {
            Connection::Waiting { .. } if overdue => self.attempt(),
            Connection::Connecting { .. } if overdue => {
                self.lose(Cause::Told, self.timeout("The server could not be reached", connect));
            }
            Connection::Greeting { .. } if overdue => {
                let what = "The server accepted the connection but did not begin a session";
                self.lose(Cause::Told, self.timeout(what, connect));
            }
            Connection::Ready if is_over(self.answer_by()) => {
                let Some(g) = self.wanted() else { return self.leave() };
                let what = "The server stopped answering while words were due";
                let mut lost = self.timeout(what, response);
                let mut cause = Cause::Told;
                if g.deltas() == 0 {
                    // It may have had no slot.
                    cause = Cause::Lost;
                    lost.error.message += " A server that takes the audio and never says anything has all its sequence slots taken (vLLM's --max-num-seqs), or was started with --stream-interval above 1, which its realtime API does not answer.";
                }
                self.lose(cause, lost);
            }
            _ => {}
        }
    }

    /// A new connection when there is need of one. Not a failure: the server only takes longer
    /// than anybody wants to wait, or nobody knows what it waits for.
    pub(super) fn leave(&mut self) {
        self.actions.disconnect();
        self.generation_is_over(Duration::ZERO);
        self.link.leave();
    }

    /// The server does not keep a connection on which nothing goes on: the next audio connects
    /// again.
    pub(super) fn close_idle(&mut self) {
        self.leave();
        self.report(ConnectionState::Closed, "nothing was said for long");
    }

    fn timeout(&self, what: &str, (property, limit): (&str, Duration)) -> Lost {
        let message = format!(
            "{what} ({}, after {} ms). Check that a vLLM server with a realtime model runs there and has a free slot, or raise property {property}.",
            self.link.name(),
            limit.as_millis()
        );
        Lost::new(ErrorKind::Timeout, false, message, "")
    }

    /// When to stop waiting for the last words: long enough to find the connection dead, make
    /// another, and wait for its answer.
    fn finish_by(&self) -> Option<Duration> {
        let since = self.outputs.unmoved_since().filter(|_| !self.link.has_failed())?;
        let patient = self.config.reconnect == Reconnect::Forever;
        let limit = 2 * self.config.response_timeout + self.config.connect_timeout;
        (!patient).then(|| since + limit)
    }

    /// When to stop waiting for what the generation owes.
    fn answer_by(&self) -> Option<Duration> {
        let g = self.generation?;
        match g.phase() {
            Phase::Abandoned { until } => Some(until),
            _ => g.due_since().map(|since| since + self.config.response_timeout),
        }
    }

    /// When [`Session::time`] has something to do.
    pub fn wake_at(&self) -> Option<Duration> {
        let stall = self.stall_due().filter(|_| !self.link.has_failed());
        let g =
            if self.link.state() == Connection::Ready { self.generation_wake_at() } else { None };
        [self.finish_by(), stall, self.link.deadline(), g].into_iter().flatten().min()
    }

    fn generation_wake_at(&self) -> Option<Duration> {
        let Some(g) = &self.generation else {
            let waits = !self.is_all_said() && self.not_before > self.now;
            return waits.then_some(self.not_before);
        };
        let first_text = if g.is_wanted() { self.first_text_awaited_until(g) } else { None };
        [self.answer_by(), first_text, self.burst_over_at()].into_iter().flatten().min()
    }
}
