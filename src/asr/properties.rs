// SPDX-License-Identifier: MPL-2.0

//! The table of properties: of each its description, how it is set and how it is read.

use std::path::PathBuf;

use gst::glib;
use gst::prelude::*;
use once_cell::sync::Lazy;

use super::settings::{
    ANY_MS, CHUNK_MS, DEFAULT_RECONNECT, MAX_BACKLOG_MS, MAX_UTTERANCE_MS, SILENCE_COMMIT_MS,
    Settings, TIMEOUT_MS, TIMING_OFFSET_MS,
};
use super::{LatencyMode, Messages, ServerOrder, Timing};
use crate::properties::{self, Field, PLAYING, READY, Table, flag, given, millis, string};
use crate::realtime::Secret;
use crate::realtime::url::DEFAULT_URL;

type Property = properties::Property<Settings>;

fn path(name: &str, nick: &str, field: Field<Settings, Option<PathBuf>>, blurb: &str) -> Property {
    Property::new(
        string(name, nick, blurb).mutable_ready().build(),
        move |s, v| *field(s) = given(v).map(PathBuf::from),
        move |s| field(s).as_ref().map(|p| p.to_string_lossy().into_owned()).to_value(),
    )
}

pub static PROPERTIES: Lazy<Table<Settings>> = Lazy::new(table);

// A row for each, in the order in which `gst-inspect-1.0` shows them.
#[rustfmt::skip]
pub fn table() -> Table<Settings> {
    Table::new(vec![
        Property::new(
            string("url", "URL",
                "Address of the server, ws:// or wss://; several separated by commas are tried in turn")
                .default_value(Some(DEFAULT_URL)).mutable_ready().build(),
            |s, v| s.url = given(v).unwrap_or_else(|| DEFAULT_URL.to_owned()), |s| s.url.to_value(),
        ),
        Property::of(
            glib::ParamSpecEnum::builder_with_default("server-order", ServerOrder::default()).nick("Server order")
                .blurb("Which of the servers of url is tried first").mutable_ready().build(),
            |s| &mut s.server_order,
        ),
        Property::new(
            string("model", "Model", "Name of the model; empty: the one that is served; while playing it changes with the next utterance")
                .default_value(Some("")).mutable_playing().build(),
            |s, v| s.client.model = given(v).unwrap_or_default(), |s| s.client.model.to_value(),
        ),
        Property::new(
            string("language-code", "Language code",
                "Language that is expected, BCP 47 or ISO 639 (\"en\", \"pt-BR\"); unset: as the server recognises it; while playing it changes with the next utterance").mutable_playing().build(),
            |s, v| s.client.transcript.language = given(v), |s| s.client.transcript.language.to_value(),
        ),
        Property::new(
            string("api-key", "API key",
                "Key sent as bearer token, visible ASCII; unset: environment variable VLLM_API_KEY when going to PAUSED; can be set, not read")
                .write_only().mutable_ready().build(),
            |s, v| s.api_key = given(v).map(Secret::new), |_| None::<String>.to_value(),
        ),
        millis("latency", "Latency", |s| &mut s.latency, ANY_MS, PLAYING,
            "Time that words may take from their beginning to the output, added to the pipeline's latency where it is live (ms); about 3000 for Voxtral, 8000 for Qwen3-ASR; 4294967295 (-1), from READY on: words leave when they are known, stamped with the running time of that"),
        Property::of(
            glib::ParamSpecEnum::builder_with_default("latency-mode", LatencyMode::default()).nick("Latency mode")
                .blurb("Where the latency comes from").mutable_ready().build(),
            |s| &mut s.latency_mode,
        ),
        millis("lateness", "Lateness", |s| &mut s.lateness, ANY_MS, PLAYING,
            "How much later than spoken words are shown, without delaying the pipeline (ms); from the next segment on"),
        Property::read_only(
            glib::ParamSpecUInt::builder("max-observed-delay").nick("Maximum observed delay")
                .blurb("Longest time that a word took from its beginning to its arrival, in live pipelines since the start (ms)")
                .read_only().build(),
        ),
        millis("chunk-duration", "Chunk duration", |s| &mut s.client.chunk, CHUNK_MS, READY,
            "Audio sent at a time, at least (ms)"),
        millis("connect-timeout", "Connect timeout", |s| &mut s.client.connect_timeout, TIMEOUT_MS, READY,
            "Time limit for each connection, from the name look-up to the server's greeting; several servers have it one after the other (ms)"),
        millis("response-timeout", "Response timeout", |s| &mut s.client.response_timeout, TIMEOUT_MS, READY,
            "Time without any progress while an answer is due, after which the connection counts as lost; after EOS, twice this and connect-timeout is the limit for the last words, unless reconnect is set to -1 (ms)"),
        flag("post-messages", "Post messages", |s| &mut s.post_messages, PLAYING,
            "Post element messages for words, partial text, utterances and the connection"),
        Property::of(
            glib::ParamSpecFlags::builder::<Messages>("messages").nick("Messages")
                .blurb("Kinds of element messages that are posted, where post-messages is set")
                .default_value(Messages::all()).mutable_playing().build(),
            |s| &mut s.messages,
        ),
        Property::read_only(
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats").nick("Statistics")
                .blurb("Figures since the start: samples taken, sent, replayed, skipped, confirmed, dropped, flushed, unconfirmed; connections, words, bytes; the clock of the words")
                .read_only().build(),
        ),
        millis("silence-commit", "Silence commit", |s| &mut s.client.silence_commit, SILENCE_COMMIT_MS, READY,
            "Silence or gap that ends an utterance (ms)"),
        Property::of(
            glib::ParamSpecEnum::builder_with_default("timing", Timing::default()).nick("Timing")
                .blurb("Which clock the word times stand on").mutable_ready().build(),
            |s| &mut s.timing,
        ),
        Property::of(
            glib::ParamSpecInt::builder("timing-offset").nick("Timing offset")
                .blurb("Added to all word times, within the segment (ms)")
                .minimum(-TIMING_OFFSET_MS).maximum(TIMING_OFFSET_MS).default_value(0)
                .mutable_ready().build(),
            |s| &mut s.timing_offset_ms,
        ),
        flag("vad", "Voice activity detection", |s| &mut s.client.voice_activity, READY,
            "Find pauses in the sound, end utterances there, and send no silence"),
        Property::new(
            glib::ParamSpecInt::builder("reconnect").nick("Reconnect")
                .blurb("Attempts in a row to connect again, 0: fail at once, -1: for ever (unless set by the user, a server that never answered is an error after connect-timeout)")
                .minimum(-1).default_value(DEFAULT_RECONNECT).mutable_ready().build(),
            |s, v| s.reconnect = v.get().ok(),
            |s| s.reconnect.unwrap_or(DEFAULT_RECONNECT).to_value(),
        ),
        millis("max-backlog", "Maximum backlog", |s| &mut s.client.max_backlog, MAX_BACKLOG_MS, READY,
            "Audio kept at most, from the first word on that is not safe; beyond it a live pipeline drops audio (set at least 4000 for Voxtral, 12000 for Qwen3-ASR there), another one waits (ms)"),
        millis("max-utterance", "Maximum utterance", |s| &mut s.max_utterance, MAX_UTTERANCE_MS, READY,
            "Most audio that the server hears in one go (ms): longer speech is cut, where no pause comes at the quietest place or with an overlap; 0: automatic, from the model's context length, and with a segmented server (Qwen3-ASR) up to each pause"),
        path("ca-certificate", "CA certificate", |s| &mut s.client.tls.ca_certificate,
            "PEM file with certificate authorities to trust for wss://, beside the system's, or with the server's own certificate"),
        path("client-certificate", "Client certificate", |s| &mut s.client.tls.client_certificate,
            "PEM file with the certificate that is shown to wss:// servers, where they ask for one"),
        path("client-key", "Client key", |s| &mut s.client.tls.client_key,
            "PEM file with the key of client-certificate (unset: it is in the same file)"),
        Property::new(
            string("proxy", "Proxy",
                "HTTP proxy to connect through, http://[USER:PASSWORD@]HOST[:PORT]; empty: none; unset: as https_proxy, http_proxy and no_proxy in the environment say").mutable_ready().build(),
            // Without what it holds of secrets.
            |s, v| s.proxy = v.get().ok().flatten(), |s| s.shown_proxy().to_value(),
        ),
        Property::new(
            glib::ParamSpecBoxed::builder::<gst::Structure>("extra-headers").nick("Extra headers")
                .blurb("Further HTTP headers of the requests to the server; they are not shown")
                .mutable_ready().build(),
            |s, v| s.extra_headers = v.get().ok().flatten(), |s| s.shown_headers().to_value(),
        ),
        flag("insecure-tls", "Insecure TLS", |s| &mut s.client.tls.insecure, READY,
            "Do not check the certificates of wss:// servers at all"),
    ])
}
