// SPDX-License-Identifier: MPL-2.0

//! Queries, above all LATENCY.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::LatencyMode;
use super::imp::{CAT, VllmRealtimeAsr};

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
        let answered = self.sinkpad.peer_query(&mut query);
        let (live, minimum, maximum) =
            if answered { query.result() } else { (false, gst::ClockTime::ZERO, None) };
        let upstream = Upstream { live, minimum, maximum };
        gst::debug!(CAT, imp = self, "Upstream: {upstream:?}");
        self.state().set_upstream(upstream);
        self.update_latency();
        upstream
    }

    /// What words may take.
    pub(super) fn latency(&self) -> gst::ClockTime {
        let settings = self.settings();
        if self.is_unsynchronised() {
            return gst::ClockTime::ZERO;
        }
        match settings.latency_mode {
            LatencyMode::Auto if self.state().client().is_some() => self.state().learnt_latency(),
            _ => settings.latency(),
        }
    }

    /// Whether words leave when they are known, whatever their time.
    pub(super) fn is_unsynchronised(&self) -> bool {
        let state = self.state();
        match state.client() {
            Some(_) => state.is_unsynchronised(),
            None => {
                drop(state);
                self.settings().is_unsynchronised()
            }
        }
    }

    /// Tells the output what upstream and property `latency` say.
    pub(super) fn update_latency(&self) {
        if self.is_unsynchronised() {
            return;
        }
        let own = self.latency();
        let live = self.state().live();
        self.outbox.set_latency(live.map(|minimum| minimum.saturating_add(own)));
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(query) = query.view_mut() {
            self.answer_latency(query, self.latency());
            return true;
        }
        gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }

    pub(super) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        // What downstream offers is for text.
        query.type_() != gst::QueryType::Allocation
            && gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }

    /// A query to the element itself: as a sink it delays nobody.
    pub(super) fn element_query(&self, query: &mut gst::QueryRef) -> Option<bool> {
        let gst::QueryViewMut::Latency(query) = query.view_mut() else { return None };
        self.is_sink().then(|| {
            self.answer_latency(query, gst::ClockTime::ZERO);
            true
        })
    }

    /// What is stamped when it arrives is live, and adds nothing.
    pub(super) fn answer_unsynchronised(&self, query: &mut gst::query::Latency) {
        let upstream = self.ask_upstream();
        let minimum = if upstream.live { upstream.minimum } else { gst::ClockTime::ZERO };
        query.set(true, minimum, None);
    }

    fn answer_latency(&self, query: &mut gst::query::Latency, own: gst::ClockTime) {
        if self.is_unsynchronised() {
            return self.answer_unsynchronised(query);
        }
        let upstream = self.ask_upstream();
        if upstream.live {
            // So much audio waits here before any is given up.
            let holds = own.max(self.settings().max_backlog());
            let maximum = upstream.maximum.map(|t| t.saturating_add(holds));
            query.set(true, upstream.minimum.saturating_add(own), maximum);
        } else {
            // A source that is not live waits for as long as it takes.
            query.set(false, upstream.minimum, upstream.maximum);
        }
    }
}
