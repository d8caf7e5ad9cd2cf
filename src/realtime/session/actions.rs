// SPDX-License-Identifier: MPL-2.0

//! What the transport is to do, in order, and how much of the audio was sent.

use std::collections::VecDeque;

use super::super::{Stats, event};
use super::Action;
use crate::transcript::SampleInGeneration;
use crate::transcript::clock::SEGMENT;

/// A tail of a segment that is shorter than this fails (Qwen3-ASR), in samples.
const SHORTEST_TAIL: u64 = 320;

/// Bounded by how far the session runs ahead of a server, and taken after each call.
#[derive(Debug, Default)]
pub(super) struct Actions {
    actions: VecDeque<Action>,
    /// Position up to which audio was ever sent.
    sent_to: u64,
    samples: u64,
    replayed: u64,
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
    pub fn audio(&mut self, at: u64, audio: &[i16]) -> bool {
        self.send(event::append(audio));
        let count = audio.len() as u64;
        let again = self.sent_to.saturating_sub(at).min(count);
        self.samples += count;
        self.replayed += again;
        self.sent_to = self.sent_to.max(at + count);
        again < count
    }

    /// The final commit behind so much audio, and a tail that no model chokes on; how much was added
    /// for that.
    pub fn final_commit(&mut self, sent: SampleInGeneration) -> u64 {
        let tail = sent.samples() % SEGMENT.samples();
        let padding = if (1..SHORTEST_TAIL).contains(&tail) { SHORTEST_TAIL - tail } else { 0 };
        if padding > 0 {
            self.send(event::append(&vec![0; padding as usize]));
        }
        self.send(event::commit(true));
        padding
    }

    pub fn sent_to(&self) -> u64 {
        self.sent_to
    }

    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub fn count(&self, stats: &mut Stats) {
        stats.samples_sent = self.samples;
        stats.samples_replayed = self.replayed;
        stats.bytes_sent = self.bytes;
    }
}
