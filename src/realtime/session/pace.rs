// SPDX-License-Identifier: MPL-2.0

//! How much audio goes into an append, and how much may be ahead of the server.

use super::super::Config;
use super::Session;
use crate::{Length, transcript::clock::Ahead};

/// Audio in one append at most, when catching up.
const APPEND_MOST: Length = Length::of_ms(500);
/// An append is at least this part of the audio that the server has not worked through yet.
const PARTS: u64 = 20;
/// The audio ahead of a server is halved so often at most.
const MOST_HALVES: u32 = 4;

#[derive(Debug)]
pub(super) struct Pace {
    /// Audio in one append at least; a part of the backlog, or that would be full before.
    chunk: Length,
    /// No append waits for more than this.
    patient: Length,
    /// How often the server's queue was full.
    full_queues: u32,
}

impl Pace {
    pub fn new(config: &Config) -> Pace {
        let quarter = Session::backlog_most(config) / 4;
        let chunk = Length::lasting(config.chunk).min(quarter).max(Length::new(1));
        Pace { chunk, patient: APPEND_MOST.min(quarter), full_queues: 0 }
    }

    /// An append was lost for want of room at the server: all that follows stays nearer to it.
    pub fn note_full_queue(&mut self) {
        self.full_queues = (self.full_queues + 1).min(MOST_HALVES);
    }

    /// Audio that makes a beginning.
    pub fn chunk(&self) -> Length {
        self.chunk
    }

    /// The shortest append, more the further the server is behind: it queues so many appends and no
    /// more (vllm#48130), and this makes at most 128 of 20 s.
    pub fn least(&self, behind: Length) -> Length {
        (behind / PARTS).min(self.patient).max(self.chunk)
    }

    /// The longest append.
    pub fn most(&self) -> Length {
        APPEND_MOST.max(self.chunk)
    }

    /// How far ahead of what the server has heard; it must have enough to speak.
    pub fn ahead(&self, Ahead { usual, least }: Ahead) -> Length {
        (usual / (1 << self.full_queues)).max(least)
    }
}
