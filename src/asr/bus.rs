// SPDX-License-Identifier: MPL-2.0

//! What the session says: to the output queue, and to the application by messages on the bus.

use std::sync::atomic::{AtomicU64, Ordering};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::delay::Cause;
use super::imp::{CAT, VllmRealtimeAsr};
use super::messages;
use super::sequencer::Effect;
use super::settings::error_message;
use super::state::Epoch;
use super::{LatencyMode, Messages};
use crate::realtime::transport::Sink;
use crate::realtime::{ConnectionState, Error, Output};

/// Code of the Progress messages.
const PROGRESS: &str = "connect";

/// Hears what the session of one run says, and tells of what epoch that is.
pub struct Listener {
    element: glib::WeakRef<super::VllmRealtimeAsr>,
    /// The run's first epoch, and the session's flushes since.
    first: Epoch,
    flushed: AtomicU64,
}

impl Listener {
    pub fn new(element: &super::VllmRealtimeAsr, first: Epoch) -> Self {
        Listener { element: element.downgrade(), first, flushed: AtomicU64::new(0) }
    }

    fn epoch(&self, output: &Output) -> Epoch {
        if let Output::Flushed(number) = output {
            self.flushed.store(*number, Ordering::Relaxed);
        }
        self.first.after_flush(self.flushed.load(Ordering::Relaxed))
    }
}

impl Sink for Listener {
    fn reads_messages(&self) -> bool {
        self.element.upgrade().is_some_and(|element| element.imp().unsynced().is_wanted())
    }

    fn message(&self, text: String) {
        if let Some(element) = self.element.upgrade() {
            let time = element.imp().running_time();
            element.imp().unsynced().json(text, time);
        }
    }

    fn output(&self, output: Output) {
        self.outputs(vec![output]);
    }

    fn outputs(&self, outputs: Vec<Output>) {
        if let Some(element) = self.element.upgrade() {
            let outputs = outputs.into_iter().map(|output| (self.epoch(&output), output));
            element.imp().session_outputs(outputs);
        }
    }
}

impl VllmRealtimeAsr {
    /// On the client's thread: what the session says. Must not block.
    fn session_outputs(&self, outputs: impl Iterator<Item = (Epoch, Output)>) {
        self.outbox.hold(true);
        for (epoch, output) in outputs {
            gst::log!(CAT, imp = self, "Session: {output:?}");
            // What is said of the connection is of the whole run.
            let is_of_this_run = self.state().is_of_this_run(epoch);
            match output {
                _ if !is_of_this_run => {}
                Output::Connection { state, server, reason } => {
                    self.tell_connection(state, &server, &reason);
                }
                Output::Warning(text) => self.warn(&text),
                Output::ServerWarning { text, server_text } => gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Failed,
                    ("{text}"),
                    ["{server_text}"],
                    details: messages::server_error(&server_text)
                ),
                Output::Failed(error) => self.session_failed(epoch, error),
                output => {
                    let ends = matches!(
                        output,
                        Output::Transcript(crate::transcript::Output::Utterance(_))
                    );
                    self.learn_latency(ends);
                    for effect in self.ordered(|state| state.output(epoch, output)) {
                        match effect {
                            Effect::Message(structure) => self.post(structure),
                            Effect::Warning(text) => self.warn(&text),
                            Effect::Observed { position, spoken } => self.observe(position, spoken),
                        }
                    }
                }
            }
        }
        self.outbox.hold(false);
    }

    /// The running time. Outside of PLAYING, and behind a flush that sets it back until the pipeline
    /// has done so, nobody knows it: clock and base time are still those of before.
    pub(super) fn running_time(&self) -> Option<gst::ClockTime> {
        let obj = self.obj();
        obj.current_running_time().filter(|_| self.outbox.knows_time(&obj))
    }

    fn warn(&self, text: &str) {
        gst::element_imp_warning!(self, gst::ResourceError::Failed, ("{text}"));
    }

    /// In mode `auto` the latency follows what the words ask for.
    fn learn_latency(&self, pause: bool) {
        if self.settings().latency_mode != LatencyMode::Auto {
            return;
        }
        let pause = self.obj().current_running_time().filter(|_| pause);
        let learnt = self.state().learn_latency(pause);
        if learnt {
            gst::info!(CAT, imp = self, "The latency is {} now", self.latency());
            self.update_latency();
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    fn post(&self, structure: gst::Structure) {
        let settings = self.settings();
        let kind = structure.name().rsplit('/').next().unwrap_or_default();
        let kind = glib::FlagsClass::new::<Messages>()
            .value_by_nick(kind)
            .map_or(Messages::all(), |v| Messages::from_bits_truncate(v.value()));
        if settings.post_messages && settings.messages.intersects(kind) {
            let obj = self.obj();
            let _ = obj.post_message(gst::message::Element::builder(structure).src(&*obj).build());
        }
    }

    pub(super) fn progress(&self, kind: gst::ProgressType, text: &str) {
        let obj = self.obj();
        let _ = obj
            .post_message(gst::message::Progress::builder(kind, PROGRESS, text).src(&*obj).build());
    }

    fn tell_connection(&self, state: ConnectionState, server: &str, reason: &str) {
        gst::info!(CAT, imp = self, "Connection to {server}: {state:?} {reason}");
        let was_connecting = self.state().connection(state);
        let kind = match (state, was_connecting) {
            (ConnectionState::Connecting, false) => Some(gst::ProgressType::Start),
            (ConnectionState::Connecting | ConnectionState::Lost, true) => {
                Some(gst::ProgressType::Continue)
            }
            (ConnectionState::Connected, true) => Some(gst::ProgressType::Complete),
            _ => None,
        };
        if let Some(kind) = kind {
            let text = match state {
                ConnectionState::Connecting => format!("Connecting to {server}"),
                ConnectionState::Connected => format!("Connected to {server}"),
                _ => format!("Not connected: {reason}"),
            };
            self.progress(kind, &text);
        }
        if let Some(watcher) = self.watcher.get() {
            watcher(state);
        }
        self.post(messages::connection(state, server, reason));
    }

    fn session_failed(&self, epoch: Epoch, error: Error) {
        let news = {
            let mut state = self.state();
            state.is_of_this_run(epoch) && state.order.begin_failure()
        };
        if news {
            // Neither here, where an application that stops the pipeline on the message would
            // wait for this very thread, nor in the task, which may be held up downstream.
            self.obj().call_async(move |element| element.imp().post_failure(epoch, &error));
        }
    }

    /// The element has failed once that is told: so the ERROR comes before any error flow, and
    /// before EOS.
    fn post_failure(&self, epoch: Epoch, error: &Error) {
        let connecting = {
            let mut state = self.state();
            if !state.is_of_this_run(epoch) {
                return;
            }
            state.end_connecting()
        };
        if connecting {
            self.progress(gst::ProgressType::Error, &error.message);
        }
        gst::error!(CAT, imp = self, "{error} ({})", error.detail);
        self.post_error_message(error_message(error));
        self.ordered(|state| {
            if state.is_of_this_run(epoch) {
                state.order.fail();
            }
        });
    }

    /// Audio at `position`, of running time `spoken`, is here.
    pub(super) fn observe_audio(&self, position: u64, spoken: gst::ClockTime) {
        let Some(now) = self.obj().current_running_time() else { return };
        self.state().observe_audio(position, spoken, now);
    }

    /// How long a word took that began at `position`, at running time `spoken`; tells when that
    /// is too long.
    fn observe(&self, position: u64, spoken: gst::ClockTime) {
        let Some(now) = self.obj().current_running_time() else { return };
        let limit = match self.is_unsynchronised() {
            true => gst::ClockTime::MAX,
            false => self.latency().saturating_add(self.settings().lateness()),
        };
        let observed = self.state().observe_word(position, spoken, now, limit);
        let Some((cause, delay, is_new)) = observed else { return };
        if is_new {
            self.obj().notify("max-observed-delay");
        }
        // In mode `auto` that is mended soon.
        let auto = self.settings().latency_mode == LatencyMode::Auto;
        if let Some(cause) = cause.filter(|cause| !auto || *cause != Cause::Latency) {
            gst::element_imp_warning!(
                self,
                gst::CoreError::Clock,
                ("{}", explain(cause, delay, limit)),
                details: messages::excessive_delay(delay)
            );
        }
    }
}

/// What to tell of words that come after `delay` where `limit` is allowed.
fn explain(cause: Cause, delay: gst::ClockTime, limit: gst::ClockTime) -> String {
    let (delay, limit) = (delay.mseconds(), limit.mseconds());
    match cause {
        Cause::Latency => format!(
            "A word came {delay} ms after its beginning, which is more than latency + lateness ({limit} ms). Set property latency to at least that."
        ),
        Cause::Audio(late) => format!(
            "A word came {delay} ms after its beginning, which is more than latency + lateness ({limit} ms): its audio itself came {} ms late. A queue beside or behind this element is too small and holds the source up: where text meets sound or picture again, each queue there has to hold latency + lateness: set max-size-time={} max-size-buffers=0 max-size-bytes=0.",
            late / 1_000_000,
            (limit + 1000) * 1_000_000
        ),
        Cause::Slow(speed) => format!(
            "The server works through {speed:.2} s of audio in a second: words come later and later, {delay} ms after their beginning by now, and latency + lateness is {limit} ms. Use a faster server or a smaller model; audio beyond property max-backlog is given up."
        ),
    }
}
