// SPDX-License-Identifier: MPL-2.0

//! What the properties hold, checked and turned into the client's configuration.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gst::glib;
use once_cell::sync::Lazy;

use super::{LatencyMode, Messages, ServerOrder, Timing};
use crate::Length;
use crate::realtime::proxy::{self, Proxy};
use crate::realtime::url::DEFAULT_URL;
use crate::realtime::{self, Config, Error, ErrorKind, Reconnect, Secret, ServerUrl};
use crate::transcript::{self, TranscriptConfig};

/// What `api-key` falls back to.
pub const API_KEY_VARIABLE: &str = "VLLM_API_KEY";

pub const DEFAULT_RECONNECT: i32 = -1;

/// Property `latency`, in ms: words leave when they are known, whatever their time.
pub const UNSYNCHRONISED: u32 = u32::MAX;

/// Enough for Voxtral Realtime: a long word, its 480 ms of delay, sub-words that queue, the network.
const DEFAULT_LATENCY: Duration = Duration::from_secs(3);

/// Ranges of properties, in ms.
pub const ANY_MS: (u32, u32) = (0, u32::MAX);
pub const CHUNK_MS: (u32, u32) = (10, 5000);
pub const TIMEOUT_MS: (u32, u32) = (1, 3_600_000);
pub const SILENCE_COMMIT_MS: (u32, u32) = (100, 60_000);
pub const MAX_BACKLOG_MS: (u32, u32) = (1000, 3_600_000);
pub const MAX_UTTERANCE_MS: (u32, u32) = (0, 86_400_000);
pub const TIMING_OFFSET_MS: i32 = 5000;

/// What the properties hold.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: String,
    pub server_order: ServerOrder,
    /// How many elements were made before this one, in this process.
    turn: usize,
    pub api_key: Option<Secret>,
    pub latency: Duration,
    pub latency_mode: LatencyMode,
    pub lateness: Duration,
    pub post_messages: bool,
    pub messages: Messages,
    pub timing: Timing,
    pub timing_offset_ms: i32,
    /// `None`: never set.
    pub reconnect: Option<i32>,
    /// Zero: automatic.
    pub max_utterance: Duration,
    /// None: as the environment says; empty: none.
    pub proxy: Option<String>,
    pub extra_headers: Option<gst::Structure>,
    /// What the client takes as it is set; what [`Settings::config`] makes of the fields above is not
    /// looked at here.
    pub client: Config,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            url: DEFAULT_URL.to_owned(),
            server_order: ServerOrder::default(),
            turn: next_turn(),
            api_key: None,
            latency: DEFAULT_LATENCY,
            latency_mode: LatencyMode::Fixed,
            lateness: Duration::ZERO,
            post_messages: true,
            messages: Messages::all(),
            timing: Timing::default(),
            timing_offset_ms: 0,
            reconnect: None,
            max_utterance: Duration::ZERO,
            proxy: None,
            extra_headers: None,
            client: Config::default(),
        }
    }
}

/// From anywhere on, so that processes of one element each spread too.
fn next_turn() -> usize {
    static TURN: Lazy<AtomicUsize> =
        Lazy::new(|| AtomicUsize::new((RandomState::new().hash_one(0) >> 32) as usize));
    TURN.fetch_add(1, Ordering::Relaxed)
}

impl Settings {
    /// The client's configuration, or what is wrong with which property. `environment_key` is
    /// what the environment holds as key.
    pub fn config(&self, environment_key: Option<String>) -> Result<Config, Error> {
        Ok(Config {
            servers: self.servers()?,
            api_key: self.checked_api_key(environment_key)?,
            headers: self.headers()?,
            proxy: match self.proxy.as_deref().map(str::trim) {
                None => proxy::Choice::Environment,
                Some("") => proxy::Choice::Direct,
                Some(text) => proxy::Choice::Proxy(Proxy::parse(text, "Property proxy")?),
            },
            reconnect: match self.reconnect {
                None => Reconnect::Auto,
                Some(n) => u32::try_from(n).map_or(Reconnect::Forever, Reconnect::Attempts),
            },
            max_utterance: Some(self.max_utterance).filter(|t| !t.is_zero()),
            transcript: TranscriptConfig {
                timing: match self.timing {
                    Timing::Auto => transcript::Timing::Auto,
                    Timing::Frames => transcript::Timing::Frames,
                    Timing::Segments => transcript::Timing::Segments,
                    Timing::Arrival => transcript::Timing::Arrival,
                    Timing::Utterance => transcript::Timing::Utterance,
                },
                ..self.client.transcript.clone()
            },
            ..self.client.clone()
        })
    }

    /// In the order in which they are tried.
    fn servers(&self) -> Result<Vec<ServerUrl>, Error> {
        let mut servers = ServerUrl::parse_list(&self.url)?;
        if self.server_order == ServerOrder::Spread && !servers.is_empty() {
            let first = self.turn % servers.len();
            servers.rotate_left(first);
        }
        Ok(servers)
    }

    /// Property `proxy` without user and password.
    pub fn shown_proxy(&self) -> Option<String> {
        let text = self.proxy.as_ref()?;
        if text.trim().is_empty() {
            return Some(String::new());
        }
        Some(Proxy::parse(text, "Property proxy").map_or("***".to_owned(), |p| p.to_string()))
    }

    /// Property `extra-headers` without the values.
    pub fn shown_headers(&self) -> Option<gst::Structure> {
        let headers = self.extra_headers.as_ref()?;
        let mut shown = gst::Structure::new_empty(headers.name());
        for name in headers.fields() {
            shown.set(name.as_str(), "***");
        }
        Some(shown)
    }

    /// As `souphttpsrc` takes them: of each field the value as text, or those of a list.
    fn headers(&self) -> Result<Vec<(String, Secret)>, Error> {
        let mut headers = Vec::new();
        for (name, value) in self.extra_headers.iter().flat_map(|s| s.iter()) {
            let one = |v: &glib::SendValue| match v.get::<String>() {
                Ok(text) => Some(text),
                Err(_) => v.transform::<String>().ok().and_then(|v| v.get::<String>().ok()),
            };
            let all = match (value.get::<gst::Array>(), value.get::<gst::List>()) {
                (Ok(many), _) => many.iter().map(one).collect(),
                (_, Ok(many)) => many.iter().map(one).collect(),
                _ => one(value).map(|v| vec![v]),
            };
            let all: Vec<String> = all.ok_or_else(|| wrong(format!(
                "Property extra-headers: the value of {name} (not shown) is no text. Set it to a string."
            )))?;
            headers.extend(all.into_iter().map(|v| (name.to_string(), Secret::new(v))));
        }
        Ok(headers)
    }

    fn checked_api_key(&self, environment: Option<String>) -> Result<Option<Secret>, Error> {
        let (source, key) = match &self.api_key {
            Some(key) => ("Property api-key".to_owned(), Some(key.clone())),
            None => (
                format!("Environment variable {API_KEY_VARIABLE} (for property api-key)"),
                environment.filter(|k| !k.is_empty()).map(Secret::new),
            ),
        };
        match key {
            // Anything else could add lines of its own to the request.
            Some(key) if !key.expose().bytes().all(|b| b.is_ascii_graphic() || b == b' ') => {
                Err(wrong(format!(
                    "{source}: the key (not shown) holds a control character or one beyond ASCII. Set it to the key alone, without a line break."
                )))
            }
            key => Ok(key),
        }
    }

    /// Property `timing-offset` in ns.
    pub fn timing_offset(&self) -> i64 {
        i64::from(self.timing_offset_ms) * 1_000_000
    }

    /// Property `latency`; where it says that words do not wait for their time, what counts in a run
    /// that began otherwise.
    pub fn latency(&self) -> gst::ClockTime {
        clock_time(if self.is_unsynchronised() { DEFAULT_LATENCY } else { self.latency })
    }

    /// Whether words leave when they are known, whatever their time: counts from READY on.
    pub fn is_unsynchronised(&self) -> bool {
        self.latency == Duration::from_millis(UNSYNCHRONISED.into())
    }

    /// Property `lateness`.
    pub fn lateness(&self) -> gst::ClockTime {
        clock_time(self.lateness)
    }

    /// Property `max-backlog`.
    pub fn max_backlog(&self) -> gst::ClockTime {
        clock_time(self.client.max_backlog)
    }

    /// Silence that ends an utterance.
    pub fn silence_commit(&self) -> Length {
        Length::lasting(self.client.silence_commit)
    }

    /// ISO 639 part of the language code, as tags hold it.
    pub fn language(&self) -> Option<&str> {
        language_of(self.client.transcript.language.as_deref()?)
    }
}

fn clock_time(time: Duration) -> gst::ClockTime {
    gst::ClockTime::try_from(time).unwrap_or(gst::ClockTime::MAX)
}

fn wrong(message: String) -> Error {
    Error { kind: ErrorKind::Settings, message, detail: String::new() }
}

/// `en` of `en-US`; `None` for what is none.
pub fn language_of(code: &str) -> Option<&str> {
    let language = code.split(['-', '_']).next().unwrap_or_default();
    ((2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphabetic()))
        .then_some(language)
}

/// The GStreamer domain and code of a failure.
pub fn error_message(error: &realtime::Error) -> gst::ErrorMessage {
    let realtime::Error { kind, message, detail } = error;
    let code = match kind {
        ErrorKind::Protocol => {
            return gst::error_msg!(gst::StreamError::WrongType, ("{message}"), ["{detail}"]);
        }
        ErrorKind::Settings => gst::ResourceError::Settings,
        ErrorKind::NotAuthorized => gst::ResourceError::NotAuthorized,
        ErrorKind::NotFound => gst::ResourceError::NotFound,
        ErrorKind::Timeout => gst::ResourceError::Read,
        ErrorKind::Server => gst::ResourceError::Failed,
        ErrorKind::Unreachable => gst::ResourceError::OpenReadWrite,
    };
    gst::error_msg!(code, ("{message}"), ["{detail}"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(f: impl FnOnce(&mut Settings)) -> Settings {
        let mut s = Settings::default();
        f(&mut s);
        s
    }

    #[test]
    fn the_defaults_are_the_clients() {
        let (ours, theirs) = (Settings::default().config(None).unwrap(), Config::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn a_key_that_could_add_a_header_is_refused_and_not_shown() {
        for key in ["sekrit\r\nX: y", "sekrit\n", "s\u{e9}krit", "sekrit\0"] {
            let property = with(|s| s.api_key = Some(Secret::new(key)));
            for e in [
                property.config(None).unwrap_err(),
                Settings::default().config(Some(key.into())).unwrap_err(),
            ] {
                assert_eq!(e.kind, ErrorKind::Settings);
                assert!(e.message.contains("api-key"), "{e}");
                assert!(!e.message.contains("krit") && !e.detail.contains("krit"), "{e}");
            }
            assert!(!format!("{property:?}").contains("krit"));
        }
    }

    #[test]
    fn elements_spread_over_the_servers() {
        let first = |order| {
            let s = with(|s| {
                s.url = "ws://a/v1/realtime,ws://b/v1/realtime,ws://c/v1/realtime".into();
                s.server_order = order;
            });
            let servers = s.config(None).unwrap().servers;
            // Each is there, and the same element keeps its order.
            assert_eq!(servers.len(), 3);
            assert_eq!(s.config(None).unwrap().servers, servers);
            servers[0].to_string()
        };
        assert!((0..6).all(|_| first(ServerOrder::InTurn).starts_with("ws://a")));
        // Other tests make settings too, so the turn may skip, but each has its share.
        let firsts: std::collections::HashSet<String> =
            std::iter::repeat_with(|| first(ServerOrder::Spread)).take(300).collect();
        assert_eq!(firsts.len(), 3, "{firsts:?}");
    }

    #[test]
    fn the_property_comes_before_the_environment() {
        let s = with(|s| s.api_key = Some(Secret::new("a")));
        assert_eq!(s.config(Some("b".into())).unwrap().api_key, Some(Secret::new("a")));
        let s = Settings::default();
        assert_eq!(s.config(Some("b".into())).unwrap().api_key, Some(Secret::new("b")));
        assert_eq!(s.config(Some(String::new())).unwrap().api_key, None);
    }

    #[test]
    fn reconnect_knows_whether_it_was_set() {
        let of = |n| with(|s| s.reconnect = n).config(None).unwrap().reconnect;
        assert_eq!(of(None), Reconnect::Auto);
        assert_eq!(of(Some(-1)), Reconnect::Forever);
        assert_eq!(of(Some(0)), Reconnect::Attempts(0));
    }

    #[test]
    fn languages() {
        assert_eq!(language_of("en-US"), Some("en"));
        assert_eq!(language_of("deu"), Some("deu"));
        assert_eq!(language_of("auto"), None);
        assert_eq!(language_of(""), None);
    }
}
