// SPDX-License-Identifier: MPL-2.0

//! How long a caption stands once its words are spoken.

use unicode_width::UnicodeWidthStr;

use super::lines::Token;
use super::{Caption, MS, Output};

/// A caption that goes on standing is told so in pieces of this length, at least.
const PIECE: u64 = 100 * MS;

/// What stands on the screen.
#[derive(Debug)]
pub struct Standing {
    caption: Option<Caption>,
    /// It stands up to here, or up to the next caption where that begins sooner, or no later than
    /// `gap` behind it.
    until: u64,
    gap: u64,
    /// What goes on standing is told in pieces of this length, where nothing asks for shorter ones.
    gather: u64,
    /// No caption begins before.
    known: u64,
    /// Calls of [`Output::mark`] that wait for the caption.
    marks: usize,
}

impl Standing {
    pub fn new(gap: u64, gather: u64) -> Standing {
        Standing { caption: None, until: 0, gap, gather, known: 0, marks: 0 }
    }

    /// From the output's position on this is what stands.
    pub fn set(&mut self, caption: Caption, until: u64) {
        self.caption = Some(caption);
        self.until = until;
    }

    /// Punctuation for its last word, where so many columns have room for that.
    pub fn close(&mut self, mark: &Token, columns: usize) {
        let last = self.caption.as_mut().and_then(|caption| caption.lines.last_mut());
        if let Some(line) = last.filter(|line| line.width() + mark.columns <= columns) {
            line.push_str(&mark.text);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.caption.is_none()
    }

    /// A mark goes out behind the caption.
    pub fn mark(&mut self) {
        self.marks += 1;
    }

    /// The next caption begins at `begin`, or where the output is. Returns whether the one before it
    /// has stood as long as it was to.
    pub fn next_at(&mut self, begin: u64, out: &mut Output) -> bool {
        let mut long_enough = true;
        if let Some(caption) = self.caption.take() {
            let contiguous = begin < self.until.saturating_add(self.gap);
            out.show(&caption, if contiguous { begin } else { self.until });
            long_enough = out.at >= self.until;
        }
        self.over(out);
        out.gap(begin);
        long_enough
    }

    /// No caption begins before `known`.
    pub fn silence(&mut self, known: u64, out: &mut Output) {
        self.known = self.known.max(known);
        let Some(caption) = &self.caption else { return out.gap(known) };
        if known >= self.until.saturating_add(self.gap) {
            out.show(caption, self.until);
            self.caption = None;
            self.over(out);
            return out.gap(known);
        }
        let to = known.min(self.until);
        if to >= out.at.saturating_add(self.gather) {
            out.show(caption, to);
        }
    }

    /// The output has to get to `until` now.
    pub fn due(&mut self, until: u64, out: &mut Output) {
        let until = until.max(self.known);
        self.silence(until, out);
        if let Some(caption) = &self.caption {
            out.show(caption, until.max(out.at.saturating_add(PIECE)));
        }
    }

    /// No caption follows.
    pub fn finish(&mut self, out: &mut Output) {
        if let Some(caption) = self.caption.take() {
            out.show(&caption, self.until);
        }
        self.over(out);
    }

    fn over(&mut self, out: &mut Output) {
        for _ in 0..std::mem::take(&mut self.marks) {
            out.mark();
        }
    }
}
