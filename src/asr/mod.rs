// SPDX-License-Identifier: MPL-2.0

//! The element `vllmrealtimeasr`: all that knows GStreamer.

/// Registers the element.
pub fn register(_plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    Ok(())
}
