// SPDX-License-Identifier: MPL-2.0

//! Wire events: any text is an event or a refusal of bounded length.

use gstvllmrealtime::realtime::event::{ServerError, ServerEvent};
use gstvllmrealtime::transcript::ServerSegment;

use super::memory::Memory;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check(&text);
    // The same as a name or a value in an event that is well-formed.
    let value = serde_json::Value::String(text.into_owned()).to_string();
    for e in [
        format!(r#"{{"type":{value}}}"#),
        format!(r#"{{"type":"transcription.delta","delta":{value},"logprobs":{value}}}"#),
        format!(r#"{{"type":"transcription.done","text":{value},"usage":{value}}}"#),
        format!(r#"{{"type":"error","error":{value},"code":{value}}}"#),
        format!(r#"{{"type":"error","error":{{"message":{value},"code":{value}}}}}"#),
        value,
    ] {
        check(&e);
    }
}

fn check(message: &str) {
    let (most, event) = Memory::most(|| ServerEvent::parse(message));
    // An object with one field takes 600 bytes.
    assert!(most <= 128 * message.len() + 8192, "{most} bytes for {}", message.len());
    match event {
        ServerEvent::Delta(d) => {
            assert!(d.text.len() <= message.len());
            assert!(d.logprob.is_none_or(|p| p.is_finite() && p <= 0.0), "{:?}", d.logprob);
            segments(&d.segments);
        }
        ServerEvent::Done(d) => {
            assert!(d.text.len() <= message.len());
            segments(&d.segments);
        }
        ServerEvent::Error(ServerError { code, message }) => {
            bounded(&message);
            bounded(&code.unwrap_or_default());
        }
        ServerEvent::Foreign(name) | ServerEvent::Unknown(name) => bounded(&name),
        ServerEvent::Malformed(why) => {
            assert!(!why.is_empty());
            bounded(&why);
        }
        ServerEvent::SessionCreated | ServerEvent::SessionUpdated => {}
    }
}

fn bounded(text: &str) {
    // No longer than a message may be.
    assert!(text.len() <= 2 << 20, "{} bytes: {text:.80}", text.len());
}

fn segments(segments: &[ServerSegment]) {
    assert!(segments.iter().all(|s| s.end.is_finite() && s.end >= 0.0), "{segments:?}");
}
