// SPDX-License-Identifier: MPL-2.0

//! The properties: what users set.

use std::path::PathBuf;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use once_cell::sync::Lazy;

use super::layout::{self, language::Language};
use super::markup::Writing;
use super::replace::Rules;
use super::{Format, Mode, Stamp};
use crate::properties::{self, READY, Table, count, flag, given, millis, string};

type Property = properties::Property<Settings>;

const LINES: (u32, u32) = (1, 15);
const COLUMNS: (u32, u32) = (8, 200);
const READING_SPEED: (u32, u32) = (0, 1000);
/// A minute, in ms.
const TIMES_MS: (u32, u32) = (0, 60_000);
const MAX_DURATION_MS: (u32, u32) = (1000, 60_000);

#[derive(Debug, Clone)]
pub struct Settings {
    mode: Mode,
    format: Format,
    pub stamp: Stamp,
    lines: u32,
    columns: u32,
    reading_speed: u32,
    min_duration: Duration,
    max_duration: Duration,
    hold: Duration,
    gap: Duration,
    newline: bool,
    highlight: bool,
    /// Whether GAPs go out.
    pub gaps: bool,
    speaker_prefix: String,
    replace: Option<gst::Structure>,
    replace_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mode: Mode::RollUp,
            format: Format::Utf8,
            stamp: Stamp::Segment,
            lines: 2,
            columns: 37,
            reading_speed: 20,
            min_duration: Duration::from_secs(1),
            max_duration: Duration::from_secs(6),
            hold: Duration::from_millis(1500),
            gap: Duration::from_secs(1),
            newline: false,
            highlight: false,
            gaps: true,
            speaker_prefix: ">> ".to_owned(),
            replace: None,
            replace_file: None,
        }
    }
}

pub static PROPERTIES: Lazy<Table<Settings>> = Lazy::new(table);

// A row for each, in the order in which `gst-inspect-1.0` shows them.
#[rustfmt::skip]
pub fn table() -> Table<Settings> {
    Table::new(vec![
        Property::of(
            glib::ParamSpecEnum::builder_with_default("mode", Mode::default()).nick("Mode")
                .blurb("What a caption is").mutable_ready().build(),
            |s| &mut s.mode,
        ),
        count("lines", "Lines", |s| &mut s.lines, LINES, READY,
            "Lines on the screen at most"),
        count("columns", "Columns", |s| &mut s.columns, COLUMNS, READY,
            "Columns of a line at most; characters of East Asia take two (BBC 37, CEA-608 32, Netflix 42)"),
        millis("min-duration", "Minimum duration", |s| &mut s.min_duration, TIMES_MS, READY,
            "How long a caption stands at least, where the next one leaves it the time (ms)"),
        millis("max-duration", "Maximum duration", |s| &mut s.max_duration, MAX_DURATION_MS, READY,
            "Speech in one caption at most, mode pop-on (ms)"),
        count("reading-speed", "Reading speed", |s| &mut s.reading_speed, READING_SPEED, READY,
            "Characters a second that can be read: a caption stands so long, where the next one leaves it the time; 0: not looked at; modes pop-on and sentence"),
        millis("hold", "Hold", |s| &mut s.hold, TIMES_MS, READY,
            "How long the last lines stay after the speech, mode roll-up (ms)"),
        millis("gap", "Gap", |s| &mut s.gap, TIMES_MS, READY,
            "Time between two captions at least; where it would be shorter the first one stays up to the second (ms)"),
        flag("newline", "Newline", |s| &mut s.newline, READY,
            "End each buffer with a line break, for plain text in a file"),
        flag("highlight", "Highlight", |s| &mut s.highlight, READY,
            "Underline the word that is being spoken, mode roll-up with format pango-markup"),
        Property::of(
            glib::ParamSpecEnum::builder_with_default("format", Format::default()).nick("Format")
                .blurb("What the text is").mutable_ready().build(),
            |s| &mut s.format,
        ),
        Property::of(
            glib::ParamSpecEnum::builder_with_default("stamp", Stamp::default()).nick("Stamp")
                .blurb("What the timestamps are").mutable_ready().build(),
            |s| &mut s.stamp,
        ),
        flag("gaps", "GAPs", |s| &mut s.gaps, READY,
            "Send GAP events while nothing is shown (splitmuxsink of GStreamer 1.22 stops for ever on one)"),
        Property::new(
            string("speaker-prefix", "Speaker prefix",
                "What stands before the first word of another speaker; {} is the speaker's name")
                .default_value(Some(">> ")).mutable_ready().build(),
            |s, v| s.speaker_prefix = v.get::<Option<String>>().ok().flatten().unwrap_or_default(),
            |s| s.speaker_prefix.to_value(),
        ),
        Property::of(
            glib::ParamSpecBoxed::builder::<gst::Structure>("replace").nick("Replace")
                .blurb("Words to be written otherwise or masked, \"replace,damn=d***,new_york=NYC\"; _ is a space; an empty value leaves the word out")
                .mutable_ready().build(),
            |s| &mut s.replace,
        ),
        Property::new(
            string("replace-file", "Replace file",
                "File with words and phrases to be written otherwise or masked, a line each: WHAT = WITH").mutable_ready().build(),
            |s, v| s.replace_file = given(v).map(PathBuf::from),
            |s| s.replace_file.as_ref().map(|p| p.to_string_lossy().into_owned()).to_value(),
        ),
        Property::read_only(
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats").nick("Statistics")
                .blurb("Figures since the start: words, captions, words shown late, words that scrolled through unread, captions too fast to read")
                .read_only().build(),
        ),
    ])
}

impl Settings {
    /// What the layout goes by, where the stream plays at this rate.
    pub fn layout(&self, rate: f64, language: Language) -> layout::Settings {
        // A second of reading is `rate` seconds of the stream.
        let ns = |time: Duration| time.mul_f64(rate.clamp(0.01, 100.0)).as_nanos() as u64;
        let per_second = f64::from(self.reading_speed) / rate.clamp(0.01, 100.0);
        layout::Settings {
            mode: match self.mode {
                Mode::RollUp => layout::Mode::RollUp,
                Mode::PopOn => layout::Mode::PopOn,
                Mode::Sentence => layout::Mode::Sentence,
            },
            lines: self.lines as usize,
            columns: self.columns as usize,
            min_duration: ns(self.min_duration),
            max_duration: ns(self.max_duration),
            hold: ns(self.hold),
            gap: ns(self.gap),
            reading_speed: if self.reading_speed == 0 { 0 } else { (per_second as u32).max(1) },
            language,
        }
    }

    pub fn writing(&self) -> Writing {
        let markup = self.format == Format::PangoMarkup;
        Writing { markup, highlight: self.highlight && markup, newline: self.newline }
    }

    pub fn caps(&self) -> gst::Caps {
        let format = match self.format {
            Format::Utf8 => "utf8",
            Format::PangoMarkup => "pango-markup",
        };
        gst::Caps::builder("text/x-raw").field("format", format).build()
    }

    /// What stands before the first word of this speaker.
    pub fn prefix(&self, speaker: Option<&str>) -> String {
        self.speaker_prefix.replace("{}", speaker.unwrap_or_default())
    }

    /// What properties `replace` and `replace-file` say.
    ///
    /// # Errors
    /// Names the property, its value and what to do.
    pub fn rules(&self) -> Result<Rules, String> {
        let mut rules = Rules::default();
        if let Some(path) = &self.replace_file {
            let wrong = |why: String| {
                format!(
                    "Property replace-file, {}: {why}. Name a UTF-8 text file with lines WHAT = WITH.",
                    path.display()
                )
            };
            let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
            rules.extend(Rules::parse(&text).map_err(wrong)?);
        }
        for (what, with) in self.replace.iter().flat_map(|s| s.iter()) {
            let wrong = |why: &str| {
                format!(
                    "Property replace, field {what}: {why}. Set it to the text to write instead."
                )
            };
            let with = with.transform::<String>().ok().and_then(|v| v.get::<String>().ok());
            let with = with.ok_or_else(|| wrong("the value is no text"))?;
            rules.add(&what.replace('_', " "), &with).map_err(|why| wrong(&why))?;
        }
        Ok(rules)
    }
}
