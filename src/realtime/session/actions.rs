// SPDX-License-Identifier: MPL-2.0

//! What the transport is to do, in order, and how much of the audio was sent.

use std::collections::VecDeque;

use super::super::{Stats, event};
use super::Action;
use crate::transcript::clock::SEGMENT;
use crate::{Length, Position, transcript::SampleInGeneration};

/// A tail of a segment that is shorter than this fails (Qwen3-ASR).
const SHORTEST_TAIL: Length = Length::of_ms(20);

/// Bounded by how far the session runs ahead of a server, and taken after each call.
#[derive(Debug, Default)]
pub(super) struct Actions {
    actions: VecDeque<Action>,
    /// Position up to which audio was ever sent.
    sent_to: Position,
    audio: Length,
    replayed: Length,
    bytes: u64,
}

impl Actions {
    pub fn connect(&mut self, server: usize) {
        self.actions.push_back(Action::Connect { server });
    }

    pub fn disconnect(&mut self) {
        self.actions.push_back(Action::Disconnect);
    }

    pub fn send(&mut self, message: String) {
        self.bytes += message.len() as u64;
        self.actions.push_back(Action::Send(message));
    }

    /// Sends the audio at this position. Whether some of it goes out for the first time.
    pub fn audio(&mut self, at: Position, audio: &[i16]) -> bool {
        self.send(event::append(audio));
        let length = Length::of(audio);
        let again = (self.sent_to - at).min(length);
        self.audio += length;
        self.replayed += again;
        self.sent_to = self.sent_to.max(at + length);
        again < length
    }

    /// The final commit behind so much audio, and a tail that no model chokes on; how much was added
    /// for that.
    pub fn final_commit(&mut self, sent: SampleInGeneration) -> Length {
        let tail = sent.length() % SEGMENT;
        let padding = if tail == Length::ZERO { tail } else { SHORTEST_TAIL - tail };
        if padding > Length::ZERO {
            self.send(event::append(&vec![0; padding.count()]));
        }
        self.send(event::commit(true));
        padding
    }

    pub fn sent_to(&self) -> Position {
        self.sent_to
    }

    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn count(&self, stats: &mut Stats) {
        stats.samples_sent = self.audio.samples();
        stats.samples_replayed = self.replayed.samples();
        stats.bytes_sent = self.bytes;
    }
}
