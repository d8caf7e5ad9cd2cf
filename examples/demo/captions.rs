// SPDX-License-Identifier: MPL-2.0

//! Words to captions: the demo's own small step, until there is an element for it.

use gst::glib;

use crate::Word;

/// Characters in a caption, at most, unless a single word has more.
const CHARS: usize = 38;
/// A pause that ends a caption; and how long one stays when its words are over.
const PAUSE: gst::ClockTime = gst::ClockTime::from_mseconds(700);

/// A line of text, and when it is shown.
pub struct Caption<'a> {
    pub words: &'a [Word],
    pub begin: gst::ClockTime,
    pub end: gst::ClockTime,
}

/// Text that is shown for a time, as a subtitle's or with markup.
pub struct Cue {
    pub text: String,
    pub begin: gst::ClockTime,
    pub end: gst::ClockTime,
}

/// All words in captions: a pause, the end of a sentence or too many characters end one.
pub fn captions(words: &[Word]) -> Vec<Caption<'_>> {
    let mut captions: Vec<Caption> = Vec::new();
    let mut first = 0;
    for i in 1..=words.len() {
        let line = &words[first..i];
        let next = words.get(i);
        if next.is_some_and(|next| !ends(line, next)) {
            continue;
        }
        let stays = line.last().map_or(gst::ClockTime::ZERO, |w| w.end) + PAUSE;
        let end = next.map_or(stays, |next| stays.min(next.begin));
        captions.push(Caption { words: line, begin: line[0].begin, end });
        first = i;
    }
    captions
}

/// Whether `next` belongs into another caption.
fn ends(line: &[Word], next: &Word) -> bool {
    let chars: usize = line.iter().map(|w| w.text.chars().count() + 1).sum();
    line.last().is_some_and(|last| {
        next.begin.saturating_sub(last.end) >= PAUSE
            || last.text.ends_with(['.', '?', '!']) && chars >= CHARS / 3
            || chars + next.text.chars().count() > CHARS
    })
}

impl Caption<'_> {
    pub fn text(&self) -> String {
        self.words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub fn cue(&self) -> Cue {
        Cue { text: self.text(), begin: self.begin, end: self.end }
    }

    /// The line once for each of its words, in which that word stands out.
    pub fn spoken(&self) -> impl Iterator<Item = Cue> {
        self.words.iter().enumerate().map(|(i, spoken)| {
            let text: Vec<_> =
                self.words.iter().enumerate().map(|(j, w)| marked(w, i == j)).collect();
            let end = self.words.get(i + 1).map_or(self.end, |next| next.begin);
            Cue { text: text.join(" "), begin: spoken.begin, end }
        })
    }

    /// The middle of its middle word: the time for a still.
    pub fn middle(&self) -> gst::ClockTime {
        let word = self.words.get(self.words.len() / 2);
        word.map_or(gst::ClockTime::ZERO, |w| (w.begin + w.end) / 2)
    }
}

fn marked(word: &Word, spoken: bool) -> String {
    let text = glib::markup_escape_text(&word.text);
    if spoken { format!("<span foreground=\"#ffd24a\">{text}</span>") } else { text.to_string() }
}
