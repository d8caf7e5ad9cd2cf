// SPDX-License-Identifier: MPL-2.0

//! What the session says: to the output queue, and to the application by messages on the bus.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};
use super::notify;
use super::order::Effect;
use super::settings::error_message;
use crate::realtime::{ConnectionState, Error, Output};

/// Code of the Progress messages.
const PROGRESS: &str = "connect";

impl VllmRealtimeAsr {
    /// On the client's thread: what the session says. Must not block.
    pub(super) fn session_outputs(&self, number: u64, outputs: Vec<Output>) {
        gst::log!(CAT, imp = self, "Session: {outputs:?}");
        self.outbox.hold(true);
        for output in outputs {
            let mut effects = Vec::new();
            {
                let mut items = Vec::new();
                let mut order = self.order();
                if self.run().number != number {
                    break;
                }
                order.output(output, &mut items, &mut effects);
                self.outbox.push(&mut items);
            }
            for effect in effects {
                self.tell(number, effect);
            }
        }
        self.outbox.hold(false);
    }

    fn tell(&self, number: u64, effect: Effect) {
        match effect {
            Effect::Message(structure) => self.post(structure),
            Effect::Warning(text) => {
                gst::element_imp_warning!(self, gst::ResourceError::Failed, ("{text}"));
            }
            Effect::Connection { state, server, reason } => {
                self.tell_connection(state, &server, &reason);
            }
            Effect::Observed(spoken) => self.observe(spoken),
            // Neither here, where an application that stops the pipeline on the message would
            // wait for this very thread, nor in the task, which may be held up downstream.
            Effect::Failed(error) => self.obj().call_async(move |element| {
                element.imp().post_failure(number, &error);
            }),
        }
    }

    fn post(&self, structure: gst::Structure) {
        if self.settings().post_messages {
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
        let progress = {
            let mut run = self.run();
            match state {
                ConnectionState::Connecting if run.connecting => {
                    Some((gst::ProgressType::Continue, format!("Connecting to {server}")))
                }
                ConnectionState::Connecting => {
                    run.connecting = true;
                    Some((gst::ProgressType::Start, format!("Connecting to {server}")))
                }
                ConnectionState::Connected if std::mem::take(&mut run.connecting) => {
                    Some((gst::ProgressType::Complete, format!("Connected to {server}")))
                }
                ConnectionState::Lost if run.connecting => {
                    Some((gst::ProgressType::Continue, format!("Not connected: {reason}")))
                }
                _ => None,
            }
        };
        if let Some((kind, text)) = progress {
            self.progress(kind, &text);
        }
        self.post(notify::connection(state, server, reason));
    }

    /// On a thread of its own: the session has failed.
    fn post_failure(&self, number: u64, error: &Error) {
        let connecting = {
            let mut run = self.run();
            if run.number != number {
                return;
            }
            std::mem::take(&mut run.connecting)
        };
        if connecting {
            self.progress(gst::ProgressType::Error, &error.message);
        }
        gst::error!(CAT, imp = self, "{error} ({})", error.detail);
        self.post_error_message(error_message(error));
        {
            let mut items = Vec::new();
            let mut order = self.order();
            if self.run().number == number {
                order.set_failure_posted(&mut items);
                self.outbox.push(&mut items);
            }
        }
        self.failure_posted.notify_all();
    }

    /// How long a word took that began at running time `spoken`; tells when that is too long.
    fn observe(&self, spoken: gst::ClockTime) {
        let Some(now) = self.obj().current_running_time() else { return };
        let settings = self.settings();
        let limit = settings.latency.saturating_add(settings.lateness);
        let (delay, tell) = {
            let mut run = self.run();
            let Some(upstream) = run.upstream.filter(|u| u.live && run.playing) else { return };
            let delay = now.saturating_sub(upstream.minimum).saturating_sub(spoken);
            if delay <= run.max_delay {
                return;
            }
            run.max_delay = delay;
            // Once for each step that matters, not for each word.
            let tell = delay > limit && delay / 11 * 10 > run.told_delay;
            if tell {
                run.told_delay = delay;
            }
            (delay, tell)
        };
        self.obj().notify("max-observed-delay");
        if tell {
            gst::element_imp_warning!(
                self,
                gst::CoreError::Clock,
                (
                    "A word came {} ms after its beginning, which is more than latency + lateness ({} ms). Set property latency to at least that.",
                    delay.mseconds(),
                    limit.mseconds()
                ),
                details: notify::excessive_delay(delay)
            );
        }
    }
}
