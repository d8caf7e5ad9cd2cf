// SPDX-License-Identifier: MPL-2.0

//! The properties: the bin's own, and those of its children that are set most.

use gst::glib;
use gst::prelude::*;
use once_cell::sync::Lazy;

use super::OnError;
use super::imp::Child;
use crate::properties::{self, PLAYING, Table, flag};

type Property = properties::Property<Settings>;

#[derive(Debug, Clone)]
pub struct Settings {
    pub passthrough: bool,
    pub on_error: OnError,
    pub post_messages: bool,
    /// Set by the user: no size is chosen.
    pub font: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            passthrough: false,
            on_error: OnError::Passthrough,
            post_messages: true,
            font: None,
        }
    }
}

/// Properties of the children that are the bin's own too.
const FORWARDED: [(Child, &[&str]); 2] = [
    (
        Child::Asr,
        &["url", "model", "language-code", "api-key", "latency", "latency-mode", "ca-certificate"],
    ),
    (Child::Rollup, &["lines", "columns", "reading-speed", "hold"]),
];

/// The child that has a property.
pub fn child_of(name: &str) -> Option<Child> {
    FORWARDED.iter().find(|(_, names)| names.contains(&name)).map(|(child, _)| *child)
}

// A row for each, in the order in which `gst-inspect-1.0` shows them; behind the children's.
#[rustfmt::skip]
pub static PROPERTIES: Lazy<Table<Settings>> = Lazy::new(|| {
    let forwarded = FORWARDED.iter().flat_map(|(child, names)| {
        let specs = match child {
            Child::Asr => crate::asr::specs(),
            Child::Rollup => crate::rollup::specs(),
        };
        let spec = move |name: &&str| specs.iter().find(|spec| spec.name() == *name).cloned();
        names.iter().filter_map(spec).map(Property::read_only)
    });
    let own = [
        Property::new(
            glib::ParamSpecString::builder("font-desc").nick("Font")
                .blurb("Font of the captions, as Pango names it; unset: monospace, so large that the columns take 90 % of the width")
                .build(),
            |s, v| s.font = properties::given(v),
            |s| s.font.to_value(),
        ),
        flag("post-messages", "Post messages", |s| &mut s.post_messages, PLAYING,
            "Post the recogniser's element messages for words, partial text, utterances and the connection"),
        flag("passthrough", "Passthrough", |s| &mut s.passthrough, PLAYING,
            "The picture goes through without captions"),
        Property::of(
            glib::ParamSpecEnum::builder_with_default("on-error", OnError::default()).nick("On error")
                .blurb("What an error of the captions' elements does").mutable_playing().build(),
            |s| &mut s.on_error,
        ),
        Property::read_only(
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats").nick("Statistics")
                .blurb("Whether captions are shown, and why not; bytes that the picture's queue may take; the stats of asr and rollup")
                .read_only().build(),
        ),
    ];
    Table::new(forwarded.chain(own).collect())
});
