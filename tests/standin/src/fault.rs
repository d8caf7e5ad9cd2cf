// SPDX-License-Identifier: MPL-2.0

//! What can go wrong, and when.

use std::time::Duration;

use serde::Deserialize;

/// Something that goes wrong at a point of a session.
///
/// In a script file: `{"when": {"deltas": 20}, "do": {"close": {"code": 1012}}, "connection": 0}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub when: When,
    #[serde(rename = "do")]
    pub what: What,
    /// Only on this connection, counted from 0 over the server's life. Default: any.
    #[serde(default)]
    pub connection: Option<u64>,
    /// Only in this generation of a connection, counted from 0. Default: any.
    #[serde(default)]
    pub generation: Option<u64>,
    /// How often at most, over the server's life. Default 1; 0: without end.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// Once, on any connection, in any generation.
    pub fn new(when: When, what: What) -> Self {
        Fault { when, what, connection: None, generation: None, times: 1 }
    }

    /// Only on this connection, from 0.
    pub fn on_connection(mut self, connection: u64) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Only in this generation of a connection, from 0.
    pub fn in_generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// How often at most; 0: without end.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

/// The point at which a fault strikes. Each strikes at most once in a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// The HTTP request is there, before the upgrade.
    Request,
    /// After `session.created` was sent.
    Created,
    /// After a `session.update` was taken.
    Updated,
    /// A generation begins.
    Start,
    /// So many deltas of the generation were sent.
    Deltas(u64),
    /// So many samples of the generation were received.
    Samples(u64),
    /// The final commit was received.
    Final,
    /// `done` is due: with `cut`, `close`, or an error that ends the generation, it does not come;
    /// with `pause`, it comes later, or never.
    Done,
    /// After `done`.
    AfterDone,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The TCP connection just goes.
    Cut,
    /// A close frame.
    Close {
        code: u16,
        #[serde(default)]
        reason: String,
    },
    /// An HTTP status in place of the upgrade; only with [`When::Request`].
    Refuse { status: u16 },
    /// An error event. `object`: the error is an object with `message`, as gateways send it.
    /// `end`: the generation ends with it, without `done`, as vLLM's `processing_error` does.
    Error {
        message: String,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        object: bool,
        #[serde(default)]
        end: bool,
    },
    /// `done` with what there is, as at `max_model_len`; queued audio is dropped.
    Done,
    /// Only empty deltas from here to the generation's end.
    Blank,
    /// Neither reads nor answers for so many ms; 0: for ever.
    Stall { ms: u64 },
    /// Reads and answers pings, but the engine rests for so many ms; 0: for ever.
    Pause { ms: u64 },
    /// So many deltas at once, each with this text.
    Flood {
        deltas: u64,
        #[serde(default)]
        text: String,
    },
    /// Deltas with text, without end and without `done`.
    Endless,
    /// One delta with so many bytes of text.
    Giant { bytes: usize },
    /// The next message goes out a byte at a time, this many ms apart.
    Dribble { ms: u64 },
    /// A binary frame.
    Binary { bytes: usize },
    /// Any text frame, JSON or not.
    Send(String),
    /// The engine dies: `processing_error` to all, 1012 later, the server ends.
    Die,
    /// The server goes at once, as with SIGKILL.
    Kill,
    /// The server ends in order, as with SIGTERM: 1012 to all.
    Stop,
}

impl What {
    pub(crate) fn duration(ms: u64) -> Option<Duration> {
        (ms > 0).then(|| Duration::from_millis(ms))
    }
}
