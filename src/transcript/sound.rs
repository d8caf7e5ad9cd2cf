// SPDX-License-Identifier: MPL-2.0

//! What is known of the sound, asked by position.

use crate::speech::{Features, features::Frame};
use crate::{Length, Position};

/// [`Features`], where each of these is described.
#[derive(Debug, Default)]
pub struct Sound(pub(super) Features);

impl Sound {
    pub fn end(&self) -> Position {
        Position::new(self.0.end())
    }

    pub fn frames(&self, from: Position, to: Position) -> impl Iterator<Item = &Frame> {
        self.0.frames(from.samples(), to.samples()).1
    }

    pub fn speech_within(&self, from: Position, to: Position) -> bool {
        self.0.speech_within(from.samples(), to.samples())
    }

    pub fn next_speech(&self, from: Position, to: Position) -> Position {
        Position::new(self.0.next_speech(from.samples(), to.samples()))
    }

    pub fn voiced(&self, from: Position, to: Position) -> Length {
        Length::new(self.0.voiced(from.samples(), to.samples()))
    }

    pub fn quiet(&self, from: Position, to: Position) -> Option<f32> {
        self.0.quiet(from.samples(), to.samples())
    }

    pub fn is_pause(&self, since: Position, from: Position, to: Position) -> bool {
        self.0.is_pause(since.samples(), from.samples(), to.samples())
    }

    pub fn quietest(&self, from: Position, to: Position) -> Position {
        Position::new(self.0.quietest(from.samples(), to.samples()))
    }
}
