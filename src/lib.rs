// SPDX-License-Identifier: MPL-2.0

//! # `vllmrealtime`: live speech to text for GStreamer
//!
//! Audio with times goes in; the session carries it to a vLLM server and lets go of no sample
//! before its words are safe; text comes back, becomes words, gets its times from the audio
//! itself, and leaves as buffers in time.
//!
//! | module | what it does | knows GStreamer |
//! |---|---|---|
//! | [`asr`] | the element `vllmrealtimeasr`: pads, properties, messages | yes |
//! | [`overlay`] | the bin `vllmcaptionoverlay` | yes |
//! | [`rollup`] | the element `textrollup`; its layout is pure | but for the layout |
//! | [`realtime`] | the client: wire events, session, history, transport | no |
//! | [`transcript`] | text to words with times | no |
//! | [`speech`] | samples to speech or silence, and to the shape of the sound | no |
//! | [`timeline`] | position in the audio to stream time | no |
//! | [`position`] | samples of the audio, and how many | no |
//!
//! A *position* is everywhere the index of a sample (16 kHz) of the audio that the element was
//! given, counted from its start; it only grows.

pub mod asr;
mod conventions;
mod mechanism;
pub mod overlay;
pub mod position;
mod properties;
pub mod realtime;
pub mod rollup;
pub mod speech;
pub mod timeline;
pub mod transcript;

pub use position::{Length, Position};

/// Samples in a second: the only rate that the server takes.
pub const SAMPLE_RATE: u64 = 16_000;

/// Samples in a millisecond.
pub const SAMPLES_PER_MS: u64 = SAMPLE_RATE / 1000;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), gst::glib::BoolError> {
    asr::register(plugin)?;
    rollup::register(plugin)?;
    overlay::register(plugin)
}

gst::plugin_define!(
    vllmrealtime,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
