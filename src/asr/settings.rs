// SPDX-License-Identifier: MPL-2.0

//! The properties: what users set, checked and turned into the client's configuration.

use std::path::PathBuf;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use once_cell::sync::Lazy;

use super::Timing;
use crate::SAMPLES_PER_MS;
use crate::realtime::proxy::{self, Proxy};
use crate::realtime::url::DEFAULT_URL;
use crate::realtime::{self, Config, Error, ErrorKind, Reconnect, Secret, ServerUrl, Tls};
use crate::transcript::{self, TranscriptConfig};

/// What `api-key` falls back to.
pub const API_KEY_VARIABLE: &str = "VLLM_API_KEY";

/// Enough for Voxtral Realtime: a long word, its 480 ms of delay, sub-words that queue, the
/// network.
const DEFAULT_LATENCY_MS: u32 = 3000;
const DEFAULT_LATENESS_MS: u32 = 0;
const DEFAULT_CHUNK_MS: u32 = 80;
const DEFAULT_CONNECT_TIMEOUT_MS: u32 = 10_000;
const DEFAULT_RESPONSE_TIMEOUT_MS: u32 = 30_000;
const DEFAULT_SILENCE_COMMIT_MS: u32 = 800;
const DEFAULT_MAX_BACKLOG_MS: u32 = 60_000;
const DEFAULT_RECONNECT: i32 = -1;

const CHUNK_MS: (u32, u32) = (10, 5000);
const TIMEOUT_MS: (u32, u32) = (1, 3_600_000);
const SILENCE_COMMIT_MS: (u32, u32) = (100, 60_000);
const MAX_BACKLOG_MS: (u32, u32) = (1000, 3_600_000);
const MAX_UTTERANCE_MS: u32 = 86_400_000;
const TIMING_OFFSET_MS: i32 = 5000;

/// What the properties hold.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: String,
    pub model: String,
    pub language_code: Option<String>,
    pub api_key: Option<Secret>,
    pub latency: gst::ClockTime,
    pub lateness: gst::ClockTime,
    pub chunk_ms: u32,
    pub connect_timeout_ms: u32,
    pub response_timeout_ms: u32,
    pub post_messages: bool,
    pub silence_commit_ms: u32,
    pub timing: Timing,
    pub timing_offset_ms: i32,
    pub voice_activity: bool,
    /// `None`: never set.
    pub reconnect: Option<i32>,
    pub max_backlog_ms: u32,
    pub max_utterance_ms: u32,
    pub ca_certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// None: as the environment says; empty: none.
    pub proxy: Option<String>,
    pub extra_headers: Option<gst::Structure>,
    pub insecure_tls: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            url: DEFAULT_URL.to_owned(),
            model: String::new(),
            language_code: None,
            api_key: None,
            latency: gst::ClockTime::from_mseconds(DEFAULT_LATENCY_MS.into()),
            lateness: gst::ClockTime::from_mseconds(DEFAULT_LATENESS_MS.into()),
            chunk_ms: DEFAULT_CHUNK_MS,
            connect_timeout_ms: DEFAULT_CONNECT_TIMEOUT_MS,
            response_timeout_ms: DEFAULT_RESPONSE_TIMEOUT_MS,
            post_messages: true,
            silence_commit_ms: DEFAULT_SILENCE_COMMIT_MS,
            timing: Timing::default(),
            timing_offset_ms: 0,
            voice_activity: true,
            reconnect: None,
            max_backlog_ms: DEFAULT_MAX_BACKLOG_MS,
            max_utterance_ms: 0,
            ca_certificate: None,
            client_certificate: None,
            client_key: None,
            proxy: None,
            extra_headers: None,
            insecure_tls: false,
        }
    }
}

/// What a property that was set asks of the element.
#[derive(Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    /// The pipeline has to ask for the latency again.
    Latency,
}

impl Settings {
    pub fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            vec![
                glib::ParamSpecString::builder("url")
                    .nick("URL")
                    .blurb(
                        "Address of the server, ws:// or wss://; several separated by commas are tried in turn",
                    )
                    .default_value(Some(DEFAULT_URL))
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("model")
                    .nick("Model")
                    .blurb("Name of the model; empty: the one that is served")
                    .default_value(Some(""))
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("language-code")
                    .nick("Language code")
                    .blurb(
                        "Language that is expected, BCP 47 or ISO 639 (\"en\", \"pt-BR\"); unset: as the server recognises it",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("api-key")
                    .nick("API key")
                    .blurb(
                        "Key sent as bearer token, visible ASCII; unset: environment variable VLLM_API_KEY when going to PAUSED; can be set, not read",
                    )
                    .write_only()
                    .mutable_ready()
                    .build(),
                millis("latency", "Latency", DEFAULT_LATENCY_MS, (0, u32::MAX))
                    .blurb(
                        "Time that words may take from their beginning to the output, added to the pipeline's latency where it is live (ms); about 3000 for Voxtral, 8000 for Qwen3-ASR",
                    )
                    .mutable_playing()
                    .build(),
                millis("lateness", "Lateness", DEFAULT_LATENESS_MS, (0, u32::MAX))
                    .blurb(
                        "How much later than spoken words are shown, without delaying the pipeline (ms); from the next segment on",
                    )
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("max-observed-delay")
                    .nick("Maximum observed delay")
                    .blurb(
                        "Longest time that a word took from its beginning to its arrival, in live pipelines since the start (ms)",
                    )
                    .read_only()
                    .build(),
                millis("chunk-duration", "Chunk duration", DEFAULT_CHUNK_MS, CHUNK_MS)
                    .blurb("Audio sent at a time, at least (ms)")
                    .mutable_ready()
                    .build(),
                millis(
                    "connect-timeout",
                    "Connect timeout",
                    DEFAULT_CONNECT_TIMEOUT_MS,
                    TIMEOUT_MS,
                )
                .blurb(
                    "Time limit for each connection, from the name look-up to the server's greeting; several servers have it one after the other (ms)",
                )
                .mutable_ready()
                .build(),
                millis(
                    "response-timeout",
                    "Response timeout",
                    DEFAULT_RESPONSE_TIMEOUT_MS,
                    TIMEOUT_MS,
                )
                .blurb(
                    "Time without any progress while an answer is due, after which the connection counts as lost; after EOS, twice this and connect-timeout is the limit for the last words, unless reconnect is set to -1 (ms)",
                )
                .mutable_ready()
                .build(),
                glib::ParamSpecBoolean::builder("post-messages")
                    .nick("Post messages")
                    .blurb(
                        "Post element messages for words, partial text, utterances and the connection",
                    )
                    .default_value(true)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb(
                        "Figures since the start: samples taken, sent, replayed, skipped, confirmed, dropped, flushed, unconfirmed; connections, words, bytes; the clock of the words",
                    )
                    .read_only()
                    .build(),
                millis(
                    "silence-commit",
                    "Silence commit",
                    DEFAULT_SILENCE_COMMIT_MS,
                    SILENCE_COMMIT_MS,
                )
                .blurb("Silence or gap that ends an utterance (ms)")
                .mutable_ready()
                .build(),
                glib::ParamSpecEnum::builder_with_default("timing", Timing::default())
                    .nick("Timing")
                    .blurb("Which clock the word times stand on")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecInt::builder("timing-offset")
                    .nick("Timing offset")
                    .blurb("Added to all word times, within the segment (ms)")
                    .minimum(-TIMING_OFFSET_MS)
                    .maximum(TIMING_OFFSET_MS)
                    .default_value(0)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("vad")
                    .nick("Voice activity detection")
                    .blurb("Find pauses in the sound, end utterances there, and send no silence")
                    .default_value(true)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecInt::builder("reconnect")
                    .nick("Reconnect")
                    .blurb(
                        "Attempts in a row to connect again, 0: fail at once, -1: for ever (unless set by the user, a server that never answered is an error after connect-timeout)",
                    )
                    .minimum(-1)
                    .default_value(DEFAULT_RECONNECT)
                    .mutable_ready()
                    .build(),
                millis("max-backlog", "Maximum backlog", DEFAULT_MAX_BACKLOG_MS, MAX_BACKLOG_MS)
                    .blurb(
                        "Audio kept at most, from the first word on that is not safe; beyond it a live pipeline drops audio (set at least 4000 for Voxtral, 12000 for Qwen3-ASR there), another one waits (ms)",
                    )
                    .mutable_ready()
                    .build(),
                millis("max-utterance", "Maximum utterance", 0, (0, MAX_UTTERANCE_MS))
                    .blurb(
                        "Longest utterance (ms); 0: automatic, from the model's context length, and with a segmented server (Qwen3-ASR) up to each pause",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("ca-certificate")
                    .nick("CA certificate")
                    .blurb(
                        "PEM file with certificate authorities to trust for wss://, beside the system's, or with the server's own certificate",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("client-certificate")
                    .nick("Client certificate")
                    .blurb(
                        "PEM file with the certificate that is shown to wss:// servers, where they ask for one",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("client-key")
                    .nick("Client key")
                    .blurb(
                        "PEM file with the key of client-certificate (unset: it is in the same file)",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("proxy")
                    .nick("Proxy")
                    .blurb(
                        "HTTP proxy to connect through, http://[USER:PASSWORD@]HOST[:PORT]; empty: none; unset: as https_proxy, http_proxy and no_proxy in the environment say",
                    )
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("extra-headers")
                    .nick("Extra headers")
                    .blurb("Further HTTP headers of the requests to the server; they are not shown")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("insecure-tls")
                    .nick("Insecure TLS")
                    .blurb("Do not check the certificates of wss:// servers at all")
                    .default_value(false)
                    .mutable_ready()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    /// Takes a property that users can set. GObject has checked type and range.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Changed {
        let text = || value.get::<Option<String>>().ok().flatten().filter(|t| !t.is_empty());
        let number = |was: u32| value.get::<u32>().unwrap_or(was);
        let time = |was: gst::ClockTime| {
            value.get::<u32>().map_or(was, |ms| gst::ClockTime::from_mseconds(ms.into()))
        };
        match name {
            "url" => self.url = text().unwrap_or_else(|| DEFAULT_URL.to_owned()),
            "model" => self.model = text().unwrap_or_default(),
            "language-code" => self.language_code = text(),
            "api-key" => self.api_key = text().map(Secret::new),
            "latency" => {
                let was = self.latency;
                self.latency = time(was);
                if was != self.latency {
                    return Changed::Latency;
                }
            }
            "lateness" => self.lateness = time(self.lateness),
            "chunk-duration" => self.chunk_ms = number(self.chunk_ms),
            "connect-timeout" => self.connect_timeout_ms = number(self.connect_timeout_ms),
            "response-timeout" => self.response_timeout_ms = number(self.response_timeout_ms),
            "post-messages" => self.post_messages = value.get().unwrap_or(self.post_messages),
            "silence-commit" => self.silence_commit_ms = number(self.silence_commit_ms),
            "timing" => self.timing = value.get().unwrap_or(self.timing),
            "timing-offset" => self.timing_offset_ms = value.get().unwrap_or(self.timing_offset_ms),
            "vad" => self.voice_activity = value.get().unwrap_or(self.voice_activity),
            "reconnect" => self.reconnect = value.get().ok(),
            "max-backlog" => self.max_backlog_ms = number(self.max_backlog_ms),
            "max-utterance" => self.max_utterance_ms = number(self.max_utterance_ms),
            "ca-certificate" => self.ca_certificate = text().map(PathBuf::from),
            "client-certificate" => self.client_certificate = text().map(PathBuf::from),
            "client-key" => self.client_key = text().map(PathBuf::from),
            "proxy" => self.proxy = value.get().ok().flatten(),
            "extra-headers" => self.extra_headers = value.get().ok().flatten(),
            "insecure-tls" => self.insecure_tls = value.get().unwrap_or(self.insecure_tls),
            _ => {}
        }
        Changed::Nothing
    }

    /// A property that users can set and read; `None` for any other.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        let path =
            |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned()).to_value();
        let ms = |t: gst::ClockTime| u32::try_from(t.mseconds()).unwrap_or(u32::MAX).to_value();
        Some(match name {
            "url" => self.url.to_value(),
            "model" => self.model.to_value(),
            "language-code" => self.language_code.to_value(),
            "latency" => ms(self.latency),
            "lateness" => ms(self.lateness),
            "chunk-duration" => self.chunk_ms.to_value(),
            "connect-timeout" => self.connect_timeout_ms.to_value(),
            "response-timeout" => self.response_timeout_ms.to_value(),
            "post-messages" => self.post_messages.to_value(),
            "silence-commit" => self.silence_commit_ms.to_value(),
            "timing" => self.timing.to_value(),
            "timing-offset" => self.timing_offset_ms.to_value(),
            "vad" => self.voice_activity.to_value(),
            "reconnect" => self.reconnect.unwrap_or(DEFAULT_RECONNECT).to_value(),
            "max-backlog" => self.max_backlog_ms.to_value(),
            "max-utterance" => self.max_utterance_ms.to_value(),
            "ca-certificate" => path(&self.ca_certificate),
            "client-certificate" => path(&self.client_certificate),
            "client-key" => path(&self.client_key),
            // Without what it holds of secrets.
            "proxy" => self.shown_proxy().to_value(),
            "extra-headers" => self.shown_headers().to_value(),
            "insecure-tls" => self.insecure_tls.to_value(),
            _ => return None,
        })
    }

    /// The client's configuration, or what is wrong with which property. `environment_key` is
    /// what the environment holds as key.
    pub fn config(&self, environment_key: Option<String>) -> Result<Config, Error> {
        let millis = |ms: u32| Duration::from_millis(ms.into());
        Ok(Config {
            servers: ServerUrl::parse_list(&self.url)?,
            model: self.model.clone(),
            api_key: self.checked_api_key(environment_key)?,
            headers: self.headers()?,
            tls: Tls {
                ca_certificate: self.ca_certificate.clone(),
                client_certificate: self.client_certificate.clone(),
                client_key: self.client_key.clone(),
                insecure: self.insecure_tls,
            },
            proxy: match self.proxy.as_deref().map(str::trim) {
                None => proxy::Choice::Environment,
                Some("") => proxy::Choice::Direct,
                Some(text) => proxy::Choice::Proxy(Proxy::parse(text, "Property proxy")?),
            },
            connect_timeout: millis(self.connect_timeout_ms),
            response_timeout: millis(self.response_timeout_ms),
            reconnect: match self.reconnect {
                None => Reconnect::Auto,
                Some(n) => u32::try_from(n).map_or(Reconnect::Forever, Reconnect::Attempts),
            },
            max_backlog: millis(self.max_backlog_ms),
            chunk: millis(self.chunk_ms),
            silence_commit: millis(self.silence_commit_ms),
            voice_activity: self.voice_activity,
            max_utterance: (self.max_utterance_ms > 0).then(|| millis(self.max_utterance_ms)),
            transcript: TranscriptConfig {
                timing: match self.timing {
                    Timing::Auto => transcript::Timing::Auto,
                    Timing::Frames => transcript::Timing::Frames,
                    Timing::Segments => transcript::Timing::Segments,
                    Timing::Arrival => transcript::Timing::Arrival,
                    Timing::Utterance => transcript::Timing::Utterance,
                },
                language: self.language_code.clone(),
            },
        })
    }

    /// Property `proxy` without user and password.
    fn shown_proxy(&self) -> Option<String> {
        let text = self.proxy.as_ref()?;
        if text.trim().is_empty() {
            return Some(String::new());
        }
        Some(Proxy::parse(text, "Property proxy").map_or("***".to_owned(), |p| p.to_string()))
    }

    /// Property `extra-headers` without the values.
    fn shown_headers(&self) -> Option<gst::Structure> {
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
            let all: Vec<String> = all.ok_or_else(|| Error {
                kind: ErrorKind::Settings,
                message: format!(
                    "Property extra-headers: the value of {name} (not shown) is no text. Set it to a string."
                ),
                detail: String::new(),
            })?;
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
                Err(Error {
                    kind: ErrorKind::Settings,
                    message: format!(
                        "{source}: the key (not shown) holds a control character or one beyond ASCII. Set it to the key alone, without a line break."
                    ),
                    detail: String::new(),
                })
            }
            key => Ok(key),
        }
    }

    /// Property `timing-offset` in ns.
    pub fn timing_offset(&self) -> i64 {
        i64::from(self.timing_offset_ms) * 1_000_000
    }

    pub fn max_backlog(&self) -> gst::ClockTime {
        gst::ClockTime::from_mseconds(self.max_backlog_ms.into())
    }

    /// Samples of silence that end an utterance.
    pub fn silence_commit_samples(&self) -> u64 {
        u64::from(self.silence_commit_ms) * SAMPLES_PER_MS
    }

    /// ISO 639 part of the language code, as tags hold it.
    pub fn language(&self) -> Option<&str> {
        language_of(self.language_code.as_deref()?)
    }
}

/// `en` of `en-US`; `None` for what is none.
pub fn language_of(code: &str) -> Option<&str> {
    let language = code.split(['-', '_']).next().unwrap_or_default();
    ((2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphabetic()))
        .then_some(language)
}

fn millis<'a>(
    name: &'a str,
    nick: &'a str,
    default: u32,
    (minimum, maximum): (u32, u32),
) -> glib::ParamSpecUIntBuilder<'a> {
    glib::ParamSpecUInt::builder(name)
        .nick(nick)
        .minimum(minimum)
        .maximum(maximum)
        .default_value(default)
}

/// The GStreamer domain and code of a failure.
pub fn error_message(error: &realtime::Error) -> gst::ErrorMessage {
    let (message, detail) = (Some(error.message.as_str()), Some(error.detail.as_str()));
    let at = (file!(), module_path!(), line!());
    match error.kind {
        ErrorKind::Protocol => {
            gst::ErrorMessage::new(&gst::StreamError::WrongType, message, detail, at.0, at.1, at.2)
        }
        kind => {
            let code = match kind {
                ErrorKind::Settings => gst::ResourceError::Settings,
                ErrorKind::NotAuthorized => gst::ResourceError::NotAuthorized,
                ErrorKind::NotFound => gst::ResourceError::NotFound,
                ErrorKind::Timeout => gst::ResourceError::Read,
                ErrorKind::Server | ErrorKind::Protocol => gst::ResourceError::Failed,
                ErrorKind::Unreachable => gst::ResourceError::OpenReadWrite,
            };
            gst::ErrorMessage::new(&code, message, detail, at.0, at.1, at.2)
        }
    }
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
