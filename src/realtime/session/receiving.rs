// SPDX-License-Identifier: MPL-2.0

//! What the server says.

use std::time::Duration;

use super::super::connect_error::not_authorized;
use super::super::event::{self, Delta, Done, ServerError, ServerEvent};
use super::super::{Error, ErrorKind};
use super::failures::Cause;
use super::{BLANK_RUT, Connection, Ending, Generation, Lost, OVERLAP, Run, SETTLE, Session};
use crate::SAMPLE_RATE;
use crate::transcript::clock::{self, Cut};

/// How often a generation over the same audio may end early until that is believed.
const EARLY_ENDS: u32 = 3;
/// The audio ahead of a server is halved so often at most.
const MOST_HALVES: u32 = 4;
/// More deltas than this beyond one for each 10 ms of audio are not speech.
const DELTAS_BEYOND: u64 = 1000;

impl Session {
    /// A text message came.
    pub fn message(&mut self, message: &str, now: Duration) {
        self.now = now;
        self.stats.bytes_received += message.len() as u64;
        let event = ServerEvent::parse(message);
        match self.connection {
            Connection::Greeting { .. } => self.greeting(event),
            Connection::Ready => self.event(event),
            _ => {}
        }
        self.pump();
    }

    fn greeting(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::SessionCreated => self.greet(),
            ServerEvent::Foreign(name) => self.another_protocol(&name),
            ServerEvent::Error(e) => self.server_error(e),
            // A gateway may have something to say first.
            ServerEvent::Unknown(_) | ServerEvent::SessionUpdated => {}
            ServerEvent::Malformed(why) => self.not_understood(&why),
            _ => self.another_protocol("words before a session"),
        }
    }

    fn event(&mut self, event: ServerEvent) {
        if matches!(event, ServerEvent::Delta(_) | ServerEvent::Done(_)) {
            self.proven = true;
            self.extras.settle();
        }
        match event {
            ServerEvent::Delta(delta) => self.delta(delta),
            ServerEvent::Done(done) => self.done(done),
            ServerEvent::Error(e) => self.server_error(e),
            ServerEvent::Foreign(name) if !self.proven => self.another_protocol(&name),
            ServerEvent::Malformed(why) => self.not_understood(&why),
            ServerEvent::SessionCreated
            | ServerEvent::SessionUpdated
            | ServerEvent::Foreign(_)
            | ServerEvent::Unknown(_) => {}
        }
    }

    fn delta(&mut self, delta: Delta) {
        let (mut run, finishing) = match &mut self.generation {
            Generation::Running(run) => (*run, false),
            Generation::Finishing(run) => (*run, true),
            Generation::Abandoned { run, .. } => return run.count(&delta.text),
            // Late words of a generation that is over.
            Generation::None { .. } => return,
        };
        self.progress();
        self.stats.deltas += 1;
        run.count(&delta.text);
        run.progress = self.now;
        let heard = self.transcript.heard();
        // Behind a cut the next generation says the last words.
        let unwanted = self.is_cut_by_frames(&run) && heard + OVERLAP > run.at - run.start;
        let mut rut = false;
        if let Some(language) = &delta.language {
            self.transcript.language(language);
        }
        if !unwanted {
            self.transcript.delta(&delta.text, run.sent, &delta.segments, delta.logprob);
            rut = self.in_blank_rut(&mut run, heard, !delta.text.trim().is_empty());
        }
        let too_many = run.deltas > DELTAS_BEYOND + run.sent / (SAMPLE_RATE / 100);
        let overrun = self.transcript.overrun().map(str::to_owned).or_else(|| {
            too_many.then(|| format!("{} deltas for {} samples", run.deltas, run.sent))
        });
        if finishing {
            self.generation = Generation::Finishing(run);
        } else {
            self.note_due(&mut run);
            self.generation = Generation::Running(run);
        }
        if rut {
            return self.leave_rut(run);
        }
        if let Some(why) = overrun {
            let error = Error {
                kind: ErrorKind::Protocol,
                message: format!(
                    "The server at {} sends more than the audio can hold. Check that the model is a speech recogniser for realtime use.",
                    self.server_name()
                ),
                detail: why,
            };
            self.lose(Lost { error, permanent: false });
        }
    }

    /// Whether a frame-synchronous server has long said nothing over audible speech. `heard`:
    /// samples of the generation that it had worked through before this delta.
    fn in_blank_rut(&self, run: &mut Run, heard: u64, text: bool) -> bool {
        let from = run.start + heard;
        let to = run.start + self.transcript.heard().min(run.sent);
        if text || self.clock().cut() != Cut::ByClock {
            run.spoken_at = to;
            run.blank = 0;
        } else if from >= self.wordless_to {
            run.blank += self.transcript.sound().voiced(from, to);
        }
        run.blank >= BLANK_RUT
    }

    /// A new generation over the same audio; where that is blank too, it has no words.
    fn leave_rut(&mut self, run: Run) {
        self.wordless_to = run.start + self.transcript.heard();
        let error = Error {
            kind: ErrorKind::Server,
            message: format!(
                "The server at {} has said nothing for {} s of speech.",
                self.server_name(),
                run.blank / SAMPLE_RATE
            ),
            detail: "blank deltas over voice".into(),
        };
        self.lose(Lost { error, permanent: false });
    }

    /// The server works: the next failure is a first one.
    fn progress(&mut self) {
        self.proven = true;
        self.finishing = self.finishing.map(|_| self.now);
        self.retry.progress();
    }

    fn done(&mut self, done: Done) {
        if let Some(language) = done.language.as_deref().filter(|_| self.run().is_some()) {
            self.transcript.language(language);
        }
        match self.generation {
            Generation::Finishing(run)
                if self.early_ends.1 < EARLY_ENDS && self.ended_early(&run, &done) =>
            {
                let before = self.early_ends;
                self.unasked_done(run);
                let again = self.utterances.front().map_or(run.start, |s| s.begin);
                let times = if before.0 == again { before.1 + 1 } else { 1 };
                self.early_ends = (again, times);
            }
            Generation::Finishing(run) if self.is_cut_by_frames(&run) => {
                self.progress();
                self.limits.note_success(run.at - run.start);
                let resume = self.resume_at(&run);
                self.transcript.abort();
                self.utterances.confirm(resume);
                self.failures.done(run.at - run.start);
                self.generation = Generation::None { not_before: self.now + SETTLE };
            }
            Generation::Finishing(run) => {
                self.progress();
                self.limits.note_success(run.at - run.start);
                // The utterance may have been closed since.
                let over =
                    self.utterances.front().is_some_and(|s| s.end.is_some_and(|e| e <= run.at));
                let (text, usage, segments) = (&done.text, done.usage, &done.segments);
                match run.ending {
                    Ending::Stall if !over => {
                        self.transcript.done_for_now(text, usage, segments);
                        // A source that waits must find room to go on.
                        let most = Self::backlog_most(&self.config) / 2;
                        let from = run.at.saturating_sub(most);
                        self.utterances.confirm(self.resume_at(&run).max(from));
                        self.stall.said(run.at);
                    }
                    // The server has turned out to be of another kind.
                    Ending::Overlap if !over && self.clock().cut() != Cut::ByText => {
                        self.transcript.done_in_pause(text, usage, segments);
                        self.utterances.confirm(run.at);
                    }
                    Ending::Overlap if !over => {
                        self.transcript.done_in_speech(text, usage, segments);
                        self.utterances.confirm(self.resume_at(&run));
                    }
                    Ending::Pause { from } if !over => {
                        self.transcript.done_in_pause(text, usage, segments);
                        self.utterances.confirm(from);
                        self.in_pause = true;
                    }
                    _ => {
                        self.transcript.done(text, usage, segments);
                        self.utterances.finish();
                    }
                }
                self.failures.done(run.at - run.start);
                self.early_ends = (0, 0);
                self.generation = Generation::None { not_before: self.now + SETTLE };
            }
            Generation::Running(run) => self.unasked_done(run),
            Generation::Abandoned { run, .. } => {
                if self.ended_early(&run, &done) {
                    // The final commit would end the next one.
                    return self.leave();
                }
                self.generation = Generation::None { not_before: self.now + SETTLE };
            }
            Generation::None { .. } => {}
        }
    }

    /// Whether the server was done before it knew of the final commit.
    fn ended_early(&self, run: &Run, done: &Done) -> bool {
        let counts = (run.sent, run.deltas);
        let timing = self.transcript.timing();
        done.usage.is_some_and(|u| clock::ended_early(timing, counts, run.begins_blank, u))
    }

    /// The server ended the generation by itself (its context is full): what it had queued is
    /// lost, and how much that was nobody can tell. A new connection, and shorter generations.
    fn unasked_done(&mut self, run: Run) {
        let heard = self.transcript.heard().min(run.sent);
        let full = self.limits.may_be_full(heard, self.transcript.timing());
        if full {
            self.limits.note_end(heard);
        }
        let error = Error {
            kind: ErrorKind::Server,
            message: format!(
                "The server at {} ended the transcription by itself after {} ms of audio{}",
                self.server_name(),
                heard * 1000 / SAMPLE_RATE,
                if full {
                    ": its context is full. Utterances are kept shorter from here on; property max-utterance sets a limit."
                } else {
                    ". Its own log tells more."
                }
            ),
            detail: String::new(),
        };
        self.cause = Cause::Ended;
        self.lose(Lost { error, permanent: false });
    }

    fn server_error(&mut self, e: ServerError) {
        let code = e.code.as_deref().unwrap_or("no code");
        let commits = match self.generation {
            Generation::Running(_) => 1,
            Generation::Finishing(_) => 2,
            Generation::None { .. } | Generation::Abandoned { .. } => 0,
        };
        if self.extras.refuses(self.retry.server(), code, commits) {
            if matches!(self.generation, Generation::Abandoned { .. }) {
                // What is queued there would be heard by the next generation.
                return self.leave();
            }
            // What was sent so far is queued there, and waits for a commit that counts.
            self.update(false);
            if commits > 0 {
                self.send_control(event::commit());
            }
            if commits > 1 {
                self.send_control(event::final_commit());
            }
            return;
        }
        if code == "idle_timeout" && self.is_at_rest() {
            return self.close_idle();
        }
        if code == "buffer_full" {
            // That append is lost: all is sent again, and stays nearer.
            self.full_queues = (self.full_queues + 1).min(MOST_HALVES);
        }
        if code == "model_not_validated" && self.extras.excuses_commit() {
            return;
        }
        let server = self.server_name();
        let detail = format!("{code}: {}", e.message);
        let failed = |kind, message: String, permanent| Lost {
            error: Error { kind, message, detail: detail.clone() },
            permanent,
        };
        let model = &self.config.model;
        let lost = match code {
            "model_not_found" | "model_not_validated" => failed(
                ErrorKind::NotFound,
                format!(
                    "The server at {server} has no model '{model}'. Set property model to the name under which it is served (GET /v1/models lists it), or leave it empty for the one that is served."
                ),
                true,
            ),
            "401"
            | "403"
            | "auth_error"
            | "unauthorized"
            | "authentication_error"
            | "invalid_api_key" => {
                return self.lose(not_authorized(&server, detail));
            }
            "invalid_event" | "unknown_event" | "invalid_json" if !self.proven => failed(
                ErrorKind::Protocol,
                format!(
                    "The server at {server} does not understand vLLM's realtime protocol. Set property url to the /v1/realtime of a vLLM server, 0.16 or later."
                ),
                true,
            ),
            _ => {
                let mut message =
                    format!("The server at {server} failed ({code}). Its own log tells more.");
                if self.learn_from_failure() {
                    message += " It fails again and again after as much audio: its context is full. Utterances are kept shorter from here on; property max-utterance sets a limit.";
                }
                failed(ErrorKind::Server, message, false)
            }
        };
        self.lose(lost);
    }

    fn another_protocol(&mut self, name: &str) {
        let what = "speaks another protocol than vLLM's realtime API";
        self.lose_stranger(what, format!("It sent {name}."));
    }

    fn not_understood(&mut self, why: &str) {
        self.lose_stranger("sent what is no event of vLLM's realtime API", why.to_owned());
    }

    /// No such server as is wanted, or not any more.
    fn lose_stranger(&mut self, what: &str, detail: String) {
        let error = Error {
            kind: ErrorKind::Protocol,
            message: format!(
                "The server at {} {what}. Set property url to the /v1/realtime of a vLLM server.",
                self.server_name()
            ),
            detail,
        };
        self.lose(Lost { error, permanent: !self.proven });
    }
}
