// SPDX-License-Identifier: MPL-2.0

//! A caption as the text of a buffer. Pure.

use std::borrow::Cow;

use super::layout::Caption;

/// How captions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Writing {
    /// Pango markup.
    pub markup: bool,
    /// With the word that is being spoken underlined.
    pub highlight: bool,
    /// A line break at the end.
    pub newline: bool,
}

impl Writing {
    pub fn text(self, caption: &Caption) -> String {
        let lines = caption.lines.iter().enumerate().map(|(i, line)| {
            let spoken = caption.spoken.as_ref().filter(|(row, _)| *row == i && self.highlight);
            match spoken.and_then(|(_, at)| {
                Some((line.get(..at.start)?, line.get(at.clone())?, line.get(at.end..)?))
            }) {
                Some((before, word, after)) => {
                    let [before, word, after] = [before, word, after].map(|t| self.escaped(t));
                    format!("{before}<u>{word}</u>{after}")
                }
                None => self.escaped(line).into_owned(),
            }
        });
        let mut text = lines.collect::<Vec<_>>().join("\n");
        if self.newline {
            text.push('\n');
        }
        text
    }

    fn escaped(self, text: &str) -> Cow<'_, str> {
        if !self.markup || !text.contains(['&', '<', '>']) {
            return text.into();
        }
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_written_as_they_are_read() {
        let caption =
            Caption { lines: vec!["R&D".into(), "is <5 %".into()], spoken: Some((1, 3..5)) };
        let plain = Writing::default();
        assert_eq!(plain.text(&caption), "R&D\nis <5 %");
        assert_eq!(Writing { newline: true, ..plain }.text(&caption), "R&D\nis <5 %\n");
        let markup = Writing { markup: true, ..plain };
        assert_eq!(markup.text(&caption), "R&amp;D\nis &lt;5 %");
        let highlight = Writing { highlight: true, ..markup };
        assert_eq!(highlight.text(&caption), "R&amp;D\nis <u>&lt;5</u> %");
    }
}
