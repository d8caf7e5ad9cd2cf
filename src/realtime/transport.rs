// SPDX-License-Identifier: MPL-2.0

//! The one thread of an element: it waits on the socket and on a waker, and owns the session.

use super::{Config, Error, Output, Stats};

/// Where the client's outputs go. Called on the client's thread: must not block.
pub trait Sink: Send + Sync {
    fn output(&self, output: Output);
}

impl<F: Fn(Output) + Send + Sync> Sink for F {
    fn output(&self, output: Output) {
        self(output)
    }
}

/// Whether there is room for more audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Yes,
    /// [`Client::interrupt`] was called.
    Interrupted,
    /// The session has failed: an [`Output::Failed`] tells why.
    Failed,
}

/// The element's handle of its session. All calls return at once but [`Client::wait_for_room`].
/// Dropping it ends the thread, whatever the network does.
pub struct Client {}

impl Client {
    /// Starts the thread. It connects when the first audio comes.
    pub fn start(config: Config, sink: impl Sink + 'static) -> Result<Client, Error> {
        let _ = (config, sink);
        Ok(Client {})
    }

    /// Whether the source is live: a live one never waits, it drops its oldest audio beyond
    /// `max_backlog`; otherwise the input waits.
    pub fn set_live(&self, live: bool) {
        let _ = live;
    }

    /// Connect now, before there is audio.
    pub fn connect(&self) {}

    /// Waits until audio may be given; at once in a live pipeline.
    pub fn wait_for_room(&self) -> Room {
        Room::Yes
    }

    /// Ends any wait for room now and until [`Client::resume`].
    pub fn interrupt(&self) {}

    pub fn resume(&self) {}

    /// Audio that begins at `position`: where the last one ended, or later after `end_utterance`.
    pub fn audio(&self, position: u64, samples: Vec<i16>) {
        let _ = (position, samples);
    }

    /// A pause: commit what there is, the next audio begins a new utterance. `position`: behind
    /// the last sample, or later where silence was skipped; no audio comes before it any more.
    pub fn end_utterance(&self, position: u64) {
        let _ = position;
    }

    /// As `end_utterance`; when all words are out, [`Output::Drained`] comes with the number
    /// returned.
    pub fn drain(&self) -> u64 {
        0
    }

    /// Forgets all audio and all words not yet out; [`Output::Flushed`] comes with the number
    /// returned. Positions go on counting.
    pub fn flush(&self) -> u64 {
        0
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
