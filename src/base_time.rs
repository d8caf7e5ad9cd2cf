// SPDX-License-Identifier: MPL-2.0

//! Whether the running time of an element is that of its pipeline.

use std::time::Duration;

use gst::prelude::*;

/// Nothing tells that the base time is another one: while it is awaited, it is looked at so often.
pub const LOOKS: Duration = Duration::from_millis(20);

/// FLUSH_STOP sets the running time back at once, the pipeline sets another base time only once its
/// sinks have prerolled again; in between the old one does not count.
#[derive(Debug, Default)]
pub struct BaseTime {
    stale: Option<gst::ClockTime>,
}

impl BaseTime {
    /// FLUSH_STOP has set the running time back: it counts from another base time than the element's
    /// of now.
    pub fn set_back(&mut self, now: Option<gst::ClockTime>) {
        self.stale = now;
    }

    /// The element goes to another state, and so has the base time of that.
    pub fn settle(&mut self) {
        self.stale = None;
    }

    /// Whether the element's base time is still that from before a flush. Where the pipeline plays on,
    /// none of its sinks has to preroll, and the base time stays.
    pub fn is_stale(&self, element: &impl IsA<gst::Element>) -> bool {
        self.stale.is_some() && self.stale == element.base_time() && !pipeline_plays(element)
    }
}

/// The pipeline that an element is in.
pub fn pipeline_of(element: &impl IsA<gst::Element>) -> Option<gst::Bin> {
    let mut top = element.as_ref().parent()?;
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top.downcast().ok()
}

/// Whether the pipeline plays: between the preroll behind a flush and PLAYING it is in PAUSED, though
/// its elements are not.
fn pipeline_plays(element: &impl IsA<gst::Element>) -> bool {
    pipeline_of(element).is_none_or(|pipeline| {
        let (change, current, _) = pipeline.state(gst::ClockTime::ZERO);
        change == Ok(gst::StateChangeSuccess::Success) && current == gst::State::Playing
    })
}
