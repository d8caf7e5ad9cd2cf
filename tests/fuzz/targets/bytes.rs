// SPDX-License-Identifier: MPL-2.0

//! Bytes to calls: a reader that never fails; behind the end all is zero.

/// Cuts text into deltas: never part of a word.
pub const CUT: char = '\u{1F}';

pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Bytes(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub fn u64(&mut self) -> u64 {
        (0..4).fold(0, |n, _| n << 16 | u64::from(self.u16()))
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::from(self.u8()) % from.len()].clone()
    }

    /// Text with its length, in bytes, before it.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.u8()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// All of an input as text, and its pieces between cuts.
pub fn pieces(data: &[u8]) -> (String, Vec<String>) {
    let text = String::from_utf8_lossy(data);
    let pieces: Vec<String> = text.split(CUT).map(str::to_owned).collect();
    (pieces.concat(), pieces)
}
