// SPDX-License-Identifier: MPL-2.0

//! What the server says.

use std::time::Duration;

use super::super::connect_error::not_authorized;
use super::super::event::{self, Complaint, Delta, Done, ServerError, ServerEvent};
use super::super::{ErrorKind, Output};
use super::failures::Cause;
use super::generation::Ending;
use super::{Connection, Generation, Lost, OVERLAP, Phase, SETTLE, Session};
use crate::transcript::clock::AtCut;
use crate::{Length, transcript::SampleInGeneration};

/// What strangers do.
const FOREIGN: &str = "speaks another protocol than vLLM's realtime API";
const NO_EVENT: &str = "sent what is no event of vLLM's realtime API";

impl Session {
    /// A text message came.
    pub fn message(&mut self, message: &str, now: Duration) {
        self.now = now;
        self.stats.bytes_received += message.len() as u64;
        let event = ServerEvent::parse(message);
        match self.link.state() {
            Connection::Greeting { .. } => self.greeting(event),
            Connection::Ready => self.event(event),
            _ => {}
        }
        self.pump();
    }

    /// A binary frame that is no text.
    pub fn binary(&mut self, bytes: usize, now: Duration) {
        self.now = now;
        if !std::mem::replace(&mut self.told_binary, true) {
            self.outputs.push(Output::Warning(format!(
                "The server at {} sent a binary frame of {bytes} bytes that is no text; vLLM's realtime API has none. It is ignored, and so are those that follow.",
                self.link.name()
            )));
        }
        self.pump();
    }

    fn greeting(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::SessionCreated => self.greet(),
            ServerEvent::Foreign(name) => self.lose_stranger(FOREIGN, format!("It sent {name}.")),
            ServerEvent::Error(e) => self.server_error(e),
            // A gateway may have something to say first.
            ServerEvent::Unknown(_) | ServerEvent::SessionUpdated => {}
            ServerEvent::Malformed(why) => self.lose_stranger(NO_EVENT, why),
            ServerEvent::Delta(_) | ServerEvent::Done(_) => {
                self.lose_stranger(FOREIGN, "It sent words before a session.".into());
            }
        }
    }

    fn event(&mut self, event: ServerEvent) {
        if matches!(event, ServerEvent::Delta(_) | ServerEvent::Done(_)) {
            self.link.heard();
        }
        match event {
            ServerEvent::Delta(delta) => self.delta(delta),
            ServerEvent::Done(done) => self.done(done),
            ServerEvent::Error(e) => self.server_error(e),
            ServerEvent::Foreign(name) if !self.link.is_proven() => {
                self.lose_stranger(FOREIGN, format!("It sent {name}."));
            }
            ServerEvent::Malformed(why) => self.lose_stranger(NO_EVENT, why),
            ServerEvent::SessionCreated
            | ServerEvent::SessionUpdated
            | ServerEvent::Foreign(_)
            | ServerEvent::Unknown(_) => {}
        }
    }

    fn delta(&mut self, delta: Delta) {
        // Late words of a generation that is over are nobody's.
        let Some(g) = &mut self.generation else { return };
        g.delta(&delta.text, self.now);
        let Some(g) = self.wanted() else { return };
        self.progress();
        self.stats.deltas += 1;
        let heard = self.transcript.heard();
        if let Some(language) = &delta.language {
            self.transcript.language(language);
        }
        // Behind a cut the next generation says the last words.
        let unwanted = self.is_cut_by_clock(&g) && (heard + OVERLAP).length() > g.length();
        if !unwanted {
            self.transcript.delta(&delta.text, g.sent(), &delta.segments, delta.logprob);
            self.watch_for_ruts(&g, heard, &delta.text);
        }
        self.note_due();
        if let Some(blank) = self.ruts.stuck().filter(|_| !unwanted) {
            self.ruts.leave(g.position(self.transcript.heard()));
            let s = blank / Length::of_s(1);
            let what = format!("has said nothing for {s} s of speech.");
            self.lose_server(
                Cause::Told,
                ErrorKind::Server,
                false,
                &what,
                "blank deltas over voice",
            );
        } else if let Some(why) =
            self.transcript.overrun().map(str::to_owned).or_else(|| g.overrun())
        {
            let what = "sends more than the audio can hold. Check that the model is a speech recogniser for realtime use.";
            self.lose_server(Cause::Told, ErrorKind::Protocol, false, what, &why);
        }
    }

    /// `heard`: up to here the server had worked through the generation before this delta.
    fn watch_for_ruts(&mut self, g: &Generation, heard: SampleInGeneration, text: &str) {
        let from = g.position(heard);
        let to = g.position(self.transcript.heard());
        if !text.trim().is_empty() || !self.clock().may_be_in_a_rut() {
            self.ruts.spoken(to);
        } else {
            self.ruts.blank(from, || self.transcript.sound().voiced(from, to));
        }
    }

    /// Notes whether the server owes an answer.
    pub(super) fn note_due(&mut self) {
        let (clock, heard) = (self.clock(), self.transcript.heard());
        if let Some(g) = self.generation.as_mut().filter(|g| g.is_running()) {
            g.note_due(clock, heard, self.now);
        }
    }

    /// The server works: the next failure is a first one.
    fn progress(&mut self) {
        self.outputs.moved(self.now);
        self.link.progress();
    }

    fn done(&mut self, done: Done) {
        let Some(g) = self.generation else { return };
        if let Some(language) = done.language.as_deref().filter(|_| g.is_wanted()) {
            self.transcript.language(language);
        }
        let early = g.ended_early(self.transcript.timing(), done.usage);
        match g.phase() {
            Phase::Running { .. } => self.unasked_done(&g),
            // The final commit would end the next one.
            Phase::Abandoned { .. } if early => self.leave(),
            Phase::Abandoned { .. } => self.generation_is_over(SETTLE),
            Phase::Finishing(_) if early && !self.failures.ends_early() => {
                self.unasked_done(&g);
                let again = self.utterances.front().map_or(g.start(), |front| front.begin);
                self.failures.ended_early(again);
            }
            Phase::Finishing(ending) => {
                self.progress();
                self.limits.note_success(g.length());
                self.take_done(&g, ending, &done);
                self.failures.done(g.length());
                self.generation_is_over(SETTLE);
            }
        }
    }

    /// The generation ended as it should: what becomes of its audio.
    fn take_done(&mut self, g: &Generation, ending: Ending, done: &Done) {
        let cut = self.clock().cut();
        let (text, usage, segments) = (&done.text, done.usage, &done.segments);
        if ending == Ending::Overlap && cut == AtCut::ByClock {
            let resume = self.words_from(g);
            self.transcript.abort();
            return self.utterances.confirm(resume);
        }
        self.failures.ended_in_time();
        // The utterance may have been closed since.
        if self.utterances.front().is_some_and(|front| front.ends_by(g.at())) {
            self.transcript.done(text, usage, segments);
            return self.utterances.finish();
        }
        let safe_to = match ending {
            Ending::Utterance => {
                self.transcript.done(text, usage, segments);
                return self.utterances.finish();
            }
            Ending::Stall => {
                self.transcript.done_for_now(text, usage, segments);
                self.stall.said(g.at());
                // A source that waits must find room to go on.
                let most = Self::backlog_most(&self.config) / 2;
                self.words_from(g).max(g.at() - most)
            }
            Ending::Overlap if cut == AtCut::ByText => {
                self.transcript.done_in_speech(text, usage, segments);
                self.words_from(g)
            }
            // The server has turned out to be of another kind.
            Ending::Overlap => {
                self.transcript.done_in_pause(text, usage, segments);
                g.at()
            }
            Ending::Pause { from } => {
                self.transcript.done_in_pause(text, usage, segments);
                self.in_pause = true;
                from
            }
        };
        self.utterances.confirm(safe_to);
    }

    /// The server ended the generation by itself (its context is full): what it had queued is
    /// lost, and how much that was nobody can tell. A new connection, and shorter generations.
    fn unasked_done(&mut self, g: &Generation) {
        let heard = self.transcript.heard().min(g.sent()).length();
        let full = self.limits.may_be_full(heard, self.transcript.timing());
        let why = if full {
            self.limits.note_end(heard);
            ": its context is full. Utterances are kept shorter from here on; property max-utterance sets a limit."
        } else {
            ". Its own log tells more."
        };
        let ms = heard / Length::of_ms(1);
        let what = format!("ended the transcription by itself after {ms} ms of audio{why}");
        self.lose_server(Cause::Ended, ErrorKind::Server, false, &what, "");
    }

    fn server_error(&mut self, e: ServerError) {
        let complaint = e.complaint();
        let commits = match self.generation.map(|g| g.phase()) {
            Some(Phase::Running { .. }) => 1,
            Some(Phase::Finishing(_)) => 2,
            Some(Phase::Abandoned { .. }) | None => 0,
        };
        if self.link.refuses_extras(complaint, commits) {
            return self.take_back_extras(commits);
        }
        let code = e.code.as_deref().unwrap_or("no code");
        let detail = format!("{code}: {}", e.message);
        let model = &self.config.model;
        let (kind, permanent, what) = match complaint {
            Complaint::Idle if self.is_at_rest() => return self.close_idle(),
            Complaint::NotValidated if self.link.excuses_commit() => return,
            Complaint::Model | Complaint::NotValidated => {
                let hint = "Set property model to the name under which it is served (GET /v1/models lists it), or leave it empty for the one that is served.";
                (ErrorKind::NotFound, true, format!("has no model '{model}'. {hint}"))
            }
            Complaint::Key => {
                return self.lose(Cause::Told, not_authorized(&self.link.name(), &detail));
            }
            Complaint::InvalidEvent | Complaint::NoEvent if !self.link.is_proven() => {
                let what = "does not understand vLLM's realtime protocol. Set property url to the /v1/realtime of a vLLM server, 0.16 or later.";
                (ErrorKind::Protocol, true, what.to_owned())
            }
            _ => {
                if complaint == Complaint::FullQueue {
                    // That append is lost: all is sent again, and stays nearer.
                    self.pace.note_full_queue();
                }
                let mut what = format!("failed ({code}). Its own log tells more.");
                if self.learn_from_failure() {
                    what += " It fails again and again after as much audio: its context is full. Utterances are kept shorter from here on; property max-utterance sets a limit.";
                }
                (ErrorKind::Server, false, what)
            }
        };
        self.lose_server(Cause::Told, kind, permanent, &what, &detail);
    }

    /// The server refuses what was asked for beside the model, while so many commits were under way.
    fn take_back_extras(&mut self, commits: u32) {
        if self.generation.is_some() && commits == 0 {
            // What is queued there would be heard by the next generation.
            return self.leave();
        }
        // What was sent so far is queued there, and waits for a commit that counts.
        self.update(false);
        for last in [false, true].into_iter().take(commits as usize) {
            self.actions.send(event::commit(last));
        }
    }

    /// No such server as is wanted, or not any more.
    fn lose_stranger(&mut self, what: &str, detail: String) {
        let what = format!("{what}. Set property url to the /v1/realtime of a vLLM server.");
        let permanent = !self.link.is_proven();
        self.lose_server(Cause::Told, ErrorKind::Protocol, permanent, &what, &detail);
    }

    /// The server does what it should not.
    fn lose_server(
        &mut self,
        cause: Cause,
        kind: ErrorKind,
        permanent: bool,
        what: &str,
        detail: &str,
    ) {
        let message = format!("The server at {} {what}", self.link.name());
        self.lose(cause, Lost::new(kind, permanent, message, detail));
    }
}
