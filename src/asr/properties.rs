// SPDX-License-Identifier: MPL-2.0

//! The table of properties: of each its description, how it is set and how it is read.

use std::path::PathBuf;

use gst::glib;
use gst::prelude::*;
use once_cell::sync::Lazy;

use super::Timing;
use super::settings::{
    CHUNK_MS, DEFAULT_RECONNECT, MAX_BACKLOG_MS, MAX_UTTERANCE_MS, SILENCE_COMMIT_MS, Settings,
    TIMEOUT_MS, TIMING_OFFSET_MS,
};
use crate::realtime::Secret;
use crate::realtime::url::DEFAULT_URL;

type Set = fn(&mut Settings, &glib::Value);
type Get = fn(&Settings) -> glib::Value;

/// A property. GObject checks type and range before it is set.
pub struct Property {
    spec: glib::ParamSpec,
    set: Set,
    get: Get,
}

impl Property {
    fn new(spec: glib::ParamSpec, (set, get): (Set, Get)) -> Self {
        Property { spec, set, get }
    }
}

/// As the field has it.
macro_rules! field {
    ($name:ident) => {
        (|s, v| s.$name = v.get().unwrap_or(s.$name), |s| s.$name.to_value())
    };
}

/// Empty is unset.
macro_rules! text {
    ($name:ident) => {
        (|s, v| s.$name = text(v), |s| s.$name.to_value())
    };
}

macro_rules! path {
    ($name:ident) => {
        (
            |s, v| s.$name = text(v).map(PathBuf::from),
            |s| s.$name.as_ref().map(|p| p.to_string_lossy().into_owned()).to_value(),
        )
    };
}

/// In ms outside.
macro_rules! time {
    ($name:ident) => {
        (
            |s, v| {
                let ms = v.get::<u32>().ok().map(u64::from);
                s.$name = ms.map_or(s.$name, gst::ClockTime::from_mseconds);
            },
            |s| u32::try_from(s.$name.mseconds()).unwrap_or(u32::MAX).to_value(),
        )
    };
}

/// The element has it.
const READ_ONLY: (Set, Get) = (|_, _| (), |_| None::<String>.to_value());

fn text(value: &glib::Value) -> Option<String> {
    value.get::<Option<String>>().ok().flatten().filter(|t| !t.is_empty())
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

static PROPERTIES: Lazy<Vec<Property>> = Lazy::new(|| {
    let of = Settings::default();
    let ms = |time: gst::ClockTime| u32::try_from(time.mseconds()).unwrap_or(u32::MAX);
    vec![
        Property::new(
            glib::ParamSpecString::builder("url")
                .nick("URL")
                .blurb(
                    "Address of the server, ws:// or wss://; several separated by commas are tried in turn",
                )
                .default_value(Some(of.url.as_str()))
                .mutable_ready()
                .build(),
            (|s, v| s.url = text(v).unwrap_or_else(|| DEFAULT_URL.to_owned()), |s| s.url.to_value()),
        ),
        Property::new(
            glib::ParamSpecString::builder("model")
                .nick("Model")
                .blurb("Name of the model; empty: the one that is served")
                .default_value(Some(""))
                .mutable_ready()
                .build(),
            (|s, v| s.model = text(v).unwrap_or_default(), |s| s.model.to_value()),
        ),
        Property::new(
            glib::ParamSpecString::builder("language-code")
                .nick("Language code")
                .blurb(
                    "Language that is expected, BCP 47 or ISO 639 (\"en\", \"pt-BR\"); unset: as the server recognises it",
                )
                .mutable_ready()
                .build(),
            text!(language_code),
        ),
        Property::new(
            glib::ParamSpecString::builder("api-key")
                .nick("API key")
                .blurb(
                    "Key sent as bearer token, visible ASCII; unset: environment variable VLLM_API_KEY when going to PAUSED; can be set, not read",
                )
                .write_only()
                .mutable_ready()
                .build(),
            (|s, v| s.api_key = text(v).map(Secret::new), |_| None::<String>.to_value()),
        ),
        Property::new(
            millis("latency", "Latency", ms(of.latency), (0, u32::MAX))
                .blurb(
                    "Time that words may take from their beginning to the output, added to the pipeline's latency where it is live (ms); about 3000 for Voxtral, 8000 for Qwen3-ASR",
                )
                .mutable_playing()
                .build(),
            time!(latency),
        ),
        Property::new(
            millis("lateness", "Lateness", ms(of.lateness), (0, u32::MAX))
                .blurb(
                    "How much later than spoken words are shown, without delaying the pipeline (ms); from the next segment on",
                )
                .mutable_playing()
                .build(),
            time!(lateness),
        ),
        Property::new(
            glib::ParamSpecUInt::builder("max-observed-delay")
                .nick("Maximum observed delay")
                .blurb(
                    "Longest time that a word took from its beginning to its arrival, in live pipelines since the start (ms)",
                )
                .read_only()
                .build(),
            READ_ONLY,
        ),
        Property::new(
            millis("chunk-duration", "Chunk duration", of.chunk_ms, CHUNK_MS)
                .blurb("Audio sent at a time, at least (ms)")
                .mutable_ready()
                .build(),
            field!(chunk_ms),
        ),
        Property::new(
            millis(
                "connect-timeout",
                "Connect timeout",
                of.connect_timeout_ms,
                TIMEOUT_MS,
            )
                .blurb(
                    "Time limit for each connection, from the name look-up to the server's greeting; several servers have it one after the other (ms)",
                )
                .mutable_ready()
                .build(),
            field!(connect_timeout_ms),
        ),
        Property::new(
            millis(
                "response-timeout",
                "Response timeout",
                of.response_timeout_ms,
                TIMEOUT_MS,
            )
                .blurb(
                    "Time without any progress while an answer is due, after which the connection counts as lost; after EOS, twice this and connect-timeout is the limit for the last words, unless reconnect is set to -1 (ms)",
                )
                .mutable_ready()
                .build(),
            field!(response_timeout_ms),
        ),
        Property::new(
            glib::ParamSpecBoolean::builder("post-messages")
                .nick("Post messages")
                .blurb(
                    "Post element messages for words, partial text, utterances and the connection",
                )
                .default_value(true)
                .mutable_playing()
                .build(),
            field!(post_messages),
        ),
        Property::new(
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb(
                    "Figures since the start: samples taken, sent, replayed, skipped, confirmed, dropped, flushed, unconfirmed; connections, words, bytes; the clock of the words",
                )
                .read_only()
                .build(),
            READ_ONLY,
        ),
        Property::new(
            millis(
                "silence-commit",
                "Silence commit",
                of.silence_commit_ms,
                SILENCE_COMMIT_MS,
            )
                .blurb("Silence or gap that ends an utterance (ms)")
                .mutable_ready()
                .build(),
            field!(silence_commit_ms),
        ),
        Property::new(
            glib::ParamSpecEnum::builder_with_default("timing", Timing::default())
                .nick("Timing")
                .blurb("Which clock the word times stand on")
                .mutable_ready()
                .build(),
            field!(timing),
        ),
        Property::new(
            glib::ParamSpecInt::builder("timing-offset")
                .nick("Timing offset")
                .blurb("Added to all word times, within the segment (ms)")
                .minimum(-TIMING_OFFSET_MS)
                .maximum(TIMING_OFFSET_MS)
                .default_value(0)
                .mutable_ready()
                .build(),
            field!(timing_offset_ms),
        ),
        Property::new(
            glib::ParamSpecBoolean::builder("vad")
                .nick("Voice activity detection")
                .blurb("Find pauses in the sound, end utterances there, and send no silence")
                .default_value(true)
                .mutable_ready()
                .build(),
            field!(voice_activity),
        ),
        Property::new(
            glib::ParamSpecInt::builder("reconnect")
                .nick("Reconnect")
                .blurb(
                    "Attempts in a row to connect again, 0: fail at once, -1: for ever (unless set by the user, a server that never answered is an error after connect-timeout)",
                )
                .minimum(-1)
                .default_value(DEFAULT_RECONNECT)
                .mutable_ready()
                .build(),
            (|s, v| s.reconnect = v.get().ok(), |s| s.reconnect.unwrap_or(DEFAULT_RECONNECT).to_value()),
        ),
        Property::new(
            millis("max-backlog", "Maximum backlog", of.max_backlog_ms, MAX_BACKLOG_MS)
                .blurb(
                    "Audio kept at most, from the first word on that is not safe; beyond it a live pipeline drops audio (set at least 4000 for Voxtral, 12000 for Qwen3-ASR there), another one waits (ms)",
                )
                .mutable_ready()
                .build(),
            field!(max_backlog_ms),
        ),
        Property::new(
            millis("max-utterance", "Maximum utterance", 0, (0, MAX_UTTERANCE_MS))
                .blurb(
                    "Longest utterance (ms); 0: automatic, from the model's context length, and with a segmented server (Qwen3-ASR) up to each pause",
                )
                .mutable_ready()
                .build(),
            field!(max_utterance_ms),
        ),
        Property::new(
            glib::ParamSpecString::builder("ca-certificate")
                .nick("CA certificate")
                .blurb(
                    "PEM file with certificate authorities to trust for wss://, beside the system's, or with the server's own certificate",
                )
                .mutable_ready()
                .build(),
            path!(ca_certificate),
        ),
        Property::new(
            glib::ParamSpecString::builder("client-certificate")
                .nick("Client certificate")
                .blurb(
                    "PEM file with the certificate that is shown to wss:// servers, where they ask for one",
                )
                .mutable_ready()
                .build(),
            path!(client_certificate),
        ),
        Property::new(
            glib::ParamSpecString::builder("client-key")
                .nick("Client key")
                .blurb(
                    "PEM file with the key of client-certificate (unset: it is in the same file)",
                )
                .mutable_ready()
                .build(),
            path!(client_key),
        ),
        Property::new(
            glib::ParamSpecString::builder("proxy")
                .nick("Proxy")
                .blurb(
                    "HTTP proxy to connect through, http://[USER:PASSWORD@]HOST[:PORT]; empty: none; unset: as https_proxy, http_proxy and no_proxy in the environment say",
                )
                .mutable_ready()
                .build(),
            // Without what it holds of secrets.
            (|s, v| s.proxy = v.get().ok().flatten(), |s| s.shown_proxy().to_value()),
        ),
        Property::new(
            glib::ParamSpecBoxed::builder::<gst::Structure>("extra-headers")
                .nick("Extra headers")
                .blurb("Further HTTP headers of the requests to the server; they are not shown")
                .mutable_ready()
                .build(),
            (|s, v| s.extra_headers = v.get().ok().flatten(), |s| s.shown_headers().to_value()),
        ),
        Property::new(
            glib::ParamSpecBoolean::builder("insecure-tls")
                .nick("Insecure TLS")
                .blurb("Do not check the certificates of wss:// servers at all")
                .default_value(false)
                .mutable_ready()
                .build(),
            field!(insecure_tls),
        ),
    ]
});

/// What `gst-inspect-1.0` shows, in this order.
pub fn specs() -> &'static [glib::ParamSpec] {
    static SPECS: Lazy<Vec<glib::ParamSpec>> =
        Lazy::new(|| PROPERTIES.iter().map(|p| p.spec.clone()).collect());
    &SPECS
}

fn property(spec: &glib::ParamSpec) -> Option<&'static Property> {
    PROPERTIES.iter().find(|p| p.spec.name() == spec.name())
}

pub fn set(settings: &mut Settings, spec: &glib::ParamSpec, value: &glib::Value) {
    if let Some(property) = property(spec) {
        (property.set)(settings, value);
    }
}

pub fn get(settings: &Settings, spec: &glib::ParamSpec) -> glib::Value {
    property(spec).map_or_else(|| glib::Value::from_type(spec.value_type()), |p| (p.get)(settings))
}
