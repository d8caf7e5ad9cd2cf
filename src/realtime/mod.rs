// SPDX-License-Identifier: MPL-2.0

//! The client of vLLM's `/v1/realtime`: knows the server, not GStreamer.
//!
//! [`session`] is the state machine, without I/O and without a clock of its own; [`transport`] is
//! the one thread that gives it both. [`Client`] is the handle that the element holds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::transcript::{self, Timing, TranscriptConfig};
use crate::{Length, Position};

mod connect_error;
mod connector;
pub mod event;
mod exchange;
mod headers;
pub mod history;
mod lingering_close;
mod models_query;
pub mod proxy;
pub mod resolver;
pub mod retry;
pub mod session;
mod stream;
mod tls;
pub mod transport;
mod upgrade;
pub mod url;
pub mod utterances;

/// What the requests say of who asks: gateways refuse those that say nothing.
const USER_AGENT: &str = concat!("vllmrealtimeasr/", env!("CARGO_PKG_VERSION"));

pub use resolver::Resolver;
pub use transport::Client;
pub use url::ServerUrl;

/// A secret that no log, message or debug output shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Secret(secret.into())
    }

    /// The secret itself: for the wire and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How certificates of `wss://` servers are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with further certificate authorities to trust, beside the system's, or servers' own
    /// certificates.
    pub ca_certificate: Option<PathBuf>,
    /// PEM file with the certificate that the client shows, and those between it and its authority.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with its key; `None`: it is in the same file.
    pub client_key: Option<PathBuf>,
    /// Check no certificate at all.
    pub insecure: bool,
}

/// How often a lost connection is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reconnect {
    /// For ever, but an error where no server has answered once within the connect time limit
    /// since the start, and each was tried once.
    #[default]
    Auto,
    /// For ever, from the start on.
    Forever,
    /// So many attempts in a row without success; 0: fail at once.
    Attempts(u32),
}

/// All that the client is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Servers, tried in turn. Never empty.
    pub servers: Vec<ServerUrl>,
    /// Model to ask for; empty: the one that is served.
    pub model: String,
    pub api_key: Option<Secret>,
    /// Further headers of the requests.
    pub headers: Vec<(String, Secret)>,
    pub tls: Tls,
    pub proxy: proxy::Choice,
    /// For each attempt, from the name look-up to `session.created`.
    pub connect_timeout: Duration,
    /// Without any progress while an answer is due, the connection counts as lost.
    pub response_timeout: Duration,
    pub reconnect: Reconnect,
    /// Audio kept at most while its words are not safe.
    pub max_backlog: Duration,
    /// Audio in one append at least (at the end of an utterance less).
    pub chunk: Duration,
    /// Silence that ends an utterance, for the voice activity detection.
    pub silence_commit: Duration,
    /// Whether utterances are found by voice activity and silence is not sent.
    pub voice_activity: bool,
    /// Longest utterance; `None`: from the model's context length.
    pub max_utterance: Option<Duration>,
    pub transcript: TranscriptConfig,
}

impl Config {
    /// What no text that is shown may hold.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let proxy = match &self.proxy {
            proxy::Choice::Proxy(proxy) => proxy.secret(),
            _ => None,
        };
        let headers = self.headers.iter().map(|(_, value)| value);
        let all = self.api_key.iter().chain(headers).chain(proxy);
        // What is so short is no secret, and stands in any text.
        all.map(Secret::expose).filter(|s| s.len() > 3)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            servers: vec![ServerUrl::default()],
            model: String::new(),
            api_key: None,
            headers: Vec::new(),
            tls: Tls::default(),
            proxy: proxy::Choice::default(),
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(30),
            reconnect: Reconnect::default(),
            max_backlog: Duration::from_secs(60),
            chunk: Duration::from_millis(80),
            silence_commit: Duration::from_millis(800),
            voice_activity: true,
            max_utterance: None,
            transcript: TranscriptConfig::default(),
        }
    }
}

/// What kind of failure it is: decides the GStreamer error domain and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A setting cannot work: bad URL, unusable certificate file.
    Settings,
    /// Nobody answers, the connection was lost.
    Unreachable,
    /// 401 or 403 with a key asked for.
    NotAuthorized,
    /// No realtime route, no such model.
    NotFound,
    /// Another protocol, or against the protocol.
    Protocol,
    /// The server stopped answering.
    Timeout,
    /// The server tells of a failure of its own.
    Server,
}

/// A failure that ends the session. `message` tells what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    /// For the debug part of a message: the server's own words.
    pub detail: String,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>, detail: impl Into<String>) -> Error {
        Error { kind, message: message.into(), detail: detail.into() }
    }

    /// A setting that cannot work.
    fn settings(message: impl Into<String>, detail: impl Into<String>) -> Error {
        Error::new(ErrorKind::Settings, message, detail)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// State of the connection, as users are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    Connecting,
    Connected,
    /// Lost or refused; tried again later.
    Lost,
    Closed,
}

impl ConnectionState {
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionState::Connecting => "connecting",
            ConnectionState::Connected => "connected",
            ConnectionState::Lost => "lost",
            ConnectionState::Closed => "closed",
        }
    }
}

/// What comes out of the session, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Words, partial text, utterances.
    Transcript(transcript::Output),
    /// No word that is still to come begins before this position. Only grows.
    Horizon(Position),
    /// The connection's state changed.
    Connection { state: ConnectionState, server: String, reason: String },
    /// Something is wrong but goes on; once for each occasion.
    Warning(String),
    /// As [`Output::Warning`], and what the server itself said of it.
    ServerWarning { text: String, server_text: String },
    /// The audio from `begin` to `end` was given up and will have no words.
    Dropped { begin: Position, end: Position, reason: String },
    /// All audio given before the drain with this number has its words out.
    Drained(u64),
    /// Outputs from before the flush with this number are over: the first one after it.
    Flushed(u64),
    /// The session is over. Nothing follows but `Flushed`.
    Failed(Error),
}

/// Figures of a session since its start, for property `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Positions: audio taken from the element.
    pub samples_in: u64,
    /// Sent to the server, each repetition counted, padding left out.
    pub samples_sent: u64,
    /// Of these, sent once more after a failure.
    pub samples_replayed: u64,
    /// Silence that was never sent.
    pub samples_skipped: u64,
    /// Whose words are out.
    pub samples_confirmed: u64,
    /// Given up.
    pub samples_dropped: u64,
    /// Forgotten by a flush.
    pub samples_flushed: u64,
    /// Kept because the words are not safe yet.
    pub samples_unconfirmed: u64,
    pub connections: u64,
    pub generations: u64,
    pub deltas: u64,
    pub words: u64,
    pub utterances: u64,
    /// Segments over silence that said again what was said before, and were left out.
    pub repetitions: u64,
    pub errors: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// By which words get their times.
    pub clock: Timing,
}
