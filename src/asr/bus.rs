// SPDX-License-Identifier: MPL-2.0

//! What the session says: to the output queue, and to the application by messages on the bus.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::delay::Cause;
use super::imp::{CAT, VllmRealtimeAsr};
use super::messages;
use super::sequencer::Effect;
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
            Effect::ServerWarning { text, server_text } => {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Failed,
                    ("{text}"),
                    ["{server_text}"],
                    details: messages::server_error(&server_text)
                );
            }
            Effect::Connection { state, server, reason } => {
                self.tell_connection(state, &server, &reason);
            }
            Effect::Observed { position, spoken } => self.observe(position, spoken),
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
                ConnectionState::Lost => run.delay.lost(),
                ConnectionState::Connected => run.delay.connected(),
                ConnectionState::Connecting | ConnectionState::Closed => {}
            }
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
        self.post(messages::connection(state, server, reason));
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

    /// Audio at `position`, of running time `spoken`, is here.
    pub(super) fn observe_audio(&self, position: u64, spoken: gst::ClockTime) {
        let Some(now) = self.obj().current_running_time() else { return };
        let mut run = self.run();
        let Some(upstream) = run.upstream.filter(|u| u.live && run.playing) else { return };
        let late = now.saturating_sub(upstream.minimum).saturating_sub(spoken);
        run.delay.audio(position, late.nseconds());
    }

    /// How long a word took that began at `position`, at running time `spoken`; tells when that
    /// is too long.
    fn observe(&self, position: u64, spoken: gst::ClockTime) {
        let Some(now) = self.obj().current_running_time() else { return };
        let settings = self.settings();
        let limit = settings.latency.saturating_add(settings.lateness);
        let (before, most, delay, cause) = {
            let mut run = self.run();
            let Some(upstream) = run.upstream.filter(|u| u.live && run.playing) else { return };
            let delay = now.saturating_sub(upstream.minimum).saturating_sub(spoken);
            let before = run.delay.most();
            let limit = limit.nseconds();
            let cause = run.delay.word(position, delay.nseconds(), now.nseconds(), limit);
            (before, run.delay.most(), delay, cause)
        };
        if before != most {
            self.obj().notify("max-observed-delay");
        }
        if let Some(cause) = cause {
            let most = gst::ClockTime::from_nseconds(most);
            gst::element_imp_warning!(
                self,
                gst::CoreError::Clock,
                ("{}", explain(cause, delay.max(most), limit)),
                details: messages::excessive_delay(delay.max(most))
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
