// SPDX-License-Identifier: MPL-2.0

//! How late audio and words come: noted, learnt from, and told.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::LatencyMode;
use super::delay::Cause;
use super::imp::{CAT, VllmRealtimeAsr};
use super::messages;
use crate::Position;

impl VllmRealtimeAsr {
    /// The running time. Outside of PLAYING, and behind a flush that sets it back until the pipeline
    /// has done so, nobody knows it: clock and base time are still those of before.
    pub(super) fn running_time(&self) -> Option<gst::ClockTime> {
        let obj = self.obj();
        obj.current_running_time().filter(|_| self.outbox.knows_time(&obj))
    }

    /// Audio at `position`, of running time `spoken`, is here.
    pub(super) fn observe_audio(&self, position: Position, spoken: gst::ClockTime) {
        let Some(now) = self.obj().current_running_time() else { return };
        self.state().observe_audio(position, spoken, now);
    }

    /// How long a word took that began at `position`, at running time `spoken`; tells when that
    /// is too long.
    pub(super) fn observe_word(&self, position: Position, spoken: gst::ClockTime) {
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

    /// In mode `auto` the latency follows what the words ask for.
    pub(super) fn learn_latency(&self, pause: bool) {
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
