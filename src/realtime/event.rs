// SPDX-License-Identifier: MPL-2.0

//! The wire events of `/v1/realtime`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::transcript::{ServerSegment, Usage};

/// An event of the server. What is not understood is kept by name, never an error: servers add
/// events and fields.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerEvent {
    SessionCreated,
    /// The answer of servers that know more of `session.update` (vllm#50783).
    SessionUpdated,
    Delta(Delta),
    Done(Done),
    Error(ServerError),
    /// Of another protocol; its name.
    Foreign(String),
    /// Of no protocol that is known here; its name.
    Unknown(String),
    /// Not an event at all; why.
    Malformed(String),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delta {
    pub text: String,
    pub segments: Vec<ServerSegment>,
    /// Natural logarithm of the probability of this delta's tokens, summed.
    pub logprob: Option<f64>,
    /// Name or code of the language that is spoken.
    pub language: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Done {
    pub text: String,
    pub usage: Option<Usage>,
    pub segments: Vec<ServerSegment>,
    pub language: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ServerError {
    pub code: Option<String>,
    /// As long as a message can be: servers repeat whole arrays. Whoever shows it masks it first
    /// and cuts it then.
    pub message: String,
}

/// What an error is about, as its code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// The connection was not used for long.
    Idle,
    /// No such model is served.
    Model,
    /// No model was agreed on, or not yet.
    NotValidated,
    /// The key, in vLLM's words or a gateway's.
    Key,
    /// What was offered beside the model is not to be had (vllm#50783).
    Extras,
    /// An event with fields that it should not have.
    InvalidEvent,
    /// What was sent is no event.
    NoEvent,
    /// Too many appends wait (vllm#48130).
    FullQueue,
    /// Something else, or nobody says.
    Other,
}

impl ServerError {
    pub fn complaint(&self) -> Complaint {
        match self.code.as_deref().unwrap_or_default() {
            "idle_timeout" => Complaint::Idle,
            "model_not_found" => Complaint::Model,
            "model_not_validated" => Complaint::NotValidated,
            "401"
            | "403"
            | "auth_error"
            | "unauthorized"
            | "authentication_error"
            | "invalid_api_key" => Complaint::Key,
            "invalid_timestamp_granularity"
            | "unsupported_timestamp_granularity"
            | "segment_timestamps_unavailable" => Complaint::Extras,
            "invalid_event" => Complaint::InvalidEvent,
            "unknown_event" | "invalid_json" => Complaint::NoEvent,
            "buffer_full" => Complaint::FullQueue,
            _ => Complaint::Other,
        }
    }
}

/// Other protocols' events begin with these.
const FOREIGN: [&str; 4] =
    ["conversation.", "response.", "transcription_session.", "input_audio_buffer."];

/// At and below this a log probability is none.
const NO_LOGPROB: f64 = -9999.0;

/// All fields that any event has, whatever their types.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    r#type: Value,
    session: Value,
    delta: Value,
    text: Value,
    usage: Value,
    error: Value,
    code: Value,
    segments: Value,
    logprobs: Value,
    language: Value,
}

impl ServerEvent {
    /// Reads a text message.
    pub fn parse(message: &str) -> ServerEvent {
        let mut raw: Raw = match serde_json::from_str(message) {
            Ok(raw) => raw,
            Err(e) => match without_lone_surrogates(message)
                .and_then(|mended| serde_json::from_str(&mended).ok())
            {
                Some(raw) => raw,
                None => return ServerEvent::Malformed(e.to_string()),
            },
        };
        let Value::String(kind) = raw.r#type else {
            return ServerEvent::Malformed("it has no type".into());
        };
        match kind.as_str() {
            // OpenAI's Realtime API and those that follow it describe their session there.
            "session.created" | "session.updated" if raw.session.is_object() => {
                ServerEvent::Foreign(kind)
            }
            "session.created" => ServerEvent::SessionCreated,
            "session.updated" => ServerEvent::SessionUpdated,
            "transcription.delta" => ServerEvent::Delta(Delta {
                text: string(raw.delta.take()),
                segments: segments(&raw.segments),
                logprob: logprob(&raw.logprobs),
                language: language(raw.language.take()),
            }),
            "transcription.done" => ServerEvent::Done(Done {
                text: string(raw.text.take()),
                usage: usage(&raw.usage),
                segments: segments(&raw.segments),
                language: language(raw.language.take()),
            }),
            "error" => ServerEvent::Error(error(raw.error, raw.code)),
            "transcription.segment" | "transcription.completed" => ServerEvent::Foreign(kind),
            k if FOREIGN.iter().any(|prefix| k.starts_with(prefix)) => ServerEvent::Foreign(kind),
            _ => ServerEvent::Unknown(kind),
        }
    }
}

fn string(v: Value) -> String {
    match v {
        Value::String(s) => s,
        _ => String::new(),
    }
}

fn usage(v: &Value) -> Option<Usage> {
    let get = |k: &str| v.get(k).and_then(Value::as_u64);
    Some(Usage {
        prompt_tokens: get("prompt_tokens")?,
        completion_tokens: get("completion_tokens")?,
        total_tokens: get("total_tokens").unwrap_or_default(),
    })
}

fn segments(v: &Value) -> Vec<ServerSegment> {
    let one = |s: &Value| {
        let end = s.get("end")?.as_f64().filter(|e| e.is_finite() && *e >= 0.0)?;
        Some(ServerSegment { text: s.get("text")?.as_str()?.to_owned(), end })
    };
    v.as_array().map(|a| a.iter().filter_map(one).collect()).unwrap_or_default()
}

/// A number, or the sum over a list of numbers or of objects with `logprob`.
fn logprob(v: &Value) -> Option<f64> {
    // vLLM's way to say that there is none (minus infinity is no JSON).
    let some = |p: &f64| *p > NO_LOGPROB;
    let one =
        |v: &Value| v.as_f64().or_else(|| v.get("logprob").and_then(Value::as_f64)).filter(some);
    let sum = match v {
        Value::Array(a) if !a.is_empty() => a.iter().map(one).sum::<Option<f64>>(),
        Value::Array(_) => None,
        v => one(v),
    };
    sum.filter(|p| p.is_finite() && *p <= 0.0)
}

fn error(error: Value, code: Value) -> ServerError {
    // A string with vLLM, an object with a message (and a code) behind gateways.
    let inner = |k: &str| error.get(k).and_then(Value::as_str).map(str::to_owned);
    let code = match code {
        Value::String(c) => Some(c),
        _ => inner("code").or_else(|| inner("type")),
    };
    let message = match &error {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => inner("message").unwrap_or_else(|| other.to_string()),
    };
    ServerError { code, message }
}

fn language(v: Value) -> Option<String> {
    Some(string(v)).filter(|l| !l.is_empty())
}

/// The message with U+FFFD for each escape of half a character (`\ud83d` alone), which
/// tokenizers that cut between bytes can make and JSON parsers refuse; `None`: it has none.
fn without_lone_surrogates(message: &str) -> Option<String> {
    const SIX: usize = 6;
    let unit = |at: usize| {
        let digits = message.get(at..at + SIX)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(message.len());
    let mut lone = false;
    let mut at = 0;
    while let Some(escape) = message[at..].find('\\').map(|i| at + i) {
        out.push_str(&message[at..escape]);
        let (text, length) = match (unit(escape), unit(escape + SIX)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (None, 2 * SIX),
            (Some(0xd800..0xe000), _) => (Some("\u{fffd}"), SIX),
            (Some(_), _) => (None, SIX),
            // Another escape, an escaped backslash among them: whatever follows, it is whole.
            (None, _) => (None, 1 + message[escape + 1..].chars().next().map_or(0, char::len_utf8)),
        };
        lone |= text.is_some();
        out.push_str(text.unwrap_or(&message[escape..escape + length]));
        at = escape + length;
    }
    out.push_str(&message[at..]);
    lone.then_some(out)
}

/// `session.update`. `extras`: beside the model it asks for what newer servers offer; older ones
/// ignore that, and some refuse it.
pub fn session_update(model: &str, language: Option<&str>, extras: bool) -> String {
    let mut v = serde_json::json!({"type": "session.update", "model": model});
    if extras {
        v["timestamp_granularities"] = serde_json::json!(["segment"]);
        v["include"] = serde_json::json!(["item.input_audio_transcription.logprobs"]);
    }
    if let Some(language) = language {
        v["language"] = language.into();
    }
    v.to_string()
}

/// Begins a generation, or, final, ends its audio.
pub fn commit(last: bool) -> String {
    format!(r#"{{"type":"input_audio_buffer.commit","final":{last}}}"#)
}

/// Audio. The samples must not be empty.
pub fn append(samples: &[i16]) -> String {
    debug_assert!(!samples.is_empty());
    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vllm_sends() {
        use ServerEvent::*;
        let p = ServerEvent::parse;
        assert_eq!(p(r#"{"type":"session.created","id":"sess-1","created":1}"#), SessionCreated);
        assert_eq!(
            p(r#"{"type":"transcription.delta","delta":" a"}"#),
            Delta(super::Delta { text: " a".into(), ..Default::default() })
        );
        let done = p(
            r#"{"type":"transcription.done","text":"a","usage":{"prompt_tokens":39,"total_tokens":87,"completion_tokens":48,"prompt_tokens_details":null}}"#,
        );
        let Done(d) = done else { panic!("{done:?}") };
        assert_eq!(
            d.usage,
            Some(Usage { prompt_tokens: 39, completion_tokens: 48, total_tokens: 87 })
        );
    }

    #[test]
    fn errors_of_servers_and_gateways() {
        let p = |s: &str| match ServerEvent::parse(s) {
            ServerEvent::Error(e) => (e.code, e.message),
            other => panic!("{other:?}"),
        };
        assert_eq!(p(r#"{"type":"error","error":"x","code":"c"}"#), (Some("c".into()), "x".into()));
        assert_eq!(p(r#"{"type":"error","error":"x","code":null}"#), (None, "x".into()));
        assert_eq!(
            p(r#"{"type":"error","error":{"message":"m","type":"t"}}"#),
            (Some("t".into()), "m".into())
        );
        assert_eq!(p(r#"{"type":"error"}"#), (None, String::new()));
    }

    #[test]
    fn half_a_character_is_no_reason_to_lose_the_rest() {
        let delta = |json: &str| match ServerEvent::parse(json) {
            ServerEvent::Delta(d) => d.text,
            other => panic!("{other:?}"),
        };
        let of =
            |text: &str| delta(&format!(r#"{{"type":"transcription.delta","delta":"{text}"}}"#));
        assert_eq!(of(r" a\ud83d"), " a\u{fffd}");
        assert_eq!(of(r"\ude00 b"), "\u{fffd} b");
        assert_eq!(of(r"\ud83d\ud83d\ude00"), "\u{fffd}\u{1f600}");
        assert_eq!(of(r"\ud83dé\u00e9\n"), "\u{fffd}éé\n");
        assert_eq!(of(r"\\ud83d \ud83d"), "\\ud83d \u{fffd}", "an escaped backslash");
        for bad in [r#"{"type":"\ud8"#, r#"{"\"#, r"\ud83d", r#"{"a":"\ud83d"#] {
            assert!(matches!(ServerEvent::parse(bad), ServerEvent::Malformed(_)), "{bad}");
        }
    }

    #[test]
    fn fields_that_are_to_come() {
        let ServerEvent::Delta(d) = ServerEvent::parse(
            r#"{"type":"transcription.delta","delta":"a","language":"de","logprobs":[-0.5,-9999.0]}"#,
        ) else {
            panic!()
        };
        assert_eq!((d.language.as_deref(), d.logprob), (Some("de"), None));
    }

    #[test]
    fn other_protocols_are_known_by_their_events() {
        for e in [
            r#"{"type":"session.created","session":{"id":"x"}}"#,
            r#"{"type":"conversation.item.input_audio_transcription.delta","delta":"x"}"#,
            r#"{"type":"transcription_session.created"}"#,
            r#"{"type":"transcription.segment"}"#,
            r#"{"type":"transcription.completed"}"#,
            r#"{"type":"response.created"}"#,
        ] {
            assert!(matches!(ServerEvent::parse(e), ServerEvent::Foreign(_)), "{e}");
        }
        let e = r#"{"type":"something.new","x":[1]}"#;
        assert_eq!(ServerEvent::parse(e), ServerEvent::Unknown("something.new".into()));
    }

    #[test]
    fn rubbish_is_told_from_events() {
        let deep = "[".repeat(100_000);
        for e in ["", "{", "[]", "5", "null", r#"{"type":5}"#, r#"{"foo":1}"#, &deep] {
            assert!(matches!(ServerEvent::parse(e), ServerEvent::Malformed(_)));
        }
        // Fields of the wrong type are as good as absent.
        assert_eq!(
            ServerEvent::parse(r#"{"type":"transcription.delta","delta":7,"segments":{"a":1}}"#),
            ServerEvent::Delta(Delta::default())
        );
    }

    #[test]
    fn extras_of_newer_servers() {
        let e = ServerEvent::parse(
            r#"{"type":"transcription.delta","delta":"a","segments":[{"text":"a","end":1.5},{"text":"b"},{"text":"c","end":-1}],"logprobs":[{"token":"a","logprob":-0.5},{"token":"b","logprob":-0.25}]}"#,
        );
        let ServerEvent::Delta(d) = e else { panic!("{e:?}") };
        assert_eq!(d.segments, [ServerSegment { text: "a".into(), end: 1.5 }]);
        assert_eq!(d.logprob, Some(-0.75));
    }

    #[test]
    fn appends_are_standard_base64_of_whole_samples() {
        let s = append(&[0, 1, -2]);
        let v: Value = serde_json::from_str(&s).unwrap();
        let audio = STANDARD.decode(v["audio"].as_str().unwrap()).unwrap();
        assert_eq!(audio, [0, 0, 1, 0, 0xfe, 0xff]);
        assert!(!s.contains('\n'));
    }

    #[test]
    fn update_names_the_model_at_the_top() {
        let v: Value = serde_json::from_str(&session_update("a\"b", Some("de"), true)).unwrap();
        assert_eq!((v["model"].as_str(), v["language"].as_str()), (Some("a\"b"), Some("de")));
        assert!(v["include"].is_array() && v["timestamp_granularities"].is_array());
        let plain = session_update("a", None, false);
        let plain: Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(plain, serde_json::json!({"type": "session.update", "model": "a"}));
    }
}
