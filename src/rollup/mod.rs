// SPDX-License-Identifier: MPL-2.0

//! The element `textrollup`: timed words go in, captions that can be read come out.
//!
//! Each text buffer that goes in is a word, or several that are to be shown at once: those of
//! `vllmrealtimeasr`, or of any other transcriber. What comes out depends on property `mode`:
//!
//! - `roll-up`, for live pictures: each word is painted when it is spoken, lines scroll up. A word's
//!   buffer leaves at once, as long as the word; what goes on standing is told by further buffers with
//!   the same text, each of which begins where the one before it ends. So nothing is added to the
//!   latency.
//! - `pop-on`, for files: whole captions, a buffer each, broken where a reader would pause.
//! - `sentence`, for translation and text: a buffer for each sentence, on one line.
//!
//! # Example pipelines
//!
//! Captions on a film, and as subtitles in a file:
//! ```text
//! gst-launch-1.0 filesrc location=film.mkv ! decodebin name=d \
//!   d. ! queue max-size-time=10000000000 max-size-bytes=0 max-size-buffers=0 ! videoconvert \
//!   ! textoverlay name=o halignment=left line-alignment=left ! videoconvert ! autovideosink \
//!   d. ! audioconvert ! audioresample ! vllmrealtimeasr ! textrollup ! o.text_sink
//! gst-launch-1.0 filesrc location=talk.wav ! decodebin ! audioconvert ! audioresample \
//!   ! vllmrealtimeasr ! textrollup mode=pop-on columns=42 ! srtenc ! filesink location=talk.srt
//! ```
//!
//! # Times
//!
//! In `roll-up` the last lines stand `hold` after the last word, and no less than `min-duration`. A
//! pause that would leave the screen empty for less than `gap` does not: the lines stand until the
//! next word. A word that comes later than its time is painted at once, where the output is.
//!
//! In `pop-on` a caption is cut when its text is more than `lines` of `columns`, or longer than
//! `max-duration`, or at a pause of `gap`. It stands until its text can be read (`reading-speed`), no
//! less than `min-duration`, but no longer than up to the next one. Where the pipeline is live that
//! takes `max-duration`, 1.5 s, and the longer of `gap` and `min-duration`, and the LATENCY query says so;
//! a caption that is due sooner is cut there.
//!
//! Where it is live and the source tells nothing, neither words nor GAPs, the clock goes on: what
//! stands is told further when the sinks need it.
//!
//! # Events
//!
//! `rstranscribe/speaker-change` begins a line (in `pop-on` a caption) with `speaker-prefix`. A TAG
//! with a language code chooses the words that lines are broken at; English, German, French and
//! Spanish are known. `rstranscribe/final-transcript` and other events go through in their place.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

mod imp;
pub mod layout;
mod markup;
mod queue;
pub mod replace;
mod settings;
mod task;

/// What a caption is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstTextRollUpMode")]
pub enum Mode {
    /// Word by word, for live pictures.
    #[default]
    #[enum_value(name = "Roll-up: word by word, lines scroll", nick = "roll-up")]
    RollUp,
    /// Whole captions, for files.
    #[enum_value(name = "Pop-on: whole captions", nick = "pop-on")]
    PopOn,
    /// A buffer for each sentence.
    #[enum_value(name = "Sentence: a buffer for each sentence", nick = "sentence")]
    Sentence,
}

/// What the text that comes out is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstTextRollUpFormat")]
pub enum Format {
    /// Plain text.
    #[default]
    #[enum_value(name = "Plain text", nick = "utf8")]
    Utf8,
    /// Pango markup, escaped.
    #[enum_value(name = "Pango markup, with & and < escaped", nick = "pango-markup")]
    PangoMarkup,
}

/// What the timestamps that come out are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstTextRollUpStamp")]
pub enum Stamp {
    /// Those of the segment that the words came in.
    #[default]
    #[enum_value(name = "As the words have them", nick = "segment")]
    Segment,
    /// The running time, in one segment.
    #[enum_value(
        name = "The running time, which goes on where segments follow each other",
        nick = "running-time"
    )]
    RunningTime,
}

glib::wrapper! {
    /// The element `textrollup`.
    pub struct TextRollUp(ObjectSubclass<imp::TextRollUp>)
        @extends gst::Element, gst::Object;
}

impl TextRollUp {
    /// How much later than a word begins its caption may leave.
    pub(crate) fn latency(&self) -> gst::ClockTime {
        self.imp().latency()
    }
}

/// Its properties, for a bin that has some of them too.
pub(crate) fn specs() -> Vec<glib::ParamSpec> {
    settings::table().specs().to_vec()
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    for kind in [Mode::static_type(), Format::static_type(), Stamp::static_type()] {
        kind.mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(Some(plugin), "textrollup", gst::Rank::NONE, TextRollUp::static_type())
}
