// SPDX-License-Identifier: MPL-2.0

//! A pipeline that stands still: a branch beside this one waits for words, its queue is full, and
//! so no audio comes that would bring them. Nothing but the user can mend that.

use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::VllmRealtimeAsr;
use crate::{Position, realtime::Stats, transcript::Timing};

/// The output has had nothing to do for so long: twice, and the pipeline may stand still.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Audio that may lie in the element while it finds out whether it is speech.
const UNDECIDED: u64 = crate::Length::of_s(2).samples();

/// A queue that takes no more.
struct Full {
    name: String,
    /// Where its time is limited.
    most: Option<gst::ClockTime>,
}

fn top(element: &super::VllmRealtimeAsr) -> Option<gst::Bin> {
    let mut top = element.parent()?;
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top.downcast().ok()
}

/// Whether the pipeline that the element is in plays: between the preroll behind a flush and PLAYING
/// it is in PAUSED, though its elements are not.
pub fn pipeline_plays(element: &super::VllmRealtimeAsr) -> bool {
    top(element).is_none_or(|top| {
        let (change, current, _) = top.state(gst::ClockTime::ZERO);
        change == Ok(gst::StateChangeSuccess::Success) && current == gst::State::Playing
    })
}

/// Whether the pipeline that the element is in changes its state.
fn is_on_its_way(element: &super::VllmRealtimeAsr) -> bool {
    let is_async =
        |top: gst::Bin| top.state(gst::ClockTime::ZERO).0 == Ok(gst::StateChangeSuccess::Async);
    top(element).is_some_and(is_async)
}

impl VllmRealtimeAsr {
    /// Nothing was to be done since the last call, when `before` samples had come, or words. How
    /// many have by now.
    pub(super) fn look_for_standstill(&self, before: Option<Position>) -> Position {
        let state = self.state();
        let given = state.input.position();
        let Some(client) = state.client() else { return given };
        let stats = client.stats();
        let stands = before == Some(given)
            && state.order.awaits_words(given)
            && unsent(&stats) < UNDECIDED
            && !state.input.has_ended();
        drop(state);
        if !stands || !self.is_to_run() {
            return given;
        }
        // A player that pauses has full queues, too: that is not asked for here.
        if let Some(queue) = self.full_queue() {
            self.outbox.set_standstill_told();
            gst::element_imp_warning!(
                self,
                gst::CoreError::Pad,
                ("{}", explain(&queue, stats.clock)),
                ["{given} samples of audio came; {stats:?}"]
            );
        }
        given
    }

    /// Whether the pipeline is in PLAYING, or on its way.
    fn is_to_run(&self) -> bool {
        let playing = self.state().is_playing();
        playing || is_on_its_way(&self.obj())
    }

    /// The first queue of the pipeline that is full.
    fn full_queue(&self) -> Option<Full> {
        let mut elements = top(&self.obj())?.iterate_recurse();
        while let Ok(Some(element)) = elements.next() {
            if element.factory().is_none_or(|f| f.name() != "queue") {
                continue;
            }
            let reached = |level: u64, most: u64| most > 0 && level >= most;
            let small = |name| u64::from(element.property::<u32>(name));
            let level = element.property::<u64>("current-level-time");
            let most = element.property::<u64>("max-size-time");
            if reached(level, most)
                || reached(small("current-level-bytes"), small("max-size-bytes"))
                || reached(small("current-level-buffers"), small("max-size-buffers"))
            {
                let most = (most > 0).then(|| gst::ClockTime::from_nseconds(most));
                return Some(Full { name: element.name().into(), most });
            }
        }
        None
    }
}

/// Samples that the server was not given yet.
fn unsent(stats: &Stats) -> u64 {
    let sent = stats.samples_sent.saturating_sub(stats.samples_replayed);
    let done = sent + stats.samples_skipped + stats.samples_dropped + stats.samples_flushed;
    stats.samples_in.saturating_sub(done)
}

fn explain(queue: &Full, clock: Timing) -> String {
    let name = &queue.name;
    let holds = match queue.most {
        Some(most) => format!("{name} is full, which holds {} ms at most", most.mseconds()),
        None => format!("{name} is full"),
    };
    let (needed, size) = match clock.clock().known_after() {
        Some(ms) => (format!("{ms} ms with this server"), u64::from(ms) * 1_000_000),
        None => ("as long as an utterance, whatever its length".to_owned(), 0),
    };
    format!(
        "The pipeline stands still: no audio comes, and the words of the last audio are not known yet. {holds}. A branch of sound or picture that waits for text needs a queue that holds {needed}: set max-size-time={size} max-size-buffers=0 max-size-bytes=0 on {name}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_that_the_server_has_is_not_unsent() {
        let mut stats = Stats { samples_in: 100, samples_sent: 70, ..Stats::default() };
        assert_eq!(unsent(&stats), 30);
        (stats.samples_replayed, stats.samples_skipped, stats.samples_dropped) = (10, 20, 5);
        assert_eq!(unsent(&stats), 15);
    }

    #[test]
    fn the_queue_and_its_size_are_named() {
        let queue = Full { name: "queue7".into(), most: Some(gst::ClockTime::SECOND) };
        let text = explain(&queue, Timing::Segments);
        assert!(text.contains("on queue7.") && text.contains("1000 ms at most"), "{text}");
        assert!(text.contains("max-size-time=8000000000 "), "{text}");
        assert!(explain(&queue, Timing::Auto).contains("max-size-time=0 "));
    }
}
