// SPDX-License-Identifier: MPL-2.0

//! What the session says: to the output queue, and to the application by messages on the bus.

use std::sync::atomic::{AtomicU64, Ordering};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::Messages;
use super::imp::{CAT, VllmRealtimeAsr};
use super::messages;
use super::sequencer::Effect;
use super::settings::error_message;
use super::state::Epoch;
use crate::realtime::transport::Listener;
use crate::realtime::{ConnectionState, Error, Output};

/// Code of the Progress messages.
const PROGRESS: &str = "connect";

/// Hears what the session of one run says, and tells of what epoch that is.
pub struct SessionListener {
    element: glib::WeakRef<super::VllmRealtimeAsr>,
    /// The run's first epoch, and the session's flushes since.
    first: Epoch,
    flushed: AtomicU64,
}

impl SessionListener {
    pub fn new(element: &super::VllmRealtimeAsr, first: Epoch) -> Self {
        SessionListener { element: element.downgrade(), first, flushed: AtomicU64::new(0) }
    }

    fn epoch(&self, output: &Output) -> Epoch {
        if let Output::Flushed(number) = output {
            self.flushed.store(*number, Ordering::Relaxed);
        }
        self.first.after_flush(self.flushed.load(Ordering::Relaxed))
    }
}

impl Listener for SessionListener {
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
                            Effect::Observed { position, spoken } => {
                                self.observe_word(position, spoken)
                            }
                        }
                    }
                }
            }
        }
        self.outbox.hold(false);
    }

    fn warn(&self, text: &str) {
        gst::element_imp_warning!(self, gst::ResourceError::Failed, ("{text}"));
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
}
