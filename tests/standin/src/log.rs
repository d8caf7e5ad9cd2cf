// SPDX-License-Identifier: MPL-2.0

//! What the server saw and did: for tests to look at and to wait on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections, and generations of one connection, that are kept; the oldest go first.
const KEPT: usize = 4096;
/// Bytes of text that are kept of a generation.
const TEXT_KEPT: usize = 1 << 16;

/// Everything since the server's start.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Oldest first; refused ones too. At most 4096 are kept.
    pub connections: VecDeque<ConnectionLog>,
    /// Connections so far, forgotten ones included.
    pub opened: u64,
    /// Plain HTTP requests that were answered, such as `GET /v1/models`: the paths, at most 4096.
    pub requests: VecDeque<String>,
    /// How often a fault struck.
    pub faults: u64,
    /// Voice `aligned`: for each word of the reference, the largest part of it (0 to 1) that was
    /// heard in one generation.
    pub reference: Vec<f32>,
}

/// One connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectionLog {
    /// Counted from 0 over the server's life.
    pub id: u64,
    pub path: String,
    /// The HTTP headers of the request.
    pub headers: Vec<(String, String)>,
    /// Status of the HTTP answer: 101 where the upgrade was done, 0 where none was sent.
    pub status: u16,
    /// Models that were asked for by `session.update`.
    pub models: Vec<String>,
    /// At most 4096 are kept.
    pub generations: VecDeque<GenerationLog>,
    /// Generations so far, forgotten ones included.
    pub started: u64,
    pub messages: u64,
    pub samples: u64,
    pub appends: u64,
    /// Largest append, in samples.
    pub largest_append: usize,
    pub commits: u64,
    pub final_commits: u64,
    pub deltas: u64,
    pub done: u64,
    /// Error events sent: (code, text); the last 4096.
    pub errors: VecDeque<(Option<String>, String)>,
    /// Samples that were in the queue when it was emptied at `done`: lost.
    pub samples_lost: u64,
    /// `commit(final=false)` while a generation was running: ignored.
    pub commits_ignored: u64,
    pub pings: u64,
    pub pongs: u64,
    /// How it ended: close code (1006: without a close frame); `None` while it is open.
    pub closed: Option<u16>,
}

/// One generation.
#[derive(Debug, Clone, Default)]
pub struct GenerationLog {
    /// Samples taken from the queue so far.
    pub samples: u64,
    pub appends: u64,
    pub final_commit: bool,
    pub deltas: u64,
    pub empty_deltas: u64,
    /// The deltas joined; at most 64 KiB.
    pub text: String,
    /// `done` was sent.
    pub done: bool,
    /// `done` was sent without a final commit.
    pub unasked: bool,
    /// Ended by this error, without `done`.
    pub error: Option<String>,
    /// Ended by the connection's end.
    pub cut: bool,
    /// Most samples that were there and not yet worked through.
    pub most_ahead: u64,
    /// Words with times that were said.
    pub words: u64,
    /// Words of which only a part was heard (voice `aligned`): said, or not.
    pub words_damaged: Vec<String>,
    /// Samples that were found in the reference (voice `aligned`).
    pub samples_known: u64,
    /// The audio, where [`crate::Builder::keep_audio`] asks for it.
    pub audio: Vec<i16>,
}

impl ConnectionLog {
    /// First header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn begin(&mut self) {
        self.started += 1;
        push(&mut self.generations, GenerationLog::default());
    }

    pub(crate) fn error(&mut self, code: Option<&str>, text: &str) {
        push(&mut self.errors, (code.map(Into::into), text.chars().take(300).collect()));
    }
}

impl GenerationLog {
    pub(crate) fn delta(&mut self, text: &str) {
        self.deltas += 1;
        self.empty_deltas += u64::from(text.is_empty());
        if self.text.len() + text.len() <= TEXT_KEPT {
            self.text.push_str(text);
        }
    }
}

impl Log {
    /// Generations of all connections, oldest connection first.
    pub fn generations(&self) -> impl Iterator<Item = &GenerationLog> {
        self.connections.iter().flat_map(|c| c.generations.iter())
    }

    /// Connections that were upgraded and are open.
    pub fn open(&self) -> usize {
        self.connections.iter().filter(|c| c.status == 101 && c.closed.is_none()).count()
    }

    /// `done` events sent.
    pub fn done(&self) -> u64 {
        self.connections.iter().map(|c| c.done).sum()
    }

    /// Deltas sent.
    pub fn deltas(&self) -> u64 {
        self.connections.iter().map(|c| c.deltas).sum()
    }

    /// Samples received.
    pub fn samples(&self) -> u64 {
        self.connections.iter().map(|c| c.samples).sum()
    }

    /// Words of which a part was cut off, over all generations.
    pub fn words_damaged(&self) -> usize {
        self.generations().map(|g| g.words_damaged.len()).sum()
    }

    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut ConnectionLog> {
        // Ids grow along the deque; the one asked for is most often near its end.
        self.connections.iter_mut().rev().find(|c| c.id == id)
    }

    pub(crate) fn open_connection(&mut self, connection: ConnectionLog) {
        push(&mut self.connections, connection);
    }

    pub(crate) fn request(&mut self, path: &str) {
        push(&mut self.requests, path.chars().take(300).collect());
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// The log, shared.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    log: Mutex<Log>,
    changed: Condvar,
}

impl LogBook {
    pub fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the log and wakes who waits on it.
    pub fn write<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// As [`LogBook::write`], for one connection.
    pub fn on(&self, id: u64, change: impl FnOnce(&mut ConnectionLog)) {
        self.write(|log| {
            if let Some(connection) = log.connection(id) {
                change(connection)
            }
        })
    }

    pub fn wait(&self, mut condition: impl FnMut(&Log) -> bool, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut log = self.lock();
        loop {
            if condition(&log) {
                return true;
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            log = self.changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
