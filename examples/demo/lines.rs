// SPDX-License-Identifier: MPL-2.0

//! Words to caption lines: the demo's own small step, until there is an element for it.
//!
//! A line is known whole when a pause or too many characters end it; until then the text's time
//! stands still at its begin, and with it a picture that waits for its text.

use std::sync::Mutex;

use gst::glib;
use gst::prelude::*;

use crate::{Error, Word};

/// Characters in a line, at most, unless a single word has more.
const LINE_CHARS: usize = 38;
/// A pause that ends a line; and how long a line stays when its words are over.
const PAUSE: gst::ClockTime = gst::ClockTime::from_mseconds(700);

#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    /// A cue for each line.
    Plain,
    /// The line, a buffer for each of its words, in which that word stands out.
    Spoken,
}

/// The word in a text buffer.
pub fn word(buffer: &gst::BufferRef) -> Option<Word> {
    let map = buffer.map_readable().ok()?;
    let text = std::str::from_utf8(&map).ok()?.to_string();
    let begin = buffer.pts()?;
    Some(Word { text, begin, end: begin + buffer.duration()? })
}

/// The middle of the longest line's middle word: the time for a still.
pub fn fullest(words: &[Word]) -> gst::ClockTime {
    let mut lines: Vec<Vec<&Word>> = vec![vec![]];
    for word in words {
        if ends_line(lines.last().into_iter().flatten().copied(), word) {
            lines.push(vec![]);
        }
        lines.last_mut().into_iter().for_each(|line| line.push(word));
    }
    let longest = lines.iter().max_by_key(|line| length(line.iter().copied()));
    longest
        .and_then(|line| line.get(line.len() / 2))
        .map_or(gst::ClockTime::ZERO, |w| (w.begin + w.end) / 2)
}

fn length<'a>(line: impl Iterator<Item = &'a Word>) -> usize {
    line.map(|w| w.text.chars().count() + 1).sum::<usize>()
}

/// Whether `next` belongs on a new line.
fn ends_line<'a>(line: impl Iterator<Item = &'a Word> + Clone, next: &Word) -> bool {
    line.clone().last().is_some_and(|last| {
        next.begin.saturating_sub(last.end) >= PAUSE
            || length(line) + next.text.chars().count() > LINE_CHARS
    })
}

/// Turns the words that leave `queue` into lines.
pub fn install(queue: &gst::Element, style: Style) -> Result<(), Error> {
    let line = Mutex::new(Vec::<Word>::new());
    let pad = queue.static_pad("src").ok_or("no src pad")?;
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    // Handled, not Drop: GStreamer 1.22 complains of a buffer that the bindings have taken already.
    pad.add_probe(kinds, move |pad, info| {
        let mut line = line.lock().unwrap();
        // Whether a pause that lasts to `time` ends the line.
        let over = |line: &[Word], time: gst::ClockTime| {
            line.last().is_some_and(|w| time.saturating_sub(w.end) >= PAUSE)
        };
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(next) = word(buffer) {
                    if ends_line(line.iter(), &next) {
                        give_out(pad, std::mem::take(&mut *line), Some(next.begin), style);
                    }
                    line.push(next);
                }
                return gst::PadProbeReturn::Handled;
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Gap(gap) => {
                    let (start, duration) = gap.get();
                    let end = start + duration.unwrap_or_default();
                    if over(&line, end) {
                        give_out(pad, std::mem::take(&mut *line), Some(end), style);
                    } else if !line.is_empty() {
                        return gst::PadProbeReturn::Handled;
                    }
                }
                gst::EventView::Caps(_) if style == Style::Spoken => {
                    let caps = gst::Caps::builder("text/x-raw").field("format", "pango-markup");
                    *event = gst::event::Caps::new(&caps.build());
                }
                gst::EventView::Eos(_) => {
                    give_out(pad, std::mem::take(&mut *line), None, style);
                }
                _ => (),
            },
            _ => (),
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Hands a line on to the pad's peer. `until`: nothing else is shown before that time.
fn give_out(pad: &gst::Pad, line: Vec<Word>, until: Option<gst::ClockTime>, style: Style) {
    let (Some(peer), Some(last)) = (pad.peer(), line.last()) else { return };
    let end = until.map_or(last.end + PAUSE, |until| until.min(last.end + PAUSE));
    let push = |text: String, begin: gst::ClockTime, end: gst::ClockTime| {
        let mut buffer = gst::Buffer::from_slice(text.into_bytes());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(begin);
            buffer.set_duration(end.saturating_sub(begin));
        }
        // Where downstream is at its end or flushes, it wants no line.
        let _ = peer.chain(buffer);
    };
    match style {
        Style::Plain => {
            let text: Vec<_> = line.iter().map(|w| w.text.as_str()).collect();
            push(text.join(" "), line[0].begin, last.end);
        }
        Style::Spoken => {
            for (i, spoken) in line.iter().enumerate() {
                let text: Vec<_> =
                    line.iter().enumerate().map(|(j, w)| marked(w, i == j)).collect();
                let next = line.get(i + 1).map_or(end, |next| next.begin);
                push(text.join(" "), spoken.begin, next);
            }
        }
    }
}

fn marked(word: &Word, spoken: bool) -> String {
    let text = glib::markup_escape_text(&word.text);
    if spoken { format!("<span foreground=\"#ffd24a\">{text}</span>") } else { text.to_string() }
}
