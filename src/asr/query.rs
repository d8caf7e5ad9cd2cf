// SPDX-License-Identifier: MPL-2.0

//! Queries, above all LATENCY, and what makes a sink of the element.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};
use super::output::Live;

/// What upstream answered to a LATENCY query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    pub live: bool,
    pub minimum: gst::ClockTime,
    pub maximum: Option<gst::ClockTime>,
}

impl VllmRealtimeAsr {
    /// Asks upstream for its latency, and tells all that have to know. Where nobody answers
    /// upstream is not live.
    pub(super) fn ask_upstream(&self) -> Upstream {
        let mut query = gst::query::Latency::new();
        let upstream = if self.sinkpad.peer_query(&mut query) {
            let (live, minimum, maximum) = query.result();
            Upstream { live, minimum, maximum }
        } else {
            Upstream { live: false, minimum: gst::ClockTime::ZERO, maximum: None }
        };
        gst::debug!(CAT, imp = self, "Upstream: {upstream:?}");
        self.set_upstream(Some(upstream));
        upstream
    }

    /// The task's part of what upstream and property `latency` say.
    pub(super) fn live(&self, upstream: Option<Upstream>) -> Option<Live> {
        let upstream = upstream.filter(|u| u.live)?;
        Some(Live { latency: upstream.minimum.saturating_add(self.settings().latency) })
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                self.answer_latency(query, self.settings().latency);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    pub(super) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            // What downstream offers is for text.
            gst::QueryViewMut::Allocation(_) => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// A query to the element itself: as a sink it delays nobody.
    pub(super) fn element_query(&self, query: &mut gst::QueryRef) -> Option<bool> {
        if !self.is_sink() {
            return None;
        }
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                self.answer_latency(query, gst::ClockTime::ZERO);
                Some(true)
            }
            _ => None,
        }
    }

    fn answer_latency(&self, query: &mut gst::query::Latency, own: gst::ClockTime) {
        let upstream = self.ask_upstream();
        if upstream.live {
            let add = |t: gst::ClockTime| t.checked_add(own).unwrap_or(gst::ClockTime::MAX);
            query.set(true, add(upstream.minimum), upstream.maximum.map(add));
        } else {
            // A source that is not live waits for as long as it takes.
            query.set(false, upstream.minimum, upstream.maximum);
        }
    }

    fn is_sink(&self) -> bool {
        self.obj().element_flags().contains(gst::ElementFlags::SINK)
    }

    /// With nothing linked behind it the running element is a sink, whose EOS the pipeline waits
    /// for.
    pub(super) fn set_sink(&self, sink: bool) {
        if sink == self.is_sink() {
            return;
        }
        gst::debug!(CAT, imp = self, "Serving as a {}", if sink { "sink" } else { "filter" });
        if sink {
            self.obj().set_element_flags(gst::ElementFlags::SINK);
        } else {
            self.obj().unset_element_flags(gst::ElementFlags::SINK);
        }
        // A bin looks at its children's flags only when they are added; without the flag its own
        // parent would not wait for its EOS, or wait for ever.
        let mut parent = self.obj().parent();
        while let Some(bin) = parent.and_downcast::<gst::Bin>() {
            if !bin.suppressed_flags().contains(gst::ElementFlags::SINK) {
                let is_sink =
                    |e: &gst::Element| e.element_flags().contains(gst::ElementFlags::SINK);
                if bin.children().iter().any(is_sink) {
                    bin.set_element_flags(gst::ElementFlags::SINK);
                } else {
                    bin.unset_element_flags(gst::ElementFlags::SINK);
                }
            }
            parent = bin.parent();
        }
    }

    /// An event to the element as a sink, as a seek of the application: there is no source pad's
    /// peer from which it could come.
    pub(super) fn element_event(&self, event: gst::Event) -> Result<bool, gst::Event> {
        if self.is_sink() && event.is_upstream() && !event.is_downstream() {
            Ok(self.sinkpad.push_event(event))
        } else {
            Err(event)
        }
    }

    /// The last word is out and EOS behind it.
    pub(super) fn end_of_stream(&self, seqnum: gst::Seqnum) {
        if self.is_sink() {
            self.post_eos_when_playing(seqnum);
        }
    }
}
