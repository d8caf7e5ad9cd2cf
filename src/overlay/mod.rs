// SPDX-License-Identifier: MPL-2.0

//! The bin `vllmcaptionoverlay`: picture and sound go in, the picture comes out with live captions.
//!
//! # Example pipelines
//!
//! A camera with captions, and a film:
//! ```text
//! gst-launch-1.0 vllmcaptionoverlay name=c url=ws://localhost:8000/v1/realtime \
//!   ! videoconvert ! autovideosink \
//!   autovideosrc ! c.video_sink  autoaudiosrc ! c.audio_sink
//! gst-launch-1.0 vllmcaptionoverlay name=c ! videoconvert ! autovideosink \
//!   uridecodebin uri=file:///film.mp4 name=d  d. ! c.video_sink  d. ! c.audio_sink \
//!   c.audio_src ! audioconvert ! audioresample ! autoaudiosink
//! ```
//!
//! # Pads
//!
//! | pad | what |
//! |---|---|
//! | `video_sink`, `video_src` | the picture, in any format and memory that `textoverlay` takes |
//! | `audio_sink` | the sound, raw, in any format |
//! | `audio_src` (on request) | the sound again, as it came: sinks show it with the picture |
//! | `text_src` (on request) | captions for a file or a muxer: pop-on, a buffer each |
//!
//! # Inside
//!
//! `queue ! textoverlay` for the picture; `tee ! queue ! audioconvert ! audioresample ! vllmrealtimeasr
//! ! tee ! textrollup` for the sound. The children `asr`, `rollup` and `overlay` can be set by
//! GstChildProxy (`asr::silence-commit=500`); those of their properties that are set most are the
//! bin's own.
//!
//! # Latency and memory
//!
//! Words are known some time after they were spoken, and the picture waits for them. How long is found
//! out (`latency-mode=auto`: 3 s at first), or as property `latency` says once it is set: in a live pipeline the LATENCY query says so, and the queue of the picture holds that much.
//! Property `stats` tells how many bytes that may be: the queue holds a second more than the latency, and
//! 4 s of 1080p I420 at 30 frames a second are 373 MB. In a pipeline that is not live it grows, up to 30 s or
//! 1 GiB, where the source gives more of the picture than of the sound. Scale the picture down before the bin, or caption it before it is decoded (`text_src` into
//! a muxer), where that is too much.
//!
//! # The picture goes on
//!
//! It goes on, at its rate, where the sound is not linked, comes late, or ends first, and where the
//! server is slow, gone or wrong. An ERROR of the captions' elements becomes a WARNING, captions are
//! tried again each 10 s, and come when that goes well (`on-error=error`: it stays an ERROR). In a
//! pipeline that is not live the picture waits for its captions as long as there is a server; when the
//! connection is lost it goes on without them after 2 s. `passthrough` turns captions off and on.

use gst::glib;
use gst::prelude::*;

mod captions;
mod imp;
mod settings;

/// What an error of the captions does to the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstVllmCaptionOverlayOnError")]
pub enum OnError {
    /// It goes on without captions until they come again.
    #[default]
    #[enum_value(name = "The picture goes on, captions are tried again", nick = "passthrough")]
    Passthrough,
    /// The pipeline fails.
    #[enum_value(name = "The pipeline fails", nick = "error")]
    Error,
}

glib::wrapper! {
    /// The bin `vllmcaptionoverlay`.
    pub struct VllmCaptionOverlay(ObjectSubclass<imp::VllmCaptionOverlay>)
        @extends gst::Bin, gst::Element, gst::Object, @implements gst::ChildProxy;
}

/// Registers the bin.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    OnError::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        Some(plugin),
        "vllmcaptionoverlay",
        gst::Rank::NONE,
        VllmCaptionOverlay::static_type(),
    )
}
