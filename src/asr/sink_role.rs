// SPDX-License-Identifier: MPL-2.0

//! With nothing linked behind it the running element is a sink: it prerolls, and the pipeline
//! waits for its EOS.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, VllmRealtimeAsr, lock};

/// How far the sink is on its way to PAUSED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preroll {
    /// Nothing is to be done: it is no sink, or it is there.
    #[default]
    Done,
    /// The first data completes the state change.
    Awaited,
    /// The data is there, a thread is about to complete it.
    Completing,
}

impl VllmRealtimeAsr {
    /// READY→PAUSED begins. Whether it is to be completed by the first data.
    pub(super) fn await_preroll(&self) -> bool {
        let sink = self.is_sink();
        if sink {
            *lock(&self.preroll) = Preroll::Awaited;
            let obj = self.obj();
            let _ = obj.post_message(gst::message::AsyncStart::builder().src(&*obj).build());
        }
        sink
    }

    /// The first data is here: audio, a gap or EOS.
    ///
    /// The state change is completed under the element's state lock, which PAUSED→PLAYING takes
    /// too: otherwise the bin could be in PLAYING before it has finished with PAUSED, and would
    /// then keep our EOS to itself. The lock must not be taken on a streaming thread.
    pub(super) fn preroll(&self) {
        {
            let mut preroll = lock(&self.preroll);
            if *preroll != Preroll::Awaited {
                return;
            }
            *preroll = Preroll::Completing;
        }
        self.obj().call_async(|element| {
            let _state = StateLock::new(element.upcast_ref());
            let imp = element.imp();
            if std::mem::take(&mut *lock(&imp.preroll)) == Preroll::Completing {
                gst::debug!(CAT, imp = imp, "Prerolled");
                let _ = element.continue_state(gst::StateChangeSuccess::Success);
                imp.post_async_done();
            }
        });
    }

    /// PAUSED→READY, or READY→PAUSED has failed: nobody waits for data any more.
    pub(super) fn forget_preroll(&self) {
        if std::mem::take(&mut *lock(&self.preroll)) != Preroll::Done {
            self.post_async_done();
        }
    }

    fn post_async_done(&self) {
        let obj = self.obj();
        let done = gst::message::AsyncDone::builder().src(&*obj).build();
        let _ = obj.post_message(done);
    }

    pub(super) fn is_sink(&self) -> bool {
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

/// The lock under which GStreamer changes an element's state; it may be taken again by the thread
/// that has it. `gst_element_continue_state` wants it held, and the bindings have no way to it.
struct StateLock<'a>(&'a gst::Element);

impl<'a> StateLock<'a> {
    fn new(element: &'a gst::Element) -> Self {
        // SAFETY: the lock is a part of the element, which outlives `self`, and is initialised with
        // it.
        unsafe { glib::ffi::g_rec_mutex_lock(&mut (*element.as_ptr()).state_lock) };
        StateLock(element)
    }
}

impl Drop for StateLock<'_> {
    fn drop(&mut self) {
        // SAFETY: as above, and this thread has the lock.
        unsafe { glib::ffi::g_rec_mutex_unlock(&mut (*self.0.as_ptr()).state_lock) };
    }
}
