// SPDX-License-Identifier: MPL-2.0

//! The wire events, judged as vLLM judges them, error texts included.

use serde_json::{Value, json};

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    Update { model: String, event: Value },
    Append(Vec<i16>),
    Commit { last: bool },
}

/// An event that is refused: text and code of the error event.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub text: String,
    pub code: &'static str,
}

fn refuse<T>(code: &'static str, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { text: text.into(), code })
}

/// Reads one message of a client. `validated`: a `session.update` was taken before.
pub fn read(message: &str, model: &str, validated: bool) -> Result<Request, Refusal> {
    let Ok(event) = serde_json::from_str::<Value>(message) else {
        return refuse("invalid_json", "Invalid JSON");
    };
    let Value::Object(fields) = &event else {
        let kind = python_type(&event);
        return refuse("processing_error", format!("'{kind}' object has no attribute 'get'"));
    };
    match fields.get("type").and_then(Value::as_str) {
        Some("session.update") => match fields.get("model") {
            None | Some(Value::Null) => refuse("invalid_event", "Missing required field: model"),
            Some(asked) => {
                if falsy(asked) || asked.as_str() == Some(model) {
                    let model = asked.as_str().unwrap_or_default().to_owned();
                    return Ok(Request::Update { model, event });
                }
                let asked = python_str(asked);
                refuse("model_not_found", format!("The model `{asked}` does not exist."))
            }
        },
        Some("input_audio_buffer.append") => match fields.get("audio") {
            Some(Value::String(audio)) => match samples(audio) {
                Some(samples) => Ok(Request::Append(samples)),
                None => refuse("invalid_audio", "Invalid audio data"),
            },
            other => invalid(
                "InputAudioBufferAppend",
                "audio",
                match other {
                    None => ("Field required", "missing"),
                    Some(_) => ("Input should be a valid string", "string_type"),
                },
                other.unwrap_or(&event),
            ),
        },
        Some("input_audio_buffer.commit") => {
            if !validated {
                let text = "Model not validated. Make sure to validate the model by sending a \
                            session.update event.";
                return refuse("model_not_validated", text);
            }
            match fields.get("final") {
                None => Ok(Request::Commit { last: false }),
                Some(last) => match boolean(last) {
                    Ok(last) => Ok(Request::Commit { last }),
                    Err(why) => invalid("InputAudioBufferCommit", "final", why, last),
                },
            }
        }
        _ => {
            let kind = python_str(fields.get("type").unwrap_or(&Value::Null));
            refuse("unknown_event", format!("Unknown event type: {kind}"))
        }
    }
}

/// pydantic's answer to a field that does not fit.
fn invalid<T>(
    class: &str,
    field: &str,
    (what, kind): (&str, &str),
    input: &Value,
) -> Result<T, Refusal> {
    let input_type = python_type(input);
    let mut repr = python_repr(input);
    if repr.chars().count() > 50 {
        let chars: Vec<char> = repr.chars().collect();
        let (head, tail) = (&chars[..25], &chars[chars.len() - 24..]);
        repr = format!("{}...{}", String::from_iter(head), String::from_iter(tail));
    }
    refuse(
        "processing_error",
        format!(
            "1 validation error for {class}\n{field}\n  {what} [type={kind}, input_value={repr}, \
             input_type={input_type}]\n    For further information visit \
             https://errors.pydantic.dev/2.14/v/{kind}"
        ),
    )
}

/// pydantic's lax booleans.
fn boolean(value: &Value) -> Result<bool, (&'static str, &'static str)> {
    let parsing = ("Input should be a valid boolean, unable to interpret input", "bool_parsing");
    match value {
        Value::Bool(b) => Ok(*b),
        Value::Number(n) => match n.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(parsing),
        },
        Value::String(s) => match s.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
            _ => Err(parsing),
        },
        _ => Err(("Input should be a valid boolean", "bool_type")),
    }
}

fn falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

fn python_str(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => python_repr(other),
    }
}

fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(b) => if *b { "True" } else { "False" }.into(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => {
            let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
            let mut out = String::from(quote);
            for c in s.chars() {
                match c {
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\\' => out.push_str("\\\\"),
                    c if c == quote => out.extend(['\\', c]),
                    c => out.push(c),
                }
            }
            out.push(quote);
            out
        }
        Value::Array(a) => {
            format!("[{}]", a.iter().map(python_repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(o) => {
            let fields = o.iter().map(|(k, v)| {
                format!("{}: {}", python_repr(&Value::String(k.clone())), python_repr(v))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Python's lenient base64: characters outside the alphabet are skipped, padding is not.
fn base64(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut quad, mut pads) = (0u32, 0, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                if quad >= 2 {
                    pads += 1;
                    if quad + pads >= 4 {
                        return Some(out);
                    }
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        bits = bits << 6 | u32::from(value);
        quad = (quad + 1) % 4;
        // The first character of four completes no byte; the others one each.
        match quad {
            2 => out.push((bits >> 4) as u8),
            3 => out.push((bits >> 2) as u8),
            0 => out.push(bits as u8),
            _ => {}
        }
    }
    (quad == 0).then_some(out)
}

fn samples(text: &str) -> Option<Vec<i16>> {
    use ::base64::Engine as _;
    // The strict decoder is the quick one, and all that most clients need.
    let bytes = match ::base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(bytes) => bytes,
        Err(_) => base64(text)?,
    };
    if bytes.is_empty() || bytes.len() % 2 != 0 {
        return None;
    }
    Some(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
}

/// A piece of text whose end is told, for clients that ask (vllm#50783).
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Segment {
    pub text: String,
    /// Seconds from the generation's beginning.
    pub end: f64,
}

pub fn created(id: &str, time: u64) -> String {
    json!({"type": "session.created", "id": id, "created": time}).to_string()
}

pub fn delta(text: &str, segments: Option<&[Segment]>, logprob: Option<f64>) -> String {
    let mut event = json!({"type": "transcription.delta", "delta": text});
    if let Some(segments) = segments {
        event["segments"] = json!(segments);
    }
    if let Some(logprob) = logprob {
        event["logprobs"] = json!([{"token": text, "logprob": logprob}]);
    }
    event.to_string()
}

pub fn done(text: &str, prompt: u64, completion: u64, segments: Option<&[Segment]>) -> String {
    let mut event = json!({
        "type": "transcription.done",
        "text": text,
        "usage": {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": null,
            "completion_tokens_details": null,
        },
    });
    if let Some(segments) = segments {
        event["segments"] = json!(segments);
    }
    event.to_string()
}

pub fn error(text: &str, code: Option<&str>, object: bool) -> String {
    let error = if object { json!({"message": text, "type": "server_error"}) } else { json!(text) };
    json!({"type": "error", "error": error, "code": code}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_base64_as_in_python() {
        assert_eq!(base64("AAAA\nAAAA"), Some(vec![0; 6]));
        assert_eq!(base64("AAAAAAAA__-_"), Some(vec![0; 6]));
        assert_eq!(base64("AAA="), Some(vec![0; 2]));
        assert_eq!(base64("AA==AAAA"), Some(vec![0; 1]));
        assert_eq!(base64("__-_"), Some(vec![]));
        assert_eq!(base64("abc"), None);
        assert_eq!(base64("AAAA\u{e9}"), None);
        assert_eq!(samples("AQACAA=="), Some(vec![1, 2]));
        assert_eq!(samples("AA=="), None);
        assert_eq!(samples(""), None);
    }
}
