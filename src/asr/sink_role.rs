// SPDX-License-Identifier: MPL-2.0

//! With nothing linked behind it the running element is a sink, whose EOS the pipeline waits for.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr};

fn is_flagged(element: &gst::Element) -> bool {
    element.element_flags().contains(gst::ElementFlags::SINK)
}

fn flag(element: &gst::Element, sink: bool) {
    if sink {
        element.set_element_flags(gst::ElementFlags::SINK);
    } else {
        element.unset_element_flags(gst::ElementFlags::SINK);
    }
}

impl VllmRealtimeAsr {
    pub(super) fn is_sink(&self) -> bool {
        is_flagged(self.obj().upcast_ref())
    }

    /// Started or stopped, linked or unlinked.
    pub(super) fn update_sink(&self) {
        let linked = self.srcpad.is_linked() || self.unsynced().pad().is_linked();
        let sink = self.state().client().is_some() && !linked;
        if sink == self.is_sink() {
            return;
        }
        gst::debug!(CAT, imp = self, "Serving as a {}", if sink { "sink" } else { "filter" });
        flag(self.obj().upcast_ref(), sink);
        // A bin looks at its children's flags only when they are added; without the flag its own
        // parent would not wait for its EOS, or wait for ever.
        let mut parent = self.obj().parent();
        while let Some(bin) = parent.and_downcast::<gst::Bin>() {
            if !bin.suppressed_flags().contains(gst::ElementFlags::SINK) {
                flag(bin.upcast_ref(), bin.children().iter().any(is_flagged));
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

    /// The last word is out and EOS behind it: as a sink that is told in PLAYING, and again
    /// whenever PLAYING is reached.
    pub(super) fn end_of_stream(&self, seqnum: gst::Seqnum) {
        if self.is_sink() && self.state().end(seqnum) {
            self.post_eos(seqnum);
        }
    }

    pub(super) fn post_eos(&self, seqnum: gst::Seqnum) {
        gst::debug!(CAT, imp = self, "Posting EOS");
        let obj = self.obj();
        let _ = obj.post_message(gst::message::Eos::builder().seqnum(seqnum).src(&*obj).build());
    }
}
